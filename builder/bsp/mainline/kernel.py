# SPDX-License-Identifier: MIT
"""The kernel: image, modules, headers, and includes for device trees."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from builder.bsp.mainline.kbuild import KbuildTree
from builder.bsp.soc import Family
from builder.errors import StepError, UserError
from builder.sandbox.compiler_cache import COMPILER_IDENTITY
from builder.sandbox.workspace import Workspace
from builder.steps.layer_archive import LAYER, pack
from builder.steps.step import Job, Shell, Step

NEED = 4 << 30
"""Disk space in bytes for the kernel's sources and objects."""

# Disable checks for kernel developers, which take a tenth of the time: the check of exported names,
# which starts a shell per object, and warnings, for which gcc tracks the expansion of macros.
_QUICK = ("cmd_check_local_export=", "KCFLAGS=-w -ftrack-macro-expansion=0")

# Copies the files that modules are compiled with on the board, as Linux's scripts/package/builddeb
# selects them.
_HEADERS = r"""
mkdir -p "$(dirname "$TARGET")"
cd "$SOURCE"
{
    find . -maxdepth 1 \( -name 'Makefile*' -o -name 'Kconfig*' -o -name 'Kbuild*' \)
    find "arch/$ARCH" -maxdepth 1 -type f
    find "arch/$ARCH" \( -name 'Kbuild*' -o -name 'Makefile*' -o -name Kconfig \) -type f
    find "arch/$ARCH" -path '*/include/*' -type f
    find include scripts -type f -o -type l
} | sort -u > "$TARGET.list"
mkdir -p "$TARGET"
tar --create --files-from="$TARGET.list" | tar --extract --directory="$TARGET"
cd "$OBJECTS"
rm -f scripts/*.o scripts/*/*.o scripts/*/.*.cmd scripts/.*.cmd
{
    find "arch/$ARCH/include" include scripts -type f
    echo .config
} | tar --create --files-from=- | tar --extract --directory="$TARGET"
"""


class Kernel(Step):
    """Step that builds Linux, configured from `allnoconfig` and the fragments, the base first.

    Output: the kernel's image, `kernel-release`, `config`, `dts/` (for device trees), and a
    layer with modules and headers.
    """

    wide = True

    def __init__(
        self,
        family: Family,
        *,
        source: Step,
        fragments: Sequence[Path],
        board_fragments: Sequence[Path],
        scope: str,
    ) -> None:
        super().__init__("kernel", scope=scope, parents={"linux-source": source})
        self.packages = (
            *("bc", "bison", "flex", "cpio", "kmod", "libssl-dev", "gcc", "make"),
            family.compiler,
        )
        self.family = family
        self.fragments = [*fragments, *board_fragments]

    def settings(self) -> Mapping[str, object]:
        return {"soc": self.family.soc.value, "local version": self._local_version}

    def files(self) -> Sequence[Path]:
        return self.fragments

    def run(self, job: Job) -> None:
        programs = self.family.compilers
        with job.compiler_workspace("kernel", programs, need=NEED) as (workspace, compilers):
            tree = self._prepare(job, workspace, compilers)
            tree.make(*_QUICK, self.family.kernel_image, "modules")
            tree.keep(self._identity(job, workspace, compilers))
            self._collect(job, workspace, tree)

    @contextmanager
    def shell(self, job: Job) -> Iterator[Shell]:
        programs = self.family.compilers
        with job.compiler_workspace("kernel", programs, need=NEED) as (workspace, compilers):
            yield self._prepare(job, workspace, compilers).shell(
                f"the configured kernel; `make {self.family.kernel_image} modules` builds it"
            )

    @property
    def _local_version(self) -> str:
        return f"-{self.family.soc.value}"

    def _prepare(self, job: Job, workspace: Workspace, compilers: Mapping[str, str]) -> KbuildTree:
        """Unpack and configure the sources.

        Raises:
            UserError: options of the fragments are not in effect.
        """
        tree = KbuildTree(
            job,
            workspace,
            job.input("linux-source"),
            arch=self.family.kernel_arch,
            cross_compile=self.family.cross_compile,
            compilers=compilers,
        )
        tree.environment["LOCALVERSION"] = self._local_version
        tree.restore(self._identity(job, workspace, compilers))
        tree.configure("allnoconfig", self.fragments)
        lost = unmet(tree.read(".config"), self.fragments)
        if lost:
            raise UserError(
                f"{len(lost)} kernel options are not in effect in the final configuration",
                hint="an option depends on others that are off, or does not exist in this kernel",
                details=lost,
            )
        return tree

    def _identity(self, job: Job, workspace: Workspace, compilers: Mapping[str, str]) -> str:
        """Return a hash of everything that a cached build directory depends on.

        The configuration is not included: make detects changes of it.
        """
        versions = workspace.run(["dpkg-query", "--show", *self.packages])
        parts = [
            *(job.entry("linux-source").tree_hash, self.family.soc.value, *_QUICK),
            *(compilers.get(COMPILER_IDENTITY, ""), versions),
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _collect(self, job: Job, workspace: Workspace, tree: KbuildTree) -> None:
        run, stage = job.run, workspace.directory / "stage"
        image = tree.build / f"arch/{self.family.kernel_arch}/boot/{self.family.kernel_image}"
        run(workspace, "cp", image, job.output)
        (job.output / "config").write_text(tree.read(".config"))
        release = tree.read("include/config/kernel.release").strip()
        (job.output / "kernel-release").write_text(f"{release}\n")
        destination = {"INSTALL_MOD_PATH": str(stage / "usr"), "INSTALL_MOD_STRIP": "1"}
        tree.make("modules_install", extra=destination)
        modules = stage / f"usr/lib/modules/{release}"
        run(workspace, "rm", "-f", modules / "build", modules / "source")
        headers = f"usr/src/linux-headers-{release}"
        run(workspace, "ln", "-s", f"/{headers}", modules / "build")
        self._headers(job, workspace, tree, stage / headers)
        pack(workspace, stage, job.output / LAYER, epoch=tree.epoch, of_root=True, log=job.log)
        self._device_trees(job, workspace, tree.source)

    def _device_trees(self, job: Job, workspace: Workspace, source: Path) -> None:
        """Copy the files that boards' device trees include: trees and constants of the bindings."""
        target = job.output / "dts"
        # Since Linux 6.5 each vendor's trees have a directory of their own.
        found = workspace.run(
            ["find", source / f"arch/{self.family.kernel_arch}/boot/dts", "-name", self.family.dtsi]
        ).split()
        if not found:
            raise StepError(f"the kernel's sources have no {self.family.dtsi}")
        # -L: some files of the bindings are links into include/uapi.
        job.run(
            workspace,
            *("sh", "-c", 'mkdir "$1" && cp -rL "$0"/zynq*.dts* "$2" "$1"'),
            *(Path(found[0]).parent, target, source / "include/dt-bindings"),
        )

    def _headers(self, job: Job, workspace: Workspace, tree: KbuildTree, target: Path) -> None:
        """Install the kernel's headers for modules, with build tools that run on the board.

        The tools are compiled again, by the cross compiler. They are linked statically, because the
        build runs some of them under qemu-user.
        """
        objects = tree.source / "headers"
        job.run(workspace, "mkdir", objects)
        job.run(workspace, "cp", tree.build / ".config", objects)
        compiler = (f"HOSTCC={self.family.cross_compile}gcc", "HOSTLDFLAGS=-static")
        tree.make(*compiler, "modules_prepare", build=objects)
        job.run(
            workspace,
            *("sh", "-eu", "-c", _HEADERS),
            environment={
                "SOURCE": str(tree.source),
                "OBJECTS": str(objects),
                "TARGET": str(target),
                "ARCH": self.family.kernel_arch,
            },
        )
        job.run(workspace, "rm", "-f", f"{target}.list")
        job.run(workspace, "cp", tree.build / "Module.symvers", target)


def unmet(config: str, fragments: Sequence[Path]) -> list[str]:
    """Return a line for each option of the fragments that is not in effect in a .config."""
    actual = dict(_options(config))
    wanted: dict[str, tuple[str, str]] = {}
    for fragment in fragments:
        for number, line in enumerate(fragment.read_text().splitlines(), 1):
            for name, value in _options(line):
                wanted[name] = (
                    value,
                    f"{fragment}:{number}",
                )  # later fragments override, as in merge_config.sh
    return [
        f"{where}: {name}={value} became {actual.get(name, 'n')}"
        for name, (value, where) in wanted.items()
        if actual.get(name, "n") != value
    ]


def _options(text: str) -> list[tuple[str, str]]:
    return [
        (set_name or unset_name, value or "n")
        for set_name, value, unset_name in re.findall(
            r"^(?:(CONFIG_\w+)=(.*)|# (CONFIG_\w+) is not set)$", text, re.MULTILINE
        )
    ]
