# SPDX-License-Identifier: MIT
"""What a test of a booted image asks for and leaves, and what the kernel's messages are looked through for."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from builder.boot_test.board import BootError
from builder.boot_test.emulator import Qemu
from builder.boot_test.login import root_shell
from builder.boot_test.qemu_release import qemu_source
from builder.boot_test.run import kernel_problems, kernel_traces, run_checks, told_to, verdict
from builder.errors import UserError
from builder.plan import step_key
from builder.plan.board_steps import board_steps
from builder.publish.output import Output
from builder.spec.reader import SpecTree
from builder.spec.resolve import resolve
from builder.steps.step import Step
from builder.target_tests.context import check_files, context, without_secrets
from builder.target_tests.plugin import without_delays
from builder.target_tests.session import ENVIRONMENT, Selection, words
from tests.fixtures.command_line import TREE, FakeArchive
from tests.unit.publish.test_report_page import MANIFEST, TEST


@pytest.mark.parametrize(
    "line",
    [
        "[   12.3] WARNING: CPU: 0 PID: 99 at kernel/dma/mapping.c:499 dma_alloc_attrs+0x8c/0x12c",
        "[   12.3] BUG: sleeping function called from invalid context at mm/slab.h:494",
        "[   12.3] kernel BUG at drivers/cpufreq/cpufreq.c:1499!",
        "[   12.3] Internal error: Oops: 5 [#1] SMP ARM",
        "[   12.3] refcount_t: underflow; use-after-free.",
        "[   12.3] list_del corruption. prev->next should be c1234567",
        "[   12.3] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
        "[   12.3] Unable to handle kernel NULL pointer dereference at virtual address 00000000",
        "[   12.3] Call trace:",
    ],
)
def test_traces_are_seen(line: str) -> None:
    assert kernel_traces(f"[    0.0] Linux version 6.1\n{line}\n[   12.4] usb: ready") == [line]


@pytest.mark.parametrize(
    "line",
    [
        "[    1.2] fpga_manager fpga0: Error while calling request_firmware(none.bin): -2",
        "[    1.2] OF: overlay: WARNING: memory leak will occur if overlay removed, property: /x/y",
        "[    1.2] fpga_manager fpga0: writing base.bin to Xilinx Zynq FPGA Manager",
        "[    1.2] systemd[1]: Listening on Debug socket",
    ],
)
def test_other_messages_are_not(line: str) -> None:
    assert kernel_traces(line) == []


def test_a_slow_machine_is_no_drivers_fault() -> None:
    kept = "[    9.1] macb e000b000.ethernet: Link is down\n[    9.3] check cabling!"
    late = "[  231.042738] hrtimer: interrupt took 90814140 ns"
    assert without_delays(f"{kept}\n{late}\n") == kept


BUG = "[   12.3] kernel BUG at drivers/cpufreq/cpufreq.c:1499!"


def test_the_kernels_messages_are_kept(tmp_path: Path) -> None:
    said = f"[    0.0] Linux version 6.1\n{BUG}\n"
    (tmp_path / "said").write_text(said)
    shell = ["sh", "-c", f"cat {tmp_path}/said"]
    assert kernel_problems(shell, tmp_path / "log") == [f"the kernel says: {BUG}"]
    assert (tmp_path / "log").read_text() == said


def test_a_board_that_does_not_answer_any_more_has_not_passed(tmp_path: Path) -> None:
    shell = ["sh", "-c", "echo 'Connection timed out' >&2; exit 255"]
    problem = "the kernel's messages cannot be read: Connection timed out"
    assert kernel_problems(shell, tmp_path / "log") == [problem]
    assert problem in (tmp_path / "log").read_text()


@pytest.mark.parametrize("stderr", [False, True])
def test_what_checks_say_goes_where_all_else_does(*, stderr: bool) -> None:
    words = told_to(Console(stderr=stderr), ["sh", "-c", 'echo "$1"', "sh", "a  b"])
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (("", "a  b\n") if stderr else ("a  b\n", ""))


@pytest.mark.parametrize(
    ("facts", "passed", "said"),
    [
        ({"deselected": 0, "quick": True}, True, "[bold green]B: passed[/]"),
        (
            {"deselected": 135, "expression": "ssh or [x]"},
            True,
            "[bold yellow]B: 11 checks passed, 135 not run (-k 'ssh or \\[x]')[/]",
        ),
        ({"deselected": 135, "quick": True}, False, "[bold red]B: NOT PASSED[/]"),
    ],
)
def test_a_test_of_some_checks_is_no_full_pass(
    facts: dict[str, Any], said: str, *, passed: bool
) -> None:
    assert verdict("B", {"passed": 11, **facts}, passed=passed) == said


def test_ssh_gives_up_a_board_that_has_stopped(tmp_path: Path) -> None:
    words = root_shell(22, tmp_path / "key", tmp_path / "config")
    settings = subprocess.check_output([words[0], "-G", *words[1:]], text=True).splitlines()
    assert {"serveraliveinterval 60", "serveralivecountmax 10"} <= {*settings}


@pytest.fixture
def tested(tmp_path: Path) -> Output:
    """An output directory with an image that passed an earlier test."""
    output = Output(directory=tmp_path, board="Pynq-Z2")
    output.logs.mkdir()
    output.manifest.write_text(json.dumps(MANIFEST))
    output.test_report.write_text(json.dumps(TEST))
    output.console.write_text("login:")
    output.report.write_text("all passed")
    return output


def check(output: Output) -> None:
    run_checks(
        resolve(TREE, "Pynq-Z2"),
        output,
        qemu=Qemu(source=qemu_source(), version=(7, 2)),
        console=Console(file=io.StringIO()),
        selection=Selection(),
    )


def test_a_boot_that_fails_leaves_nothing_of_an_earlier_test(
    tested: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_board(*_: object, **__: object) -> None:
        raise BootError("no QEMU")

    monkeypatch.setattr("builder.boot_test.run.EmulatedBoard", no_board)
    boot = tested.directory / "boot"
    boot.mkdir()
    (boot / "emulated.dtb").touch()
    (boot / "changes.json").write_text("[]")
    with pytest.raises(BootError):
        check(tested)
    assert not tested.test_report.exists()
    assert not tested.console.exists()
    assert "all passed" not in tested.report.read_text()


def test_the_tree_for_qemu_is_looked_for_on_the_card(
    tested: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []
    monkeypatch.setattr(
        "builder.boot_test.run.emulated_tree", lambda image, *_: looked.append(image)
    )
    with pytest.raises(UserError, match="no device tree for QEMU"):
        check(tested)
    assert looked == [tested.image]


@pytest.mark.parametrize("board", ["Pynq-Z2", "ZCU111", "ZedBoard"])
def test_a_board_has_what_its_checks_ask_for(board: str, tmp_path: Path) -> None:
    """A check that wants a fixture of outside says that it belongs there."""
    spec = resolve(TREE, board, profile="pynq-full")
    assert spec.holds_checks
    assert "recipes/selftest/test_selftest.py" in check_files(spec)
    known = {**without_secrets(context(spec, "one")), "checks": {}}
    known["checks"] = {name: str(path) for name, path in check_files(spec).items()}
    file, report = tmp_path / "context.json", tmp_path / "report.json"
    file.write_text(json.dumps(known))
    # Nothing is run: it is said what would be.
    arguments = [*words(file, report, root=TREE.root, selection=Selection()), "--setup-plan"]
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(TREE.root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def checks_of(file: Path) -> dict[str, bool]:
    """Return the checks in a file by name, and whether each is marked as one that takes long."""
    functions = [
        each for each in ast.parse(file.read_text()).body if isinstance(each, ast.FunctionDef)
    ]
    return {
        each.name: any("pytest.mark.long" in ast.unparse(mark) for mark in each.decorator_list)
        for each in functions
        if each.name.startswith("test_")
    }


@pytest.mark.parametrize(
    "file",
    [*TREE.root.glob("recipes/*/test_*.py"), *TREE.root.glob("boards/*/**/test_*.py")],
    ids=lambda path: path.stem,
)
def test_a_quick_test_leaves_out_no_recipe_and_no_board(file: Path) -> None:
    found = checks_of(file)
    assert found
    assert not all(found.values()), "all of its checks take long"


def test_a_changed_check_is_that_layer_and_the_image_alone(boards_dir: Path) -> None:
    tree = SpecTree(root=TREE.root, boards_dirs=(boards_dir,))

    def keys() -> dict[str, str]:
        spec = resolve(tree, "Pynq-Z2", distro="debian-bookworm")
        found: dict[str, str] = {}

        def visit(step: Step) -> str:
            if step.name not in found:
                parents = {name: visit(parent) for name, parent in step.parents.items()}
                parts = step_key.with_inputs(step_key.components(step, secret=b""), parents)
                found[step.name] = step_key.key(parts)
            return found[step.name]

        visit(board_steps(spec, FakeArchive()).image)
        return found

    before = keys()
    check = boards_dir / "Pynq-Z2/tests/test_pynq_z2.py"
    check.write_text(check.read_text() + "# more\n")
    after = keys()
    assert {name for name in after if after[name] != before[name]} == {"checks", "image"}
