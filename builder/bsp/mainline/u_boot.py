# SPDX-License-Identifier: MIT
"""U-Boot and its SPL, the first stage of a Zynq-7000 board."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from builder.bsp import ps7, ps7_check
from builder.bsp.mainline.devicetree import SNIPPETS
from builder.bsp.mainline.kbuild import KbuildTree
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
        self.registers = _existing(directory, table.registers if table else None)
        self.shipped = table.u_boot if table else None
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
        if self.registers:
            return f"start-up table {self.registers.name}"
        return f"start-up table {self.shipped} of U-Boot" if self.shipped else "none"

    def files(self) -> Sequence[Path]:
        found = [self.devicetree.parent, self.snippets, self.fragment, self.additions]
        first_stage = (self.xsa,) if self.xsa else (self.registers, self.parameters)
        return [*found, *(path for path in first_stage if path)]

    def run(self, job: Job) -> None:
        with job.workspace("u-boot", need=NEED) as workspace:
            tree = self._prepare(job, workspace)
            # dtb-y: only the board's device tree, not those of every Zynq board.
            only = f"dtb-y={self.devicetree.stem}.dtb"
            tree.make(only, "spl/boot.bin", "u-boot.img", "u-boot.elf")
            for name in ("spl/boot.bin", "u-boot.img", "u-boot.elf", "spl/u-boot-spl", ".config"):
                target = job.output / Path(name).name.lstrip(".")
                job.run(workspace, "cp", tree.build / name, target)
            (job.output / "epoch").write_text(str(tree.epoch))

    @contextmanager
    def shell(self, job: Job) -> Iterator[Shell]:
        with job.workspace("u-boot", need=NEED) as workspace:
            yield self._prepare(job, workspace).shell(
                "the configured U-Boot; `make u-boot.img` builds it"
            )

    def _prepare(self, job: Job, workspace: Workspace) -> KbuildTree:
        """Unpack, add the board's files, configure."""
        tree = KbuildTree(job, workspace, job.input("u-boot-source"), family=self.family)
        name = self.devicetree.stem
        trees = tree.source / "arch/arm/dts"
        job.run(
            workspace,
            *("sh", "-c", 'cp "$0"/*.dts* "$1"/*.dts* "$2"'),
            *(self.snippets, self.devicetree.parent, trees),
        )
        job.run(workspace, "cp", self.additions, trees / f"{name}-u-boot.dtsi")
        own = [f'CONFIG_DEFAULT_DEVICE_TREE="{name}"', f'CONFIG_OF_LIST="{name}"']
        first_stage = self._first_stage(job, workspace, tree)
        if first_stage:
            own.append(f'CONFIG_XILINX_PS_INIT_FILE="{first_stage}"')
        fragment = workspace.directory / "board.cfg"
        workspace.outside(fragment).write_text("\n".join([*own, ""]))
        tree.configure(self.family.u_boot_defconfig, [self.fragment, fragment])
        return tree

    def _first_stage(self, job: Job, workspace: Workspace, tree: KbuildTree) -> Path | None:
        """Return where ps7_init_gpl.c is now; None if the board brings a whole BOOT.BIN."""
        folder = workspace.directory / "ps7"
        job.run(workspace, "mkdir", folder)
        target = folder / "ps7_init_gpl.c"
        if self.xsa:
            ps7.extract(self.xsa, workspace.outside(folder))
        elif self.registers:
            table = ps7.read_table(self.registers)
            if self.parameters:
                self._check(job, table, self.parameters)
            workspace.outside(target).write_text(ps7.render(table))
        elif self.shipped:
            # Unchanged: some choose among tables by the silicon's version, `render` has one.
            text = ps7.shipped(workspace.outside(tree.source), self.shipped).read_text()
            if self.parameters:
                table = ps7.read_source(text, origin=self.shipped)
                self._check(job, table, self.parameters)
            workspace.outside(target).write_text(text)
        else:
            return None
        job.say(f"first stage from {self.first_stage}")
        return target

    def _check(self, job: Job, table: ps7.StartupTable, parameters: Path) -> None:
        """Stop if a start-up table contradicts the board's parameters."""
        mismatches = ps7_check.compare(table, ps7_check.read_parameters(parameters))
        for mismatch in mismatches:
            job.say(f"start-up table: {mismatch}")
        if mismatches:
            raise UserError(
                f"the {self.first_stage} does not fit the board's {parameters.name}",
                details=[str(mismatch) for mismatch in mismatches],
            )
        job.say(f"start-up table fits {parameters.name}")


def _existing(directory: Path, name: str | None) -> Path | None:
    """Return a file of the board, if it is named and there."""
    path = directory / name if name else None
    return path if path and path.is_file() else None
