# SPDX-License-Identifier: MIT
"""The C source that starts a processing system: out of a hardware export, or out of U-Boot.

Before DDR memory works, something has to set PLLs, clocks, pins and the DDR controller, for each
board otherwise. Vivado generates C code that does it (`ps7_init_gpl.c` for Zynq-7000,
`psu_init_gpl.c` for Zynq UltraScale+), with a header; a hardware export, an .xsa, holds both. SPL
compiles what CONFIG_XILINX_PS_INIT_FILE names. U-Boot has copies for some boards, which were
rewritten by hand or by a script (tools/zynqmp_psu_init_minimize.sh) and include headers of U-Boot.

The pair of an export is used as it is, side by side in one directory:

* Zynq-7000: Vivado's header encodes the table's opcodes differently from U-Boot's. Swapping the
  #include alone would give an SPL that compiles and then executes nonsense. U-Boot's interpreter
  `ps7_config` is weak, so that Vivado's replaces it.
* Zynq UltraScale+: Vivado's file is code, with helpers of its own, all of them static.

For Vivado's other #includes, U-Boot keeps an xil_io.h and an empty sleep.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from builder.errors import UserError
from builder.spec.models import Soc
from builder.spec.reader import closest
from builder.vivado.export import open_export

MOST_BYTES = 4 << 20
"""Bytes of a source; Vivado's have less than one million."""


@dataclass(frozen=True, kw_only=True)
class StartUp:
    """The start-up source of a SoC family.

    stem: name of the .c file and of its header.
    function: what Vivado's .c file must define, to be of use without anything of U-Boot's.
    boards: where U-Boot's sources have a directory for each board whose start-up they know.
    """

    stem: str
    function: str
    boards: str

    @property
    def source(self) -> str:
        """Name of the .c file."""
        return f"{self.stem}.c"

    def extract(self, xsa: Path, directory: Path) -> Path:
        """Take the .c file and its header out of a hardware export, unchanged, into a directory.

        Returns:
            The path of the .c file, for CONFIG_XILINX_PS_INIT_FILE. The header must stay beside it.

        Raises:
            UserError: it is no hardware export, or one for another SoC, or of a design in which the
                processing system is not there.
        """
        wanted = (self.source, f"{self.stem}.h")
        export = open_export(xsa)
        missing = [name for name in wanted if name not in export.members]
        if missing:
            other = [name for name in export.named("_init_gpl.c") if name != self.source]
            raise UserError(
                f"{xsa} has no {' and no '.join(missing)}",
                hint=f"it is an export of another SoC ({other[0]}): check the board's `soc`"
                if other
                else "export the hardware again from a block design that has the processing system",
            )
        contents = {name: export.read(name, most=MOST_BYTES) for name in wanted}
        if self.function.encode() not in contents[self.source]:
            raise UserError(
                f"{xsa}: {self.source} has no {self.function}()",
                hint="it is not what Vivado wrote; U-Boot has nothing in its place",
            )
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (directory / name).write_bytes(content)
        return directory / self.source

    def shipped(self, sources: Path, board: str) -> Path:
        """Return the .c file that U-Boot's sources have for one of their boards.

        Raises:
            UserError: they have none under this name.
        """
        found = sources.glob(f"{self.boards}/*/{self.source}")
        tables = {path.parent.name: path for path in found}
        if board not in tables:
            raise UserError(f"this U-Boot has no start-up table {board}{closest(board, tables)}")
        return tables[board]


START_UPS = {
    Soc.ZYNQ: StartUp(stem="ps7_init_gpl", function="ps7_config", boards="board/xilinx/zynq"),
    Soc.ZYNQMP: StartUp(stem="psu_init_gpl", function="psu_init", boards="board/xilinx/zynqmp"),
}
