# SPDX-License-Identifier: MIT
"""`flash` onto a block device of the kernel's, whose content is a file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.flash.image import read_map
from builder.publish.output import Output
from tests.fixtures.product import build_py

MIB = 1 << 20


@pytest.fixture
def card(built: Output, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A device, and the file behind it: a card that is full of old data where ours is empty."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("a block device takes root and loop devices")
    path = tmp_path / "card"
    size = built.image.stat().st_size
    with path.open("wb") as file:
        file.write(b"\xa5" * (128 * MIB))
        file.truncate(-(-size // MIB) * MIB + MIB)
    shown = subprocess.run(
        ["losetup", "--find", "--show", str(path)], capture_output=True, text=True, check=True
    )
    device = Path(shown.stdout.strip())
    yield device, path
    subprocess.run(["losetup", "--detach", str(device)], check=True)


def test_all_that_the_map_names_is_on_the_device(built: Output, card: tuple[Path, Path]) -> None:
    device, path = card
    words = ("flash", str(built.image), str(device), "--yes", "--progress", "plain")
    refused = build_py(*words)
    assert refused.returncode == 2, "no card reader"
    done = build_py(*words, "--fixed-disk")
    assert done.returncode == 0, done.stdout
    assert "written and verified" in done.stdout
    with built.image.open("rb") as image, path.open("rb") as written:
        for start, end in read_map(Path(f"{built.image}.bmap")).ranges:
            for at in range(start, end, MIB):
                length = min(MIB, end - at)
                assert os.pread(image.fileno(), length, at) == os.pread(
                    written.fileno(), length, at
                ), at


def test_a_mounted_device_is_refused(
    built: Output, card: tuple[Path, Path], tmp_path: Path
) -> None:
    device, _ = card
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", str(device), "64M"], check=True)
    place = tmp_path / "mounted"
    place.mkdir()
    subprocess.run(["mount", str(device), str(place)], check=True)
    try:
        words = ("flash", str(built.image), str(device), "--yes", "--fixed-disk")
        done = build_py(*words)
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert done.returncode == 2
    assert f"is mounted: {device} on {place}" in done.stdout
    assert f"umount {device}" in done.stdout
