# SPDX-License-Identifier: MIT
"""Who may use the board's devices."""

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
    """Devices of a kind that the board has are for their group, and the user is in it."""
    assert group in host.user(parameters["users"]["user"]).groups
    found = host.run(f"stat --format='%G %a' {devices}").stdout.split("\n")
    assert {*found} - {""} <= {f"{group} 660"}


def test_memory_is_roots(host: Host) -> None:
    """/dev/mem is root's, nobody else can even read it."""
    file = host.file("/dev/mem")
    assert (file.user, file.mode & 0o007) == ("root", 0)


def test_gpio_tools(host: Host, parameters: Parameters) -> None:
    """The user's tools find the GPIO chips that there are."""
    chips = host.check_output("ls /dev | grep -c ^gpiochip || true")
    lines = host.run(f"runuser -u {parameters['users']['user']} gpiodetect").stdout.splitlines()
    assert len(lines) == int(chips)
