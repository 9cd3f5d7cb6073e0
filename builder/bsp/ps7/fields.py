# SPDX-License-Identifier: MIT
"""Register fields of a start-up table and their expected values.

The rules of the modules `clocks`, `mio`, `ddr` and `lanes` turn parameters (PCW_...) into
`Expectation`s. An expectation has the allowed values of a field and the parameter that determines
them. `Registers.differences` lists those that a table does not meet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from itertools import islice
from typing import Final

from builder.bsp.ps7.table import Operation, StartupTable

# Vivado's values of parameters that are not in use.
_UNUSED: Final = frozenset({"", "<Select>", "NA", "unassigned"})
_ON: Final = "1"
_NUMBER: Final = re.compile(
    r"[+-]?([0-9]{1,12}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,2})?"
)
_LONGEST_PINS: Final = 200


@dataclass(frozen=True, kw_only=True)
class Field:
    """A bit field of a register, `width` bits from bit `low` on."""

    register: int
    low: int = 0
    width: int = 32

    @property
    def mask(self) -> int:
        """Bits of the field in the register."""
        return ((1 << self.width) - 1) << self.low

    def __str__(self) -> str:
        high = self.low + self.width - 1
        bits = f"bits {high}:{self.low}" if self.width > 1 else f"bit {self.low}"
        return f"{self.register:#010x} {bits}"


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """Expected value of a register field.

    what: name of the setting, such as "DDR t_rc".
    parameter: name of the parameter that determines the value.
    says: the parameter's value.
    field: the register field.
    values: the allowed values.
    needed: whether the table has to write the field.
    final: whether only the last written value counts, for fields that start-up writes repeatedly.
    meanings: names of the field's values, for messages.
    """

    what: str
    parameter: str
    says: str
    field: Field
    values: frozenset[int]
    needed: bool = True
    final: bool = False
    meanings: Mapping[int, str] = dataclass_field(default_factory=dict)

    def difference(self, found: int | None) -> Mismatch | None:
        """Return the mismatch if a field's value, None if not written, is not an expected one."""
        if found in self.values or (found is None and not self.needed):
            return None
        wanted = " or ".join(map(_shown, sorted(self.values)))
        meaning = self.meanings.get(-1 if found is None else found)
        return Mismatch(
            what=self.what,
            parameter=self.parameter,
            parameters=f"{self.says}, which is {wanted} in {self.field}",
            table="does not set it"
            if found is None
            else f"has {_shown(found)}{f', which is {meaning}' if meaning else ''}",
        )


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """Contradiction between a table and a parameter.

    what: name of the setting.
    parameter: name of the parameter.
    parameters: setting according to the parameter.
    table: what the table does instead, as a verb with its object.
    """

    what: str
    parameter: str
    parameters: str
    table: str

    def __str__(self) -> str:
        return f"{self.what}: {self.parameter} says {self.parameters}, but the table {self.table}"


def _shown(value: int) -> str:
    return str(value) if value < 10 else f"{value} ({value:#x})"


class Registers:
    """Register contents after a start-up table has run, and the operations that wrote them."""

    def __init__(self, table: StartupTable) -> None:
        self.operations: list[Operation] = list(table.operations())
        self._state = table.registers()
        self._writes: dict[int, list[tuple[int, int]]] = {}
        for operation in self.operations:
            if operation.kind in {"write", "maskwrite"}:
                mask = operation.operands[1] if operation.kind == "maskwrite" else 0xFFFFFFFF
                self._writes.setdefault(operation.address, []).append(
                    (mask, operation.operands[-1])
                )

    def field(self, field: Field) -> int | None:
        """Return a field's final value; None if the table does not write all of its bits."""
        value, known = self._state.get(field.register, (0, 0))
        wanted = field.mask
        return (value & wanted) >> field.low if known & wanted == wanted else None

    def written(self, field: Field) -> list[int | None]:
        """Return the values of a field in all operations that write the whole field."""
        wanted = field.mask
        return [
            (value & wanted) >> field.low
            for mask, value in self._writes.get(field.register, ())
            if mask & wanted == wanted
        ]

    def differences(self, expectations: Iterable[Expectation]) -> Iterator[Mismatch]:
        """Yield the expectations that the table does not meet."""
        for expectation in expectations:
            found = self.written(expectation.field)
            if expectation.final or not found:
                found = [self.field(expectation.field)]
            yield from islice(filter(None, map(expectation.difference, found)), 1)


class Parameters:
    """Vivado's parameters of one design. Parameters that are absent or not in use have no value."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str) -> str | None:
        """Return a parameter's value; None if it is absent, `<Select>` or `NA`."""
        value = self._values.get(name, "").strip()
        return None if value in _UNUSED else value

    def number(self, name: str) -> float | None:
        """Return a parameter as a number; None if it is not in use or negative (Vivado's -1).

        Raises:
            ValueError: it is not a number.
        """
        value = self.signed(name)
        return None if value is None or value < 0 else value

    def signed(self, name: str) -> float | None:
        """Return a parameter as a number that may be negative; None if it is not in use.

        Raises:
            ValueError: it is not a number. The message names the parameter.
        """
        text = self.text(name)
        if text is None:
            return None
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"{name}: {text[:80]}")
        return float(text)

    def integer(self, name: str) -> int | None:
        """Return a parameter as a whole number; None if it is not in use, negative, or broken."""
        value = self.number(name)
        return int(value) if value is not None and value == int(value) else None

    def on(self, name: str) -> bool:
        """Return whether a parameter is on."""
        return self.text(name) == _ON

    def off(self, name: str) -> bool:
        """Return whether a parameter is present and not on."""
        return name in self._values and not self.on(name)

    def over(self, defaults: Mapping[str, str]) -> Parameters:
        """Return the parameters, with defaults for those that are absent."""
        return Parameters({**defaults, **self._values})

    def pins(self, name: str) -> list[int]:
        """Return the MIO pins that a parameter names; none for EMIO and other values."""
        return pins(self.text(name) or "")


def pins(text: str) -> list[int]:
    """Return the pins of "MIO 9", "MIO 16 .. 27" or, of NAND flash, "MIO 0 2.. 14"."""
    found = re.fullmatch(r"MIO((?: ?[0-9]{1,3}(?: ?\.\. ?[0-9]{1,3})?)+)", text[:_LONGEST_PINS])
    if found is None:
        return []
    return [
        pin
        for first, last in re.findall(r"(\d+)(?: ?\.\. ?(\d+))?", found[1])
        for pin in range(int(first), int(last or first) + 1)
    ]
