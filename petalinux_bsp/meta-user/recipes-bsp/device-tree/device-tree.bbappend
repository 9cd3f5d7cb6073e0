# SPDX-License-Identifier: MIT
FILESEXTRAPATHS:prepend := "${THISDIR}/files:"

# system-user.dtsi is files/zynqmp/'s where `zynqmp` is one of the machine's overrides.
SRC_URI:append = " \
    file://system-user.dtsi \
    file://pynq-pl-zynq.dtsi \
    file://pynq-pl-zynqmp.dtsi \
"

# -@ keeps the labels, so that overlays can refer to them at run time.
DTC_FLAGS:append = " -@"
YAML_ENABLE_DT_OVERLAY = "1"
