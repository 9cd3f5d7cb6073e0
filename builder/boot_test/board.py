# SPDX-License-Identifier: MIT
"""Emulated board that boots a card image in QEMU, and the stages of its boot."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from builder.boot_test.emulator import Qemu
from builder.boot_test.extraction import extract_kernel, extract_linux, extract_u_boot, run_tool
from builder.boot_test.registers import DEBUGGER, write_registers
from builder.boot_test.usb import usb_disk
from builder.errors import StepError
from builder.formats.devicetree import read_tree
from builder.qemu_devicetree.machine import MachineFacts, position
from builder.sandbox.process import Processes, clean_environment

_FIRST_STAGE = ("first stage", r"^U-Boot SPL \d{4}\.\d\d")
_U_BOOT_STAGES: Sequence[tuple[str, str]] = (
    ("U-Boot", r"^U-Boot \d{4}\.\d\d"),
    ("boot script", r"^PYNQ: "),
)
_LINUX_STAGES: Sequence[tuple[str, str]] = (
    ("kernel", r"Linux version \d"),
    ("systemd", r"systemd\[1\]: .*running in system mode|Welcome to "),
    ("login prompt", r" login: ?$"),
)
"""Regular expressions for the console output at the start of each boot stage."""

_LAST_LINES = 30
_POLL_SECONDS = 0.5


class BootError(StepError):
    """The emulated board did not boot."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A boot stage, with the time at which it was reached in seconds after the start of QEMU."""

    name: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class EmulatedHardware:
    """Hardware of an emulated board.

    Attributes:
        facts: QEMU's machine for the board's SoC family.
        memory: memory in bytes.
        card_size: size of the SD card in bytes.
        console: serial console as the kernel names it.
        registers: values of registers by physical address, written before the processors start.
    """

    facts: MachineFacts
    memory: int
    card_size: int
    console: str
    registers: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BootSource:
    """Card image to boot, and the program that QEMU starts from it.

    Attributes:
        image: the card image; it is only read.
        boot_offset: offset of the boot partition in bytes.
        device_tree: device tree for QEMU.
        prebuilt: whether the card has prebuilt boot files. They are not made for QEMU and their
            U-Boot would load the board's own device tree, so QEMU starts the card's kernel with
            `device_tree`.
        first_stage: file and load address from `extract_first_stage`. QEMU starts it if the machine
            supports it; it loads U-Boot from the card, as on a real board.
    """

    image: Path
    boot_offset: int
    device_tree: Path
    prebuilt: bool = False
    first_stage: tuple[Path, int] | None = None


class EmulatedBoard:
    """QEMU that boots a card image; use it as a context manager, or call `start` and `stop`.

    QEMU writes to a copy-on-write file on top of the image. It starts the first stage, if one is
    given; otherwise U-Boot; or, on machines that cannot run U-Boot, the kernel with the device tree
    that U-Boot would have loaded.

    Attributes:
        console_log: file with the output of the serial console.
        ports: local TCP port by port of the board, while it runs.
        command: QEMU's command line, once started.
        started: start time of QEMU, by `time.monotonic`.
    """

    def __init__(
        self,
        hardware: EmulatedHardware,
        source: BootSource,
        *,
        forward: Sequence[int],
        work: Path,
        processes: Processes,
        qemu: Qemu,
    ) -> None:
        self.console_log = work / "console.log"
        self.ports: dict[int, int] = {}
        self.command: list[str] = []
        self.started = 0.0
        self._hardware = hardware
        self._source = source
        self._forward = tuple(forward)
        self._work = work
        self._processes = processes
        self._qemu = qemu
        self._process: subprocess.Popen[str] | None = None
        self._resources = ExitStack()

    def start(self) -> None:
        """Start QEMU.

        Raises:
            StepError: the image lacks a file that QEMU starts, or QEMU does not start.
        """
        card = self._create_card()
        boot = self._boot_options()
        with ExitStack() as resources:
            holders = {port: resources.enter_context(hold_port()) for port in self._forward}
            self.ports = {port: holder.getsockname()[1] for port, holder in holders.items()}
            self.command = [*self._machine_options(card), *boot]
            log = resources.enter_context((self._work / "qemu.log").open("w"))
            self.started = time.monotonic()
            self._process = resources.enter_context(
                self._processes.running(
                    self.command,
                    environment=clean_environment(),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self._work,
                )
            )
            if self._hardware.registers:
                write_registers(self._work, self._process, self._hardware.registers)
            self._resources = resources.pop_all()

    def stop(self) -> None:
        """End QEMU and release its ports."""
        self._resources.close()

    def wait_for_ssh(
        self, port: int, timeout: float, on_stage: Callable[[Stage], None]
    ) -> list[Stage]:
        """Wait until the board's SSH server answers; return the boot stages.

        Raises:
            BootError: it does not answer within `timeout` seconds, QEMU ended, or the kernel
                panicked.
        """
        stages: list[Stage] = []

        def reached(name: str) -> None:
            stages.append(Stage(name=name, seconds=time.monotonic() - self.started))
            on_stage(stages[-1])

        pending = self._expected_stages()
        with _SshProbe(self.ports[port]) as probe:
            while not probe.has_answered():
                text = self.console()
                for index, (name, pattern) in enumerate(pending):
                    if re.search(pattern, text, re.MULTILINE):
                        for skipped, _ in pending[:index]:
                            if skipped != "login prompt":
                                reached(skipped)
                        reached(name)
                        pending = pending[index + 1 :]
                        break
                problem = self._problem(text, timeout)
                if problem:
                    where = stages[-1].name if stages else f"before {pending[0][0]}"
                    raise BootError(
                        f"the boot failed {'after stage ' if stages else ''}{where}: {problem}",
                        hint="see logs/console.log in the board's output directory for all console "
                        f"output; QEMU's command was: {shlex.join(self.command)}",
                        details=text.splitlines()[-_LAST_LINES:],
                    )
                time.sleep(_POLL_SECONDS)
        reached("ssh")
        return stages

    def console(self) -> str:
        """Return all output of the serial console so far."""
        try:
            return self.console_log.read_text(errors="replace").replace("\r", "")
        except FileNotFoundError:
            return ""

    def __enter__(self) -> EmulatedBoard:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _first_stage(self) -> tuple[Path, int] | None:
        """The first stage, if QEMU has a machine that runs it."""
        return self._source.first_stage if self._hardware.facts.first_stage_machine else None

    def _expected_stages(self) -> list[tuple[str, str]]:
        without_u_boot = self._source.prebuilt or self._hardware.facts.no_u_boot
        return [
            *([_FIRST_STAGE] if self._first_stage else []),
            *([] if without_u_boot else _U_BOOT_STAGES),
            *_LINUX_STAGES,
        ]

    def _create_card(self) -> Path:
        """Create the copy-on-write file on top of the card image."""
        card = self._work / "card.qcow2"
        run_tool(
            *("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw"),
            *("-b", str(self._source.image), str(card), str(self._hardware.card_size)),
        )
        return card

    def _boot_options(self) -> list[str]:
        """Return QEMU's options for the program that it starts, extracted from the card image."""
        source, facts, work = self._source, self._hardware.facts, self._work
        if self._first_stage:
            return _load(*self._first_stage)
        if source.prebuilt:
            kernel, ramdisk = extract_kernel(source.image, source.boot_offset, work)
            options = ["-kernel", str(kernel), "-dtb", str(source.device_tree)]
            return [*options, *(("-initrd", str(ramdisk)) if ramdisk else ())]
        if facts.u_boot_address is not None:
            program = extract_u_boot(source.image, source.boot_offset, work)
            return _load(program, facts.u_boot_address)
        kernel, tree = extract_linux(source.image, source.boot_offset, work)
        return ["-kernel", str(kernel), "-dtb", str(tree)]

    def _machine_options(self, card: Path) -> list[str]:
        """Return QEMU's program and its options for the machine and its devices."""
        hardware = self._hardware
        facts = hardware.facts
        tree = read_tree(self._source.device_tree)
        serial, sd, nic = (
            position(tree, alias, devices)
            for alias, devices in facts.devices(hardware.console).items()
        )
        first_stage_machine = facts.first_stage_machine if self._first_stage else None
        return [
            self._qemu.program(facts.program),
            *("-M", first_stage_machine or facts.machine),
            *("-m", f"{hardware.memory >> 20}M", "-smp", str(facts.cpus)),
            *("-display", "none", "-monitor", "none"),
            # QEMU assigns options to the machine's devices in order, so fill the ones before.
            *("-serial", "null") * serial,
            *("-serial", f"file:{self.console_log}"),
            *("-drive", f"file={card},if=sd,format=qcow2,index={sd}"),
            *("-nic", _NETWORK) * nic,
            *("-nic", _network_options(self.ports)),
            *usb_disk(tree, facts.usb, self._work),
            *(DEBUGGER if hardware.registers else ()),
        ]

    def _problem(self, text: str, timeout: float) -> str | None:
        if self._process is None:
            return "QEMU was not started"
        if self._process.poll() is not None:
            return f"QEMU ended with status {self._process.returncode}"
        panic = re.search(r"Kernel panic - not syncing.*|PYNQ: FAILED.*", text)
        if panic:
            return panic[0]
        if time.monotonic() - self.started > timeout:
            return f"no ssh after {timeout:.0f} s"
        return None


def _load(program: Path, address: int) -> list[str]:
    """Return QEMU's options that load a program to an address and start it there."""
    return ["-device", f"loader,file={program},addr={address:#x},cpu-num=0"]


def hold_port() -> socket.socket:
    """Return a socket that reserves a free TCP port of the loopback interface for QEMU.

    The kernel gives this port to no other program while the socket is open. QEMU can still listen on
    it, because both set SO_REUSEADDR and this socket does not listen (socket(7)).
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


_NETWORK = "user,restrict=on"
"""Network without access to the host or the host's network; only forwarded ports are reachable."""


def _network_options(ports: Mapping[int, int]) -> str:
    return _NETWORK + "".join(
        f",hostfwd=tcp:127.0.0.1:{outer}-:{inner}" for inner, outer in ports.items()
    )


class _SshProbe:
    """Non-blocking check for the greeting of an SSH server behind a local port.

    QEMU accepts connections from its start; only the greeting comes from the server itself.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: socket.socket | None = None

    def __enter__(self) -> _SshProbe:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection:
            self._connection.close()

    def has_answered(self) -> bool:
        """Return whether the server has sent its greeting; connect if there is no connection."""
        try:
            if self._connection is None:
                self._connection = socket.create_connection(("127.0.0.1", self._port), timeout=2)
                self._connection.setblocking(False)
            greeting = self._connection.recv(8)
        except BlockingIOError:
            return False
        except OSError:
            greeting = b""
        if not greeting and self._connection:
            self._connection.close()
            self._connection = None
        return greeting.startswith(b"SSH-")
