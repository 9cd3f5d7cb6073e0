# SPDX-License-Identifier: MIT
"""A project's directory: how it is found, its metadata, and the release that made it.

Messages and rules: scripts/libs/plnx_utils.py of github.com/Xilinx/PetaLinux; the bash releases
print the same (public logs), with the prefix `ERROR: `.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.petalinux.tool import kconfig
from tests.petalinux.tool.talk import Stop
from tests.petalinux.tool.toolbox import Toolbox


@dataclass(frozen=True)
class Project:
    """A PetaLinux project."""

    root: Path
    tool: Toolbox

    @property
    def spec(self) -> Path:
        return self.root / "project-spec"

    @property
    def config(self) -> Path:
        return self.spec / "configs/config"

    @property
    def meta_user(self) -> Path:
        return self.spec / "meta-user"

    @property
    def hardware(self) -> Path:
        return self.spec / "hw-description"

    @property
    def xsa(self) -> Path:
        return self.hardware / "system.xsa"

    @property
    def images(self) -> Path:
        return self.root / "images/linux"

    @property
    def build(self) -> Path:
        return self.root / "build"

    @property
    def family(self) -> str:
        """`zynq` or `zynqMP`, according to the configuration."""
        values = kconfig.read(self.config)
        if "CONFIG_SYSTEM_ZYNQMP" in values:
            return "zynqMP"
        if "CONFIG_SYSTEM_ZYNQ" in values:
            return "zynq"
        raise self.tool.talk.stop("Failed to validate arguments, unknown sys ARCH: ")

    @property
    def machine(self) -> str:
        return "zynqmp-generic" if self.family == "zynqMP" else "zynq-generic"

    def temporary(self) -> Path:
        """Return TMPDIR (CONFIG_TMP_DIR_LOCATION)."""
        value = kconfig.text(kconfig.read(self.config), "CONFIG_TMP_DIR_LOCATION")
        value = value.replace("${PROOT}", str(self.root)).replace("$PROOT", str(self.root))
        return Path(value) if value else self.build / "tmp"

    def metadata(self) -> dict[str, str]:
        path = self.root / ".petalinux/metadata"
        if not path.exists():
            return {}
        lines = path.read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def remember(self, **values: str) -> None:
        """Update .petalinux/metadata."""
        kept = {**self.metadata(), **values}
        lines = [f"{name}={value}" for name, value in kept.items()]
        (self.root / ".petalinux/metadata").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def check_version(self) -> None:
        """Ask for confirmation before changing a project of another release."""
        version, talk = self.tool.version, self.tool.talk
        made_by = self.metadata().get("PETALINUX_VER", "")
        if not made_by:
            self.remember(PETALINUX_VER=version)
        if made_by in ("", version):
            return
        colon = ":" if self.tool.python else ""
        end = "" if self.tool.python else ","
        talk.warning(
            f"Your PetaLinux project was last modified by PetaLinux SDK version{colon} "
            f'"{made_by}"{end}'
        )
        talk.warning(f'however, you are using PetaLinux SDK version{colon} "{version}"')
        if os.environ.get("PLNX_IGNORE_VER_CHK"):
            talk.warning("PLNX_IGNORE_VER_CHK is set, skip version checking")
            return
        letters = "y/Y" if self.tool.python else "y"
        sys.stdout.write(f'Please input "{letters}" to continue. Otherwise it will exit![n]')
        sys.stdout.flush()
        answer = sys.stdin.readline()
        if not answer and self.tool.python:
            sys.stderr.write(
                "Traceback (most recent call last):\nEOFError: EOF when reading a line\n"
            )
            raise Stop(1)
        if answer.strip().lower() not in ("y", "yes"):
            raise Stop(255)
        self.remember(PETALINUX_VER=version)

    def check_hardware(self) -> None:
        """Find the project's XSA; print a note if its original has changed since then."""
        talk, data = self.tool.talk, self.metadata()
        if not self.xsa.is_file():
            raise talk.stop(f"No XSA/DTS found in {self.hardware}")
        source = Path(data.get("HARDWARE_PATH") or "/nonexistent")
        changed = source.is_file() and checksum(source) != checksum(self.xsa)
        if changed and data.get("VALIDATE_HW_CHKSUM") != "0":
            talk.info(
                f"Seems like your hardware design:{source} is changed,\n"
                f'please run "petalinux-config --get-hw-description {source}" for updating'
            )
            self.remember(VALIDATE_HW_CHKSUM="0")


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def find(tool: Toolbox, given: str | None) -> Project:
    """Return the named project, or the one that contains the working directory."""
    talk = tool.talk
    if given is not None:
        root = Path(given).resolve()
        if not (root / ".petalinux").is_dir():
            raise talk.stop(
                f'"{root}" is not a valid PetaLinux project.'
                "Please create a project with petalinux-create -t project first!"
            )
    else:
        here = Path.cwd()
        around = [place for place in (here, *here.parents) if (place / ".petalinux").is_dir()]
        if not around:
            raise talk.stop(
                "You are not inside a PetaLinux project. Please specify a PetaLinux project!"
            )
        root = around[0]
    if any(letter.isspace() for letter in str(root)):
        raise talk.stop(
            f"Your project directory {root} includes space."
            "PetaLinux project directory should not include space."
        )
    return Project(root, tool)
