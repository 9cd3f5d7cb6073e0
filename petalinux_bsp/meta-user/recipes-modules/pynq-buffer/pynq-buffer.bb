# SPDX-License-Identifier: MIT
SUMMARY = "Buffers that the programmable logic can reach"
LICENSE = "GPL-2.0-only"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/GPL-2.0-only;md5=801f80980d171dd6425610833a22dbe6"

inherit module

SRC_URI = " \
    file://60-pynq-buffer.rules \
    file://Makefile \
    file://pynq-buffer.c \
    file://pynq-buffer.h \
"

S = "${WORKDIR}"

KERNEL_MODULE_AUTOLOAD += "pynq-buffer"

do_install:append() {
    install -D -m 0644 ${S}/60-pynq-buffer.rules \
        ${D}${nonarch_base_libdir}/udev/rules.d/60-pynq-buffer.rules
    install -D -m 0644 ${S}/pynq-buffer.h ${D}${includedir}/pynq-buffer.h
}

FILES:${PN} += "${nonarch_base_libdir}/udev/rules.d"
