# SPDX-License-Identifier: MIT
"""PetaLinux double: petalinux-build rebuilds what depends on a change, and fails like bitbake."""

from __future__ import annotations

import locale
import os
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fixtures.product import ROOT
from tests.petalinux.installed import Installed
from tests.petalinux.support import (
    BASH,
    DTS,
    PYTHON,
    append,
    configured,
)
from tests.petalinux.tool.bitbake import check_host
from tests.petalinux.tool.project import Project
from tests.petalinux.tool.talk import Stop
from tests.petalinux.tool.toolbox import Toolbox

# petalinux-build


@pytest.mark.parametrize(
    ("release", "family", "names"),
    [
        (BASH, "zynq", "zynq_fsbl.elf u-boot.elf u-boot-dtb.elf zImage uImage"),
        (PYTHON, "zynqMP", "zynqmp_fsbl.elf pmufw.elf bl31.elf u-boot.elf Image"),
    ],
)
def test_a_whole_build(
    tmp_path: Path, tools: dict[str, Installed], release: str, family: str, names: str
) -> None:
    tool = tools[release]
    project = configured(tool, tmp_path, family)
    done = tool.run("petalinux-build", cwd=project)
    assert done.returncode == 0, done.stdout
    assert "[INFO] Successfully built project\n" in done.stdout
    assert "INFO" in done.stdout
    assert "NOTE: Running task " in done.stdout
    images = project / "images/linux"
    common = "system.dtb image.ub boot.scr rootfs.tar.gz system.bit"
    assert {*names.split(), *common.split()} <= {path.name for path in images.iterdir()}
    assert images.joinpath("system.dtb").read_bytes()[:4] == b"\xd0\x0d\xfe\xed"
    with tarfile.open(images / "rootfs.tar.gz") as archive:
        assert f"lib/modules/{tool.release.kernel_release}/modules.dep" in archive.getnames()
    again = tool.run("petalinux-build", cwd=project).stdout
    assert "(0% match, 100% complete)" in again
    total = again.split("Attempted ")[1].split()[0]
    assert f"Attempted {total} tasks of which {total} didn't need to be rerun" in again


def rebuilt(tool: Installed, project: Path) -> list[str]:
    done = tool.run("petalinux-build", cwd=project)
    assert done.returncode == 0, done.stdout
    starts = [line for line in done.stdout.splitlines() if line.endswith("do_compile: Started")]
    return [line.split()[2].rsplit("-", 2)[0] for line in starts]


def test_what_a_change_rebuilds(tmp_path: Path, python: Installed) -> None:
    project = configured(python, tmp_path)
    assert "linux-xlnx" in rebuilt(python, project)
    assert rebuilt(python, project) == []
    before = (project / DTS).read_text()
    (project / DTS).write_text(f'{before}/ {{ model = "x"; }};\n')
    first = rebuilt(python, project)
    assert first[0].startswith("device-tree")
    assert "fsbl-firmware" not in first
    (project / DTS).write_text(before)
    assert rebuilt(python, project) == []
    (project / "project-spec/meta-user/recipes-bsp/u-boot/files/bsp.cfg").write_text("CONFIG_X=y\n")
    assert rebuilt(python, project) == ["u-boot-xlnx"]


def test_sstate_of_another_project(tmp_path: Path, python: Installed) -> None:
    (tmp_path / "a").mkdir()
    project = configured(python, tmp_path)
    assert rebuilt(python, project)
    feed = project / "build/sstate-cache"
    other = python.project(tmp_path / "a")
    xsa = f"--get-hw-description={project / 'project-spec/hw-description'}"
    append(other, f'CONFIG_YOCTO_LOCAL_SSTATE_FEEDS_URL="{feed}"')
    assert python.run("petalinux-config", xsa, "--silentconfig", cwd=other).returncode == 0
    assert rebuilt(python, other) == []


def test_components(tmp_path: Path, tool: Installed) -> None:
    project = configured(tool, tmp_path, "zynqMP")
    images = project / "images/linux"
    assert tool.run("petalinux-build", "-c", "bootloader", cwd=project).returncode == 0
    assert sorted(path.name for path in images.iterdir()) == ["system.bit", "zynqmp_fsbl.elf"]
    for component in ("pmufw", "arm-trusted-firmware", "u-boot", "kernel", "u-boot-xlnx-scr"):
        done = tool.run("petalinux-build", "-c", component, cwd=project)
        assert f"[INFO] Successfully built {component}" in done.stdout
    clean = tool.run("petalinux-build", "-c", "u-boot", "-x", "cleansstate", cwd=project)
    assert clean.returncode == 0
    assert not (images / "u-boot.elf").exists()
    done = tool.run("petalinux-build", "-c", "nothing", cwd=project)
    assert done.returncode == 255
    assert "ERROR: Nothing PROVIDES 'nothing'" in done.stdout
    assert tool.run("petalinux-build", "-x", "mrproper", cwd=project).returncode == 0
    assert not images.exists()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("no-space", 'the disk space monitor action is "STOPTASKS"!'),
        ("inotify", "ERROR: No space left on device or exceeds fs.inotify.max_user_watches?"),
        ("locale", "Please use a locale setting which supports UTF-8 (such as LANG=en_US.UTF-8)."),
        ("dts", "| FATAL ERROR: Unable to parse input tree"),
        ("checksum", "do_fetch: Bitbake Fetcher Error: ChecksumError('Checksum mismatch!"),
        ("fetch", "Unable to fetch URL from any source."),
        ("compile@u-boot-xlnx", "ERROR: u-boot-xlnx-git-r0 do_compile: oe_runmake failed"),
    ],
)
def test_failures_on_demand(tmp_path: Path, tool: Installed, kind: str, says: str) -> None:
    project = configured(tool, tmp_path)
    done = tool.run("petalinux-build", cwd=project, DOUBLE_FAIL=kind)
    assert done.returncode == 255
    assert says in done.stdout
    end = "Failed to build project. Check the "
    if tool.release.python:
        command = "gen-machineconf" if kind == "locale" else "bitbake petalinux-image-minimal"
        end = f"[ERROR] Command {command}"
    assert end in done.stdout
    assert "Successfully" not in done.stdout


def test_a_failure_goes_with_its_marker(tmp_path: Path, bash: Installed) -> None:
    project = configured(bash, tmp_path)
    marker = project / "project-spec/meta-user/DOUBLE_FAIL"
    marker.write_text("checksum\n")
    assert bash.run("petalinux-build", cwd=project).returncode == 255
    marker.unlink()
    assert bash.run("petalinux-build", cwd=project).returncode == 0


def test_the_log_of_a_failure(tmp_path: Path, bash: Installed) -> None:
    project = configured(bash, tmp_path)
    (project / DTS).write_text("/ {\n\tmodel = DOUBLE-SYNTAX-ERROR;\n};\n")
    done = bash.run("petalinux-build", cwd=project).stdout
    log = done.split("ERROR: Logfile of failure stored in: ")[1].splitlines()[0]
    assert "Error: system-user.dtsi:2.1-" in Path(log).read_text()
    assert (project / "build/build.log").read_text() in done


@pytest.mark.skipif(shutil.which("dtc") is None, reason="needs dtc")
@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('/include/ "system-conf.dtsi"\n&sdhci0 { no-1-8-v; };\n', False),
        ('/include/ "system-conf.dtsi"\n', False),
        ("#include <dt-bindings/gpio/gpio.h>\n/ { a = <GPIO_X>; };\n", False),
        ('/include/ "system-conf.dtsi"\n/ {\n\tmodel = "x"\n};\n', True),
    ],
)
def test_device_trees(tmp_path: Path, python: Installed, text: str, *, wrong: bool) -> None:
    project = configured(python, tmp_path)
    (project / DTS).write_text(text)
    done = python.run("petalinux-build", "-c", "device-tree", cwd=project)
    assert (done.returncode != 0) is wrong
    assert ("Error: system-user.dtsi:4." in done.stdout) is wrong


LAYER = "project-spec/meta-user/conf/layer.conf"
APPEND = "project-spec/meta-user/recipes-kernel/linux/linux-xlnx_%.bbappend"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (LAYER, 'LAYERSERIES_COMPAT_meta-user = "zeus"\n', "Layer meta-user is not compatible"),
        (APPEND, 'SRC_URI_append = " file://a.cfg"\n', "using the old override syntax"),
        (APPEND, 'SRC_URI:append = " file://a.cfg"\n', "Fetcher failure for URL: 'file://a.cfg'"),
    ],
)
def test_faults_of_a_layer(
    tmp_path: Path, bash: Installed, name: str, text: str, says: str
) -> None:
    project = configured(bash, tmp_path)
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text(text)
    done = bash.run("petalinux-build", cwd=project)
    assert done.returncode == 255
    assert says in done.stdout


def test_our_own_layer_is_right(tmp_path: Path, tools: dict[str, Installed]) -> None:
    for release in (BASH, PYTHON):
        (tmp_path / release).mkdir()
        project = configured(tools[release], tmp_path / release)
        layer = ROOT / "petalinux_bsp/meta-user"
        shutil.copytree(layer, project / "project-spec/meta-user", dirs_exist_ok=True)
        done = tools[release].run("petalinux-build", cwd=project)
        assert done.returncode == 0, done.stdout


def test_no_network(tmp_path: Path, python: Installed) -> None:
    project = configured(python, tmp_path)
    append(project, "CONFIG_YOCTO_BB_NO_NETWORK=y")
    done = python.run("petalinux-build", cwd=project)
    assert "Network access disabled through BB_NO_NETWORK" in done.stdout
    mirror = tmp_path / "downloads"
    mirror.mkdir()
    (mirror / "source.tar.gz").touch()
    append(project, f'CONFIG_PRE_MIRROR_URL="file://{mirror}"')
    assert python.run("petalinux-build", cwd=project).returncode == 0


@pytest.mark.parametrize("fault", ["locale", "root", ""])
def test_bitbake_looks_at_the_host(
    python: Installed,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    fault: str,
) -> None:
    def no_locale(*_: object) -> None:
        raise locale.Error

    project = python.project(tmp_path)
    strict = replace(Toolbox.at(python.root), strict=True)
    with monkeypatch.context() as patched:
        patched.setattr(locale, "setlocale", no_locale if fault == "locale" else lambda *_: "")
        patched.setattr(os, "geteuid", lambda: 0 if fault == "root" else 1000)
        if fault:
            with pytest.raises(Stop):
                check_host(Project(project, strict))
        else:
            check_host(Project(project, strict))
    out, err = capsys.readouterr()
    assert ("Do not use Bitbake as root." in out) is (fault == "root")
    assert ("make sure locale 'en_US.UTF-8' is available" in err) is (fault == "locale")
