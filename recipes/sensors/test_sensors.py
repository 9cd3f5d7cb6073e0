# SPDX-License-Identifier: MIT
"""Sensors.

An emulated board has none. So these tell what goes wrong from that there is nothing to read.
"""

import json

from testinfra.host import Host

# sensors exits with 0 with and without sensors.
INIT = "import ctypes; print(ctypes.CDLL('libsensors.so').sensors_init(None))"


def test_configuration(host: Host) -> None:
    """The configuration can be parsed; `sensors` lists sensors or reports that there are none."""
    result = host.run("sensors")
    assert "Error" not in result.stderr
    assert result.rc == 0 or "No sensors found!" in result.stderr


def test_values_for_programs(host: Host) -> None:
    """Measurements are available as JSON."""
    result = host.run("sensors -j")
    assert isinstance(json.loads(result.stdout), dict)


def test_library(host: Host) -> None:
    """Python loads libsensors by the name that the PYNQ library uses."""
    assert host.check_output("python3 -c %s", INIT) == "0"
