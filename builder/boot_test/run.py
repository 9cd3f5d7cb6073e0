# SPDX-License-Identifier: MIT
"""Boots a board's image and has testinfra judge it: every recipe's checks, and the board's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from builder.boot_test.board import BootError, EmulatedBoard, Stage, extract_first_stage
from builder.boot_test.card import emulated_tree, has_emulated_tree
from builder.boot_test.emulator import Qemu
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

# Of an overlay that changes nodes of the board's own tree the kernel says WARNING too, rightly; that
# is not a bug of anybody's.
_TRACE = re.compile(
    r"\b(WARNING: (?!memory leak will occur)|BUG: |BUG at|Oops|Internal error:|Call [Tt]race"
    r"|refcount_t:|DMA-API:|list_(add|del) corruption|kmemleak: |Unable to handle kernel)"
)


def run_checks(
    spec: ImageSpec, output: Output, *, qemu: Qemu, console: Console, selection: Selection
) -> bool:
    """Boot the image, run all checks, write the reports; return whether all passed.

    The boot begins with the card's first stage, where QEMU can run that. Beside the report, `logs`
    gets what the serial console and the kernel said.

    Raises:
        BootError: the board did not come up.
        UserError: the image cannot be checked: it has no ssh.
    """
    parameters = spec.parameters()
    if not {"ssh", "users"} <= parameters.keys():
        raise UserError("the checks log in by ssh: the image needs the recipes ssh and users")
    ssh = parameters["ssh"]
    if not ssh.get("password-authentication", True) or ssh.get("permit-root-login") == "no":
        raise UserError(
            "the checks log in by password and then as root by key: they need the parameters "
            "ssh.password-authentication=true and ssh.permit-root-login=prohibit-password"
        )
    facts = machine_facts(spec.board.soc)
    device_tree = output.directory / "boot/emulated.dtb"
    if not device_tree.exists():
        # The boot files may have gone from the store before the image that holds them.
        with suppress(StepError):
            emulated_tree(output.image, device_tree.parent, device_tree.parent)
    if not device_tree.exists():
        raise UserError(
            f"{spec.name} cannot be tested: there is no device tree for QEMU",
            hint="the notes at the end of the build say why",
        )
    prebuilt = not has_emulated_tree(output.image)
    console.print(f"emulated by {qemu}")
    _say_differences(output, facts, console, prebuilt=prebuilt)
    # What is there of an earlier test says nothing of this one.
    kernel_log = output.logs / "dmesg.log"
    for left in (
        *(output.test_report, output.selftest_report, output.screenshot),
        *(output.console, kernel_log),
    ):
        left.unlink(missing_ok=True)
    processes = Processes()
    with ExitStack() as at_end:
        at_end.callback(write_report, output, spec)
        work = Path(at_end.enter_context(tempfile.TemporaryDirectory(prefix="board-")))
        board = emulated_board(
            spec,
            output,
            device_tree=device_tree,
            forward=_ports(parameters),
            prebuilt=prebuilt,
            qemu=qemu,
            work=work,
            processes=processes,
            console=console,
        )
        try:
            with board:
                console.print(f"booting {escape(str(os.path.relpath(output.image)))} in QEMU")
                stages = board.wait_for_ssh(
                    SSH_PORT,
                    spec.board.emulate.timeout,
                    lambda stage: _say_stage(stage, console),
                )
                # Before the checks, which would slow it down; not for some of them alone.
                if "jupyter" in parameters and selection.expression is None:
                    stages += _jupyter(
                        spec, board, int(str(parameters["jupyter"]["port"])), console
                    )
                users = parameters["users"]
                key = install_key(
                    *(board.ports[SSH_PORT], str(users["user"]), str(users["password"]), work),
                    expired=bool(users.get("force-password-change")),
                )
                return _judge(
                    spec,
                    output,
                    board,
                    qemu=qemu,
                    key=key,
                    stages=stages,
                    work=work,
                    kernel_log=kernel_log,
                    processes=processes,
                    console=console,
                    selection=selection,
                )
        finally:
            output.console.write_text(board.console())


def emulated_board(
    spec: ImageSpec,
    output: Output,
    *,
    device_tree: Path,
    forward: Sequence[int],
    prebuilt: bool,
    qemu: Qemu,
    work: Path,
    processes: Processes,
    console: Console,
) -> EmulatedBoard:
    """Return the board of an image, not started yet: from the first stage on, where QEMU can run it.

    The parameters are those of `EmulatedBoard`; `console` is told what of the card is left out.
    """
    facts = machine_facts(spec.board.soc)
    first_stage = None
    if facts.first_stage_machine and not prebuilt:
        first_stage = _first_stage(output, spec.board.soc, qemu, work, console)
    return EmulatedBoard(
        output.image,
        facts,
        device_tree=device_tree,
        memory=facts.memory(spec.board),
        card=spec.board.emulate.card,
        console=spec.board.console,
        boot_offset=BOOT_OFFSET,
        work=work,
        forward=forward,
        processes=processes,
        qemu=qemu,
        prebuilt=prebuilt,
        first_stage=first_stage,
        registers=facts.mac_addresses(),
    )


def _first_stage(
    output: Output, soc: Soc, qemu: Qemu, work: Path, console: Console
) -> tuple[Path, int] | None:
    """Return the first stage out of the card's BOOT.BIN and its address, if QEMU can run it."""
    if not qemu.new:
        console.print(f"BOOT.BIN is left out of this boot: {qemu} has no DDR controller")
        return None
    program = extract_first_stage(output.image, BOOT_OFFSET, soc, work)
    if program is None:
        console.print("BOOT.BIN is left out of this boot: its first stage is not U-Boot's SPL")
    return program


def _say_stage(stage: Stage, console: Console) -> None:
    console.print(f"  {stage.seconds:6.1f} s  {stage.name}")


def _jupyter(spec: ImageSpec, board: EmulatedBoard, port: int, console: Console) -> list[Stage]:
    """Return the stage at which Jupyter answers; none if it does not, which its checks judge."""
    try:
        stage = wait_for_jupyter(
            board.ports[port], started=board.started, timeout=spec.board.emulate.timeout
        )
    except BootError as error:
        console.print(f"[red]{escape(str(error))}[/]")
        return []
    _say_stage(stage, console)
    return [stage]


def _judge(
    spec: ImageSpec,
    output: Output,
    board: EmulatedBoard,
    *,
    qemu: Qemu,
    key: Path,
    stages: Sequence[Stage],
    work: Path,
    kernel_log: Path,
    processes: Processes,
    console: Console,
    selection: Selection,
) -> bool:
    """Run pytest with the checks, here and then on the board; its plugin writes the reports."""
    report = output.test_report
    manifest = json.loads(output.manifest.read_text())
    shell = root_shell(board.ports[SSH_PORT], key, work / "ssh_config")
    facts = {
        **context(spec, manifest["distribution"]["name"]),
        "image": manifest["image"]["sha256"],
        "checks": {name: str(path) for name, path in check_files(spec).items()},
        "emulated": True,
        "ports": board.ports,
        "shell": shell,
        "emulator": str(qemu),
        "stages": {stage.name: round(stage.seconds, 1) for stage in stages},
    }
    context_file = work / "context.json"
    context_file.write_text(json.dumps(facts))
    command = [
        sys.executable,
        *session.words(context_file, report, root=spec.tree.root, selection=selection),
        *("-W", "error", "-p", "builder.boot_test.host_plugin", "-p", "builder.boot_test.browser"),
    ]
    environment = {
        **os.environ,
        **session.ENVIRONMENT,
        "PYTHONPATH": str(_TREE),
        "TMPDIR": str(work),  # what is left there if it is killed goes with the board
    }
    passed = (
        run_visibly(told_to(console, command), environment=environment, processes=processes) == 0
    )
    if spec.holds_checks and report.exists():
        passed &= _agrees(
            spec, shell, report, output.selftest_report, console=console, selection=selection
        )
    problems = kernel_problems(shell, kernel_log)
    for problem in problems:
        console.print(f"[red]{escape(problem)}[/]")
    boot = duration(next(stage.seconds for stage in stages if stage.name == "ssh"))
    passed &= not problems
    test = json.loads(report.read_text()) if report.exists() else {}
    console.print(
        f"{verdict(spec.name, test, passed=passed)}, booted to ssh in {boot}; "
        f"{escape(str(os.path.relpath(output.report)))}"
    )
    return passed


def told_to(console: Console, command: Sequence[str]) -> Sequence[str]:
    """Return the words that run a command whose output goes where a console's does."""
    return ["sh", "-c", 'exec "$@" >&2', "sh", *command] if console.stderr else command


def verdict(board: str, test: Mapping[str, Any], *, passed: bool) -> str:
    """Say with rich's markup what came of a board's test; one of some checks alone is not green."""
    left = not_run(test)
    style, word = ("green", "passed") if passed else ("red", "NOT PASSED")
    if passed and left:
        style, word = "yellow", f"{test['passed']} checks passed, {left}"
    return f"[bold {style}]{escape(f'{board}: {word}')}[/]"


def _agrees(
    spec: ImageSpec,
    shell: Sequence[str],
    report: Path,
    own_report: Path,
    *,
    console: Console,
    selection: Selection,
) -> bool:
    """Have the board check itself; return whether it finds what was found from outside."""
    console.print(f"{COMMAND} on the board itself")
    found = run_selftest(spec, shell, selection=selection)
    own_report.write_text(json.dumps(found, indent=1) + "\n")
    different = differences(json.loads(report.read_text()), found)
    for line in different:
        console.print(f"  [bold red]{escape(line)}[/]")
    if not different:
        console.print(
            f"  finds the same in {duration(found['seconds'])}: {found['passed']} passed, "
            f"{found['failed']} failed, {found['skipped']} not run there"
        )
    return not different


def kernel_problems(shell: Sequence[str], log: Path) -> list[str]:
    """Keep the kernel's messages of the whole run; say which of them tell of a bug in it.

    A board that does not give them any more is a problem as well.
    """
    said = subprocess.run(
        [*shell, "dmesg"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if said.returncode:
        problem = f"the kernel's messages cannot be read: {said.stderr.strip()}"
        log.write_text(f"{said.stdout}{problem}\n")
        return [problem]
    log.write_text(said.stdout)
    return [f"the kernel says: {line}" for line in kernel_traces(said.stdout)]


def kernel_traces(messages: str) -> list[str]:
    """Return those of the kernel's messages that tell of a bug in itself or a module."""
    return [line for line in messages.splitlines() if _TRACE.search(line)]


def _ports(parameters: dict[str, dict[str, Scalar]]) -> list[int]:
    """Return the board's ports that the checks reach from outside: ssh, and every recipe's."""
    ports = [
        values["port"] for values in parameters.values() if isinstance(values.get("port"), int)
    ]
    return sorted({SSH_PORT, *(int(str(port)) for port in ports)})


def _say_differences(
    output: Output, facts: MachineFacts, console: Console, *, prebuilt: bool
) -> None:
    """Print what differs between the board and the emulated one."""
    console.print(f"emulated on {facts.machine}; its device tree differs from the board's in:")
    for line in describe_changes((output.directory / "boot/changes.json").read_text()):
        console.print(f"  - {escape(line)}")
    if prebuilt:
        console.print(
            "U-Boot is left out of this boot: these boot files were not built for QEMU. It starts "
            "the kernel out of the card's own boot partition, with that device tree."
        )
    elif facts.no_u_boot:
        console.print(
            f"U-Boot is left out of this boot: {escape(facts.no_u_boot)} QEMU starts the kernel and "
            "the device tree out of the card's own image.ub."
        )
