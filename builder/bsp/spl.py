# SPDX-License-Identifier: MIT
"""Checks of U-Boot's SPL that need no board: its link address and its memory accesses.

Compilers may read a word at an unaligned address with one instruction, unless an option forbids it.
While SPL runs, such accesses fail: on 32-bit ARM, U-Boot's start code enables alignment checks (bit
A of SCTLR, arch/arm/cpu/armv7/start.S), and on 64-bit ARM all memory is Device memory while the MMU
is off and must be accessed aligned (Arm's DDI 0487).

On 32-bit ARM the linker records in the ELF file whether any object may make unaligned accesses: the
attribute Tag_CPU_unaligned_access (Arm's IHI 0045). AArch64 has no such attribute; there, GCC's
options are checked, which it records in the debugging information of each source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from builder.errors import StepError
from builder.formats.boot_bin import BootHeader

DESCRIBE: Final = ("readelf", "--wide", "--file-header", "--segments", "--arch-specific")
"""Command whose output `read_spl` parses; the ELF file is its last argument."""

SOURCES: Final = ("readelf", "--wide", "--debug-dump=info", "--dwarf-depth=1")
"""Command whose output `check_sources` parses; the ELF file is its last argument."""

_STRICT = "-mstrict-align"
_SHOWN = 5
_ENTRY = re.compile(r"^ +Entry point address: +(0x[0-9a-f]+)$", re.MULTILINE)
_SEGMENT = re.compile(r"^ +LOAD +0x\w+ +0x\w+ +(0x\w+) +(0x\w+) ", re.MULTILINE)
_ARM = re.compile(r"^ +Tag_CPU_arch: ", re.MULTILINE)
_UNALIGNED = re.compile(r"^ +Tag_CPU_unaligned_access: ", re.MULTILINE)
_PRODUCER = re.compile(r" DW_AT_producer .*?: (GNU C.*)$", re.MULTILINE)
_NAME = re.compile(r" DW_AT_name .*: (\S+)$", re.MULTILINE)
_STOPS = "the board would stop with a data abort, most likely before SPL prints its first line"


@dataclass(frozen=True, kw_only=True)
class Spl:
    """Facts from the ELF file of an SPL.

    entry: address of the entry point.
    start: address of the first byte of the segment that contains the entry point.
    unaligned: whether it may make unaligned accesses; None if not recorded (AArch64).
    """

    entry: int
    start: int
    unaligned: bool | None


def read_spl(described: str) -> Spl:
    """Parse the output of DESCRIBE for an ELF file.

    Raises:
        StepError: the file is not a program.
    """
    entry = _ENTRY.search(described)
    # Another segment may hold only the headers of the ELF file, at a meaningless address.
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
            "U-Boot's build made no SPL that can be loaded", details=described.splitlines()
        )
    return Spl(
        entry=int(entry[1], 16),
        start=start,
        unaligned=bool(_UNALIGNED.search(described)) if _ARM.search(described) else None,
    )


def check_spl(spl: Spl, header: BootHeader) -> None:
    """Compare an SPL with its BootROM header.

    Raises:
        StepError: the header's load address or entry point differs from the SPL's, or the SPL may
            make unaligned accesses.
    """
    for what, linked, in_header in (
        ("loads it to", spl.start, header.load_address),
        ("starts it at", spl.entry, header.entry),
    ):
        if linked != in_header:
            raise StepError(
                f"SPL is linked for {linked:#010x}, but the BootROM {what} {in_header:#010x}: the "
                "board would print nothing",
                hint="CONFIG_SPL_TEXT_BASE must have the value of U-Boot's defconfig for the family; "
                "look for it in the fragments of U-Boot's configuration, below petalinux_bsp/",
            )
    if spl.unaligned:
        raise StepError(
            f"SPL may make unaligned memory accesses (its ELF file has Tag_CPU_unaligned_access): "
            f"{_STOPS}",
            hint="an object was not compiled with -mno-unaligned-access: see "
            "arch/arm/cpu/armv7/config.mk in U-Boot's sources",
        )


def check_sources(described: str) -> None:
    """Make sure that all C sources of a 64-bit SPL were compiled without unaligned accesses.

    Args:
        described: the output of SOURCES.

    Raises:
        StepError: a source was compiled without -mstrict-align, or the debugging information is
            missing.
    """
    units = [
        (producer[1], name[1] if name else "?")
        for unit in described.split("(DW_TAG_compile_unit)")
        if (producer := _PRODUCER.search(unit))
        for name in [_NAME.search(unit)]
    ]
    if not units:
        raise StepError(
            "the compiler options of SPL are unknown: its ELF file names no C source",
            hint="U-Boot's Makefile compiles with -g; builder/bsp/spl.py describes the check",
        )
    wrong = sorted(name for producer, name in units if _STRICT not in producer.split())
    if wrong:
        raise StepError(
            f"SPL may make unaligned memory accesses ({len(wrong)} of {len(units)} C sources were "
            f"compiled without {_STRICT}): {_STOPS}",
            hint="see arch/arm/cpu/armv8/config.mk in U-Boot's sources",
            details=wrong[:_SHOWN],
        )
