# SPDX-License-Identifier: MIT
"""PetaLinux double: its installer and its environment are as strict as AMD's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.petalinux import double
from tests.petalinux.double import make_installer
from tests.petalinux.installed import PATH, Installed, run
from tests.petalinux.releases import RELEASES
from tests.petalinux.support import (
    BASH,
    BOTH,
    PYTHON,
    UNPRIVILEGED,
)

# The installer


def unprivileged(*words: str | Path, cwd: Path, path: str, given: str = "") -> tuple[int, str]:
    first = UNPRIVILEGED if os.geteuid() == 0 else ()
    done = run(*first, *words, cwd=cwd, given=given, environment={"PATH": path})
    return done.returncode, done.stdout


@pytest.fixture
def fit(common: Path) -> str:
    """A PATH with all programs that the installers require."""
    stubs = common / "stubs"
    stubs.mkdir()
    asked = f"{double.BASH_TOOLS} {double.PYTHON_TOOLS} {double.PYTHON_UBUNTU_TOOLS}".split()
    for name in asked:
        if name == "gcc" or not Path("/usr/bin", name).exists():
            (stubs / name).unlink(missing_ok=True)
            (stubs / name).symlink_to("/bin/true")
    (stubs / "dpkg").write_text("#!/bin/sh\necho Status: install ok installed\n")
    (stubs / "dpkg").chmod(0o755)
    return f"{stubs}:{PATH}"


def test_names_are_amds(tmp_path: Path) -> None:
    assert make_installer(BASH, tmp_path).name == "petalinux-v2022.1-04191534-installer.run"
    assert make_installer(PYTHON, tmp_path).name == "petalinux-v2024.1-05202009-installer.run"
    assert sorted(RELEASES) == ["2022.1", "2022.2", "2023.1", "2023.2", "2024.1", "2024.2"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be refused")
def test_root_is_refused(tmp_path: Path) -> None:
    done = run(make_installer(PYTHON, tmp_path), "-y", cwd=tmp_path)
    assert done.returncode != 0
    assert "Cannot install as root" in done.stdout
    assert not (tmp_path / "settings.sh").exists()


@BOTH
def test_missing_tools_are_named(common: Path, release: str) -> None:
    installer = make_installer(release, common)
    few = common / "few"
    few.mkdir()
    needed = (
        "bash",
        "id",
        "readlink",
        "mktemp",
        "tail",
        "tar",
        "gzip",
        "mkdir",
        "tee",
        "rm",
        "sed",
    )
    for name in (*needed, "cat", "df", "awk", "dirname", "setpriv", "env"):
        (few / name).symlink_to(shutil.which(name) or f"/usr/bin/{name}")
    code, text = unprivileged(installer, "-y", "-d", common / "pl", cwd=common, path=str(few))
    assert code != 0
    assert "ERROR: You are missing the following system tools required by PetaLinux:" in text
    assert " - xterm\n - autoconf\n - libtool\n" in text
    assert "You are missing these development libraries" in text


@BOTH
def test_an_installation_of_a_user(common: Path, fit: str, release: str) -> None:
    installer = make_installer(release, common)
    words = (installer, "--log", common / "log", "-d", common / "pl", "-p", "arm")
    code, text = unprivileged(*words, cwd=common, path=fit, given="\ny\ny\n")
    assert code == 0, text
    assert "Press Enter to display the license agreements" in text
    assert "Do you accept Third Party End User License Agreement? [y/N] > " in text
    assert text.endswith(f"INFO: PetaLinux SDK has been installed to {common}/pl/.\n")
    assert "INFO: Installing PetaLinux" in (common / "log").read_text()
    tool = Installed(RELEASES[release], common / "pl")
    assert "sdk is missing" not in tool.run("true", cwd=common).stdout
    yocto = common / "pl/components/yocto" / ("" if release == PYTHON else "source")
    assert (yocto / "arm").is_file()
    assert not (yocto / "aarch64").exists()


@pytest.mark.parametrize("answers", ["", "\n", "\nn\n", "\ny\n", "\ny\nno\n"])
def test_licenses_must_be_accepted(common: Path, fit: str, answers: str) -> None:
    installer = make_installer(BASH, common)
    code, text = unprivileged(installer, "-d", common / "pl", cwd=common, path=fit, given=answers)
    assert code != 0
    assert "License not accepted" in text
    assert not (common / "pl/settings.sh").exists()


@pytest.mark.parametrize(
    ("release", "words"),
    [
        (BASH, ["/somewhere"]),
        (BASH, ["--directory", "x"]),
        (BASH, ["-d"]),
        (BASH, ["-p", "sparc"]),
        (PYTHON, ["--skip_license"]),
        (PYTHON, ["-p", "arm microblaze_lite"]),
    ],
)
def test_wrong_options(tmp_path: Path, release: str, words: list[str]) -> None:
    done = run(make_installer(release, tmp_path, any_host=True), *words, cwd=tmp_path)
    assert done.returncode != 0
    assert "ERROR: Invalid options: " in done.stdout


def test_a_spoilt_installer(tmp_path: Path) -> None:
    installer = make_installer(BASH, tmp_path, any_host=True)
    installer.write_bytes(installer.read_bytes()[:-100])
    done = run(installer, "-y", cwd=tmp_path)
    assert done.returncode != 0
    assert not (tmp_path / "settings.sh").exists()


# The environment


def test_settings(tmp_path: Path, tool: Installed) -> None:
    done = run("bash", "-c", f"source {tool.root}/settings.sh; env", cwd=tmp_path)
    assert f"PetaLinux environment set to '{tool.root}'" in done.stdout
    assert f"PETALINUX={tool.root}\n" in done.stdout
    assert f"PETALINUX_VER={tool.release.version}\n" in done.stdout
    prefix = "[INFO] " if tool.release.python else "INFO: "
    assert f"\n{prefix}Checking installed tools\n" in done.stdout
    assert tool.run("command", "-v", "petalinux-devtool", cwd=tmp_path).returncode == 0


def test_commands_need_settings(tmp_path: Path, tool: Installed) -> None:
    program = tool.run("command", "-v", "petalinux-create", cwd=tmp_path).stdout.strip()
    done = run(program, "project", "-n", "x", "--template", "zynq", cwd=tmp_path)
    assert done.returncode != 0
    assert "source settings.sh" in done.stdout


def test_settings_takes_arguments_for_its_place(tmp_path: Path, python: Installed) -> None:
    script = f"source {python.root}/settings.sh >/dev/null; petalinux-build"
    done = run("bash", "-c", script, "name", "/an/argument", cwd=tmp_path)
    assert done.returncode != 0
