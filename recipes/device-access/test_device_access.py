# SPDX-License-Identifier: MIT
"""Permissions of the board's devices."""

from typing import Any

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


@pytest.mark.parametrize(
    ("devices", "group"),
    [
        ("/dev/gpiochip*", "gpio"),
        ("/dev/i2c-*", "i2c"),
        ("/dev/spidev*", "spi"),
        ("/dev/uio*", "uio"),
    ],
)
def test_devices_are_the_groups(
    host: Host, parameters: Parameters, devices: str, group: str
) -> None:
    """The board's devices belong to their group, and the user is a member of it."""
    assert group in host.user(parameters["users"]["user"]).groups
    found = host.run(f"stat --format='%G %a' {devices}").stdout.split("\n")
    assert {*found} - {""} <= {f"{group} 660"}


def test_memory_is_roots(host: Host) -> None:
    """/dev/mem belongs to root, and other users cannot read it."""
    file = host.file("/dev/mem")
    assert (file.user, file.mode & 0o007) == ("root", 0)


def test_gpio_tools(host: Host, parameters: Parameters) -> None:
    """GPIO tools find the GPIO chips when run as the user."""
    chips = host.check_output("ls /dev | grep -c ^gpiochip || true")
    lines = host.run(f"runuser -u {parameters['users']['user']} gpiodetect").stdout.splitlines()
    assert len(lines) == int(chips)
