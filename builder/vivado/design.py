# SPDX-License-Identifier: MIT
"""Reader of a block design in a hardware export: Vivado's .hwh.

The format is Vivado's own and undocumented; this reader follows files of Vivado 2024.1. An export
has a .hwh for each of its block designs; `sysdef.xml` or the newer `xsa.json` names the one at the
top (DEFAULT_BD).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from builder.errors import UserError
from builder.spec.models import Soc
from builder.untrusted.reading import parsed_json, parsed_xml
from builder.vivado.export import HardwareExport

SYSTEMS: Final = {"processing_system7": Soc.ZYNQ, "zynq_ultra_ps_e": Soc.ZYNQMP}
"""The IP blocks of the processing system."""

_LARGEST = 64 << 20
_LARGEST_LIST = 4 << 20
"""Limits in bytes: all .hwh (a big design has 20 MB), and the lists of an export's files."""

_LONGEST_NUMBER = 40

_TOP = "DEFAULT_BD"
_NUMBER = re.compile("[0-9]{1,12}")
_NO_SYSTEM = "export a block design with a processing system (ZYNQ7 or Zynq UltraScale+ MPSoC)"


@dataclass(frozen=True, kw_only=True)
class Port:
    """A port of a block: a wire, or a bus of `width` wires.

    Attributes:
        output: whether the block drives it.
        width: number of wires.
        sensitivity: of an interrupt, in Vivado's terms: LEVEL_HIGH, EDGE_RISING, ...
        frequency: of a clock, in Hz; 0 if unknown.
        peers: the connected ports, as (instance, port).
    """

    output: bool
    width: int
    sensitivity: str
    frequency: int
    peers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of a design.

    Attributes:
        instance: name of the block, unique in the design.
        path: hierarchical name (/video/leds).
        kind: name of the IP (axi_gpio).
        vlnv: vendor, library, name and version of the IP (xilinx.com:ip:axi_gpio:2.0).
        parameters: values by name.
        ports: ports by name.
    """

    instance: str
    path: str
    kind: str
    vlnv: str = ""
    parameters: Mapping[str, str]
    ports: Mapping[str, Port]

    def number(self, parameter: str, default: int = 0) -> int:
        """Return a parameter's value as a number.

        Raises:
        UserError: it is not a number.
        """
        text = self.parameters.get(parameter, "").strip()
        try:
            return _number(text, 0) if text else default
        except ValueError as error:
            raise UserError(
                f"block {self.instance}: {parameter} is {text[:80]!r}, which is not a number"
            ) from error


@dataclass(frozen=True, kw_only=True)
class Range:
    """The address range of a block: `size` bytes from `base` on."""

    instance: str
    base: int
    size: int
    memory: bool


@dataclass(frozen=True, kw_only=True)
class Design:
    """A block design with a processing system.

    Attributes:
        name: name of the design.
        soc: the SoC family.
        part: the device, as in Vivado's Tcl commands.
        board: Vivado's board part; empty if none was selected.
        vivado: version of Vivado that wrote the export.
        blocks: blocks by instance, including those of nested designs.
        system: the block of the processing system.
        ranges: the address ranges that the processing system sees.
    """

    name: str
    soc: Soc
    part: str
    board: str
    vivado: str
    blocks: Mapping[str, Block]
    system: Block
    ranges: tuple[Range, ...]


def read_design(export: HardwareExport) -> Design:
    """Return the top design of an export.

    Raises:
        UserError: there is none, or it has no processing system of a supported family.
    """
    names = export.named(".hwh")
    if not names:
        raise UserError(
            f"{export.path} has no .hwh",
            hint="export the hardware again with Vivado 2018.3 or later",
        )
    trees: dict[str, ET.Element] = {}
    left = _LARGEST
    for name in names:
        content = export.read(name, most=left)
        left -= len(content)
        trees[name] = _parse(export, name, content)
    top = _top(export, trees)
    return _design(export, trees[top], [tree for name, tree in trees.items() if name != top])


def _parse(export: HardwareExport, name: str, content: bytes) -> ET.Element:
    try:
        root = parsed_xml(content)
    except ValueError as error:
        raise UserError(f"{export.path}: {name} is not XML: {error}") from error
    if root.tag != "EDKSYSTEM":
        raise UserError(f"{export.path}: {name} is not a .hwh: it begins with <{root.tag}>")
    return root


def _top(export: HardwareExport, trees: Mapping[str, ET.Element]) -> str:
    """Return the name of the top design's .hwh."""
    with_system = [name for name, tree in trees.items() if _systems(tree)]
    named = [name for name in dict.fromkeys(_named_tops(export)) if name in trees]
    # The named design may only contain the one with the processing system.
    chosen = [name for name in named if name in with_system] or with_system
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise UserError(
            f"{export.path} has {len(chosen)} designs with a processing system: "
            f"{', '.join(chosen)}",
            hint="neither sysdef.xml nor xsa.json names the one at the top; unpack the export, and "
            "pass a single .hwh",
        )
    part = _part(next(iter(trees.values())))
    raise UserError(
        f"{export.path} has no processing system of a Zynq-7000 or Zynq UltraScale+ ({part})",
        hint=_NO_SYSTEM,
    )


def _named_tops(export: HardwareExport) -> Iterator[str]:
    """Yield the names of the top design in the lists of an export's files."""
    for file in listed_files(export):
        if file.get("BD_TYPE") == _TOP:
            yield file.get("Name", "")
    if "xsa.json" in export.members:
        try:
            listed = parsed_json(export.read("xsa.json", most=_LARGEST_LIST))
        except ValueError:
            listed = None
        yield from _json_tops(listed)


def listed_files(export: HardwareExport) -> list[Mapping[str, str]]:
    """Return the attributes of each file in `sysdef.xml`: its Type, Name, ...

    The list is optional: empty if it is missing or damaged.

    Raises:
        UserError: it cannot be unpacked.
    """
    if "sysdef.xml" not in export.members:
        return []
    try:
        root = parsed_xml(export.read("sysdef.xml", most=_LARGEST_LIST))
    except ValueError:
        return []
    return [file.attrib for file in root.iter("File")]


def bitstream_of(export: HardwareExport) -> str | None:
    """Return the name of an export's bitstream: the only one, or the only one that is listed."""
    found = export.named(".bit")
    if len(found) > 1:
        listed = [file.get("Name") for file in listed_files(export) if file.get("Type") == "BIT"]
        found = [name for name in found if name in listed]
    return found[0] if len(found) == 1 else None


def _json_tops(listed: Any) -> Iterator[str]:
    todo = [listed]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            texts = [each for each in value.values() if isinstance(each, str)]
            if _TOP in texts:
                yield from (text for text in texts if text.endswith(".hwh"))
            todo += value.values()
        elif isinstance(value, list):
            todo += value


def _number(text: str, base: int) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("too long for a number")
    return int(text, base)


def _systems(tree: ET.Element) -> list[ET.Element]:
    return [each for each in tree.iterfind("MODULES/MODULE") if each.get("MODTYPE") in SYSTEMS]


def _design(export: HardwareExport, tree: ET.Element, inner: list[ET.Element]) -> Design:
    systems = _systems(tree)
    if len(systems) > 1:
        raise UserError(f"{export.path} has {len(systems)} processing systems in one design")
    blocks: dict[str, Block] = {}
    for each in (*inner, tree):
        blocks |= {block.instance: block for block in _blocks(each)}
    system = blocks[systems[0].get("INSTANCE", "")]
    info = tree.find("SYSTEMINFO")
    return Design(
        name=info.get("NAME", "") if info is not None else "",
        soc=SYSTEMS[systems[0].get("MODTYPE", "")],
        part=_part(tree),
        board=info.get("BOARD", "") if info is not None else "",
        vivado=tree.get("VIVADOVERSION", ""),
        blocks=blocks,
        system=system,
        ranges=tuple(_ranges(export, systems[0])),
    )


def _part(tree: ET.Element) -> str:
    info = tree.find("SYSTEMINFO")
    if info is None or not info.get("DEVICE"):
        return "unknown part"
    device, package, speed = (info.get(key, "") for key in ("DEVICE", "PACKAGE", "SPEEDGRADE"))
    if not device.startswith("xc"):
        device = f"xc{device}"
    # Zynq-7000: xc7z020clg400-1; Zynq UltraScale+: xczu7ev-ffvc1156-2.
    return f"{device}{'' if device.startswith('xc7') else '-'}{package}{speed}"


def _blocks(tree: ET.Element) -> Iterator[Block]:
    for module in tree.iterfind("MODULES/MODULE"):
        yield Block(
            instance=module.get("INSTANCE", ""),
            path=module.get("FULLNAME", ""),
            kind=module.get("MODTYPE", ""),
            vlnv=module.get("VLNV", ""),
            parameters={
                each.get("NAME", ""): each.get("VALUE", "")
                for each in module.iterfind("PARAMETERS/PARAMETER")
            },
            ports={each.get("NAME", ""): _port(each) for each in module.iterfind("PORTS/PORT")},
        )


def _port(port: ET.Element) -> Port:
    left, right = (port.get(side, "0") for side in ("LEFT", "RIGHT"))
    bounds = [int(each) for each in (left, right) if _NUMBER.fullmatch(each)]
    frequency = port.get("CLKFREQUENCY", "")
    return Port(
        output=port.get("DIR") == "O",
        width=max(bounds) - min(bounds) + 1 if bounds else 1,
        sensitivity=port.get("SENSITIVITY", ""),
        frequency=int(frequency) if _NUMBER.fullmatch(frequency) else 0,
        peers=tuple(
            (each.get("INSTANCE", ""), each.get("PORT", ""))
            for each in port.iterfind("CONNECTIONS/CONNECTION")
        ),
    )


def _ranges(export: HardwareExport, system: ET.Element) -> Iterator[Range]:
    for each in system.iterfind("MEMORYMAP/MEMRANGE"):
        instance = each.get("INSTANCE", "")
        try:
            base, last = (_number(each.get(key, ""), 16) for key in ("BASEVALUE", "HIGHVALUE"))
        except ValueError as error:
            raise UserError(
                f"{export.path}: the address range of {instance or 'a block'} is incomplete"
            ) from error
        yield Range(
            instance=instance,
            base=base,
            size=last - base + 1,
            memory=each.get("MEMTYPE") == "MEMORY",
        )
