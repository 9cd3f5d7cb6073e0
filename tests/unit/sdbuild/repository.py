# SPDX-License-Identifier: MIT
"""Board directories in the forms that sdbuild's users have, made up for the tests."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

LAYER = "petalinux_bsp/meta-user"
TREE = f"{LAYER}/recipes-bsp/device-tree/files/system-user.dtsi"
LINUX = f"{LAYER}/recipes-kernel/linux"


def xsa(*, start: str = "ps7_init_gpl") -> bytes:
    """Return a hardware export with a start-up source that does nothing."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        function = "ps7_config" if start.startswith("ps7") else "psu_init"
        archive.writestr(f"{start}.c", f"int {function}(void) {{ return 0; }}\n")
        archive.writestr(f"{start}.h", "")
    return made.getvalue()


def bsp(name: str, files: Mapping[str, bytes]) -> bytes:
    """Return a BSP of PetaLinux: an archive of a project."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for file, content in files.items():
            member = tarfile.TarInfo(f"{name}/{file}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


E200_TREE = """\
/include/ "system-conf.dtsi"
/include/ "e200-sensors.dtsi"
#include <dt-bindings/gpio/gpio.h>
/ {
	/* memory@0 { reg = <0x0 0x1>; }; */
	memory@0 {
		device_type = "memory";
		reg = <0x0 0x20000000>;
	};
	chosen {
		bootargs = "console=ttyPS0,115200 root=/dev/mmcblk0p2 rw rootwait cma=64M quiet";
	};
	aliases { serial0 = &uart1; };
	usb_phy0: phy0@e0002000 {
		compatible = "ulpi-phy";
		#phy-cells = <0>;
		reg = <0xe0002000 0x1000>;
		view-port = <0x0170>;
		drv-vbus;
	};
};
&amba {
	dma@40400000 { // an address of the programmable logic
		compatible = "xlnx,axi-dma-1.00.a";
		reg = <0x40400000 0x10000>;
	};
};
&gem0 {
	phy-handle = <&ethernet_phy>;
	phy-mode = "rgmii-id";
	ethernet_phy: ethernet-phy@0 { reg = <0>; };
};
&qspi { status = "okay"; };
&axi_gpio_0 { status = "disabled"; };
"""

PRE = """\
#! /bin/bash

set -x
set -e

target=$1
script_dir="$( cd "$( dirname "${BASH_SOURCE[0]}" )" && pwd )"

sudo mkdir -p $target/opt/leds
sudo cp $script_dir/leds.py $target/opt/leds
sudo cp $script_dir/leds.service $target/lib/systemd/system
sudo cp $BOARDDIR/$PYNQ_BOARD/notebooks/leds.ipynb $target/opt/leds
echo "$PYNQ_BOARD $ARCH" | sudo tee $target/opt/leds/board
"""
QEMU = """#!/bin/bash

set -x
set -e

systemctl enable leds
useradd --system leds
python3 /opt/leds/leds.py > /opt/leds/said
uname -m > /opt/leds/machine
"""
POST = """#!/bin/bash
set -e
test ! -e $1/qemu.sh
sudo chown --reference=$1/opt/leds/board $1/opt/leds/said
sudo rm $1/opt/leds/leds.ipynb
sudo chroot $1 id -u leds | sudo tee $1/opt/leds/user
"""

BOARDS: dict[str, dict[str, str | bytes]] = {
    # A Zynq-7000 board of its own: hardware export, own packages, fragments, blanks at odd places.
    "e200": {
        "e200.spec": "ARCH_e200:= arm  \nBSP_e200 := \nBITSTREAM_e200:=base/base.bit\n"
        "FPGA_MANAGER_e200:= 1\nSTAGE4_PACKAGES_e200 := xrt pynq radio ethernet\n"
        "STAGE4_PACKAGES_e200+=sdcardshrink",
        "base/base.bit": b"\0bits",
        "base/base.hwh": "<HWH/>",
        "base/base.py": "",
        "base/base.tcl": "",
        "base/makefile": "all:\n",
        "base/notebooks/start.ipynb": "{}",
        "notebooks/welcome.ipynb": "{}",
        "petalinux_bsp/hardware_project/system.xsa": xsa(),
        TREE: E200_TREE,
        TREE.replace("system-user", "e200-sensors"): "/ { };\n",
        TREE.replace("system-user", "unused"): "/ { };\n",
        f"{LINUX}/linux-xlnx_%.bbappend": 'FILESEXTRAPATHS_prepend := "${THISDIR}/${PN}:"\n'
        'SRC_URI += "file://radio.cfg"\nSRC_URI_append = " file://0001-radio.patch"\n',
        f"{LINUX}/linux-xlnx/radio.cfg": "CONFIG_XILINX_APF=y\nCONFIG_SPI_SPIDEV=y\n"
        "# CONFIG_XILINX_FCLK is not set\n",
        f"{LINUX}/linux-xlnx/left.cfg": "CONFIG_NEVER=y\n",
        f"{LINUX}/linux-xlnx/0001-radio.patch": "---\n",
        f"{LAYER}/conf/layer.conf": 'LAYERSERIES_COMPAT_meta-user = "zeus"\n',
        f"{LAYER}/recipes-modules/radio/radio_1.0.bb": "",
        f"{LAYER}/recipes-apps/hello/hello.bb": "",
        "packages/radio/pre.sh": "#!/bin/bash\ntarget=$1\n"
        "sudo cp $PYNQ_BOARDDIR/notebooks/welcome.ipynb $target/root # git clone x\n"
        "cat boot.py | sudo tee -a $target/boot/boot.py\n",
        "packages/radio/qemu.sh": "set -e\n. /etc/profile.d/pynq_venv.sh\npip3 install radio\n"
        "cp x /usr/local/share/pynq-venv/lib/python3.10/site-packages/pynq/\n",
        "packages/radio/post.sh": "exit 0\n",
        "packages/radio/Makefile": "all:\n",
        "packages/radio/radio.conf": "x",
        "packages/spare/qemu.sh": "apt-get -y install spare\n",
        "packages/notes.txt": "",
        "README.md": "# e200\n",
    },
    # Known by its name; hyphens; a bitstream without a directory; the BSP is not there; no final newline.
    "ZedBoard-ADI": {
        "ZedBoard-ADI.spec": "ARCH_ZedBoard-ADI := arm\nBSP_ZedBoard-ADI := ZedBoard-ADI.bsp\n"
        "BITSTREAM_ZedBoard-ADI := system_top.bit\n"
        "STAGE4_PACKAGES_ZedBoard-ADI := pynq ethernet jupyter",
        "system_top.bit": b"\0bits",
    },
    # The suffix is another board's; continued lines; a comment at a line's end. Its package has all
    # three scripts, and nothing in it that does not work here: image tests build this board.
    "Pynq-ZED": {
        "Pynq-ZED.spec": "# a ZedBoard\nARCH_Pynq-ZED = arm # of Zynq-7000\nBSP_Pynq-ZED ?= \n"
        "STAGE4_PACKAGES_ZED := pynq \\\n    ethernet \\\n    boot_leds # blink\n",
        "packages/boot_leds/pre.sh": PRE,
        "packages/boot_leds/qemu.sh": QEMU,
        "packages/boot_leds/post.sh": POST,
        "packages/boot_leds/leds.py": 'print("blink")\n',
        "packages/boot_leds/leds.service": "[Unit]\nDescription=Blink\n\n[Service]\nType=oneshot\n"
        "ExecStart=/usr/bin/python3 /opt/leds/leds.py\n\n[Install]\nWantedBy=multi-user.target\n",
        "notebooks/leds.ipynb": "{}",
    },
    # The design and the hardware are still to be built by Vivado.
    "Zybo-Z7-20": {
        "Zybo-Z7-20.spec": "ARCH_Zybo-Z7-20 := arm\nBSP_Zybo-Z7-20 :=\n"
        "BITSTREAM_Zybo-Z7-20 := base/base.bit\nFPGA_MANAGER_Zybo-Z7-20 := 1\n\n"
        "STAGE4_PACKAGES_Zybo-Z7-20 := xrt pynq boot_leds ethernet pynq_peripherals sdcardshrink "
        "precached_metadata\n",
        "base/base.tcl": "",
        "base/base.py": "",
        "base/build_bitstream.tcl": "",
        "base/vivado/constraints/base.xdc": "",
        "petalinux_bsp/hardware_project/makefile": "all:\n",
        "petalinux_bsp/hardware_project/top.tcl": "",
        TREE: '/include/ "system-conf.dtsi"\n/ { };\n&gem0 { phy-mode = "rgmii-id"; };\n',
    },
    # A condition on the environment; ./ in a path; an export of Zynq UltraScale+.
    "AUP-ZU3": {
        "AUP-ZU3.spec": "ARCH_AUP-ZU3 := aarch64\nBSP_AUP-ZU3 := \nBITSTREAM_AUP-ZU3 :=./base/base.bit\n"
        "ifeq ($(AUP_ZU3_DDR4_CONFIG),4GB)\nFPGA_MANAGER_AUP-ZU3 := 0\nelse\n"
        "FPGA_MANAGER_AUP-ZU3 := 1\nendif\n-include local.mk\nPACKAGES := pynq xrt\n"
        "STAGE4_PACKAGES_AUP-ZU3 := $(PACKAGES) usbgadget\nSTAGE4_PACKAGES_AUP-ZU3 += ${NOWHERE}\n",
        "base/base.bit": b"\0bits",
        "base/base.hwh": "<HWH/>",
        "hardware/aup.xsa": xsa(start="psu_init_gpl"),
        "petalinux_bsp/hardware_project/zu3.xsa": xsa(start="psu_init_gpl"),
        TREE: '/ {\n\tmemory@0 { device_type = "memory";\n\t\treg = <0x0 0x0 0x0 0x80000000>, '
        '<0x8 0x0 0x0 0x80000000>;\n\t};\n};\n&gem0 { status = "okay"; };\n',
    },
    # The BSP has all: export and firmware. Its root device is another.
    "SURFv6revB": {
        "SURFv6revB.spec": "ARCH_SURFv6revB := aarch64\nBSP_SURFv6revB := SURFv6revB.bsp\n"
        "BITSTREAM_SURFv6revB := base/base.bit\nFPGA_MANAGER_SURFv6revB := 0\n"
        "SDBOOT_SURFv6revB := /dev/mmcblk1p2\n\nSTAGE4_PACKAGES_SURFv6revB := pynq xrt ethernet "
        "smbus2 \nSTAGE4_PACKAGES_SURFv6revB += xrfclk xrfdc rfsystem\n\n",
        "SURFv6revB.bsp": bsp(
            "surf",
            {
                "hardware/old.xsa": b"other",
                "project-spec/hw-description/system.xsa": xsa(start="psu_init_gpl"),
                "pre-built/linux/images/pmufw.elf": b"the PMU's memory",
            },
        ),
        "base/base.bit": b"\0bits",
    },
    # The BSP is behind a URL; no bitstream.
    "RFSoC4x2": {
        "RFSoC4x2.spec": "ARCH_RFSoC4x2 := aarch64\n"
        "BSP_RFSoC4x2 := https://vendor.invalid/RFSoC4x2.bsp?raw=1\nBITSTREAM_RFSoC4x2 := \n"
        "FPGA_MANAGER_RFSoC4x2 := 1\n\nSTAGE4_PACKAGES_RFSoC4x2 := pynq xrt tics\n"
        "RFSoC_RFSoC4x2 := 1\n",
        "packages/tics/pre.sh": "cp $script_dir/../../tables/a.txt $1/opt\n",
        "tables/a.txt": "0x1\n",
    },
    # sdbuild 4: EDF, PYNQ.remote, a manifest of self-tests.
    "ZCU104": {
        "ZCU104.spec": "ARCH_ZCU104 := aarch64\nBITSTREAM_ZCU104 := base/base.bit\n"
        "REMOTE_PACKAGES_ZCU104 := librfdc\nexport SDIST_BOARD_ARTEFACTS := 0\n"
        "STAGE4_PACKAGES_ZCU104 := xrt pynq ethernet sensorconf selftest\n",
        "edf.env": 'EDF_BOOT_MACHINE="zynqmp-zcu104-sdt-full"\nEDF_MODE=prebuilt # or custom\n'
        "EDF_BOARD_DTS=zcu104-revc\n",
        "edf_bsp/board.dtsi": '&i2c1 { status = "okay"; };\n',
        # The chip has two drivers, of which a kernel has one.
        "edf_bsp/kernel.cfg": "# CONFIG_INA2XX_ADC is not set\nCONFIG_SENSORS_INA2XX=y\n",
        "edf_bsp/u-boot/eeprom.cfg": "CONFIG_X=y\n",
        "edf_bsp/meta-remote/conf/layer.conf": "",
        "base/base.bit": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
        "base/base.hwh": "<HWH/>",
        "selftest.json": '{"tests": []}\n',
    },
    # Two variants in one directory, chosen by a script; what PetaLinux built; old spellings.
    "Ultra96": {
        "Ultra96.spec": "ARCH_Ultra96 := aarch64\nBSP_Ultra96 := sensors96b_v1.bsp\n"
        "BITSTREAM_Ultra96 := sensors96b/sensors96b.bit\nFPGA_MANAGER_Ultra96 := 1\n"
        "STAGE4_PACKAGES_Ultra96 := pynq usb-eth0 wilc3000 juliabrot\n",
        "specs/Ultra96_v1.spec": "ARCH_Ultra96 := aarch64\n",
        "sensors96b/sensors96b.bit": b"\0bits",
        "sensors96b/sensors96b.hwh": "<HWH/>",
        "sensors96b/sensors96b.hwh.v1": "<HWH/>",
        "petalinux_bsp_v1/meta-user/recipes-bsp/device-tree/files/system-user.dtsi": "/ { };\n",
        "packages/wilc3000/pre.sh": "cd $BUILD_ROOT/$PYNQ_BOARD/petalinux_project && "
        "petalinux-build -c wilc\nsudo losetup -f\n",
        "packages/wilc3000/qemu.sh": "git -C /x clone https://vendor.invalid/fw\n"
        "wget https://vendor.invalid/x\n",
        "packages/usb-eth0/eth0": "auto eth0\n",
        "packages/usb-eth0/pre.sh": "sudo cp eth0 $1/etc/network/interfaces.d/eth0\n",
    },
    # Of this tree, too.
    "Pynq-Z2": {
        "Pynq-Z2.spec": "ARCH_Pynq-Z2 := arm\nBSP_Pynq-Z2 :=\nBITSTREAM_Pynq-Z2 := base/base.bit\n"
        "STAGE4_PACKAGES_Pynq-Z2 := xrt pynq ethernet\n",
        "base/base.bit": b"\0bits",
        "base/base.hwh": "<HWH/>",
        TREE: "/ { };\n",
    },
    # No family of this builder.
    "VCK190": {
        "VCK190.spec": "ARCH_VCK190 := aarch64\nBITSTREAM_VCK190 := base/base.pdi\n"
        "STAGE4_PACKAGES_VCK190 := xrt pynq ethernet\n",
        "edf.env": "EDF_BOOT_MACHINE=versal-vck190-pynq-seg\n",
    },
}
"""The files of each board, by their names."""


def write_board(folder: Path, name: str) -> Path:
    """Write a board's directory below a folder, and return it."""
    for file, content in BOARDS[name].items():
        path = folder / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name
