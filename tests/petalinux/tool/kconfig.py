# SPDX-License-Identifier: MIT
"""Effect of `--silentconfig` on project-spec/configs/config and rootfs_config.

Kconfig semantics: the last assignment of a symbol holds, of a choice the last member set to `y`;
symbols that are unknown to the Kconfig files are silently dropped. The known symbols are those of
AMD's templates (github.com/Xilinx/PetaLinux, templates/project) and of UG1144, "Configuration".
"""

from __future__ import annotations

import re
from pathlib import Path

_LINE = re.compile(r"(CONFIG_[\w+.\-]+)=(.*)")
_UNSET = re.compile(r"# (CONFIG_[\w+.\-]+) is not set")

ROOTFS_TYPES = tuple(
    f"CONFIG_SUBSYSTEM_ROOTFS_{name}"
    for name in ("INITRAMFS", "INITRD", "JFFS2", "UBIFS", "NFS", "EXT4", "OTHER")
)

_SYMBOLS = """
DEVTOOL_WORKSPACE_LOCATION PLNX_IMAGES_LOCATION PRE_MIRROR_URL SYSTEM_ZYNQ SYSTEM_ZYNQMP
TMP_DIR_LOCATION USER_LAYER_0 USER_LAYER_1 USER_LAYER_2 USER_LAYER_3
SUBSYSTEM_TYPE_LINUX SUBSYSTEM_ARCH_ARM SUBSYSTEM_ARCH_AARCH64 SUBSYSTEM_ENDIAN_LITTLE
SUBSYSTEM_AUTOCONFIG_DEVICE__TREE SUBSYSTEM_HARDWARE_AUTO SUBSYSTEM_MACHINE_NAME
SUBSYSTEM_DEVICE_TREE_MANUAL_INCLUDE SUBSYSTEM_DT_XSCT_WORKSPACE SUBSYSTEM_DTB_OVERLAY
SUBSYSTEM_DTB_PADDING_SIZE SUBSYSTEM_REMOVE_PL_DTB SUBSYSTEM_FPGA_MANAGER
SUBSYSTEM_DEVICETREE_FLAGS SUBSYSTEM_DEVICETREE_COMPILER_FLAGS SUBSYSTEM_EXTRA_DT_FILES
SUBSYSTEM_BOOTARGS_AUTO SUBSYSTEM_BOOTARGS_EARLYPRINTK SUBSYSTEM_BOOTARGS_GENERATED
SUBSYSTEM_USER_CMDLINE SUBSYSTEM_EXTRA_BOOTARGS SUBSYSTEM_SDROOT_DEV
SUBSYSTEM_RFS_FORMATS SUBSYSTEM_INITRAMFS_IMAGE_NAME SUBSYSTEM_COMPRESS_IMAGE
SUBSYSTEM_COPY_TO_TFTPBOOT SUBSYSTEM_TFTPBOOT_DIR SUBSYSTEM_HOSTNAME SUBSYSTEM_PRODUCT
SUBSYSTEM_FW_VERSION SUBSYSTEM_NETBOOT_OFFSET SUBSYSTEM_UIMAGE_NAME
YOCTO_MACHINE_NAME YOCTO_BB_NO_NETWORK YOCTO_NETWORK_SSTATE_FEEDS
YOCTO_NETWORK_SSTATE_FEEDS_URL YOCTO_LOCAL_SSTATE_FEEDS YOCTO_LOCAL_SSTATE_FEEDS_URL
YOCTO_BUILDTOOLS_EXTENDED YOCTO_ENABLE_DEBUG_TWEAKS YOCTO_BB_NUMBER_THREADS
YOCTO_PARALLEL_MAKE YOCTO_ADD_BUILD_ENV YOCTO_INCLUDE_MACHINE_NAME
"""
_KNOWN = frozenset(f"CONFIG_{name}" for name in _SYMBOLS.split())
_FAMILIES = re.compile(
    r"CONFIG_SUBSYSTEM_(COMPONENT|PROCESSOR|PROCESSOR\d|MEMORY|SERIAL|FSBL|PMUFW|ATF|TF_A|UBOOT"
    r"|U__BOOT|ETHERNET|FLASH|SD|PRIMARY_SD|USB|SPI|I2C|RTC|TIMER|RESET|IMAGES|UIMAGE"
    r"|ROOTFS|SRC|LINUX|BOOTSCR|FITIMAGE|ENDIAN|HOST|ENABLE)_\w+"
)


def read(path: Path) -> dict[str, str]:
    """Return the symbols that are set, in order; the last assignment holds."""
    values: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := _UNSET.fullmatch(line.strip()):
            values.pop(found[1], None)
        elif found := _LINE.fullmatch(line.strip()):
            values.pop(found[1], None)
            values[found[1]] = found[2]
    return {name: value for name, value in values.items() if value != "n"}


def text(values: dict[str, str], name: str) -> str:
    """Return a string symbol's value without its quotes, or nothing."""
    return values.get(name, "").strip('"')


def known(name: str) -> bool:
    return name in _KNOWN or bool(_FAMILIES.fullmatch(name))


def silent(path: Path) -> dict[str, str]:
    """Run `--silentconfig`: resolve choices, drop unknown symbols, derive the boot arguments."""
    values = {name: value for name, value in read(path).items() if known(name)}
    chosen = [name for name in values if name in ROOTFS_TYPES]
    for name in chosen[:-1]:
        del values[name]
    if "CONFIG_SUBSYSTEM_BOOTARGS_AUTO" in values:
        arguments = "console=ttyPS0,115200 earlycon"
        if "CONFIG_SUBSYSTEM_ROOTFS_EXT4" in values:
            device = text(values, "CONFIG_SUBSYSTEM_SDROOT_DEV") or "/dev/mmcblk0p2"
            values["CONFIG_SUBSYSTEM_SDROOT_DEV"] = f'"{device}"'
            arguments += f" root={device} ro rootwait"
        if extra := text(values, "CONFIG_SUBSYSTEM_EXTRA_BOOTARGS"):
            arguments += f" {extra}"
        values["CONFIG_SUBSYSTEM_BOOTARGS_GENERATED"] = f'"{arguments}"'
    write(path, values)
    return values


def write(path: Path, values: dict[str, str]) -> None:
    if path.exists():
        old = path.with_name(f"{path.name}.old")
        old.write_bytes(path.read_bytes())
    lines = ["#", "# Automatically generated file; DO NOT EDIT.", "#"]
    lines += [f"{name}={value}" for name, value in values.items()]
    if path.name == "config":
        lines += [f"# {name} is not set" for name in ROOTFS_TYPES if name not in values]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
