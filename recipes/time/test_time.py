# SPDX-License-Identifier: MIT
"""The system clock of a board without a hardware clock."""

from testinfra.host import Host

KEPT = 'date -u -d "$(cat /etc/fake-hwclock.data)" +%s'


def test_network_time(host: Host) -> None:
    """The service that synchronizes the clock with the network runs."""
    assert host.service("systemd-timesyncd").is_running


def test_clock_goes_on(host: Host) -> None:
    """Without a network, the clock is not earlier than the image or the last shutdown."""
    kept, now = host.check_output(f"{KEPT}; date +%s").split()
    assert int(now) >= int(kept)


def test_clock_survives_power_off(host: Host) -> None:
    """The time can be saved to the card, and is restored at boot."""
    host.check_output("fake-hwclock save")
    kept, now = host.check_output(f"{KEPT}; date +%s").split()
    assert 0 <= int(now) - int(kept) < 60
    # One unit in some releases, two in others.
    units = "systemctl list-unit-files --state=enabled --no-legend 'fake-hwclock*'"
    assert host.check_output(units)
