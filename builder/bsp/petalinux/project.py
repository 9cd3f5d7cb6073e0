# SPDX-License-Identifier: MIT
"""The PetaLinux project: created from a BSP or a template, and configured for an SD card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from builder.bsp.petalinux.layer import CONFIG, set_symbols, symbols
from builder.bsp.petalinux.releases import TEMPLATES
from builder.bsp.petalinux.system import INPUT, PROJECT, WORK, ContainerStep, Session, session
from builder.bsp.petalinux.tool import PetaLinuxTool, file_sha256
from builder.errors import StepError, UserError
from builder.steps.sources import UrlSource
from builder.steps.step import Job, Step
from builder.store.checksum import sha256
from builder.store.digests import Read

FOLDER = "project"
"""Directory of the project in the step's output."""

_LEFT = ("build", "images")
"""Directories of a project that the next build recreates."""

_ROOTFS = "CONFIG_SUBSYSTEM_ROOTFS_{}"
_OTHER_ROOTFS = ("INITRAMFS", "INITRD", "JFFS2", "UBIFS", "NFS", "OTHER")
_SD_ROOT = "CONFIG_SUBSYSTEM_SDROOT_DEV"
_FPGA_MANAGER = "CONFIG_SUBSYSTEM_FPGA_MANAGER"
_NEEDED = {_ROOTFS.format("EXT4"), _SD_ROOT, _FPGA_MANAGER}
"""Symbols that a card cannot do without."""


class PetaLinuxProject(ContainerStep):
    """Step that makes a configured project in which nothing has been built yet."""

    def __init__(
        self,
        board: str,
        *,
        tool: PetaLinuxTool,
        bsp: Path | UrlSource | None,
        hardware: Path | None,
        root_device: str,
        read: Read = sha256,
    ) -> None:
        parents: dict[str, Step] = {tool.name: tool}
        if isinstance(bsp, UrlSource):
            parents[bsp.name] = bsp
        super().__init__("petalinux-project", scope=board, parents=parents)
        self.tool = tool
        self.bsp = bsp
        self._read = read
        self.hardware = hardware
        self.root_device = root_device

    def settings(self) -> Mapping[str, object]:
        return {
            "soc": self.tool.soc.value,
            "root device": self.root_device,
            **({"bsp": self.bsp_sha256} if isinstance(self.bsp, Path) else {}),
        }

    def files(self) -> Sequence[Path]:
        return [self.hardware] if self.hardware else []

    def provenance(self, output: Path | None) -> Mapping[str, object] | None:  # noqa: ARG002
        if self.bsp_sha256 is None:
            return None
        return {"petalinux-bsp": self.bsp_name, "sha256": self.bsp_sha256}

    @property
    def bsp_name(self) -> str:
        """The file name of the BSP; "" if there is none."""
        if isinstance(self.bsp, UrlSource):
            return self.bsp.download.name
        return self.bsp.name if self.bsp else ""

    @cached_property
    def bsp_sha256(self) -> str | None:
        """The SHA-256 of the BSP; None if there is none."""
        if isinstance(self.bsp, UrlSource):
            return self.bsp.download.sha256
        return file_sha256(self.bsp, self._read) if self.bsp else None

    def run(self, job: Job) -> None:
        inputs = {}
        bsp = self._bsp(job)
        if bsp:
            inputs["project.bsp"] = bsp
        if self.hardware:
            inputs["hardware.xsa"] = self.hardware
        tool = job.input(self.tool.name)
        with session(job, self.tool.system, tool=tool, inputs=inputs) as container:
            self._create(container, has_bsp=bsp is not None)
            hardware = [f"--get-hw-description={INPUT / 'hardware.xsa'}"] if self.hardware else []
            container.petalinux("petalinux-config", *hardware, "--silentconfig")
            self._configure(container)
            shutil.copytree(
                container.project,
                job.output / FOLDER,
                symlinks=True,
                ignore=lambda folder, _: _LEFT if Path(folder) == container.project else (),
            )

    def _bsp(self, job: Job) -> Path | None:
        if isinstance(self.bsp, UrlSource):
            (path,) = job.input(self.bsp.name).iterdir()
            return path
        return self.bsp

    def _create(self, container: Session, *, has_bsp: bool) -> None:
        release = self.tool.release
        what = (
            ("-s", str(INPUT / "project.bsp"))
            if has_bsp
            else ("--template", TEMPLATES[self.tool.soc])
        )
        container.petalinux(*release.create(*what, "-n", PROJECT.name), cwd=WORK)
        metadata = container.project / ".petalinux/metadata"
        made_by = _value(metadata, "PETALINUX_VER")
        # PetaLinux would ask for confirmation, which a build cannot give.
        if has_bsp and made_by not in ("", release.version):
            raise UserError(
                f"the BSP {self.bsp_name} is for PetaLinux {made_by}, but the installer is for "
                f"{release.version}",
                hint=f"use the installer of PetaLinux {made_by}, or another BSP",
            )
        text = (container.project / CONFIG).read_text(encoding="utf-8")
        if has_bsp and f"CONFIG_SYSTEM_{self.tool.soc.value.upper()}" not in symbols(text):
            raise UserError(f"the BSP {self.bsp_name} is not for {self.tool.soc.value}")

    def _configure(self, container: Session) -> None:
        """Set the symbols, let PetaLinux derive dependent ones, and check the result.

        Raises:
            StepError: PetaLinux changed symbols that the card needs.
        """
        wanted = self._symbols()
        config = container.project / CONFIG
        text = set_symbols(config.read_text(encoding="utf-8"), wanted)
        (container.work / "config").write_text(text, encoding="utf-8")
        container.run("cp", "--no-preserve=mode", WORK / "config", PROJECT / CONFIG)
        container.petalinux("petalinux-config", "--silentconfig")
        found = symbols(config.read_text(encoding="utf-8"))
        lost = {
            name: f"{name}={value} became {found.get(name, 'n')}"
            for name, value in wanted.items()
            if value and found.get(name) != value
        }
        if lost.keys() & _NEEDED:
            raise StepError(
                "PetaLinux changed symbols of its configuration that the card needs",
                details=list(lost.values()),
            )
        for line in lost.values():  # not all hardware supports all symbols
            container.job.say(line)

    def _symbols(self) -> dict[str, str | None]:
        """Return the symbols that a card's project needs."""
        wanted: dict[str, str | None] = {_ROOTFS.format(name): None for name in _OTHER_ROOTFS}
        wanted |= {
            _ROOTFS.format("EXT4"): "y",
            _SD_ROOT: f'"{self.root_device}"',
            "CONFIG_SUBSYSTEM_ETHERNET_MANUAL_SELECT": "y",
            # Device-tree overlays refer to labels of the tree; Linux loads bitstreams at run time.
            "CONFIG_SUBSYSTEM_DEVICETREE_FLAGS": '"-@"',
            "CONFIG_SUBSYSTEM_DTB_OVERLAY": "y",
            _FPGA_MANAGER: "y",
            "CONFIG_SUBSYSTEM_COPY_TO_TFTPBOOT": None,
            # A BSP may contain a path of its author's machine.
            "CONFIG_TMP_DIR_LOCATION": '"${PROOT}/build/tmp"',
        }
        if self.bsp is None:
            wanted["CONFIG_SUBSYSTEM_REMOVE_PL_DTB"] = "y"
        return wanted


def _value(metadata: Path, name: str) -> str:
    """Return a value of a project's metadata; "" if it is missing."""
    if not metadata.is_file():
        return ""
    lines = (line.partition("=") for line in metadata.read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key == name), "")
