# SPDX-License-Identifier: MIT
"""Sensors.

An emulated board has none, so the checks distinguish failures from the absence of sensors.
"""

import json

from testinfra.host import Host

# 0 means success, also without sensors.
INIT = "import ctypes; print(ctypes.CDLL('libsensors.so').sensors_init(None))"


def test_configuration(host: Host) -> None:
    """The configuration of sensors is valid; `sensors` lists sensors or reports that there are none."""
    result = host.run("sensors")
    assert "Error" not in result.stderr
    assert result.rc == 0 or "No sensors found!" in result.stderr


def test_values_for_programs(host: Host) -> None:
    """Programs can read the measurements as JSON."""
    result = host.run("sensors -j")
    assert isinstance(json.loads(result.stdout), dict)


def test_library(host: Host) -> None:
    """Python can load libsensors under the name that the PYNQ library uses."""
    assert host.check_output("python3 -c %s", INIT) == "0"
