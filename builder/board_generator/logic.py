# SPDX-License-Identifier: MIT
"""Generator of a device-tree overlay for the programmable logic of a design.

This is an overlay instead of a part of the board's tree, because a driver that accesses a block
outside of the loaded bitstream hangs the processor. Each block that the processing system sees
becomes a device of its driver if this kernel has one (`logic.yaml`), else a device for programs
(UIO).

Limitation: the driver of the AXI interrupt controller only starts with the kernel, so blocks behind
one have no interrupt in an overlay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from builder.board_generator.families import PORTING, PortingFamily
from builder.formats.dts_writer import Node, cells, label_of, name_of, text, wide
from builder.spec.document import read
from builder.spec.models import Model
from builder.vivado.design import Block, Design, Range
from builder.vivado.interrupts import CONTROLLER, Interrupt, Source, interrupts

_FILE = Path(__file__).with_name("logic.yaml")
_UIO = "generic-uio"
_UIO_RANGES = 5
"""Maximum number of ranges of a UIO device (MAX_UIO_MAPS)."""
_LEVEL_HIGH, _EDGE_RISING = 4, 1


def _named(value: object) -> object:
    return {each: each for each in value} if isinstance(value, list) else value


class _Channel(Model):
    """A node below a block's node."""

    node: str
    compatible: str
    interrupt: str
    when: str | None = None
    numbers: Mapping[str, str] = {}
    flags: Mapping[str, str] = {}


class _Driver(Model):
    """Binding of a driver for a block; logic.yaml documents the keys."""

    node: str
    compatible: str
    lines: tuple[str, ...] = ()
    numbers: Mapping[str, str] = {}
    clocks: Annotated[Mapping[str, str], BeforeValidator(_named)] = {}
    interrupt: str | None = None
    needs_interrupt: bool = False
    with_interrupt: tuple[str, ...] = ()
    connected: str | None = None
    channels: tuple[_Channel, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LogicBlock:
    """A block in the overlay.

    Attributes:
        block: the block of the design.
        ranges: its address ranges.
        driver: its `compatible`; `generic-uio` for programs.
        interrupt: its interrupt of the processing system, if any.
        note: a remark about deviations.
    """

    block: Block
    ranges: tuple[Range, ...]
    driver: str
    interrupt: int | None
    note: str = ""

    @property
    def uio(self) -> bool:
        """Whether it is a UIO device, without a driver of its own."""
        return self.driver == _UIO


@dataclass(frozen=True, kw_only=True)
class Logic:
    """The programmable logic as seen from the processing system.

    `overlay` is the source of the device-tree overlay; empty if there is nothing to describe.
    """

    blocks: tuple[LogicBlock, ...]
    overlay: str


@cache
def _drivers() -> Mapping[str, _Driver]:
    return {kind: _Driver.model_validate(entry) for kind, entry in read(_FILE).data.items()}


def describe(design: Design, *, enable: Sequence[str] = ()) -> Logic:
    """Return the programmable logic of a design.

    Args:
        design: the design.
        enable: labels of peripherals with pins in the logic, which the overlay enables.

    Raises:
        UserError: a parameter of a block that its driver needs is not a number.
    """
    return _Description(design, enable).logic()


class _Description:
    """State of `describe`."""

    def __init__(self, design: Design, enable: Sequence[str]) -> None:
        self._design = design
        self._enable = enable
        self._family: PortingFamily = PORTING[design.soc]
        self._interrupts: Mapping[Source, Interrupt] = interrupts(design)
        self._clocks: dict[int, Node] = {}
        self._fabric_taken = False

    def logic(self) -> Logic:
        seen: dict[str, list[Range]] = {}
        for each in self._design.ranges:
            seen.setdefault(each.instance, []).append(each)
        blocks, nodes = [], []
        for instance, ranges in seen.items():
            block = self._design.blocks.get(instance) or Block(
                instance=instance, path=instance, kind="unknown", parameters={}, ports={}
            )
            described, node = self._block(block, ranges)
            blocks.append(described)
            nodes.append(node)
        return Logic(blocks=tuple(blocks), overlay=self._overlay(nodes))

    def _overlay(self, nodes: Sequence[Node]) -> str:
        if not nodes and not self._enable:
            return ""
        parts = []
        if self._fabric_taken:
            parts.append(
                Node(
                    head=f"&{{/{self._family.fabric}}}",
                    lines=['status = "disabled"'],
                    comment="A block below uses its interrupt.",
                )
            )
        if nodes:
            # Add blocks directly below the root: the kernel creates devices for nodes that an
            # overlay adds to an existing bus, but not for those on a new bus of the overlay.
            parts.append(Node(head="&{/}", children=[*self._clocks.values(), *nodes]))
        parts += [Node(head=f"&{label}", lines=['status = "okay"']) for label in self._enable]
        return "/dts-v1/;\n/plugin/;\n\n" + "\n".join(part.render() for part in parts)

    def _block(self, block: Block, ranges: Sequence[Range]) -> tuple[LogicBlock, Node]:
        driver = _drivers().get(block.kind)
        note = ""
        if driver and driver.connected and not self._is_connected(block, driver.connected):
            driver = None
        if driver:
            channels = [
                each for each in driver.channels if not each.when or block.number(each.when)
            ]
            ports = [each.interrupt for each in channels]
            if driver.needs_interrupt and driver.interrupt:
                ports.append(driver.interrupt)
            missing = [port for port in ports if self._wire(block, port) is None]
            if missing:
                note = (
                    f"the driver for {driver.compatible} needs {' and '.join(missing)}, "
                    f"which {self._whereabouts(block, missing[0])}"
                )
                driver = None
        if driver:
            node, interrupt = self._driven(block, driver, ranges)
            compatible = driver.compatible
        else:
            node, interrupt, note = self._uio(block, ranges, note)
            compatible = _UIO
        node.comment = f"{block.path}: {block.kind}{f'; {note}' if note else ''}"
        described = LogicBlock(
            block=block, ranges=tuple(ranges), driver=compatible, interrupt=interrupt, note=note
        )
        return described, node

    def _driven(
        self, block: Block, driver: _Driver, ranges: Sequence[Range]
    ) -> tuple[Node, int | None]:
        lines = [f"compatible = {text(driver.compatible)}", self._reg(ranges[:1]), *driver.lines]
        lines += self._numbers(block, driver.numbers)
        clocks = {
            name: block.ports[port].frequency
            for name, port in driver.clocks.items()
            if port in block.ports and block.ports[port].frequency
        }
        if clocks:
            references = ", ".join(f"<&{self._clock(each)}>" for each in clocks.values())
            lines += [f"clocks = {references}", f"clock-names = {', '.join(map(text, clocks))}"]
        wire = self._wire(block, driver.interrupt) if driver.interrupt else None
        if wire:
            lines += [*self._interrupt_lines(wire), *driver.with_interrupt]
        children = []
        for channel in driver.channels:
            if channel.when and not block.number(channel.when):
                continue
            own = self._wire(block, channel.interrupt)
            assert own, "described blocks have it"
            wire = wire or own
            flags = [name for name, each in channel.flags.items() if block.number(each)]
            children.append(
                Node(
                    head=channel.node,
                    lines=[
                        f"compatible = {text(channel.compatible)}",
                        *self._interrupt_lines(own),
                        *self._numbers(block, channel.numbers),
                        *flags,
                    ],
                )
            )
        head = f"{label_of(block.instance)}: {driver.node}@{ranges[0].base:x}"
        return Node(head=head, lines=lines, children=children), wire.number if wire else None

    def _uio(
        self, block: Block, ranges: Sequence[Range], note: str
    ) -> tuple[Node, int | None, str]:
        lines = [
            f"compatible = {text(_UIO)}",
            self._reg(ranges[:_UIO_RANGES]),
            f"linux,uio-name = {text(block.instance)}",
        ]
        wires = [wire for port in block.ports if (wire := self._wire(block, port))]
        wire = wires[0] if wires else None
        if wire and block.kind == CONTROLLER and wire.number == self._family.fabric_interrupt:
            note = "its interrupt is that of the UIO device `fabric`, for the pynq library"
            wire = None
        elif wire:
            lines += self._interrupt_lines(wire)
        elif not note:
            behind = {
                found.controller
                for port in block.ports
                if (found := self._interrupts.get((block.instance, port)))
            }
            if behind:
                note = f"its interrupt goes to {', '.join(map(str, sorted(behind, key=str)))}"
        # The tree already has a node `fabric` with an address of the logic.
        name = name_of(block.instance)
        name = "pl-fabric" if name == "fabric" else name
        head = f"{label_of(block.instance)}: {name}@{ranges[0].base:x}"
        return Node(head=head, lines=lines), wire.number if wire else None, note

    def _is_connected(self, block: Block, port: str) -> bool:
        return port in block.ports and bool(block.ports[port].peers)

    def _wire(self, block: Block, port: str) -> Interrupt | None:
        """Return the processing system's interrupt for a port; None if there is none."""
        found = self._interrupts.get((block.instance, port))
        return found if found and found.controller is None else None

    def _whereabouts(self, block: Block, port: str) -> str:
        found = self._interrupts.get((block.instance, port))
        return f"goes to {found.controller}" if found else "is not connected"

    def _interrupt_lines(self, wire: Interrupt) -> list[str]:
        if wire.number == self._family.fabric_interrupt:
            self._fabric_taken = True
        return [
            f"interrupt-parent = <&{self._family.interrupt_controller}>",
            f"interrupts = <0 {wire.number} {_EDGE_RISING if wire.edge else _LEVEL_HIGH}>",
        ]

    def _reg(self, ranges: Sequence[Range]) -> str:
        width = self._family.address_cells
        return "reg = " + ", ".join(
            cells([*wide(each.base, width), *wide(each.size, width)]) for each in ranges
        )

    def _numbers(self, block: Block, numbers: Mapping[str, str]) -> Iterator[str]:
        for name, parameter in numbers.items():
            if parameter in block.parameters:
                yield f"{name} = {cells([block.number(parameter) & 0xFFFFFFFF])}"

    def _clock(self, frequency: int) -> str:
        """Return the label of a fixed clock.

        It is not the processing system's clock: a driver would stop that for all other blocks too.
        """
        label = f"clock_{frequency}"
        self._clocks.setdefault(
            frequency,
            Node(
                head=f"{label}: pl-clock-{frequency}",
                lines=[
                    'compatible = "fixed-clock"',
                    "#clock-cells = <0>",
                    f"clock-frequency = <{frequency}>",
                ],
            ),
        )
        return label
