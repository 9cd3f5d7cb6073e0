# SPDX-License-Identifier: MIT
"""The components that petalinux-build builds, each in its own copy of the project."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.bsp.petalinux.layer import CONFIG, META_USER, UserLayer, set_symbols
from builder.bsp.petalinux.project import FOLDER, PetaLinuxProject
from builder.bsp.petalinux.system import (
    DOWNLOADS,
    INPUT,
    PROJECT,
    SSTATE,
    WORK,
    ContainerStep,
    Session,
    session,
)
from builder.errors import StepError
from builder.formats.devicetree import read_tree
from builder.spec.models import Soc
from builder.steps.step import Job

HEADERS = "headers.tar.gz"
MODULES = "modules.tgz"
SYSTEM_DTB = "system.dtb"

_RPM = b"\xed\xab\xee\xdb"


@dataclass(frozen=True, kw_only=True)
class Component:
    """A component of petalinux-build.

    parts: directories of the user layer that it depends on.
    outputs: its files in images/linux that are needed, for each SoC family that has the component.
    """

    name: str
    component: str
    parts: Sequence[str]
    outputs: Mapping[Soc, Sequence[str]]


DEVICE_TREE = Component(
    name="petalinux-device-tree",
    component="device-tree",
    parts=("recipes-bsp/device-tree",),
    outputs=dict.fromkeys(Soc, (SYSTEM_DTB,)),
)
FSBL = Component(
    name="petalinux-fsbl",
    component="bootloader",
    parts=("recipes-bsp/embeddedsw", "recipes-bsp/fsbl", "recipes-bsp/fsbl-firmware"),
    outputs={Soc.ZYNQ: ("zynq_fsbl.elf",), Soc.ZYNQMP: ("zynqmp_fsbl.elf",)},
)
PMUFW = Component(
    name="petalinux-pmufw",
    component="pmufw",
    parts=("recipes-bsp/embeddedsw", "recipes-bsp/pmu", "recipes-bsp/pmu-firmware"),
    outputs={Soc.ZYNQMP: ("pmufw.elf",)},
)
TRUSTED_FIRMWARE = Component(
    name="petalinux-trusted-firmware",
    component="arm-trusted-firmware",
    parts=("recipes-bsp/arm-trusted-firmware",),
    outputs={Soc.ZYNQMP: ("bl31.elf",)},
)
U_BOOT = Component(
    name="petalinux-u-boot",
    component="u-boot",
    parts=("recipes-bsp/u-boot",),
    outputs=dict.fromkeys(Soc, ("u-boot.elf",)),
)
BOOT_SCRIPT = Component(
    name="petalinux-boot-script",
    component="u-boot-xlnx-scr",
    parts=("recipes-bsp/u-boot",),
    outputs=dict.fromkeys(Soc, ("boot.scr",)),
)
KERNEL = Component(
    name="petalinux-kernel",
    component="kernel",
    parts=("recipes-kernel",),
    outputs={Soc.ZYNQ: ("zImage",), Soc.ZYNQMP: ("Image",)},
)
PROGRAMS = (FSBL, PMUFW, TRUSTED_FIRMWARE, U_BOOT, BOOT_SCRIPT)
"""Components that need only petalinux-build."""


class ComponentBuild(ContainerStep):
    """Step that builds a component in a copy of the project with the user layer."""

    wide = True

    def __init__(
        self, board: str, component: Component, *, project: PetaLinuxProject, layer: UserLayer
    ) -> None:
        parents = {step.name: step for step in (project.tool, project)}
        super().__init__(component.name, scope=board, parents=parents)
        self.component = component
        self.project = project
        self.layer = layer

    @property
    def outputs(self) -> Sequence[str]:
        """The names of the output files that come from images/linux."""
        return self.component.outputs[self.project.tool.soc]

    def settings(self) -> Mapping[str, object]:
        return {
            "component": self.component.component,
            "outputs": self.outputs,
            **self.layer.settings(),
        }

    def run(self, job: Job) -> None:
        with open_project(job, self.project, layer=self.layer) as container:
            self._build(job, container)

    def _build(self, job: Job, container: Session) -> None:
        container.petalinux("petalinux-build", "-c", self.component.component)
        for name in self.outputs:
            made = container.project / "images/linux" / name
            if not made.is_file():
                raise StepError(f"petalinux-build made no images/linux/{name}")
            shutil.copyfile(made, job.output / name)


class DeviceTreeBuild(ComponentBuild):
    """Step that builds the device tree, with the board's console, root device and name."""

    packages = ("device-tree-compiler",)

    def __init__(
        self,
        board: str,
        *,
        project: PetaLinuxProject,
        layer: UserLayer,
        console: str,
        hardware: str,
    ) -> None:
        super().__init__(board, DEVICE_TREE, project=project, layer=layer)
        self.console = console
        self.hardware = hardware

    def settings(self) -> Mapping[str, object]:
        return {**super().settings(), "console": self.console, "hardware": self.hardware}

    def _build(self, job: Job, container: Session) -> None:
        super()._build(job, container)
        tree = job.output / SYSTEM_DTB
        bootargs = (
            read_tree(tree)
            .get("/chosen", {})
            .get("bootargs", b"")
            .rstrip(b"\0")
            .decode(errors="replace")
        )
        own = {"console": self.console, "root": self.project.root_device}
        others = [word for word in bootargs.split() if word.partition("=")[0] not in (*own, "ro")]
        words = [*(f"{name}={value}" for name, value in own.items()), *others]
        words += [word for word in ("rw", "rootwait") if word not in words]
        chosen = {"bootargs": " ".join(words), "pynq_board": self.hardware}
        with job.workspace("petalinux-device-tree", need=1 << 20) as workspace:
            for name, value in chosen.items():
                job.run(workspace, "fdtput", "-p", "-t", "s", tree, "/chosen", name, value)


class KernelBuild(ComponentBuild):
    """Step that builds the kernel, its modules, and the headers for further modules."""

    def __init__(self, board: str, *, project: PetaLinuxProject, layer: UserLayer) -> None:
        super().__init__(board, KERNEL, project=project, layer=layer)

    def _build(self, job: Job, container: Session) -> None:
        super()._build(job, container)
        deployed = container.project / "build/tmp/deploy"
        modules = _only(deployed, "images/*/modules-*.tgz")
        if modules is None:
            raise StepError("petalinux-build -c kernel deployed no modules-*.tgz")
        shutil.copyfile(modules, job.output / MODULES)
        container.petalinux("petalinux-build", "-c", "kernel-devsrc")
        package = _only(deployed, "rpm/*/kernel-devsrc-*.rpm")
        if package is None or not _is_rpm(package):
            job.say("petalinux-build deployed no package of the kernel's headers")
            return
        inside = PROJECT / package.relative_to(container.project)
        container.run("bsdtar", "-czf", WORK / HEADERS, f"@{inside}")
        shutil.copyfile(container.work / HEADERS, job.output / HEADERS)


@contextmanager
def open_project(
    job: Job,
    project: PetaLinuxProject,
    *,
    layer: UserLayer | None = None,
    inputs: Mapping[str, Path] | None = None,
) -> Iterator[Session]:
    """Open a session in a copy of the project, with a user layer."""
    made = job.input(project.name) / FOLDER
    with job.store.scratch("petalinux-changes") as changes:
        _write_changes(job, project, layer, changes)
        all_inputs = {"project": made, "changes": changes, **(inputs or {})}
        tool = job.input(project.tool.name)
        with session(job, project.tool.system, tool=tool, inputs=all_inputs) as container:
            # Copied in the container, because its user has to own the files that it changes.
            container.run("cp", "-R", "-p", INPUT / "project", PROJECT)
            container.run("cp", "-R", "--remove-destination", f"{INPUT / 'changes'}/.", PROJECT)
            yield container


def _write_changes(
    job: Job, project: PetaLinuxProject, layer: UserLayer | None, changes: Path
) -> None:
    """Write the files that differ in a step's copy of the project: layer and cache directories."""
    system, made = project.tool.system, job.input(project.name) / FOLDER
    if layer:
        layer.write(made, changes)

    def text(name: str) -> str:
        there = next((each / name for each in (changes, made) if (each / name).exists()), None)
        return there.read_text(encoding="utf-8") if there else ""

    caches = f'SSTATE_DIR = "{SSTATE}"\nDL_DIR = "{DOWNLOADS}"\n'
    after = {
        f"{META_USER}/conf/petalinuxbsp.conf": text(f"{META_USER}/conf/petalinuxbsp.conf") + caches
    }
    if system.offline:
        after[CONFIG] = set_symbols(text(CONFIG), _offline())
    for name, content in after.items():
        (changes / name).parent.mkdir(parents=True, exist_ok=True)
        (changes / name).write_text(content, encoding="utf-8")


def _offline() -> dict[str, str | None]:
    """Return the symbols for builds without the network."""
    return {
        "CONFIG_YOCTO_BB_NO_NETWORK": "y",
        "CONFIG_YOCTO_NETWORK_SSTATE_FEEDS": None,
        "CONFIG_PRE_MIRROR_URL": f'"file://{DOWNLOADS}"',
    }


def _is_rpm(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_RPM)) == _RPM


def _only(folder: Path, pattern: str) -> Path | None:
    """Return the file that matches a pattern, not the links to it; None if there is none."""
    return next((path for path in sorted(folder.glob(pattern)) if not path.is_symlink()), None)
