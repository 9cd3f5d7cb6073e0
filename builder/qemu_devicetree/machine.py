# SPDX-License-Identifier: MIT
"""The emulated machine of each SoC family, read from its data file."""

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
    """Facts about QEMU's machine for the boards of a SoC family.

    program: QEMU's program.
    machine: value of QEMU's option -M.
    cpus: value of QEMU's option -smp.
    serial, sd, nic: device-tree names of the devices of these QEMU options, in QEMU's order.
    mac_address: offset of the MAC address in the registers of each `nic`.
    usb: device-tree names of the USB host controllers, in the order of QEMU's buses.
    most_memory: maximum memory in bytes.
    u_boot_address: address at which U-Boot proper runs; None if the machine cannot run it.
    no_u_boot: the reason why the machine cannot run U-Boot; None if it can.
    first_stage_machine: value of -M for boots that begin with the card's first stage, if QEMU is
        new enough (`builder.boot_test.qemu_release`).
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
        """Return the aliases that an emulated boot needs, with the possible devices of each.

        They are those of the serial port, the card and the network, in this order.

        Args:
            console: the kernel's name of the serial console, with or without its speed.
        """
        number = re.sub(r"\D", "", console.partition(",")[0])
        return {f"serial{number}": self.serial, "mmc0": self.sd, "ethernet0": self.nic}

    def mac_addresses(self) -> dict[int, bytes]:
        """Return the addresses of the MAC-address registers, with their contents at power-on."""
        controllers = (int(name.partition("@")[2], 16) for name in self.nic)
        return {controller + self.mac_address: bytes(8) for controller in controllers}

    def memory(self, board: Board) -> int:
        """Return the memory of an emulated board in bytes."""
        return min(board.emulate.memory or board.memory, self.most_memory)


def machine_file(soc: Soc) -> Path:
    """Return the data file of a family's emulated machine."""
    return DIRECTORY / f"{soc.value}.yaml"


def machine_facts(soc: Soc) -> MachineFacts:
    """Return the facts of a family's emulated machine."""
    return MachineFacts.model_validate(read(machine_file(soc)).data["machine"])


def position(tree: DeviceTree, alias: str, names: tuple[str, ...]) -> int:
    """Return the index of the QEMU device to which a device tree's alias refers.

    Devices are compared by address: their names differ between kernels (`sdhci`, `mmc`).

    Raises:
        UserError: the tree has no such alias, or QEMU has no such device.
    """
    value = tree.get("/aliases", {}).get(alias)
    if value is None:
        raise UserError(f"the device tree has no alias {alias}")
    node = value.rstrip(b"\0").decode(errors="replace").rpartition("/")[2]
    addresses = [name.partition("@")[2] for name in names]
    address = node.partition("@")[2]
    if address not in addresses:
        raise UserError(f"alias {alias} is {node}, but QEMU has only {', '.join(names)}")
    return addresses.index(address)
