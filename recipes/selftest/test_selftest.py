# SPDX-License-Identifier: MIT
"""The command that runs the self-test on the board."""

import json
from typing import Any

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]

CHECKS = "/usr/share/board-selftest"
PLACE = ("outside", "it runs the board's own command, which runs the checks")


@pytest.mark.only(*PLACE)
def test_report(host: Host, parameters: Parameters) -> None:
    """The user can run selected checks with sudo, and gets a JSON report."""
    settings = parameters["users"]
    command = "board-selftest -k test_root_is_writable --json -"
    output = host.check_output(
        f"printf '%%s\\n' %s | runuser -u %s -- sudo -S -p '' {command}",
        settings["password"],
        settings["user"],
    )
    report = json.loads(output)
    assert (report["passed"], report["failed"]) == (1, 0)
    (check,) = report["checks"]
    assert check["check"] == "recipes/base/test_base.py::test_root_is_writable"


@pytest.mark.long("pytest takes long to start")
@pytest.mark.only(*PLACE)
def test_status(host: Host) -> None:
    """Its exit code is 1 if a check failed; without root it prints an error."""
    assert host.run("board-selftest -k no_such_check").rc == 1
    refused = host.run("runuser -u nobody -- board-selftest")
    assert refused.rc == 2
    assert "sudo board-selftest" in refused.stderr


def test_no_secret(host: Host, parameters: Parameters, board: Any) -> None:
    """The image's files for the checks contain no secrets."""
    known = json.loads(host.file(f"{CHECKS}/context.json").content_string)
    assert known["board"] == board.name
    for recipe, keys in known["secrets"].items():
        for key in keys:
            assert not known["parameters"][recipe].get(key)
    assert {*known["parameters"]} == {*parameters}
