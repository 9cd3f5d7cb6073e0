# SPDX-License-Identifier: MIT
SUMMARY = "Attributes of FPGA managers to load images by name"
LICENSE = "GPL-2.0-only"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/GPL-2.0-only;md5=801f80980d171dd6425610833a22dbe6"

inherit module

SRC_URI = " \
    file://Makefile \
    file://fpga-mgr-sysfs.c \
"

S = "${WORKDIR}"

# Not loaded at boot: AMD's kernel has the attributes itself.
