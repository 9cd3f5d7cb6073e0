# SPDX-License-Identifier: MIT
"""Makes an image out of another one in little time, boots it, and checks what was added and replaced."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from builder.publish.output import Output
from tests.fixtures.new_boards import base_design
from tests.fixtures.product import BOARD, ROOT, build_py

MARKER = "zebra"
CHECK = f'''\
"""The design that took the place of the image's own."""

from testinfra.host import Host


def test_the_design_is_the_new_one(host: Host) -> None:
    """Programs get the design that was put in place of another one."""
    program = "import pynq.overlays.base; print(pynq.overlays.base.MARKER)"
    assert host.check_output(f"python3 -W ignore -c '{{program}}'") == "{MARKER}"
'''
"""Of a recipe that brings nothing else: how a vendor checks what he customizes."""


@dataclass(frozen=True, kw_only=True)
class Customized:
    """What the user saw until the image was there, and what its test reported."""

    said: str
    checks: Sequence[dict[str, Any]]
    failed: int


@pytest.fixture(scope="module")
def customized(built: Output, tmp_path_factory: pytest.TempPathFactory) -> Customized:
    folder = tmp_path_factory.mktemp("customized")
    design = base_design(folder, BOARD)
    with (design / "__init__.py").open("a") as file:
        file.write(f'\nMARKER = "{MARKER}"\n')
    recipe = folder / "vendor/recipes/own-design"
    recipe.mkdir(parents=True)
    (recipe / "recipe.yaml").write_text("summary: The check of a design of our own\n")
    (recipe / "test_own_design.py").write_text(CHECK)
    done = build_py(
        *("customize", str(built.image), "-o", str(folder / "zebra.img")),
        *("--recipe", "sensors", "--set", "hostname.name=zebra", "--overlay", str(design)),
        *("--boards-dir", str(folder / "vendor"), "--recipe", "own-design"),
        *("--progress", "plain", "--test"),
        *("-k", "sensors or hostname or users or overlays or own_design"),
    )
    assert done.returncode == 0, done.stdout
    report = json.loads((ROOT / "output/customized/zebra/test-report.json").read_text())
    # The boot's own words come after the image's.
    said = done.stdout.partition("write to card:")[0]
    return Customized(said=said, checks=report["checks"], failed=report["failed"])


def test_it_boots_with_what_was_added(customized: Customized) -> None:
    assert customized.failed == 0
    passed = {check["check"] for check in customized.checks if check["outcome"] == "passed"}
    files = {name.partition("::")[0].rpartition("/")[2] for name in passed}
    assert {"test_sensors.py", "test_hostname.py", "test_users.py"} <= files


def test_its_design_is_the_new_one(customized: Customized) -> None:
    own = [check for check in customized.checks if "test_own_design.py" in check["check"]]
    assert [check["outcome"] for check in own] == ["passed"]


def test_it_takes_less_than_two_minutes(customized: Customized) -> None:
    """From the command to the image, the base image taken apart, and without the boot."""
    found = re.search(r"customized in (?:(\d+) min )?([\d.]+) s:", customized.said)
    assert found, customized.said
    seconds = 60 * int(found[1] or 0) + float(found[2])
    sys.stdout.write(f"customized in {seconds:.0f} s\n")
    assert seconds < 120


def test_nothing_is_emulated_that_need_not_be(customized: Customized) -> None:
    """All programs of the target that have twins here run as these."""
    assert re.search(r"(cached|done) +native-programs", customized.said)
    assert "emulated" not in customized.said
