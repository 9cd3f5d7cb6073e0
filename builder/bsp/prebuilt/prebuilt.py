# SPDX-License-Identifier: MIT
"""The steps of the provider `prebuilt`: boot files and modules that a board's maker built."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from builder.apt.archive import Archive
from builder.bsp.prebuilt.emulated import derive_from
from builder.bsp.prebuilt.given import digest, top, unpack
from builder.bsp.prebuilt.inspection import Found, Wanted, inspect
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
"""Bytes that unpacked boot files and modules take."""

UNKNOWN_RELEASE = "unknown"


class Prebuilt(Step):
    """Boot files that came finished, judged and taken apart.

    They are a directory or a zip file, the zip file that an `UrlSource` gives, or the directory
    that any other step gives.

    Output: `fat/`, `board.dtb`, `kernel-release`, `notes.json`, and a layer with the kernel's
    modules and headers.
    """

    packages = ("kmod", "zstd")

    def __init__(
        self,
        given: Path | Step,
        *,
        wanted: Wanted,
        epoch: int,
        scope: str,
        read: Read = sha256,
    ) -> None:
        made = {given.name: given} if isinstance(given, Step) else {}
        super().__init__("prebuilt", scope=scope, parents=made)
        self.given = given
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
        """The SHA-256 of boot files of this machine; None of a step's, which has its own key."""
        return digest(self.given, self._read) if isinstance(self.given, Path) else None

    def provenance(self, output: Path | None) -> Mapping[str, object] | None:  # noqa: ARG002
        if not self.content:
            return None
        return {"boot-files": Path(str(self.given)).name, "sha256": self.content}

    def run(self, job: Job) -> None:
        with job.workspace("prebuilt", need=NEED) as workspace:
            found = inspect(self._folder(job, workspace), self.wanted)
            for name, path in found.card:
                target = job.output / "fat" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            if found.left_out:
                job.say(f"not for the card: {', '.join(found.left_out)}")
            (job.output / "board.dtb").write_bytes(found.device_tree)
            (job.output / "kernel-release").write_text(f"{found.release or UNKNOWN_RELEASE}\n")
            notes = [*found.notes, *self._layer(job, workspace, found)]
        (job.output / NOTES).write_text(json.dumps(notes, indent=1))

    def _folder(self, job: Job, workspace: Workspace) -> Path:
        """Return the directory with the boot files."""
        given = self.given
        if isinstance(given, UrlSource):
            (given,) = job.input(given.name).iterdir()
        elif isinstance(given, Step):
            return job.input(given.name)
        if given.is_dir():
            return top(given)
        target = workspace.outside(workspace.directory / "given")
        unpack(given, target)
        return top(target)

    def _layer(self, job: Job, workspace: Workspace, found: Found) -> list[str]:
        """Make the layer of the root filesystem; return what is to be said about it."""
        stage, notes = workspace.directory / "stage", []
        workspace.outside(stage).mkdir()
        tree = ForeignTree(workspace.outside(stage))
        tree.make_directory("usr/lib/modules")
        if found.modules and found.release:
            modules = f"usr/lib/modules/{found.release}"
            found.modules.copy_modules(found.release, tree, modules)
            job.say(f"modules of {found.release} from {found.modules.name}")
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
        # What was written just now is younger than the archive: all times become the same.
        pack(workspace, stage, job.output / LAYER, epoch=self.epoch, of_root=True, log=job.log)
        return notes


class PrebuiltBootFiles(Step):
    """`fat/` as it came; beside it the device trees, what differs between them, and notes."""

    packages = ("device-tree-compiler",)

    def __init__(self, board: str, *, prebuilt: Prebuilt, wanted: Wanted) -> None:
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
        given = job.input("prebuilt")
        shutil.copytree(given / "fat", job.output / "fat")
        for name in ("board.dtb", "kernel-release"):
            shutil.copy(given / name, job.output)
        notes = json.loads((given / NOTES).read_text())
        try:
            if self.wanted.soc is Soc.ZYNQ:
                # The tree's maker has to mend it, and the card starts the board all the same.
                faults = tree_faults(read_tree(job.output / "board.dtb"))
                notes += [f"operating-points of its device tree: {fault}" for fault in faults]
            derive_from(job.output / "board.dtb", self.wanted, job.output)
        except (UserError, StepError) as error:
            # The card may be as good as any: only QEMU cannot tell.
            notes.append(f"it cannot be tested in QEMU: {error.message}")
            (job.output / "emulated.dtb").unlink(missing_ok=True)
            (job.output / "changes.json").write_text("[]")
        notes = [f"{self.board}: {note}" for note in notes]
        for note in notes:
            job.say(note)
        (job.output / NOTES).write_text(json.dumps(notes, indent=1))


def boot_artifacts(spec: ImageSpec, archive: Archive, read: Read = sha256) -> BootArtifacts:
    """Return the steps that take a board's boot files and modules from finished ones."""
    given = spec.boot_files
    assert given, "the provider is not chosen without"
    if isinstance(given, Download):
        return taken_from(UrlSource("prebuilt-zip", given, scope=spec.name), spec, archive)
    return taken_from(given, spec, archive, read)


def taken_from(
    given: Path | Step, spec: ImageSpec, archive: Archive, read: Read = sha256
) -> BootArtifacts:
    """Return the steps that take a board's boot files and modules from what is `given`."""
    board = spec.board
    wanted = Wanted(
        soc=board.soc,
        memory=board.memory,
        console=board.console,
        root_device=board.root_device,
        hardware=spec.hardware,
    )
    prebuilt = Prebuilt(given, wanted=wanted, epoch=archive.epoch, scope=spec.name, read=read)
    boot_files = PrebuiltBootFiles(spec.name, prebuilt=prebuilt, wanted=wanted)
    return BootArtifacts(boot_files=boot_files, kernel_layer=prebuilt)
