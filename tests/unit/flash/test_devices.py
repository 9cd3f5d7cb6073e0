# SPDX-License-Identifier: MIT
"""Selection of devices to which an image may be written, from tables of lsblk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builder.errors import UserError
from builder.flash.devices import candidates, check_room, devices, read_devices, target
from tests.fakes.lsblk import CARD, EXT4, FAT, GIB, entry, fixed, table


@pytest.fixture(autouse=True)
def _block_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every path in /dev as a block device."""
    monkeypatch.setattr(Path, "exists", lambda path: str(path) != "/dev/sdz")
    monkeypatch.setattr(Path, "resolve", lambda path: path)
    monkeypatch.setattr("stat.S_ISBLK", lambda mode: mode == "block")
    modes = {"/dev/null": "character"}
    monkeypatch.setattr(
        Path, "stat", lambda path, **_: type("", (), {"st_mode": modes.get(str(path), "block")})
    )


def refused(
    *entries: dict[str, Any], name: str = "/dev/sdb", also_fixed: bool = False
) -> UserError:
    with pytest.raises(UserError) as caught:
        target(Path(name), read_devices(table(*entries)), fixed=also_fixed)
    assert caught.value.exit_code == 2
    return caught.value


def test_a_card_that_is_not_mounted_may_be_written() -> None:
    device = target(Path("/dev/sdb"), read_devices(table(CARD)), fixed=False)
    assert device.described == "/dev/sdb (ACME Card Reader, 16.0 GiB)"
    assert device.content == "vfat PYNQ, ext4 root"


@pytest.mark.parametrize(
    ("part", "what"),
    [
        (fixed("/dev/sda1", "part", fstype="ext4", mountpoints=["/"]), "/"),
        (fixed("/dev/sda1", "part", mountpoints=[None, "/boot/efi"]), "/boot/efi"),
        (fixed("/dev/sda1", "part", mountpoints=["/boot"]), "/boot"),
        (fixed("/dev/sda1", "part", fstype="swap", mountpoints=["[SWAP]"]), "swap space"),
        (
            fixed(
                "/dev/sda1",
                "part",
                fstype="crypto_LUKS",
                children=[
                    fixed(
                        "/dev/mapper/c",
                        "crypt",
                        children=[fixed("/dev/vg/root", "lvm", mountpoints=["/"])],
                    )
                ],
            ),
            "/",
        ),
    ],
)
def test_the_running_system_is_always_refused(part: dict[str, Any], what: str) -> None:
    error = refused(fixed("/dev/sda", children=[part]), name="/dev/sda", also_fixed=True)
    assert error.message == (
        f"/dev/sda (ACME Card Reader, 16.0 GiB) is in use by this system: it contains {what}"
    )
    # As removable as a card: systems run from USB disks too.
    part = {**part, "rm": True, "hotplug": True}
    assert what in refused(entry("/dev/sdb", children=[part])).message


@pytest.mark.parametrize(
    ("disk", "what"),
    [
        (entry("/dev/sdb", fstype="LVM2_member"), "LVM"),
        (entry("/dev/sdb", fstype="zfs_member"), "ZFS"),
        (entry("/dev/sdb", fstype="linux_raid_member"), "a RAID"),
        (entry("/dev/sdb", children=[entry("/dev/sdb1", "part", fstype="zfs_member")]), "ZFS"),
        (entry("/dev/sdb", children=[entry("/dev/md0", "raid1")]), "a RAID"),
        (
            entry("/dev/sdb", fstype="crypto_LUKS", children=[entry("/dev/mapper/x", "crypt")]),
            "dm-crypt",
        ),
        (entry("/dev/sdb", children=[entry("/dev/mapper/v", "lvm")]), "LVM"),
    ],
)
def test_members_of_larger_volumes_are_refused(disk: dict[str, Any], what: str) -> None:
    error = refused(disk)
    assert f"is in use by {what}" in error.message
    assert "wipefs --all" in str(error.hint)


def test_a_locked_encrypted_disk_may_be_written() -> None:
    disk = entry("/dev/sdb", fstype="crypto_LUKS")
    assert target(Path("/dev/sdb"), read_devices(table(disk)), fixed=False).size == 16 * GIB


def test_mounted_parts_are_named_with_the_command_that_unmounts_them() -> None:
    parts = [
        {**FAT, "mountpoints": ["/media/me/PYNQ"]},
        {**EXT4, "mountpoints": ["/media/me/root", "/mnt"]},
    ]
    error = refused(entry("/dev/sdb", children=parts))
    assert error.message.endswith(
        "is mounted: /dev/sdb1 on /media/me/PYNQ, /dev/sdb2 on /media/me/root, /dev/sdb2 on /mnt"
    )
    assert error.hint == "umount /dev/sdb1 && umount /dev/sdb2"


def test_a_partition_is_refused_and_its_disk_named() -> None:
    error = refused(CARD, name="/dev/sdb1")
    assert error.message == "/dev/sdb1 is a partition: an image needs a whole disk"
    assert error.hint == "the whole disk is /dev/sdb"


@pytest.mark.parametrize(
    ("disk", "message"),
    [
        (entry("/dev/sdb", "rom"), "/dev/sdb is an optical drive"),
        (entry("/dev/sdb", "mpath"), "/dev/sdb is not a disk, but mpath"),
        (entry("/dev/sdb", size=0), "there is no card in /dev/sdb"),
        (entry("/dev/sdb", ro=True), "is read-only"),
        (fixed("/dev/sdb"), "is not removable"),
    ],
)
def test_other_refusals(disk: dict[str, Any], message: str) -> None:
    assert message in refused(disk).message


def test_a_disk_that_is_not_removable_may_be_written_with_the_option() -> None:
    disks = read_devices(table(fixed("/dev/sdb")))
    assert target(Path("/dev/sdb"), disks, fixed=True).path == "/dev/sdb"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/dev/sdz", "/dev/sdz: there is no such device"),
        ("/dev/null", "/dev/null is not a block device"),
        ("/dev/sdy", "/dev/sdy: lsblk does not know this device"),
    ],
)
def test_other_paths_are_refused(name: str, message: str) -> None:
    assert refused(CARD, name=name).message == message


def test_a_device_that_is_too_small_is_refused() -> None:
    (device,) = read_devices(table(entry("/dev/sdb", size=GIB)))
    check_room(device, GIB)
    with pytest.raises(UserError, match="is too small: the image takes 1073741825 bytes"):
        check_room(device, GIB + 1)


def test_only_removable_disks_with_a_card_that_nothing_else_uses_are_candidates() -> None:
    found = read_devices(
        table(
            CARD,
            entry("/dev/sdc", size=0),
            entry("/dev/sr0", "rom"),
            fixed("/dev/sda", children=[fixed("/dev/sda1", "part", mountpoints=["/"])]),
            entry("/dev/sdd", children=[entry("/dev/sdd1", "part", mountpoints=["/"])]),
            entry("/dev/sde", fstype="zfs_member"),
            entry("/dev/mmcblk0", rm=False, mountpoints=["/media/me/card"]),
            fixed("/dev/loop0", "loop"),
        )
    )
    assert [device.path for device in candidates(found)] == ["/dev/sdb", "/dev/mmcblk0"]


def test_this_machines_own_table_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert all(device.path.startswith("/dev/") for device in devices())
