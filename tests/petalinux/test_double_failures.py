# SPDX-License-Identifier: MIT
"""Explanations of failed commands of the double: the failed task, the relevant line, the remedy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from builder.bsp.petalinux.failures import explain
from builder.errors import BuildError, CommandError, HostError, UserError
from tests.fixtures.petalinux_failures import ENDED, check, error
from tests.petalinux.double import make_installer, make_xsa
from tests.petalinux.installed import Installed, run
from tests.petalinux.support import BOTH, PYTHON, UNPRIVILEGED, append, configured

LAYER = "project-spec/meta-user/conf/layer.conf"
APPEND = "project-spec/meta-user/recipes-kernel/linux/linux-xlnx_%.bbappend"


def read(path: str) -> str | None:
    return Path(path).read_text() if Path(path).is_file() else None


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
            f"{ENDED}: the host's inotify limit is reached",
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
            "device-tree do_compile failed: an error in the device tree, system-user.dtsi:12",
            r"^Error: system-user\.dtsi:12\.3-4 syntax error$",
            "correct system-user.dtsi:12 ",
        ),
        (
            "checksum",
            CommandError,
            "u-boot-xlnx do_fetch failed: a download has a wrong checksum",
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
            "u-boot-xlnx do_compile failed: the compiler rejects the source",
            "^drivers/foo.c:1:1: error: the double was told to fail$",
            "a patch or a configuration fragment",
        ),
    ],
)
def test_failures_on_demand(
    tmp_path: Path,
    tools: dict[str, Installed],
    *,
    release: str,
    fail: str,
    kind: type[BuildError],
    message: str,
    line: str,
    hint: str,
) -> None:
    project = configured(tools[release], tmp_path)
    done = tools[release].run("petalinux-build", cwd=project, DOUBLE_FAIL=fail)
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
            "use the version of meta-user for SERIES;",
        ),
        (
            APPEND,
            'SRC_URI_append = " file://a.cfg"\n',
            f"{ENDED}: SRC_URI_append uses the old override syntax",
            r"^ERROR: ParseError at /.*linux-xlnx_%\.bbappend:1: Variable SRC_URI_append ",
            "SRC_URI:append",
        ),
        (
            APPEND,
            'SRC_URI:append = " file://a.cfg"\n',
            "linux-xlnx do_fetch failed: no layer has the file a.cfg",
            "^ERROR: linux-xlnx-git-r0 do_fetch: Fetcher failure for URL: 'file://a.cfg'",
            "put a.cfg into a directory",
        ),
    ],
)
def test_faults_of_a_layer(
    tmp_path: Path,
    tools: dict[str, Installed],
    *,
    release: str,
    name: str,
    text: str,
    message: str,
    line: str,
    hint: str,
) -> None:
    tool = tools[release]
    project = configured(tool, tmp_path)
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text(text)
    done = tool.run("petalinux-build", cwd=project)
    found = explain(error(), done.stdout, read_log=read)
    check(found, UserError, message, line, hint.replace("SERIES", tool.release.series))


@BOTH
def test_no_network(tmp_path: Path, tools: dict[str, Installed], release: str) -> None:
    project = configured(tools[release], tmp_path)
    append(project, "CONFIG_YOCTO_BB_NO_NETWORK=y")
    done = tools[release].run("petalinux-build", cwd=project)
    message = "a download is needed, but the build is offline"
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
        (
            "none.xsa",
            None,
            "there is no",
            r'Unable to get ".*/none\.xsa"',
            "/none.xsa; name the export",
        ),
        (".", None, "there is no", "ERROR.* No XSA or DTS found in", "found at /"),
        ("broken.xsa", b"no zip", "cannot be used", r"\[Common 17-39\].*not a zip", "export it"),
        ("other.xsa", "zynqMP", "cannot be used", "no ps7_init in it", "for the board's own chip"),
    ],
)
def test_wrong_hardware(
    tmp_path: Path,
    tools: dict[str, Installed],
    *,
    release: str,
    name: str,
    content: bytes | str | None,
    what: str,
    line: str,
    hint: str,
) -> None:
    project = tools[release].project(tmp_path)
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content is not None:
        make_xsa(tmp_path / name, content)
    words = ("petalinux-config", f"--get-hw-description={tmp_path / name}", "--silentconfig")
    done = tools[release].run(*words, cwd=project)
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
        f"{ended}: packages that PetaLinux requires are missing",
        "^ERROR: You are missing the following system tools required by PetaLinux:$",
        "install the packages that contain these",
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
