# SPDX-License-Identifier: MIT
"""PetaLinux double: petalinux-create and petalinux-config reject what the real commands reject."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.petalinux.double import make_installer, make_xsa
from tests.petalinux.installed import Installed, run
from tests.petalinux.releases import RELEASES
from tests.petalinux.support import (
    BASH,
    PYTHON,
    append,
    configured,
    metadata,
    settings,
)

# petalinux-create


@pytest.mark.parametrize(
    ("release", "words"),
    [
        (BASH, "-t project --template zynq -n x"),
        (BASH, "--type project --template zynqMP --name x"),
        (BASH, "--type=project --template=zynqMP --name=x --force"),
        (PYTHON, "project --template zynqMP -n x"),
        (PYTHON, "project --template zynq --name x -f"),
        (PYTHON, "-t project --template zynq -n x"),
    ],
)
def test_create(tmp_path: Path, tools: dict[str, Installed], release: str, words: str) -> None:
    tool = tools[release]
    done = tool.run("petalinux-create", *words.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert f"New project successfully created in {tmp_path}/x" in done.stdout
    old = tool.release.python and "-t project" in words
    assert ("has been deprecated" in done.stdout) is old
    assert ("[INFO] " in done.stdout) is tool.release.python
    spec = tmp_path / "x/project-spec"
    assert (tmp_path / "x/.petalinux").is_dir()
    assert (spec / "configs/config").is_file()
    assert f'"{tool.release.series}"' in (spec / "meta-user/conf/layer.conf").read_text()


@pytest.mark.parametrize(
    ("release", "words"),
    [
        (BASH, "project --template zynq -n x"),
        (BASH, "-t project --template zynqmp -n x"),
        (BASH, "-t project --template zynq"),
        (BASH, "-t project -n x"),
        (BASH, "-t project -s nowhere.bsp"),
        (BASH, "-t project --temp zynq -n x"),
        (PYTHON, "--template zynq -n x"),
        (PYTHON, "project --template zynqUltra -n x"),
        (PYTHON, "project -n x"),
        (PYTHON, "project --oldconfig -n x --template zynq"),
    ],
)
def test_create_refuses(
    tmp_path: Path, tools: dict[str, Installed], release: str, words: str
) -> None:
    done = tools[release].run("petalinux-create", *words.split(), cwd=tmp_path)
    assert done.returncode != 0
    assert not list(tmp_path.iterdir())


def test_a_project_is_not_overwritten(tmp_path: Path, tool: Installed) -> None:
    words = ("project",) if tool.release.python else ("-t", "project")
    words = ("petalinux-create", *words, "--template", "zynq", "-n", "p")
    assert tool.run(*words, cwd=tmp_path).returncode == 0
    again = tool.run(*words, cwd=tmp_path)
    assert again.returncode == 255
    assert "already exists. Use --force option to overwrite" in again.stdout
    assert tool.run(*words, "--force", cwd=tmp_path).returncode == 0
    assert (tmp_path / "p_old").is_dir()


# petalinux-config


def test_hardware(tmp_path: Path, tool: Installed) -> None:
    project = configured(tool, tmp_path)
    hardware = project / "project-spec/hw-description"
    assert {path.name for path in hardware.iterdir()} >= {"system.xsa", "ps7_init.c"}
    told = metadata(project)
    assert told["PETALINUX_VER"] == tool.release.version
    assert told["HARDWARE_PATH"].endswith("/design.xsa")
    assert len(told["HARDWARE_CHECKSUM"]) == 64
    assert (project / "build/config.log").is_file()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("nowhere.xsa", None, "No Such File or Directory"),
        ("broken.xsa", b"this is no zip", "not a zip file"),
        ("other.xsa", "zynqMP", "no ps7_init in it"),
        (".", None, "No XSA"),
    ],
)
def test_wrong_hardware(
    tmp_path: Path,
    tool: Installed,
    *,
    name: str,
    content: bytes | str | None,
    says: str,
) -> None:
    project = tool.project(tmp_path)
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        make_xsa(tmp_path / name, content)
    words = ("petalinux-config", f"--get-hw-description={tmp_path / name}", "--silentconfig")
    done = tool.run(*words, cwd=project)
    assert done.returncode == 255
    assert says in done.stdout


def test_two_exports_in_a_directory(tmp_path: Path, tool: Installed) -> None:
    project = tool.project(tmp_path)
    make_xsa(tmp_path / "a.xsa")
    words = ("petalinux-config", "--get-hw-description", str(tmp_path), "--silentconfig")
    assert tool.run(*words, cwd=project).returncode == 0
    make_xsa(tmp_path / "b.xsa")
    done = tool.run(*words, cwd=project)
    assert 'More than one ".xsa/.dts" are found' in done.stdout
    assert done.returncode == 255


def test_silentconfig_is_kconfigs(tmp_path: Path, tool: Installed) -> None:
    project = configured(tool, tmp_path)
    append(
        project,
        "CONFIG_SUBSYSTEM_ROOTFS_EXT4=y",
        'CONFIG_SUBSYSTEM_SDROOT_DEV="/dev/mmcblk1p2"',
        "CONFIG_SUBSYSTEM_FPGA_MANAGER=y",
        "CONFIG_SUBSYSTEM_FPGA_MANGER_TYPO=y",
    )
    assert tool.run("petalinux-config", "--silentconfig", cwd=project).returncode == 0
    values = settings(project)
    assert "CONFIG_SUBSYSTEM_ROOTFS_INITRD" not in values
    assert "CONFIG_SUBSYSTEM_FPGA_MANGER_TYPO" not in values
    assert values["CONFIG_SUBSYSTEM_FPGA_MANAGER"] == "y"
    assert "root=/dev/mmcblk1p2" in values["CONFIG_SUBSYSTEM_BOOTARGS_GENERATED"]


def test_a_menu_needs_a_terminal(tmp_path: Path, tool: Installed) -> None:
    project = configured(tool, tmp_path)
    done = tool.run("petalinux-config", cwd=project)
    assert done.returncode != 0
    assert "Error opening terminal" in done.stdout


def test_outside_of_a_project(tmp_path: Path, tool: Installed) -> None:
    done = tool.run("petalinux-build", cwd=tmp_path)
    assert done.returncode == 255
    assert "You are not inside a PetaLinux project. Please specify" in done.stdout
    done = tool.run("petalinux-build", "-p", "/usr", cwd=tmp_path)
    assert '"/usr" is not a valid PetaLinux project.' in done.stdout


@pytest.mark.parametrize(("given", "code"), [("", 1), ("n\n", 255), ("y\n", 0)])
def test_a_project_of_another_release(
    tmp_path: Path, tools: dict[str, Installed], given: str, code: int
) -> None:
    project = configured(tools[PYTHON], tmp_path)
    done = tools["2024.2"].run("petalinux-config", "--silentconfig", cwd=project, given=given)
    assert done.returncode == code
    assert "Your PetaLinux project was last modified by PetaLinux SDK version" in done.stdout
    assert metadata(project)["PETALINUX_VER"] == ("2024.2" if code == 0 else PYTHON)


def test_an_architecture_left_out(tmp_path: Path) -> None:
    installer = make_installer(PYTHON, tmp_path, any_host=True)
    words = (installer, "-y", "-d", tmp_path / "pl", "-p", "arm")
    assert run(*words, cwd=tmp_path).returncode == 0
    tool = Installed(RELEASES[PYTHON], tmp_path / "pl")
    project = tool.project(tmp_path, "zynqMP")
    xsa = make_xsa(tmp_path / "a.xsa", "zynqMP")
    words_ = ("petalinux-config", f"--get-hw-description={xsa}", "--silentconfig")
    assert 'aarch64" is missing in petalinux-tools' in tool.run(*words_, cwd=project).stdout
