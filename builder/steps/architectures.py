# SPDX-License-Identifier: MIT
"""Properties of the architectures of boards and build hosts."""

from __future__ import annotations

from dataclasses import dataclass

from builder.spec.models import Architecture


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Names and numbers of an architecture.

    triplet: Debian's multiarch triplet, the name of its directory of libraries.
    elf: constant of the processor in ELF files (elf(5), e_machine).
    uname: the machine's name in uname(2), also under qemu-user.
    loader: path of the program interpreter in its ELF files.
    bash: HOSTTYPE and MACHTYPE of its bash.
    names: all names that programs use for the architecture.
    """

    triplet: str
    elf: str
    uname: str
    loader: str
    bash: tuple[str, str]
    names: tuple[str, ...]

    @property
    def cross_compile(self) -> str:
        """The prefix of Debian's cross compilers."""
        return f"{self.triplet}-"


MACHINES = {
    Architecture.AMD64: Machine(
        triplet="x86_64-linux-gnu",
        elf="EM_X86_64",
        uname="x86_64",
        loader="/lib64/ld-linux-x86-64.so.2",
        bash=("x86_64", "x86_64-pc-linux-gnu"),
        names=("x86_64", "x86-64", "amd64"),
    ),
    Architecture.ARM64: Machine(
        triplet="aarch64-linux-gnu",
        elf="EM_AARCH64",
        uname="aarch64",
        loader="/lib/ld-linux-aarch64.so.1",
        bash=("aarch64", "aarch64-unknown-linux-gnu"),
        names=("aarch64", "arm64"),
    ),
    Architecture.ARMHF: Machine(
        triplet="arm-linux-gnueabihf",
        elf="EM_ARM",
        uname="armv7l",
        loader="/lib/ld-linux-armhf.so.3",
        bash=("arm", "arm-unknown-linux-gnueabihf"),
        names=("armhf", "armv7", "gnueabihf"),
    ),
}
