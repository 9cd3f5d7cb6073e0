# SPDX-License-Identifier: MIT
"""An emulated board, started from its card image, and the stages of its boot."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from builder.boot_test.emulator import Qemu
from builder.boot_test.registers import DEBUGGER, write_registers
from builder.boot_test.usb import usb_disk
from builder.errors import CommandError, HostError, StepError
from builder.formats.boot_bin import parse
from builder.formats.devicetree import read_tree
from builder.formats.fit import MAGIC, Fit, read_fit
from builder.formats.linux_image import KERNELS, architecture, kernel_name, unpacked
from builder.qemu_devicetree.machine import MachineFacts, position
from builder.sandbox.process import Processes, clean_environment
from builder.spec.models import Soc

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
"""Texts that the console shows when a stage of the boot begins."""

EMULATED = "conf-emulated"
"""The configuration of image.ub that has the device tree for QEMU."""

_LAST_LINES = 30
_POLL_SECONDS = 0.5


class BootError(StepError):
    """The emulated board did not come up."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of a boot and when it was reached, in seconds after QEMU's start."""

    name: str
    seconds: float


class EmulatedBoard:
    """QEMU, running a copy-on-write overlay of an image; use it as a context manager.

    The image itself is only read. What is started comes out of its boot partition: U-Boot; or, on a
    machine where U-Boot cannot run, the kernel and the device tree that U-Boot would have started.

    `prebuilt` boot files know nothing of QEMU, and their U-Boot would start the board's own tree:
    the card's kernel is started with `device_tree`.

    Before anything runs, `registers` get their values, by their addresses.

    With a `first_stage` (a program and its address: `extract_first_stage`) that is started, and loads
    U-Boot from the card as on a board.
    """

    def __init__(
        self,
        image: Path,
        facts: MachineFacts,
        *,
        device_tree: Path,
        memory: int,
        card: int,
        console: str,
        boot_offset: int,
        forward: Sequence[int],
        work: Path,
        processes: Processes,
        qemu: Qemu,
        prebuilt: bool = False,
        first_stage: tuple[Path, int] | None = None,
        registers: Mapping[int, bytes] | None = None,
    ) -> None:
        self.memory = memory
        self.console_log = work / "console.log"
        overlay = work / "card.qcow2"
        _tool(
            *("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw"),
            *("-b", str(image), str(overlay), str(card)),
        )
        tree = read_tree(device_tree)
        serial, sd, nic = (
            position(tree, alias, devices) for alias, devices in facts.devices(console).items()
        )
        machine = facts.machine
        stages = [*([] if prebuilt or facts.no_u_boot else _U_BOOT_STAGES), *_LINUX_STAGES]
        if first_stage and facts.first_stage_machine:
            machine = facts.first_stage_machine
            start = _loaded(*first_stage)
            stages.insert(0, _FIRST_STAGE)
        elif prebuilt:
            start = _prebuilt(image, boot_offset, device_tree, work)
        else:
            start = _program(image, boot_offset, facts, work)
        with ExitStack() as held:
            holders = {port: held.enter_context(hold_port()) for port in forward}
            self.ports: dict[int, int] = {
                port: holder.getsockname()[1] for port, holder in holders.items()
            }
            self.command = [
                qemu.program(facts.program),
                *("-M", machine, "-m", f"{memory >> 20}M", "-smp", str(facts.cpus)),
                *("-display", "none", "-monitor", "none"),
                # QEMU gives its options to the machine's devices in order: fillers for the others.
                *("-serial", "null") * serial,
                *("-serial", f"file:{self.console_log}"),
                *("-drive", f"file={overlay},if=sd,format=qcow2,index={sd}"),
                *("-nic", _NETWORK) * nic,
                *("-nic", _forwarding(self.ports)),
                *usb_disk(tree, facts.usb, work),
                *(DEBUGGER if registers else ()),
                *start,
            ]
            self._stages = stages
            log = held.enter_context((work / "qemu.log").open("w"))
            self.started = time.monotonic()
            self._qemu = held.enter_context(
                processes.running(
                    self.command,
                    environment=clean_environment(),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=work,
                )
            )
            if registers:
                write_registers(work, self._qemu, registers)
            self._held = held.pop_all()

    def wait_for_ssh(
        self, port: int, timeout: float, on_stage: Callable[[Stage], None]
    ) -> list[Stage]:
        """Wait until the board's ssh server speaks; return the stages with their times.

        Raises:
            BootError: it does not within `timeout` seconds, QEMU ended, or the kernel panicked.
        """
        stages: list[Stage] = []

        def reached(name: str) -> None:
            stages.append(Stage(name=name, seconds=time.monotonic() - self.started))
            on_stage(stages[-1])

        left = list(self._stages)
        with _Greeting(self.ports[port]) as greeting:
            while not greeting.heard():
                text = self.console()
                for index, (name, pattern) in enumerate(left):
                    if re.search(pattern, text, re.MULTILINE):
                        for skipped, _ in left[:index]:
                            if skipped != "login prompt":
                                reached(skipped)
                        reached(name)
                        left = left[index + 1 :]
                        break
                problem = self._problem(text, timeout)
                if problem:
                    where = stages[-1].name if stages else f"before {left[0][0]}"
                    raise BootError(
                        f"the boot failed {'after stage ' if stages else ''}{where}: {problem}",
                        hint="the whole console is in the board's logs/console.log; QEMU ran as: "
                        f"{shlex.join(self.command)}",
                        details=text.splitlines()[-_LAST_LINES:],
                    )
                time.sleep(_POLL_SECONDS)
        reached("ssh")
        return stages

    def console(self) -> str:
        """Return all that the serial console has shown."""
        try:
            return self.console_log.read_text(errors="replace").replace("\r", "")
        except FileNotFoundError:
            return ""

    def _problem(self, text: str, timeout: float) -> str | None:
        if self._qemu.poll() is not None:
            return f"QEMU ended with status {self._qemu.returncode}"
        panic = re.search(r"Kernel panic - not syncing.*|PYNQ: FAILED.*", text)
        if panic:
            return panic[0]
        if time.monotonic() - self.started > timeout:
            return f"no ssh after {timeout:.0f} s"
        return None

    def __enter__(self) -> EmulatedBoard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held.close()


def _program(image: Path, boot_offset: int, facts: MachineFacts, work: Path) -> list[str]:
    """Return QEMU's options for what it starts, taken out of a card image."""
    if facts.u_boot_address is not None:
        return _loaded(extract_u_boot(image, boot_offset, work), facts.u_boot_address)
    kernel, tree = extract_linux(image, boot_offset, work)
    return ["-kernel", str(kernel), "-dtb", str(tree)]


def _loaded(program: Path, address: int) -> list[str]:
    """Return QEMU's options that put a program to an address and start it there."""
    return ["-device", f"loader,file={program},addr={address:#x},cpu-num=0"]


def _prebuilt(image: Path, boot_offset: int, device_tree: Path, work: Path) -> list[str]:
    """Return QEMU's options for what it starts of a card with prebuilt boot files."""
    kernel, ramdisk = extract_kernel(image, boot_offset, work)
    options = ["-kernel", str(kernel), "-dtb", str(device_tree)]
    return [*options, *(("-initrd", str(ramdisk)) if ramdisk else ())]


def extract_first_stage(
    image: Path, boot_offset: int, soc: Soc, work: Path
) -> tuple[Path, int] | None:
    """Take the first stage out of a card image's BOOT.BIN; return it and where it is loaded to.

    None if it is not U-Boot's SPL: what else an AMD first stage or a vendor's asks of the board,
    nobody has tried in QEMU.
    """
    packed = parse(boot_file(image, boot_offset, "BOOT.BIN", work), soc)
    if b"U-Boot SPL" not in packed.first_stage:
        return None
    program = work / "first-stage.bin"
    program.write_bytes(packed.first_stage)
    return program, packed.header.load_address


def extract_u_boot(image: Path, boot_offset: int, work: Path) -> Path:
    """Take U-Boot proper, with its device tree, out of a card image's u-boot.img.

    That is a FIT whose images are the program and the tree that it expects right behind itself;
    SPL would put both to U-Boot's address on a board.
    """
    packed, raw = read_fit(boot_file(image, boot_offset, "u-boot.img", work)), work / "u-boot.bin"
    raw.write_bytes(b"".join(part.data for part in list(packed.images.values())[:2]))
    return raw


def extract_linux(image: Path, boot_offset: int, work: Path) -> tuple[Path, Path]:
    """Take the kernel and the device tree for QEMU out of a card image's image.ub.

    Raises:
        StepError: it has no configuration for QEMU.
    """
    packed = read_fit(boot_file(image, boot_offset, "image.ub", work))
    if EMULATED not in packed.configurations:
        raise StepError(f"the card's image.ub has no configuration {EMULATED}")
    return (
        _part(packed, EMULATED, "kernel", work / "kernel"),
        _part(packed, EMULATED, "fdt", work / "emulated.dtb"),
    )


def extract_kernel(image: Path, boot_offset: int, work: Path) -> tuple[Path, Path | None]:
    """Take the kernel that a card's boot files start, and their ramdisk if they have one, out of it.

    Raises:
        StepError: there is none, or QEMU cannot start it.
    """
    listed = _tool("mdir", "-b", "-i", f"{image}@@{boot_offset}", "::/")
    name = kernel_name(line.removeprefix("::/") for line in listed.splitlines())
    if name is None:
        raise StepError(f"the card has no kernel: none of {', '.join(KERNELS)}")
    file, kernel, ramdisk = boot_file(image, boot_offset, name, work), work / "kernel", None
    data = file.read_bytes()
    if data.startswith(MAGIC):
        packed = read_fit(file)
        data = _part(packed, packed.default, "kernel", kernel).read_bytes()
        if packed.find(packed.default, "ramdisk"):
            ramdisk = _part(packed, packed.default, "ramdisk", work / "ramdisk")
    data = unpacked(data)
    if architecture(data) is None:
        raise StepError(
            f"QEMU cannot start the card's {name}",
            hint="it starts a zImage on 32-bit boards and an Image on 64-bit ones, also in a FIT "
            "or a uImage, packed by nothing but gzip",
        )
    kernel.write_bytes(data)
    return kernel, ramdisk


def _part(packed: Fit, configuration: str, kind: str, target: Path) -> Path:
    """Write the kernel, device tree, ... of a FIT's configuration into a file."""
    part = packed.find(configuration, kind)
    if part is None:
        raise StepError(f"the card's configuration {configuration} has no {kind}")
    target.write_bytes(part.data)
    return target


def boot_file(image: Path, boot_offset: int, name: str, work: Path) -> Path:
    """Copy a file from a card image's boot partition."""
    _tool("mcopy", "-n", "-o", "-i", f"{image}@@{boot_offset}", f"::/{name}", str(work / name))
    return work / name


def hold_port() -> socket.socket:
    """Return a socket that keeps a free TCP port of the loopback interface for QEMU.

    Nobody is given this port as long as the socket is open. QEMU can listen on it all the same, for
    it asks for SO_REUSEADDR as this does, and this does not listen (socket(7)).
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


_NETWORK = "user,restrict=on"
"""The board reaches its own ports' callers and nothing else: neither this machine nor its network."""


def _forwarding(ports: Mapping[int, int]) -> str:
    return _NETWORK + "".join(
        f",hostfwd=tcp:127.0.0.1:{outer}-:{inner}" for inner, outer in ports.items()
    )


class _Greeting:
    """An ssh server's first words, asked for without waiting for them.

    QEMU accepts connections from its start; only the greeting is the server's own.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: socket.socket | None = None

    def __enter__(self) -> _Greeting:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection:
            self._connection.close()

    def heard(self) -> bool:
        """Return whether the server has spoken; connect if there is no connection."""
        try:
            if self._connection is None:
                self._connection = socket.create_connection(("127.0.0.1", self._port), timeout=2)
                self._connection.setblocking(False)
            said = self._connection.recv(8)
        except BlockingIOError:
            return False
        except OSError:
            said = b""
        if not said and self._connection:
            self._connection.close()
            self._connection = None
        return said.startswith(b"SSH-")


def _tool(*argv: str) -> str:
    """Run a program of this machine and return what it prints."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise HostError(
            f"{argv[0]} is not on this machine", hint="make setup ENGINE=host"
        ) from error
    if done.returncode != 0:
        raise CommandError(
            f"{argv[0]} ended with status {done.returncode}",
            replay=shlex.join(argv),
            status=done.returncode,
            details=(done.stdout + done.stderr).splitlines()[-10:],
        )
    return done.stdout
