# SPDX-License-Identifier: MIT
"""Interrupts of blocks in the programmable logic, traced along the wires of the design.

`xlconcat` and `xlslice` combine and select interrupts, which end at the processing system or at an
AXI interrupt controller, which is a block itself. Interrupts that pass a gate are not traced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from builder.spec.models import Soc
from builder.vivado.design import Block, Design

Source: TypeAlias = tuple[str, str]
"""Instance and port."""

CONTROLLER: Final = "axi_intc"
"""The IP of an interrupt controller."""

_CONCATS = {"xlconcat", "ilconcat"}
_SLICES = {"xlslice", "ilslice"}
_CONSTANTS = {"xlconstant", "ilconstant"}
_DEPTH = 32

# Interrupt inputs of the processing systems, with the numbers of their wires as shared peripheral
# interrupts: the GIC's numbers minus 32, as in device trees.
# Zynq-7000: UG585, table 7-4 (61..68, 84..91). Zynq UltraScale+: UG1085, table 13-1 (121..128,
# 136..143).
_PORTS: Final[Mapping[Soc, Mapping[str, Sequence[int]]]] = {
    Soc.ZYNQ: {"IRQ_F2P": (*range(29, 37), *range(52, 60))},
    Soc.ZYNQMP: {"pl_ps_irq0": range(89, 97), "pl_ps_irq1": range(104, 112)},
}


@dataclass(frozen=True, kw_only=True)
class Interrupt:
    """An interrupt of the processing system, or input `number` of the block `controller`.

    Numbers of the processing system are those of shared peripheral interrupts, as in device trees.
    `edge`: whether a rising edge triggers it, instead of a high level.
    """

    number: int
    edge: bool
    controller: str | None = None


def interrupts(design: Design) -> dict[Source, Interrupt]:
    """Return the interrupt of each port of the design's blocks.

    For a port with several interrupts, this is the one of the processing system.
    """
    found: dict[Source, Interrupt] = {}
    for block in design.blocks.values():
        if block.kind == CONTROLLER:
            for number, source in _sources(design, block, "intr"):
                found[source] = _interrupt(design, source, number, block.instance)
    for port, numbers in _PORTS[design.soc].items():
        wires = design.system.ports.get(port)
        # In this mode, Vivado assigns the interrupts at the upper end (PG082, "IRQ_F2P_MODE").
        backwards = wires and design.system.parameters.get("PCW_IRQ_F2P_MODE") == "REVERSE"
        first = len(numbers) - wires.width if wires and backwards else 0
        for wire, source in _sources(design, design.system, port):
            if 0 <= first + wire < len(numbers):
                found[source] = _interrupt(design, source, numbers[first + wire], None)
    return found


def _interrupt(design: Design, source: Source, number: int, controller: str | None) -> Interrupt:
    instance, port = source
    edge = design.blocks[instance].ports[port].sensitivity.startswith("EDGE")
    return Interrupt(number=number, edge=edge, controller=controller)


def _sources(design: Design, block: Block, port: str) -> Iterator[tuple[int, Source]]:
    """Yield the wires of an input that are driven: the number of the wire, and its source."""
    wires = block.ports.get(port)
    for wire in range(wires.width if wires else 0):
        source = _driver(design, block, port, wire, _DEPTH)
        if source:
            yield wire, source


def _driver(design: Design, block: Block, port: str, wire: int, depth: int) -> Source | None:
    """Return the source of one wire of an input, traced through blocks that only route wires."""
    known = block.ports.get(port)
    if known is None or depth == 0:
        return None
    for instance, name in known.peers:
        peer = design.blocks.get(instance)
        if peer is None or name not in peer.ports or not peer.ports[name].output:
            continue
        if peer.kind in _CONSTANTS:
            return None
        if peer.kind in _CONCATS:
            for index in range(peer.number("NUM_PORTS", 2)):
                width = peer.number(f"IN{index}_WIDTH", 1)
                if wire < width:
                    return _driver(design, peer, f"In{index}", wire, depth - 1)
                wire -= width
            return None
        if peer.kind in _SLICES:
            low = min(peer.number("DIN_FROM"), peer.number("DIN_TO"))
            return _driver(design, peer, "Din", wire + low, depth - 1)
        return instance, name
    return None
