# SPDX-License-Identifier: MIT
"""The steps of the provider `prebuilt`, which use supplied boot files and modules."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from builder.apt.archive import Archive
from builder.bsp.prebuilt.emulated import derive_from
from builder.bsp.prebuilt.inspection import BoardRequirements, InspectedFiles, inspect
from builder.bsp.prebuilt.supplied import digest, top, unpack
from builder.bsp.provider import NOTES, BootArtifacts
from builder.bsp.ps7.cpu_clock_check import tree_faults
from builder.errors import StepError, UserError
from builder.formats.devicetree import read_tree
from builder.qemu_devicetree.machine import machine_file
from builder.sandbox.workspace import Workspace
from builder.spec.models import Download, Soc
from builder.spec.resolve import ImageSpec
from builder.steps.layer_archive import LAYER, pack
from builder.steps.sources import UrlSource
from builder.steps.step import Job, Step
from builder.store.checksum import sha256
from builder.store.digests import Read
from builder.untrusted.tree import ForeignTree

NEED = 2 << 30
"""Disk space in bytes for unpacked boot files and modules."""

UNKNOWN_RELEASE = "unknown"


class Prebuilt(Step):
    """Step that inspects supplied boot files and sorts them into the parts of an image.

    They are a directory or a zip file, the zip file of an `UrlSource`, or the directory that
    another step makes.

    Output: `fat/`, `board.dtb`, `kernel-release`, `notes.json`, and a layer with the kernel's
    modules and headers.
    """

    packages = ("kmod", "zstd")

    def __init__(
        self,
        supplied: Path | Step,
        *,
        wanted: BoardRequirements,
        epoch: int,
        scope: str,
        read: Read = sha256,
    ) -> None:
        parents = {supplied.name: supplied} if isinstance(supplied, Step) else {}
        super().__init__("prebuilt", scope=scope, parents=parents)
        self.supplied = supplied
        self._read = read
        self.wanted = wanted
        self.epoch = epoch

    def settings(self) -> Mapping[str, object]:
        wanted = self.wanted
        return {
            **({"content": self.content} if self.content else {}),
            "soc": wanted.soc.value,
            "memory": wanted.memory,
            "root device": wanted.root_device,
            "hardware": wanted.hardware,
            "epoch": self.epoch,
        }

    @cached_property
    def content(self) -> str | None:
        """The SHA-256 of local boot files; None for those of a step, which has its own key."""
        return digest(self.supplied, self._read) if isinstance(self.supplied, Path) else None

    def provenance(self, output: Path | None) -> Mapping[str, object] | None:  # noqa: ARG002
        if not self.content:
            return None
        return {"boot-files": Path(str(self.supplied)).name, "sha256": self.content}

    def run(self, job: Job) -> None:
        with job.workspace("prebuilt", need=NEED) as workspace:
            found = inspect(self._folder(job, workspace), self.wanted)
            for name, path in found.card:
                target = job.output / "fat" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            if found.left_out:
                job.say(f"skipping files that are not for the card: {', '.join(found.left_out)}")
            (job.output / "board.dtb").write_bytes(found.device_tree)
            (job.output / "kernel-release").write_text(f"{found.release or UNKNOWN_RELEASE}\n")
            notes = [*found.notes, *self._layer(job, workspace, found)]
        (job.output / NOTES).write_text(json.dumps(notes, indent=1))

    def _folder(self, job: Job, workspace: Workspace) -> Path:
        """Return the directory with the boot files."""
        supplied = self.supplied
        if isinstance(supplied, UrlSource):
            (supplied,) = job.input(supplied.name).iterdir()
        elif isinstance(supplied, Step):
            return job.input(supplied.name)
        if supplied.is_dir():
            return top(supplied)
        target = workspace.outside(workspace.directory / "supplied")
        unpack(supplied, target)
        return top(target)

    def _layer(self, job: Job, workspace: Workspace, found: InspectedFiles) -> list[str]:
        """Make the layer of the root filesystem; return notes for the user."""
        stage, notes = workspace.directory / "stage", []
        workspace.outside(stage).mkdir()
        tree = ForeignTree(workspace.outside(stage))
        tree.make_directory("usr/lib/modules")
        if found.modules and found.release:
            modules = f"usr/lib/modules/{found.release}"
            found.modules.copy_modules(found.release, tree, modules)
            job.say(f"copied the modules of {found.release} from {found.modules.name}")
            lists = [f"{modules}/{name}" for name in ("modules.dep", "modules.dep.bin")]
            if not all(map(tree.exists, lists)):
                job.run(workspace, "depmod", "-b", stage / "usr", found.release)
            has_headers = tree.exists(f"{modules}/build")
            if found.headers:
                headers = f"usr/src/linux-headers-{found.release}"
                found.headers.copy_headers(tree, headers)
                tree.link(f"{modules}/build", f"/{headers}")
            elif not has_headers:
                notes.append("no kernel headers: modules cannot be compiled on the board")
        # Files that this step wrote are newer than the archive: all files get the same time.
        pack(workspace, stage, job.output / LAYER, epoch=self.epoch, of_root=True, log=job.log)
        return notes


class PrebuiltBootFiles(Step):
    """Step that adds the tree for QEMU, its differences from the board's, and notes to `fat/`."""

    packages = ("device-tree-compiler",)

    def __init__(self, board: str, *, prebuilt: Prebuilt, wanted: BoardRequirements) -> None:
        super().__init__("boot-files", scope=board, parents={"prebuilt": prebuilt})
        self.board = board
        self.wanted = wanted

    def settings(self) -> Mapping[str, object]:
        return {
            "board": self.board,
            "console": self.wanted.console,
            "root device": self.wanted.root_device,
        }

    def files(self) -> Sequence[Path]:
        return [machine_file(self.wanted.soc)]

    def run(self, job: Job) -> None:
        prebuilt = job.input("prebuilt")
        shutil.copytree(prebuilt / "fat", job.output / "fat")
        for name in ("board.dtb", "kernel-release"):
            shutil.copy(prebuilt / name, job.output)
        notes = json.loads((prebuilt / NOTES).read_text())
        try:
            if self.wanted.soc is Soc.ZYNQ:
                # Only a note: the card boots the board, and the tree cannot be corrected here.
                faults = tree_faults(read_tree(job.output / "board.dtb"))
                notes += [f"operating-points in its device tree: {fault}" for fault in faults]
            derive_from(job.output / "board.dtb", self.wanted, job.output)
        except (UserError, StepError) as error:
            # The card may work on the board; it only cannot be tested in QEMU.
            notes.append(f"it cannot be tested in QEMU: {error.message}")
            (job.output / "emulated.dtb").unlink(missing_ok=True)
            (job.output / "changes.json").write_text("[]")
        notes = [f"{self.board}: {note}" for note in notes]
        for note in notes:
            job.say(note)
        (job.output / NOTES).write_text(json.dumps(notes, indent=1))


def boot_artifacts(spec: ImageSpec, archive: Archive, read: Read = sha256) -> BootArtifacts:
    """Return the steps that use a board's supplied boot files and modules."""
    supplied = spec.boot_files
    assert supplied, "boards without boot files have another provider"
    if isinstance(supplied, Download):
        return artifacts_from(UrlSource("prebuilt-zip", supplied, scope=spec.name), spec, archive)
    return artifacts_from(supplied, spec, archive, read)


def artifacts_from(
    supplied: Path | Step, spec: ImageSpec, archive: Archive, read: Read = sha256
) -> BootArtifacts:
    """Return the steps that make boot files and the kernel's layer from supplied files."""
    board = spec.board
    wanted = BoardRequirements(
        soc=board.soc,
        memory=board.memory,
        console=board.console,
        root_device=board.root_device,
        hardware=spec.hardware,
    )
    prebuilt = Prebuilt(supplied, wanted=wanted, epoch=archive.epoch, scope=spec.name, read=read)
    boot_files = PrebuiltBootFiles(spec.name, prebuilt=prebuilt, wanted=wanted)
    return BootArtifacts(boot_files=boot_files, kernel_layer=prebuilt)
