# SPDX-License-Identifier: MIT
"""The clock of a board that has none."""

from testinfra.host import Host

KEPT = 'date -u -d "$(cat /etc/fake-hwclock.data)" +%s'


def test_network_time(host: Host) -> None:
    """The service that sets the clock from the network runs."""
    assert host.service("systemd-timesyncd").is_running


def test_clock_goes_on(host: Host) -> None:
    """Even without a network the clock is not earlier than the image or the last shutdown."""
    kept, now = host.check_output(f"{KEPT}; date +%s").split()
    assert int(now) >= int(kept)


def test_clock_survives_power_off(host: Host) -> None:
    """What the clock says can be kept on the card, and is read from there at boot."""
    host.check_output("fake-hwclock save")
    kept, now = host.check_output(f"{KEPT}; date +%s").split()
    assert 0 <= int(now) - int(kept) < 60
    # One unit in some releases, a pair in others.
    units = "systemctl list-unit-files --state=enabled --no-legend 'fake-hwclock*'"
    assert host.check_output(units)
