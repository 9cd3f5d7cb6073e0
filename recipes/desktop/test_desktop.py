# SPDX-License-Identifier: MIT
"""The X server and desktop programs."""

import pytest
from testinfra.host import Host


@pytest.mark.parametrize("program", ["Xorg", "startx", "startfluxbox", "xterm", "Eterm"])
def test_programs_are_there(host: Host, program: str) -> None:
    """The programs of the desktop are on the path."""
    assert host.exists(program)


def test_libraries_of_the_server_are_there(host: Host) -> None:
    """The X server finds its libraries and prints its version."""
    assert "X.Org X Server" in host.run("Xorg -version").stderr


def test_it_is_not_started_at_boot(host: Host) -> None:
    """No display manager uses memory that notebooks need."""
    assert not host.process.filter(comm="Xorg")
