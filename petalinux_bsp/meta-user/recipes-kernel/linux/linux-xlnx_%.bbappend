# SPDX-License-Identifier: MIT
# Adds the configuration fragments of the mainline kernel to AMD's kernel.

FILESEXTRAPATHS:prepend := "${THISDIR}/${PN}:"

SRC_URI:append = " \
    file://board-parts.cfg \
    file://containers.cfg \
    file://filesystems.cfg \
    file://ps-pl.cfg \
    file://systemd.cfg \
    file://usb-devices.cfg \
    file://usb-gadget.cfg \
    file://wifi.cfg \
"

KERNEL_FEATURES:append = " \
    board-parts.cfg \
    containers.cfg \
    filesystems.cfg \
    ps-pl.cfg \
    systemd.cfg \
    usb-devices.cfg \
    usb-gadget.cfg \
    wifi.cfg \
"
