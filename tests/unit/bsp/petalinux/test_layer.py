# SPDX-License-Identifier: MIT
"""Additions to projects: files of user layers, symbols of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.bsp.petalinux.layer import META_USER, UserLayer, set_symbols, symbols
from builder.errors import UserError
from builder.spec.models import Soc
from tests.fixtures.command_line import TREE

DTSI = "recipes-bsp/device-tree/files/system-user.dtsi"
APPEND = "recipes-bsp/device-tree/device-tree.bbappend"
PARTS = ("recipes-bsp/device-tree",)


class Layers:
    """A project, the layers of a board and of its base, and the written files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.boards = [root / "boards/base", root / "boards/own"]
        self.project("conf/layer.conf", "the project's\n")
        self.project(APPEND, 'SRC_URI:append = " file://vendor.dtsi"\n')
        self.project(DTSI, '/include/ "system-conf.dtsi"\n/ { model = "vendor"; };\n')

    def put(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def project(self, name: str, text: str) -> None:
        self.put(f"project/{META_USER}/{name}", text)

    def own(self, name: str, text: str, board: str = "own") -> None:
        self.put(f"boards/{board}/petalinux_bsp/meta-user/{name}", text)

    def layer(self, soc: Soc = Soc.ZYNQ, tree: Path = TREE.root) -> UserLayer:
        return UserLayer.of(soc, tree, self.boards, parts=PARTS)

    def written(self, soc: Soc = Soc.ZYNQ, tree: Path = TREE.root) -> dict[str, str]:
        target = self.root / "target"
        self.layer(soc, tree).write(self.root / "project", target)
        top = target / META_USER
        return {
            path.relative_to(top).as_posix(): path.read_text()
            for path in top.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    return Layers(tmp_path)


@pytest.mark.parametrize("soc", Soc)
def test_the_trees_layer_is_added_to_the_projects(layers: Layers, soc: Soc) -> None:
    written = layers.written(soc)
    snippet = f"pynq-pl-{soc.value}.dtsi"
    assert written[DTSI] == (
        f'/include/ "system-conf.dtsi"\n/ {{ model = "vendor"; }};\n\n/include/ "{snippet}"\n'
    )
    own, added = written[APPEND].split("\n\n", 1)
    assert own == 'SRC_URI:append = " file://vendor.dtsi"'
    assert f"file://{snippet}" in added
    assert f"recipes-bsp/device-tree/files/{snippet}" in written
    assert "conf/layer.conf" not in written
    assert not [name for name in written if "/zynqmp/" in name]


def test_boards_replace_files_and_the_trees_layer_is_added_to_theirs(layers: Layers) -> None:
    layers.own(DTSI, "// base\n", board="base")
    layers.own(APPEND, "# base\n", board="base")
    layers.own(DTSI, "// own\n")
    written = layers.written()
    assert written[DTSI].startswith("// own\n\n/include/")
    assert written[DTSI].count("/include/") == 2
    assert written[APPEND].startswith("# base\n\n")


def test_a_boards_snippet_stays_its_own(layers: Layers) -> None:
    layers.own("recipes-bsp/device-tree/files/pynq-pl-zynq.dtsi", "/ { };\n")
    written = layers.written()
    assert written["recipes-bsp/device-tree/files/pynq-pl-zynq.dtsi"].strip() == "/ { };"


def test_a_project_without_a_layer_gets_the_trees(layers: Layers) -> None:
    for name in ("conf/layer.conf", APPEND, DTSI):
        (layers.root / "project" / META_USER / name).unlink()
    written = layers.written()
    assert "LAYERSERIES_COMPAT_meta-user" in written["conf/layer.conf"]
    assert written[DTSI].endswith('/include/ "pynq-pl-zynq.dtsi"\n')


def test_other_parts_are_not_read(layers: Layers) -> None:
    layers.own("recipes-kernel/linux/a.cfg", "CONFIG_A=y\n")
    layers.own("conf/petalinuxbsp.conf", "A = 1\n")
    assert "recipes-kernel/linux/a.cfg" not in layers.written()
    names = [*layers.layer().settings()]
    assert "layer conf/petalinuxbsp.conf" in names
    assert f"layer {DTSI}" in names
    assert not [name for name in names if "recipes-kernel" in name or "/zynqmp/" in name]


def test_files_of_one_name_in_two_layers_both_count(layers: Layers) -> None:
    seen = {str(layers.layer().settings())}
    for board, text in (("base", "one"), ("own", "two"), ("base", "three"), ("own", "four")):
        layers.own(DTSI, text, board=board)
        seen.add(str(layers.layer().settings()))
    assert len(seen) == 5


def test_files_that_cannot_be_appended(layers: Layers, tmp_path: Path) -> None:
    name = "recipes-bsp/device-tree/files/picture.png"
    layers.put(f"tree/petalinux_bsp/meta-user/{name}", "png")
    layers.project(name, "another")
    with pytest.raises(UserError, match=r"picture.png cannot be appended to the project's file"):
        layers.written(tree=tmp_path / "tree")


def test_symbols_are_set_once() -> None:
    text = "#\n# made\n#\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=y\nCONFIG_A=m\nCONFIG_AB=y\n"
    changed = set_symbols(text, {"CONFIG_A": '"x"', "CONFIG_B": "y", "CONFIG_C": None})
    assert changed == (
        '#\n# made\n#\nCONFIG_AB=y\nCONFIG_A="x"\nCONFIG_B=y\n# CONFIG_C is not set\n'
    )
    assert set_symbols(changed, {"CONFIG_A": '"x"'}).count("CONFIG_A=") == 1
    assert symbols(changed + "CONFIG_D=n\n") == {
        "CONFIG_AB": "y",
        "CONFIG_A": '"x"',
        "CONFIG_B": "y",
    }
