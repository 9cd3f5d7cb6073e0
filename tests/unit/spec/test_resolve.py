# SPDX-License-Identifier: MIT
"""Resolution of an image's specification: rules, precedence, and reports of all problems."""

from __future__ import annotations

import pytest

from builder.errors import UserError
from builder.spec.models import Architecture
from builder.spec.reader import SpecTree
from builder.spec.resolve import resolve
from tests.fixtures.specs import BOARD, DISTRIBUTION, Files


def test_the_smallest_tree_resolves_with_defaults(files: Files) -> None:
    spec = files.resolve()
    assert spec.name == "B"
    assert spec.architecture is Architecture.ARMHF
    assert spec.directory == files.root / "boards/B"
    assert spec.board.partitions.boot == 100 << 20
    assert spec.board.partitions.root.free == 512 << 20
    assert [distribution.name for distribution in spec.distributions] == ["one"]
    assert [recipe.name for recipe in spec.recipes] == ["a"]


def test_all_problems_of_all_files_are_reported_at_once_with_their_location(files: Files) -> None:
    files.board(BOARD.replace("512M", "lots") + "recipes: [nowhere]\n")
    files.recipe("a", "required: [b]\n")
    # Rules that depend on the board's file are only checked once that is valid.
    assert files.problems() == [
        "boards/B/board.yaml:4: memory: must be a size like 512K, 100M or 1G"
    ]
    files.board(BOARD.replace("b.dts", "none.dts") + "recipes: [nowhere]\n")
    files.write("distributions/one.yaml", DISTRIBUTION.replace('"3.11"', '"2.7"'))
    files.write("local.yaml", "mirrors: {two: {main: http://x}}\n")
    assert files.problems() == [
        f"boards/B/board.yaml:7: devicetree: there is no file {files.root}/boards/B/none.dts",
        "boards/B/board.yaml:11: recipes.0: there is no recipe nowhere (there are: a)",
        "distributions/one.yaml:11: python: string should match pattern '^3\\.[0-9]{1,3}$', not '2.7'",
        "local.yaml:1: mirrors.two: there is no distribution two (there are: one)",
        "recipes/a/recipe.yaml:2: required: is not a known key (did you mean requires?)",
    ]


def test_problems_are_counted_in_the_message(files: Files) -> None:
    files.board(BOARD.replace("b.dts", "none.dts"))
    with pytest.raises(UserError, match=r"^1 problem in the specification$"):
        files.resolve()
    files.recipe("a", "apt: 7\n")
    with pytest.raises(UserError, match=r"^2 problems in the specification$"):
        files.resolve()


def test_paths_below_the_current_directory_are_short(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.board(BOARD.replace("memory: 512M\n", ""))
    monkeypatch.chdir(files.root)
    with pytest.raises(UserError) as caught:
        files.resolve()
    assert caught.value.details == ("boards/B/board.yaml:1: memory: is missing",)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("summary:", "sumary:", "2: sumary: is not a known key (did you mean summary?)"),
        ("root-device:", "root_device:", "6: root_device: is not a known key (did you mean root-"),
        ("soc: zynq", "soc: z80", "3: soc: input should be 'zynq' or 'zynqmp', not 'z80'"),
        ("memory: 512M", "memory: 512MB", "4: memory: must be a size like 512K, 100M or 1G"),
        ("memory: 512M", "memory: [512M]", "4: memory: must be a size like 512K, 100M or 1G"),
        ("115200", "fast", "5: console: string should match pattern"),
        (
            "blk0p2",
            "blk0p1",
            "6: root-device: must be partition 2 of a card, such as /dev/mmcblk0p2",
        ),
        (
            "mmcblk0p2",
            "sda2",
            "6: root-device: must be partition 2 of a card, such as /dev/mmcblk0p2",
        ),
        ("b.dts", "/b.dts", "7: devicetree: must be a path below the directory of this file"),
        ("b.dts", "../b.dts", "7: devicetree: must be a path below the directory of this file"),
        ("b.dts", "c.dts", "7: devicetree: there is no file "),
        ("BOOT.BIN", "none", "8: bsp.boot-bin: there is no file "),
        ("{boot-bin: BOOT.BIN}", "{}", "8: bsp: the first stage needs `hardware` with its"),
        ("boot-bin:", "bootbin:", "8: bsp.bootbin: is not a known key (did you mean boot-bin?)"),
        ("boot-bin: ", "hardware: {xsa: x}, boot-bin: ", "8: bsp.hardware.xsa: there is no file"),
        ("boot-bin: ", "provider: vitis, boot-bin: ", "8: bsp.provider: input should be "),
        ("[one]", "[]", "9: distro: tuple should have at least 1 item"),
        ("[one]", "[oen]", "9: distro.0: there is no distribution oen (did you mean one?)"),
        ("[one]", "one", "9: distro: must be a list, not 'one'"),
        ("profile: p", "profile: q", "10: profile: there is no profile q (there are: p)"),
        ("profile: p", "board: B", "10: board: is also on line 1"),
        ("board: B", "board: C", "1: board: must be the directory's name, B"),
        ("profile: p", "emulate: {card: 3G}", "10: emulate.card: must be a power of two"),
        ("profile: p", "partitions: {boot: 1M}", "10: partitions.boot: must be 8M to 32G"),
        (
            "profile: p",
            "partitions:\n  root:\n    fre: 1M\n",
            "12: partitions.root.fre: is not a known key (did you mean free?)",
        ),
        (
            "profile: p",
            "bsp2: 1",
            "10: bsp2: is not a known key (there are: ",
        ),
        (
            "boot-bin: ",
            "linux: {url: 'http://x', sha256: abc}, boot-bin: ",
            "8: bsp.linux.sha256: string should match pattern",
        ),
    ],
)
def test_a_boards_mistake_is_reported_with_line_key_and_remedy(
    files: Files, old: str, new: str, problem: str
) -> None:
    assert BOARD.count(old) == 1, "the table changes one place"
    files.board(BOARD.replace(old, new))
    matching = [line for line in files.problems() if problem in line]
    assert matching
    assert matching[0].startswith(f"boards/B/board.yaml:{problem}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("requires: [b]", "2: requires.0: there is no recipe b (there are: a)"),
        ("requires: [aa]", "2: requires.0: there is no recipe aa (did you mean a?)"),
        ("requires: [a]", "2: requires.0: goes in a circle: a -> a"),
        ("files:\n  - {from: x, to: /x}", "3: files.0.from: there is no file "),
        ("templates:\n  - {from: x.j2, to: /x}", "3: templates.0.from: there is no file "),
        ("files: [{from: recipe.yaml, to: x}]", "2: files.0.to: must be an absolute path in the "),
        ("files: [{from: recipe.yaml, to: /x/../y}]", "2: files.0.to: must be an absolute path "),
        ("scripts: {target: run.sh}", "2: scripts.target: there is no file "),
        pytest.param(
            *("scripts: {host: .}", "2: scripts.host: must be a path below the directory"),
        ),
        ("scripts: {inputs: [x]}", "2: scripts.inputs.0: there is no file "),
        (
            f"downloads: [{{url: 'http://x.invalid/a.tar', sha256: {'a' * 64}}}]",
            "2: downloads.0.url: needs `scripts.host`, which reads the download",
        ),
        (
            "scripts: {host: recipe.yaml}\ndownloads:\n"
            + "".join(
                f"  - {{url: 'http://{host}.invalid/a.tar?x', sha256: {'a' * 64}}}\n"
                for host in "xy"
            ),
            "5: downloads.1.url: has the same file name as another: a.tar",
        ),
        ("downloads: [{url: 'http://x.invalid/a.tar'}]", "2: downloads.0.sha256: is missing"),
        (
            "apt: {uubntu: [xx]}",
            "2: apt.uubntu: is not a distribution, family or architecture (did you mean ubuntu?)",
        ),
        (
            "pip: {amr64: x.txt}",
            "2: pip.amr64: is not a distribution, family or architecture (did you mean arm64?)",
        ),
        ("pip:\n  arm64: /x.txt", "3: pip.arm64: must be a path below the directory of this file"),
        ("pip: [x.txt]", "2: pip: must be a mapping of keys"),
        ("scripts: {both: run.sh}", "2: scripts.both: is not a known key (there are: host, inputs"),
        ("services: {enabel: [x]}", "2: services.enabel: is not a known key (did you mean enable"),
        ("users: [{nam: x}]", "2: users.0.nam: is not a known key (did you mean name?)"),
        ("users: [{shell: /bin/sh}]", "2: users.0.name: is missing"),
        ("apt: [a b]", "2: apt: must be the name of a package: "),
        ("apt: {all: x}", "2: apt.all: must be a list, not 'x'"),
        ("parameters: {x: 1}", "2: parameters.x: must be a mapping of keys, not 1"),
        ("parameters:\n  x: {default: 1}", "3: parameters.x.summary: is missing"),
        ("parameters: {x: {default: 1.5, summary: x}}", "2: parameters.x.default: must be a text"),
        (
            "directories: [{path: /x, mode: 755}]",
            "2: directories.0.mode: must be a text; put it in quotes, not 755",
        ),
        ('directories: [{path: /x, mode: "888"}]', "2: directories.0.mode: string should match"),
    ],
)
def test_a_recipes_mistake_is_reported_with_line_key_and_remedy(
    files: Files, text: str, problem: str
) -> None:
    files.recipe("a", text + "\n")
    found = files.problems()
    assert any(line.startswith(f"recipes/a/recipe.yaml:{problem}") for line in found), found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("recipes: [a, b]", "there is no recipe b (there are: a)"),
        ("recipes: []", "must name at least one recipe, or set `extends`"),
    ],
)
def test_a_profiles_mistake_is_named(files: Files, text: str, problem: str) -> None:
    files.write("profiles/p.yaml", f"summary: p\n{text}\n")
    (found,) = files.problems()
    assert found.startswith("profiles/p.yaml:2: recipes")
    assert problem in found


def test_a_distribution_without_the_boards_architecture_is_refused(files: Files) -> None:
    files.write("distributions/one.yaml", DISTRIBUTION.replace("armhf", "arm64"))
    assert files.problems() == ["boards/B/board.yaml:9: distro.0: one has no armhf packages"]


def test_a_pocket_of_an_unknown_archive_is_refused(files: Files) -> None:
    text = DISTRIBUTION.replace("{suite: one}", "{suite: one, archive: mian}")
    files.write("distributions/one.yaml", text)
    assert files.problems() == [
        "distributions/one.yaml:7: pockets.0.archive: mirrors has no mian (did you mean main?)"
    ]


def test_circular_requirements_are_shown(files: Files) -> None:
    files.recipe("a", "requires: [b]\n")
    files.recipe("b", "requires:\n  - c\n")
    files.recipe("c", "requires: [d, b]\n")
    files.recipe("d")
    assert files.problems() == [
        "recipes/c/recipe.yaml:2: requires.1: goes in a circle: b -> c -> b"
    ]


def test_an_unknown_board_is_named_with_the_nearest(files: Files) -> None:
    files.board(BOARD.replace("board: B", "board: Pynq-Z2"), name="Pynq-Z2")
    with pytest.raises(UserError, match=r"^there is no board pynq-z2 \(did you mean Pynq-Z2\?\)$"):
        files.resolve(board="pynq-z2")


def test_an_optional_export_may_be_missing_if_there_is_another_first_stage(files: Files) -> None:
    export = "hardware: {xsa: base.xsa, optional: true}"
    files.board(BOARD.replace("{boot-bin: BOOT.BIN}", f"{{{export}, boot-bin: BOOT.BIN}}"))
    hardware = files.resolve().board.bsp.hardware
    assert hardware is not None
    assert hardware.xsa == "base.xsa"
    files.board(BOARD.replace("{boot-bin: BOOT.BIN}", f"{{{export}}}"))
    (problem,) = files.problems()
    assert problem.startswith("boards/B/board.yaml:8: bsp: the first stage needs `hardware` with")
    files.write("boards/B/base.xsa", "")
    files.resolve()


@pytest.mark.parametrize(
    "partitions",
    ["{boot: 67108865}", "{boot: 100000K}", "{root: {size: 1000K}}", "{root: {free: -5}}"],
)
def test_partitions_must_be_a_whole_number_of_mib(files: Files, partitions: str) -> None:
    # Offsets in the partition table and mke2fs's blocks are rounded differently and would not agree.
    files.board(BOARD + f"partitions: {partitions}\n")
    (problem,) = files.problems()
    assert problem.startswith("boards/B/board.yaml:11: partitions.")


def test_the_command_lines_profile_overrides_the_boards(files: Files) -> None:
    files.recipe("b")
    files.write("profiles/q.yaml", "summary: q\nrecipes: [b]\n")
    spec = resolve(files.tree, "B", profile="q")
    assert [recipe.name for recipe in spec.recipes] == ["b"]
    with pytest.raises(UserError, match=r"^--profile r: there is none \(there are: p, q\)$"):
        resolve(files.tree, "B", profile="r")


# Order of recipes


@pytest.mark.parametrize(
    ("recipes", "profile", "order"),
    [
        ({"a": "[]", "b": "[]"}, ["b", "a"], "b a"),
        ({"a": "[b]", "b": "[]"}, ["a", "b"], "b a"),
        ({"a": "[c, b]", "b": "[c]", "c": "[]"}, ["a"], "c b a"),
        ({"a": "[b]", "b": "[c]", "c": "[]"}, ["a", "a", "c"], "c b a"),
    ],
)
def test_recipes_come_after_what_they_require_and_once(
    files: Files, recipes: dict[str, str], profile: list[str], order: str
) -> None:
    for name, required in recipes.items():
        files.recipe(name, f"requires: {required}\n")
    files.profile(*profile)
    assert files.order() == order.split()


def test_recipes_that_read_the_board_come_last_with_those_that_require_them(files: Files) -> None:
    files.recipe("a", "board-specific: true\n")
    files.recipe("b", "requires: [a]\n")
    files.recipe("c")
    files.recipe("d", "requires: [b, c]\n")
    files.recipe("e", "requires: [c]\n")
    files.profile("a", "b", "c", "d", "e")
    assert files.order() == ["c", "e", "a", "b", "d"]
    assert [recipe.name for recipe in files.resolve().boardless()] == ["c", "e"]


def test_the_boards_recipes_come_after_the_profiles(files: Files) -> None:
    files.recipe("b")
    files.board(BOARD + "recipes: [b]\n")
    assert files.order() == ["a", "b"]


def test_a_boards_own_recipe_overrides_the_trees(files: Files) -> None:
    files.write("boards/B/recipes/a/recipe.yaml", "summary: own\n")
    (recipe,) = files.resolve().recipes
    assert recipe.model.summary == "own"
    assert recipe.directory == files.root / "boards/B/recipes/a"


# Boards out of the tree


def test_a_board_may_be_out_of_the_tree(files: Files) -> None:
    files.board(BOARD.replace("board: B", "board: Out"), name="Out", folder="elsewhere")
    tree = SpecTree(root=files.root, boards_dirs=(files.root / "elsewhere",))
    assert sorted(tree.board_files()) == ["B", "Out"]
    assert resolve(tree, "Out").directory == files.root / "elsewhere/Out"


def test_an_outside_board_overrides_the_trees(files: Files) -> None:
    files.board(BOARD.replace("a board", "another"), folder="elsewhere")
    tree = SpecTree(root=files.root, boards_dirs=(files.root / "elsewhere",))
    assert resolve(tree, "B").board.summary == "another"
