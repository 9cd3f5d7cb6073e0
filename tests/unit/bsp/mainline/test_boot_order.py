# SPDX-License-Identifier: MIT
"""Check that U-Boot and the kernel use the card of the BootROM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builder.bsp.mainline.boot_order import UBootFacts, check_boot_order, default_environment
from builder.errors import BuildError, StepError, UserError
from builder.formats.devicetree import DeviceTree
from builder.spec.models import Soc

SOURCE = Path("/boards/B/b.dts")
ENVIRONMENT = {
    "bootcmd": "run distro_bootcmd",
    "boot_targets": "jtag mmc0 mmc1 qspi",
    "bootcmd_mmc0": "devnum=0; run mmc_boot",
    "bootcmd_mmc1": "devnum=1; run mmc_boot",
}
CONFIG = """\
CONFIG_ENV_IS_NOWHERE=y
# CONFIG_ENV_IS_IN_FAT is not set
CONFIG_ENV_VARS_UBOOT_RUNTIME_CONFIG=y
"""
ZYNQ = ("/axi/mmc@e0100000", "/axi/mmc@e0101000")
ZYNQMP = ("/axi/mmc@ff160000", "/axi/mmc@ff170000")


def tree(*paths: str, root: str = "/dev/mmcblk0p2", off: str = "") -> DeviceTree:
    """Return a device tree whose mmc0, mmc1, ... are the nodes at these paths."""
    nodes: DeviceTree = {path: {"status": b"okay\0"} for path in paths}
    if off:
        nodes[off] = {"status": b"disabled\0"}
    aliases = {f"mmc{number}": f"{path}\0".encode() for number, path in enumerate(paths)}
    arguments = f"console=ttyPS0,115200 root={root} rootwait\0".encode()
    return {"/aliases": aliases, "/chosen": {"bootargs": arguments}, **nodes}


def facts(u_boot: DeviceTree, *, config: str = CONFIG, **changed: str) -> UBootFacts:
    return UBootFacts(environment=ENVIRONMENT | changed, config=config, tree=u_boot)


GOOD = facts(tree(ZYNQ[0]))


def test_the_card_comes_first() -> None:
    assert check_boot_order(GOOD, tree(ZYNQ[0]), Soc.ZYNQ, SOURCE) == "mmc0"


def test_the_second_controller_of_zynqmp_may_have_either_number() -> None:
    """The BootROM reads both; U-Boot uses the number of the one from which it booted."""
    only = tree(ZYNQMP[1])
    assert check_boot_order(facts(only), only, Soc.ZYNQMP, SOURCE) == "mmc0"
    both = tree(*ZYNQMP, root="/dev/mmcblk1p2")
    assert check_boot_order(facts(both), both, Soc.ZYNQMP, SOURCE) == "mmc1"


def test_the_kernel_may_number_cards_otherwise() -> None:
    board = tree(*reversed(ZYNQ), root="/dev/mmcblk1p2")
    assert check_boot_order(GOOD, board, Soc.ZYNQ, SOURCE) == "mmc0"


@pytest.mark.parametrize(
    ("board", "u_boot", "complaint", "hint"),
    [
        (tree(ZYNQ[1]), tree(ZYNQ[0]), "at e0101000, from which the BootROM of zynq", "e0100000"),
        (tree(ZYNQ[0]), tree(ZYNQ[1]), "no `mmc` alias is the controller at e0100000", "add mmc0"),
        (
            tree(ZYNQ[0]),
            tree(*reversed(ZYNQ)),
            "tries mmc0 first, but .* mmc1: .* slot",
            "make mmc0",
        ),
        (tree(ZYNQ[0], off=ZYNQ[0]), tree(ZYNQ[0]), "the kernel finds no card", "okay"),
        (tree(ZYNQ[0]), tree(ZYNQ[0], off=ZYNQ[0]), "U-Boot finds no card", "okay"),
        (
            tree(ZYNQ[0], root="/dev/mmcblk1p2"),
            tree(ZYNQ[0]),
            "no alias mmc1: .* order",
            "add mmc1",
        ),
        (
            tree(ZYNQ[0], root="/dev/mmcblk0p1"),
            tree(ZYNQ[0]),
            "root=/dev/mmcblk0p1, .* wait",
            "0p2",
        ),
        (tree(ZYNQ[0], root="/dev/sda2"), tree(ZYNQ[0]), "root=/dev/sda2, .* wait", "mmcblk0p2"),
    ],
)
def test_device_trees_that_mean_another_card(
    board: DeviceTree, u_boot: DeviceTree, complaint: str, hint: str
) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        check_boot_order(facts(u_boot), board, Soc.ZYNQ, SOURCE)
    assert caught.value.message.startswith(f"{SOURCE}: ")
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (
            replace(GOOD, config=CONFIG + "CONFIG_ENV_IS_IN_FAT=y\n"),
            "ENV_IS_IN_FAT.* old variables",
        ),
        (replace(GOOD, config="CONFIG_ENV_IS_NOWHERE=y\n"), "U-Boot tries jtag first"),
        (facts(tree(ZYNQ[0]), bootcmd="bootelf"), "`bootcmd` is 'bootelf': .* prompt"),
        (facts(tree(ZYNQ[0]), config="", boot_targets=""), "U-Boot tries nothing first"),
        (replace(GOOD, environment={"bootcmd": "run distro_bootcmd"}), "no `bootcmd_mmc0`"),
    ],
)
def test_a_u_boot_that_would_not_start_from_the_card(changed: UBootFacts, complaint: str) -> None:
    with pytest.raises(BuildError, match=complaint) as caught:
        check_boot_order(changed, tree(ZYNQ[0]), Soc.ZYNQ, SOURCE)
    assert "bsp.cfg" in (caught.value.hint or "")


def test_the_environment_is_found_in_the_program() -> None:
    program = b"\x7fELFprint bootcmd=\0\1\2\0bootcmd=run x\0baudrate=115200\0a=b=c\0\0later=no\0"
    assert default_environment(program) == {"bootcmd": "run x", "baudrate": "115200", "a": "b=c"}
    with pytest.raises(StepError, match="no `bootcmd`"):
        default_environment(b"bootdelay=1\0\0")
