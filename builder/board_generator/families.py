# SPDX-License-Identifier: MIT
"""Device-tree names of a design's peripherals in the SoC families.

The labels are common to `zynq-7000.dtsi` and `zynqmp.dtsi` of Linux 6.1 and U-Boot 2023.01.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from builder.spec.models import Soc
from builder.vivado.system import Peripheral, PeripheralKind


@dataclass(frozen=True, kw_only=True)
class PortingFamily:
    """Device-tree facts of a family.

    Attributes:
        soc: the family.
        includes: first includes of a board's tree.
        snippet: last include of a board's tree.
        address_cells: number of 32-bit cells of an address, and of a size.
        compatible: the family's `compatible`.
        interrupt_controller: label of the interrupt controller.
        gpio: label of the GPIO controller.
        labels: labels of the peripherals of a kind, by number. Missing kinds are always enabled, or
            have no driver.
        fabric: the node of the snippet with an interrupt of the logic.
        fabric_interrupt: the number of that interrupt.
    """

    soc: Soc
    includes: tuple[str, ...]
    snippet: str
    address_cells: int
    compatible: str
    interrupt_controller: str
    gpio: str
    labels: Mapping[PeripheralKind, tuple[str, ...]]
    fabric: str
    fabric_interrupt: int

    def label(self, peripheral: Peripheral) -> str | None:
        """Return the label of a peripheral; None if the tree need not refer to it."""
        known = self.labels.get(peripheral.kind, ())
        return known[peripheral.number] if peripheral.number < len(known) else None


_COMMON: Mapping[PeripheralKind, tuple[str, ...]] = {
    PeripheralKind.UART: ("uart0", "uart1"),
    PeripheralKind.SD: ("sdhci0", "sdhci1"),
    PeripheralKind.USB: ("usb0", "usb1"),
    PeripheralKind.I2C: ("i2c0", "i2c1"),
    PeripheralKind.SPI: ("spi0", "spi1"),
    PeripheralKind.QSPI: ("qspi",),
    PeripheralKind.CAN: ("can0", "can1"),
}

PORTING: Mapping[Soc, PortingFamily] = {
    Soc.ZYNQ: PortingFamily(
        soc=Soc.ZYNQ,
        includes=("zynq-7000.dtsi",),
        snippet="pynq-pl-zynq.dtsi",
        address_cells=1,
        compatible="xlnx,zynq-7000",
        interrupt_controller="intc",
        gpio="gpio0",
        labels={**_COMMON, PeripheralKind.ETHERNET: ("gem0", "gem1")},
        fabric="fabric@40000000",
        fabric_interrupt=29,
    ),
    Soc.ZYNQMP: PortingFamily(
        soc=Soc.ZYNQMP,
        includes=("zynqmp.dtsi", "zynqmp-clk-ccf.dtsi"),
        snippet="pynq-pl-zynqmp.dtsi",
        address_cells=2,
        compatible="xlnx,zynqmp",
        interrupt_controller="gic",
        gpio="gpio",
        labels={
            **_COMMON,
            PeripheralKind.ETHERNET: ("gem0", "gem1", "gem2", "gem3"),
            PeripheralKind.GPIO: ("gpio",),
            PeripheralKind.TIMER: ("ttc0", "ttc1", "ttc2", "ttc3"),
            # SWDT0 is in the low-power domain, SWDT1 in the full-power domain (UG1085).
            PeripheralKind.WATCHDOG: ("lpd_watchdog", "watchdog0"),
        },
        fabric="fabric@a0000000",
        fabric_interrupt=89,
    ),
}
