# SPDX-License-Identifier: MIT
"""Block devices of the host, and the rules that protect them from being overwritten."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import HostError, UserError
from builder.report.console import size

_COLUMNS = "PATH,TYPE,SIZE,MODEL,VENDOR,RM,HOTPLUG,RO,FSTYPE,LABEL,MOUNTPOINTS"
_DISKS = ("disk", "loop")
_SWAP = "[SWAP]"
"""Mount point that lsblk(8) shows for swap space in use."""

_SYSTEM = ("/", "/boot", "/efi", "/usr", "/var", "/home", "/etc", _SWAP)
"""Mount points of a running system."""

# Members of larger volumes, by libblkid's name of their signature. ZFS can only be recognized by its
# signature: lsblk shows no device that uses it.
_MEMBERS = {
    "LVM2_member": "LVM",
    "linux_raid_member": "a RAID",
    "isw_raid_member": "a RAID",
    "ddf_raid_member": "a RAID",
    "zfs_member": "ZFS",
    "bcache": "bcache",
    "drbd": "DRBD",
    "ceph_bluestore": "Ceph",
}
_HELD = {"lvm": "LVM", "crypt": "dm-crypt", "mpath": "multipath", "dm": "the device mapper"}
"""Names of volume managers, by lsblk's type of the devices that they create."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A block device as lsblk(8) shows it, with the devices on top of it.

    Attributes:
        kind: disk, part, loop, rom, lvm, crypt, raid1, ...
        size: bytes.
        children: the devices on top of it, such as its partitions.
        parent: path of the device that contains it.
    """

    path: str
    kind: str
    size: int
    model: str
    removable: bool
    read_only: bool
    filesystem: str
    label: str
    mounts: tuple[str, ...]
    children: tuple[Device, ...]
    parent: str | None

    def all(self) -> Iterator[Device]:
        """Yield the device and all devices on top of it."""
        yield self
        for child in self.children:
            yield from child.all()

    @property
    def content(self) -> str:
        """A short description of its content."""
        found = [
            " ".join(filter(None, (item.filesystem, item.label)))
            for item in self.all()
            if item.filesystem
        ]
        return ", ".join(dict.fromkeys(found)) or "nothing known"

    @property
    def described(self) -> str:
        """Its name, model and size."""
        return f"{self.path} ({', '.join(filter(None, (self.model, size(self.size))))})"


def devices() -> list[Device]:
    """Return the host's disks.

    Raises:
        HostError: lsblk is not installed, or fails.
    """
    return read_devices(_listed())


def _listed() -> str:
    try:
        shown = subprocess.run(
            ["lsblk", "--json", "--bytes", "--output", _COLUMNS],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise HostError("lsblk is not installed", hint="apt-get install util-linux") from error
    if shown.returncode != 0:
        raise HostError("lsblk cannot list the block devices", details=shown.stderr.split("\n"))
    return shown.stdout


def read_devices(text: str) -> list[Device]:
    """Return the disks in the output of `lsblk --json`."""
    return [_device(entry, None) for entry in json.loads(text)["blockdevices"]]


def _device(entry: Mapping[str, Any], parent: Device | None) -> Device:
    # Partitions have fewer facts about the hardware than their disk.
    names = [str(entry.get(key) or "").strip() for key in ("vendor", "model")]
    device = Device(
        path=entry["path"],
        kind=entry["type"],
        size=int(entry["size"] or 0),
        model=" ".join(filter(None, names)),
        removable=bool(entry["rm"] or entry["hotplug"]),
        read_only=bool(entry["ro"]),
        filesystem=entry["fstype"] or "",
        label=entry["label"] or "",
        mounts=tuple(filter(None, entry["mountpoints"])),
        children=(),
        parent=parent.path if parent else None,
    )
    children = tuple(_device(child, device) for child in entry.get("children", ()))
    return Device(**{**vars(device), "children": children})


def candidates(found: Sequence[Device]) -> list[Device]:
    """Return the removable disks that have a medium and are not used by the running system."""
    return [
        device
        for device in found
        if device.kind == "disk"
        and device.removable
        and device.size
        and not _system(device)
        and not _held(device)
    ]


def target(name: Path, found: Sequence[Device], *, fixed: bool) -> Device:
    """Return the device to which an image may be written.

    Args:
        name: the path that the user gave; links are followed.
        found: the disks of the host.
        fixed: whether the user allows a device that is not removable.

    Raises:
        UserError: the device must not be overwritten.
    """
    if not name.exists():
        raise UserError(f"{name}: there is no such device", hint=_HINT_LIST)
    path = name.resolve()
    if not stat.S_ISBLK(path.stat().st_mode):
        raise UserError(f"{name} is not a block device", hint=_HINT_LIST)
    known = {item.path: item for disk in found for item in disk.all()}
    device = known.get(str(path))
    if device is None:
        raise UserError(f"{name}: lsblk does not know this device", hint=_HINT_LIST)
    _check(device, fixed=fixed)
    return device


def check_room(device: Device, needed: int) -> None:
    """Check that an image of `needed` bytes fits on a device.

    Raises:
        UserError: it does not.
    """
    if device.size < needed:
        raise UserError(
            f"{device.described} is too small: the image takes {needed} bytes, the device has "
            f"{device.size}",
            hint="use a larger card",
        )


_HINT_LIST = "run `build.py flash` without arguments to list the devices"


def _check(device: Device, *, fixed: bool) -> None:
    if device.kind not in _DISKS:
        disk = f"the whole disk is {device.parent}" if device.parent else _HINT_LIST
        what = {"part": "a partition", "rom": "an optical drive"}.get(
            device.kind, f"not a disk, but {device.kind}"
        )
        raise UserError(f"{device.path} is {what}: an image needs a whole disk", hint=disk)
    system = _system(device)
    if system:
        raise UserError(
            f"{device.described} is in use by this system: it contains {system}",
            hint="use another device",
        )
    held = _held(device)
    if held:
        raise UserError(
            f"{device.described} is in use by {held[1]}: {held[0].path} belongs to it",
            hint="if its data can be deleted, remove it from there and run `wipefs --all "
            f"{held[0].path}`",
        )
    mounts = [(item, point) for item in device.all() for point in item.mounts]
    if mounts:
        points = ", ".join(f"{item.path} on {point}" for item, point in mounts)
        commands = " && ".join(
            f"umount {item.path}" for item in dict.fromkeys(i for i, _ in mounts)
        )
        raise UserError(f"{device.described} is mounted: {points}", hint=commands)
    if device.size == 0:
        raise UserError(f"there is no card in {device.path}", hint="insert a card")
    if device.read_only:
        raise UserError(
            f"{device.described} is read-only",
            hint="check the lock switch on the left side of the SD card",
        )
    if not device.removable and not fixed:
        raise UserError(
            f"{device.described} is not removable, so it is probably not a card",
            hint="to write to it anyway, add --fixed-disk",
        )


def _system(device: Device) -> str:
    """Return where the running system has mounted parts of a device; empty if nowhere."""
    points = [point for item in device.all() for point in item.mounts]
    ours = [
        "swap space" if point == _SWAP else point
        for point in points
        if point in _SYSTEM or point.startswith(("/boot/", "/efi/", "/usr/", "/var/", "/etc/"))
    ]
    return ", ".join(ours)


def _held(device: Device) -> tuple[Device, str] | None:
    """Return the part of a device that belongs to a larger volume, and the name of its manager."""
    for item in device.all():
        if item.filesystem in _MEMBERS:
            return item, _MEMBERS[item.filesystem]
        for child in item.children:
            if child.kind in _HELD:
                return item, _HELD[child.kind]
            if child.kind.startswith(("raid", "linear", "md")):
                return item, "a RAID"
    return None
