# SPDX-License-Identifier: MIT
"""The emulated machine of each SoC family, from its data file."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import model_validator

from builder.errors import UserError
from builder.formats.devicetree import DeviceTree
from builder.spec.document import read
from builder.spec.models import Board, Model, Soc
from builder.spec.texts import Size

DIRECTORY = Path(__file__).parent


class MachineFacts(Model):
    """How QEMU emulates a family's boards.

    `machine` is the value of QEMU's option -M, `cpus` that of -smp. `serial`, `sd` and `nic`
    are the device tree's names of the devices that QEMU's options of that kind are for, in QEMU's
    order; `usb` those of its USB host controllers, in the order of their buses. `mac_address` is
    where, in the registers of each `nic`, its MAC address is. `most_memory` is what it can have, in
    bytes. `u_boot_address` is where U-Boot proper runs; a machine on which it cannot has `no_u_boot`
    instead, the reason. `first_stage_machine` stands for `machine` where a card's first stage is
    started, by a QEMU that is new enough (`builder.boot_test.qemu_release`).
    """

    program: str
    machine: str
    cpus: int
    serial: tuple[str, ...]
    sd: tuple[str, ...]
    nic: tuple[str, ...]
    mac_address: int
    usb: tuple[str, ...] = ()
    most_memory: Size
    u_boot_address: int | None = None
    no_u_boot: str | None = None
    first_stage_machine: str | None = None

    @model_validator(mode="after")
    def _one_start(self) -> MachineFacts:
        if (self.u_boot_address is None) == (self.no_u_boot is None):
            raise ValueError("give either `u-boot-address` or `no-u-boot`")
        return self

    def devices(self, console: str) -> dict[str, tuple[str, ...]]:
        """Return the aliases that an emulated boot needs, and the devices that each can mean.

        They are those of the serial port, the card and the network, in this order. `console` is the
        serial console as the kernel names it, with or without its speed.
        """
        number = re.sub(r"\D", "", console.partition(",")[0])
        return {f"serial{number}": self.serial, "mmc0": self.sd, "ethernet0": self.nic}

    def mac_addresses(self) -> dict[int, bytes]:
        """Return the registers with MAC addresses, and what is in them when a board is switched on."""
        controllers = (int(name.partition("@")[2], 16) for name in self.nic)
        return {controller + self.mac_address: bytes(8) for controller in controllers}

    def memory(self, board: Board) -> int:
        """Return the memory of a board when it is emulated, in bytes."""
        return min(board.emulate.memory or board.memory, self.most_memory)


def machine_file(soc: Soc) -> Path:
    """Return the data file of a family's emulated machine."""
    return DIRECTORY / f"{soc.value}.yaml"


def machine_facts(soc: Soc) -> MachineFacts:
    """Return the facts of a family's emulated machine."""
    return MachineFacts.model_validate(read(machine_file(soc)).data["machine"])


def position(tree: DeviceTree, alias: str, names: tuple[str, ...]) -> int:
    """Return which of QEMU's devices is the one that a device tree's alias means.

    It is known by its address: what a device is called differs between kernels (`sdhci`, `mmc`).

    Raises:
        UserError: the tree has no such alias, or QEMU no such device.
    """
    value = tree.get("/aliases", {}).get(alias)
    if value is None:
        raise UserError(f"the device tree has no alias {alias}")
    node = value.rstrip(b"\0").decode(errors="replace").rpartition("/")[2]
    addresses = [name.partition("@")[2] for name in names]
    address = node.partition("@")[2]
    if address not in addresses:
        raise UserError(f"alias {alias} is {node}; QEMU has {', '.join(names)}")
    return addresses.index(address)
