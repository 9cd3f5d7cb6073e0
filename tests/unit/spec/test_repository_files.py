# SPDX-License-Identifier: MIT
"""The YAML files of the repository are valid, and name their schema."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from builder.cli.main import parsers
from builder.cli.reference import pages
from builder.spec.models import Soc
from builder.spec.reader import Reader, SpecTree
from builder.spec.resolve import resolve
from builder.spec.schemas import KINDS, json_schema
from builder.spec.texts import format_size, parse_size
from tests.fixtures.product import ROOT

TREE = SpecTree(root=ROOT)
FILES = {
    "board": TREE.board_files(),
    "recipe": TREE.recipe_files(),
    "profile": TREE.profile_files(),
    "distribution": TREE.distribution_files(),
}
EVERY_FILE = [
    pytest.param(kind, path, id=str(path.relative_to(ROOT)))
    for kind, files in FILES.items()
    for path in files.values()
]


def test_there_are_files_of_each_kind() -> None:
    assert {kind for kind, files in FILES.items() if files} == set(FILES)


@pytest.mark.parametrize(("kind", "path"), EVERY_FILE)
def test_the_first_line_names_the_schema(kind: str, path: Path) -> None:
    first = path.read_text().splitlines()[0]
    match = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert match, first
    assert (path.parent / match[1]).resolve() == ROOT / f"docs/schemas/{kind}.schema.json"


@pytest.mark.parametrize(("kind", "path"), EVERY_FILE)
def test_the_file_is_read_without_problems(kind: str, path: Path) -> None:
    reader = Reader()
    read: Callable[[Path], object] = {
        "board": lambda path: reader.board(path, FILES["board"]),
        "recipe": reader.recipe,
        "profile": reader.profile,
        "distribution": reader.distribution,
    }[kind]
    read(path)
    assert not reader.problems


@pytest.mark.parametrize("board", FILES["board"])
def test_each_board_resolves_with_each_of_its_distributions(board: str) -> None:
    spec = resolve(TREE, board)
    for distribution in spec.distributions:
        assert resolve(TREE, board, distro=distribution.name).distributions == (distribution,)


@pytest.mark.parametrize("profile", FILES["profile"])
def test_each_profile_resolves_on_a_board(profile: str, tmp_path: Path) -> None:
    source = FILES["board"]["Pynq-Z2"].parent
    board = tmp_path / "Pynq-Z2"
    board.mkdir()
    for item in source.iterdir():
        if item.name != "board.yaml":
            (board / item.name).symlink_to(item)
    text = re.sub(r"(?m)^profile: .*$", f"profile: {profile}", (source / "board.yaml").read_text())
    (board / "board.yaml").write_text(text)
    spec = resolve(SpecTree(root=ROOT, boards_dirs=(tmp_path,)), "Pynq-Z2")
    assert spec.board.profile == profile
    assert spec.recipes


def test_every_recipe_is_in_a_profile_or_on_a_board() -> None:
    used = {
        recipe.name
        for board in FILES["board"]
        for recipe in resolve(TREE, board, settings=[]).recipes
    }
    profiles = [yaml.safe_load(path.read_text()) for path in FILES["profile"].values()]
    used |= {name for profile in profiles for name in profile["recipes"]}
    # Optional recipes; xrfdc has never been built.
    assert set(FILES["recipe"]) - used <= {"xrfdc", "i2c-tools", "pl-state", "wifi-access-point"}


@pytest.mark.parametrize("board", FILES["board"])
def test_lock_files_are_there_for_the_distributions_of_a_board(board: str) -> None:
    """At least one distribution of each board has all lock files, so that it can be built."""
    spec = resolve(TREE, board)
    for recipe in spec.recipes:
        locks = [recipe.lock_file(item, spec.architecture) for item in spec.distributions]
        assert any(lock is None or lock.is_file() for lock in locks), recipe.name


LINE = re.compile(r"[a-z0-9-]+==[^\s;]+ --hash=sha256:[0-9a-f]{64}")
LOCKS = [path for file in FILES["recipe"].values() for path in file.parent.glob("requirements/*")]


def locked(path: Path) -> list[str]:
    """Return the names of a lock file's packages; each line has a version and one hash."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    return [line.split("==")[0] for line in lines]


@pytest.mark.parametrize("path", [pytest.param(p, id=str(p.relative_to(ROOT))) for p in LOCKS])
def test_a_lock_file_names_each_package_once_and_sorted(path: Path) -> None:
    names = locked(path)
    assert names
    assert names == sorted({*names})


def test_no_package_is_in_the_lock_files_of_two_recipes() -> None:
    """An image with both recipes would have the package twice in one directory."""
    seen: dict[tuple[str, str], Path] = {}
    for path in LOCKS:
        for name in locked(path):
            assert seen.setdefault((path.name, name), path) == path, name


# Schemas


_, VERBS = parsers()
PAGES = pages(VERBS)


@pytest.mark.parametrize("name", [*PAGES])
def test_generated_pages_in_docs_are_current(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == PAGES[name](), "run `make schemas`"


def test_docs_have_no_obsolete_schemas() -> None:
    names = {path.name for path in (ROOT / "docs/schemas").iterdir()}
    assert names == {f"{kind}.schema.json" for kind in KINDS}


def objects(schema: Any) -> list[dict[str, Any]]:
    """Return all parts of a schema that describe an object with known keys."""
    parts = list(schema.values()) if isinstance(schema, dict) else schema
    if not isinstance(schema, dict | list):
        return []
    own = [schema] if isinstance(schema, dict) and schema.get("type") == "object" else []
    return own + [item for part in parts for item in objects(part)]


@pytest.mark.parametrize("kind", KINDS)
def test_keys_are_kebab_case_and_others_are_refused(kind: str) -> None:
    found = [item for item in objects(json_schema(kind)) if "properties" in item]
    assert found
    for item in found:
        assert item["additionalProperties"] is False
        assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\+?", key) for key in item["properties"])


def test_the_boards_schema_accepts_variants() -> None:
    schema = json_schema("board")
    assert schema["required"] == ["board"]
    assert schema["if"] == {"required": ["extends"]}
    assert {"soc", "memory", "distro"} < set(schema["else"]["required"])
    assert not any("required" in part for part in schema["$defs"].values())
    keys = {key for item in objects(schema) for key in item.get("properties", {})}
    assert {key for key in keys if key.endswith("+")} == {
        "accepted-findings+",
        "distro+",
        "kernel-fragments+",
        "overlays+",
        "recipes+",
        "sysroot+",
    }
    assert schema["properties"]["distro+"]["items"] == schema["properties"]["distro"]["items"]


# Sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512K", 512 << 10),
        ("100M", 100 << 20),
        ("4G", 4 << 30),
        ("0M", 0),
        ("1M", 1 << 20),
        (4096, 4096),
    ],
)
def test_sizes_are_read(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "M", "1", "1T", "1.5G", "1 M", "1m", "1MB", "-1M", 1.5, True, None, [1], "1M\n"]
)
def test_invalid_sizes_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"^must be a size like 512K, 100M or 1G$"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (512 << 20, "512M"),
        (1 << 30, "1G"),
        (1025 << 20, "1025M"),
        (1536, "1536"),
        (3 << 10, "3K"),
        (7, "7"),
        (0, "0"),
    ],
)
def test_sizes_are_written_in_the_largest_unit_that_fits(size: int, text: str) -> None:
    assert format_size(size) == text
    assert parse_size(int(text) if text.isdigit() else text) == size


@pytest.mark.parametrize("soc", Soc)
def test_every_soc_has_an_architecture(soc: Soc) -> None:
    assert soc.architecture.value in ("armhf", "arm64")
