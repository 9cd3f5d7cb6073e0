# SPDX-License-Identifier: MIT
"""U-Boot and its SPL, the first stage of a Zynq-7000 board."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from builder.bsp import ps7, ps7_check
from builder.bsp.mainline.devicetree import SNIPPETS
from builder.bsp.soc import BSP_DIRECTORY, Family
from builder.engine.workspace import Workspace
from builder.errors import UserError
from builder.spec.models import Bsp
from builder.spec.reader import Tree
from builder.steps.step import Job, Shell, Step

NEED = 1 << 30
"""Bytes that U-Boot's sources and objects take."""


class UBoot(Step):
    """`boot.bin` (SPL, as the BootROM loads it), `u-boot.img`, and both as ELF files."""

    packages = (
        *("bc", "bison", "flex", "gcc", "libssl-dev", "make", "patch"),
        *("device-tree-compiler", "gcc-arm-linux-gnueabihf"),
    )

    def __init__(
        self,
        board: str,
        directory: Path,
        devicetree: str,
        bsp: Bsp,
        *,
        family: Family,
        source: Step,
        tree: Tree,
    ) -> None:
        super().__init__("u-boot", scope=board, parents={"u-boot-source": source})
        self.devicetree = directory / devicetree
        self.family = family
        self.bsp_files = tree.root / BSP_DIRECTORY
        self.snippets = tree.root / SNIPPETS
        self.fragment = self.bsp_files / "meta-user/recipes-bsp/u-boot/files/bsp.cfg"
        self.additions = self.bsp_files / f"mainline/{family.soc.value}-u-boot.dtsi"
        self.xsa = _existing(directory, bsp.hardware.xsa if bsp.hardware else None)
        table = bsp.start_up_table
        self.registers = directory / table.registers if table and not self.xsa else None
        self.parameters = _existing(directory, table.parameters if table else None)

    def settings(self) -> Mapping[str, object]:
        return {
            "soc": self.family.soc.value,
            "device tree": self.devicetree.name,
            "first stage": self.first_stage,
        }

    @property
    def first_stage(self) -> str:
        """Where the register writes come from that start the processing system."""
        if self.xsa:
            return f"hardware export {self.xsa.name}"
        return f"start-up table {self.registers.name}" if self.registers else "none"

    def files(self) -> Sequence[Path]:
        found = [self.devicetree.parent, self.snippets, self.fragment, self.additions]
        return [*found, *(p for p in (self.xsa, self.registers, self.parameters) if p)]

    def run(self, job: Job) -> None:
        with job.workspace("u-boot", need=NEED) as workspace:
            environment = self._prepare(job, workspace)
            build = workspace.directory / "build"
            # dtb-y: only the board's device tree, not those of every Zynq board.
            tree = f"dtb-y={self.devicetree.stem}.dtb"
            self._make(
                job, workspace, environment, tree, "spl/boot.bin", "u-boot.img", "u-boot.elf"
            )
            for name in ("spl/boot.bin", "u-boot.img", "u-boot.elf", "spl/u-boot-spl", ".config"):
                target = job.output / Path(name).name.lstrip(".")
                job.run(workspace, "cp", build / name, target)
            (job.output / "epoch").write_text(environment["SOURCE_DATE_EPOCH"])

    @contextmanager
    def shell(self, job: Job) -> Iterator[Shell]:
        with job.workspace("u-boot", need=NEED) as workspace:
            environment = self._prepare(job, workspace)
            yield Shell(
                workspace=workspace,
                argv=["bash", "-i"],
                cwd=workspace.directory / "build",
                environment=environment,
                about="the configured U-Boot; `make u-boot.img` builds it",
            )

    def _prepare(self, job: Job, workspace: Workspace) -> dict[str, str]:
        """Unpack, add the board's files, configure; return the environment of make."""
        work = workspace.directory
        source, build = work / "source", work / "build"
        epoch = unpack_package(job, workspace, job.input("u-boot-source"), source)
        job.run(workspace, "mkdir", build)
        name = self.devicetree.stem
        trees = source / "arch/arm/dts"
        job.run(
            workspace,
            *("sh", "-c", 'cp "$0"/*.dts* "$1"/*.dts* "$2"'),
            *(self.snippets, self.devicetree.parent, trees),
        )
        job.run(workspace, "cp", self.additions, trees / f"{name}-u-boot.dtsi")
        own = [f'CONFIG_DEFAULT_DEVICE_TREE="{name}"', f'CONFIG_OF_LIST="{name}"']
        first_stage = self._first_stage(job, workspace)
        if first_stage:
            own.append(f'CONFIG_XILINX_PS_INIT_FILE="{first_stage}"')
        fragment = work / "board.cfg"
        workspace.outside(fragment).write_text("\n".join([*own, ""]))
        environment = {
            "ARCH": self.family.kernel_arch,
            "CROSS_COMPILE": self.family.cross_compile,
            "SOURCE_DATE_EPOCH": str(epoch),
            "KBUILD_BUILD_USER": "builder",
            "KBUILD_BUILD_HOST": "builder",
            "TZ": "UTC",
        }
        self._make(job, workspace, environment, self.family.u_boot_defconfig, source=True)
        job.run(
            workspace,
            *(source / "scripts/kconfig/merge_config.sh", "-m", "-O", build),
            *(build / ".config", self.fragment, fragment),
            environment=environment,
            cwd=build,
        )
        self._make(job, workspace, environment, "olddefconfig")
        return environment

    def _first_stage(self, job: Job, workspace: Workspace) -> Path | None:
        """Write ps7_init_gpl.c into the workspace; None if the board brings a whole BOOT.BIN."""
        folder = workspace.directory / "ps7"
        job.run(workspace, "mkdir", folder)
        target = folder / "ps7_init_gpl.c"
        if self.xsa:
            ps7.extract(self.xsa, workspace.outside(folder))
        elif self.registers:
            table = ps7.read_table(self.registers)
            if self.parameters:
                parameters = ps7_check.read_parameters(self.parameters)
                mismatches = ps7_check.compare(table, parameters)
                for mismatch in mismatches:
                    job.say(f"start-up table: {mismatch}")
                if mismatches:
                    raise UserError(
                        f"{self.registers} does not fit the board's {self.parameters.name}",
                        details=[str(mismatch) for mismatch in mismatches],
                    )
                job.say(f"start-up table fits {self.parameters.name}")
            workspace.outside(target).write_text(ps7.render(table))
        else:
            return None
        job.say(f"first stage from {self.first_stage}")
        return target

    def _make(
        self,
        job: Job,
        workspace: Workspace,
        environment: Mapping[str, str],
        *targets: str,
        source: bool = False,
    ) -> None:
        work = workspace.directory
        where = ["-C", str(work / "source"), f"O={work / 'build'}"] if source else []
        job.run(
            workspace,
            *("make", "--no-print-directory", f"-j{job.tools.jobs}", *where, *targets),
            environment=environment,
            cwd=work / "build",
        )


def unpack_package(job: Job, workspace: Workspace, package: Path, target: Path) -> int:
    """Unpack a Debian source package (3.0 quilt) or a plain tarball, with patches applied.

    Returns:
        The time of its newest change, in seconds since 1970.
    """
    names = sorted(path.name for path in package.iterdir())
    tarballs = [name for name in names if re.search(r"(\.orig)?\.tar\.\w+$", name)]
    main = next((name for name in tarballs if ".orig." in name), tarballs[0])
    job.run(workspace, "mkdir", target)
    extract = ("tar", "--extract", "--no-same-owner", "--directory", target)
    job.run(workspace, *extract, "--strip-components=1", "--file", package / main)
    debian = next((name for name in tarballs if ".debian." in name), None)
    newest = target / "Makefile"
    if debian:
        job.run(workspace, *extract, "--file", package / debian)
        patches = target / "debian/patches"
        series = workspace.outside(patches / "series")
        for line in series.read_text().splitlines() if series.exists() else ():
            patch = line.partition("#")[0].strip()
            if patch:
                job.run(
                    workspace,
                    *("patch", "--quiet", "-p1", "--input", patches / patch),
                    cwd=target,
                )
        newest = target / "debian/changelog"
    return int(job.run(workspace, "stat", "-c", "%Y", newest).strip())


def _existing(directory: Path, name: str | None) -> Path | None:
    """Return a file of the board, if it is named and there."""
    path = directory / name if name else None
    return path if path and path.is_file() else None
