# SPDX-License-Identifier: MIT
FILESEXTRAPATHS:prepend := "${THISDIR}/files:"

# If `zynqmp` is one of the machine's overrides, system-user.dtsi is that of files/zynqmp.
SRC_URI:append = " \
    file://system-user.dtsi \
    file://pynq-pl-zynq.dtsi \
    file://pynq-pl-zynqmp.dtsi \
"

# -@ keeps the labels, so that device-tree overlays can refer to them at run time.
DTC_FLAGS:append = " -@"
YAML_ENABLE_DT_OVERLAY = "1"
