# SPDX-License-Identifier: MIT
"""Kernel modules of this tree's own, built outside of the kernel's sources.

Their sources lie in the meta-user layer, one recipe each. Those with a `.bb` are PetaLinux's too.
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
"""Bytes that the kernel's layer and the modules' objects take."""

_RECIPES = "meta-user/recipes-modules"
_BESIDE = {"*.conf": "usr/lib/modules-load.d", "*.rules": "usr/lib/udev/rules.d"}
"""Directories for a recipe's files that are not compiled."""
_CONDITION = re.compile(r"^obj-\$\(CONFIG_", re.MULTILINE)
"""How a Makefile says that its modules are for some kernels alone."""
_PLACE = "updates"
"""Directory below the kernel's modules; the kernel's own Makefile names it for such modules."""


class KernelModules(Step):
    """The modules of `recipes-modules`, built as one would on the card: against its headers.

    So a change of a module does not build the kernel again. Of a recipe NAME all in `files` is
    read: a Makefile for kbuild, and what becomes of it goes with `*.conf` for modules-load.d,
    `*.rules` for udev, and NAME.h, what programs include.

    Output: a layer to be put on the kernel's. It has the indexes of all modules (modules.dep and
    its kin) in place of those that know the kernel's own alone.

    A Makefile may make its modules depend on the kernel's configuration, by `obj-$(CONFIG_NAME:y=m)`.
    Without that option the recipe is left out.
    """

    wide = True

    def __init__(self, family: Family, *, kernel: Step, project: Path) -> None:
        super().__init__("modules", scope=kernel.scope, parents={"kernel": kernel})
        # The tools among the headers are the board's programs.
        self.packages = ("gcc", "kmod", "make", "qemu-user-static", family.compiler)
        self.family = family
        self.sources = sorted((project / BSP_DIRECTORY / _RECIPES).glob("*/files"))

    def settings(self) -> Mapping[str, object]:
        return {"soc": self.family.soc.value}

    def files(self) -> Sequence[Path]:
        return self.sources

    def run(self, job: Job) -> None:
        given = job.input("kernel")
        release = (given / "kernel-release").read_text().strip()
        programs = self.family.compilers
        with job.compiler_workspace("modules", programs, need=NEED) as (workspace, compilers):
            kernel, stage = workspace.directory / "kernel", workspace.directory / "stage"
            job.run(workspace, "mkdir", kernel, stage)
            job.run(
                workspace,
                *("tar", "--extract", "--no-same-owner", "--use-compress-program=zstd -d -T0"),
                *("--directory", kernel, "--file", given / LAYER),
            )
            modules = Path("usr/lib/modules") / release
            before = _indexes(workspace.outside(kernel / modules))
            for source in self.sources:
                self._build(job, workspace, source, release, compilers)
            job.run(workspace, "depmod", "--basedir", kernel / "usr", release)
            # Nothing is newer than the kernel that it belongs to.
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
        """Build a recipe's modules and put them among the kernel's, the rest into the stage."""
        name, kernel = source.parent.name, workspace.directory / "kernel"
        objects, stage = workspace.directory / name, workspace.directory / "stage"
        headers = kernel / f"usr/src/linux-headers-{release}"
        # Messages of the kernel have names of sources, which must not depend on where this is built.
        relative = os.path.relpath(objects, headers)
        job.run(workspace, "cp", "-r", source, objects)
        # By kbuild, not by the Makefile's own targets, which are for people and for Yocto. One after
        # the other: it installs what it finds when it starts. It leaves depmod to us.
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
            raise StepError(f"{source} made no module")
        for pattern, place in {**_BESIDE, f"{name}.h": "usr/include"}.items():
            files = [objects / path.name for path in sorted(found.glob(pattern))]
            if files:
                job.run(workspace, "install", "-D", "-m0644", "-t", stage / place, *files)


def _indexes(modules: Path) -> dict[str, bytes]:
    """Return the files that depmod reads and writes: name and content."""
    return {path.name: path.read_bytes() for path in modules.glob("modules.*")}
