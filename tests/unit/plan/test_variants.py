# SPDX-License-Identifier: MIT
"""Boards that extend others: inherited keys and files, and errors in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.apt.archive import Archive
from builder.bsp.mainline.mainline import boot_artifacts
from builder.errors import UserError
from builder.plan.board_steps import board_steps
from builder.rootfs.recipe import RecipeLayer
from builder.spec.reader import SpecTree
from builder.spec.resolve import resolve
from tests.fixtures.command_line import FakeArchive
from tests.fixtures.specs import BOARD, Files

# What a variant takes over


def test_a_variant_is_its_base_under_another_name(files: Files) -> None:
    files.variant("extends: B\n")
    base, variant = files.resolve(), files.resolve(board="V")
    assert variant.name == variant.board.board == "V"
    assert variant.directories == (files.root / "boards/B", files.root / "boards/V")
    assert variant.directory == files.root / "boards/V"
    own = {"board", "extends", "devicetree", "bsp"}
    assert variant.board.model_dump(exclude=own) == base.board.model_dump(exclude=own)


def test_given_keys_replace_those_of_the_base_at_all_depths(files: Files) -> None:
    files.board(BOARD + "partitions: {boot: 64M, root: {free: 1G}}\n")
    files.variant("extends: B\nmemory: 1G\npartitions: {root: {size: 4G}}\n")
    board = files.resolve(board="V").board
    assert (board.memory, board.console) == (1 << 30, "ttyPS0,115200")
    partitions = board.partitions
    assert (partitions.boot, partitions.root.free) == (64 << 20, 1 << 30)
    assert partitions.root.size == 4 << 30


@pytest.mark.parametrize(
    ("text", "recipes"), [("recipes: [c]", "c"), ("recipes+: [c]", "b c"), ("recipes: []", "")]
)
def test_lists_are_replaced_or_added_to(files: Files, text: str, recipes: str) -> None:
    for name in "bc":
        files.recipe(name)
    files.board(BOARD + "recipes: [b]\n")
    files.variant(f"extends: B\n{text}\n")
    spec = files.resolve(board="V")
    assert " ".join(spec.board.recipes) == recipes
    assert [recipe.name for recipe in spec.recipes] == ["a", *recipes.split()]


def test_a_list_can_be_added_to_where_the_base_has_none(files: Files) -> None:
    files.recipe("b")
    files.variant("extends: B\nrecipes+: [b]\n")
    assert files.resolve(board="V").board.recipes == ("b",)


def test_parameters_are_merged_and_their_lists_can_be_added_to(files: Files) -> None:
    files.recipe(
        "a",
        """\
        parameters:
          text: {default: x, summary: s}
          words: {default: [x], summary: s}
        """,
    )
    files.board(BOARD + "parameters: {a: {text: base, words: [base]}}\n")
    files.variant("extends: B\nparameters: {a: {words+: [own]}}\n")
    assert files.resolve(board="V").parameters()["a"] == {"text": "base", "words": ["base", "own"]}


def test_null_takes_away_what_the_base_has(files: Files) -> None:
    files.variant("extends: B\nbsp: {boot-bin: null, start-up-table: {registers: r.yaml}}\n")
    files.write("boards/V/r.yaml", "")
    assert files.resolve(board="V").board.bsp.boot_bin is None


# Files


def test_files_that_are_taken_over_lie_beside_the_base(files: Files) -> None:
    files.board(
        BOARD.replace(
            "{boot-bin: BOOT.BIN}",
            "{boot-bin: BOOT.BIN, kernel-fragments: [b.cfg], hardware: {xsa: x, optional: true},"
            " start-up-table: {registers: r.yaml, parameters: p.yaml}}",
        )
    )
    for name in ("b.cfg", "r.yaml", "p.yaml"):
        files.write(f"boards/B/{name}", "")
    files.write("boards/V/v.cfg", "")
    files.write("boards/V/p.yaml", "")
    files.variant(
        """\
        extends: B
        bsp:
          kernel-fragments+: [v.cfg]
          start-up-table: {parameters: p.yaml}
        """
    )
    spec = files.resolve(board="V")
    bsp, base = spec.board.bsp, files.root / "boards/B"
    assert spec.board.devicetree == f"{base}/b.dts"
    assert bsp.boot_bin == f"{base}/BOOT.BIN"
    assert bsp.kernel_fragments == (f"{base}/b.cfg", "v.cfg")
    assert bsp.hardware
    assert bsp.hardware.xsa == f"{base}/x"
    assert bsp.start_up_table
    assert bsp.start_up_table.registers == f"{base}/r.yaml"
    assert bsp.start_up_table.parameters == "p.yaml"
    assert spec.directory / spec.board.devicetree == base / "b.dts"


def test_names_of_a_boards_own_files_stay_as_they_are_written(files: Files) -> None:
    assert files.resolve().board.devicetree == "b.dts"


def test_boot_files_of_the_same_files_are_made_once(files: Files) -> None:
    """What steps say of themselves is what tells them apart in the store."""
    download = "{url: 'http://mirror.invalid/x', sha256: '" + 64 * "0" + "'}"
    files.write("boards/B/kernel/b.cfg", "")
    files.board(
        BOARD.replace(
            "boot-bin: BOOT.BIN",
            f"boot-bin: BOOT.BIN, linux: {download}, u-boot: {download},"
            " kernel-fragments: [kernel/b.cfg]",
        )
    )
    files.variant("extends: B\nsummary: a variant\nprofile: p\n")

    def made(board: str) -> dict[str, tuple[object, object]]:
        spec = files.resolve(board=board)
        archive = Archive(files.root, spec.distributions[0], spec.architecture)
        steps = boot_artifacts(spec, archive).boot_files.parents.values()
        return {step.name: (step.settings(), step.files()) for step in steps}

    assert {"kernel", "u-boot", "device-tree"} <= made("V").keys()
    assert made("V") == made("B")


@pytest.mark.parametrize(
    ("text", "hardware"), [("", "B"), ("memory: 1G\n", "B"), ("devicetree: v.dts\n", "V")]
)
def test_the_hardware_is_that_of_the_board_with_the_device_tree(
    files: Files, text: str, hardware: str
) -> None:
    files.write("boards/V/v.dts", "")
    files.variant(f"extends: B\n{text}")
    assert files.resolve().hardware == "B"
    assert files.resolve(board="V").hardware == hardware


def test_recipes_get_the_designs_of_the_hardware(files: Files) -> None:
    files.recipe("a", "board-specific: true\nscripts: {host: host.sh}\n")
    files.write("recipes/a/host.sh", "")
    files.variant("extends: B\n")
    steps = [board_steps(files.resolve(board="V"), FakeArchive()).image]
    for step in steps:
        steps += step.parents.values()
    (layer,) = {step for step in steps if isinstance(step, RecipeLayer)}
    view = layer.inputs.view
    assert view
    assert (view.board.board, view.hardware) == ("V", "B")


def test_recipes_of_the_bases_are_seen_and_nearer_ones_win(files: Files) -> None:
    for board in "BV":
        files.write(f"boards/{board}/recipes/both/recipe.yaml", f"summary: {board}\n")
    files.write("boards/B/recipes/base/recipe.yaml", "summary: B\n")
    files.board(BOARD + "recipes: [base, both]\n")
    files.variant("extends: B\n")
    _, base, both = files.resolve(board="V").recipes
    assert base.directory == files.root / "boards/B/recipes/base"
    assert both.directory == files.root / "boards/V/recipes/both"


# Chains, and boards elsewhere


def test_variants_may_be_extended(files: Files) -> None:
    for name in "bcd":
        files.recipe(name)
    files.variant("extends: B\nrecipes+: [b]\nmemory: 1G\nconsole: ttyPS1,9600\n")
    files.variant("extends: V\nrecipes+: [c, d]\nmemory: 2G\n", name="W")
    spec = files.resolve(board="W")
    assert spec.board.recipes == ("b", "c", "d")
    assert (spec.board.memory, spec.board.console) == (2 << 30, "ttyPS1,9600")
    assert spec.board.devicetree == f"{files.root}/boards/B/b.dts"
    assert [each.name for each in spec.directories] == ["B", "V", "W"]


def test_the_base_may_be_in_another_directory(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.variant("extends: B\n", folder="elsewhere")
    monkeypatch.chdir(files.root)
    tree = SpecTree(root=Path(), boards_dirs=(Path("elsewhere"),))
    spec = resolve(tree, "V")
    assert spec.board.devicetree
    assert spec.directory / spec.board.devicetree == files.root / "boards/B/b.dts"


def test_a_board_that_shadows_the_base_takes_its_place(files: Files) -> None:
    files.variant("extends: B\n")
    files.board(BOARD.replace("512M", "1G"), folder="elsewhere")
    tree = SpecTree(root=files.root, boards_dirs=(files.root / "elsewhere",))
    spec = resolve(tree, "V")
    assert spec.board.memory == 1 << 30
    assert spec.board.devicetree == f"{files.root}/elsewhere/B/b.dts"


# Mistakes


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("extends: C", "V/board.yaml:2: extends: there is no board C (there are: B, V)"),
        ("extends: BB", "V/board.yaml:2: extends: there is no board BB (did you mean B?)"),
        ("extends: [B]", "V/board.yaml:2: extends: must be a text; put it in quotes"),
        ("extends: 5", "V/board.yaml:2: extends: must be a text; put it in quotes, not 5"),
        ("extends: V", "V/board.yaml:2: extends: goes in a circle: V -> V"),
        ("extends: B\nmemory: lots", "V/board.yaml:3: memory: must be a size like 512K, 100M or"),
        ("extends: B\nmemry: 1G", "V/board.yaml:3: memry: is not a known key (did you mean memory"),
        ("extends: B\nbsp: mainline", "V/board.yaml:3: bsp: must be a mapping of keys, not 'main"),
        ("extends: B\ndistro: one", "V/board.yaml:3: distro: must be a list, not 'one'"),
        ("extends: B\nbsp: {boot-bin: none}", "V/board.yaml:3: bsp.boot-bin: there is no file "),
        ("extends: B\nrecipes+: [b]", "V/board.yaml:3: recipes+.0: there is no recipe b (there "),
        ("extends: B\nrecipse+: [a]", "V/board.yaml:3: recipse+: is not a known key (did you mean"),
        *(
            (f"extends: B\n{key}: {value}", f"V/board.yaml:3: {key}: can only add a list to a list")
            for key, value in (("recipes+", "a"), ("memory+", "[1G]"), ("bsp+", "[x]"))
        ),
        (
            "extends: B\nparameters: {a: {words+: 1}}",
            "V/board.yaml:3: parameters.a.words+: recipe a has no parameter words+ (there are: ",
        ),
    ],
)
def test_a_variants_mistake_is_one_problem_at_its_place(
    files: Files, text: str, problem: str
) -> None:
    files.variant(f"{text}\n")
    (found,) = files.problems(board="V")
    assert found.startswith(f"boards/{problem}")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("512M", "lots", "B/board.yaml:4: memory: must be a size like 512K, 100M or 1G"),
        ("[one]", "[oen]", "B/board.yaml:9: distro.0: there is no distribution oen (did you mean"),
        ("b.dts", "none.dts", "B/board.yaml:7: devicetree: there is no file {root}/boards/B/none"),
        ("profile: p", "profil: p", "B/board.yaml:10: profil: is not a known key (did you mean"),
        ("profile: p", "recipes+: [a]", "B/board.yaml:10: recipes+: can only add a list to a"),
        ("profile: p", "recipes: [", "B/board.yaml:11: not YAML: "),
        ("memory: 512M\n", "", "V/board.yaml:1: memory: is missing"),
    ],
)
def test_the_bases_mistake_is_one_problem_at_its_place(
    files: Files, old: str, new: str, problem: str
) -> None:
    assert BOARD.count(old) == 1, "the table changes one place"
    files.board(BOARD.replace(old, new))
    files.variant("extends: B\n")
    (found,) = files.problems(board="V")
    assert found.startswith("boards/" + problem.format(root=files.root))


def test_a_variant_has_to_say_its_own_name(files: Files) -> None:
    files.write("boards/V/board.yaml", "extends: B\n")
    assert files.problems(board="V") == ["boards/V/board.yaml:1: board: is missing"]


def test_a_circle_is_shown_once_where_it_closes(files: Files) -> None:
    files.variant("extends: W\n", name="V")
    files.variant("extends: X\n", name="W")
    files.variant("summary: x\nextends: W\n", name="X")
    for board in "VWX":
        (problem,) = files.problems(board=board)
        circle = "W -> X -> W" if board != "X" else "X -> W -> X"
        assert problem.endswith(f": extends: goes in a circle: {circle}")
        assert problem.startswith(f"boards/{circle[5]}/board.yaml:")


def test_problems_of_variant_and_base_come_at_once(files: Files) -> None:
    files.board(BOARD.replace("zynq", "z80") + "recipes: [a]\n")
    files.variant("extends: B\nmemory: lots\nrecipes+: [{}]\n")
    assert files.problems(board="V") == [
        "boards/B/board.yaml:3: soc: input should be 'zynq' or 'zynqmp', not 'z80'",
        "boards/V/board.yaml:3: memory: must be a size like 512K, 100M or 1G",
        "boards/V/board.yaml:4: recipes+.0: must be a text; put it in quotes",
    ]


def test_without_the_base_only_what_is_there_is_judged(files: Files) -> None:
    files.variant("extends: W\nmemory: lots\n")
    files.variant("extends: nowhere\nsumary: w\n", name="W")
    assert files.problems(board="V") == [
        "boards/V/board.yaml:3: memory: must be a size like 512K, 100M or 1G",
        "boards/W/board.yaml:2: extends: there is no board nowhere (there are: B, V, W)",
        "boards/W/board.yaml:3: sumary: is not a known key (did you mean summary?)",
    ]


def test_wrong_parameters_are_found_in_the_file_that_gives_them(files: Files) -> None:
    files.recipe("a", "parameters: {n: {default: 1, summary: s}, m: {default: 1, summary: s}}\n")
    files.board(BOARD + "parameters: {a: {n: x}}\n")
    files.variant("extends: B\nparameters:\n  a: {m: x}\n")
    assert files.problems(board="V") == [
        "boards/B/board.yaml:11: parameters.a.n: must be a number, not 'x'",
        "boards/V/board.yaml:4: parameters.a.m: must be a number, not 'x'",
    ]


def test_an_unreadable_variant_is_a_problem(files: Files) -> None:
    files.write("boards/V/board.yaml", "extends: [\n")
    with pytest.raises(UserError) as caught:
        files.resolve(board="V")
    assert "not YAML" in caught.value.details[0]
