# SPDX-License-Identifier: MIT
"""Python 3."""

from typing import Any

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


def test_version(host: Host) -> None:
    """Python 3 runs and brings what the standard library needs libraries for."""
    modules = "bz2, ctypes, lzma, readline, sqlite3, ssl, zlib"
    assert host.check_output(f"python3 -c 'import {modules}; print(1)'") == "1"


def test_venv(host: Host) -> None:
    """A virtual environment can be made, and the pip that would go into it is there."""
    # Without pip itself: to install it takes an emulated board minutes.
    script = "d=$(mktemp -d) && python3 -m venv --without-pip $d && $d/bin/python -m ensurepip --version; rm -rf $d"
    assert host.check_output(script).startswith("pip ")


@pytest.mark.long("pip takes long to start")
def test_pip(host: Host, parameters: Parameters) -> None:
    """Outside of virtual environments pip installs only if that was allowed."""
    marker = "ls $(python3 -c 'import sysconfig; print(sysconfig.get_path(\"stdlib\"))')"
    managed = host.run(f"{marker}/EXTERNALLY-MANAGED").succeeded
    # Installed already, so that nothing happens but the check.
    allowed = host.run("pip install --no-index pip").succeeded
    assert allowed == (parameters["python"]["system-pip"] or not managed)
