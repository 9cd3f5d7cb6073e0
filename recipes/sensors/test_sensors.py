# SPDX-License-Identifier: MIT
"""Sensors.

An emulated board has none. So these tell what goes wrong from that there is nothing to read.
"""

import json

from testinfra.host import Host

# 0 is success, whether there are sensors or not.
INIT = "import ctypes; print(ctypes.CDLL('libsensors.so').sensors_init(None))"


def test_configuration(host: Host) -> None:
    """All configuration of sensors can be parsed; there are sensors, or it is said that there are none."""
    result = host.run("sensors")
    assert "Error" not in result.stderr
    assert result.rc == 0 or "No sensors found!" in result.stderr


def test_values_for_programs(host: Host) -> None:
    """Programs get what is measured as JSON."""
    result = host.run("sensors -j")
    assert isinstance(json.loads(result.stdout), dict)


def test_library(host: Host) -> None:
    """Python loads libsensors by the name that the pynq library uses."""
    assert host.check_output("python3 -c %s", INIT) == "0"
