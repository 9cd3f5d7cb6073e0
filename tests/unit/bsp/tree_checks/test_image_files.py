# SPDX-License-Identifier: MIT
"""The designs and overlays of an image: only its own files, whatever links it has."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builder.bsp.tree_checks.step import _designs, _overlays
from builder.formats.devicetree import DeviceTree
from builder.spec.models import Soc
from builder.steps.step import Job
from builder.untrusted import tree as foreign
from tests.fixtures.exports import hwh

PACKAGE = "usr/local/lib/python3.11/dist-packages/pynq"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A root filesystem with a library, and files of this machine to which links lead."""
    root, outside = tmp_path / "image", tmp_path / "outside"
    for folder in (outside, root / PACKAGE / "overlays/base", root / "usr/lib/firmware/own"):
        folder.mkdir(parents=True)
    design = hwh(Soc.ZYNQ, parameters={}, parts={})
    (root / PACKAGE / "overlays/base/base.hwh").write_text(design)
    (root / PACKAGE / "overlays/base/other.hwh").write_text(design)
    (root / PACKAGE / "overlays/base/broken.hwh").write_text("<?xml")
    (outside / "secret.hwh").write_text(design)
    (root / PACKAGE / "overlays/linked").symlink_to(outside)
    (root / PACKAGE / "overlays/base/secret.hwh").symlink_to(outside / "secret.hwh")
    return root


def test_designs_are_those_of_the_library_and_no_links(image: Path, job: Job) -> None:
    said: list[str] = []
    job.on_line = said.append
    package = foreign.ForeignTree(image).below(PACKAGE)
    assert {*_designs(job, package, Soc.ZYNQ)} == {"base", "base/other"}
    assert [line for line in said if line.startswith("skipping design base/broken: ")]
    assert _designs(job, package, Soc.ZYNQMP) == {}


def test_overlays_are_of_firmware_and_of_designs(image: Path, job: Job, tmp_path: Path) -> None:
    compiled = tmp_path / "a.dtbo"
    (tmp_path / "a.dts").write_text('/dts-v1/; / { name-of-it = "a"; };')
    words: list[str | Path] = ["dtc", "-q", "-O", "dtb", "-o", compiled, tmp_path / "a.dts"]
    subprocess.run(words, check=True)
    for place in ("usr/lib/firmware/own/a.dtbo", f"{PACKAGE}/overlays/base/a.dtbo"):
        (image / place).write_bytes(compiled.read_bytes())
    (image / "usr/lib/firmware/broken.dtbo").write_bytes(b"none")
    (image / "usr/lib/firmware/link.dtbo").symlink_to(compiled)
    said: list[str] = []
    job.on_line = said.append
    files = foreign.ForeignTree(image)
    found: list[DeviceTree] = _overlays(job, files, files.below(PACKAGE))
    assert len(found) == 2
    assert [line.partition(": not")[0] for line in said if "broken" in line]
    assert len(_overlays(job, files, None)) == 1
