# SPDX-License-Identifier: MIT
"""Texts and sizes of YAML files, limited to values that are safe in commands and files."""

from __future__ import annotations

import sys
import time

import pytest

from builder.spec.models import END_OF_TABLE, Board, Download, Partitions
from builder.spec.patterns import matches
from builder.spec.texts import package_name, parse_size
from builder.spec.unused import problems_of_shared
from tests.fixtures.specs import BOARD, DISTRIBUTION, Files

SHA = "0" * 64


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("memory", "0", "must be more than 0"),
        ("memory", "-1", "must be more than 0"),
        ("memory", "12345", "must be a whole number of MiB"),
        ("memory", "10000000000000000000", "must be at most 1048576G"),
        ("memory", "2000G", "must be 16M to 1024G"),
        ("memory", f"{'9' * 5000}G", "must be a size like 512K"),
        ("memory", "\u0663G", "must be a size like 512K"),
        ("emulate", "{card: 0}", "must be more than 0"),
        ("emulate", "{card: -1}", "must be more than 0"),
        ("emulate", "{card: 4096G}", "must be 1M to 2048G"),
        ("emulate", "{memory: -512M}", "must be a size like"),
        ("emulate", "{timeout: 10000000000000000000}", "input should be less than or equal to"),
        ("partitions", "{boot: 64G}", "must be 8M to 32G"),
        ("partitions", "{root: {size: 4096G}}", "must be 1M to 2048G"),
        ("partitions", "{root: {size: 2048G}}", "a card's partition table ends at 2048G"),
        ("partitions", "{boot: 32G, root: {free: 2040G}}", "a card's partition table ends at"),
        ("console", "ttyPS0,115200 init=/bin/sh", "string should match pattern"),
        ("console", "ttyPS\u0663,115200", "string should match pattern"),
        ("console", '"ttyPS0,115200\\n"', "string should match pattern"),
        ("root-device", "/dev/mmcblk0p2 init=/x", "string should match pattern"),
        ("root-device", "/dev/mmcblk\u0663p2", "string should match pattern"),
        ("summary", '"a\\nb"', "must be one line, without control characters"),
        ("summary", '"\\e[2J"', "must be one line, without control characters"),
        ("summary", "x" * 1001, "must have at most 1000 characters"),
        ("extends", "../x", "string should match pattern"),
        ("board", "B" * 300, "string should have at most 100 characters"),
        ("profile", "p" * 300, "string should have at most 100 characters"),
        ("devicetree", "$(shell id).dts", "must be a path without quotes"),
        ("devicetree", "a b.dts", "must only have letters, digits, _ . + and - in its names"),
        ("devicetree", f"{'x' * 300}.dts", "is too long for a path"),
        ("devicetree", "x/" * 600 + "b.dts", "is too long for a path"),
        ("devicetree", "'\u20ac' ", "must only have letters, digits"),
        ("devicetree", '"a\\0.dts"', "must be one line"),
        ("notebooks", ".", "must be a path below the directory of this file"),
        ("notebooks", "''", "must be a path below the directory of this file"),
        ("notebooks", "a`id`", "must be a path without quotes"),
        ("overlays", "[.]", "must be a path below the directory of this file"),
        ("overlays", "['a b']", "the last part is the design's name"),
        ("overlays", "[x/-rf]", "the last part is the design's name"),
        ("sysroot", "[sudo-]", "must not end in -: apt would remove sudo"),
        (
            "accepted-findings",
            '[{finding: "a\\eb", because: x}]',
            "must be one line, without control characters",
        ),
        ("bsp", "{boot-bin: ./}", "must be a path below the directory of this file"),
        ("bsp", "{kernel-fragments: ['a b']}", "must only have letters, digits"),
        ("bsp", "{petalinux: {release: '20\u0662\u0664.1'}}", "string should match pattern"),
        ("bsp", f"{{linux: {{url: 'http://h/..', sha256: '{SHA}'}}}}", "must be a file's name"),
        ("bsp", f"{{linux: {{url: 'http://h/.', sha256: '{SHA}'}}}}", "must be a file's name"),
        ("bsp", f"{{linux: {{url: 'http://h/', sha256: '{SHA}'}}}}", "must be a file's name"),
        ("bsp", f"{{linux: {{url: 'http://h', sha256: '{SHA}'}}}}", "must be a file's name"),
        ("bsp", f"{{linux: {{url: 'http://h/a b', sha256: '{SHA}'}}}}", "must be a URL"),
        ("bsp", f"{{linux: {{url: 'http://h/a$b', sha256: '{SHA}'}}}}", "must be a file's name"),
        ("bsp", f"{{linux: {{url: 'http://[/x', sha256: '{SHA}'}}}}", "invalid IPv6 URL"),
        ("bsp", f"{{linux: {{url: 'ftp://h/x', sha256: '{SHA}'}}}}", "must be a URL"),
        ("bsp", f"{{boot-files: {{url: 'http://h/..', sha256: '{SHA}'}}}}", "must be a file's"),
    ],
    ids=lambda value: value[:40],
)
def test_invalid_values_are_refused(files: Files, key: str, value: str, problem: str) -> None:
    kept = [line for line in BOARD.splitlines() if not line.startswith(f"{key}:")]
    files.board("\n".join([*kept, f"{key}: {value}", ""]))
    found = [line for line in files.problems() if problem in line.lower() or problem in line]
    assert len(found) == 1
    assert found[0].startswith(f"boards/B/board.yaml:{len(kept) + 1}: {key}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("summary", ">\n  a board\n"),
        ("memory", "1024G"),
        ("notebooks", "my notebooks"),
        ("partitions", "{boot: 32G, root: {free: 1024G}}"),
        ("console", "ttyAMA10,921600"),
    ],
)
def test_usual_values_are_accepted(files: Files, key: str, value: str) -> None:
    (files.root / "boards/B/my notebooks").mkdir()
    kept = [line for line in BOARD.splitlines() if not line.startswith(f"{key}:")]
    files.board("\n".join([*kept, f"{key}: {value}", ""]))
    assert files.resolve().board.board == "B"


@pytest.mark.parametrize(
    "name",
    [
        *("sudo-", "sudo+", "pkg=1.0", "pkg/suite", "pkg:armhf", "Pkg", "x", "-x", "task^", "a b"),
        *("~ninstalled", "?obsolete", "a\n", "a\u0663", "a_b", "", "x" * 200),
    ],
)
def test_names_that_are_no_packages(name: str) -> None:
    with pytest.raises(ValueError, match="must "):
        package_name(name)


@pytest.mark.parametrize(
    "name", ["g++", "g++-arm-linux-gnueabihf", "libstdc++6", "python3.11", "0ad", "libc6-dev"]
)
def test_names_of_packages(name: str) -> None:
    assert package_name(name) == name


def test_a_download_has_the_name_of_its_url() -> None:
    url = "https://h/a/v6.1%20x.tar.gz?token=a/b#c/d"
    assert Download(url=url, sha256=SHA).name == "v6.1%20x.tar.gz"


def test_sizes_are_of_ascii_digits() -> None:
    assert parse_size("512M") == 512 << 20
    for text in ("\u0665M", "5m", "M", "1.5G", "0x5M", True):
        with pytest.raises(ValueError, match="must be a size"):
            parse_size(text)


def test_partitions_end_where_the_table_does() -> None:
    most = END_OF_TABLE - (4 << 20) - (100 << 20)
    assert Partitions.model_validate({"root": {"size": most}}).root.size == most
    with pytest.raises(ValueError, match="table ends at 2048G"):
        Partitions.model_validate({"root": {"size": most + (1 << 20)}})


def test_text_over_several_lines_becomes_one() -> None:
    data = {"finding": "a", "because": "one\n  two\n"}
    field = Board.model_fields["accepted_findings"]
    assert field.annotation
    (found,) = Board.model_validate(
        {
            "board": "B",
            "summary": "s",
            "soc": "zynq",
            "memory": "512M",
            "console": "ttyPS0,115200",
            "root-device": "/dev/mmcblk0p2",
            "distro": ["one"],
            "accepted-findings": [data],
        }
    ).accepted_findings
    assert found.because == "one two"


# Recipes and distributions


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("apt: [sudo-]", "2: apt: must not end in -: apt would remove sudo"),
        ("apt: {all: [vim=1.0]}", "2: apt.all.0: must be the name of a package"),
        ("pip: '{distribution:>9999999999}'", "2: pip: may hold {distribution}"),
        ("pip: '{distribution.__class__}'", "2: pip: may hold {distribution}"),
        (f"requirements: ['a; {'(' * 900}']", "2: requirements: must be a requirement like"),
        (
            "parameters: {p: {default: x, summary: s, pattern: '(?=x)'}}",
            "2: parameters.p.pattern: must be a regular expression, without look-around",
        ),
        (
            "parameters: {p: {default: x, summary: s, pattern: 'x)|(y'}}",
            "2: parameters.p.pattern: must be a regular expression",
        ),
        (
            "parameters: {p: {default: x, summary: s, pattern: '((x{999}){999}){999}'}}",
            "2: parameters.p.pattern: must be a regular expression",
        ),
        ("summary: x\nsummary: y", "2: summary: is also on line 1"),
        (f"requires: [{'a' * 300}]", "2: requires.0: string should have at most 100 characters"),
        (
            f"downloads: [{{url: 'http://h/..', sha256: '{SHA}'}}]",
            "2: downloads.0.url: the last part of its path must be a file's name",
        ),
    ],
    ids=lambda value: value[:40],
)
def test_invalid_values_of_recipes_are_refused(files: Files, text: str, problem: str) -> None:
    files.recipe("a", text)
    assert any(line.startswith(f"recipes/a/recipe.yaml:{problem}") for line in files.problems())


def test_a_pattern_matches_in_linear_time(files: Files) -> None:
    files.recipe("a", "parameters: {p: {default: x, summary: s, pattern: '(x+x+)+y'}}")
    began = time.process_time()
    assert not matches("(x+x+)+y", "x" * 10_000)
    files.board(f"{BOARD}parameters: {{a: {{p: {'x' * 1000}}}}}\n")
    (problem,) = files.problems()
    assert "must match (x+x+)+y" in problem
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("a|b", "b", True),
        ("a|b", "ab", False),
        ("a", "a\n", False),
        (".{2}", "\u20ac\u20ac", True),
        ("", "", True),
    ],
)
def test_a_pattern_is_for_the_whole_text(pattern: str, text: str, fits: bool) -> None:  # noqa: FBT001
    assert matches(pattern, text) is fits


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("suite: one\n", 'suite: "one\\n"\n', "3: suite: "),
        ("[main]", '["main [x]"]', "5: components.0: "),
        ('"http://mirror.invalid/one"', "'[trusted=yes]'", "8: mirrors.main: "),
        ('"http://mirror.invalid/one"', "http://m x", "8: mirrors.main: "),
        ("linux: linux-source", "linux: linux-", "13: sources.linux: must not end in -"),
    ],
)
def test_invalid_values_of_distributions_are_refused(
    files: Files, old: str, new: str, problem: str
) -> None:
    assert old in DISTRIBUTION
    files.write("distributions/one.yaml", DISTRIBUTION.replace(old, new, 1))
    assert any(line.startswith(f"distributions/one.yaml:{problem}") for line in files.problems())


def test_unused_distributions_are_validated(files: Files) -> None:
    assert problems_of_shared(files.tree, files.root, []) == []
    files.write("distributions/two.yaml", DISTRIBUTION.replace("main:", "mian:"))
    files.write("distributions/three.yaml", "summary: 3\n")
    found = [str(problem) for problem in problems_of_shared(files.tree, files.root, [])]
    place = f"{files.root}/distributions"
    assert (
        f"{place}/two.yaml:7: pockets.0.archive: mirrors has no main (did you mean mian?)" in found
    )
    assert f"{place}/three.yaml:1: suite: is missing" in found
    assert not problems_of_shared(files.tree, files.root / "elsewhere", [])


# Chains

ENDLESS = sys.getrecursionlimit() + 10
"""Length of a chain that exceeds Python's recursion limit."""


def test_chains_of_required_recipes_are_limited(files: Files) -> None:
    for number in range(ENDLESS):
        files.recipe(f"r{number}", f"requires: [r{number + 1}]")
    files.recipe(f"r{ENDLESS}")
    files.profile("r0")
    (problem,) = files.problems()
    assert problem == "recipes/r99/recipe.yaml:2: requires: is in a chain of more than 100 recipes"


def test_chains_of_boards_and_profiles_are_limited(files: Files) -> None:
    for number in range(ENDLESS):
        files.variant(f"extends: V{number + 1}\n", name=f"V{number}")
        files.write(f"profiles/p{number}.yaml", f"summary: p\nextends: p{number + 1}\n")
    (problem,) = files.problems(board="V0")
    assert "more than 20 boards that extend each other" in problem
    files.board(BOARD.replace("profile: p", "profile: p0"))
    (problem,) = files.problems()
    assert "more than 20 profiles that extend each other" in problem


def test_the_number_of_reported_problems_is_limited(files: Files) -> None:
    files.board(BOARD + "".join(f"unknown{number}: 1\n" for number in range(5000)))
    began = time.process_time()
    found = files.problems()
    assert len(found) == 101
    assert found[0] == "boards/B/board.yaml:1: has 4900 more problems"
    assert time.process_time() - began < 5


def test_long_values_are_shortened(files: Files) -> None:
    files.board(BOARD.replace("soc: zynq", f"soc: {'x' * 10_000}"))
    (problem,) = files.problems()
    assert problem.endswith("x...")
    assert len(problem) < 200
