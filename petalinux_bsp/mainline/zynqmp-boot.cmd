# SPDX-License-Identifier: MIT
# U-Boot script of a PYNQ card on Zynq UltraScale+; `mkimage -T script` makes
# boot.scr of it. U-Boot's distro boot has found it and set devtype, devnum and
# distro_bootpart to where it lay: image.ub is taken from the same place.
#
# image.ub is a FIT with one kernel and two configurations: conf-board, and
# conf-emulated, whose device tree differs where QEMU's board does. QEMU has no
# platform management unit, without which this U-Boot does not come up. So it
# is not asked for here: who emulates the card loads conf-emulated himself.

# 256 MiB: above the kernel (loads at 2 MiB) and U-Boot's load address
# (128 MiB), below this script's (scriptaddr, 512 MiB).
setenv fit_addr 0x10000000
setenv fit_file image.ub
setenv fit_conf conf-board

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
