# SPDX-License-Identifier: MIT
"""Files of a project that was created from a template, before its hardware is imported.

Names of files: UG1144, "Project Directory Structure". Their contents are the double's own.
"""

from __future__ import annotations

_CONFIG = """\
CONFIG_SUBSYSTEM_TYPE_LINUX=y
CONFIG_SYSTEM_{upper}=y
CONFIG_SUBSYSTEM_ARCH_{arch}=y
CONFIG_SUBSYSTEM_AUTOCONFIG_DEVICE__TREE=y
CONFIG_SUBSYSTEM_COMPONENT_DEVICE__TREE_NAME_DEVICE__TREE__GENERATOR=y
CONFIG_SUBSYSTEM_COMPONENT_BOOTLOADER_AUTO_FSBL=y
CONFIG_SUBSYSTEM_HARDWARE_AUTO=y
CONFIG_SUBSYSTEM_MACHINE_NAME="template"
CONFIG_SUBSYSTEM_BOOTARGS_AUTO=y
CONFIG_SUBSYSTEM_BOOTARGS_GENERATED="console=ttyPS0,115200 earlycon"
CONFIG_SUBSYSTEM_ROOTFS_INITRD=y
CONFIG_SUBSYSTEM_UIMAGE_NAME="image.ub"
CONFIG_SUBSYSTEM_COPY_TO_TFTPBOOT=y
CONFIG_SUBSYSTEM_TFTPBOOT_DIR="/tftpboot"
CONFIG_SUBSYSTEM_HOSTNAME="{name}"
CONFIG_SUBSYSTEM_PRODUCT="{name}"
CONFIG_SUBSYSTEM_FW_VERSION="1.00"
CONFIG_PLNX_IMAGES_LOCATION="${{PROOT}}/images/linux"
CONFIG_TMP_DIR_LOCATION="${{PROOT}}/build/tmp"
CONFIG_PRE_MIRROR_URL="http://petalinux.xilinx.com/sswreleases/rel-v{version}/downloads"
CONFIG_YOCTO_NETWORK_SSTATE_FEEDS=y
CONFIG_YOCTO_NETWORK_SSTATE_FEEDS_URL="http://petalinux.xilinx.com/sswreleases/rel-v{version}/{sdk}/sstate-cache"
"""
_LAYER = """\
BBPATH .= ":${{LAYERDIR}}"
BBFILES += "${{LAYERDIR}}/recipes-*/*/*.bb ${{LAYERDIR}}/recipes-*/*/*.bbappend"
BBFILE_COLLECTIONS += "meta-user"
BBFILE_PATTERN_meta-user = "^${{LAYERDIR}}/"
BBFILE_PRIORITY_meta-user = "7"
LAYERDEPENDS_meta-user = "core"
LAYERSERIES_COMPAT_meta-user = "{series}"
"""
_DEVICE_TREE = """\
FILESEXTRAPATHS:prepend := "${THISDIR}/files:"
SRC_URI:append = " file://system-user.dtsi"
"""
_U_BOOT = """\
FILESEXTRAPATHS:prepend := "${THISDIR}/files:"
SRC_URI:append = " file://platform-top.h file://bsp.cfg"
"""
_GIT_IGNORE = """\
*/*/config.old
*/*/rootfs_config.old
build/
images/linux/
pre-built/linux/
.petalinux/*
!.petalinux/metadata
components/plnx_workspace
components/yocto
"""


def files(family: str, *, name: str, version: str, series: str) -> dict[str, str]:
    """Return the template's files: path and content."""
    zynqmp = family == "zynqMP"
    user = "project-spec/meta-user"
    config = _CONFIG.format(
        upper=family.upper(),
        arch="AARCH64" if zynqmp else "ARM",
        sdk="aarch64" if zynqmp else "arm",
        name=name,
        version=version,
    )
    return {
        ".gitignore": _GIT_IGNORE,
        "project-spec/attributes": "",
        "project-spec/configs/config": config,
        "project-spec/configs/rootfs_config": "CONFIG_packagegroup-core-boot=y\n",
        f"{user}/README": "",
        f"{user}/conf/layer.conf": _LAYER.format(series=series),
        f"{user}/conf/petalinuxbsp.conf": "#User Configuration\n",
        f"{user}/conf/user-rootfsconfig": "#Note: Mention Each package in individual line\n",
        f"{user}/recipes-bsp/device-tree/device-tree.bbappend": _DEVICE_TREE,
        f"{user}/recipes-bsp/device-tree/files/system-user.dtsi": (
            '/include/ "system-conf.dtsi"\n/ {\n};\n'
        ),
        f"{user}/recipes-bsp/u-boot/u-boot-xlnx_%.bbappend": _U_BOOT,
        f"{user}/recipes-bsp/u-boot/files/platform-top.h": "#include <configs/xilinx_common.h>\n"
        if zynqmp
        else "#include <configs/zynq-common.h>\n",
        f"{user}/recipes-bsp/u-boot/files/bsp.cfg": "",
    }
