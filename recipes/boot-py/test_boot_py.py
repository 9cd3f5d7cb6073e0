# SPDX-License-Identifier: MIT
"""The script boot.py on the boot partition."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from testinfra.host import Host

PROBE = """
import os, sys
print("board", os.environ["BOARD"], "user", os.getuid(), "in", os.getcwd())
print("to stderr", file=sys.stderr)
"""
FAIL = "raise RuntimeError(6 * 7)"
LOG = "journalctl --unit=boot-py --output=cat --since=@%s"


@pytest.fixture
def run(host: Host, until: Callable[..., str]) -> Iterator[Callable[[str, str], list[str]]]:
    """Run a boot.py instead of the card's until the journal has a word; return its lines."""
    host.check_output("cp /boot/boot.py /run/boot.py.kept")
    since = host.check_output("date +%s")

    def do(code: str, word: str) -> list[str]:
        host.check_output("printf %s %s > /boot/boot.py && systemctl restart boot-py", "%s", code)
        until(f"{LOG} | grep -q %s", since, word)
        log: str = host.check_output(LOG, since)
        return log.splitlines()

    yield do
    host.check_output("mv /run/boot.py.kept /boot/boot.py && systemctl restart boot-py")


def test_it_ran(host: Host) -> None:
    """The card's boot.py ran at boot, from the FAT partition, without a failure."""
    assert host.check_output("findmnt -no FSTYPE --target /boot/boot.py") == "vfat"
    assert host.service("boot-py").is_enabled
    shown = host.check_output("systemctl show --property=Result,ExecMainStatus boot-py").split()
    assert {*shown} == {"Result=success", "ExecMainStatus=0"}
    assert host.check_output("systemctl show --property=ExecMainStartTimestamp --value boot-py")


def test_what_it_prints_is_in_the_journal(board: Any, run: Callable[[str, str], list[str]]) -> None:
    """boot.py has BOARD, runs as root in /boot, and its output is in the journal."""
    lines = run(PROBE, "stderr")
    assert f"board {board.hardware} user 0 in /boot" in lines
    assert "to stderr" in lines


def test_its_failure_is_seen(host: Host, run: Callable[[str, str], list[str]]) -> None:
    """If boot.py fails, the unit fails, with the error in the journal."""
    assert "RuntimeError: 42" in run(FAIL, "Failed")
    assert host.run("systemctl is-failed boot-py").stdout.strip() == "failed"
