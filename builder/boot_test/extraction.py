# SPDX-License-Identifier: MIT
"""Extraction of the files that QEMU starts from the boot partition of a card image."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from builder.errors import CommandError, HostError, StepError
from builder.formats.boot_bin import parse
from builder.formats.fit import MAGIC, Fit, read_fit
from builder.formats.linux_image import KERNELS, architecture, kernel_name, unpacked
from builder.spec.models import Soc

EMULATED = "conf-emulated"
"""The configuration of image.ub with the device tree for QEMU."""


def extract_first_stage(
    image: Path, boot_offset: int, soc: Soc, work: Path
) -> tuple[Path, int] | None:
    """Extract the first stage from a card image's BOOT.BIN; return the file and its load address.

    Return None unless the first stage is U-Boot's SPL: other first stages (AMD's FSBL or a vendor's
    own) have not been tried in QEMU.
    """
    boot_bin = parse(boot_file(image, boot_offset, "BOOT.BIN", work), soc)
    if b"U-Boot SPL" not in boot_bin.first_stage:
        return None
    program = work / "first-stage.bin"
    program.write_bytes(boot_bin.first_stage)
    return program, boot_bin.header.load_address


def extract_u_boot(image: Path, boot_offset: int, work: Path) -> Path:
    """Extract U-Boot proper and its device tree from a card image's u-boot.img.

    u-boot.img is a FIT with two images: the program, and the device tree that the program expects
    directly behind itself. On a board, SPL loads both to U-Boot's address.
    """
    fit = read_fit(boot_file(image, boot_offset, "u-boot.img", work))
    program = work / "u-boot.bin"
    program.write_bytes(b"".join(part.data for part in list(fit.images.values())[:2]))
    return program


def extract_linux(image: Path, boot_offset: int, work: Path) -> tuple[Path, Path]:
    """Extract the kernel and the device tree for QEMU from a card image's image.ub.

    Raises:
        StepError: image.ub has no configuration for QEMU.
    """
    fit = read_fit(boot_file(image, boot_offset, "image.ub", work))
    if EMULATED not in fit.configurations:
        raise StepError(f"the card's image.ub has no configuration {EMULATED}")
    return (
        _extract_part(fit, EMULATED, "kernel", work / "kernel"),
        _extract_part(fit, EMULATED, "fdt", work / "emulated.dtb"),
    )


def extract_kernel(image: Path, boot_offset: int, work: Path) -> tuple[Path, Path | None]:
    """Extract the kernel and, if there is one, the ramdisk of a card with prebuilt boot files.

    Raises:
        StepError: the card has no kernel, or QEMU cannot start it.
    """
    listing = run_tool("mdir", "-b", "-i", f"{image}@@{boot_offset}", "::/")
    name = kernel_name(line.removeprefix("::/") for line in listing.splitlines())
    if name is None:
        raise StepError(f"the card has no kernel: none of {', '.join(KERNELS)}")
    file, kernel, ramdisk = boot_file(image, boot_offset, name, work), work / "kernel", None
    data = file.read_bytes()
    if data.startswith(MAGIC):
        fit = read_fit(file)
        data = _extract_part(fit, fit.default, "kernel", kernel).read_bytes()
        if fit.find(fit.default, "ramdisk"):
            ramdisk = _extract_part(fit, fit.default, "ramdisk", work / "ramdisk")
    data = unpacked(data)
    if architecture(data) is None:
        raise StepError(
            f"QEMU cannot start the card's {name}",
            hint="QEMU starts a zImage on 32-bit boards and an Image on 64-bit boards, also inside "
            "a FIT or a uImage, uncompressed or compressed with gzip",
        )
    kernel.write_bytes(data)
    return kernel, ramdisk


def _extract_part(fit: Fit, configuration: str, kind: str, target: Path) -> Path:
    """Write one image (kernel, device tree, ...) of a FIT configuration to a file."""
    part = fit.find(configuration, kind)
    if part is None:
        raise StepError(f"the card's configuration {configuration} has no {kind}")
    target.write_bytes(part.data)
    return target


def boot_file(image: Path, boot_offset: int, name: str, work: Path) -> Path:
    """Copy a file from a card image's boot partition to `work`; return the copy."""
    run_tool("mcopy", "-n", "-o", "-i", f"{image}@@{boot_offset}", f"::/{name}", str(work / name))
    return work / name


def run_tool(*argv: str) -> str:
    """Run a host program and return its standard output.

    Raises:
        HostError: the program is not installed.
        CommandError: it failed.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise HostError(f"{argv[0]} is not installed", hint="make setup ENGINE=host") from error
    if done.returncode != 0:
        raise CommandError(
            f"{argv[0]} ended with status {done.returncode}",
            replay=shlex.join(argv),
            status=done.returncode,
            details=(done.stdout + done.stderr).splitlines()[-10:],
        )
    return done.stdout
