# SPDX-License-Identifier: MIT
"""PetaLinux double: petalinux-package writes the same files as the real command."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
import tarfile
from pathlib import Path

import pytest

from builder.formats import boot_bin as bootbin
from tests.petalinux.installed import Installed, install
from tests.petalinux.support import (
    BASH,
    PYTHON,
    append,
    configured,
    package,
)
from tests.petalinux.tool import containers

# petalinux-package


@pytest.mark.parametrize(
    ("release", "words"),
    [
        (BASH, "boot --u-boot"),
        (BASH, "--boot --uboot"),
        (BASH, "--boot --pmufw"),
        (PYTHON, "boot --atf"),
        (PYTHON, "boot --u-boot nowhere.elf"),
        (PYTHON, "boot --u-boot -x"),
        (PYTHON, ""),
    ],
)
def test_package_boot_refuses(
    tmp_path: Path, tools: dict[str, Installed], release: str, words: str
) -> None:
    project = configured(tools[release], tmp_path)
    assert tools[release].run("petalinux-build", cwd=project).returncode == 0
    done = tools[release].run("petalinux-package", *words.split(), cwd=project)
    assert done.returncode != 0
    assert not (project / "images/linux/BOOT.BIN").exists()


def test_boot_bin(tmp_path: Path, tool: Installed) -> None:
    project = configured(tool, tmp_path, "zynqMP")
    words = (*package(tool, "boot"), "--fpga", "--u-boot")
    before = tool.run(*words, cwd=project)
    assert before.returncode == 255
    assert "zynqmp_fsbl.elf" in before.stdout
    assert tool.run("petalinux-build", cwd=project).returncode == 0
    done = tool.run(*words, cwd=project)
    assert done.returncode == 0, done.stdout
    packed = [line.split("/")[-1] for line in done.stdout.splitlines() if "in BOOT BIN" in line]
    order = 'zynqmp_fsbl.elf" pmufw.elf" system.bit" bl31.elf" system.dtb" u-boot.elf"'
    assert " ".join(packed) == order
    image = project / "images/linux/BOOT.BIN"
    assert image.read_bytes()[0x20:0x28] == struct.pack("<II", 0xAA995566, 0x584C4E58)
    assert "already exists.Please use --force" in tool.run(*words, cwd=project).stdout
    assert tool.run(*words, "--force", cwd=project).returncode == 0


def test_old_spellings_are_still_taken(tmp_path: Path, python: Installed) -> None:
    project = configured(python, tmp_path)
    assert python.run("petalinux-build", cwd=project).returncode == 0
    done = python.run("petalinux-package", "--force", "--boot", "--u-boot", cwd=project)
    assert done.returncode == 0
    assert '[NOTE] Argument: "--boot" has been deprecated.' in done.stdout


def test_fpga_manager_keeps_a_given_bitstream_out(tmp_path: Path, tool: Installed) -> None:
    project = configured(tool, tmp_path)
    append(project, "CONFIG_SUBSYSTEM_FPGA_MANAGER=y")
    assert tool.run("petalinux-build", cwd=project).returncode == 0
    bit = str(project / "images/linux/system.bit")
    done = tool.run(*package(tool, "boot"), "--fpga", bit, "--u-boot", cwd=project)
    assert done.returncode == 0
    assert "system.bit" not in done.stdout


def test_a_bsp_there_and_back(tmp_path: Path, tool: Installed) -> None:
    project = configured(tool, tmp_path)
    bsp = tmp_path / "board.bsp"
    words = (*package(tool, "bsp"), "-p", str(project), "-o", str(bsp))
    assert tool.run(*words, cwd=tmp_path).returncode == 0
    assert "already exists" in tool.run(*words, cwd=tmp_path).stdout
    with gzip.open(bsp) as content:
        content.read(1)
    first = ("project",) if tool.release.python else ("-t", "project")
    done = tool.run("petalinux-create", *first, "-s", str(bsp), "-n", "q", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert tool.run("petalinux-build", cwd=tmp_path / "q").returncode == 0
    assert "HARDWARE_PATH=\n" in (tmp_path / "q/.petalinux/metadata").read_text()
    shutil.rmtree(project)
    done = tool.run("petalinux-create", *first, "-s", str(bsp), cwd=tmp_path)
    assert "\t* p\n" in done.stdout
    assert (project / "project-spec/hw-description/system.xsa").is_file()


def test_what_is_no_bsp(tmp_path: Path, tool: Installed) -> None:
    first = ("project",) if tool.release.python else ("-t", "project")
    for name, content in (("text", b"text"), ("tar", containers.tar_gz({"a/b": b""}, {}))):
        bsp = tmp_path / f"{name}.bsp"
        bsp.write_bytes(content)
        done = tool.run("petalinux-create", *first, "-s", str(bsp), cwd=tmp_path)
        assert done.returncode == 255
        assert "No PetaLinux projects found in the BSP" in done.stdout


def test_sdk_and_prebuilt(tmp_path: Path, tool: Installed) -> None:
    project = configured(tool, tmp_path)
    assert tool.run(*package(tool, "sysroot"), cwd=project).returncode == 255
    assert tool.run("petalinux-build", "--sdk", cwd=project).returncode == 0
    assert tool.run(*package(tool, "sysroot"), cwd=project).returncode == 0
    assert tool.run(*package(tool, "prebuilt"), cwd=project).returncode == 0
    assert (project / "pre-built/linux/images/image.ub").is_file()


# Real payloads


def test_artifacts_are_taken_as_they_are(tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    modules = artifacts / "modules/lib/modules/6.1.0-test"
    modules.mkdir(parents=True)
    (modules / "modules.dep").write_text("kernel/a.ko:\n")
    (artifacts / "image.ub").write_bytes(b"a real one")
    tool = install(PYTHON, tmp_path, artifacts=artifacts)
    project = configured(tool, tmp_path)
    assert tool.run("petalinux-build", cwd=project).returncode == 0
    assert (project / "images/linux/image.ub").read_bytes() == b"a real one"
    archives = [project / "images/linux/rootfs.tar.gz"]
    archives += (project / "build/tmp/deploy/images/zynq-generic").glob("modules--*.tgz")
    assert len(archives) == 2
    for path in archives:
        with tarfile.open(path) as archive:
            assert "lib/modules/6.1.0-test/modules.dep" in archive.getnames()
            assert archive.getmember("lib/modules/6.1.0-test").uid == 0


def test_placeholders_are_what_they_seem() -> None:
    part = containers.elf(containers.ARM, "x")
    assert part[:5] == b"\x7fELF\x01"
    assert containers.elf(containers.AARCH64, "x")[:5] == b"\x7fELF\x02"
    assert containers.kernel("zImage", "x")[0x24:0x28] == struct.pack("<I", 0x016F2818)
    script = containers.legacy(6, "s", b"text", architecture=2)
    assert script[:4] == struct.pack(">I", 0x27051956)
    image = containers.boot_image([part])
    words = struct.unpack_from("<11I", image, 0x20)
    assert ~sum(words[:10]) & 0xFFFFFFFF == words[10]
    assert words[1] == bootbin.IDENTIFICATION
    with tarfile.open(fileobj=io.BytesIO(containers.tar_gz({"a": b"b"}, {}))) as archive:
        assert archive.getmember("a").size == 1


def test_the_facts_are_installed(bash: Installed) -> None:
    facts = json.loads((bash.root / "etc/double.json").read_text())
    assert facts["series"] == "honister"
    assert facts["strict"] is False
