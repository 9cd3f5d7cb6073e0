# SPDX-License-Identifier: MIT
"""The installed tool: its release, its required environment, and its command-line parser."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tests.petalinux.tool.talk import Stop, Talk

FACTS = Path("etc/double.json")
"""Written by the installer's generator."""

PLATFORMS = {"zynq": "arm", "zynqMP": "aarch64", "microblaze": "microblaze", "versal": "aarch64"}


@dataclass(frozen=True)
class Toolbox:
    """An installed PetaLinux of one release."""

    root: Path
    version: str
    python: bool
    series: str
    kernel_release: str
    strict: bool
    talk: Talk

    @classmethod
    def at(cls, root: Path) -> Toolbox:
        facts = json.loads((root / FACTS).read_text(encoding="utf-8"))
        return cls(
            root=root,
            version=facts["version"],
            python=facts["python"],
            series=facts["series"],
            kernel_release=facts["kernel-release"],
            strict=facts["strict"],
            talk=Talk(python=facts["python"]),
        )

    def check_environment(self) -> None:
        """Stop unless settings.sh of this installation was sourced (UG1144, "Steps to Set Up")."""
        sourced = os.environ.get("PETALINUX", "")
        version = os.environ.get("PETALINUX_VER", "")
        if not sourced or not version:
            raise self.talk.stop(
                "PetaLinux environment is not set: source settings.sh first", code=1
            )
        if Path(sourced).resolve() != self.root or version != self.version:
            raise self.talk.stop(
                f"PETALINUX is {sourced} ({version}), which is not {self.root}: "
                "source its settings.sh (and pass no arguments to the script that sources it)",
                code=1,
            )

    def yocto_sdk(self, template: str) -> Path:
        """Return the eSDK of a family; `--platform` of the installer may have left it out."""
        folder = self.root / "components/yocto"
        if not self.python:
            folder /= "source"
        names = (PLATFORMS[template], f"{PLATFORMS[template]}_full")
        for name in names:
            if (folder / name).exists():
                return folder / name
        raise self.talk.stop(
            f'"{folder / names[0]}" is missing in petalinux-tools.'
            "Installed Petalinux tools are broken. Please reinstall"
        )

    def artifacts(self) -> Path:
        """Return the directory of real payloads; need not exist."""
        return Path(os.environ.get("DOUBLE_ARTIFACTS", self.root / "components/double/artifacts"))


class Words(argparse.ArgumentParser):
    """Parser of a command line that rejects unknown options and abbreviations."""

    def __init__(self, tool: Toolbox, prog: str) -> None:
        super().__init__(prog=prog, allow_abbrev=False)
        self.tool = tool

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        if self.tool.python:
            sys.stderr.write(f"{self.prog}: error: {message}\n")
            raise Stop(2)
        sys.stderr.write(f"ERROR: Invalid options: {message}\n")
        raise Stop(255)

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        return self.parse_args(list(words))


def renamed(tool: Toolbox, program: str, words: Sequence[str], old: dict[str, str]) -> list[str]:
    """Insert the sub-command, converted from its old spelling if necessary.

    old: old spelling (`--boot`, `-t project`) and the sub-command. Python releases still take the
    old spellings, with the notes that public logs of 2024.2 show; bash ones support only these.
    """
    rest = list(words)
    for spelling, command in old.items():
        parts = spelling.split()
        for start in range(len(rest) - len(parts) + 1):
            if rest[start : start + len(parts)] == parts:
                del rest[start : start + len(parts)]
                if tool.python:
                    tool.talk.note(
                        f'Argument: "{spelling}" has been deprecated. It is recommended to start '
                        "using new python command line Argument."
                    )
                    tool.talk.note(f"Use: {program} {command} [OPTIONS]")
                return [command, *rest]
    if tool.python:
        return rest
    if rest and rest[0] in old.values():
        sys.stderr.write(f"ERROR: Invalid options: {rest[0]}\n")
        raise Stop(255)
    return rest
