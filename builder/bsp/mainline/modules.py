# SPDX-License-Identifier: MIT
"""The project's own kernel modules, built outside of the kernel's sources.

Their sources are in the meta-user layer, one recipe each. PetaLinux builds those with a `.bb`, too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.bsp.soc import BSP_DIRECTORY, Family
from builder.errors import StepError
from builder.sandbox.workspace import Workspace
from builder.steps.layer_archive import LAYER, pack
from builder.steps.step import Job, Step

NEED = 1 << 30
"""Disk space in bytes for the kernel's layer and the modules' objects."""

_RECIPES = "meta-user/recipes-modules"
_BESIDE = {"*.conf": "usr/lib/modules-load.d", "*.rules": "usr/lib/udev/rules.d"}
"""Directories for a recipe's files that are not compiled."""
_CONDITION = re.compile(r"^obj-\$\(CONFIG_", re.MULTILINE)
"""Line of a Makefile whose modules depend on the kernel's configuration."""
_PLACE = "updates"
"""Directory below the kernel's modules; the kernel's Makefile uses it for external modules."""


class KernelModules(Step):
    """Step that builds the modules of `recipes-modules` against the kernel's installed headers.

    So the kernel is not built again when a module changes. The step reads the directory `files` of
    each recipe NAME: a Makefile for kbuild, `*.conf` for modules-load.d, `*.rules` for udev, and
    NAME.h, the header for programs.

    Output: a layer on top of the kernel's layer. Its module indexes (modules.dep and others) cover
    all modules and replace those of the kernel's layer.

    A Makefile may make its modules depend on the kernel's configuration, by
    `obj-$(CONFIG_NAME:y=m)`. Without that option the recipe is skipped.
    """

    wide = True

    def __init__(self, family: Family, *, kernel: Step, project: Path) -> None:
        super().__init__("modules", scope=kernel.scope, parents={"kernel": kernel})
        # The build tools among the headers are programs for the board's architecture.
        self.packages = ("gcc", "kmod", "make", "qemu-user-static", family.compiler)
        self.family = family
        self.sources = sorted((project / BSP_DIRECTORY / _RECIPES).glob("*/files"))

    def settings(self) -> Mapping[str, object]:
        return {"soc": self.family.soc.value}

    def files(self) -> Sequence[Path]:
        return self.sources

    def run(self, job: Job) -> None:
        kernel_output = job.input("kernel")
        release = (kernel_output / "kernel-release").read_text().strip()
        programs = self.family.compilers
        with job.compiler_workspace("modules", programs, need=NEED) as (workspace, compilers):
            kernel, stage = workspace.directory / "kernel", workspace.directory / "stage"
            job.run(workspace, "mkdir", kernel, stage)
            job.run(
                workspace,
                *("tar", "--extract", "--no-same-owner", "--use-compress-program=zstd -d -T0"),
                *("--directory", kernel, "--file", kernel_output / LAYER),
            )
            modules = Path("usr/lib/modules") / release
            before = _indexes(workspace.outside(kernel / modules))
            for source in self.sources:
                self._build(job, workspace, source, release, compilers)
            job.run(workspace, "depmod", "--basedir", kernel / "usr", release)
            # All files of the layer get the time of the kernel.
            epoch = job.run(workspace, "stat", "-c", "%Y", kernel / modules / "modules.order")
            job.run(workspace, "mkdir", "-p", stage / modules)
            job.run(workspace, "cp", "-r", kernel / modules / _PLACE, stage / modules)
            for name, content in _indexes(workspace.outside(kernel / modules)).items():
                if before.get(name) != content:
                    job.run(workspace, "cp", kernel / modules / name, stage / modules)
            pack(
                workspace,
                stage,
                job.output / LAYER,
                epoch=int(epoch.strip()),
                of_root=True,
                log=job.log,
            )

    def _build(
        self,
        job: Job,
        workspace: Workspace,
        source: Path,
        release: str,
        compilers: Mapping[str, str],
    ) -> None:
        """Build a recipe; install its modules in the kernel's tree, other files in the stage.

        Raises:
            StepError: the recipe makes no module.
        """
        name, kernel = source.parent.name, workspace.directory / "kernel"
        objects, stage = workspace.directory / name, workspace.directory / "stage"
        headers = kernel / f"usr/src/linux-headers-{release}"
        # The kernel's messages contain source paths, which must not depend on the workspace.
        relative = os.path.relpath(objects, headers)
        job.run(workspace, "cp", "-r", source, objects)
        # Kbuild's targets, because the Makefile's own targets are for developers and for Yocto. In
        # two runs, because make installs the modules that exist when it starts. It does not run
        # depmod for external modules.
        for target in ("modules", "modules_install"):
            job.run(
                workspace,
                *("make", "--no-print-directory", f"-j{job.tools.jobs}"),
                *("-C", headers, f"M={relative}", target),
                environment={
                    **compilers,
                    "ARCH": self.family.kernel_arch,
                    "CROSS_COMPILE": self.family.cross_compile,
                    "KCFLAGS": f"-Werror -ffile-prefix-map={relative}={name}",
                    "INSTALL_MOD_PATH": str(kernel / "usr"),
                    "INSTALL_MOD_DIR": _PLACE,
                    "INSTALL_MOD_STRIP": "1",
                },
            )
        found = workspace.outside(objects)
        if not any(found.glob("*.ko")):
            if _CONDITION.search((found / "Makefile").read_text()):
                return
            raise StepError(f"the build of {source} made no module")
        for pattern, place in {**_BESIDE, f"{name}.h": "usr/include"}.items():
            files = [objects / path.name for path in sorted(found.glob(pattern))]
            if files:
                job.run(workspace, "install", "-D", "-m0644", "-t", stage / place, *files)


def _indexes(modules: Path) -> dict[str, bytes]:
    """Return the contents of the files that depmod reads and writes, by name."""
    return {path.name: path.read_bytes() for path in modules.glob("modules.*")}
