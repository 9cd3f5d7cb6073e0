# SPDX-License-Identifier: MIT
"""petalinux-config: import a hardware description, update the configuration, or both.

Command line: UG1144, "petalinux-config Command Line Options" (2021.1, 2024.1), and
scripts/petalinux-config. Without --silentconfig it opens a menu, which the double rejects.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.petalinux.tool import hardware, kconfig, project, recipes
from tests.petalinux.tool.bitbake import Bitbake, check_host
from tests.petalinux.tool.project import Project
from tests.petalinux.tool.talk import Stop
from tests.petalinux.tool.toolbox import Toolbox, Words

_HERE = "."


def main(tool: Toolbox, words: Sequence[str]) -> None:
    given = _read(tool, words)
    found = project.find(tool, given.project)
    found.check_version()
    found.build.mkdir(exist_ok=True)
    tool.talk.log_to(found.build / "config.log")
    if not tool.python:
        tool.talk.stage("Sourcing buildtools")
    found.remember(VALIDATE_HW_CHKSUM="1")
    if given.source is not None:
        hardware.fetch(found, Path(given.source))
    if not given.silentconfig:
        raise _no_menu(tool, given.component or "project")
    settle(found, fresh=given.source is not None)
    component = given.component or "project"
    if component not in ("project", "rootfs"):
        recipe = recipes.resolve(found, component)
        tool.talk.stage(f"Configuring: {component}")
        if recipe is None:
            tool.talk.raw(f"ERROR: Nothing PROVIDES '{component}'")
            raise tool.talk.stop(f"Failed to config {component}.")
        tool.talk.stage(f"bitbake {recipe.target} -c configure")
        Bitbake(found).run([recipe], task="configure")
    tool.talk.stage(f"Successfully configured {component}")


def _read(tool: Toolbox, words: Sequence[str]) -> argparse.Namespace:
    parser = Words(tool, "petalinux-config")
    parser.add_argument("-p", "--project")
    parser.add_argument("-c", "--component")
    parser.add_argument("--silentconfig", action="store_true")
    if tool.python:
        parser.add_argument("-d", "--debug", action="store_true")
        parser.add_argument("--get-hw-description", dest="source")
    else:
        parser.add_argument("-v", "--verbose", action="store_true")
        parser.add_argument("--get-hw-description", dest="source", nargs="?", const=_HERE)
    given = parser.read(words)
    if given.component and given.source is not None:
        parser.error("--component and --get-hw-description are mutually exclusive")
    return given


def _no_menu(tool: Toolbox, component: str) -> Stop:
    tool.talk.stage(f"Menuconfig {component}")
    tool.talk.raw("Error opening terminal: unknown.")
    return tool.talk.stop(f"Failed to menuconfig {component} component")


def settle(found: Project, *, fresh: bool = False) -> None:
    """Prepare configuration, eSDK and build directory, as every command does first."""
    tool, talk = found.tool, found.tool.talk
    sdk = tool.yocto_sdk(found.family)
    if tool.python:
        _extract(found, sdk)
        _source_bitbake(found)
    hardware.read(found)
    if fresh or not (found.spec / "configs/config.old").exists():
        talk.stage("Generating Kconfig for project")
    talk.stage("Silentconfig project")
    kconfig.silent(found.config)
    if not tool.python:
        _extract(found, sdk)
        talk.stage("Sourcing build environment")
        _source_bitbake(found)
    talk.stage("Generating kconfig for " + ("rootfs" if tool.python else "Rootfs"))
    talk.stage("Silentconfig rootfs")
    _settle_rootfs(found)
    if tool.python:
        talk.stage("Generating configuration files")
    talk.stage("Adding user layers")
    if tool.python:
        talk.stage("Generating machine conf file")
        talk.stage("Generating plnxtool conf file")
    else:
        talk.stage("Generating plnxtool conf")
    _write_conf(found)
    talk.stage("Generating workspace directory")
    (found.root / "components/plnx_workspace").mkdir(parents=True, exist_ok=True)


def _source_bitbake(found: Project) -> None:
    """Check the host as bitbake does when the build environment is first used."""
    try:
        check_host(found)
    except Stop:
        command = f"Command gen-machineconf --soc-family {found.family.lower()} failed"
        why = command if found.tool.python else "Failed to source bitbake"
        raise found.tool.talk.stop(why) from None


def _extract(found: Project, sdk: Path) -> None:
    """Unpack the eSDK into the project, once."""
    place = found.root / "components/yocto"
    if not (place / "conf/bblayers.conf").exists():
        found.tool.talk.stage("Extracting yocto SDK to components/yocto. This may take time!")
        (place / "conf").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sdk, place / "conf/bblayers.conf")
    found.remember(YOCTO_SDK=project.checksum(sdk))


def _settle_rootfs(found: Project) -> None:
    """Drop the packages that are neither the image's own nor in user-rootfsconfig."""
    path = found.spec / "configs/rootfs_config"
    user = found.meta_user / "conf/user-rootfsconfig"
    listed = user.read_text(encoding="utf-8").split() if user.is_file() else []
    values = kconfig.read(path) if path.is_file() else {}
    own = ("CONFIG_packagegroup-", "CONFIG_kernel-", "CONFIG_imagefeature-", "CONFIG_system-")
    kept = {
        name: value
        for name, value in values.items()
        if name in listed or name.startswith(own) or name in _PACKAGES
    }
    kconfig.write(path, kept)


_PACKAGE_NAMES = """
xrt xrt-dev zocl opencl-headers-dev opencl-clhpp-dev python3 python3-pip openssh openssh-sshd
openssh-ssh openssh-scp openssh-sftp-server dropbear i2c-tools mtd-utils util-linux e2fsprogs
bash sudo vim htop tar wget curl rsync can-utils ethtool iperf3 fpga-manager-script init-systemd
gpio-demo peekpoke ROOTFS_ROOT_PASSWD ADD_EXTRA_USERS auto-login
"""
_PACKAGES = frozenset(f"CONFIG_{name}" for name in _PACKAGE_NAMES.split())


def _write_conf(found: Project) -> None:
    """Write build/conf, from which callers can read the machine and the layers."""
    conf = found.build / "conf"
    conf.mkdir(parents=True, exist_ok=True)
    layers = "".join(f"  {layer} \\\n" for layer in recipes.layers(found))
    (conf / "bblayers.conf").write_text(f'BBLAYERS := " \\\n{layers}"\n', encoding="utf-8")
    (conf / "local.conf").write_text("include conf/plnxtool.conf\n", encoding="utf-8")
    (conf / "plnxtool.conf").write_text(
        f'MACHINE = "{found.machine}"\nTMPDIR = "{found.temporary()}"\n', encoding="utf-8"
    )
