# SPDX-License-Identifier: MIT
"""Test double of AMD's PetaLinux installer: a self-extracting script with AMD's file name.

README.md in this directory describes it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

from tests.petalinux.releases import RELEASES, Release

HERE = Path(__file__).resolve().parent
BASH_TOOLS = (
    "bash gawk python3 gcc git make netstat bison flex gpg wget diffstat chrpath socat xterm "
    "autoconf libtool tar unzip texinfo gcc-multilib build-essential screen pax gzip"
)
BASH_UBUNTU_TOOLS = "libncurses5-dev libssl-dev libselinux1 zlib1g-dev"
PYTHON_TOOLS = "bash gcc xterm autoconf libtool python3 tar tail less rsync bc"
PYTHON_UBUNTU_TOOLS = "texinfo zlib1g-dev gcc-multilib lsb_release build-essential"
_BANNER = (
    "The PetaLinux source code and images provided/generated are for demonstration purposes only."
)
_COMMANDS = ("boot", "build", "config", "create", "devtool", "package", "upgrade", "util")
_LICENSES = ("Petalinux_EULA.txt", "Third_Party_Software_EULA.txt")
# Without `site`, which takes longer than the rest of Python's start-up on some machines.
_COMMAND = """\
#!/usr/bin/env -S python3 -S -E
import os, sys
root = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), {up!r}))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(root, "components/double"))
import pathlib
from tests.petalinux.tool.main import main
sys.exit(main(pathlib.Path(root), {program!r}, sys.argv[1:]))
"""


def make_installer(
    release: str, folder: Path, *, artifacts: Path | None = None, any_host: bool = False
) -> Path:
    """Write an installer into a directory; return its path.

    release: a key of RELEASES, such as "2024.1".
    artifacts: a directory with real payloads to include: files named as in images/linux; `modules/`
        or `modules.tar*` with lib/modules in it; `kernel-devsrc/` with a kernel's headers.
    any_host: leave out the checks of the host, so that the commands can be tested as root and
        without a container. The installed tool omits them, too.
    """
    facts = RELEASES[release]
    payload = _payload(facts, artifacts=artifacts, any_host=any_host)
    values = {
        "VERSION": release,
        "STRICT": "" if any_host else "y",
        "SKIP_LICENSE": " ".join(facts.skip_license),
        "PLATFORMS": " ".join(facts.platforms),
        "ENV_CHECK": f"./{_env_check(facts)}",
        "PAYLOAD_SHA256": hashlib.sha256(payload).hexdigest(),
    }
    script = (HERE / "files/installer.sh").read_text(encoding="utf-8")
    values["PAYLOAD_LINE"] = str(script.count("\n") + 1)
    target = folder / facts.installer
    folder.mkdir(parents=True, exist_ok=True)
    target.write_bytes(_filled(script, values).encode() + payload)
    target.chmod(0o755)
    return target


def make_xsa(path: Path, family: str = "zynq", *, bitstream: bytes | None = b"bits") -> Path:
    """Write a hardware export of `zynq` or `zynqMP`: only its file names are realistic."""
    table = {"zynq": "ps7_init", "zynqMP": "psu_init"}[family]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xsa.json", "{}")
        archive.writestr("design_1.hwh", "<EDKSYSTEM/>")
        for suffix in (".c", ".h", ".tcl", "_gpl.c", "_gpl.h"):
            archive.writestr(f"{table}{suffix}", "")
        if bitstream is not None:
            archive.writestr("design_1_wrapper.bit", bitstream)
    return path


def _bin(facts: Release) -> str:
    return "scripts" if facts.python else "tools/common/petalinux/bin"


def _env_check(facts: Release) -> str:
    folder = "scripts/bash" if facts.python else "tools/common/petalinux/utils"
    return f"{folder}/petalinux-env-check"


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _files(facts: Release, *, any_host: bool) -> dict[str, tuple[int, str]]:
    """Return the installed files other than artifacts: path, mode, content."""
    values = {
        "VERSION": facts.version,
        "BIN": _bin(facts),
        "ENV_CHECK": _env_check(facts),
        "BANNER": _BANNER if facts.python else "",
        "PYTHON": "y" if facts.python else "",
        "STRICT": "" if any_host else "y",
        "TOOLS": PYTHON_TOOLS if facts.python else BASH_TOOLS,
        "UBUNTU_TOOLS": PYTHON_UBUNTU_TOOLS if facts.python else BASH_UBUNTU_TOOLS,
        "UBUNTU": "18.04 20.04 22.04" if facts.version < "2024.2" else "22.04 24.04",
    }
    told = {
        "version": facts.version,
        "python": facts.python,
        "series": facts.series,
        "kernel-release": facts.kernel_release,
        "strict": not any_host,
    }
    files = {"etc/double.json": (0o644, json.dumps(told))}
    files[".version-history"] = (0o644, f"{facts.version}\n")
    for name in _LICENSES:
        files[f"etc/license/{name}"] = (0o644, "There is nothing of AMD's in here.\n")
    for name in ("settings.sh", "settings.csh"):
        text = (HERE / "files" / name).read_text(encoding="utf-8")
        files[name] = (0o644, _filled(text, values))
    text = (HERE / "files/env-check.sh").read_text(encoding="utf-8")
    files[_env_check(facts)] = (0o755, _filled(text, values))
    up = os.path.relpath(".", _bin(facts))
    for name in _COMMANDS:
        program = f"petalinux-{name}"
        text = _COMMAND.format(up=up, program=program)
        files[f"{_bin(facts)}/{program}"] = (0o755, text)
    yocto = "components/yocto" + ("" if facts.python else "/source")
    for platform in facts.platforms:
        files[f"{yocto}/{platform}"] = (0o755, f"eSDK of {facts.version} for {platform}\n")
    for part in ("buildtools", "buildtools_extended"):
        files[f"components/yocto/{part}/README"] = (0o644, "")
    return files


def _payload(facts: Release, *, artifacts: Path | None, any_host: bool) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as archive:

        def add(name: str, mode: int, text: str) -> None:
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mode = len(text.encode()), mode
            archive.addfile(member, io.BytesIO(text.encode()))

        for name, (mode, text) in _files(facts, any_host=any_host).items():
            add(name, mode, text)
        package = "components/double/tests"
        for folder in ("", "/petalinux", "/petalinux/tool"):
            add(f"{package}{folder}/__init__.py", 0o644, "")
        for path in sorted((HERE / "tool").glob("*.py")):
            add(f"{package}/petalinux/tool/{path.name}", 0o644, path.read_text(encoding="utf-8"))
        if artifacts is not None:
            archive.add(artifacts, "./components/double/artifacts")
    return out.getvalue()
