# SPDX-License-Identifier: MIT
"""Tools for the I2C buses."""

from typing import Any

from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


def test_buses_are_listed(host: Host, parameters: Parameters) -> None:
    """i2cdetect lists the I2C buses when run as the user."""
    buses = host.check_output("ls /dev | grep -c ^i2c- || true")
    user = parameters["users"]["user"]
    lines = host.check_output(f"runuser -u {user} -- /usr/sbin/i2cdetect -l").splitlines()
    assert len(lines) == int(buses)
