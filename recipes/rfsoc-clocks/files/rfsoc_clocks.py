#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Programs the clock chips in front of an RFSoC's data converters from register tables.

On the ZCU111 an LMK04208 makes a clean reference, and three LMX2594 make the clocks of the
converters from it. Both forget everything when the power goes, and neither has a driver in the
kernel. Which SPI devices they are comes from the device tree; each is reached through spidev.

The tables are exports of TI's TICS Pro ("hex register values"): a line a register, its name and its
value. They are looked for by the names `LMK04208_<MHz>.txt` and `LMX2594_<MHz>.txt`. The frequency
in the name is a name: what the chip makes is what the table says.

That a chip was written to does not say that its PLL has locked: the SPI bus of the ZCU111 is not
read back here. None of this has run on hardware yet.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ClocksError", "set_all_ref_clks", "set_ref_clks"]

TABLES = Path("/etc/rfsoc-clocks")
SPI = Path("/sys/bus/spi")
DEVICES = Path("/dev")

# The LMX2594 calibrate their oscillators against what the LMK04208 gives them: its PLLs have to be
# steady by then.
SETTLE = 0.1

_LINE = re.compile(r"R(\d+)(\s*\(INIT\))?\s+0x([0-9A-Fa-f]+)\b", re.IGNORECASE)

_LMK_RESET = 1 << 17  # of R0
_LMX_RESET = 1 << 1  # of R0
_LMX_FCAL_EN = 1 << 3  # of R0: a write starts the calibration of the oscillator


class ClocksError(RuntimeError):
    """The clocks cannot be set; the message says what to do."""


@dataclass(frozen=True)
class Write:
    """A word for a chip, and how long to wait after it, in seconds."""

    word: bytes
    pause: float = 0


@dataclass(frozen=True)
class Table:
    """The registers of one chip by number, as exported; `reset` is R0 as it comes first, if it does."""

    registers: dict[int, int]
    reset: int | None = None


@dataclass(frozen=True)
class Chip:
    """A kind of clock chip: its name, where its words keep their address, its order of writes."""

    name: str
    size: int
    address: Callable[[int], int]
    complete: Callable[[set[int]], bool]
    writes: Callable[[Table], list[Write]]

    @property
    def compatible(self) -> str:
        """What the device tree calls it."""
        return f"ti,{self.name.lower()}"


def _lmk04208_writes(table: Table) -> list[Write]:
    """Reset the chip, then write all registers upwards: R31 has to be the last one."""
    words = [(table.registers[0] if table.reset is None else table.reset) | _LMK_RESET]
    words += [table.registers[number] for number in sorted(table.registers)]
    return [Write(word.to_bytes(4, "big")) for word in words]


def _lmx2594_writes(table: Table) -> list[Write]:
    """Reset the chip, write all registers downwards, then start the calibration once more.

    R0, the last one, starts it as well. Its result is good only if it is started again once all is
    written and the supplies inside of the chip are up, after 10 ms.
    """
    idle = table.registers[0] & ~(_LMX_RESET | _LMX_FCAL_EN)
    words = [idle | _LMX_RESET, idle]
    words += [table.registers[number] for number in sorted(table.registers, reverse=True)]
    writes = [Write(word.to_bytes(3, "big")) for word in words]
    writes[-1] = Write(writes[-1].word, pause=0.01)
    return [*writes, Write((table.registers[0] | _LMX_FCAL_EN).to_bytes(3, "big"))]


LMK04208 = Chip(
    name="LMK04208",
    size=4,
    address=lambda word: word & 0x1F,
    complete=lambda numbers: numbers == {*range(17), *range(24, 32)},
    writes=_lmk04208_writes,
)
LMX2594 = Chip(
    name="LMX2594",
    size=3,
    address=lambda word: word >> 16,
    # Some exports leave out the uppermost, which are for ramps and for reading alone.
    complete=lambda numbers: numbers == set(range(len(numbers))) and 79 <= len(numbers) <= 113,
    writes=_lmx2594_writes,
)


def read_table(path: Path, chip: Chip) -> Table:
    """Read a TICS Pro export, and refuse what is cut short or is another chip's.

    Raises:
        ClocksError: with the line.
    """
    registers: dict[int, int] = {}
    reset = None
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.match(text)
        if not match:
            raise ClocksError(f"{path}:{number}: not a line of a TICS Pro export: {text[:40]}")
        register, value = int(match[1]), int(match[3], 16)
        if value >> (8 * chip.size) or chip.address(value) != register:
            raise ClocksError(
                f"{path}:{number}: {match[3]} is no value for R{register} of {chip.name}"
            )
        if match[2] and register == 0:
            reset = value
            continue
        if register in registers:
            raise ClocksError(f"{path}:{number}: R{register} is there twice")
        registers[register] = value
    if not chip.complete(set(registers)):
        raise ClocksError(
            f"{path}: has {len(registers)} registers, which are not all of {chip.name}"
        )
    if registers[0] & (_LMK_RESET if chip is LMK04208 else _LMX_RESET):
        raise ClocksError(f"{path}: R0 would leave the chip in reset")
    return Table(registers, reset)


def tables(chip: Chip, folder: Path = TABLES) -> dict[float, Path]:
    """Return the tables there are for a chip, by the frequency in MHz in their names."""
    found: dict[float, Path] = {}
    pattern = re.compile(rf"{chip.name}_(\d+(?:\.\d+)?)\.txt", re.IGNORECASE)
    for path in sorted(folder.glob("*")):
        match = pattern.fullmatch(path.name)
        if match:
            frequency = float(match[1])
            if frequency in found:
                raise ClocksError(f"{found[frequency]} and {path} are for the same frequency")
            found[frequency] = path
    return found


def choose(chip: Chip, frequency: float, folder: Path = TABLES) -> Table:
    """Return the table of a chip for a frequency in MHz.

    Raises:
        ClocksError: there is none; the message says which file to supply.
    """
    known = tables(chip, folder)
    if frequency not in known:
        there = ", ".join(f"{each:g}" for each in sorted(known)) or "none"
        raise ClocksError(
            f"there is no table of registers for {chip.name} at {frequency:g} MHz: export one with "
            f'TI\'s TICS Pro ("hex register values") as {folder}/{chip.name}_{frequency:g}.txt '
            f"(there are, in MHz: {there})"
        )
    return read_table(known[frequency], chip)


def devices(chip: Chip) -> list[Path]:
    """Return the SPI devices that the device tree calls by a chip's name, in a fixed order."""
    return sorted(
        device for device in (SPI / "devices").glob("*") if chip.compatible in _compatible(device)
    )


def _compatible(device: Path) -> list[str]:
    try:
        return (device / "of_node" / "compatible").read_bytes().decode().split("\0")
    except FileNotFoundError:
        return []


def _write(path: Path, text: str) -> None:
    """Write to a file of sysfs."""
    path.write_text(text)


def bind(device: Path) -> Path:
    """Give an SPI device to spidev and return its file in /dev.

    spidev takes nothing by itself that the kernel does not know to be without a driver: it is told
    to by driver_override.
    """
    driver = SPI / "drivers" / "spidev"
    if not driver.is_dir():
        raise ClocksError("the kernel has no spidev: it needs CONFIG_SPI_SPIDEV=y")
    if (device / "driver").resolve().name != driver.name:
        if (device / "driver").exists():
            _write(device / "driver" / "unbind", device.name)
        _write(device / "driver_override", "spidev")
        _write(driver / "bind", device.name)
    nodes = sorted((device / "spidev").glob("spidev*"))
    if not nodes:
        raise ClocksError(f"spidev did not take {device.name}: see dmesg")
    return DEVICES / nodes[0].name


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def program(path: Path, writes: Sequence[Write]) -> None:
    """Send words to a chip: each is one transfer, for its end is what latches the word."""
    file = _open(path)
    try:
        for each in writes:
            if os.write(file, each.word) != len(each.word):
                raise ClocksError(f"{path}: a word was not sent as a whole")
            if each.pause:
                time.sleep(each.pause)
    finally:
        os.close(file)


def set_ref_clks(
    lmk_freq: float = 122.88, lmx_freq: float = 409.6, folder: Path | str = TABLES
) -> None:
    """Set the reference clocks of all data converters; frequencies in MHz choose the tables.

    Nothing is sent before all tables are read and all chips are found.

    Raises:
        ClocksError: a table is missing or wrong, or a chip is not there.
    """
    plan = []
    for chip, frequency in ((LMK04208, lmk_freq), (LMX2594, lmx_freq)):
        writes = chip.writes(choose(chip, float(frequency), Path(folder)))
        found = devices(chip)
        if not found:
            raise ClocksError(
                f"the device tree has no SPI device {chip.compatible}, or the bridge that leads "
                "to it did not come up: see dmesg"
            )
        plan.append((found, writes))
    try:
        # The LMX2594 are fed by the LMK04208.
        for index, (found, writes) in enumerate(plan):
            if index:
                time.sleep(SETTLE)
            for device in found:
                program(bind(device), writes)
    except PermissionError as error:
        raise ClocksError(f"{error.filename}: only root may set the clocks") from error
    except OSError as error:
        raise ClocksError(f"a clock chip cannot be written to: {error}") from error


def set_all_ref_clks(freq: float) -> None:
    """Set the clocks of all data converters to a frequency in MHz, from 122.88 MHz."""
    set_ref_clks(lmx_freq=freq)


def _status(folder: Path) -> Iterator[str]:
    for chip in (LMK04208, LMX2594):
        names = ", ".join(device.name for device in devices(chip)) or "none"
        yield f"{chip.name}: SPI devices: {names}"
        known = tables(chip, folder)
        for frequency, path in sorted(known.items()):
            read_table(path, chip)
            yield f"{chip.name}: {frequency:g} MHz: {path}"
        if not known:
            yield f"{chip.name}: no table in {folder}"


def _dry_run(arguments: argparse.Namespace) -> Iterator[str]:
    for chip, frequency in ((LMK04208, arguments.lmk), (LMX2594, arguments.lmx)):
        for each in chip.writes(choose(chip, frequency, arguments.tables)):
            pause = f", then {each.pause * 1000:g} ms" if each.pause else ""
            yield f"{chip.name} {each.word.hex()}{pause}"


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="rfsoc-clocks", description="Sets the clocks of an RFSoC's data converters."
    )
    parser.add_argument("--tables", type=Path, default=TABLES, metavar="DIRECTORY")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show the chips that there are, and the tables for them")
    setter = commands.add_parser("set", help="program the chips")
    setter.add_argument("--lmk", type=float, default=122.88, metavar="MHZ")
    setter.add_argument("--lmx", type=float, default=409.6, metavar="MHZ")
    setter.add_argument("--dry-run", action="store_true", help="show what would be sent")
    arguments = parser.parse_args(words)
    try:
        if arguments.command == "list":
            lines = list(_status(arguments.tables))
        elif arguments.dry_run:
            lines = list(_dry_run(arguments))
        else:
            set_ref_clks(arguments.lmk, arguments.lmx, arguments.tables)
            lines = [
                f"LMK04208 at {arguments.lmk:g} MHz, LMX2594 at {arguments.lmx:g} MHz: written"
            ]
    except ClocksError as error:
        sys.stderr.write(f"rfsoc-clocks: {error}\n")
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
