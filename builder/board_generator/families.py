# SPDX-License-Identifier: MIT
"""Names of a design's peripherals in the device trees of the SoC families.

The labels are those that `zynq-7000.dtsi` and `zynqmp.dtsi` of Linux 6.1 and of U-Boot 2023.01 have
in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from builder.spec.models import Soc
from builder.vivado.system import Peripheral, PeripheralKind


@dataclass(frozen=True, kw_only=True)
class PortingFamily:
    """A family's device tree.

    includes: what a board's tree includes at its top. snippet: what it includes at its end.
    address_cells: 32-bit cells of an address, and of a size.
    compatible: the family's own.
    labels: labels of the peripherals of a kind, by number. A kind that is not there is on without a
    board's doing, or there is no driver for it.
    fabric: the node of the snippet that has an interrupt of the logic, and which one that is.
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
        """Return the label of a peripheral, None if the tree need not name it."""
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
            # SWDT0 is the low-power domain's, SWDT1 the full-power domain's (UG1085).
            PeripheralKind.WATCHDOG: ("lpd_watchdog", "watchdog0"),
        },
        fabric="fabric@a0000000",
        fabric_interrupt=89,
    ),
}
