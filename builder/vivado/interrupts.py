# SPDX-License-Identifier: MIT
"""Interrupts that blocks of the programmable logic raise, followed along the wires of the design.

Interrupts are gathered by `xlconcat` and picked by `xlslice`, and end at the processing system or
at an AXI interrupt controller, which is a block itself. What goes through a gate is not followed.
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
"""The block that is an interrupt controller."""

_CONCATS = {"xlconcat", "ilconcat"}
_SLICES = {"xlslice", "ilslice"}
_CONSTANTS = {"xlconstant", "ilconstant"}
_DEPTH = 32

# The ports of the processing systems that take interrupts of the logic, with the numbers of their
# wires as shared peripheral interrupts: those of the GIC less 32, as device trees count them.
# Zynq-7000: UG585, table 7-4 (61..68, 84..91). Zynq UltraScale+: UG1085, table 13-1 (121..128,
# 136..143).
_PORTS: Final[Mapping[Soc, Mapping[str, Sequence[int]]]] = {
    Soc.ZYNQ: {"IRQ_F2P": (*range(29, 37), *range(52, 60))},
    Soc.ZYNQMP: {"pl_ps_irq0": range(89, 97), "pl_ps_irq1": range(104, 112)},
}


@dataclass(frozen=True, kw_only=True)
class Interrupt:
    """An interrupt: of the processing system, or input `number` of the block `controller`.

    The processing system's numbers are those of shared peripheral interrupts, as device trees count
    them. `edge`: whether it is raised by a rising edge, not by a high level.
    """

    number: int
    edge: bool
    controller: str | None = None


def interrupts(design: Design) -> dict[Source, Interrupt]:
    """Return the interrupt that each port of the design's blocks raises.

    A port that raises several is known by that of the processing system.
    """
    found: dict[Source, Interrupt] = {}
    for block in design.blocks.values():
        if block.kind == CONTROLLER:
            for number, source in _sources(design, block, "intr"):
                found[source] = _interrupt(design, source, number, block.instance)
    for port, numbers in _PORTS[design.soc].items():
        wires = design.system.ports.get(port)
        # Vivado puts the interrupts at the upper end in this mode (PG082, "IRQ_F2P_MODE").
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
    """Yield what drives the wires of an input: the number of the wire, and where it comes from."""
    wires = block.ports.get(port)
    for wire in range(wires.width if wires else 0):
        source = _driver(design, block, port, wire, _DEPTH)
        if source:
            yield wire, source


def _driver(design: Design, block: Block, port: str, wire: int, depth: int) -> Source | None:
    """Return what drives one wire of an input, behind all that only gathers and picks wires."""
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
