# SPDX-License-Identifier: MIT
"""External kernel modules: those of the user layers, and AMD's zocl.

bitbake packs recipes with `inherit module` (module.bbclass and kernel-module-split.bbclass of
OpenEmbedded) into one package kernel-module-MODULE per module, with a file for modules-load.d if it
is loaded at boot, a package RECIPE-dev with headers, and a package RECIPE with all other files,
such as udev rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from builder.bsp.petalinux.component import MODULES, KernelBuild, open_project
from builder.bsp.petalinux.layer import UserLayer
from builder.bsp.petalinux.system import PROJECT, WORK, ContainerStep, Session
from builder.bsp.prebuilt.modules import Bundle
from builder.errors import StepError
from builder.sandbox.workspace import Workspace
from builder.steps.layer_archive import LAYER, pack
from builder.steps.step import Job, Step
from builder.untrusted.reading import tar_files
from builder.untrusted.tree import ForeignTree, read_bounded

NEED = 1 << 30
"""Disk space in bytes for the kernel's modules and the external modules."""

PARTS = ("recipes-kernel", "recipes-modules")
"""Directories of the user layer that modules depend on: they are compiled for one kernel."""

ZOCL = "zocl"

_OWN, _RELEASES = "updates", "extra"
"""Directories below the kernel's modules: for modules of the layers, and for zocl.

Kbuild's default for external modules is the second before Linux 6.3, and the first since then. depmod
prefers the first.
"""

# Packages of a recipe or a kernel without files for a card.
_NOT_FOR_CARDS = re.compile(r".*-(?:dbg|src|doc|lic|staticdev)-\d[^-]*-[^-]*\.rpm")
_MODULE = re.compile(
    r"(?:usr/)?lib/modules/(?P<release>[^/]+)/(?!kernel/)(?:.*/)?(?P<name>[^/]+\.ko(?:\.\w+)?)"
)
_BESIDE: Mapping[str, re.Pattern[str]] = {
    "usr/lib/modules-load.d": re.compile(r"(?:etc|usr/lib)/modules-load\.d/([^/]+\.conf)"),
    "usr/lib/modprobe.d": re.compile(r"(?:etc|(?:usr/)?lib)/modprobe\.d/([^/]+\.conf)"),
    "usr/lib/udev/rules.d": re.compile(r"(?:etc|(?:usr/)?lib)/udev/rules\.d/([^/]+\.rules)"),
    "usr/lib/firmware": re.compile(r"(?:usr/)?lib/firmware/(.+)"),
    "usr/include": re.compile(r"usr/include/([^/]+\.h)"),
}
"""Directories of the card for other files of packages, with patterns of their paths."""

_PACKAGES = "packages.tar.gz"


class ModulesBuild(ContainerStep):
    """Step that builds the modules of `recipes-modules` of the builder and the boards, and zocl.

    zocl is built if the release has it for the SoC family.

    Output: a layer on top of the kernel's layer. Its module indexes (modules.dep and others) cover
    all modules and replace those of the kernel's layer.
    """

    packages = ("kmod", "zstd")

    wide = True

    def __init__(self, board: str, *, kernel: KernelBuild, layer: UserLayer, epoch: int) -> None:
        project = kernel.project
        # After the kernel, which bitbake then finds in its cache.
        steps: Sequence[Step] = (project.tool, project, kernel)
        super().__init__(
            "petalinux-modules", scope=board, parents={step.name: step for step in steps}
        )
        self.kernel = kernel
        self.project = project
        self.layer = layer
        self.epoch = epoch

    @property
    def recipes(self) -> list[str]:
        """The recipes that are built."""
        tool = self.project.tool
        releases = [ZOCL] if tool.soc in tool.release.facts.zocl else []
        return sorted({*releases, *self.layer.recipes("recipes-modules")})

    def settings(self) -> Mapping[str, object]:
        return {"recipes": self.recipes, "epoch": self.epoch, **self.layer.settings()}

    def run(self, job: Job) -> None:
        with open_project(job, self.project, layer=self.layer) as container:
            packages = self._packages(container)
            with job.workspace("petalinux-modules", need=NEED) as workspace:
                self._layer(job, workspace, packages)

    def _packages(self, container: Session) -> Path:
        """Build the recipes; return an archive with the contents of their packages."""
        for recipe in self.recipes:
            container.petalinux("petalinux-build", "-c", recipe)
        wanted = ("kernel-module-", *(f"{recipe}-" for recipe in self.recipes))
        found = [
            path
            for path in sorted((container.project / "build/tmp/deploy/rpm").rglob("*.rpm"))
            if path.name.startswith(wanted) and not _NOT_FOR_CARDS.fullmatch(path.name)
        ]
        for prefix in wanted:
            if not any(path.name.startswith(prefix) for path in found):
                raise StepError(f"petalinux-build deployed no package {prefix}*.rpm")
        inside = (PROJECT / path.relative_to(container.project) for path in found)
        container.run("bsdtar", "-czf", WORK / _PACKAGES, *(f"@{path}" for path in inside))
        return container.work / _PACKAGES

    def _layer(self, job: Job, workspace: Workspace, packages: Path) -> None:
        """Make the layer from packages, with depmod's indexes of all modules."""
        archive = job.input(self.kernel.name) / MODULES
        kernel = Bundle(name=MODULES, root=archive.parent, archives=[archive])
        releases = kernel.releases()
        if len(releases) != 1:
            raise StepError(
                f"{MODULES} must have the modules of one kernel release; found: "
                f"{', '.join(releases) or 'none'}"
            )
        (release,) = releases
        modules = f"usr/lib/modules/{release}"
        stage, whole = workspace.directory / "stage", workspace.directory / "kernel"
        workspace.outside(stage).mkdir()
        workspace.outside(whole).mkdir()
        own, all_modules = (
            ForeignTree(workspace.outside(stage)),
            ForeignTree(workspace.outside(whole)),
        )
        self._take(packages, release, own)
        kernel.copy_modules(release, all_modules, modules)
        before = _indexes(all_modules, modules)
        job.run(workspace, "cp", "-r", f"{stage / modules}/.", whole / modules)
        job.run(workspace, "depmod", "--basedir", whole / "usr", release)
        for path, content in _indexes(all_modules, modules).items():
            if before.get(path) != content:
                own.write(path, content, mode=0o644)
        pack(workspace, stage, job.output / LAYER, epoch=self.epoch, of_root=True, log=job.log)

    def _take(self, packages: Path, release: str, tree: ForeignTree) -> None:
        """Copy the files that a card needs from packages to their places on a card."""
        modules = 0
        for name, opener in tar_files(packages, from_root=True):
            module = _MODULE.fullmatch(name)
            if module and module["release"] != release:
                raise StepError(
                    f"{module['name']} is for the kernel {module['release']}, but the kernel is "
                    f"{release}"
                )
            place = _place(name)
            if place:
                with opener() as file:
                    tree.write(place, read_bounded(file, name), mode=0o644)
                modules += bool(module)
        if not modules:
            raise StepError(f"there are no modules in the packages of {', '.join(self.recipes)}")


def _place(name: str) -> PurePosixPath | None:
    """Return the path on a card of a file of a package; None if a card does not need it."""
    if module := _MODULE.fullmatch(name):
        below = _RELEASES if module["name"].partition(".")[0] == ZOCL else _OWN
        return PurePosixPath("usr/lib/modules", module["release"], below, module["name"])
    for place, pattern in _BESIDE.items():
        if found := pattern.fullmatch(name):
            return PurePosixPath(place) / found[1]
    return None


def _indexes(tree: ForeignTree, modules: str) -> dict[str, bytes]:
    """Return the contents of the files that depmod reads and writes, by path."""
    return {path: tree.read(path) for path in tree.glob(f"{modules}/modules.*")}
