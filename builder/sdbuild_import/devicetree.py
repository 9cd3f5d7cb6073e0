# SPDX-License-Identifier: MIT
"""Conversion of a board's additions to PetaLinux's device tree to a complete device tree.

PetaLinux generates a tree from the hardware export and includes `system-user.dtsi` at its end. The
converted tree is based on one from Linux instead: the board's if Linux has it, else the family's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder.formats.dts_reader import without_comments
from builder.sdbuild_import.facts import TreeFamily, tree_families
from builder.spec.models import Soc

_INCLUDE = re.compile(r'^[ \t]*/include/[ \t]*"([^"]+)"[ \t]*;?', re.MULTILINE)
_MEMORY = re.compile(r"\bmemory(?:@\w+)?\s*\{(?P<body>[^{}]*)\}")
_REG = re.compile(r"\breg\s*=\s*([^;]*);")
_ALIAS = re.compile(r"\b(serial0|mmc0|ethernet0)\s*=\s*&(\w+)")
_BOOTARGS = re.compile(r'\bbootargs\s*=\s*"([^"]*)"')
_REFERENCE = re.compile(r"(?<![&\w])&\{?(\w+)")
_LABEL = re.compile(r"(?<![\w:])(\w+)\s*:\s*[\w,@.+-]+\s*\{")
_USB_PHY = re.compile(r"\busb-phy(?=\s*=\s*<)")
_UNIT = re.compile(r"[\w,.+-]+@([0-9a-fA-F]{8,})\s*\{")

# Kernel arguments that pynq-pl-*.dtsi sets, or that are of no use.
_ARGUMENTS = {
    *("clk_ignore_unused", "console", "devtmpfs.mount", "earlycon", "earlyprintk", "ro", "root"),
    *("rootfstype", "rootwait", "rw", "uio_pdrv_genirq.of_id", "net.ifnames"),
}


QSPI = """\
&amba {
	/* Linux's zynq-7000.dtsi has it from 6.2 on; where it is there already, the two are merged. */
	qspi: spi@e000d000 {
		compatible = "xlnx,zynq-qspi-1.0";
		reg = <0xe000d000 0x1000>;
		interrupt-parent = <&intc>;
		interrupts = <0 19 4>;
		clocks = <&clkc 10>, <&clkc 43>;
		clock-names = "ref_clk", "pclk";
		#address-cells = <1>;
		#size-cells = <0>;
		status = "disabled";
	};
};

"""

# Linux's trees of Zynq-7000 boards have a transceiver without a driver for the port's power. This
# node and the property have the names of AMD's kernels, as in `builder.board_generator.devicetree`.
TRANSCEIVER = """\
&usb_phy0 {
	compatible = "ulpi-phy";
	reg = <0xe0002000 0x1000>;
	view-port = <0x170>;
	drv-vbus;
};

"""


@dataclass(kw_only=True)
class UserTree:
    """The additions of a `system-user.dtsi`.

    Attributes:
        text: the source, without includes that only PetaLinux has.
        memory: size of its memory nodes in bytes; 0 without any.
        aliases: its aliases for the devices that an image needs.
        references: the labels that it refers to.
        remarks: lines that need attention, with a message.
    """

    text: str
    memory: int = 0
    aliases: Mapping[str, str] = field(default_factory=dict)
    references: frozenset[str] = frozenset()
    remarks: list[tuple[int, str]] = field(default_factory=list)


def read_user_tree(text: str, soc: Soc, *, beside: Collection[str], whole: bool) -> UserTree:
    """Parse and convert a board's additions to PetaLinux's tree.

    Args:
        text: content of `system-user.dtsi`.
        soc: the family.
        beside: names of the files in the same directory.
        whole: whether they are appended to the family's tree, whose labels are known.
    """
    family = tree_families()[soc]
    bare = without_comments(text)
    found = [*_lost_arguments(bare), *_in_fabric(bare, family)]
    if whole:
        found += _unknown_labels(bare, family)

    def included(match: re.Match[str]) -> str:
        if match[1] in beside:
            return f'#include "{match[1]}"'
        return f'/* of PetaLinux: "{match[1]}" */'

    converted = _INCLUDE.sub(included, text)
    if soc is Soc.ZYNQ:
        # With AMD's name, the controller's driver gives up if the transceiver has no driver yet.
        converted = _USB_PHY.sub("phys", converted)
    return UserTree(
        text=converted,
        memory=_memory(bare, family.cells),
        aliases=dict(_ALIAS.findall(bare)),
        references=frozenset(_REFERENCE.findall(bare)),
        remarks=sorted((text.count("\n", 0, position) + 1, what) for position, what in found),
    )


def _memory(bare: str, cells: int) -> int:
    """Return the size of a source's memory nodes in bytes; `cells` is for address and size each."""
    total = 0
    for node in _MEMORY.finditer(bare):
        words = [word for reg in _REG.findall(node["body"]) for word in re.findall(r"\w+", reg)]
        numbers = [int(word, 0) for word in words if word[0].isdigit()]
        for at in range(0, len(numbers), 2 * cells):
            size = 0
            for cell in numbers[at + cells : at + 2 * cells]:
                size = size << 32 | cell
            total += size
    return total


def _lost_arguments(bare: str) -> Iterator[tuple[int, str]]:
    for match in _BOOTARGS.finditer(bare):
        lost = [word for word in match[1].split() if word.partition("=")[0] not in _ARGUMENTS]
        if lost:
            what = (
                f"bootargs {' '.join(lost)}: dropped, since the builder sets the kernel's "
                "arguments; instead of cma= write a node in reserved-memory"
            )
            yield match.start(), what


def _in_fabric(bare: str, family: TreeFamily) -> Iterator[tuple[int, str]]:
    for match in _UNIT.finditer(bare):
        if family.in_fabric(int(match[1], 16)):
            name = match[0].rstrip("{").strip()
            what = (
                f"{name} is in the programmable logic, which is empty when Linux boots: move it "
                "into the design's .dtbo"
            )
            yield match.start(), what


def _unknown_labels(bare: str, family: TreeFamily) -> Iterator[tuple[int, str]]:
    labels = {*_LABEL.findall(bare), *family.labels, "qspi"}
    first: dict[str, int] = {}
    for match in _REFERENCE.finditer(bare):
        first.setdefault(match[1], match.start())
    for name, position in first.items():
        if name not in labels:
            yield position, f"label &{name} is not in {' and '.join(family.includes)} of Linux 6.1"


def board_tree(
    board: str,
    soc: Soc,
    *,
    model: str | None,
    user: tuple[str, UserTree] | None,
    memory: int,
    aliases: Mapping[str, str],
) -> str:
    """Return the source of a board's device tree.

    Args:
        board: name of the board.
        soc: the family.
        model: Linux's source for this board; None if there is none.
        user: name and content of the board's additions.
        memory: size of the memory in bytes, used if neither of the two has it.
        aliases: devices for the aliases that an image needs, if the tree must set them.
    """
    family = tree_families()[soc]
    additions = user[1] if user else UserTree(text="")
    lines = [
        "// SPDX-License-Identifier: GPL-2.0-or-later OR MIT",
        f"/* {board}, converted from a board of PYNQ's sdbuild. */",
    ]
    if model:
        lines.append(f'#include "{model}"')
        wanted = dict(aliases)
    else:
        lines += ["/dts-v1/;", *(f'#include "{name}"' for name in family.includes)]
        wanted = {**family.aliases, **aliases, **additions.aliases}
    lines += ["", "/ {"]
    if not model:
        lines.append(f'\tmodel = "{board}";')
    if wanted:
        lines += ["\taliases {", *(f"\t\t{k} = &{v};" for k, v in wanted.items()), "\t};", ""]
    if not model and not additions.memory:
        numbers = [0, memory] if family.cells == 1 else [0, 0, memory >> 32, memory & 0xFFFFFFFF]
        reg = " ".join(map(hex, numbers))
        lines += ["\tmemory@0 {", '\t\tdevice_type = "memory";', f"\t\treg = <{reg}>;", "\t};", ""]
    lines.append("\tchosen {")
    if not model:
        lines.append('\t\tstdout-path = "serial0:115200n8";')
    lines += [f'\t\tpynq_board = "{board}";', "\t};", "};", ""]
    if soc is Soc.ZYNQ and "qspi" in additions.references:
        lines.append(QSPI)
    if soc is Soc.ZYNQ and model:
        own = re.search(r"\busb_phy0\s*:", additions.text)
        lines.append("/delete-node/ &usb_phy0;\n" if own else TRANSCEIVER)
        lines += ["&usb0 {", "\tphys = <&usb_phy0>;", "};", ""]
    if not model:
        for device in wanted.values():
            lines += [f"&{device} {{", '\tstatus = "okay";', "};", ""]
    if user:
        lines += [f'#include "{user[0]}"', ""]
    # The name that the pynq library reads is always the imported board's.
    lines += [f'#include "pynq-pl-{soc.value}.dtsi"']
    return "\n".join([*lines, ""])


def source_name(board: str, soc: Soc) -> str:
    """Return a file name for a board's source that neither Linux nor U-Boot uses."""
    return f"{soc.value}-{re.sub(r'[^a-z0-9]+', '-', board.lower()).strip('-')}-board.dts"


def user_name(path: Path, source: str) -> str:
    """Return the file name of a board's additions, beside its source."""
    return f"{Path(source).stem}-{path.name}"
