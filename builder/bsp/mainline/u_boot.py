# SPDX-License-Identifier: MIT
"""U-Boot and its SPL, the first stage of a board."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from builder.bsp.mainline.kbuild import KbuildTree
from builder.bsp.mainline.snippet import snippet
from builder.bsp.program import Program, downloads, files
from builder.bsp.ps7 import check as ps7_check
from builder.bsp.ps7 import clocks as ps7_clocks
from builder.bsp.ps7 import table as ps7
from builder.bsp.ps7.fields import Registers
from builder.bsp.soc import BSP_DIRECTORY, Family
from builder.bsp.start_up import START_UPS
from builder.errors import UserError
from builder.sandbox.workspace import Workspace
from builder.spec.models import Bsp, Soc
from builder.spec.reader import SpecTree
from builder.steps.step import Job, Shell, Step

NEED = 1 << 30
"""Disk space in bytes for U-Boot's sources and objects."""

CPU_CLOCK = "cpu-clock.json"
"""Output file with the dividers of the CPU clock (null if unknown) and their source."""

_START_UP = "start-up"
"""Directory of the workspace with the C source of the PS start-up."""


class UBoot(Step):
    """Step that builds SPL and U-Boot.

    Output: `u-boot-spl.bin` (SPL with its device tree), U-Boot in the format that SPL loads, the
    ELF files of both, `config`, `epoch` and CPU_CLOCK.
    """

    wide = True

    def __init__(
        self,
        board: str,
        directory: Path,
        devicetree: str,
        bsp: Bsp,
        *,
        family: Family,
        source: Step,
        trusted_firmware: Step | None,
        pmu_configuration: Program | None,
        tree: SpecTree,
    ) -> None:
        parents = {"u-boot-source": source} | downloads([pmu_configuration])
        if trusted_firmware:
            parents["trusted-firmware"] = trusted_firmware
        super().__init__("u-boot", scope=board, parents=parents)
        self.packages = (
            *("bc", "bison", "flex", "gcc", "libssl-dev", "make", "patch"),
            *("device-tree-compiler", family.compiler),
        )
        self.devicetree = directory / devicetree
        self.family = family
        self.bsp_files = tree.root / BSP_DIRECTORY
        self.snippet = snippet(tree.root, family)
        own = self.bsp_files / f"mainline/{family.soc.value}-u-boot"
        shared = self.bsp_files / "meta-user/recipes-bsp/u-boot/files/bsp.cfg"
        code = self.bsp_files / "mainline/u-boot"
        self.fragments = _present(shared, code.with_suffix(".cfg"), own.with_suffix(".cfg"))
        self.code = _present(code)
        self.additions = _present(own.with_suffix(".dtsi"))
        self.pmu_configuration = pmu_configuration
        self.xsa = _existing(directory, bsp.hardware.xsa if bsp.hardware else None)
        table = bsp.start_up_table
        self.registers = _existing(directory, table.registers if table else None)
        self.shipped = table.u_boot if table else None
        self.parameters = _existing(directory, table.parameters if table else None)
        self.is_placeholder = bool(table and table.stand_in and not self.xsa)

    def settings(self) -> Mapping[str, object]:
        return {
            "soc": self.family.soc.value,
            "device tree": self.devicetree.name,
            "first stage": self.first_stage,
            "PMU configuration": bool(self.pmu_configuration),
        }

    @property
    def first_stage(self) -> str:
        """The source of the register writes that initialize the processing system."""
        if self.xsa:
            return f"hardware export {self.xsa.name}"
        if self.registers:
            return f"start-up table {self.registers.name}"
        return f"start-up table {self.shipped} of U-Boot" if self.shipped else "none"

    def files(self) -> Sequence[Path]:
        found = [self.devicetree.parent, self.snippet, *self.fragments, *self.additions, *self.code]
        first_stage = (self.xsa,) if self.xsa else (self.registers, self.parameters)
        configuration = files([self.pmu_configuration])
        return [*found, *(path for path in first_stage if path), *configuration]

    def run(self, job: Job) -> None:
        programs = self.family.compilers
        with job.compiler_workspace("u-boot", programs, need=NEED) as (workspace, compilers):
            tree = self._prepare(job, workspace, compilers)
            # dtb-y: only the board's device tree, not those of every Zynq board.
            only = f"dtb-y={self.devicetree.stem}.dtb"
            names = ("spl/u-boot-spl.bin", "spl/u-boot-spl", self.family.u_boot_image, "u-boot.elf")
            tree.make(only, *names)
            for name in names:
                job.run(workspace, "cp", tree.build / name, job.output)
            config = tree.read(".config").replace(f"{workspace.directory}/", "")
            (job.output / "config").write_text(config)
            (job.output / "epoch").write_text(str(tree.epoch))
            start_up = workspace.outside(workspace.directory / _START_UP)
            dividers = self._cpu_dividers(start_up / START_UPS[self.family.soc].source)
        found = {"from": self.first_stage, "dividers": asdict(dividers) if dividers else None}
        (job.output / CPU_CLOCK).write_text(json.dumps(found))

    @contextmanager
    def shell(self, job: Job) -> Iterator[Shell]:
        programs = self.family.compilers
        with job.compiler_workspace("u-boot", programs, need=NEED) as (workspace, compilers):
            yield self._prepare(job, workspace, compilers).shell(
                f"the configured U-Boot; `make {self.family.u_boot_image}` builds it"
            )

    def _prepare(self, job: Job, workspace: Workspace, compilers: Mapping[str, str]) -> KbuildTree:
        """Unpack the sources, add the board's files, and configure."""
        tree = KbuildTree(
            job,
            workspace,
            job.input("u-boot-source"),
            arch="arm",  # for 64-bit boards, too
            cross_compile=self.family.cross_compile,
            compilers=compilers,
        )
        # The debugging information, which `check_sources` needs, contains directory names.
        names = f"-ffile-prefix-map={workspace.directory}=."
        tree.environment |= {"KCFLAGS": names, "KAFLAGS": names}
        if "trusted-firmware" in self.parents:
            tree.environment["BL31"] = str(job.input("trusted-firmware") / "bl31.bin")
        name = self.devicetree.stem
        trees = tree.source / "arch/arm/dts"
        job.run(
            workspace,
            *("sh", "-c", 'cp "$0" "$1"/*.dts* "$2"'),
            *(self.snippet, self.devicetree.parent, trees),
        )
        for additions in self.additions:
            job.run(workspace, "cp", additions, trees / f"{name}-u-boot.dtsi")
        for code in self.code:
            job.run(
                workspace,
                *("sh", "-c", 'cp "$0"/*.c "$1" && cat "$0/Makefile" >> "$1/Makefile"'),
                *(code, tree.source / "board/xilinx/common"),
            )
        own = [
            f'CONFIG_DEFAULT_DEVICE_TREE="{name}"',
            f'CONFIG_OF_LIST="{name}"',
            f'CONFIG_SPL_FS_LOAD_PAYLOAD_NAME="{self.family.u_boot_image}"',
        ]
        first_stage = self._first_stage(job, workspace, tree)
        if first_stage:
            own.append(f'CONFIG_XILINX_PS_INIT_FILE="{first_stage}"')
        if self.pmu_configuration:
            made = self._pmu_configuration(job, workspace, tree, self.pmu_configuration.find(job))
            own.append(f'CONFIG_ZYNQMP_SPL_PM_CFG_OBJ_FILE="{made}"')
        fragment = workspace.directory / "board.cfg"
        workspace.outside(fragment).write_text("\n".join([*own, ""]))
        tree.configure(self.family.u_boot_defconfig, [*self.fragments, fragment])
        return tree

    def _first_stage(self, job: Job, workspace: Workspace, tree: KbuildTree) -> Path | None:
        """Write the C source of the PS start-up; return its path, None if the board has BOOT.BIN."""
        start_up = START_UPS[self.family.soc]
        folder = workspace.directory / _START_UP
        job.run(workspace, "mkdir", folder)
        target = folder / start_up.source
        if self.xsa:
            start_up.extract(self.xsa, workspace.outside(folder))
        elif self.registers:
            table = ps7.read_table(self.registers)
            if self.parameters:
                self._check(job, table, self.parameters)
            workspace.outside(target).write_text(ps7.render(table))
        elif self.shipped:
            # Unchanged: some sources select a table by the silicon's version, `render` has one
            # table.
            text = start_up.shipped(workspace.outside(tree.source), self.shipped).read_text()
            if self.parameters:
                table = ps7.read_source(text, origin=self.shipped)
                self._check(job, table, self.parameters)
            workspace.outside(target).write_text(text)
        else:
            return None
        job.say(f"first stage from {self.first_stage}")
        return target

    def _cpu_dividers(self, start_up: Path) -> ps7_clocks.CpuDividers | None:
        """Return the CPU clock's dividers in the start-up source; None if they are unknown."""
        if self.family.soc is not Soc.ZYNQ or not start_up.is_file():
            return None
        if self.registers and not self.xsa:
            return ps7_clocks.cpu_dividers(Registers(ps7.read_table(self.registers)))
        # Sources that were written by hand cannot be parsed.
        with suppress(UserError):
            table = ps7.read_source(start_up.read_text(errors="replace"), origin=start_up.name)
            return ps7_clocks.cpu_dividers(Registers(table))
        return None

    def _pmu_configuration(
        self, job: Job, workspace: Workspace, tree: KbuildTree, source: Path
    ) -> Path:
        """Convert the PMU's configuration object to the form that SPL passes on; return its path."""
        made = workspace.directory / "pm_cfg_obj.bin"
        tool = tree.source / "tools/zynqmp_pm_cfg_obj_convert.py"
        job.run(workspace, "python3", tool, source, made)
        return made

    def _check(self, job: Job, table: ps7.StartupTable, parameters: Path) -> None:
        """Raise if a start-up table contradicts the board's parameters, unless a placeholder."""
        mismatches = ps7_check.compare(table, ps7_check.read_parameters(parameters))
        details = ps7_check.located(mismatches, parameters)
        for detail in details:
            job.say(f"start-up table: {detail}")
        if mismatches and self.is_placeholder:
            return
        if mismatches:
            raise UserError(
                f"the {self.first_stage} contradicts the board's {parameters.name}",
                details=details,
            )
        job.say(f"start-up table agrees with {parameters.name}")


def _present(*paths: Path) -> list[Path]:
    """Return the paths that exist."""
    return [path for path in paths if path.exists()]


def _existing(directory: Path, name: str | None) -> Path | None:
    """Return a file of the board; None if it is not named or does not exist."""
    path = directory / name if name else None
    return path if path and path.is_file() else None
