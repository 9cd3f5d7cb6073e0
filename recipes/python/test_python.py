# SPDX-License-Identifier: MIT
"""Python 3."""

from typing import Any

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


def test_version(host: Host) -> None:
    """Python 3 runs, with the modules of the standard library that need shared libraries."""
    modules = "bz2, ctypes, lzma, readline, sqlite3, ssl, zlib"
    assert host.check_output(f"python3 -c 'import {modules}; print(1)'") == "1"


def test_venv(host: Host) -> None:
    """A virtual environment can be created, and the pip for it is available."""
    # Without pip: installing it takes minutes on an emulated board.
    script = "d=$(mktemp -d) && python3 -m venv --without-pip $d && $d/bin/python -m ensurepip --version; rm -rf $d"
    assert host.check_output(script).startswith("pip ")


@pytest.mark.long("pip takes long to start")
def test_pip(host: Host, parameters: Parameters) -> None:
    """Outside of virtual environments, pip only installs packages if configured to."""
    marker = "ls $(python3 -c 'import sysconfig; print(sysconfig.get_path(\"stdlib\"))')"
    managed = host.run(f"{marker}/EXTERNALLY-MANAGED").succeeded
    # The package is already installed, so pip only checks whether it may install.
    allowed = host.run("pip install --no-index pip").succeeded
    assert allowed == (parameters["python"]["system-pip"] or not managed)
