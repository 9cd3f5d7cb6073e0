# SPDX-License-Identifier: MIT
"""Small programs in SPL's place, as the cross compilers make them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from builder.spec.models import Soc

_COMPILERS = {
    Soc.ZYNQ: ("arm-linux-gnueabihf-gcc", "-march=armv7-a", "-mfloat-abi=soft", "-marm"),
    Soc.ZYNQMP: ("aarch64-linux-gnu-gcc",),
}
_FLAGS = ("-g", "-O1", "-nostdlib", "-static", "-ffreestanding", "-Wl,--build-id=none,-N")
_SOURCE = """\
struct __attribute__((packed)) word { char before; int value; };
void _start(void) {}
int read(struct word *word) { return word->value; }
"""
STRICT = {Soc.ZYNQ: "-mno-unaligned-access", Soc.ZYNQMP: "-mstrict-align"}
"""The option by which GCC makes no unaligned accesses."""

START = {Soc.ZYNQ: 0, Soc.ZYNQMP: 0xFFFC0000}
"""Where mkimage has the BootROM load a first stage."""


def spl(folder: Path, soc: Soc, *options: str, start: int | None = None) -> Path:
    """Compile a program that reads a word at an odd address; skip without the compiler."""
    compiler = _COMPILERS[soc]
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"needs {compiler[0]}")
    source, program = folder / "odd.c", folder / "u-boot-spl"
    source.write_text(_SOURCE)
    at = f"-Ttext={START[soc] if start is None else start:#x}"
    subprocess.run([*compiler, *_FLAGS, at, *options, "-o", program, source], check=True)
    return program
