# SPDX-License-Identifier: MIT
"""The start-up table of a Zynq-7000 processing system, as data.

On Zynq-7000 the start-up is a list of register writes, which Vivado generates from the board's
parameters; SPL runs it as `ps7_init()`. A board can have the list as a YAML table (`read_table`),
which `render` converts to the C file that U-Boot compiles (see `builder.bsp.start_up` for that, and
for hardware exports). `read_source` reads the table from such a C file, of Vivado or of U-Boot, so
that it can be checked like a board's own. See arch/arm/mach-zynq/ps7_spl_init.c of U-Boot 2023.01
for the interpreter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from builder.errors import UserError
from builder.spec.document import Document, Problem, ProblemsError, read

Kind: TypeAlias = Literal["write", "maskwrite", "maskpoll", "maskdelay"]

SECTIONS: Final = ("mio", "pll", "clock", "ddr", "peripherals", "post_config")
"""In the order of execution; post_config runs last, before SPL jumps to U-Boot."""

OPERANDS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "write": ("address", "value"),
    "maskwrite": ("address", "mask", "value"),
    "maskpoll": ("address", "mask"),
    "maskdelay": ("address", "delay"),
}
"""Operands of each kind of operation. The delay is in milliseconds (see `Operation`)."""

_WORD = 0xFFFFFFFF
_GLOBAL_TIMER = 0xF8F00200
_C_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,18})[uUlL]*")
# Vivado's names of the tables for production silicon (version 3). A file also has tables for the
# two engineering versions, which no commercial board has.
_C_NAMES: Final = {
    "mio": "ps7_mio_init_data_3_0",
    "pll": "ps7_pll_init_data_3_0",
    "clock": "ps7_clock_init_data_3_0",
    "ddr": "ps7_ddr_init_data_3_0",
    "peripherals": "ps7_peripherals_init_data_3_0",
    "post_config": "ps7_post_config_3_0",
}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation of the table.

    `operands` are in the order of OPERANDS. A maskpoll waits until one of the masked bits is 1. A
    maskdelay starts the global timer at `address` and waits; its operand is in milliseconds
    (Vivado's documents say ticks, but the interpreters of both Vivado and U-Boot multiply it by
    half the CPU clock / 1000).
    """

    kind: Kind
    operands: tuple[int, ...]

    @property
    def address(self) -> int:
        """The register's address."""
        return self.operands[0]


@dataclass(frozen=True, kw_only=True)
class StartupTable:
    """All register operations that initialize the processing system."""

    origin: str
    sections: Mapping[str, tuple[Operation, ...]]

    def operations(self) -> Iterable[Operation]:
        """Yield all operations in the order of execution."""
        for section in SECTIONS:
            yield from self.sections[section]

    def registers(self) -> dict[int, tuple[int, int]]:
        """Return the final contents of the registers: address -> (value, mask of written bits).

        Bits that no operation writes keep their reset value, which is unknown.
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
        UserError: the file is missing, is not YAML, or has wrong entries; its details are all of
            them.
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
            what = f"is not a section; the sections are {', '.join(SECTIONS)}"
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
    # bool is a subclass of int, but `true` in a table is a mistake.
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
    """Return the fault of an operation's operands; None if there is none."""
    for name, number in zip(OPERANDS[kind], operands, strict=True):
        if not 0 <= number <= _WORD:
            return f"{name} {number:#x} is not a 32-bit number"
    address = operands[0]
    if address % 4:
        return f"address {address:#010x} is not a multiple of 4"
    if kind in {"maskwrite", "maskpoll"} and operands[1] == 0:
        return "the mask is 0: the operation has no effect"
    if kind == "maskwrite" and operands[2] & ~operands[1]:
        return f"value {operands[2]:#010x} has bits outside its mask {operands[1]:#010x}"
    if kind == "maskdelay" and address != _GLOBAL_TIMER:
        return f"the address of a delay must be that of the global timer, {_GLOBAL_TIMER:#010x}"
    return None


def _unusable(path: Path, problems: Iterable[Problem]) -> UserError:
    lines = [str(problem) for problem in problems]
    return UserError(
        f"the start-up table {path} cannot be used",
        hint="see boards/Pynq-Z2/ps7 for a valid table",
        details=lines,
    )


def render(table: StartupTable) -> str:
    """Return the C file for CONFIG_XILINX_PS_INIT_FILE of U-Boot 2023.01.

    The text depends only on the table, so that builds are reproducible.
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


def read_source(text: str, *, origin: str) -> StartupTable:
    """Read the start-up table from a `ps7_init_gpl.c` of Vivado or U-Boot.

    Raises:
        UserError: a table for production silicon is missing, or contains an unknown macro.
    """
    # `\Z`: an unterminated comment extends to the end of the text, otherwise the search would take
    # quadratic time.
    bare = re.sub(r"/\*.*?(?:\*/|\Z)|//[^\n]*", "", text, flags=re.DOTALL)
    sections: dict[str, tuple[Operation, ...]] = {}
    for section, name in _C_NAMES.items():
        body = re.search(rf"\b{name}\s*\[\s*\]\s*=\s*\{{([^{{}}]*)\}}\s*;", bare)
        if body is None:
            raise UserError(f"{origin} has no table {name}")
        operations = []
        for macro, arguments in re.findall(r"EMIT_(\w{1,20})\s*\(([^()]*)\)", body[1]):
            kind = macro.lower()
            if kind == "exit":
                break
            if kind not in OPERANDS:
                raise UserError(f"{origin}: {name}: the macro EMIT_{macro} is unknown")
            words = [_C_NUMBER.fullmatch(each.strip()) for each in arguments.split(",")]
            if len(words) != len(OPERANDS[kind]) or not all(words):
                raise UserError(
                    f"{origin}: {name}: EMIT_{macro}({arguments[:80]}) does not have "
                    f"{len(OPERANDS[kind])} numbers"
                )
            numbers = [int(word[1], 0) & _WORD for word in words if word]
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
