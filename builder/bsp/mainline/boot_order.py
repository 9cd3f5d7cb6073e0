# SPDX-License-Identifier: MIT
"""Check that U-Boot and the kernel use the card that the BootROM booted from.

The BootROM reads the card of one SD controller. SPL and U-Boot number controllers by the `mmc`
aliases of U-Boot's device tree, the kernel by those of its own tree, and U-Boot tries devices in
the order of the variable `boot_targets`. If these refer to different slots, a board stops in
U-Boot, boots from its flash, or its kernel waits for the root filesystem. QEMU does not show this:
it has one card, and the boot does not begin in the BootROM.

The facts come from the built U-Boot: its default environment, its configuration, and the device
tree that SPL passes to it.
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
"""Number of the card's partition with the root filesystem (builder/image/image.py)."""

# Zynq-7000: SD boot is from controller 0, on MIO 40 to 45 (UG585, chapter 6). Zynq UltraScale+:
# modes SD0, and SD1 with and without level shifters (UG1137, "SD Boot Mode").
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
        StepError: U-Boot has no default environment or no device tree.
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
    """Return the environment variables that are compiled into U-Boot, from `bootcmd` on.

    They are strings NAME=VALUE, each terminated by a zero byte, with an empty one at the end
    (U-Boot, include/env_default.h); `bootcmd` is among the first.

    Raises:
        StepError: the environment has no `bootcmd`.
    """
    start = re.search(rb"(?<![ -~])bootcmd=[ -~]", program)
    if start is None:
        raise StepError("U-Boot has no `bootcmd` in its environment: it would stop at its prompt")
    block = program[start.start() : program.index(b"\0\0", start.start())]
    entries = [entry.decode(errors="replace").partition("=") for entry in block.split(b"\0")]
    return {name: value for name, _, value in entries}


def check_boot_order(facts: UBootFacts, board: DeviceTree, soc: Soc, source: Path) -> str:
    """Make sure that U-Boot and the kernel use the card that the BootROM uses.

    Args:
        facts: facts about the built U-Boot.
        board: the kernel's device tree.
        soc: the SoC family.
        source: the source file of the device tree, for messages.

    Returns:
        The device that U-Boot tries first.

    Raises:
        StepError: U-Boot would not run the boot script, or would not try the card.
        UserError: the device trees number the card differently, or `root=` names another partition.
    """
    _check_script(facts)
    slot = _root_slot(board, source)
    if slot not in _CONTROLLERS[soc]:
        raise UserError(
            f"{source}: the kernel uses the card of the controller at {slot}, from which the "
            f"BootROM of {soc.value} cannot boot: the kernel would wait for the card forever",
            hint=f"the card's alias must be the controller at {' or '.join(_CONTROLLERS[soc])}; "
            "make `aliases` and `root-device` of board.yaml agree",
        )
    wanted = _alias(facts.tree, slot, source)
    first = _first_target(facts, wanted if soc is Soc.ZYNQMP else "mmc0")
    if first != wanted:
        raise UserError(
            f"{source}: U-Boot tries {first} first, but in its device tree the card's controller, "
            f"at {slot}, is {wanted}: it would look for boot.scr in another slot, or stop",
            hint=f"make {first} of `aliases` the controller at {slot}"
            if first.startswith("mmc")
            else f"CONFIG_ENV_VARS_UBOOT_RUNTIME_CONFIG=y in {_FRAGMENT} puts the card first",
        )
    if (
        "distro_bootcmd" in facts.environment["bootcmd"]
        and f"bootcmd_{first}" not in facts.environment
    ):
        raise StepError(
            f"U-Boot has no `bootcmd_{first}`: it would skip the card",
            hint=f"set CONFIG_CMD_MMC=y in {_FRAGMENT}",
        )
    return first


def _check_script(facts: UBootFacts) -> None:
    """Make sure that U-Boot looks for boot.scr, and that no stored environment prevents it."""
    if stored := _STORED.findall(facts.config):
        raise StepError(
            f"U-Boot reads a stored environment ({', '.join(stored)}): old variables in a board's "
            "flash or on its card could prevent it from running boot.scr",
            hint=f"turn CONFIG_{stored[0]} off in {_FRAGMENT}",
        )
    command = facts.environment["bootcmd"]
    if not re.search(r"distro_bootcmd|bootflow", command):
        raise StepError(
            f"U-Boot's `bootcmd` is {command!r}: it would not run boot.scr, and the board would "
            "stop at U-Boot's prompt",
            hint=f"set CONFIG_DISTRO_DEFAULTS=y in {_FRAGMENT} for `run distro_bootcmd`",
        )


def _root_slot(board: DeviceTree, source: Path) -> str:
    """Return the address of the SD controller whose card has the kernel's root filesystem."""
    arguments = board.get("/chosen", {}).get("bootargs", b"").rstrip(b"\0").decode(errors="replace")
    name = next((word[5:] for word in arguments.split() if word.startswith("root=")), "")
    found = _ROOT.fullmatch(name)
    if found is None or int(found[2]) != ROOT_PARTITION:
        raise UserError(
            f"{source}: the kernel's arguments have root={name}, but its root filesystem is "
            f"partition {ROOT_PARTITION} of the card: it would wait forever, or find no init",
            hint=f"set `root-device` of board.yaml to, for example, /dev/mmcblk0p{ROOT_PARTITION}",
        )
    alias = f"mmc{found[1]}"
    path = _text(board.get("/aliases", {}).get(alias))
    if path not in board:
        raise UserError(
            f"{source}: there is no alias {alias}: the card that becomes {name} would depend on the "
            "order in which drivers start",
            hint=f"add {alias} to `aliases`",
        )
    _check_on(board, path, source, user="the kernel")
    return path.rpartition("@")[2]


def _alias(tree: DeviceTree, slot: str, source: Path) -> str:
    """Return the `mmc` alias of the SD controller at an address in U-Boot's device tree."""
    for alias, value in tree.get("/aliases", {}).items():
        path = _text(value)
        if re.fullmatch(r"mmc\d+", alias) and path.rpartition("@")[2] == slot:
            _check_on(tree, path, source, user="U-Boot")
            return alias
    raise UserError(
        f"{source}: in U-Boot's device tree no `mmc` alias is the controller at {slot}: the number "
        "of the card would depend on the order of the nodes",
        hint="add mmc0 to `aliases`",
    )


def _check_on(tree: DeviceTree, path: str, source: Path, *, user: str) -> None:
    if not is_enabled(tree.get(path, {})):
        raise UserError(
            f"{source}: {user} finds no card: {path} is disabled in its device tree",
            hint='set its `status = "okay"`',
        )


def _first_target(facts: UBootFacts, started_from: str) -> str:
    """Return U-Boot's first boot target on a board that boots from its card, `started_from`.

    With CONFIG_ENV_VARS_UBOOT_RUNTIME_CONFIG, `board_late_init` puts the device that the board
    booted from before all others: on Zynq-7000 always `mmc0`, on Zynq UltraScale+ the card's own
    number (board/xilinx/zynq/board.c, board/xilinx/zynqmp/zynqmp.c).
    """
    if _RUNTIME.search(facts.config):
        return started_from
    return next(iter(facts.environment.get("boot_targets", "").split()), "nothing")


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode(errors="replace")
