# SPDX-License-Identifier: MIT
"""Ports that recipes declare: their keys, the facts for checks, and the check on the board."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from testinfra.host import Host

from builder.target_tests.context import context
from tests.fixtures.product import ROOT
from tests.fixtures.specs import Files

LISTENS = """\
listens:
  - {port: 22, protocol: tcp, program: sshd, who: users, switch-off: so}
  - {port: port, protocol: udp, program: systemd-networkd, who: guests, switch-off: so}
  - {protocol: tcp, program: python3, loopback: true, who: kernels, switch-off: so}
  - {protocol: udp, program: systemd-timesyncd, who: a server, switch-off: so}
parameters:
  port: {default: 67, summary: a port, type: port}
  size: {default: 1, summary: a number}
"""


@pytest.fixture
def files(tmp_path: Path) -> Files:
    found = Files(tmp_path)
    found.recipe("a", LISTENS)
    return found


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("port: 22,", "port: 0,", "3: listens.0.port: must be a number from 1 to 65535, or the"),
        ("port: 22,", "port: 65536,", "3: listens.0.port: must be a number from 1 to 65535, or"),
        ("port: 22,", "port: [22],", "3: listens.0.port: must be a number from 1 to 65535, or"),
        ("port: 22,", "port: true,", "3: listens.0.port: must be a number from 1 to 65535, or"),
        (
            "port: port,",
            "port: prt,",
            "4: listens.1.port: is not a parameter of type port (did you",
        ),
        ("port: port,", "port: size,", "4: listens.1.port: is not a parameter of type port (there"),
        ("protocol: udp", "protocol: icmp", "4: listens.1.protocol: input should be 'tcp' or"),
        ("switch-off: so}\n  - {port: port", "x: so}\n  - {port: port", "3: listens.0.x: is not a"),
    ],
)
def test_a_mistake_is_reported(files: Files, old: str, new: str, problem: str) -> None:
    assert old in LISTENS
    files.recipe("a", LISTENS.replace(old, new, 1))
    said = files.problems()
    assert [each for each in said if each.startswith(f"recipes/a/recipe.yaml:{problem}")], said


def test_checks_know_them_with_the_parameters_of_the_image(files: Files) -> None:
    known = context(files.resolve(settings=["a.port=1067"]), "one")["listens"]
    assert known == [
        {"recipe": "a", "protocol": protocol, "port": port, "program": name, "loopback": local}
        for protocol, port, name, local in (
            ("tcp", 22, "sshd", False),
            ("udp", 1067, "systemd-networkd", False),
            ("tcp", None, "python3", True),
            ("udp", None, "systemd-timesyncd", False),
        )
    ]


# The check on the board


@pytest.fixture(scope="module")
def check(pytestconfig: pytest.Config) -> ModuleType:
    pytestconfig.addinivalue_line("markers", "only(place, why): as the plugin of checks has it")
    file = ROOT / "recipes/base/test_ports.py"
    spec = importlib.util.spec_from_file_location("check_of_ports", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(check: ModuleType, files: Files, *lines: str) -> None:
    """Run the check on a board whose ss prints these lines."""
    host = SimpleNamespace(check_output=lambda command: "\n".join(lines) if command else "")
    known = context(files.resolve(), "one")["listens"]
    check.test_what_listens_is_known(cast(Host, host), cast(list[dict[str, Any]], known))


NAMED = (
    'tcp   LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=412,fd=3))',
    'tcp   LISTEN 0 128 [::]:22 [::]:* users:(("sshd",pid=412,fd=4))',
    'tcp   LISTEN 0 4096 *:22 *:* users:(("sshd",pid=9,fd=3),("systemd",pid=1,fd=44))',
    'tcp   LISTEN 0 4096 *:22 *:* users:(("systemd",pid=1,fd=44))',
    'udp   UNCONN 0 0 0.0.0.0%usb-gadget:67 0.0.0.0:* users:(("systemd-network",pid=300,fd=21))',
    'udp   UNCONN 0 0 [fe80::1:2]%eth0:67 [::]:* users:(("systemd-network",pid=300,fd=22))',
    'tcp   LISTEN 0 100 127.0.0.1:45678 0.0.0.0:* users:(("python3",pid=800,fd=9))',
    'tcp   LISTEN 0 100 [::1]:45678 [::]:* users:(("python3",pid=800,fd=9))',
    'udp   UNCONN 0 0 0.0.0.0:40123 0.0.0.0:* users:(("systemd-timesyn",pid=301,fd=9))',
)


def test_declared_ports_pass(check: ModuleType, files: Files) -> None:
    run(check, files, *NAMED)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, id=name)
        for name, line in (
            ("port", 'tcp LISTEN 0 1 0.0.0.0:23 0.0.0.0:* users:(("sshd",pid=1,fd=3))'),
            ("protocol", 'udp UNCONN 0 0 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))'),
            ("program", 'tcp LISTEN 0 1 *:22 *:* users:(("dropbear",pid=1,fd=3))'),
            ("also", 'tcp LISTEN 0 1 *:22 *:* users:(("sshd",pid=1,fd=3),("x",pid=2,fd=3))'),
            ("none", "tcp LISTEN 0 1 0.0.0.0:22 0.0.0.0:*"),
            ("reach", 'tcp LISTEN 0 1 0.0.0.0:8888 0.0.0.0:* users:(("python3",pid=1,fd=3))'),
            ("every", 'tcp LISTEN 0 1 *:8888 *:* users:(("python3",pid=1,fd=3))'),
            ("local", 'udp UNCONN 0 0 127.0.0.1:8888 0.0.0.0:* users:(("python3",pid=1,fd=3))'),
        )
    ],
)
def test_another_socket_fails(check: ModuleType, files: Files, line: str) -> None:
    with pytest.raises(AssertionError, match="no recipe of the image names them"):
        run(check, files, *NAMED, line)


def test_a_board_that_shows_none_fails(check: ModuleType, files: Files) -> None:
    with pytest.raises(AssertionError, match="ss shows them"):
        run(check, files)
