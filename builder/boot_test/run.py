# SPDX-License-Identifier: MIT
"""Boot test of an image: boot it in QEMU and run the checks of its recipes and of its board."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from builder.boot_test.board import BootError, BootSource, EmulatedBoard, EmulatedHardware, Stage
from builder.boot_test.card import emulated_tree, has_emulated_tree
from builder.boot_test.emulator import Qemu
from builder.boot_test.extraction import extract_first_stage
from builder.boot_test.jupyter import wait_for_jupyter
from builder.boot_test.login import install_key, root_shell
from builder.boot_test.selftest import COMMAND, differences, run_selftest
from builder.errors import StepError, UserError
from builder.image.image import BOOT_OFFSET
from builder.publish.output import Output, write_report
from builder.publish.report_page import not_run
from builder.qemu_devicetree.derive import describe_changes
from builder.qemu_devicetree.machine import MachineFacts, machine_facts
from builder.report.console import duration
from builder.sandbox.process import Processes, run_visibly
from builder.spec.models import Scalar, Soc
from builder.spec.resolve import ImageSpec
from builder.target_tests import session
from builder.target_tests.context import check_files, context
from builder.target_tests.session import Selection

SSH_PORT = 22
_TREE = Path(__file__).resolve().parents[2]

# A device-tree overlay that changes nodes of the board's own tree makes the kernel print
# "WARNING: memory leak will occur". That is expected and no bug.
_TRACE = re.compile(
    r"\b(WARNING: (?!memory leak will occur)|BUG: |BUG at|Oops|Internal error:|Call [Tt]race"
    r"|refcount_t:|DMA-API:|list_(add|del) corruption|kmemleak: |Unable to handle kernel)"
)


@dataclass(frozen=True, kw_only=True)
class _BootTest:
    """A test of an image, with what all of its parts need.

    `work` is a temporary directory.
    """

    spec: ImageSpec
    output: Output
    qemu: Qemu
    selection: Selection
    console: Console
    processes: Processes
    work: Path


def run_checks(
    spec: ImageSpec, output: Output, *, qemu: Qemu, console: Console, selection: Selection
) -> bool:
    """Boot the image, run the selected checks and write the reports; return whether all passed.

    The boot starts with the card's first stage if QEMU can run it. The output of the serial console
    and the kernel's messages are written to `logs`, beside the report.

    Raises:
        BootError: the board did not boot.
        UserError: the image cannot be tested: it has no SSH server, or no device tree for QEMU.
    """
    _require_ssh(spec.parameters())
    _require_device_tree(spec, output)
    console.print(f"emulated by {qemu}")
    prebuilt = not has_emulated_tree(output.image)
    _print_differences(spec, output, console, prebuilt=prebuilt)
    _remove_old_results(output)
    with ExitStack() as at_end:
        at_end.callback(write_report, output, spec)
        work = Path(at_end.enter_context(tempfile.TemporaryDirectory(prefix="board-")))
        test = _BootTest(
            spec=spec,
            output=output,
            qemu=qemu,
            selection=selection,
            console=console,
            processes=Processes(),
            work=work,
        )
        board = emulated_board(
            spec,
            output,
            prebuilt=prebuilt,
            forward=_ports(spec.parameters()),
            qemu=qemu,
            work=work,
            processes=test.processes,
            console=console,
        )
        board.start()
        try:
            return _check_board(test, board)
        finally:
            board.stop()
            output.console.write_text(board.console())


def _require_ssh(parameters: Mapping[str, Mapping[str, Scalar]]) -> None:
    """Check that an image with these parameters accepts the logins of the test.

    Raises:
        UserError: it does not.
    """
    if not {"ssh", "users"} <= parameters.keys():
        raise UserError("the checks log in by SSH: the image needs the recipes ssh and users")
    ssh = parameters["ssh"]
    if not ssh.get("password-authentication", True) or ssh.get("permit-root-login") == "no":
        raise UserError(
            "the checks log in with a password first and then as root with a key: they need the "
            "parameters ssh.password-authentication=true and "
            "ssh.permit-root-login=prohibit-password"
        )


def _device_tree(output: Output) -> Path:
    """Return the path of the device tree for QEMU."""
    return output.directory / "boot/emulated.dtb"


def _require_device_tree(spec: ImageSpec, output: Output) -> None:
    """Extract the device tree for QEMU from the card image if it is not beside the image.

    Raises:
        UserError: there is none.
    """
    device_tree = _device_tree(output)
    if not device_tree.exists():
        # The boot files may have been evicted from the store while the image still exists.
        with suppress(StepError):
            emulated_tree(output.image, device_tree.parent, device_tree.parent)
    if not device_tree.exists():
        raise UserError(
            f"{spec.name} cannot be tested: there is no device tree for QEMU",
            hint="the notes at the end of the build say why",
        )


def _kernel_log(output: Output) -> Path:
    return output.logs / "dmesg.log"


def _remove_old_results(output: Output) -> None:
    """Remove the results of an earlier test, which do not apply to this one."""
    for old in (
        *(output.test_report, output.selftest_report, output.screenshot),
        *(output.console, _kernel_log(output)),
    ):
        old.unlink(missing_ok=True)


def _check_board(test: _BootTest, board: EmulatedBoard) -> bool:
    """Wait until a started board has booted, and check it; return whether all checks passed."""
    spec, console = test.spec, test.console
    parameters = spec.parameters()
    console.print(f"booting {escape(str(os.path.relpath(test.output.image)))} in QEMU")
    stages = board.wait_for_ssh(
        SSH_PORT, spec.board.emulate.timeout, lambda stage: _print_stage(stage, console)
    )
    # Jupyter's start is measured before the checks, which would slow it down, and only in a test of
    # all checks.
    if "jupyter" in parameters and test.selection.expression is None:
        stages += _wait_for_jupyter(test, board, int(str(parameters["jupyter"]["port"])))
    users = parameters["users"]
    key = install_key(
        *(board.ports[SSH_PORT], str(users["user"]), str(users["password"]), test.work),
        expired=bool(users.get("force-password-change")),
    )
    shell = root_shell(board.ports[SSH_PORT], key, test.work / "ssh_config")
    passed = _run_pytest(test, board, shell, stages)
    if spec.holds_checks and test.output.test_report.exists():
        passed &= _compare_selftest(test, shell)
    problems = kernel_problems(shell, _kernel_log(test.output))
    for problem in problems:
        console.print(f"[red]{escape(problem)}[/]")
    passed &= not problems
    _print_result(test, stages, passed=passed)
    return passed


def emulated_board(
    spec: ImageSpec,
    output: Output,
    *,
    prebuilt: bool,
    forward: Sequence[int],
    qemu: Qemu,
    work: Path,
    processes: Processes,
    console: Console,
) -> EmulatedBoard:
    """Return the emulated board of an image, not started yet.

    It boots from the first stage if QEMU can run it; otherwise `console` shows which boot stage is
    skipped. `prebuilt` tells that the card has no device tree for QEMU (`has_emulated_tree`). The other
    parameters are those of `EmulatedBoard`.
    """
    facts = machine_facts(spec.board.soc)
    first_stage = None
    if facts.first_stage_machine and not prebuilt:
        first_stage = _first_stage(output, spec.board.soc, qemu, work, console)
    return EmulatedBoard(
        EmulatedHardware(
            facts=facts,
            memory=facts.memory(spec.board),
            card_size=spec.board.emulate.card,
            console=spec.board.console,
            registers=facts.mac_addresses(),
        ),
        BootSource(
            image=output.image,
            boot_offset=BOOT_OFFSET,
            device_tree=_device_tree(output),
            prebuilt=prebuilt,
            first_stage=first_stage,
        ),
        forward=forward,
        work=work,
        processes=processes,
        qemu=qemu,
    )


def _first_stage(
    output: Output, soc: Soc, qemu: Qemu, work: Path, console: Console
) -> tuple[Path, int] | None:
    """Return the first stage in the card's BOOT.BIN and its load address, if QEMU can run it."""
    if not qemu.new:
        console.print(f"this boot skips BOOT.BIN: {qemu} has no DDR controller")
        return None
    program = extract_first_stage(output.image, BOOT_OFFSET, soc, work)
    if program is None:
        console.print("this boot skips BOOT.BIN: its first stage is not U-Boot's SPL")
    return program


def _print_stage(stage: Stage, console: Console) -> None:
    console.print(f"  {stage.seconds:6.1f} s  {stage.name}")


def _wait_for_jupyter(test: _BootTest, board: EmulatedBoard, port: int) -> list[Stage]:
    """Return the stage at which Jupyter answers; none if it does not (its own checks then fail)."""
    try:
        stage = wait_for_jupyter(
            board.ports[port], started=board.started, timeout=test.spec.board.emulate.timeout
        )
    except BootError as error:
        test.console.print(f"[red]{escape(str(error))}[/]")
        return []
    _print_stage(stage, test.console)
    return [stage]


def _run_pytest(
    test: _BootTest, board: EmulatedBoard, shell: Sequence[str], stages: Sequence[Stage]
) -> bool:
    """Run the checks with pytest on the host; return whether it succeeded.

    The plugin `builder.target_tests.plugin` writes the report.

    Args:
        test: the test.
        board: the board, booted.
        shell: the command that runs a command line as root on the board.
        stages: the stages of its boot.
    """
    spec = test.spec
    manifest = json.loads(test.output.manifest.read_text())
    facts = {
        **context(spec, manifest["distribution"]["name"]),
        "image": manifest["image"]["sha256"],
        "checks": {name: str(path) for name, path in check_files(spec).items()},
        "emulated": True,
        "ports": board.ports,
        "shell": shell,
        "emulator": str(test.qemu),
        "stages": {stage.name: round(stage.seconds, 1) for stage in stages},
    }
    context_file = test.work / "context.json"
    context_file.write_text(json.dumps(facts))
    command = [
        sys.executable,
        *session.words(
            context_file, test.output.test_report, root=spec.tree.root, selection=test.selection
        ),
        *("-W", "error", "-p", "builder.boot_test.host_plugin", "-p", "builder.boot_test.browser"),
    ]
    environment = {
        **os.environ,
        **session.ENVIRONMENT,
        "PYTHONPATH": str(_TREE),
        "TMPDIR": str(test.work),  # temporary files are removed with it, also if pytest is killed
    }
    return (
        run_visibly(
            redirected(test.console, command), environment=environment, processes=test.processes
        )
        == 0
    )


def _print_result(test: _BootTest, stages: Sequence[Stage], *, passed: bool) -> None:
    file = test.output.test_report
    report = json.loads(file.read_text()) if file.exists() else {}
    boot = duration(next(stage.seconds for stage in stages if stage.name == "ssh"))
    test.console.print(
        f"{verdict(test.spec.name, report, passed=passed)}, booted to ssh in {boot}; "
        f"{escape(str(os.path.relpath(test.output.report)))}"
    )


def redirected(console: Console, command: Sequence[str]) -> Sequence[str]:
    """Return a command line that runs a command with its output on the stream of a console."""
    return ["sh", "-c", 'exec "$@" >&2', "sh", *command] if console.stderr else command


def verdict(board: str, test: Mapping[str, Any], *, passed: bool) -> str:
    """Return the result of a board's test with rich's markup; yellow if only some checks ran."""
    left = not_run(test)
    style, word = ("green", "passed") if passed else ("red", "NOT PASSED")
    if passed and left:
        style, word = "yellow", f"{test['passed']} checks passed, {left}"
    return f"[bold {style}]{escape(f'{board}: {word}')}[/]"


def _compare_selftest(test: _BootTest, shell: Sequence[str]) -> bool:
    """Run the self-test on the board; return whether its results equal those of the host."""
    console = test.console
    console.print(f"running {COMMAND} on the board")
    own = run_selftest(test.spec, shell, selection=test.selection)
    test.output.selftest_report.write_text(json.dumps(own, indent=1) + "\n")
    different = differences(json.loads(test.output.test_report.read_text()), own)
    for line in different:
        console.print(f"  [bold red]{escape(line)}[/]")
    if not different:
        console.print(
            f"  same results in {duration(own['seconds'])}: {own['passed']} passed, "
            f"{own['failed']} failed, {own['skipped']} not run on the board"
        )
    return not different


def kernel_problems(shell: Sequence[str], log: Path) -> list[str]:
    """Write the kernel's messages of the whole run to a log; return those that report a kernel bug.

    It is a problem as well if the messages cannot be read.
    """
    done = subprocess.run(
        [*shell, "dmesg"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        problem = f"the kernel's messages cannot be read: {done.stderr.strip()}"
        log.write_text(f"{done.stdout}{problem}\n")
        return [problem]
    log.write_text(done.stdout)
    return [f"kernel message: {line}" for line in kernel_traces(done.stdout)]


def kernel_traces(messages: str) -> list[str]:
    """Return the lines of the kernel's messages that report a bug in the kernel or a module."""
    return [line for line in messages.splitlines() if _TRACE.search(line)]


def _ports(parameters: Mapping[str, Mapping[str, Scalar]]) -> list[int]:
    """Return the ports of the board that the checks connect to: SSH, and every recipe's `port`."""
    ports = [
        values["port"] for values in parameters.values() if isinstance(values.get("port"), int)
    ]
    return sorted({SSH_PORT, *(int(str(port)) for port in ports)})


def _print_differences(
    spec: ImageSpec, output: Output, console: Console, *, prebuilt: bool
) -> None:
    """Print the differences between the board and the emulated board."""
    facts: MachineFacts = machine_facts(spec.board.soc)
    console.print(f"QEMU machine: {facts.machine}; changes to the board's device tree:")
    for line in describe_changes((output.directory / "boot/changes.json").read_text()):
        console.print(f"  - {escape(line)}")
    if prebuilt:
        console.print(
            "this boot skips U-Boot: these boot files were not built for QEMU. QEMU starts the "
            "kernel from the card's boot partition with the changed device tree."
        )
    elif facts.no_u_boot:
        console.print(
            f"this boot skips U-Boot: {escape(facts.no_u_boot)} QEMU starts the kernel and the "
            "device tree from the card's image.ub."
        )
