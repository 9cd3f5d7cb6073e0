# SPDX-License-Identifier: MIT
"""Check against Linux's bindings: complaints that only the board's tree causes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from builder.bsp.tree_checks.schema import Complaint, complaints, findings, relevant, words
from builder.formats.devicetree import DeviceTree

OUTPUT = """\
/w/board.dtb: /: compatible: 'oneOf' conditional failed, one must be fixed:
\t['tul,pynq-z2', 'xlnx,zynq-7000'] is too short
\tFrom schema: /w/source/Documentation/devicetree/bindings/arm/xilinx.yaml
board.dtb:0:0: /fabric@40000000: failed to match any schema with compatible: ['generic-uio']
board.dtb:0:0: /fabric@40000000: failed to match any schema with compatible: ['generic-uio']
/w/board.dtb: etb@f8801000: clocks: [[1, 27], [1, 46]] is too long
"""
BINDINGS = {
    "net/mac.yaml": "compatible: {const: cdns,gem}\n$ref: ethernet-controller.yaml#\n",
    "net/ethernet-controller.yaml": "$ref: /schemas/net/common.yaml#\n",
    "net/common.yaml": "type: object\n",
    "net/other.yaml": "compatible: {const: cdns,gem2}\n",
    "net/phy.yaml": 'properties:\n  $nodename:\n    pattern: "^ethernet-phy(@[a-f0-9]+)?$"\n',
    "mfd/syscon.yaml": "compatible: {const: syscon}\n",
    "i2c/nearby.yaml": "compatible: {const: a,b}\n$ref: ../net/common.yaml#\n",
}
TREE = """\
/dts-v1/;
/ {
    mac { compatible = "v,mac", "cdns,gem"; ethernet-phy@1 { }; };
    slcr { compatible = "syscon"; };
};
"""


def test_complaints_are_read_each_once_without_their_details() -> None:
    found = complaints(OUTPUT)
    assert [each.node for each in found] == ["/", "/fabric@40000000", "etb@f8801000"]
    assert found[2].text == "clocks: [[1, 27], [1, 46]] is too long"


@pytest.mark.parametrize(
    ("usual", "left"),
    [
        ("etb@f8801000: clocks: [[5, 27], [5, 46]] is too long", 0),
        ("etb@f8802000: clocks: [[1, 27], [1, 46]] is too long", 0),
        ("etb@f8801000: clock-names: [[1, 27], [1, 46]] is too long", 1),
        ("etb@f8801000: clocks: [[1, 27]] is too long", 1),
    ],
)
def test_complaints_about_linux_trees_do_not_count(usual: str, left: int) -> None:
    node, _, text = usual.partition(": ")
    known = {Complaint(node=node, text=text).general}
    own = complaints(OUTPUT)[2:]
    assert len(findings(own, known, described=set(), source="b.dts")) == left


@pytest.mark.parametrize(("text", "left"), [('* "generic-uio" or "x".', 0), ("generic", 1)])
def test_compatibles_described_in_plain_text_do_not_count(text: str, left: int) -> None:
    own = complaints(OUTPUT)[1:2]
    assert len(findings(own, set(), described=words([text]), source="b.dts")) == left


def test_a_finding_says_where_it_is_mended() -> None:
    first, second, _ = findings(
        complaints(OUTPUT), set(), described=set(), source="devicetree/b.dts"
    )
    assert first.name == "schema: /: compatible: 'oneOf' conditional failed"
    assert second.name.endswith("failed to match any schema with compatible: 'generic-uio'")
    assert "correct devicetree/b.dts" in first.text


def test_bindings_of_a_tree_and_their_references(compiled: Callable[[str], DeviceTree]) -> None:
    assert relevant(BINDINGS, [compiled(TREE)]) == [
        "net/common.yaml",
        "net/ethernet-controller.yaml",
        "net/mac.yaml",
        "net/phy.yaml",
    ]


def test_references_go_up(compiled: Callable[[str], DeviceTree]) -> None:
    tree = compiled('/dts-v1/; / { x { compatible = "a,b"; }; };')
    assert relevant(BINDINGS, [tree]) == ["i2c/nearby.yaml", "net/common.yaml"]
