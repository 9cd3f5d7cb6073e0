# SPDX-License-Identifier: MIT
"""petalinux-package: BOOT.BIN, BSPs, prebuilt images, the SDK's sysroot.

Command lines: UG1144, "petalinux-package --boot Command Options" (2021.1) and its like for bsp,
prebuilt and sysroot (2022.2), the same without dashes from 2024.1 on; scripts/petalinux-package.
`wic` is not modelled.
"""

from __future__ import annotations

import argparse
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from tests.petalinux.tool import kconfig, package_boot, project
from tests.petalinux.tool.project import Project
from tests.petalinux.tool.toolbox import Toolbox, Words, renamed

_KINDS = ("boot", "bsp", "prebuilt", "sysroot", "wic")
_IN_BSP = ("pre-built", "project-spec", "components", ".petalinux", ".gitignore", "config.project")


def main(tool: Toolbox, words: Sequence[str]) -> None:
    rest = renamed(tool, "petalinux-package", words, {f"--{kind}": kind for kind in _KINDS})
    if not rest or rest[0] not in _KINDS:
        Words(tool, "petalinux-package").error(f"one of {', '.join(_KINDS)} is needed: {rest}")
    kind = rest[0]
    parser = Words(tool, f"petalinux-package {kind}")
    parser.add_argument("--force", action="store_true")
    parser.add_argument("-D", "--debug", action="store_true")
    if kind == "bsp":
        _bsp(tool, parser, rest[1:])
        return
    parser.add_argument("-p", "--project")
    if kind == "boot":
        package_boot.arguments(parser)
    elif kind == "prebuilt":
        parser.add_argument("--fpga")
    elif kind == "sysroot":
        parser.add_argument("-s", "--sdk")
        parser.add_argument("-d", "--dir")
    else:
        raise tool.talk.stop("the double does not model petalinux-package wic", code=70)
    given = parser.read(rest[1:])
    found = project.find(tool, given.project)
    if not tool.python:
        tool.talk.stage("Sourcing buildtools")
    if kind == "boot":
        package_boot.package(found, given)
    elif kind == "prebuilt":
        _prebuilt(found, given)
    else:
        _sysroot(found, given)


def _bsp(tool: Toolbox, parser: Words, words: Sequence[str]) -> None:
    """Pack a project: a compressed tar with its directory inside."""
    parser.add_argument("-p", "--project", action="append")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--clean", action="store_true")
    parser.add_argument("--hwsource")
    parser.add_argument("--exclude-from-file")
    parser.add_argument("--exclude-workspace", action="store_true")
    given, talk = parser.read(words), tool.talk
    if not given.project:
        raise talk.stop("Please specify a PetaLinux project to package the BSP")
    if len(given.project) > 1 or given.hwsource or given.exclude_from_file:
        raise talk.stop("the double models a BSP of one project, without more", code=70)
    if not Path(given.project[0]).exists():
        raise talk.stop(f"Failed to package BSP! Failed to locate project {given.project[0]}!")
    found = project.find(tool, given.project[0])
    output = Path(given.output).resolve()
    if output.suffix != ".bsp":
        output = output.with_name(f"{output.name}.bsp")
    if output.exists() and not given.force:
        raise talk.stop(
            f'Output file "{output}" already exists.Please use --force to overwrite it.'
        )
    talk.info(f'Target BSP "{output}" will contain the following projects')
    talk.info(f"PetaLinux project: {found.root}")
    output.parent.mkdir(parents=True, exist_ok=True)
    metadata = found.metadata()
    found.remember(HARDWARE_PATH="")
    try:
        with tarfile.open(output, "w:gz", compresslevel=1) as archive:
            archive.add(found.root, found.root.name, recursive=False)
            for name in _IN_BSP:
                if (found.root / name).exists():
                    talk.info(f"   Copying {found.root / name}")
                    archive.add(found.root / name, f"{found.root.name}/{name}", filter=_kept)
    finally:
        found.remember(HARDWARE_PATH=metadata.get("HARDWARE_PATH", ""))
    talk.info("Creating BSP")
    talk.info(f"Generating package {output.name}")


def _kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what BspFilesExcludeStr of scripts/libs/plnx_vars.py names."""
    name = member.name
    inside = name.split("/", 1)[1]
    if name.endswith((".old", ".bak", ".o", "~")) or inside == "components/yocto":
        return None
    return member


def _prebuilt(found: Project, given: argparse.Namespace) -> None:
    talk = found.tool.talk
    place = found.root / "pre-built/linux"
    if place.exists():
        if not given.force:
            raise talk.stop(
                f'Output Dir "{place}" already exists. Please use --force to overwrite it.'
            )
        shutil.rmtree(place)
    if not found.images.is_dir():
        raise talk.stop(f"Failed to locate {found.images}: build the project first")
    talk.info("Updating software prebuilt")
    talk.info("Installing software images")
    shutil.copytree(found.images, place / "images")
    if given.fpga:
        (place / "implementation").mkdir(parents=True)
        shutil.copyfile(given.fpga, place / "implementation/download.bit")
    talk.info("Pre-built directory is updated.")


def _sysroot(found: Project, given: argparse.Namespace) -> None:
    talk = found.tool.talk
    sdk = Path(given.sdk) if given.sdk else found.images / "sdk.sh"
    if not sdk.is_file():
        raise talk.stop(f"SDK {sdk} not found: build it with petalinux-build --sdk")
    place = Path(given.dir) if given.dir else found.images / "sdk"
    arch = "aarch64" if "CONFIG_SYSTEM_ZYNQMP" in kconfig.read(found.config) else "arm"
    (place / "sysroots" / f"{arch}-xilinx-linux").mkdir(parents=True, exist_ok=True)
    (place / f"environment-setup-{arch}-xilinx-linux").write_text("", encoding="utf-8")
    talk.info(f"SDK was installed to {place}")
