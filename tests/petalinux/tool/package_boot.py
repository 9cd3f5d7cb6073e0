# SPDX-License-Identifier: MIT
"""petalinux-package boot: writes a BIF for the images and runs bootgen.

Options, defaults, order and attributes: UG1144, "petalinux-package --boot Command Options", and
scripts/libs/package_boot.py, package_common.py and gen_bootbin.py. Only files can be added: --add,
--load, --offset, --cpu and other attributes are not modelled, nor are MCS and DOWNLOAD.BIT.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

from tests.petalinux.tool import containers, hardware, images, kconfig
from tests.petalinux.tool.project import Project
from tests.petalinux.tool.toolbox import Words

_DEFAULT = object()
_SKIP = ("no", "none")

_ORDER = {
    "zynq": ("fsbl", "fpga", "u_boot", "dtb", "boot_script", "kernel"),
    "zynqMP": ("fsbl", "pmufw", "fpga", "atf", "dtb", "u_boot", "kernel", "boot_script"),
}
_FILES = {
    "atf": "bl31.elf",
    "boot_script": "boot.scr",
    "dtb": "system.dtb",
    "kernel": "image.ub",
    "pmufw": "pmufw.elf",
    "u_boot": "u-boot.elf",
}
_ATTRIBUTES = {
    "zynq": {
        "fsbl": "bootloader",
        "dtb": "load=0x100000",
        "boot_script": "partition_owner=uboot, offset=0x9C0000",
        "kernel": "partition_owner=uboot",
    },
    "zynqMP": {
        "fsbl": "bootloader, destination_cpu=a53-0",
        "pmufw": "pmufw_image",
        "fpga": "destination_device=pl",
        "atf": "destination_cpu=a53-0, exception_level=el-3, trustzone",
        "dtb": "destination_cpu=a53-0, load=0x100000",
        "u_boot": "destination_cpu=a53-0, exception_level=el-2",
        "kernel": "partition_owner=uboot, destination_cpu=a53-0",
        "boot_script": "partition_owner=uboot, destination_cpu=a53-0, offset=0x3E80000",
    },
}


def arguments(parser: Words) -> None:
    """Add the options; options for files use the default if they have no value."""
    python = parser.tool.python
    spellings = {
        "fsbl": ["--fsbl"],
        "fpga": ["-f", "--fpga"] if python else ["--fpga"],
        "pmufw": ["--pmufw"],
        "atf": ["--atf", "--tfa"] if python else ["--atf"],
        "u_boot": ["-u", "--u-boot", "--uboot"] if python else ["--u-boot"],
        "dtb": ["--dtb"],
        "kernel": ["--kernel"],
        "boot_script": ["--boot-script"],
    }
    for dest, names in spellings.items():
        parser.add_argument(*names, dest=dest, nargs="?", const=_DEFAULT)
    parser.add_argument("--format", default="BIN", choices=["BIN", "MCS", "DOWNLOAD.BIT"])
    parser.add_argument("--boot-device", choices=["sd", "flash"])
    parser.add_argument("--bif")
    parser.add_argument("-o", "--output")


def package(project: Project, given: argparse.Namespace) -> None:
    talk, family = project.tool.talk, project.family
    if given.format != "BIN":
        raise talk.stop(f"the double does not model --format {given.format}", code=70)
    if family == "zynq":
        for option in ("pmufw", "atf"):
            if getattr(given, option):
                raise talk.stop(f'Invalid arg "--{option}" for system arch arm.')
    if not project.tool.python:
        talk.info("Getting system flash information...")
    output = Path(given.output).resolve() if given.output else project.images / "BOOT.BIN"
    if output.is_dir():
        raise talk.stop("Expecting Output as File, Please specify a valid --output File path")
    if output.exists() and not given.force:
        raise talk.stop(
            f'Output file "{output}" already exists.Please use --force to overwrite it.'
        )
    if given.bif:
        bif = Path(given.bif).resolve()
        if not bif.is_file():
            raise talk.stop(f"Specified BIF file: {bif} doesnot exist.")
        files: list[Path] = []
    else:
        parts = _parts(project, given)
        files = [path for _, path in parts]
        bif = _write_bif(project, parts)
    output.parent.mkdir(parents=True, exist_ok=True)
    _bootgen(project, bif, files, output)
    if not project.tool.python:
        talk.info("Binary is ready.")
        return
    talk.info("Binary is ready.")
    talk.info("Successfully Generated BIN File")


def _parts(project: Project, given: argparse.Namespace) -> list[tuple[str, Path]]:
    """Return the parts of the image in their order: names and files."""
    family, talk = project.family, project.tool.talk
    wanted = {name: getattr(given, name) for name in _ORDER[family]}
    defaults = {"fsbl"}
    if wanted["u_boot"] is not None or wanted["kernel"] is not None:
        defaults |= {"u_boot", "dtb"} | ({"atf", "pmufw"} if family == "zynqMP" else set())
    if wanted["kernel"] is not None:
        defaults |= {"boot_script"}
    parts = []
    for name in _ORDER[family]:
        value = wanted[name]
        if name == "fpga":
            path = _bitstream(project, value)
        elif value in _SKIP or (value is None and name not in defaults):
            path = None
        elif value is None or value is _DEFAULT:
            path = project.images / _FILES.get(name, f"{family.lower()}_fsbl.elf")
        else:
            path = Path(value).resolve()
        if path is None:
            continue
        if not path.is_file():
            raise talk.stop(f'Failed to generate BIF file, File "{path}" doesnot exist.')
        parts.append((name, path))
    return parts


def _bitstream(project: Project, value: object) -> Path | None:
    """Return the bitstream; it is ignored if the FPGA Manager is enabled, as in the real command."""
    if value is None or value in _SKIP:
        return None
    manager = "CONFIG_SUBSYSTEM_FPGA_MANAGER" in kconfig.read(project.config)
    if isinstance(value, str):
        return None if manager else Path(value).resolve()
    if manager and not project.tool.python:
        return None
    built = project.images / "system.bit"
    found = built if built.is_file() else hardware.bitstream(project)
    if found is None:
        raise project.tool.talk.stop(
            "Default bitsream() is not found,"
            "please specify a bitstream file path with --fpga <BITSTREAM>"
        )
    return found


def _write_bif(project: Project, parts: list[tuple[str, Path]]) -> Path:
    lines = ["the_ROM_image:", "{"]
    for name, path in parts:
        project.tool.talk.info(f'File in BOOT BIN: "{path}"')
        attribute = _ATTRIBUTES[project.family].get(name, "")
        lines.append(f"\t[{attribute}] {path}" if attribute else f"\t{path}")
    bif = (project.images if project.tool.python else project.build) / "bootgen.bif"
    bif.parent.mkdir(parents=True, exist_ok=True)
    bif.write_text("\n".join([*lines, "}"]) + "\n", encoding="utf-8")
    return bif


def _bootgen(project: Project, bif: Path, files: list[Path], output: Path) -> None:
    """Run the real bootgen if it is installed and no file is a placeholder.

    A BOOT.BIN among the artifacts is always the result.
    """
    talk, architecture = project.tool.talk, project.family.lower()
    talk.info(f"Generating {architecture} binary package {output.name}...")
    real = project.tool.artifacts() / "BOOT.BIN"
    if real.is_file():
        shutil.copyfile(str(real), str(output))
        talk.raw("[INFO]   : Bootimage generated successfully")
        return
    contents = [path.read_bytes() for path in files]
    bootgen = shutil.which("bootgen")
    if bootgen and not any(images.is_placeholder(content) for content in contents):
        done = subprocess.run(
            [bootgen, "-arch", architecture, "-image", str(bif), "-o", str(output), "-w"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        talk.raw(done.stdout)
        if done.returncode != 0 or not output.is_file():
            raise talk.stop("Fail to create BOOT image")
        return
    output.write_bytes(containers.boot_image(contents))
    talk.raw("[INFO]   : Bootimage generated successfully")
