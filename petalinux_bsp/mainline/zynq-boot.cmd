# SPDX-License-Identifier: MIT
# U-Boot script of a PYNQ card on Zynq-7000; `mkimage -T script` makes boot.scr
# of it. U-Boot's distro boot has found it and set devtype, devnum and
# distro_bootpart to where it lay: image.ub is taken from the same place.
#
# image.ub is a FIT with one kernel and two configurations: conf-board, and
# conf-emulated, whose device tree differs where QEMU's board does. Which one is
# decided by PSS_IDCODE (0xf8000530): it names the part on every silicon and can
# not be zero there, QEMU's model of the register block answers zero.

# 128 MiB: above the kernel (loads at 32 MiB) and U-Boot's load address (64 MiB),
# and there on boards with as little as 256 MB.
setenv fit_addr 0x8000000
setenv fit_file image.ub

if itest.l *0xf8000530 == 0; then
	setenv fit_conf conf-emulated
	echo "PYNQ: PSS_IDCODE is zero, this is QEMU: taking ${fit_conf}"
else
	setenv fit_conf conf-board
	echo "PYNQ: real hardware: taking ${fit_conf}"
fi

echo "PYNQ: loading ${fit_file} from ${devtype} ${devnum}:${distro_bootpart}"
if load ${devtype} ${devnum}:${distro_bootpart} ${fit_addr} ${fit_file}; then
	# Returns only if the image is damaged or the configuration is missing.
	bootm ${fit_addr}#${fit_conf}
	echo "PYNQ: FAILED to start ${fit_conf} of ${fit_file}; see the lines above."
	echo "PYNQ: write the card again, or try: bootm ${fit_addr}"
else
	echo "PYNQ: FAILED to load ${fit_file}: not on ${devtype} ${devnum}:${distro_bootpart}, or not readable."
	echo "PYNQ: list the files with: ls ${devtype} ${devnum}:${distro_bootpart}"
fi
