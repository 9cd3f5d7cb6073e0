# SPDX-License-Identifier: MIT
"""The board's own wireless network, with two simulated radios: the board's and a guest's."""

from collections.abc import Callable, Iterator
from ipaddress import ip_interface
from typing import Any

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]
Until = Callable[..., str]

CHECK = "/run/systemd/network/10-check.network"


@pytest.fixture(scope="module")
def guest(host: Host, parameters: Parameters, until: Until) -> Iterator[str]:
    """The guest's interface; the board's interface exists too, and its network has started."""
    interface = parameters["wifi-access-point"]["interface"]
    if host.run("ls -d /sys/class/net/*/phy80211").succeeded:
        pytest.skip("the board has a radio of its own, in use")
    if host.run("modprobe mac80211_hwsim radios=2").failed:
        pytest.skip("this kernel has no radios made of software")
    until(f"systemctl is-active wifi-access-point@{interface}")
    others = host.check_output("ls -d /sys/class/net/*/phy80211").split()
    names = [path.split("/")[4] for path in others]
    yield next(name for name in names if name != interface)
    host.check_output("rmmod mac80211_hwsim")


def join(host: Host, guest: str, ssid: str, passphrase: str) -> None:
    """Connect a guest to the network."""
    host.check_output("wpa_passphrase %s %s > /run/check.conf", ssid, passphrase)
    host.check_output(
        "systemd-run --unit=check-guest --collect "
        f"wpa_supplicant -i {guest} -D nl80211 -c /run/check.conf"
    )


def leave(host: Host) -> None:
    """Disconnect the guest."""
    host.check_output("systemctl stop check-guest; rm /run/check.conf")


def test_it_is_no_client(host: Host, guest: str, parameters: Parameters) -> None:
    """The adapter of the access point does not search for networks."""
    assert guest
    assert not host.service(f"wifi@{parameters['wifi-access-point']['interface']}").is_running


def test_guests_join(host: Host, guest: str, parameters: Parameters, until: Until) -> None:
    """With the passphrase, a guest joins the network and gets an address by DHCP."""
    settings = parameters["wifi-access-point"]
    board = ip_interface(settings["address"])
    host.check_output("mkdir -p /run/systemd/network")
    host.check_output(f"printf '[Match]\\nName={guest}\\n[Network]\\nDHCP=ipv4\\n' > {CHECK}")
    host.check_output("networkctl reload")
    join(host, guest, settings["ssid"], settings["passphrase"])
    try:
        until(f"iw dev {guest} link | grep -q 'SSID: '")
        lease = until(
            f"ip -brief -4 address show dev {guest} | awk '{{print $3}}' | grep /{board.network.prefixlen}",
        )
        assert ip_interface(lease).network == board.network
        assert ip_interface(lease).ip != board.ip
    finally:
        leave(host)
        host.check_output(f"rm {CHECK}; networkctl reload")


def test_others_do_not(host: Host, guest: str, parameters: Parameters, until: Until) -> None:
    """With a wrong passphrase, a guest cannot join."""
    join(host, guest, parameters["wifi-access-point"]["ssid"], "not the passphrase")
    try:
        until("journalctl --unit=check-guest --output=cat | grep -q WRONG_KEY")
        assert "state=COMPLETED" not in host.run(f"wpa_cli -i {guest} status").stdout
    finally:
        leave(host)


def test_passphrase_is_kept(host: Host, parameters: Parameters) -> None:
    """The image has the derived key instead of the passphrase, and only root can read it."""
    file = host.file("/etc/wpa_supplicant/wifi-access-point.conf")
    assert (file.user, file.mode) == ("root", 0o600)
    assert parameters["wifi-access-point"]["passphrase"] not in file.content_string
