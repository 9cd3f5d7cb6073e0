# SPDX-License-Identifier: MIT
"""The board's name in the environment."""

from typing import Any

from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


def test_device_tree(host: Host, board: Any) -> None:
    """The device tree has the name of the board."""
    node = host.file("/proc/device-tree/chosen/pynq_board")
    assert node.content_string.rstrip("\0") == board.hardware


def test_environment(host: Host, board: Any) -> None:
    """Services and logins have the variable BOARD."""
    assert f"BOARD={board.hardware}" in host.check_output("systemctl show-environment").splitlines()
    assert host.check_output("env -i bash -lc 'echo $BOARD'") == board.hardware


def test_sudo_keeps_it(host: Host) -> None:
    """The variable BOARD passes through sudo."""
    assert host.check_output("BOARD=probe sudo printenv BOARD") == "probe"


def test_revision(host: Host, board: Any, parameters: Parameters) -> None:
    """A file in the user's home describes the image: board, package snapshot, kernel."""
    user = parameters["users"]["user"]
    text = host.check_output(f"runuser -u {user} cat /home/{user}/REVISION")
    fields = dict(line.split(": ", 1) for line in text.splitlines())
    assert fields["Board"] == board.name
    assert fields["Linux"] == host.check_output("uname -r")
    assert fields["Packages as of"]
