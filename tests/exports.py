# SPDX-License-Identifier: MIT
"""Hardware exports of our own making, in the shape of Vivado's: small designs of both families."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import quoteattr

from builder.bsp.ps7.table import read_table, render
from builder.spec.models import Soc
from tests.support import ROOT

SYSTEMS = {Soc.ZYNQ: "processing_system7", Soc.ZYNQMP: "zynq_ultra_ps_e"}
PS = "ps_0"

ZYNQ = {
    "PCW_CRYSTAL_PERIPHERAL_FREQMHZ": "50",
    "PCW_ACT_APU_PERIPHERAL_FREQMHZ": "650.000000",
    "PCW_DDR_RAM_HIGHADDR": "0x1FFFFFFF",
    "PCW_UART0_PERIPHERAL_ENABLE": "1",
    "PCW_UART0_UART0_IO": "MIO 14 .. 15",
    "PCW_UART0_BAUD_RATE": "115200",
    "PCW_SD0_PERIPHERAL_ENABLE": "1",
    "PCW_SD0_SD0_IO": "MIO 40 .. 45",
    "PCW_SD0_GRP_CD_ENABLE": "1",
    "PCW_SD0_GRP_CD_IO": "MIO 47",
    "PCW_ENET0_PERIPHERAL_ENABLE": "1",
    "PCW_ENET0_ENET0_IO": "MIO 16 .. 27",
    "PCW_ENET0_GRP_MDIO_ENABLE": "1",
    "PCW_ENET0_GRP_MDIO_IO": "MIO 52 .. 53",
    "PCW_ENET0_RESET_ENABLE": "1",
    "PCW_ENET0_RESET_IO": "MIO 9",
    "PCW_USB0_PERIPHERAL_ENABLE": "1",
    "PCW_USB0_USB0_IO": "MIO 28 .. 39",
    "PCW_USB0_RESET_ENABLE": "1",
    "PCW_USB0_RESET_IO": "MIO 46",
    "PCW_I2C1_PERIPHERAL_ENABLE": "1",
    "PCW_I2C1_I2C1_IO": "EMIO",
    "PCW_CAN0_PERIPHERAL_ENABLE": "0",
    "PCW_CAN0_CAN0_IO": "<Select>",
    "PCW_IRQ_F2P_MODE": "DIRECT",
}
ZYNQMP = {
    "PSU__PSS_REF_CLK__FREQMHZ": "33.333",
    "PSU__CRF_APB__ACPU_CTRL__ACT_FREQMHZ": "1199.988037",
    "PSU_DDR_RAM_HIGHADDR": "0xFFFFFFFF",
    "PSU__UART1__PERIPHERAL__ENABLE": "1",
    "PSU__UART1__PERIPHERAL__IO": "MIO 8 .. 9",
    "PSU__UART1__BAUD_RATE": "115200",
    "PSU__SD0__PERIPHERAL__ENABLE": "1",
    "PSU__SD0__PERIPHERAL__IO": "MIO 13 .. 16 21 22",
    "PSU__SD0__SLOT_TYPE": "SD 2.0",
    "PSU__SD0__DATA_TRANSFER_MODE": "4Bit",
    "PSU__SD1__PERIPHERAL__ENABLE": "1",
    "PSU__SD1__PERIPHERAL__IO": "MIO 39 .. 51",
    "PSU__SD1__SLOT_TYPE": "eMMC",
    "PSU__SD1__DATA_TRANSFER_MODE": "8Bit",
    "PSU__ENET0__PERIPHERAL__ENABLE": "1",
    "PSU__ENET0__PERIPHERAL__IO": "MIO 26 .. 37",
    "PSU__ENET0__GRP_MDIO__ENABLE": "1",
    "PSU__ENET0__GRP_MDIO__IO": "MIO 76 .. 77",
    "PSU__USB0__PERIPHERAL__ENABLE": "1",
    "PSU__USB0__PERIPHERAL__IO": "MIO 52 .. 63",
    "PSU__USB0__REF_CLK_SEL": "Ref Clk2",
    "PSU__USB0__REF_CLK_FREQ": "26",
    "PSU__USB3_0__PERIPHERAL__ENABLE": "1",
    "PSU__USB3_0__PERIPHERAL__IO": "GT Lane2",
}
PARAMETERS = {Soc.ZYNQ: ZYNQ, Soc.ZYNQMP: ZYNQMP}


@dataclass(kw_only=True)
class Part:
    """A block of a design: what it is, and which of its ports are wired to what."""

    kind: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Port -> `instance.port` that drives it; several wires with `port[width]`."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Port -> sensitivity of the interrupt that it is, or nothing."""
    clocks: Mapping[str, int] = field(default_factory=dict)
    base: int | None = None


def logic(base: int) -> dict[str, Part]:
    """Return a programmable logic with a block of each sort, from an address on."""
    level = "LEVEL_HIGH"
    return {
        "leds": Part(
            kind="axi_gpio",
            parameters={"C_GPIO_WIDTH": "4", "C_IS_DUAL": "0", "C_TRI_DEFAULT": "0xFFFFFFFF"},
            outputs={"ip2intc_irpt": level},
            clocks={"s_axi_aclk": 100_000_000},
            base=base,
        ),
        "dma": Part(
            kind="axi_dma",
            parameters={
                "C_INCLUDE_MM2S": "1",
                "C_INCLUDE_S2MM": "0",
                "C_M_AXIS_MM2S_TDATA_WIDTH": "32",
                "C_SG_LENGTH_WIDTH": "23",
                "c_addr_width": "32",
            },
            outputs={"mm2s_introut": level},
            clocks={"s_axi_lite_aclk": 100_000_000, "m_axi_mm2s_aclk": 150_000_000},
            base=base + 0x10000,
        ),
        "bus": Part(
            kind="axi_iic",
            outputs={"iic2intc_irpt": level},
            clocks={"s_axi_aclk": 100_000_000},
            base=base + 0x20000,
        ),
        "filter": Part(kind="my_filter", outputs={"done": "EDGE_RISING"}, base=base + 0x30000),
        "steps": Part(
            kind="axi_timer",
            parameters={"C_COUNT_WIDTH": "32", "C_ONE_TIMER_ONLY": "0"},
            outputs={"interrupt": level, "pwm0": ""},
            clocks={"s_axi_aclk": 100_000_000},
            base=base + 0x40000,
        ),
        "servo": Part(
            kind="axi_timer",
            parameters={"C_COUNT_WIDTH": "32", "C_ONE_TIMER_ONLY": "0"},
            outputs={"pwm0": ""},
            clocks={"s_axi_aclk": 100_000_000},
            base=base + 0x50000,
        ),
        "pins": Part(kind="my_pins", inputs={"pwm": "servo.pwm0"}),
        "late": Part(kind="axi_intc", inputs={"intr": "steps.interrupt"}, outputs={"irq": level}),
        "irqs": Part(
            kind="xlconcat",
            parameters={"NUM_PORTS": "4", "IN0_WIDTH": "1", "IN1_WIDTH": "1", "IN2_WIDTH": "1"},
            inputs={
                "In0": "leds.ip2intc_irpt",
                "In1": "dma.mm2s_introut",
                "In2": "bus.iic2intc_irpt",
                "In3": "filter.done",
            },
            outputs={"dout[4]": ""},
        ),
    }


def hwh(
    soc: Soc,
    *,
    parameters: Mapping[str, str] | None = None,
    parts: Mapping[str, Part] | None = None,
    name: str = "design_1",
    board: str = "",
) -> str:
    """Return a .hwh; `parameters` of the processing system are those of PARAMETERS and more."""
    base = {Soc.ZYNQ: 0x41200000, Soc.ZYNQMP: 0x80000000}[soc]
    parts = logic(base) if parts is None else parts
    wire = {Soc.ZYNQ: "IRQ_F2P", Soc.ZYNQMP: "pl_ps_irq0"}[soc]
    system = Part(
        kind=SYSTEMS[soc],
        parameters={**PARAMETERS[soc], **(parameters or {})},
        inputs={f"{wire}[4]": "irqs.dout"} if "irqs" in parts else {},
    )
    everything = {PS: system, **parts}
    modules = "\n".join(_module(instance, everything) for instance in everything)
    chip = {
        Soc.ZYNQ: 'ARCH="zynq" DEVICE="7z020" PACKAGE="clg400" SPEEDGRADE="-1"',
        Soc.ZYNQMP: 'ARCH="zynquplus" DEVICE="xczu7ev" PACKAGE="ffvc1156" SPEEDGRADE="-2"',
    }[soc]
    own = f" BOARD={quoteattr(board)}" if board else ""
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n'
        '<EDKSYSTEM EDWVERSION="1.2" VIVADOVERSION="2024.1">\n'
        f"<SYSTEMINFO {chip}{own} NAME={quoteattr(name)}/>\n"
        f"<MODULES>\n{modules}\n</MODULES>\n</EDKSYSTEM>\n"
    )


def _module(instance: str, parts: Mapping[str, Part]) -> str:
    part = parts[instance]
    names = f'FULLNAME="/{instance}" INSTANCE="{instance}" MODTYPE="{part.kind}"'
    lines = [f'<MODULE {names} VLNV="xilinx.com:ip:{part.kind}:1.0"><PARAMETERS>']
    lines += [
        f"<PARAMETER NAME={quoteattr(key)} VALUE={quoteattr(value)}/>"
        for key, value in part.parameters.items()
    ]
    lines.append("</PARAMETERS><PORTS>")
    for port, source in part.inputs.items():
        lines.append(_port(port, "I", [source]))
    for port, sensitivity in part.outputs.items():
        plain = port.partition("[")[0]
        sinks = [
            f"{other}.{sink.partition('[')[0]}"
            for other, each in parts.items()
            for sink, source in each.inputs.items()
            if source == f"{instance}.{plain}"
        ]
        extra = f' SIGIS="INTERRUPT" SENSITIVITY="{sensitivity}"' if sensitivity else ""
        lines.append(_port(port, "O", sinks, extra))
    for port, frequency in part.clocks.items():
        lines.append(_port(port, "I", [], f' SIGIS="CLK" CLKFREQUENCY="{frequency}"'))
    lines.append("</PORTS>")
    if part.kind in SYSTEMS.values():
        ranges = [
            f'<MEMRANGE INSTANCE="{other}" BASEVALUE="{each.base:#010X}" '
            f'HIGHVALUE="{each.base + 0xFFFF:#010X}" MASTERBUSINTERFACE="M_AXI_GP0" '
            f'SLAVEBUSINTERFACE="S_AXI" MEMTYPE="REGISTER"/>'
            for other, each in parts.items()
            if each.base is not None
        ]
        lines.append(f"<MEMORYMAP>{''.join(ranges)}</MEMORYMAP>")
    lines.append("</MODULE>")
    return "".join(lines)


def _port(name: str, direction: str, peers: Iterable[str], extra: str = "") -> str:
    plain, _, width = name.partition("[")
    size = f' LEFT="{int(width[:-1]) - 1}" RIGHT="0"' if width else ""
    connections = "".join(
        f'<CONNECTION INSTANCE="{peer.partition(".")[0]}" PORT="{peer.partition(".")[2]}"/>'
        for peer in peers
    )
    return (
        f'<PORT DIR="{direction}" NAME="{plain}"{size}{extra}>'
        f"<CONNECTIONS>{connections}</CONNECTIONS></PORT>"
    )


def start_up(soc: Soc) -> dict[str, str]:
    """Return start-up code that U-Boot compiles, in the place of Vivado's.

    That of Zynq-7000 is a real one, of a board of the Pynq-Z2's class. That of Zynq UltraScale+ sets
    nothing up: QEMU needs none of it, and checks no value of either.
    """
    if soc is Soc.ZYNQ:
        table = read_table(ROOT / "boards/Pynq-Z2/ps7/arty-z7.registers.yaml")
        return {"ps7_init_gpl.c": render(table), "ps7_init_gpl.h": "/* in U-Boot's */\n"}
    return {
        "psu_init_gpl.c": "int psu_init(void)\n{\n\treturn 0;\n}\n",
        "psu_init_gpl.h": "int psu_init(void);\n",
    }


def bitstream(data: bytes = b"\xff" * 32 + b"\xaa\x99\x55\x66" + bytes(28)) -> bytes:
    """Return a .bit around configuration data."""
    fields = b"".join(
        tag + struct.pack(">H", len(text)) + text
        for tag, text in ((b"a", b"design;UserID=0\0"), (b"b", b"7z020\0"), (b"c", b"d\0"))
    )
    head = struct.pack(">H", 9) + b"\x0f\xf0" * 4 + b"\0" + struct.pack(">H", 1)
    return head + fields + b"e" + struct.pack(">I", len(data)) + data


def make_xsa(path: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write a hardware export with these files."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def sysdef(top: str, *others: str) -> str:
    """Return the list of an export's files, as Vivado writes it."""
    lines = [f'<File Type="HW_HANDOFF" Name="{top}" BD_TYPE="DEFAULT_BD" DESIGN_HIERARCHY="d_i"/>']
    lines += [f'<File Type="HW_HANDOFF" Name="{each}" BD_TYPE="REFERENCE_BD"/>' for each in others]
    return f'<Project Version="1" Minor="0">{"".join(lines)}</Project>'
