# SPDX-License-Identifier: MIT
"""The step that compares a board's device tree with its designs and the image's library."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from builder.bsp.ps7.check import read_parameters
from builder.bsp.tree_checks import design, library
from builder.bsp.tree_checks.design import EnabledPeripherals
from builder.bsp.tree_checks.findings import FINDINGS, write_findings
from builder.errors import StepError, UserError
from builder.formats.devicetree import DeviceTree, parse_tree, read_tree
from builder.rootfs import designs
from builder.rootfs.layers import layer_stack
from builder.spec.models import Soc
from builder.spec.resolve import ImageSpec
from builder.steps.step import ROOT_FILESYSTEM, Job, Step
from builder.untrusted import tree as foreign
from builder.vivado.design import Design, read_design
from builder.vivado.export import LARGEST, open_export
from builder.vivado.system import peripherals

_FIRMWARE = "usr/lib/firmware"


class DesignCheck(Step):
    """Step that finds devices of designs and of the library that the device tree lacks.

    Output: `findings.json`.
    """

    capabilities = ROOT_FILESYSTEM

    def __init__(self, spec: ImageSpec, *, layers: Sequence[Step], boot_files: Step) -> None:
        parents = {step.name: step for step in (*layers, boot_files)}
        super().__init__("design-check", scope=spec.name, parents=parents)
        self.soc = spec.board.soc
        self.layers = [step.name for step in layers]
        self.boot_files = boot_files.name
        tree = spec.board.devicetree
        # The source of a prebuilt tree is not available.
        self.source = str(tree) if tree else "the source of the boot files' device tree"
        bsp = spec.board.bsp
        self.export = _present(spec.directory, bsp.hardware.xsa if bsp.hardware else None)
        table = bsp.start_up_table
        self.parameters = _present(spec.directory, table.parameters if table else None)

    def settings(self) -> Mapping[str, object]:
        return {"soc": self.soc.value, "source": self.source}

    def files(self) -> Sequence[Path]:
        return [path for path in (self.export, self.parameters) if path]

    def run(self, job: Job) -> None:
        tree = read_tree(job.input(self.boot_files) / "board.dtb")
        below = [job.entry(name) for name in self.layers]
        with layer_stack(job).mounted(below, log=job.log) as root:
            found_library = designs.library(root.files)
            package = root.files.below(found_library) if found_library else None
            found_designs = _designs(job, package, self.soc) if package else {}
            start = [*self._wanted(job)]
            loaded = [*map(_enabled_by, found_designs, found_designs.values())]
            overlays = _overlays(job, root.files, package)
            found = design.findings(tree, overlays, [*start, *loaded], source=self.source)
            found += design.pin_findings(tree, start, loaded, source=self.source)
            if package:
                known = library.read_library(package)
                found += library.findings(tree, overlays, known, found_designs, source=self.source)
        job.say(
            f"compared {len(start) + len(loaded)} designs and parameter files with the device tree: "
            f"{len(found)} findings"
        )
        for each in found:
            job.say(str(each))
        write_findings(job.output / FINDINGS, found)

    def _wanted(self, job: Job) -> Iterator[EnabledPeripherals]:
        """Yield the peripherals that the board's own export and parameters enable."""
        if self.export:
            exported = _read(job, self.export, self.export.name)
            if exported:
                yield _enabled_by(self.export.name, exported)
        if self.parameters:
            yield EnabledPeripherals(
                origin=self.parameters.name,
                soc=self.soc,
                peripherals=peripherals(self.soc, read_parameters(self.parameters)),
            )


def _enabled_by(name: str, found: Design) -> EnabledPeripherals:
    switched_on = peripherals(found.soc, found.system.parameters)
    return EnabledPeripherals(origin=f"design {name}", soc=found.soc, peripherals=switched_on)


def _designs(job: Job, package: foreign.ForeignTree, soc: Soc) -> dict[str, Design]:
    """Return the library's designs for the board's SoC family, by name."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in map(PurePosixPath, library.package_files(package, "/overlays/*/*.hwh")):
            directory = path.parent.name
            name = directory if path.stem == directory else f"{directory}/{path.stem}"
            copy = Path(folder, path.name)
            try:
                copy.write_bytes(package.read(path, most=LARGEST))
            except StepError as error:
                job.say(f"skipping design {name}: {error.message}")
                continue
            read = _read(job, copy, name)
            if read and read.soc is soc:
                found[name] = read
    return found


def _read(job: Job, path: Path, name: str) -> Design | None:
    """Return a design; None if it cannot be read or has no processing system."""
    try:
        return read_design(open_export(path))
    except UserError as error:
        job.say(f"skipping design {name}: {error.message}")
        return None


def _overlays(
    job: Job, files: foreign.ForeignTree, package: foreign.ForeignTree | None
) -> list[DeviceTree]:
    """Return the device-tree overlays of an image for its programmable logic."""
    places = [(files.below(_FIRMWARE), "*.dtbo")] if files.is_directory(_FIRMWARE) else []
    places += [(package, "/overlays/*/*.dtbo")] if package else []
    trees = []
    for place, pattern in places:
        for path in library.package_files(place, pattern):
            try:
                trees.append(parse_tree(place.read(path)))
            except (ValueError, OSError, StepError) as error:
                job.say(f"skipping overlay {PurePosixPath(path).name}: {error}")
    return trees


def _present(directory: Path, name: str | None) -> Path | None:
    path = directory / name if name else None
    return path if path and path.is_file() else None
