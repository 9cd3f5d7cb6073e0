# SPDX-License-Identifier: MIT
FILESEXTRAPATHS:prepend := "${THISDIR}/files:"

# A .cfg in SRC_URI is merged over the machine's defconfig.
SRC_URI:append = " file://bsp.cfg"
