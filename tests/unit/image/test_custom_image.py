# SPDX-License-Identifier: MIT
"""A customized image from the parts of a small card, with a plain directory as the tree."""

from __future__ import annotations

import hashlib
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from builder.errors import UserError
from builder.formats.ext4 import Ext4, superblock
from builder.image.base_image import BaseFacts, BaseImage
from builder.image.custom_image import IMAGE, CustomImage
from builder.rootfs.designs import Designs
from builder.rootfs.layers import LayerStack, MountedRoot
from builder.sandbox.workspace import Workspace
from builder.spec.overlays import find_design
from builder.steps.step import Job, Shared, Step
from builder.store.checksum import sha256
from builder.store.store import Entry, Store
from tests.fixtures.cards import BOOT, MIB, START, card, system, tool
from tests.fixtures.specs import Here


class Stack:
    """A fake stack of layers: the tree is a plain directory."""

    def __init__(self, here: Here, tree: Path) -> None:
        self.root = MountedRoot(path=tree, changes=tree, workspace=here)  # type: ignore[arg-type]

    @contextmanager
    def mounted(self, _: Sequence[Entry], **__: Any) -> Iterator[MountedRoot]:
        yield self.root

    def save(self, *_: Any, **__: Any) -> None:
        """Save nothing."""


class Tools(Here):
    def __init__(self, directory: Path, tree: Path) -> None:
        super().__init__(directory)
        self.stack = Stack(Here(directory), tree)

    def shared(self, create: Callable[[Workspace], Shared]) -> Shared:
        assert create is LayerStack
        return cast(Shared, self.stack)


class Card:
    """A card, its parts, and the customized card."""

    def __init__(self, folder: Path, store: Store, writer: Path, tree: Path | None = None) -> None:
        self.folder = folder
        self.writer = writer
        self.tree = tree or system(folder / "tree")
        self.path = card(folder / "card.img", self.tree)
        self.base = BaseImage(self.path, sha256(self.path))
        self.tools = Tools(folder, self.tree)
        self.store = store
        self.said: list[str] = []
        self.facts = BaseFacts.read(self.run(self.base, "base"))

    def run(self, step: Step, output: str, **inputs: Path) -> Path:
        place = self.folder / output / "files"
        place.mkdir(parents=True)
        step.run(
            Job(
                inputs={
                    name: Entry(key=name, step=name, path=path, seconds=0, size=0)
                    for name, path in inputs.items()
                },
                output=place,
                log=io.StringIO(),
                store=self.store,
                tools=self.tools,  # type: ignore[arg-type]
                on_line=self.said.append,
            )
        )
        return place

    @property
    def inputs(self) -> dict[str, Path]:
        return {"base-image": self.folder / "base", "ext4-writer": self.writer}

    def made(self, *boot_files: Path, free: int = 0, output: str = "new") -> Path:
        step = CustomImage(self.base, self.facts, layers=[], boot_files=boot_files, free=free)
        return self.run(step, output, **self.inputs) / IMAGE

    def names(self, image: Path) -> set[str]:
        return {*tool("mdir", "-b", "-i", f"{image}@@{START}", "::/").split()}


@pytest.fixture(autouse=True)
def _commands(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: Job, __: Here, *argv: str | Path, **options: Any) -> str:
        return tool(*argv, **options)

    monkeypatch.setattr(Job, "run", run)


@pytest.fixture
def given(tmp_path: Path, store: Store, ext4_writer: Path) -> Card:
    return Card(tmp_path, store, ext4_writer)


def test_the_new_card_has_the_old_ones_layout_and_names(given: Card) -> None:
    (given.tree / "etc/added").write_text("new\n")
    image = given.made()
    old, new = (
        json.loads(tool("sfdisk", "--json", path))["partitiontable"] for path in (given.path, image)
    )
    assert new["id"] == old["id"] == "0x12345678"
    assert [item["start"] for item in new["partitions"]] == [
        item["start"] for item in old["partitions"]
    ]
    assert new["partitions"][0]["bootable"]
    # The new ext4 has a journal, so the partition grew.
    assert new["partitions"][1]["size"] > old["partitions"][1]["size"]
    assert image.stat().st_size == START + BOOT + new["partitions"][1]["size"] * 512
    before, after = (superblock(path, offset=START + BOOT) for path in (given.path, image))
    assert (after.uuid, after.label) == (before.uuid, "PYNQ_ROOT")
    with Ext4(image, offset=START + BOOT) as filesystem:
        assert filesystem.read("/etc/added") == "new\n"
        assert filesystem.read("/etc/os-release") == (given.tree / "etc/os-release").read_text()
    assert image.read_bytes()[START : START + BOOT] == given.path.read_bytes()[START : START + BOOT]


def test_beside_it_are_checksum_and_block_map(given: Card) -> None:
    image = given.made()
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    assert Path(f"{image}.sha256").read_text().split()[0] == digest
    assert json.loads((image.parent / "image.json").read_text())["sha256"] == digest
    tree = ET.parse(f"{image}.bmap")  # noqa: S314 - our own file
    block = int(tree.findtext("BlockSize", "0"))
    covered: set[int] = set()
    for item in tree.iter("Range"):
        first, _, last = (item.text or "").strip().partition("-")
        covered |= {*range(int(first), int(last or first) + 1)}
    assert covered >= {*range(START // block, (START + BOOT) // block)}, "all of the FAT partition"


def test_twice_the_same_is_the_same(given: Card) -> None:
    assert sha256(given.made()) == sha256(given.made(output="again"))


def test_boot_files_are_added_and_replaced(given: Card) -> None:
    (given.folder / "new").mkdir()
    first, more = given.folder / "new/BOOT.BIN", given.folder / "new/image.ub"
    first.write_bytes(b"another first stage")
    more.write_bytes(b"kernel")
    image = given.made(first, more, output="made")
    assert given.names(image) == {"::/BOOT.BIN", "::/REVISION", "::/image.ub"}
    assert tool("mtype", "-i", f"{image}@@{START}", "::/BOOT.BIN") == "another first stage"
    # The base image is unchanged.
    assert sha256(given.path) == given.base.checksum


def test_what_recipes_put_into_boot_is_on_the_boot_partition(given: Card) -> None:
    (given.tree / "boot/sub").mkdir()
    (given.tree / "boot/sub/boot.py").write_text("added")
    image = given.made()
    assert given.names(image) == {"::/BOOT.BIN", "::/REVISION", "::/sub/"}
    assert tool("mtype", "-i", f"{image}@@{START}", "::/sub/boot.py") == "added"
    with Ext4(image, offset=START + BOOT) as filesystem:
        found = filesystem.find("/boot")
        assert found
        assert filesystem.entries(found.number) == {}


def test_a_boot_directory_that_is_none_stays(
    tmp_path: Path, store: Store, ext4_writer: Path
) -> None:
    tree = system(tmp_path / "tree")
    (tree / "boot/hidden").write_text("below what is mounted")
    given = Card(tmp_path, store, ext4_writer, tree)
    image = given.made()
    assert given.names(image) == {"::/BOOT.BIN", "::/REVISION"}
    with Ext4(image, offset=START + BOOT) as filesystem:
        assert filesystem.read("/boot/hidden") == "below what is mounted"


def test_boot_files_that_do_not_fit_are_refused(given: Card) -> None:
    large = given.folder / "image.ub"
    with large.open("wb") as file:
        file.truncate(BOOT)
    with pytest.raises(
        UserError, match=r"the boot files need .*, but the boot partition has only .* left"
    ):
        given.made(large)


def test_the_root_partition_keeps_its_size_where_that_is_enough(given: Card) -> None:
    facts = BaseFacts(**{**vars(given.facts), "root_size": 256 * MIB})
    step = CustomImage(given.base, facts, layers=[], boot_files=(), free=8 * MIB)
    image = given.run(step, "new", **given.inputs) / IMAGE
    assert image.stat().st_size == START + BOOT + 256 * MIB


# Designs


@pytest.fixture
def design(tmp_path: Path) -> Path:
    folder = tmp_path / "designs/base"
    for name in ("base.bit", "base.hwh", "base.tcl", "notebooks/first/led.ipynb"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"new {name}")
    return folder


@pytest.mark.parametrize(
    "library",
    [
        "usr/local/lib/python3.11/dist-packages/pynq/overlays",
        "usr/local/share/pynq-venv/lib/python3.10/site-packages/pynq/overlays",
    ],
)
def test_a_design_takes_the_place_of_one_of_its_name(
    given: Card, design: Path, library: str
) -> None:
    place, notebooks = given.tree / library, given.tree / "home/xilinx/jupyter_notebooks"
    (place / "base").mkdir(parents=True)
    (place / "base/old.bit").write_text("old")
    (place / "other").mkdir()
    notebooks.mkdir(parents=True)
    given.run(Designs([find_design(design)], below=[], epoch=0, scope="x"), "designs-made")
    assert {path.name for path in (place / "base").iterdir()} == {"base.bit", "base.hwh"}
    assert (place / "base/base.bit").read_text() == "new base.bit"
    assert (place / "other").is_dir()
    assert (notebooks / "base/first/led.ipynb").exists()
    assert any("replacing" in line for line in given.said)


def test_a_design_needs_the_library(given: Card, design: Path) -> None:
    with pytest.raises(UserError, match="has no PYNQ library"):
        given.run(Designs([find_design(design)], below=[], epoch=0, scope="x"), "made")


def test_a_design_is_known_by_its_files(given: Card, design: Path) -> None:
    step = Designs([find_design(design)], below=[], epoch=0, scope="x")
    assert {path.name for path in step.files()} == {"base.bit", "base.hwh", "led.ipynb"}


# The command


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, build_py: Callable[..., Any]
) -> Callable[..., tuple[int, str]]:
    monkeypatch.setattr("builder.cli.customize.ensure_build_environment", lambda *_: None)

    def customize(*words: str | Path) -> tuple[int, str]:
        answer = build_py.there("customize", *map(str, words))  # type: ignore[attr-defined]
        return answer.status, answer.errors

    return customize


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.img", "-o", "new.img"], "none.img: no such file"),
        (["IMAGE", "-o", "IMAGE"], "is the image to customize, which is never changed"),
        (["IMAGE", "-o", "new.bin"], "the name must end in .img"),
        (["IMAGE", "-o", "nowhere/new.img"], "nowhere does not exist"),
        (["IMAGE", "-o", "new.img", "--recipe", "sensor"], "did you mean sensors?"),
        (["IMAGE", "-o", "new.img", "--set", "users.usr=x"], "did you mean user?"),
        (["IMAGE", "-o", "new.img", "--overlay", "none"], "there is no directory"),
        (["IMAGE", "-o", "new.img", "--overlay", "EMPTY"], "there is no bitstream"),
        (["IMAGE", "-o", "new.img", "--boot-file", "none"], "none: no such file"),
        (["IMAGE", "-o", "new.img", "--board", "Pinq-Z2"], "did you mean Pynq-Z2?"),
    ],
)
def test_mistakes_are_reported_before_the_build(
    run: Callable[..., tuple[int, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "card.img").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    names = {"IMAGE": "card.img", "EMPTY": "empty"}
    status, errors = run(*(names.get(word, word) for word in words))
    assert status == 2
    assert message in errors
    assert {path.name for path in tmp_path.iterdir()} <= {"card.img", "empty", "output", "store"}


def test_a_wrong_checksum_beside_the_image_is_refused(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    image = tmp_path / "card.img"
    image.write_bytes(b"x")
    Path(f"{image}.sha256").write_text(f"{'0' * 64}  card.img\n")
    status, errors = run(image, "-o", tmp_path / "new.img")
    assert status == 2
    assert "is damaged" in errors
