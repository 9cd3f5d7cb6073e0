# SPDX-License-Identifier: MIT
"""The service of the first boot."""

from testinfra.host import Host


def test_root_fills_the_card(host: Host) -> None:
    """The root partition extends to the end of the card, and its filesystem fills it."""
    partition = host.check_output(
        "readlink -f /sys/dev/block/$(findmnt -no MAJ:MIN --mountpoint / | tr -d ' ')"
    )
    numbers = host.check_output(f"cd {partition} && cat start size ../size").split()
    start, size, card = map(int, numbers)
    assert card - start - size <= 2048, "sectors are left at the end of the card"
    text = host.check_output(f"dumpe2fs -h /dev/{partition.rpartition('/')[2]}")
    values = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    blocks, block = int(values["Block count"]), int(values["Block size"])
    assert blocks == size * 512 // block


def test_only_once(host: Host) -> None:
    """The unit succeeded and does not run at the next boot."""
    assert host.file("/var/lib/first-boot/root-grown").exists
    result = host.check_output("systemctl show --property=Result --value grow-root")
    assert result == "success"


def test_again_changes_nothing(host: Host) -> None:
    """A second run changes nothing."""
    table = "sfdisk --dump /dev/$(lsblk -no PKNAME $(findmnt -nvo SOURCE --mountpoint /))"
    before = host.check_output(table)
    assert " fills " in host.check_output("/usr/local/sbin/grow-root")
    assert host.check_output(table) == before
