# SPDX-License-Identifier: MIT
"""Boots the image under QEMU by the user's own command and reads its report."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest

from builder.boot_test.browser import lacking
from builder.boot_test.qemu_release import qemu_source
from builder.boot_test.selftest import differences
from builder.publish.output import Output
from builder.spec.models import Soc
from tests.fixtures.product import ROOT, build_py

STAGES = {Soc.ZYNQ: ["first stage", "U-Boot", "boot script", "kernel"], Soc.ZYNQMP: ["kernel"]}
"""Before systemd, which all have. QEMU has no platform unit, which a ZynqMP's U-Boot waits for."""

WITH_DESIGN = {"Pynq-Z2"}
"""Boards with a base design that QEMU can load."""

DESIGN = "test_pynq_overlays.py::test_the_base_design_is_loaded"


@pytest.fixture(scope="session")
def all_checks(request: pytest.FixtureRequest) -> bool:
    """Whether the checks that take long are run, too."""
    return bool(request.config.getoption("--all-checks"))


@pytest.fixture(scope="module")
def report(built: Output, *, all_checks: bool) -> dict[str, Any]:
    """The report of the checks from outside, and the status of the command."""
    words = [] if all_checks else ["--quick"]
    done = build_py("test", "--board", built.board, "--progress", "plain", *words)
    path = built.directory / "test-report.json"
    assert path.exists(), f"no report:\n{done.stdout[-6000:]}"
    found: dict[str, Any] = json.loads(path.read_text())
    found["status"] = done.returncode
    return found


@pytest.fixture
def soc(built: Output) -> Soc:
    return Soc(json.loads(built.manifest.read_text())["spec"]["soc"])


def outcomes(report: dict[str, Any]) -> dict[str, str]:
    """Return the outcomes of a report's checks by name."""
    return {check["check"]: check["outcome"] for check in report["checks"]}


def is_new(report: dict[str, Any]) -> bool:
    """Whether the QEMU was one that runs SPL and takes a bitstream."""
    version = str(report["emulator"]).removeprefix("QEMU ").split(".")
    return tuple(map(int, version)) >= qemu_source().oldest


def test_every_check_passed(report: dict[str, Any], *, all_checks: bool) -> None:
    failed = [check["label"] for check in report["checks"] if check["outcome"] == "failed"]
    assert not failed
    assert report["status"] == 0
    assert report["quick"] != all_checks


def test_every_recipe_with_checks_is_checked(built: Output, report: dict[str, Any]) -> None:
    found = outcomes(report).items()
    files = {name.partition("::")[0] for name, outcome in found if outcome == "passed"}
    places = {file.rpartition("/")[0] for file in files}
    recipes = json.loads(built.manifest.read_text())["recipes"]
    wanted = {
        f"recipes/{name}" for name in recipes if [*(ROOT / "recipes" / name).glob("test_*.py")]
    }
    assert len(wanted) > 10
    assert {*wanted, f"boards/{built.board}/tests"} <= places


def test_the_boot_went_through_its_stages(report: dict[str, Any], soc: Soc) -> None:
    stages = report["boot"]
    wanted = [stage for stage in STAGES[soc] if stage != "first stage" or is_new(report)]
    assert [*stages][: [*stages].index("systemd")] == wanted
    assert [*stages.values()] == sorted(stages.values())
    assert [*stages][[*stages].index("ssh") :] == ["ssh", "Jupyter"]


def test_there_is_a_report_to_look_at(report: dict[str, Any], built: Output) -> None:
    assert report["image"] == json.loads(built.manifest.read_text())["image"]["sha256"]
    page = built.report.read_text()
    assert f"{report['passed']} checks passed" in page
    assert "Linux version" in page


@pytest.mark.usefixtures("report")
def test_a_browser_saw_the_board(built: Output, *, all_checks: bool) -> None:
    if problem := lacking():
        pytest.skip(problem)
    if not all_checks:
        assert not built.screenshot.exists()
        return
    picture = built.screenshot.read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 50_000, "next to nothing is on it"
    assert base64.b64encode(picture).decode() in built.report.read_text()


def test_the_board_finds_the_same_by_itself(
    built: Output, report: dict[str, Any], *, all_checks: bool
) -> None:
    own = json.loads(built.selftest_report.read_text())
    assert own["emulated"]
    assert own["passed"] > (40 if all_checks else 20)
    assert differences(report, own) == []
    # The board leaves out checks that say they belong outside, and no others.
    passed = [
        {name for name, outcome in outcomes(each).items() if outcome == "passed"}
        for each in (report, own)
    ]
    outside = {check["check"] for check in report["checks"] if check.get("only") == "outside"}
    assert passed[0] - passed[1] <= outside
    assert passed[1] <= passed[0]


def test_the_base_design_was_loaded_if_there_is_one(
    board: str, report: dict[str, Any], *, all_checks: bool
) -> None:
    """By a program and by a notebook."""
    loaded = {
        name.rpartition("[")[2].rstrip("]"): outcome
        for name, outcome in outcomes(report).items()
        if DESIGN in name
    }
    outcome = "passed" if board in WITH_DESIGN and is_new(report) else "skipped"
    assert loaded == dict.fromkeys(["program", "notebook"] if all_checks else ["program"], outcome)


def test_the_first_stage_started_u_boot(built: Output, report: dict[str, Any], soc: Soc) -> None:
    said = built.console.read_text()
    if soc is not Soc.ZYNQ or not is_new(report):
        assert "U-Boot SPL " not in said
        return
    assert (
        said.index("U-Boot SPL ") < said.index("Trying to boot from MMC1") < said.index("U-Boot 2")
    )


@pytest.mark.usefixtures("report")
def test_the_boot_began_without_a_mac_address(built: Output, soc: Soc) -> None:
    """U-Boot makes one up, and Linux has it; where there is no U-Boot, Linux finds none."""
    kernel = (built.logs / "dmesg.log").read_text()
    if soc is Soc.ZYNQMP:
        assert "invalid hw address, using random" in kernel
        return
    line = r"^MAC:   eth0 (\S+), made up from the card's identity"
    made_up = re.search(line, built.console.read_text(), re.MULTILINE)
    assert made_up
    assert re.search(rf"\bmacb \S+ eth0: .*\({made_up[1]}\)", kernel)


@pytest.mark.usefixtures("report")
def test_logs_are_kept(built: Output) -> None:
    assert "Linux version" in (built.logs / "console.log").read_text()
    assert "Linux version" in (built.logs / "dmesg.log").read_text()
