# SPDX-License-Identifier: MIT
"""The hardware description: finding the .xsa, reading it, copying it to the project.

An .xsa is a zip with a .hwh, the start-up tables (ps7_init or psu_init) and perhaps a bitstream
(UG1144, "Importing Hardware Configuration"). Messages: scripts/libs/config_component.py.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from tests.petalinux.tool.project import Project, checksum

TABLES = {"zynq": "ps7_init", "zynqMP": "psu_init"}


def fetch(project: Project, given: Path) -> None:
    """Do `--get-hw-description`: replace the project's hardware description."""
    tool, talk = project.tool, project.tool.talk
    talk.info("Getting hardware description" + ("" if tool.python else "..."))
    source = _only(project, given)
    shutil.rmtree(project.hardware, ignore_errors=True)
    project.hardware.mkdir(parents=True)
    project.remember(HARDWARE_PATH=str(source), HDF_EXT="xsa", VALIDATE_HW_CHKSUM="1")
    shutil.copyfile(source, project.xsa)
    if source.name != "system.xsa":
        talk.info(f"Renaming {source.name} to system.xsa")


def _only(project: Project, given: Path) -> Path:
    talk = project.tool.talk
    if not given.exists():
        raise talk.stop(f'Unable to get "{given}": No Such File or Directory')
    if given.is_file():
        return given.resolve()
    found = sorted(given.resolve().glob("*.xsa"))
    if not found:
        raise talk.stop(
            f"No XSA or DTS found in {given}",
            "Please use --get-hw-description=<VIVADO_SDK_EXPORT_DIR> to specify "
            "the location of Vivado export to SDK directory.",
        )
    if len(found) > 1:
        raise talk.stop(
            f'More than one ".xsa/.dts" are found in {given}',
            "Please use --get-hw-description=<HARDWARE_FILE_PATH> to specify the hardware file.",
        )
    return found[0]


def read(project: Project) -> None:
    """Read the project's .xsa as gen-machineconf does; unpack the files for later steps."""
    tool, talk = project.tool, project.tool.talk
    if not project.xsa.is_file():
        raise talk.stop(f"No XSA/DTS found in {project.hardware}")
    if tool.python:
        talk.info("Bitbake is not available, some functionality may be reduced.")
        talk.info(f"Using HW file: {project.xsa}")
        talk.info("Getting Platform info from HW file")
    family = project.family
    try:
        with zipfile.ZipFile(project.xsa) as archive:
            names = archive.namelist()
            if not any(name.endswith(".hwh") for name in names):
                raise _unreadable(project, "no hardware handoff (.hwh) in it")
            if not any(Path(name).name.startswith(TABLES[family]) for name in names):
                raise _unreadable(project, f"no {TABLES[family]} in it: not a {family} design")
            for name in names:
                plain = Path(name).name
                if plain.startswith(TABLES[family]) or plain.endswith(".bit"):
                    (project.hardware / plain).write_bytes(archive.read(name))
    except zipfile.BadZipFile:
        raise _unreadable(project, "not a zip file") from None
    project.remember(HARDWARE_CHECKSUM=checksum(project.xsa))


def _unreadable(project: Project, why: str) -> BaseException:
    """Return the end of an .xsa that PetaLinux's tools reject."""
    tool, talk = project.tool, project.tool.talk
    talk.raw(
        f"ERROR: [Common 17-39] 'hsi::open_hw_design' failed due to earlier errors. "
        f"({project.xsa}: {why})"
    )
    if tool.python:
        return talk.stop(
            f"Command gen-machineconf --soc-family {project.family.lower()} "
            f"--hw-description {project.xsa} failed"
        )
    return talk.stop(
        f"Failed to generate {project.build}/misc/config/Kconfig.syshw",
        "Failed to Kconfig project",
        "Failed to generate System hardware Kconfig file.",
    )


def bitstream(project: Project) -> Path | None:
    """Return the bitstream that came with the .xsa."""
    found = sorted(project.hardware.glob("*.bit"))
    return found[0] if found else None
