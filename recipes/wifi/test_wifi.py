# SPDX-License-Identifier: MIT
"""The wireless client, with two simulated radios: the board's and an access point's."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]
Until = Callable[..., str]

CHECK = "/run/systemd/network/10-check.network"
CARD = "/boot/wpa_supplicant.conf"

ACCESS_POINT = """
network={
    ssid="check of the board"
    mode=2
    frequency=2437
    key_mgmt=WPA-PSK
    proto=RSN
    pairwise=CCMP
    psk="a key for checks"
}
"""
# With the line ends of an editor on a PC.
CLIENT = 'network={\r\n    ssid="check of the board"\r\n    psk="a key for checks"\r\n}\r\n'


@pytest.fixture(scope="module")
def radio(host: Host, parameters: Parameters, until: Until) -> Iterator[str]:
    """The other radio's interface; the board's interface exists too, and its service has started."""
    interface = parameters["wifi"]["interface"]
    if parameters.get("wifi-access-point", {}).get("interface") == interface:
        pytest.skip(f"{interface} is the access point's")
    if host.run("ls -d /sys/class/net/*/phy80211").succeeded:
        pytest.skip("the board has a radio of its own, in use")
    if host.run("modprobe mac80211_hwsim radios=2").failed:
        pytest.skip("this kernel has no radios made of software")
    until(f"test -e /sys/class/net/{interface}")
    others = host.check_output("ls -d /sys/class/net/*/phy80211").split()
    names = [path.split("/")[4] for path in others]
    yield next(name for name in names if name != interface)
    host.check_output("rmmod mac80211_hwsim")


@pytest.fixture
def access_point(host: Host, radio: str) -> Iterator[None]:
    """An access point with DHCP."""
    settings = f"[Match]\\nName={radio}\\n[Network]\\nAddress=192.168.77.1/24\\nDHCPServer=yes\\n"
    host.check_output("printf %s > /run/check.conf", ACCESS_POINT)
    host.check_output(f"mkdir -p /run/systemd/network; printf '{settings}' > {CHECK}")
    host.check_output("networkctl reload")
    command = f"wpa_supplicant -i {radio} -D nl80211 -c /run/check.conf"
    host.check_output(f"systemd-run --unit=check-access-point {command}")
    yield
    host.check_output("systemctl stop check-access-point")
    host.check_output(f"rm /run/check.conf {CHECK}; networkctl reload")


@pytest.fixture
def card(host: Host) -> Iterator[None]:
    """A wpa_supplicant.conf on the FAT partition, instead of the user's."""
    host.check_output(f"! test -e {CARD} || mv {CARD} {CARD}.kept")
    host.check_output(f"printf %s > {CARD}", CLIENT)
    yield
    host.check_output(f"rm {CARD}; ! test -e {CARD}.kept || mv {CARD}.kept {CARD}")


def test_passphrase_is_kept(host: Host, parameters: Parameters) -> None:
    """The image has the derived key instead of the passphrase, and only root can read it."""
    file = host.file("/etc/wpa_supplicant/wifi.conf")
    assert (file.user, file.mode) == ("root", 0o600)
    settings = parameters["wifi"]
    assert ("network={" in file.content_string) == bool(settings["ssid"])
    assert not settings["passphrase"] or settings["passphrase"] not in file.content_string


def test_starts_with_the_adapter(
    host: Host, radio: str, parameters: Parameters, until: Until
) -> None:
    """The service starts when an adapter appears; without a network, it logs that and ends."""
    assert radio
    unit = f"wifi@{parameters['wifi']['interface']}"
    log = f"journalctl --unit={unit} --output=cat"
    said = "networks of" if parameters["wifi"]["ssid"] else "no network is set"
    until(f"{log} | grep -q '{said}' || test -e {CARD}")
    assert host.service("wpa_supplicant").is_enabled is False


@pytest.mark.long("it waits for an access point and DHCP")
@pytest.mark.usefixtures("access_point", "card")
def test_joins_the_network_of_the_card(host: Host, parameters: Parameters, until: Until) -> None:
    """With a wpa_supplicant.conf on the FAT partition, the board joins and gets an address by DHCP."""
    interface = parameters["wifi"]["interface"]
    host.check_output(f"systemctl restart wifi@{interface}")
    try:
        until(f"iw dev {interface} link | grep -q 'SSID: check of the board'")
        address = (
            f"ip -brief -4 address show dev {interface} | grep -o '192[.]168[.]77[.][0-9]*/24'"
        )
        assert until(address) != "192.168.77.1/24"
    finally:
        host.check_output(f"systemctl stop wifi@{interface}")
