# SPDX-License-Identifier: MIT
"""The comparison with PYNQ's sdbuild is complete, and all that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from builder.errors import UserError
from builder.spec.parity import DATA, Row, page, read_parity
from builder.spec.reader import SpecTree
from tests.fixtures.product import ROOT
from tests.fixtures.specs import Files

TREE = SpecTree(root=ROOT)

# All directories of sdbuild/packages of v3.1, and those that v4.0 added.
PACKAGES = set(
    """
arrow bazel boot_bitstream boot_leds bootpy clear_pl_statefile cmake ethernet gcc-mb glog googletest
json-c jupyter libsds opencv pandas precached_metadata protobuf pybind11 pynq pynq_peripherals
python_packages_jammy ray resizefs sdcardshrink selftest sensorconf show_ip sigrok ssl udev usbgadget
wifi_connect wpa_ap x11 xrfclk xrfdc xrt xrtlib xsdfec
""".split()  # noqa: SIM905 - words are easier to read
)
# Named changes to Ubuntu.
BASE = set(
    """
bluez build-essential cmake devmem2 dhclient.conf environment fake-hwclock fswebcam gdb gfortran
haveged i2c-tools iw legal linux-firmware lsb-release multistrap nodejs openjdk-8-jdk openssh-server
os-release pandoc pip.conf ruby serial-getty@.service sitecustomize.py smb.conf ssh_config sudoers swig
ubuntu-minimal unattended-upgrades usrmerge valgrind wireless-tools wpasupplicant xorg
""".split()  # noqa: SIM905
)


@pytest.fixture(scope="module")
def rows() -> dict[str, list[Row]]:
    return {section.title: list(section.rows) for section in read_parity(TREE).sections}


def words(rows: list[Row]) -> set[str]:
    return {
        word for row in rows for word in re.findall(r"[\w.@-]+", f"{row.what} {row.gives or ''}")
    }


def test_every_package_has_a_row(rows: dict[str, list[Row]]) -> None:
    named = {word for row in rows["Packages"] for word in re.findall(r"[\w-]+", row.what)}
    assert named >= PACKAGES


def test_packages_with_recipes_need_no_manual_work(rows: dict[str, list[Row]]) -> None:
    """`import-spec` and the comparison agree on each package."""
    packages = yaml.safe_load((ROOT / "builder/sdbuild_import/packages.yaml").read_text())
    made = {word for row in rows["Packages"] if row.recipes for word in row.what.split(", ")}
    assert not made & {name for name, facts in packages.items() if "person" in facts}
    assert made & packages.keys()


def test_every_change_of_the_base_system_has_a_row(rows: dict[str, list[Row]]) -> None:
    assert words(rows["The base system"]) >= BASE


def test_every_capability_has_a_row(rows: dict[str, list[Row]]) -> None:
    assert [row.what for row in rows["Capabilities"]] == [f"F{number}" for number in range(1, 34)]


def test_every_row_has_an_answer() -> None:
    assert not re.findall(r"TODO|FIXME|\?\?", (ROOT / DATA).read_text())


GOOD = """\
about: what it is
sections:
- title: One
  about: of rows
  rows:
  - {what: thing, gives: something, recipes: [a], note: but else}
  - {what: file, here: [recipes/a/recipe.yaml], tests: ["recipes/a/test_a.py::test_one"]}
  - {what: old, left-out: dead upstream}
"""


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A tree with recipe `a`, which has a check, recipe `b`, which has none, and good data."""
    found = Files(tmp_path)
    found.write("recipes/a/test_a.py", "def test_one():\n    pass\n")
    found.recipe("b")
    found.write(DATA, GOOD)
    return found


def test_a_row_is_a_line(files: Files) -> None:
    assert page(files.tree).splitlines()[-3:] == [
        "| thing: something | [a](recipes.md#a) | `recipes/a/test_a.py` | but else |",
        "| file | `recipes/a/recipe.yaml` | `recipes/a/test_a.py::test_one` |  |",
        "| old | left out | | dead upstream |",
    ]


def test_a_boards_own_recipe_counts(files: Files) -> None:
    files.write("boards/B/recipes/own/recipe.yaml", "summary: own\n")
    files.write("boards/B/recipes/own/test_own.py", "")
    files.write(DATA, GOOD.replace("recipes: [a]", "recipes: [own]"))
    assert "| `own` | `boards/B/recipes/own/test_own.py` |" in page(files.tree)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("{what: x}", "6: {}: give either `recipes` or `here`, or `left-out` with the reason"),
        (
            "{what: x, recipes: [a], left-out: y}",
            "6: {}: give either `recipes` or `here`, or `left-out` with the reason",
        ),
        ("{what: x, here: [recipes/a/recipe.yaml]}", "6: {}: files need `tests`"),
        (
            "{what: x, recipes: [aa]}",
            "6: {}.recipes.0: there is no recipe aa (did you mean a?)",
        ),
        ("{what: x, recipes: [b]}", "6: {}.recipes.0: recipe b has no checks: name `tests`"),
        (
            "{what: x, here: [x.py], tests: [recipes/a/test_a.py]}",
            "6: {}.here.0: there is no x.py",
        ),
        ("{what: x, recipes: [a], tests: [test_x.py]}", "6: {}.tests.0: there is no test_x.py"),
        (
            '{what: x, recipes: [a], tests: ["recipes/a/test_a.py::test_on"]}',
            "6: {}.tests.0: recipes/a/test_a.py has no test_on",
        ),
        ("{what: x, left-out: y, why: z}", "6: {}.why: is not a known key"),
    ],
)
def test_a_row_without_a_true_answer_is_a_problem(files: Files, row: str, problem: str) -> None:
    first = "{what: thing, gives: something, recipes: [a], note: but else}"
    files.write(DATA, GOOD.replace(first, row))
    with pytest.raises(UserError) as caught:
        page(files.tree)
    (detail,) = caught.value.details
    wanted = f"{files.root / DATA}:{problem.format('sections.0.rows.0')}"
    assert detail.startswith(wanted)
