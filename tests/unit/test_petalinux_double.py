# SPDX-License-Identifier: MIT
"""The double of PetaLinux refuses what the real one refuses, and leaves what that one leaves."""

from __future__ import annotations

import gzip
import io
import json
import locale
import os
import shutil
import struct
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from builder.bsp import bootbin
from tests.petalinux import double
from tests.petalinux.double import make_installer, make_xsa
from tests.petalinux.installed import PATH, Installed, install, run
from tests.petalinux.releases import RELEASES
from tests.petalinux.tool import containers, kconfig
from tests.petalinux.tool.bitbake import check_host
from tests.petalinux.tool.project import Project
from tests.petalinux.tool.talk import Stop
from tests.petalinux.tool.toolbox import Toolbox

BASH, PYTHON = "2022.1", "2024.1"
BOTH = pytest.mark.parametrize("release", [BASH, PYTHON])
DTS = "project-spec/meta-user/recipes-bsp/device-tree/files/system-user.dtsi"
UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Installed]:
    """An installed double of both kinds."""
    folder = tmp_path_factory.mktemp("petalinux")
    return {release: install(release, folder) for release in (BASH, PYTHON, "2024.2")}


@pytest.fixture(params=[BASH, PYTHON])
def tool(request: pytest.FixtureRequest, tools: dict[str, Installed]) -> Installed:
    """Each of both kinds."""
    return tools[request.param]


@pytest.fixture
def bash(tools: dict[str, Installed]) -> Installed:
    return tools[BASH]


@pytest.fixture
def python(tools: dict[str, Installed]) -> Installed:
    return tools[PYTHON]


@pytest.fixture
def common() -> Iterator[Path]:
    """A directory that everybody may write to; that of pytest is its user's alone."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o777)
        yield Path(name)


_CONFIGURED: dict[tuple[Path, str], Path] = {}


def configured(tool: Installed, cwd: Path, family: str = "zynq") -> Path:
    """Return a project that knows its hardware; the first of a kind is made, the others copied."""
    made = _CONFIGURED.get((tool.root, family))
    if made is None:
        folder = tool.root.parent / f"{tool.root.name}-{family}"
        folder.mkdir()
        made = tool.project(folder, family)
        xsa = make_xsa(folder / "design.xsa", family)
        words = ("petalinux-config", f"--get-hw-description={xsa}", "--silentconfig")
        done = tool.run(*words, cwd=made)
        assert done.returncode == 0, done.stdout
        _CONFIGURED[tool.root, family] = made
    shutil.copytree(made, cwd / "p")
    return cwd / "p"


def append(project: Path, *lines: str) -> None:
    with (project / "project-spec/configs/config").open("a") as config:
        config.write("".join(f"{line}\n" for line in lines))


def settings(project: Path) -> dict[str, str]:
    return kconfig.read(project / "project-spec/configs/config")


def metadata(project: Path) -> dict[str, str]:
    lines = (project / ".petalinux/metadata").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def package(tool: Installed, kind: str) -> tuple[str, str]:
    return ("petalinux-package", kind if tool.release.python else f"--{kind}")


# The installer


def unprivileged(*words: str | Path, cwd: Path, path: str, given: str = "") -> tuple[int, str]:
    first = UNPRIVILEGED if os.geteuid() == 0 else ()
    done = run(*first, *words, cwd=cwd, given=given, environment={"PATH": path})
    return done.returncode, done.stdout


@pytest.fixture
def fit(common: Path) -> str:
    """A PATH on which there is all that the installers ask for."""
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


def test_root_is_refused(tmp_path: Path, needs_root: None) -> None:
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


def test_our_own_layer_is_right(
    tmp_path: Path, tools: dict[str, Installed], repository: Path
) -> None:
    for release in (BASH, PYTHON):
        (tmp_path / release).mkdir()
        project = configured(tools[release], tmp_path / release)
        layer = repository / "petalinux_bsp/meta-user"
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
