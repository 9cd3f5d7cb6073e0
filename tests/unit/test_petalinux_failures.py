# SPDX-License-Identifier: MIT
"""A failed command of PetaLinux is explained: what failed, the line that matters, what to do."""

from __future__ import annotations

import os
import re
import shutil
import string
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.bsp.petalinux import failures
from builder.bsp.petalinux.failures import Failure, explain, known_failures
from builder.errors import BuildError, CommandError, HostError, UserError
from tests.petalinux.double import make_installer, make_xsa
from tests.petalinux.installed import Installed, install, run
from tests.unit.petalinux.support import BASH, BOTH, PYTHON, UNPRIVILEGED, append, configured

LAYER = "project-spec/meta-user/conf/layer.conf"
APPEND = "project-spec/meta-user/recipes-kernel/linux/linux-xlnx_%.bbappend"
ENDED = "petalinux-build ended with status 255"


def error(message: str = ENDED, *details: str) -> CommandError:
    return CommandError(message, replay="docker run ...", status=255, details=details)


def read(path: str) -> str | None:
    return Path(path).read_text() if Path(path).is_file() else None


def nothing(_: str) -> None:
    return None


@pytest.fixture(scope="module")
def doubles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Installed]:
    folder = tmp_path_factory.mktemp("failures")
    return {release: install(release, folder) for release in (BASH, PYTHON)}


@pytest.fixture
def common() -> Iterator[Path]:
    """A directory that everybody may read; that of pytest is its user's alone."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o777)
        yield Path(name)


def check(found: BuildError, kind: type[BuildError], message: str, line: str, hint: str) -> None:
    assert type(found) is kind
    assert found.message == message
    assert re.search(line, found.details[0])
    assert hint in (found.hint or "")


# With the double


@BOTH
@pytest.mark.parametrize(
    ("fail", "kind", "message", "line", "hint"),
    [
        (
            "no-space",
            HostError,
            f"{ENDED}: the disk is full",
            r"^WARNING: The free space of /.*/build/tmp \(/dev/sda1\) is running low",
            "--store",
        ),
        (
            "inotify",
            HostError,
            f"{ENDED}: the machine's limit of inotify is reached",
            "^ERROR: No space left on device or exceeds fs.inotify.max_user_watches",
            "sudo sysctl -w fs.inotify.max_user_watches=524288",
        ),
        (
            "locale",
            HostError,
            f"{ENDED}: bitbake finds no UTF-8 locale",
            "^Please use a locale setting which supports UTF-8",
            "locale-gen en_US.UTF-8",
        ),
        (
            "dts",
            UserError,
            "device-tree do_compile failed: a fault in the device tree, system-user.dtsi:12",
            r"^Error: system-user\.dtsi:12\.3-4 syntax error$",
            "correct system-user.dtsi:12 ",
        ),
        (
            "checksum",
            CommandError,
            "u-boot-xlnx do_fetch failed: a download is not what was expected",
            r"^ERROR: u-boot-xlnx-git-r0 do_fetch: Bitbake Fetcher Error: ChecksumError\(",
            "_bad-checksum_",
        ),
        (
            "fetch",
            CommandError,
            "linux-xlnx do_fetch failed: a source cannot be downloaded",
            "^ERROR: linux-xlnx-git-r0 do_fetch: .*Unable to fetch URL from any source",
            "https_proxy",
        ),
        (
            "compile@u-boot-xlnx",
            CommandError,
            "u-boot-xlnx do_compile failed: the compiler refuses the source",
            "^drivers/foo.c:1:1: error: the double was told to fail$",
            "a patch or a configuration fragment",
        ),
    ],
)
def test_failures_on_demand(
    tmp_path: Path,
    doubles: dict[str, Installed],
    *,
    release: str,
    fail: str,
    kind: type[BuildError],
    message: str,
    line: str,
    hint: str,
) -> None:
    project = configured(doubles[release], tmp_path)
    done = doubles[release].run("petalinux-build", cwd=project, DOUBLE_FAIL=fail)
    found = explain(error(), done.stdout, read_log=read)
    check(found, kind, message, line, hint)
    task = " do_" in message
    logs = [line for line in found.details if line.startswith("log of ")]
    assert len(logs) == task
    if task:
        assert Path(logs[0].split(": ")[1]).is_file()
    if isinstance(found, CommandError):
        assert (found.replay, found.status) == ("docker run ...", 255)


@BOTH
@pytest.mark.parametrize(
    ("name", "text", "message", "line", "hint"),
    [
        (
            LAYER,
            'LAYERSERIES_COMPAT_meta-user = "zeus"\n',
            f"{ENDED}: the layer meta-user is for another release of Yocto",
            "^ERROR: Layer meta-user is not compatible with the core layer",
            "take the version of meta-user for SERIES;",
        ),
        (
            APPEND,
            'SRC_URI_append = " file://a.cfg"\n',
            f"{ENDED}: SRC_URI_append is written in an old syntax",
            r"^ERROR: ParseError at /.*linux-xlnx_%\.bbappend:1: Variable SRC_URI_append ",
            "SRC_URI:append",
        ),
        (
            APPEND,
            'SRC_URI:append = " file://a.cfg"\n',
            "linux-xlnx do_fetch failed: no layer has the file a.cfg",
            "^ERROR: linux-xlnx-git-r0 do_fetch: Fetcher failure for URL: 'file://a.cfg'",
            "put a.cfg where",
        ),
    ],
)
def test_faults_of_a_layer(
    tmp_path: Path,
    doubles: dict[str, Installed],
    *,
    release: str,
    name: str,
    text: str,
    message: str,
    line: str,
    hint: str,
) -> None:
    tool = doubles[release]
    project = configured(tool, tmp_path)
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text(text)
    done = tool.run("petalinux-build", cwd=project)
    found = explain(error(), done.stdout, read_log=read)
    check(found, UserError, message, line, hint.replace("SERIES", tool.release.series))


@BOTH
def test_no_network(tmp_path: Path, doubles: dict[str, Installed], release: str) -> None:
    project = configured(doubles[release], tmp_path)
    append(project, "CONFIG_YOCTO_BB_NO_NETWORK=y")
    done = doubles[release].run("petalinux-build", cwd=project)
    message = "something is to be downloaded, and the network may not be used"
    check(
        explain(error(), done.stdout),
        CommandError,
        f"device-tree do_fetch failed: {message}",
        "^ERROR: .* do_fetch: Network access disabled through BB_NO_NETWORK",
        "archives of downloads and sstate",
    )


@BOTH
@pytest.mark.parametrize(
    ("name", "content", "what", "line", "hint"),
    [
        ("none.xsa", None, "there is no", r'Unable to get ".*/none\.xsa"', "/none.xsa: bsp.hardw"),
        (".", None, "there is no", "ERROR.* No XSA or DTS found in", "found at /"),
        ("broken.xsa", b"no zip", "cannot be used", r"\[Common 17-39\].*not a zip", "export it"),
        ("other.xsa", "zynqMP", "cannot be used", "no ps7_init in it", "for the board's own chip"),
    ],
)
def test_wrong_hardware(
    tmp_path: Path,
    doubles: dict[str, Installed],
    *,
    release: str,
    name: str,
    content: bytes | str | None,
    what: str,
    line: str,
    hint: str,
) -> None:
    project = doubles[release].project(tmp_path)
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        make_xsa(tmp_path / name, content)
    words = ("petalinux-config", f"--get-hw-description={tmp_path / name}", "--silentconfig")
    done = doubles[release].run(*words, cwd=project)
    ended = "petalinux-config ended with status 255"
    found = explain(error(ended), done.stdout)
    assert found.message.startswith(f"{ended}: ")
    assert what in found.message
    check(found, UserError, found.message, line, hint)


@BOTH
def test_an_installer_that_misses_packages(common: Path, release: str) -> None:
    few = common / "few"
    few.mkdir()
    needed = "bash id readlink mktemp tail tar gzip mkdir tee rm sed cat df awk dirname setpriv env"
    for name in needed.split():
        (few / name).symlink_to(shutil.which(name) or f"/usr/bin/{name}")
    words = [*(UNPRIVILEGED if os.geteuid() == 0 else ()), make_installer(release, common), "-y"]
    words = [word for word in words if release == PYTHON or word != "-y"]
    done = run(*words, "-d", common / "pl", cwd=common, environment={"PATH": str(few)})
    ended = "petalinux-installer.run ended with status 255"
    check(
        found := explain(error(ended), done.stdout),
        HostError,
        f"{ended}: PetaLinux misses packages",
        "^ERROR: You are missing the following system tools required by PetaLinux:$",
        "install what brings these: ",
    )
    assert found.hint is not None
    assert found.hint.endswith("zlib, ncurses")
    assert {"xterm,", "autoconf,", "libtool,"} <= set(found.hint.split())


def test_an_installer_that_root_runs(tmp_path: Path, needs_root: None) -> None:
    done = run(make_installer(PYTHON, tmp_path), "-y", cwd=tmp_path)
    check(
        explain(error("installer.run ended with status 255"), done.stdout),
        HostError,
        "installer.run ended with status 255: PetaLinux does not run as root",
        "Cannot install as root",
        "as an ordinary user",
    )


# What real ones say, and the double does not


WORK = "/p/build/tmp/work/zynq_generic-xilinx-linux-gnueabi"
LAYERS = "/p/components/yocto/layers"


def failed(recipe: str, task: str, *lines: str, data: str = "", native: str = "") -> str:
    """Return what bitbake says of a failed task; `data` is the end of its log."""
    version = f"{recipe}-2.0+gitAUTOINC+0123456789-r0"
    said = [f"ERROR: {version} do_{task}: {line}" for line in lines]
    said.append(f"ERROR: Logfile of failure stored in: {log(recipe, task)}")
    if data:
        said += ["Log data follows:", *(f"| {line}" for line in data.splitlines())]
    path = f"{native}{LAYERS}/meta/{recipe}/{recipe}_2.0.bb"
    said.append(f"NOTE: recipe {version}: task do_{task}: Failed")
    said.append(f"ERROR: Task ({path}:do_{task}) failed with exit code '1'")
    return "\n".join(["NOTE: Executing Tasks", *said, ""])


def log(recipe: str, task: str) -> str:
    return f"{WORK}/{recipe}/2.0+gitAUTOINC+0123456789-r0/temp/log.do_{task}.4711"


STACK = "Error executing a python function in exec_python_func() autogenerated:"
FETCHED = (
    'Fetcher failure: Fetch command export PATH="' + "/p/bin:" * 200 + '"; git -c gc.auto=0 '
    "ls-remote https://git.example/linux failed with exit code 128, output:\nfatal: unable to "
    "access 'https://git.example/linux/': Could not resolve host: git.example\n"
)
URL = "https://git.example/linux-6.1.tar.gz"


RECORDED = [
    pytest.param(
        "ERROR: No space left on device or exceeds fs.inotify.max_user_watches?\n",
        HostError,
        "inotify is reached",
        "exceeds",
        "sysctl",
        id="inotify",
    ),
    pytest.param(
        " pyinotify.WatchManagerError: add_watch: cannot watch /p/build/conf WD=-1, Errno=No "
        "space left on device (ENOSPC)\n",
        HostError,
        "inotify is reached",
        "WatchManagerError",
        "fs.inotify.max_user_watches",
        id="inotify-watches",
    ),
    pytest.param(
        "inotify_init: Errno=Too many open files (EMFILE)\n",
        HostError,
        "inotify is reached",
        "EMFILE",
        "fs.inotify.max_user_instances",
        id="inotify-instances",
    ),
    pytest.param(
        'ERROR: Immediately halt since the disk space monitor action is "HALT"!\n',
        HostError,
        "disk is full",
        "^ERROR: Immediately halt",
        "--store",
        id="no-space-halt",
    ),
    pytest.param(
        failed(
            "linux",
            "compile",
            "oe_runmake failed",
            data="/tmp/x.s: fatal error: a.c:1:2: error: writing: No space left on device",
        ),
        HostError,
        "linux do_compile failed: the disk is full",
        "No space left on device$",
        "--store",
        id="no-space-in-a-compiler",
    ),
    pytest.param(
        failed(
            "qemu",
            "compile",
            data="a.cc:1: error: x\ncc: fatal error: Killed signal terminated program cc1plus",
        ),
        HostError,
        "ran out of memory",
        "Killed signal",
        "--jobs 1",
        id="memory",
    ),
    pytest.param(
        "Please make sure locale 'en_US.UTF-8' is available on your system\n",
        HostError,
        "no UTF-8 locale",
        "en_US",
        "locale-gen",
        id="locale",
    ),
    pytest.param(
        "ERROR:  OE-core's config sanity checker detected a potential misconfiguration.\n"
        "    Following is the list of potential problems / advisories:\n\n"
        "    Do not use Bitbake as root.\n",
        HostError,
        "does not run as root",
        "Do not use Bitbake as root",
        "sudo",
        id="root",
    ),
    pytest.param(
        "[ERROR] No XSA/DTS found in /p/project-spec/hw-description\n",
        UserError,
        "no hardware export",
        "No XSA/DTS",
        "/p/project-spec/hw-description",
        id="no-xsa",
    ),
    pytest.param(
        "ERROR: [HDF 64-4] /p/system.xsa is not valid Hardware Handoff File\n"
        "ERROR: [Hsi 55-1451] Error: running open_hw_design.\n"
        "ERROR: Failed to generate /p/build/misc/config/Kconfig.syshw\n",
        UserError,
        "hardware export (.xsa) cannot be used",
        "64-4",
        "not newer",
        id="xsa-damaged",
    ),
    pytest.param(
        "ERROR: [Hsi 55-1699] a.xsa doesn't have supported extension. Supported are .hdf\n",
        UserError,
        "cannot be used",
        "55-1699",
        "export it again",
        id="xsa-of-another-release",
    ),
    pytest.param(
        "ERROR: Layer a is not compatible with the core layer which only supports these "
        "series: honister (layer is compatible with hardknott)\n"
        "ERROR: Layer b is not compatible with the core layer which only supports these "
        "series: honister (layer is compatible with zeus)\n",
        UserError,
        "the layer a, b is for",
        "Layer a is",
        "of a, b for honister;",
        id="two-layers",
    ),
    pytest.param(
        "ERROR: Variable IMAGE_INSTALL_append file: /p/layer.conf line: 6 contains an operation "
        "using the old override syntax. Please convert this layer/metadata before attempting\n",
        UserError,
        "IMAGE_INSTALL_append is",
        "layer.conf line: 6",
        "write IMAGE_INSTALL_append",
        id="old-override-with-its-place",
    ),
    pytest.param(
        failed(
            "linux",
            "fetch",
            "Fetcher failure: Unable to find file file://my.cfg;name=x anywhere. The paths that "
            "were searched were:\n    /p/a\n    /p/b",
            "Bitbake Fetcher Error: FetchError('Unable to fetch URL from any source.', "
            "'file://my.cfg;name=x')",
        ),
        UserError,
        "linux do_fetch failed: no layer has the file my.cfg",
        "Unable to find file file://my.cfg",
        "put my.cfg where",
        id="missing-file",
    ),
    pytest.param(
        failed(
            "linux",
            "fetch",
            "Bitbake Fetcher Error: FetchError('Unable to fetch URL from "
            "any source.', 'file://my.cfg')",
        ),
        UserError,
        "no layer has the file my.cfg",
        "FetchError",
        "my.cfg",
        id="missing-file-in-short",
    ),
    pytest.param(
        f"ERROR: {LAYERS}/linux_5.4.bb: Unable to get checksum for linux SRC_URI entry a.patch: "
        "file could not be found\nThe following paths were searched:\n/p/a.patch\n",
        UserError,
        "no layer has the file a.patch",
        "Unable to get checksum",
        "a.patch",
        id="missing-file-while-parsing",
    ),
    pytest.param(
        failed(
            "linux",
            "fetch",
            f"Checksum failure fetching {URL}",
            f"Bitbake Fetcher Error: FetchError('Unable to fetch URL from any source.', '{URL}')",
        ),
        CommandError,
        "is not what was expected",
        "Checksum failure fetching",
        "mirror",
        id="checksum",
    ),
    pytest.param(
        failed(
            "linux",
            "fetch",
            f"Fetcher failure for URL: '{URL}'. Checksum mismatch!\nFile: "
            "'/d/linux.tar.gz' has sha256 checksum '00' when '11' was expected",
        ),
        CommandError,
        "is not what was expected",
        "Checksum mismatch!",
        "mirror",
        id="checksum-as-older-ones-say",
    ),
    pytest.param(
        failed("linux", "fetch", f"Bitbake Fetcher Error: NetworkAccess('{URL}', 'wget -t 2')"),
        CommandError,
        "the network may not be used",
        "NetworkAccess",
        "sstate",
        id="no-network",
    ),
    pytest.param(
        failed(
            "linux",
            "fetch",
            FETCHED,
            f"Bitbake Fetcher Error: FetchError('Unable to fetch URL from any source.', '{URL}')",
        ),
        CommandError,
        "linux do_fetch failed: a source cannot be downloaded",
        "Unable to fetch URL",
        "https_proxy",
        id="fetch",
    ),
    pytest.param(
        "ERROR:  OE-core's config sanity checker detected a potential misconfiguration.\n"
        "    Fetcher failure for URL: 'https://www.example.com/'. URL doesn't work.\n",
        CommandError,
        "cannot be downloaded",
        "www.example.com",
        "https_proxy",
        id="fetch-for-a-try",
    ),
    pytest.param(
        failed(
            "device-tree",
            "compile",
            STACK + "\n\nThe stack trace of python calls that "
            "resulted in this exception/failure was:\n     0001:\n *** 0002:devicetree_do_compile(d)"
            "\nException: subprocess.CalledProcessError: Command '['dtc', '-p', '0x1000']' returned "
            "non-zero exit status 1.",
            data=f"DEBUG: Python function do_compile\nError: {WORK}/"
            "device-tree/r0/system-user.dtsi:31.20-21 syntax error\nFATAL ERROR: Unable to parse "
            "input tree",
        ),
        UserError,
        "device-tree do_compile failed: a fault in the device tree, system-user.dtsi:31",
        "^Error: .*:31.20-21 syntax error$",
        "correct system-user.dtsi:31",
        id="device-tree",
    ),
    pytest.param(
        failed("device-tree", "compile", data="Lexical error: pl.dtsi:6.20-30 Unexpected 'X'"),
        UserError,
        "pl.dtsi:6",
        "^Lexical error",
        "pl.dtsi:6",
        id="device-tree-a-macro",
    ),
    pytest.param(
        failed(
            "device-tree",
            "compile",
            data="Error: a.dtsi:336.1-15 Label or path npi not "
            "found\nError: a.dtsi:339.1-15 Label or path nps not found",
        ),
        UserError,
        "a.dtsi:336, a.dtsi:339",
        "path npi not found",
        "labels",
        id="device-tree-two-labels",
    ),
    pytest.param(
        failed(
            "device-tree",
            "compile",
            data="system-top.dtb: ERROR (phandle_references): "
            'Reference to non-existent node or label "clk"',
        ),
        UserError,
        "system-top.dtb",
        "phandle_references",
        "labels",
        id="device-tree-a-phandle",
    ),
    pytest.param(
        failed(
            "device-tree",
            "compile",
            data="/w/system-user.dtsi:2:10: fatal error: x.h: No such file or directory",
        ),
        UserError,
        "system-user.dtsi:2",
        "x.h",
        "system-user.dtsi:2",
        id="device-tree-an-include",
    ),
    pytest.param(
        failed(
            "device-tree",
            "compile",
            data='FATAL ERROR: Couldn\'t open "board.dtsi": No such file or directory',
        ),
        UserError,
        "board.dtsi",
        "Couldn't open",
        "board.dtsi",
        id="device-tree-another-include",
    ),
    pytest.param(
        failed(
            "foo",
            "compile",
            "oe_runmake failed",
            "Execution of 'run.do_compile' failed with exit code 1",
            data="conftest.c:1:2: error: no\nmake -j 8\nsrc/a.c: In function 'f':\n"
            "src/a.c:9:3: error: unknown type name 'u99'\n    9 |   u99 x;\nsrc/a.c:11:3: error: b\n"
            "make: *** [Makefile:3: a.o] Error 1",
        ),
        CommandError,
        "foo do_compile failed: the compiler refuses the source",
        "^src/a.c:9:3: error: unknown type name 'u99'$",
        "patch",
        id="compile",
    ),
    pytest.param(
        failed(
            "foo",
            "compile",
            data="ld: a.o: in function `f': a.c:(.text+0x10): undefined reference to `g'",
        ),
        CommandError,
        "the compiler refuses",
        "undefined reference",
        "patch",
        id="compile-linker",
    ),
    pytest.param(
        "[INFO] Checking installed tools\n[ERROR] You are missing the following system tools "
        "required by PetaLinux:\n\n - xterm\n - libtool\nPlease check\n\n[INFO] Checking "
        "installed development libraries\n[ERROR] You are missing these development libraries "
        "required by PetaLinux:\n\n - ncurses\n\nPlease install them\n",
        HostError,
        "misses packages",
        "system tools",
        "these: xterm, libtool, ncurses",
        id="packages",
    ),
    pytest.param(
        "WARNING: The free inode of /d (/dev/sda1) is running low (9.000K left)\nERROR: No new "
        'tasks can be executed since the disk space monitor action is "STOPTASKS"!\n',
        HostError,
        "disk is full",
        "^WARNING: The free inode of /d",
        "--store",
        id="no-space-inodes",
    ),
    pytest.param(
        "tar: x: Cannot write: Disk quota exceeded\n",
        HostError,
        "disk is full",
        "quota",
        "--store",
        id="no-space-quota",
    ),
    pytest.param(
        "cc1plus: out: virtual memory exhausted: Success\n",
        HostError,
        "ran out of memory",
        "virtual memory",
        "--jobs 1",
        id="memory-virtual",
    ),
    pytest.param(
        "OSError: [Errno 12] Cannot allocate memory\n",
        HostError,
        "ran out of memory",
        "Errno 12",
        "--jobs 1",
        id="memory-python",
    ),
    pytest.param(
        "Please use a locale setting which supports UTF-8 (such as LANG=en_US.UTF-8).\n",
        HostError,
        "no UTF-8 locale",
        "en_US",
        "locale-gen",
        id="locale-of-python",
    ),
    pytest.param(
        "    Your system needs to support the en_US.UTF-8 locale.\n",
        HostError,
        "no UTF-8 locale",
        "Your system",
        "locale-gen",
        id="locale-of-the-sanity-checker",
    ),
    pytest.param(
        "ERROR: Exiting Installer: Cannot install as root !\n",
        HostError,
        "does not run as root",
        "Exiting Installer",
        "sudo",
        id="root-installs",
    ),
    pytest.param(
        '[ERROR] Unable to get "/x/a.xsa": No Such File or Directory\n',
        UserError,
        "no hardware export",
        "Unable to get",
        "/x/a.xsa",
        id="no-xsa-at-all",
    ),
    pytest.param(
        "ERROR: [Common 17-39] 'hsi::open_hw_design' failed due to earlier errors.\n",
        UserError,
        "cannot be used",
        "17-39",
        "export it again",
        id="xsa-in-short",
    ),
    pytest.param(
        "ERROR: [Common 17-39] something before 'hsi::open_hw_design' ran\n"
        "ERROR: [Common 17-39] 'hsi::open_hw_design' failed. (/a.xsa: no ps7_init in it)\n",
        UserError,
        "cannot be used",
        "no ps7_init",
        "export it again",
        id="xsa-with-a-reason",
    ),
    pytest.param(
        failed(
            "linux",
            "fetch",
            "Fetcher failure for URL: 'file://my.cfg'. Unable to fetch URL from any source.",
        ),
        UserError,
        "no layer has the file my.cfg",
        "Fetcher failure",
        "my.cfg",
        id="missing-file-as-older-ones-say",
    ),
    pytest.param(
        failed("linux", "fetch", f"Bitbake Fetcher Error: ChecksumError('Checksum', '{URL}')"),
        CommandError,
        "is not what was expected",
        "ChecksumError",
        "mirror",
        id="checksum-in-short",
    ),
    pytest.param(
        "ERROR: Network access disabled through BB_NO_NETWORK (or set indirectly) but access "
        f"requested with command git fetch (for url {URL})\n",
        CommandError,
        "the network may not be used",
        "BB_NO_NETWORK",
        "sstate",
        id="no-network-while-parsing",
    ),
    pytest.param(
        failed("linux", "fetch", FETCHED),
        CommandError,
        "cannot be downloaded",
        "Fetcher failure: Fetch command",
        "https_proxy",
        id="fetch-of-a-revision",
    ),
]


@pytest.mark.parametrize(("output", "kind", "what", "line", "hint"), RECORDED)
def test_recorded(output: str, kind: type[BuildError], what: str, line: str, hint: str) -> None:
    found = explain(error(), output)
    assert what in found.message
    check(found, kind, found.message, line, hint)


PLACES = [
    (failure.name, number) for failure in known_failures() for number in range(len(failure.says))
]


@pytest.mark.parametrize(("name", "number"), PLACES)
def test_each_expression_of_the_table_is_tested(
    monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """Without an expression one of the recorded outputs is explained in another way."""

    def without(failure: Failure) -> Failure:
        says = failure.says
        says = says[:number] + says[number + 1 :] if failure.name == name else says
        return failure.model_copy(update={"says": says})

    def explained() -> list[tuple[str, str]]:
        outputs = [str(case.values[0]) for case in RECORDED]
        found = [explain(error(), output) for output in outputs]
        return [(each.message, each.details[0]) for each in found]

    before = explained()
    table = tuple(without(failure) for failure in known_failures())
    monkeypatch.setattr(failures, "known_failures", lambda: table)
    assert explained() != before


def test_hints_name_groups_that_are_there() -> None:
    for failure in known_failures():
        texts = f"{failure.what} {failure.hint}"
        names = {name for _, name, _, _ in string.Formatter().parse(texts) if name}
        for pattern in failure.says:
            assert names <= set(pattern.groupindex), (failure.name, pattern.pattern)


# Where the cause is


def test_the_log_is_read_where_bitbake_shows_nothing_of_it() -> None:
    asked: list[str] = []

    def read_log(path: str) -> str:
        asked.append(path)
        return "NOTE: make\nDEBUG: a.c:1:1: error: no\nsrc/b.c:2:2: error: really\n"

    found = explain(error(), failed("foo", "compile", "oe_runmake failed"), read_log=read_log)
    assert asked == [log("foo", "compile")]
    assert found.details[0] == "src/b.c:2:2: error: really"
    assert found.details[-1] == f"log of foo do_compile: {log('foo', 'compile')}"


def test_colours_and_progress_bars() -> None:
    plain = failed("foo", "compile", data="a/b.c:2:2: error: no")
    coloured = "".join(f"\x1b[1;31m{line}\x1b[0m\r\n" for line in plain.splitlines())
    bar = "\rCurrently  2 running tasks (7 of 9)  77% |###   |\x1b[K\r"
    found = explain(error(), bar + coloured)
    assert found.message == "foo do_compile failed: the compiler refuses the source"
    assert found.details[0] == "a/b.c:2:2: error: no"
    assert found.details[-1] == f"log of foo do_compile: {log('foo', 'compile')}"


def test_what_was_got_over_is_no_cause() -> None:
    """A mirror had it, and settings.sh complains before each command."""
    output = (
        "ERROR: You are missing the following system tools required by PetaLinux:\n\n - xterm\n"
        f"WARNING: linux-r0 do_fetch: Failed to fetch URL {URL}, attempting MIRRORS if available\n"
        f"WARNING: linux-r0 do_fetch: Checksum failure encountered with download of {URL}\n"
        "WARNING: linux-r0 do_fetch: Checksum mismatch!\nFile: 'x' has sha256 checksum '0' when '1' "
        "was expected\n"
        "WARNING: The free space of /p (/dev/sda1) is running low (0.9GB left)\n"
    )
    found = explain(error(), output + failed("foo", "compile", data="a/b.c:2:2: error: no"))
    assert found.message == "foo do_compile failed: the compiler refuses the source"


def test_several_tasks() -> None:
    """The first failure is not the known one; its line is put to the task that it belongs to."""
    output = failed("m4", "configure", "configure failed", native="virtual:native:") + failed(
        "foo", "compile", "oe_runmake failed", data="a/b.c:2:2: error: no"
    )
    found = explain(error(), output + output)
    assert found.message == "foo do_compile failed: the compiler refuses the source"
    assert "failed too: m4-native do_configure" in found.details
    logs = {log("foo", "compile"): "a/b.c:2:2: error: from the log\n"}
    found = explain(error(), output, read_log=logs.get)
    assert found.details[0] == "a/b.c:2:2: error: from the log"


def test_long_lines_and_what_stands_around_them() -> None:
    output = failed("linux", "fetch", FETCHED + "ERROR: x: Unable to fetch URL from any source.")
    found = explain(error(), output)
    assert "Unable to fetch URL" in found.details[0]
    assert any("Could not resolve host" in line for line in found.details)
    assert max(map(len, found.details)) < 520
    assert not any("Task (" in line or "Logfile of" in line for line in found.details)


def test_many_lines(tmp_path: Path) -> None:
    middle = (
        "NOTE: recipe x: task do_compile: Started\n| make[1]: Entering directory 'x'\n" * 20_000
    )
    output = middle + failed("foo", "compile", data="a/b.c:2:2: error: no") + middle
    assert explain(error(), output).details[0] == "a/b.c:2:2: error: no"


# What is not known


def test_a_task_that_failed_for_an_unknown_reason() -> None:
    output = "ERROR: noise\n" + failed(
        "foo", "install", "Execution of 'run.do_install' failed with exit code 1", "no such thing"
    )
    lines = [f"line {number}" for number in range(40)]
    found = explain(error(), output, read_log=lambda _: "\n".join(lines))
    assert type(found) is CommandError
    assert found.message == "foo do_install failed"
    assert found.hint is None
    assert found.details[0] == "ERROR: foo-2.0+gitAUTOINC+0123456789-r0 do_install: no such thing"
    assert found.details[1:-1] == tuple(lines[-15:])
    assert found.details[-1] == f"log of foo do_install: {log('foo', 'install')}"


def test_a_command_that_failed_for_an_unknown_reason() -> None:
    output = (
        "[INFO] Building nothing\n[ERROR] Failed to do it\nERROR: Nothing PROVIDES 'nothing'\n"
        "ERROR: Failed to build nothing. Check the /p/build/build.log file for more details...\n"
    )
    found = explain(error(), output, read_log=nothing)
    assert found.message == ENDED
    assert found.details[0] == "ERROR: Nothing PROVIDES 'nothing'"


def test_a_command_that_says_nothing() -> None:
    assert explain(error(ENDED, "the last line"), "").details == ("the last line",)
