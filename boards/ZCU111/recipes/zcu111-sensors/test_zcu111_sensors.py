# SPDX-License-Identifier: MIT
"""Checks of the power rails of a ZCU111.

The emulated board has no I2C devices. So the configuration is compared with the device tree, and
the values are read only on hardware.
"""

import json
import re

import pytest
from testinfra.host import Host

CONFIGURATION = "/etc/sensors.d/zcu111.conf"


def test_configuration(host: Host) -> None:
    """The configuration of the rails can be parsed."""
    result = host.run("sensors -c %s", CONFIGURATION)
    assert "Error" not in result.stderr


def test_every_monitor_has_a_rail(host: Host) -> None:
    """The configuration names each power monitor of the device tree once, and no others."""
    text = host.file(CONFIGURATION).content_string
    named = re.findall(r'^chip "(\w+)-\*"', text, re.MULTILINE)
    nodes = host.check_output("ls /proc/device-tree").split()
    assert sorted(named) == sorted(
        node.replace("-", "_") for node in nodes if node.startswith("ina226-")
    )


@pytest.mark.only("hardware", "QEMU has no power monitors")
def test_rails(host: Host) -> None:
    """Every rail has measurements, and the core has its voltage."""
    # The three entries of a rail have the same name: a list of pairs preserves them.
    chips = json.loads(host.run("sensors -j").stdout, object_pairs_hook=list)
    rails = {chip: entries for chip, entries in chips if chip.startswith("ina226_")}
    assert len(rails) == 14
    measured = {
        name: {reading: value for label, values in entries[1:] for reading, value in values}
        for name, entries in rails.items()
    }
    kinds = {"in2_input", "curr1_input", "power1_input"}
    assert all(kinds <= set(values) for values in measured.values())
    core = measured["ina226_u67-isa-0000"]
    assert 0.8 < core["in2_input"] < 0.9
