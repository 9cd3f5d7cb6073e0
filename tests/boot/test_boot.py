# SPDX-License-Identifier: MIT
"""Boots the image under QEMU by the user's own command and reads its report."""

from __future__ import annotations

import base64
import json

import pytest

from builder.emulation.qemu import qemu_source
from builder.machine.browser import lacking
from builder.plan.publish import Output
from tests.support import BOARD, build_py

STAGES = {"Pynq-Z2": ["first stage", "U-Boot", "boot script", "kernel"], "ZCU111": ["kernel"]}
"""Before systemd, which all have. QEMU has no platform unit, which ZCU111's U-Boot waits for."""

DESIGN = "test_pynq_overlays.py::test_the_base_design_is_loaded"


@pytest.fixture(scope="session")
def picked(request: pytest.FixtureRequest) -> str | None:
    """Which of the checks are run, if not all."""
    found: str | None = request.config.getoption("--boot-checks")
    return found


@pytest.fixture
def all_checks(picked: str | None) -> None:
    """Skip a test that needs all checks, or one that is not among those that were picked."""
    if picked:
        pytest.skip(f"only the checks {picked!r} were run")


@pytest.fixture(scope="module")
def report(built: Output, picked: str | None) -> dict[str, object]:
    words = ["-k", picked] if picked else []
    done = build_py("test", "--board", built.board, "--progress", "plain", *words)
    path = built.directory / "test-report.json"
    assert path.exists(), f"no report:\n{done.stdout[-6000:]}"
    found: dict[str, object] = json.loads(path.read_text())
    found["status"] = done.returncode
    return found


def outcomes(report: dict[str, object], *places: str) -> dict[str, str]:
    """Return the outcomes of a report's checks, but of those that belong to some places alone."""
    checks = report["checks"]
    assert isinstance(checks, list)
    return {check["check"]: check["outcome"] for check in checks if check.get("only") not in places}


def is_new(report: dict[str, object]) -> bool:
    """Whether the QEMU was one that runs SPL and takes a bitstream."""
    version = str(report["emulator"]).removeprefix("QEMU ").split(".")
    return tuple(map(int, version)) >= qemu_source().oldest


def test_every_check_passed(report: dict[str, object]) -> None:
    checks = report["checks"]
    assert isinstance(checks, list)
    failed = [check["label"] for check in checks if check["outcome"] == "failed"]
    assert not failed
    assert report["status"] == 0


@pytest.mark.usefixtures("all_checks")
def test_every_recipe_is_checked(report: dict[str, object]) -> None:
    checks = report["checks"]
    assert isinstance(checks, list)
    files = {check["check"].partition("::")[0].rpartition("/")[2] for check in checks}
    own = f"test_{str(report['board']).lower().replace('-', '_')}.py"
    assert {"test_jupyter.py", "test_first_boot.py", own} <= files


def test_the_boot_went_through_its_stages(report: dict[str, object], picked: str | None) -> None:
    stages = report["boot"]
    assert isinstance(stages, dict)
    wanted = [
        stage for stage in STAGES[str(report["board"])] if stage != "first stage" or is_new(report)
    ]
    assert [*stages][: [*stages].index("systemd")] == wanted
    assert [*stages.values()] == sorted(stages.values())
    # Nobody waits for Jupyter who wants some checks only.
    assert [*stages][[*stages].index("ssh") :] == (["ssh"] if picked else ["ssh", "Jupyter"])


def test_there_is_a_report_to_look_at(report: dict[str, object], built: Output) -> None:
    assert report["image"] == json.loads(built.manifest.read_text())["image"]["sha256"]
    page = built.report.read_text()
    assert f"{report['passed']} checks passed" in page
    assert "Linux version" in page


@pytest.mark.usefixtures("all_checks")
def test_a_browser_saw_the_board(report: dict[str, object], built: Output) -> None:
    if problem := lacking():
        pytest.skip(problem)
    picture = built.screenshot.read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 50_000, "next to nothing is on it"
    assert base64.b64encode(picture).decode() in built.report.read_text()


def test_the_board_finds_the_same_by_itself(
    built: Output, report: dict[str, object], picked: str | None
) -> None:
    own = json.loads(built.selftest_report.read_text())
    assert own["emulated"]
    found, seen = outcomes(own, "outside"), outcomes(report)
    assert len(found) > (0 if picked else 40)
    assert found.items() <= seen.items()
    elsewhere = seen.keys() - found.keys()
    if picked:
        return
    assert {name.partition("::")[0] for name in elsewhere} == {"recipes/selftest/test_selftest.py"}
    assert {seen[name] for name in elsewhere} == {"passed"}


@pytest.mark.usefixtures("all_checks")
def test_a_design_was_loaded_by_a_program_and_by_a_notebook(
    built: Output, report: dict[str, object]
) -> None:
    if built.board != BOARD or not is_new(report):
        pytest.skip(f"{report['emulator']} cannot load a design of {built.board}")
    found = {name.rpartition("/")[2]: outcome for name, outcome in outcomes(report).items()}
    loaded = {name: outcome for name, outcome in found.items() if name.startswith(DESIGN)}
    assert loaded == {f"{DESIGN}[{how}]": "passed" for how in ("program", "notebook")}


def test_the_first_stage_started_u_boot(built: Output, report: dict[str, object]) -> None:
    if built.board != BOARD or not is_new(report):
        pytest.skip(f"{report['emulator']} cannot run the first stage of {built.board}")
    said = built.console.read_text()
    assert (
        said.index("U-Boot SPL ") < said.index("Trying to boot from MMC1") < said.index("U-Boot 2")
    )


def test_logs_are_kept(built: Output, report: dict[str, object]) -> None:
    assert "Linux version" in (built.logs / "console.log").read_text()
    assert "Linux version" in (built.logs / "dmesg.log").read_text()
