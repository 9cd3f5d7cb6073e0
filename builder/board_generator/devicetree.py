# SPDX-License-Identifier: MIT
"""Generator of a board's device tree from the processing system of a design.

The tree includes the SoC's tree, or that of another board (`Base`), and enables the peripherals of
the design. Data that exports lack is left to Linux if Linux can detect it (the PHY's address), else
the README lists it for a manual check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from builder.board_generator.families import PORTING, PortingFamily
from builder.board_generator.peripherals import Chosen, has_phy
from builder.formats.dts_writer import Node, cells, comment, text, wide
from builder.spec.models import Soc
from builder.vivado.system import Peripheral, PeripheralKind, System, mio

_REFERENCE_CRYSTAL = 33.333333
"""MHz, in the SoCs' own trees."""

# Registers of the USB controllers of Zynq-7000 (UG585, appendix B).
_ZYNQ_USB = (0xE0002000, 0xE0003000)

# Number of pins in each bank of the multiplexer of Zynq UltraScale+.
_MIO_BANK = 26


@dataclass(frozen=True, kw_only=True)
class Base:
    """Another board's tree as the basis: the file `include` with the text `source`."""

    include: str
    source: str
    board: str


def with_logic(system: System) -> list[str]:
    """Return the labels of peripherals that need the programmable logic."""
    family = PORTING[system.soc]
    kinds = {PeripheralKind.UART, PeripheralKind.I2C, PeripheralKind.SPI, PeripheralKind.CAN}
    found = [each for each in system.peripherals if each.in_logic and each.kind in kinds]
    return [label for each in found if (label := family.label(each))]


def board_tree(
    system: System,
    chosen: Chosen,
    *,
    name: str,
    model: str,
    about: str,
    base: Base | None = None,
    additions: Sequence[str] = (),
) -> str:
    """Return the source of a board's device tree.

    Args:
        system: the processing system of the design; without memory if `additions` describe it.
        chosen: console, card and network.
        name: the board's name, for `chosen/pynq_board`.
        model: the board's model; unused with `base`, which has its own.
        about: a comment for the top of the file.
        base: the tree to extend; None for the SoC's.
        additions: sources that are included at the end.
    """
    return _BoardTree(system, chosen, base, additions).source(name=name, model=model, about=about)


class _BoardTree:
    """State of `board_tree`."""

    def __init__(
        self, system: System, chosen: Chosen, base: Base | None, additions: Sequence[str]
    ) -> None:
        self._system = system
        self._chosen = chosen
        self._base = base
        self._additions = additions
        self._family: PortingFamily = PORTING[system.soc]
        self._extra: list[Node] = []
        self._references: dict[str, str] = {}

    def source(self, *, name: str, model: str, about: str) -> str:
        nodes = [*self._peripherals(), *self._transceivers(), *self._absent()]
        root = self._root(name, model)
        root.children += self._extra
        parts = [root.render(), *(node.render() for node in [*self._processor(), *nodes])]
        body = "\n".join(parts)
        includes = [f'#include "{each}"' for each in self._includes()]
        if "GPIO_ACTIVE" in body:
            includes.append("#include <dt-bindings/gpio/gpio.h>")
        if "PHY_TYPE" in body:
            includes.append("#include <dt-bindings/phy/phy.h>")
        head = [
            "// SPDX-License-Identifier: GPL-2.0-or-later OR MIT",
            *comment(about),
            *([] if self._base else ["/dts-v1/;"]),
            *includes,
            "",
        ]
        last = [*self._additions, *([] if self._base else [self._family.snippet])]
        end = "".join(f'#include "{each}"\n' for each in last)
        return "\n".join(head) + "\n" + body + (f"\n{end}" if end else "")

    def _includes(self) -> Sequence[str]:
        return (self._base.include,) if self._base else self._family.includes

    def _known(self, label: str) -> bool:
        """Return whether the base tree already describes a peripheral."""
        if self._base is None:
            return False
        # The base may include a whole board's tree from the kernel, which is not available here.
        # The QSPI controller is the only label that some of these trees lack.
        on_kernels = re.search(r'#include "[^"]+\.dts"', self._base.source)
        whole = bool(on_kernels) and not (label == "qspi" and self._zynq)
        return whole or self._named(self._base, label)

    @staticmethod
    def _named(base: Base, label: str) -> bool:
        """Return whether another board's own source mentions a peripheral."""
        return bool(re.search(rf"&{label}\s*\{{|\b{label}:", base.source))

    @property
    def _zynq(self) -> bool:
        return self._system.soc is Soc.ZYNQ

    def _root(self, name: str, model: str) -> Node:
        chosen, family = self._chosen, self._family
        consoles = [
            chosen.console,
            *(
                each
                for each in self._system.all_of(PeripheralKind.UART)
                if each != chosen.console and not each.in_logic
            ),
        ]
        cards = [chosen.card, *(s for s in self._described(PeripheralKind.SD) if s != chosen.card)]
        networks = self._described(PeripheralKind.ETHERNET)
        # Without a network the controller stays off; emulated boots use it, see docs/porting.md.
        unused = [f"ethernet0 = &{family.labels[PeripheralKind.ETHERNET][0]}"]
        aliases = [
            *(self._aliases("ethernet", networks) or unused),
            *self._aliases("mmc", cards),
            *self._aliases("serial", consoles),
        ]
        if not self._base:
            aliases += self._aliases("i2c", self._described(PeripheralKind.I2C))
            aliases += self._aliases("spi", self._described(PeripheralKind.QSPI))
        width = family.address_cells
        regions = [
            cells([*wide(at, width), *wide(size, width)]) for at, size in self._system.memory
        ]
        memory = Node(
            head="memory@0", lines=['device_type = "memory"', f"reg = {', '.join(regions)}"]
        )
        own = [f"model = {text(model)}", f"compatible = {text(family.compatible)}"]
        return Node(
            head="/",
            lines=[] if self._base else own,
            children=[
                Node(head="aliases", lines=aliases),
                *([memory] if regions else []),
                Node(
                    head="chosen",
                    lines=[
                        f'stdout-path = "serial0:{chosen.baud}n8"',
                        f"pynq_board = {text(name)}",
                    ],
                ),
            ],
        )

    def _aliases(self, stem: str, peripherals: Sequence[Peripheral]) -> list[str]:
        return [
            f"{stem}{index} = &{self._family.label(each)}" for index, each in enumerate(peripherals)
        ]

    def _described(self, kind: PeripheralKind) -> list[Peripheral]:
        """Return the peripherals of a kind that the board's tree enables."""
        found = [each for each in self._system.all_of(kind) if not each.in_logic]
        return [each for each in found if kind is not PeripheralKind.ETHERNET or has_phy(each)]

    def _processor(self) -> Iterator[Node]:
        crystal = self._system.crystal
        if self._zynq:
            # No operating points: see the snippet for the reason.
            if crystal:
                yield Node(head="&clkc", lines=[f"ps-clk-frequency = <{_hertz(crystal)}>"])
        elif crystal and abs(crystal - _REFERENCE_CRYSTAL) > _REFERENCE_CRYSTAL * 1e-3:
            yield Node(head="&pss_ref_clk", lines=[f"clock-frequency = <{_hertz(crystal)}>"])

    def _peripherals(self) -> Iterator[Node]:
        writers: dict[PeripheralKind, Callable[[Peripheral, str], Iterator[Node]]] = {
            PeripheralKind.SD: self._sd,
            PeripheralKind.ETHERNET: self._ethernet,
            PeripheralKind.USB: self._usb,
            PeripheralKind.QSPI: self._qspi,
        }
        for each in self._system.peripherals:
            label = self._family.label(each)
            if label is None or each not in self._described(each.kind):
                continue
            if self._known(label):
                yield Node(head=f"&{label}", lines=['status = "okay"'])
            elif each.kind in writers:
                yield from writers[each.kind](each, label)
            else:
                where = f"{each.name}{f', {each.pins}' if each.pins else ''}"
                yield Node(head=f"&{label}", lines=['status = "okay"'], comment=f"{where}.")

    def _absent(self) -> Iterator[Node]:
        """Yield nodes that disable peripherals of the other board that this design lacks."""
        if not self._base:
            return
        there = {self._family.label(each) for each in self._system.peripherals if not each.in_logic}
        for kind, labels in self._family.labels.items():
            if kind in (PeripheralKind.GPIO, PeripheralKind.TIMER, PeripheralKind.WATCHDOG):
                continue
            for label in labels:
                if label not in there and self._known(label):
                    has = f"{self._base.board} has it, but " * self._named(self._base, label)
                    comment = f"{has}this design does not enable it."
                    yield Node(
                        head=f"&{label}",
                        lines=['status = "disabled"'],
                        comment=comment[0].upper() + comment[1:],
                    )

    def _sd(self, each: Peripheral, label: str) -> Iterator[Node]:
        lines = ['status = "okay"']
        about = f"{each.name}, {each.pins}"
        if "eMMC" in each.details.get("slot", ""):
            lines += ["non-removable", "disable-wp"]
        else:
            # A switch on a pin of the logic (EMIO) has no valid state before a bitstream is loaded:
            # the slot would look empty, or the card write-protected.
            if mio(each.details.get("card-detect", "")) is not None:
                about += f"; card detect on {each.details['card-detect']}, the controller's own"
            else:
                about += "; no card-detect pin: the driver polls for a card"
                lines.append("broken-cd")
            if mio(each.details.get("write-protect", "")) is None:
                lines.append("disable-wp")
        if each.details.get("width", "").startswith("8"):
            lines.append("bus-width = <8>")
        if each.details.get("slot", "").endswith("2.0"):
            lines.append("no-1-8-v")
        pin = mio(each.pins)
        if not self._zynq and pin is not None:
            lines.append(f"xlnx,mio-bank = <{pin // _MIO_BANK}>")
        yield Node(head=f"&{label}", lines=lines, comment=f"{about}.")

    def _ethernet(self, each: Peripheral, label: str) -> Iterator[Node]:
        mode = "sgmii" if each.pins.startswith("GT") else "rgmii-id"
        about = (
            f"{each.name}, {each.pins}, MDIO on {each.details['mdio']}. The PHY is not described: "
            "Linux and U-Boot look for it at all addresses."
        )
        if "reset" in each.details:
            about += f" Its reset is {each.details['reset']}, which the first stage toggles."
        yield Node(
            head=f"&{label}", lines=['status = "okay"', f'phy-mode = "{mode}"'], comment=about
        )

    def _usb(self, each: Peripheral, label: str) -> Iterator[Node]:
        # The family's GPIO controller has no label if it is always enabled.
        there = self._zynq or bool(self._system.all_of(PeripheralKind.GPIO))
        pin = mio(each.details.get("reset", "")) if there else None
        line = f"<&{self._family.gpio} {pin} GPIO_ACTIVE_LOW>"
        reset = [] if pin is None else [f"reset-gpios = {line}"]
        about = f"{each.name}, {each.pins}, as a host."
        if self._zynq:
            # Not `usb_phy0`, since boards use this name for nodes of their own.
            phy = f"ulpi{each.number}"
            self._extra.append(_ulpi_phy(each, phy, reset))
            # Not the "usb-phy" of older trees: with "phys" the kernel waits for the PHY.
            lines = ['status = "okay"', 'dr_mode = "host"', f"phys = <&{phy}>"]
            yield Node(head=f"&{label}", lines=lines, comment=about)
            return
        lane = re.search(r"\d+", each.details.get("usb3", ""))
        reference = re.search(r"\d+", each.details.get("reference", ""))
        speed = 'maximum-speed = "high-speed"'
        if lane and reference:
            self._references[reference[0]] = each.details.get("reference-mhz", "0")
            phys = f"<&psgtr {lane[0]} PHY_TYPE_USB3 {each.number} {reference[0]}>"
            reset += ['phy-names = "usb3-phy"', f"phys = {phys}"]
            about += f" USB 3 on {each.details['usb3']}."
            speed = 'maximum-speed = "super-speed"'
        yield Node(head=f"&{label}", lines=['status = "okay"', *reset], comment=about)
        yield Node(
            head=f"&dwc3_{each.number}", lines=['status = "okay"', 'dr_mode = "host"', speed]
        )

    def _transceivers(self) -> Iterator[Node]:
        """Yield the node of the serial transceivers with their reference clocks."""
        if not self._references:
            return
        self._extra += [
            Node(
                head=f"gt_clock{number}: gt-clock{number}",
                lines=[
                    'compatible = "fixed-clock"',
                    "#clock-cells = <0>",
                    f"clock-frequency = <{_hertz(float(frequency))}>",
                ],
                comment="A reference clock of the serial transceivers in the design.",
            )
            for number, frequency in sorted(self._references.items())
        ]
        clocks = ", ".join(f"<&gt_clock{number}>" for number in sorted(self._references))
        names = ", ".join(text(f"ref{number}") for number in sorted(self._references))
        lines = ['status = "okay"', f"clocks = {clocks}", f"clock-names = {names}"]
        yield Node(head="&psgtr", lines=lines)

    def _qspi(self, each: Peripheral, label: str) -> Iterator[Node]:
        # Without the feedback clock, the controller samples too early above 40 MHz (UG585, UG1085).
        frequency = 50_000_000 if "feedback" in each.details else 30_000_000
        flash = Node(
            head="flash@0",
            lines=[
                'compatible = "jedec,spi-nor"',
                "reg = <0>",
                f"spi-max-frequency = <{frequency}>",
                "spi-tx-bus-width = <1>",
                "spi-rx-bus-width = <4>",
                "m25p,fast-read",
            ],
        )
        about = f"{each.name}, {each.pins}."
        if "second" in each.details or each.details.get("mode", "Single") != "Single":
            about += " The design has two flash chips; the first one is described."
        status = ['status = "okay"']
        if not self._zynq:
            yield Node(head=f"&{label}", lines=status, children=[flash], comment=about)
            return
        # The kernel's zynq-7000.dtsi has the QSPI controller from 6.2 on; U-Boot's has it.
        controller = Node(
            head=f"{label}: spi@e000d000",
            lines=[
                'compatible = "xlnx,zynq-qspi-1.0"',
                "reg = <0xe000d000 0x1000>",
                "interrupt-parent = <&intc>",
                "interrupts = <0 19 4>",
                "clocks = <&clkc 10>, <&clkc 43>",
                'clock-names = "ref_clk", "pclk"',
                "#address-cells = <1>",
                "#size-cells = <0>",
                "num-cs = <1>",
                *status,
            ],
            children=[flash],
            comment=about + " Complete node, since zynq-7000.dtsi of Linux 6.1 lacks it.",
        )
        yield Node(head="&amba", children=[controller])


def _ulpi_phy(usb: Peripheral, label: str, reset: Sequence[str]) -> Node:
    """Return the node of a Zynq-7000 USB controller's transceiver, with the names of AMD's kernels.

    It is accessed through the controller's registers, with ULPI_VIEWPORT at 0x170 (UG585,
    appendix B). Drivers: AMD's kernels have one, others the module `ulpi-phy` of `recipes-modules`.
    """
    address = _ZYNQ_USB[usb.number]
    return Node(
        head=f"{label}: phy{usb.number}@{address:x}",
        lines=[
            'compatible = "ulpi-phy"',
            f"reg = <{address:#x} 0x1000>",
            "view-port = <0x170>",
            "drv-vbus",
            "#phy-cells = <0>",
            *reset,
        ],
        comment=f"The ULPI PHY of {usb.name}, which switches the port's 5 V (VBUS).",
    )


def _hertz(megahertz: float) -> int:
    return round(megahertz * 1_000_000)
