# SPDX-License-Identifier: MIT
"""Writes to registers of an emulated machine before it starts."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from builder.boot_test.registers import write_registers
from builder.errors import StepError
from builder.qemu_devicetree.machine import machine_facts
from builder.spec.models import Soc

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a program in the test's directory; it ends with the test."""
    running: list[subprocess.Popen[str]] = []

    def started(*argv: str) -> subprocess.Popen[str]:
        running.append(subprocess.Popen(argv, cwd=tmp_path, text=True, stderr=subprocess.DEVNULL))
        return running[-1]

    yield started
    for each in running:
        each.kill()
        each.wait()


def listen(folder: Path, answer: bytes, heard: list[str]) -> Thread:
    """Fake QEMU's debugger for one connection; record commands with a correct checksum."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "debugger"))
    server.listen()

    def serve() -> None:
        with server, server.accept()[0] as connection:
            text = ""
            while got := connection.recv(1024):
                text += got.decode()
                while packet := re.match(r"\+*\$([^#]*)#(..)", text):
                    text = text[packet.end() :]
                    if int(packet[2], 16) == sum(packet[1].encode()) % 256:
                        heard.append(packet[1])
                    connection.sendall(b"+" + answer)

    thread = Thread(target=serve)
    thread.start()
    return thread


def test_registers_are_written_and_then_the_machine_starts(tmp_path: Path, start: Start) -> None:
    heard: list[str] = []
    serving = listen(tmp_path, b"$OK#9a", heard)
    write_registers(tmp_path, start(*SLEEP), {0xE000B088: bytes(8), 0x10: b"\xab"})
    serving.join()
    assert heard == ["Qqemu.PhyMemMode:1", "Me000b088,8:0000000000000000", "M10,1:ab", "D"]


def test_a_refusal_is_an_error(tmp_path: Path, start: Start) -> None:
    serving = listen(tmp_path, b"$E22#a9", [])
    with pytest.raises(StepError, match=r"answers \+\$E22#a9 to Qqemu.PhyMemMode:1"):
        write_registers(tmp_path, start(*SLEEP), {0x10: b"\0"})
    serving.join()


def test_a_qemu_that_ends_is_no_error(tmp_path: Path, start: Start) -> None:
    qemu = start(sys.executable, "-c", "")
    write_registers(tmp_path, qemu, {0x10: b"\0"})
    assert qemu.wait() == 0


@pytest.mark.parametrize(("soc", "last"), [(Soc.ZYNQ, 0xE000C088), (Soc.ZYNQMP, 0xFF0E0088)])
def test_mac_addresses_are_zero_when_a_board_is_switched_on(soc: Soc, last: int) -> None:
    facts = machine_facts(soc)
    found = facts.mac_addresses()
    assert len(found) == len(facts.nic)
    assert [*found.items()][-1] == (last, bytes(8))
