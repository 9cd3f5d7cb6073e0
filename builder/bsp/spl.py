# SPDX-License-Identifier: MIT
"""Checks of U-Boot's SPL that need no board: where it is linked, and how it accesses memory.

A compiler reads a word at an odd address by one instruction if it may assume that the processor
allows that. SPL's does not: on 32-bit ARM, U-Boot's start code switches alignment checks on (bit A of
SCTLR, arch/arm/cpu/armv7/start.S), and on 64-bit ARM all memory is Device memory while the MMU is
off, which must be accessed aligned (Arm's DDI 0487).

On 32-bit ARM the linker notes in the ELF file whether any object of the program may make such
accesses: the attribute Tag_CPU_unaligned_access (Arm's IHI 0045). AArch64 has no such attribute. There
GCC's options are read, which it notes in the debugging information of each source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from builder.errors import StepError
from builder.formats.boot_bin import BootHeader

DESCRIBE: Final = ("readelf", "--wide", "--file-header", "--segments", "--arch-specific")
"""The command whose output `read_spl` reads; the ELF file comes after it."""

SOURCES: Final = ("readelf", "--wide", "--debug-dump=info", "--dwarf-depth=1")
"""The command whose output `check_sources` reads."""

_STRICT = "-mstrict-align"
_SHOWN = 5
_ENTRY = re.compile(r"^ +Entry point address: +(0x[0-9a-f]+)$", re.MULTILINE)
_SEGMENT = re.compile(r"^ +LOAD +0x\w+ +0x\w+ +(0x\w+) +(0x\w+) ", re.MULTILINE)
_ARM = re.compile(r"^ +Tag_CPU_arch: ", re.MULTILINE)
_UNALIGNED = re.compile(r"^ +Tag_CPU_unaligned_access: ", re.MULTILINE)
_PRODUCER = re.compile(r" DW_AT_producer .*?: (GNU C.*)$", re.MULTILINE)
_NAME = re.compile(r" DW_AT_name .*: (\S+)$", re.MULTILINE)
_STOPS = (
    "the board would stop with a data abort, most likely before SPL's first line on the console"
)


@dataclass(frozen=True, kw_only=True)
class Spl:
    """Facts out of the ELF file of an SPL; `unaligned` is None where it does not say (AArch64).

    start: address of the first byte of the segment that it is started in.
    """

    entry: int
    start: int
    unaligned: bool | None


def read_spl(described: str) -> Spl:
    """Read what DESCRIBE prints of an ELF file.

    Raises:
        StepError: it is no program.
    """
    entry = _ENTRY.search(described)
    # Another segment may hold nothing but the ELF file's own headers, at an address of no meaning.
    start = next(
        (
            int(at, 16)
            for at, size in _SEGMENT.findall(described)
            if entry and int(at, 16) <= int(entry[1], 16) < int(at, 16) + int(size, 16)
        ),
        None,
    )
    if entry is None or start is None:
        raise StepError(
            "U-Boot's build gave no SPL that can be loaded", details=described.splitlines()
        )
    return Spl(
        entry=int(entry[1], 16),
        start=start,
        unaligned=bool(_UNALIGNED.search(described)) if _ARM.search(described) else None,
    )


def check_spl(spl: Spl, header: BootHeader) -> None:
    """Compare an SPL with the BootROM header that was made for it.

    Raises:
        StepError: the BootROM would put it to another address than it was linked for, or start it
            elsewhere; or it may make unaligned accesses.
    """
    for what, linked, given in (
        ("loads it to", spl.start, header.load_address),
        ("starts it at", spl.entry, header.entry),
    ):
        if linked != given:
            raise StepError(
                f"SPL is linked for {linked:#010x}, but the BootROM {what} {given:#010x}: the board "
                "would print nothing",
                hint="CONFIG_SPL_TEXT_BASE must be what U-Boot's defconfig for the family has; look "
                "for it in the fragments of U-Boot's configuration, below petalinux_bsp/",
            )
    if spl.unaligned:
        raise StepError(
            f"SPL may make unaligned memory accesses (its ELF file has Tag_CPU_unaligned_access): "
            f"{_STOPS}",
            hint="some object was not compiled with -mno-unaligned-access: look at "
            "arch/arm/cpu/armv7/config.mk of the U-Boot that is built",
        )


def check_sources(described: str) -> None:
    """Make sure that GCC made no unaligned accesses for any C source of a 64-bit SPL.

    `described` is what SOURCES prints.

    Raises:
        StepError: it may have, or there is no debugging information to know it from.
    """
    units = [
        (producer[1], name[1] if name else "?")
        for unit in described.split("(DW_TAG_compile_unit)")
        if (producer := _PRODUCER.search(unit))
        for name in [_NAME.search(unit)]
    ]
    if not units:
        raise StepError(
            "how SPL was compiled cannot be seen: its ELF file names no C source",
            hint="U-Boot's Makefile compiles with -g; see builder/bsp/spl.py for what is read",
        )
    wrong = sorted(name for producer, name in units if _STRICT not in producer.split())
    if wrong:
        raise StepError(
            f"SPL may make unaligned memory accesses ({len(wrong)} of {len(units)} C sources were "
            f"compiled without {_STRICT}): {_STOPS}",
            hint="look at arch/arm/cpu/armv8/config.mk of the U-Boot that is built",
            details=wrong[:_SHOWN],
        )
