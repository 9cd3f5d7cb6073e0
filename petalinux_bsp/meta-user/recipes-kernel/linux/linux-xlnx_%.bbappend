# SPDX-License-Identifier: MIT
# Gives AMD's kernel the same configuration fragments that the mainline kernel is built with.

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
