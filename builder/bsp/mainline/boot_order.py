# SPDX-License-Identifier: MIT
"""Check that U-Boot and the kernel use the card that the BootROM started from.

The BootROM reads the card of one SD controller. SPL and U-Boot number controllers by the `mmc`
aliases of U-Boot's device tree, the kernel by those of its own, and U-Boot tries devices in the order
of the variable `boot_targets`. If these do not mean the same slot, a board stops in U-Boot, starts
what lies in its flash, or comes to a kernel that waits for its root filesystem. In QEMU there is one
card, and the boot does not begin at the BootROM.

The answers come from the built U-Boot: its default environment, its configuration, and the device
tree that SPL hands to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from builder.bsp.soc import Family
from builder.errors import StepError, UserError
from builder.formats.devicetree import DeviceTree, is_enabled, parse_tree
from builder.formats.fit import read_fit
from builder.spec.models import Soc

ROOT_PARTITION: Final = 2
"""The partition of the card that has the root filesystem (builder/image/image.py)."""

# Zynq-7000: SD boot is from controller 0, on MIO 40 to 45 (UG585, chapter 6). Zynq UltraScale+: modes
# SD0, and SD1 with and without level shifters (UG1137, "SD Boot Mode").
_CONTROLLERS: Final = {Soc.ZYNQ: ("e0100000",), Soc.ZYNQMP: ("ff160000", "ff170000")}

_ROOT = re.compile(r"/dev/mmcblk(\d+)p(\d+)")
_STORED = re.compile(r"^CONFIG_(ENV_IS_IN_\w+)=y$", re.MULTILINE)
_RUNTIME = re.compile(r"^CONFIG_ENV_VARS_UBOOT_RUNTIME_CONFIG=y$", re.MULTILINE)
_FRAGMENT = "petalinux_bsp/meta-user/recipes-bsp/u-boot/files/bsp.cfg"


@dataclass(frozen=True, kw_only=True)
class UBootFacts:
    """Facts about a built U-Boot: its default environment, its .config, its device tree."""

    environment: Mapping[str, str]
    config: str
    tree: DeviceTree


def read_u_boot(directory: Path, family: Family) -> UBootFacts:
    """Read the output of the step `u-boot`.

    Raises:
        StepError: there is no default environment in U-Boot, or no device tree beside it.
    """
    fit = read_fit(directory / family.u_boot_image)
    fdt = fit.find(fit.default, "fdt")
    if fdt is None:
        raise StepError(f"{family.u_boot_image} has no device tree: U-Boot would find no device")
    return UBootFacts(
        environment=default_environment((directory / "u-boot.elf").read_bytes()),
        config=(directory / "config").read_text(),
        tree=parse_tree(fdt.data),
    )


def default_environment(program: bytes) -> dict[str, str]:
    """Return the variables that are compiled into U-Boot, from `bootcmd` on.

    They are texts NAME=VALUE, each with a zero byte after it, and an empty one at the end (U-Boot,
    include/env_default.h); `bootcmd` is among the first.
    """
    start = re.search(rb"(?<![ -~])bootcmd=[ -~]", program)
    if start is None:
        raise StepError("U-Boot has no `bootcmd` in its environment: it would stop at its prompt")
    block = program[start.start() : program.index(b"\0\0", start.start())]
    entries = [entry.decode(errors="replace").partition("=") for entry in block.split(b"\0")]
    return {name: value for name, _, value in entries}


def check_boot_order(facts: UBootFacts, board: DeviceTree, soc: Soc, source: Path) -> str:
    """Make sure that U-Boot and the kernel take the card that the BootROM takes.

    `board` is the kernel's device tree, `source` the file that it was made of.

    Returns:
        The device that U-Boot tries first.

    Raises:
        StepError: U-Boot would not run the boot script, or try something else before the card.
        UserError: the device trees number the card otherwise, or `root=` names another partition.
    """
    _check_script(facts)
    slot = _root_slot(board, source)
    if slot not in _CONTROLLERS[soc]:
        raise UserError(
            f"{source}: the kernel's card is in the controller at {slot}, from which the BootROM of "
            f"{soc.value} does not start: the kernel would wait for the card for ever",
            hint=f"the card's alias is the controller at {' or '.join(_CONTROLLERS[soc])}; make "
            "`aliases` and `root-device` of board.yaml agree",
        )
    wanted = _alias(facts.tree, slot, source)
    first = _first_target(facts, wanted if soc is Soc.ZYNQMP else "mmc0")
    if first != wanted:
        raise UserError(
            f"{source}: U-Boot tries {first} first, but its device tree calls the card's controller, "
            f"at {slot}, {wanted}: it would look for boot.scr in another slot, or stop",
            hint=f"let {first} of `aliases` be the controller at {slot}"
            if first.startswith("mmc")
            else f"CONFIG_ENV_VARS_UBOOT_RUNTIME_CONFIG=y in {_FRAGMENT} puts the card first",
        )
    if (
        "distro_bootcmd" in facts.environment["bootcmd"]
        and f"bootcmd_{first}" not in facts.environment
    ):
        raise StepError(
            f"U-Boot has no `bootcmd_{first}`: it would pass over the card",
            hint=f"CONFIG_CMD_MMC=y in {_FRAGMENT}",
        )
    return first


def _check_script(facts: UBootFacts) -> None:
    """Make sure that U-Boot looks for boot.scr, and that nothing stored keeps it from doing so."""
    if stored := _STORED.findall(facts.config):
        raise StepError(
            f"U-Boot reads variables as {', '.join(stored)} says: old ones in a board's flash or on "
            "its card could keep it from running boot.scr",
            hint=f"turn CONFIG_{stored[0]} off in {_FRAGMENT}",
        )
    command = facts.environment["bootcmd"]
    if not re.search(r"distro_bootcmd|bootflow", command):
        raise StepError(
            f"U-Boot's `bootcmd` is {command!r}: it would not run boot.scr, and the board would stop "
            "at U-Boot's prompt",
            hint=f"CONFIG_DISTRO_DEFAULTS=y in {_FRAGMENT} gives `run distro_bootcmd`",
        )


def _root_slot(board: DeviceTree, source: Path) -> str:
    """Return the address of the SD controller on which the kernel looks for its root filesystem."""
    arguments = board.get("/chosen", {}).get("bootargs", b"").rstrip(b"\0").decode(errors="replace")
    name = next((word[5:] for word in arguments.split() if word.startswith("root=")), "")
    found = _ROOT.fullmatch(name)
    if found is None or int(found[2]) != ROOT_PARTITION:
        raise UserError(
            f"{source}: the kernel is told root={name}, but its root filesystem is partition "
            f"{ROOT_PARTITION} of the card: it would wait for ever, or find no init",
            hint=f"`root-device` of board.yaml is like /dev/mmcblk0p{ROOT_PARTITION}",
        )
    alias = f"mmc{found[1]}"
    path = _text(board.get("/aliases", {}).get(alias))
    if path not in board:
        raise UserError(
            f"{source}: there is no alias {alias}: which card is {name} would depend on the order in "
            "which drivers start",
            hint=f"add {alias} to `aliases`",
        )
    _check_on(board, path, source, user="the kernel")
    return path.rpartition("@")[2]


def _alias(tree: DeviceTree, slot: str, source: Path) -> str:
    """Return what U-Boot's device tree calls the SD controller at an address: `mmc0`, `mmc1`, ..."""
    for alias, value in tree.get("/aliases", {}).items():
        path = _text(value)
        if re.fullmatch(r"mmc\d+", alias) and path.rpartition("@")[2] == slot:
            _check_on(tree, path, source, user="U-Boot")
            return alias
    raise UserError(
        f"{source}: in U-Boot's device tree no `mmc` alias is the controller at {slot}: which number "
        "the card gets would depend on the order of the nodes",
        hint="add mmc0 to `aliases`",
    )


def _check_on(tree: DeviceTree, path: str, source: Path, *, user: str) -> None:
    if not is_enabled(tree.get(path, {})):
        raise UserError(
            f"{source}: {user} finds no card: {path} is off in its device tree",
            hint='set its `status = "okay"`',
        )


def _first_target(facts: UBootFacts, started_from: str) -> str:
    """Return which of U-Boot's targets comes first on a board that starts from its card.

    With CONFIG_ENV_VARS_UBOOT_RUNTIME_CONFIG, `board_late_init` puts what the board started from
    before all others: `mmc0` on Zynq-7000, whatever its number is on Zynq UltraScale+
    (board/xilinx/zynq/board.c, board/xilinx/zynqmp/zynqmp.c).
    """
    if _RUNTIME.search(facts.config):
        return started_from
    return next(iter(facts.environment.get("boot_targets", "").split()), "nothing")


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode(errors="replace")
