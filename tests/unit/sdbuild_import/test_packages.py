# SPDX-License-Identifier: MIT
"""Packages and designs of an imported board."""

from __future__ import annotations

import pytest
import yaml

from builder.errors import UserError
from builder.sdbuild_import import facts
from builder.sdbuild_import.report import Outcome
from tests.fixtures.command_line import TREE
from tests.fixtures.sdbuild_imports import Imports, said
from tests.fixtures.sdbuild_repository import BOARDS

# Packages


def test_a_boards_own_package_is_used_as_it_is(imports: Imports) -> None:
    report = imports("e200")
    recipe = yaml.safe_load(imports.text("e200", "recipes/radio/recipe.yaml"))
    assert recipe == {
        "summary": "sdbuild's package radio, unchanged",
        "board-specific": True,
        "legacy": {"package": "radio", "board-files": ["notebooks/welcome.ipynb"]},
    }
    for name in ("pre.sh", "qemu.sh", "post.sh", "radio.conf"):
        path = f"packages/radio/{name}"
        assert imports.text("e200", f"recipes/radio/radio/{name}") == BOARDS["e200"][path]
        assert said(report, Outcome.AS_IT_IS, path)
    assert said(report, Outcome.LEFT, "packages/radio/Makefile")
    assert (
        "so the board does not use it"
        in said(report, Outcome.AS_IT_IS, "packages/spare/qemu.sh")[0]
    )


@pytest.mark.parametrize(
    ("board", "path", "line", "what"),
    [
        ("e200", "packages/radio/qemu.sh", 2, "this virtual environment is for users' packages"),
        ("e200", "packages/radio/qemu.sh", 3, "`pip3 install` needs the network"),
        ("e200", "packages/radio/qemu.sh", 4, "use python3"),
        ("e200", "packages/spare/qemu.sh", 1, "`apt-get -y install` needs the network"),
        ("Ultra96", "packages/wilc3000/pre.sh", 1, "there is no PetaLinux project"),
        ("Ultra96", "packages/wilc3000/pre.sh", 2, "loop devices are not available"),
        ("Ultra96", "packages/wilc3000/qemu.sh", 1, "`git -C /x clone` needs the network"),
        ("Ultra96", "packages/wilc3000/qemu.sh", 2, "`wget` needs the network"),
        ("Ultra96", "packages/usb-eth0/pre.sh", 1, "ifupdown is not installed"),
    ],
)
def test_what_in_a_script_does_not_work_here_is_said_with_its_line(
    imports: Imports, board: str, path: str, line: int, what: str
) -> None:
    assert any(what in each for each in said(imports(board), Outcome.PERSON, path, line))


def test_comments_of_scripts_say_nothing(imports: Imports) -> None:
    report = imports("e200")
    assert not said(report, Outcome.PERSON, "packages/radio/pre.sh", 3), "# git clone x"


def test_a_package_named_like_a_recipe_does_not_take_its_place(imports: Imports) -> None:
    folder = imports.write("Pynq-ZED")
    (folder / "packages/ethernet").mkdir()
    (folder / "packages/boot_leds").rename(folder / "packages/network")
    (folder / "packages/ethernet/post.sh").write_text("")
    spec = folder / "Pynq-ZED.spec"
    spec.write_text(spec.read_text().replace("boot_leds", "network"))
    keys = imports.keys("Pynq-ZED")
    # The board's own takes the place of sdbuild's, not of this tree's recipe.
    assert keys["recipes"] == ["ethernet", "network-package"]
    recipe = yaml.safe_load(imports.text("Pynq-ZED", "recipes/network-package/recipe.yaml"))
    assert recipe["legacy"]["package"] == "network"


def test_a_package_without_scripts_does_nothing_as_in_sdbuild(imports: Imports) -> None:
    folder = imports.write("Pynq-ZED")
    for name in ("pre.sh", "qemu.sh", "post.sh"):
        (folder / "packages/boot_leds" / name).unlink()
    report = imports("Pynq-ZED")
    assert report.problems == []
    assert "recipes" not in yaml.safe_load(imports.text("Pynq-ZED", "board.yaml"))
    assert any("it has no scripts" in what for what in said(report, Outcome.LEFT, "Pynq-ZED.spec"))
    assert said(report, Outcome.PERSON, "packages/boot_leds/leds.py")


@pytest.mark.parametrize("name", facts.packages())
def test_a_package_of_sdbuilds_has_recipes_or_a_reason(name: str) -> None:
    package = facts.packages()[name]
    assert bool(package.what) != bool(package.person)
    assert set(package.recipes) <= set(TREE.recipe_files())


@pytest.mark.parametrize(
    ("board", "line", "outcome", "what"),
    [
        ("e200", 5, Outcome.CONVERTED, "ethernet: by network: "),
        ("e200", 5, Outcome.CONVERTED, "sdcardshrink: no recipe: "),
        ("e200", 5, Outcome.AS_IT_IS, "radio: the board's own package, recipe radio"),
        ("Ultra96", 5, Outcome.PERSON, "juliabrot: neither a package of the board nor "),
    ],
)
def test_what_stands_for_a_package(
    imports: Imports, board: str, line: int, outcome: Outcome, what: str
) -> None:
    found = said(imports(board), outcome, f"{board}.spec", line)
    assert any(each.startswith(what) for each in found)


# Designs


def test_designs_come_with_what_the_library_reads(imports: Imports) -> None:
    report = imports("e200")
    base = imports.target / "e200/base"
    found = {path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file()}
    assert found == {"base.bit", "base.hwh", "base.py", "notebooks/start.ipynb"}
    assert said(report, Outcome.LEFT, "base/base.tcl")


def test_a_pointer_of_git_lfs_is_no_file(imports: Imports) -> None:
    report = imports("ZCU104")
    assert any("git lfs pull" in what for what in said(report, Outcome.PERSON, "base/base.bit"))
    assert not (imports.target / "ZCU104/base/base.bit").exists()


def test_links_that_multiply_are_refused(imports: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = imports.write("SURFv6revB")
    # The kernel follows 40 links in a path, and counts them twice if it has to begin again.
    for level in range(15):
        (folder / f"levels/{level}").mkdir(parents=True)
        for side in "ab":
            (folder / f"levels/{level}/{side}").symlink_to(f"../{level + 1}")
    (folder / "levels/15").mkdir()
    monkeypatch.setattr("builder.sdbuild_import.draft._MAX_FILES", 1000)
    with pytest.raises(UserError, match="more than 1000 files"):
        imports("SURFv6revB")


def test_links_are_followed_as_sdbuild_does(imports: Imports) -> None:
    folder = imports.write("Pynq-ZED")
    shared = imports.source / "shared"
    (shared / "base").mkdir(parents=True)
    (shared / "base/base.bit").write_bytes(b"bits")
    (folder / "base").symlink_to("../shared/base")
    (folder / "circle").symlink_to(".")
    (folder / "gone").symlink_to("nowhere")
    report = imports("Pynq-ZED")
    assert (imports.target / "Pynq-ZED/base/base.bit").read_bytes() == b"bits"
    assert said(report, Outcome.PERSON, "gone") == ["is a broken link"]
    assert said(report, Outcome.PERSON, "circle") == ["is a link to one of its parent directories"]
