# SPDX-License-Identifier: MIT
"""The start-up table of a Zynq-7000 processing system: where it comes from, what SPL gets.

Before DDR memory works, something has to set PLLs, clocks, pins and the DDR controller. On
Zynq-7000 that is a list of register writes, different for each board, which Vivado generates from
the board's parameters. SPL runs it as `ps7_init()`. It can come from two places:

* a YAML table of the board (`read_table`), which `render` turns into the C file that U-Boot
  compiles through CONFIG_XILINX_PS_INIT_FILE;
* the board's hardware export, an .xsa (`extract`). Vivado's `ps7_init_gpl.c` comes with a header
  and an interpreter of its own. U-Boot's in-tree copies had both taken out and include
  <asm/arch/ps7_init_gpl.h> instead, *whose opcodes are encoded differently*. So the pair is used
  as it is, side by side in one directory: swapping the #include alone would give an SPL that
  compiles and then executes nonsense. U-Boot keeps an empty xil_io.h for Vivado's other #include,
  and its own `ps7_config` is weak, so that Vivado's replaces it.

`read_source` reads the table out of either kind of C file, so that an export can be checked and
shown like a table. See arch/arm/mach-zynq/ps7_spl_init.c of U-Boot 2023.01 for the interpreter.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, TypeAlias

from builder.errors import UserError
from builder.spec.document import Document, Problem, ProblemsError, read
from builder.spec.reader import closest

Kind: TypeAlias = Literal["write", "maskwrite", "maskpoll", "maskdelay"]

SECTIONS: Final = ("mio", "pll", "clock", "ddr", "peripherals", "post_config")
"""In the order in which they run; post_config runs last of all, as SPL jumps to U-Boot."""

OPERANDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "write": ("address", "value"),
    "maskwrite": ("address", "mask", "value"),
    "maskpoll": ("address", "mask"),
    "maskdelay": ("address", "delay"),
}
"""What each kind of operation takes. The delay is in milliseconds (see `Operation`)."""

_WORD = 0xFFFFFFFF
_GLOBAL_TIMER = 0xF8F00200
# Vivado's names of the tables, for the production silicon (version 3); a file also has tables for
# the two engineering versions, which no board that can be bought carries.
_C_NAMES: Final = {
    "mio": "ps7_mio_init_data_3_0",
    "pll": "ps7_pll_init_data_3_0",
    "clock": "ps7_clock_init_data_3_0",
    "ddr": "ps7_ddr_init_data_3_0",
    "peripherals": "ps7_peripherals_init_data_3_0",
    "post_config": "ps7_post_config_3_0",
}
_SOURCE_FILES: Final = ("ps7_init_gpl.c", "ps7_init_gpl.h")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One step of the table.

    `operands` stand as in OPERANDS. A maskpoll waits until one of the masked bits is 1. A
    maskdelay starts the global timer at `address` and waits; its operand is milliseconds (Vivado's
    documents say ticks, the interpreters of both Vivado and U-Boot multiply it by half the CPU
    clock / 1000).
    """

    kind: Kind
    operands: tuple[int, ...]

    @property
    def address(self) -> int:
        """The register's address."""
        return self.operands[0]


@dataclass(frozen=True, kw_only=True)
class StartupTable:
    """All register operations that bring the processing system up."""

    origin: str
    sections: Mapping[str, tuple[Operation, ...]]

    def operations(self) -> Iterable[Operation]:
        """Yield all operations in the order of execution."""
        for section in SECTIONS:
            yield from self.sections[section]

    def registers(self) -> dict[int, tuple[int, int]]:
        """Return what the table leaves in each register: address -> (value, bits that it set).

        Bits that no operation touches keep their reset value, which is not known here.
        """
        state: dict[int, tuple[int, int]] = {}
        for operation in self.operations():
            if operation.kind == "write":
                state[operation.address] = (operation.operands[1], _WORD)
            elif operation.kind == "maskwrite":
                address, mask, value = operation.operands
                old, known = state.get(address, (0, 0))
                state[address] = ((old & ~mask) | (value & mask), known | mask)
        return state


def read_table(path: Path) -> StartupTable:
    """Read a start-up table from YAML.

    The file maps each name in SECTIONS to a list of single-key mappings, for example
    `{maskwrite: [0xF8000100, 0x0007F000, 0x0001A000]}`.

    Raises:
        UserError: the file is missing, is not YAML, or has wrong entries; names all of them.
    """
    try:
        document = read(path)
    except ProblemsError as error:
        raise _unusable(path, error.problems) from error
    problems: list[Problem] = [
        document.problem((), f"the section {section} is missing")
        for section in SECTIONS
        if section not in document.data
    ]
    sections: dict[str, tuple[Operation, ...]] = {}
    for section, entries in document.data.items():
        if section not in SECTIONS:
            what = f"is not a section; there are {', '.join(SECTIONS)}"
            problems.append(document.problem((section,), what))
        elif not isinstance(entries, list):
            problems.append(document.problem((section,), "must be a list of operations"))
        else:
            found = [_operation(document, section, index) for index in range(len(entries))]
            problems += [each for each in found if isinstance(each, Problem)]
            sections[section] = tuple(each for each in found if isinstance(each, Operation))
    if problems:
        raise _unusable(path, problems)
    return StartupTable(origin=path.name, sections=sections)


def _operation(document: Document, section: str, index: int) -> Operation | Problem:
    where = (section, index)
    entry: Any = document.data[section][index]
    if not isinstance(entry, dict) or len(entry) != 1:
        return document.problem(where, "must be one operation, such as {write: [address, value]}")
    (kind, operands), *_ = entry.items()
    if kind not in OPERANDS:
        return document.problem(where, f"{kind} is not one of {', '.join(OPERANDS)}")
    names = OPERANDS[kind]
    # bool is an int to Python; `true` in a table is a mistake all the same.
    if (
        not isinstance(operands, list)
        or len(operands) != len(names)
        or not all(isinstance(each, int) and not isinstance(each, bool) for each in operands)
    ):
        return document.problem(where, f"{kind} takes the numbers [{', '.join(names)}]")
    wrong = _wrong(kind, operands)
    if wrong:
        return document.problem(where, wrong)
    return Operation(kind=kind, operands=tuple(operands))


def _wrong(kind: Kind, operands: list[int]) -> str | None:
    """Return what is wrong with an operation's numbers."""
    for name, number in zip(OPERANDS[kind], operands, strict=True):
        if not 0 <= number <= _WORD:
            return f"{name} {number:#x} is not a 32-bit number"
    address = operands[0]
    if address % 4:
        return f"address {address:#010x} is not a multiple of 4"
    if kind in {"maskwrite", "maskpoll"} and operands[1] == 0:
        return "the mask is 0: it can have no effect"
    if kind == "maskwrite" and operands[2] & ~operands[1]:
        return f"value {operands[2]:#010x} has bits outside its mask {operands[1]:#010x}"
    if kind == "maskdelay" and address != _GLOBAL_TIMER:
        return f"a delay is measured by the global timer, {_GLOBAL_TIMER:#010x}"
    return None


def _unusable(path: Path, problems: Iterable[Problem]) -> UserError:
    lines = [str(problem) for problem in problems]
    return UserError(
        f"the start-up table {path} cannot be used",
        hint="boards/Pynq-Z2/ps7 has a table that can be compared with it",
        details=lines,
    )


def render(table: StartupTable) -> str:
    """Return the C file for CONFIG_XILINX_PS_INIT_FILE of U-Boot 2023.01.

    The text depends on the table alone, so that builds can be repeated.
    """
    parts = [_C_HEAD.format(origin=table.origin)]
    for section in SECTIONS:
        lines = [f"static unsigned long {section}_data[] = {{"]
        for operation in table.sections[section]:
            numbers = ", ".join(f"{each:#010x}" for each in operation.operands)
            if operation.kind == "maskdelay":
                numbers = f"{operation.address:#010x}, {operation.operands[1]}"
            lines.append(f"\tEMIT_{operation.kind.upper()}({numbers}),")
        lines += ["\tEMIT_EXIT(),", "};", ""]
        parts.append("\n".join(lines))
    parts.append(_C_TAIL)
    return "\n".join(parts)


def extract(xsa: Path, directory: Path) -> Path:
    """Take `ps7_init_gpl.c` and `.h` out of a hardware export, unchanged, into a directory.

    Returns:
        The path of the .c file, for CONFIG_XILINX_PS_INIT_FILE. The header must stay beside it.

    Raises:
        UserError: it is no hardware export, or one for another SoC, or of a design in which the
            processing system is not there.
    """
    try:
        with zipfile.ZipFile(xsa) as archive:
            # The files are at the top; tools that repack exports have put them into a directory.
            members = {PurePosixPath(name).name: name for name in sorted(archive.namelist())}
            contents = {
                name: archive.read(members[name]) for name in _SOURCE_FILES if name in members
            }
    except FileNotFoundError as error:
        raise UserError(f"there is no hardware export {xsa}") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{xsa} is not a hardware export: {error}",
            hint="Vivado writes one with File > Export > Export Hardware, or write_hw_platform",
        ) from error
    missing = [name for name in _SOURCE_FILES if name not in contents]
    if missing:
        if "psu_init_gpl.c" in members:
            hint = "it is a ZynqMP export (psu_init_gpl.c): check the board's `soc`"
        else:
            hint = "export the hardware again from a block design that has the processing system"
        raise UserError(f"{xsa} has no {' and no '.join(missing)}", hint=hint)
    if b"ps7_config" not in contents["ps7_init_gpl.c"]:
        raise UserError(
            f"{xsa}: ps7_init_gpl.c has no ps7_config()",
            hint="it is not what Vivado wrote; U-Boot's own interpreter cannot run its tables",
        )
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    return directory / "ps7_init_gpl.c"


def shipped(sources: Path, board: str) -> Path:
    """Return the `ps7_init_gpl.c` that U-Boot's sources have for one of their boards.

    Raises:
        UserError: they have none under this name.
    """
    tables = {path.parent.name: path for path in sources.glob("board/xilinx/zynq/*/ps7_init_gpl.c")}
    if board not in tables:
        raise UserError(f"this U-Boot has no start-up table {board}{closest(board, tables)}")
    return tables[board]


def read_source(text: str, *, origin: str) -> StartupTable:
    """Read the start-up table out of a `ps7_init_gpl.c`, Vivado's or one of U-Boot's.

    Raises:
        UserError: a table for production silicon is missing, or holds a macro unknown here.
    """
    bare = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    sections: dict[str, tuple[Operation, ...]] = {}
    for section, name in _C_NAMES.items():
        body = re.search(rf"\b{name}\s*\[\s*\]\s*=\s*\{{(.*?)\}}\s*;", bare, flags=re.DOTALL)
        if body is None:
            raise UserError(f"{origin} has no table {name}")
        operations = []
        for macro, arguments in re.findall(r"EMIT_(\w+)\s*\(([^)]*)\)", body[1]):
            kind = macro.lower()
            if kind == "exit":
                break
            if kind not in OPERANDS:
                raise UserError(f"{origin}: {name}: EMIT_{macro} is not known")
            numbers = [int(each.strip().rstrip("uUlL"), 0) for each in arguments.split(",")]
            if len(numbers) != len(OPERANDS[kind]):
                raise UserError(f"{origin}: {name}: EMIT_{macro}({arguments}) is not complete")
            operations.append(Operation(kind=kind, operands=tuple(numbers)))
        sections[section] = tuple(operations)
    return StartupTable(origin=origin, sections=sections)


_C_HEAD = """\
// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Processing-system start-up of a Zynq-7000, for U-Boot SPL.
 * Generated from {origin}: change that file, not this one.
 */

#include <asm/arch/ps7_init_gpl.h>
"""

_C_TAIL = """\
int ps7_init(void)
{
	unsigned long *const tables[] = {
		mio_data, pll_data, clock_data, ddr_data, peripherals_data,
	};
	unsigned int i;
	int ret;

	for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		ret = ps7_config(tables[i]);
		if (ret != PS7_INIT_SUCCESS)
			return ret;
	}

	return PS7_INIT_SUCCESS;
}

int ps7_post_config(void)
{
	return ps7_config(post_config_data);
}
"""
