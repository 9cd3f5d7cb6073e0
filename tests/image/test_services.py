# SPDX-License-Identifier: MIT
"""The services of the built image are shut in as far as was reviewed, drop-ins of packages included."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builder.publish.output import Output
from tests.fixtures.services import UNITS, needs_systemd_analyze, services, too_open

SECTOR = 512


@pytest.fixture
def tree(built: Output, tmp_path: Path) -> Path:
    """The units of the image, and what changes them."""
    with built.image.open("rb") as image:
        record = image.read(SECTOR)
    start = int.from_bytes(record[470:474], "little") * SECTOR
    for folder in ("etc/systemd", "usr/lib/systemd"):
        place = tmp_path / Path(folder).parent
        place.mkdir(parents=True)
        subprocess.run(
            ["debugfs", "-R", f"rdump /{folder} {place}", f"{built.image}?offset={start}"],
            capture_output=True,
            check=True,
        )
    (tmp_path / "lib").symlink_to("usr/lib")
    return tmp_path


def test_services_are_shut_in_as_was_reviewed(tree: Path) -> None:
    needs_systemd_analyze()
    assert {"ssh-host-keys.service", "grow-root.service"} <= {*services(tree)}
    assert (tree / UNITS / "multi-user.target.wants").is_dir(), "all of it is there"
    assert (tree / "usr/lib/systemd/system/basic.target").is_file()
    assert too_open(tree) == []
