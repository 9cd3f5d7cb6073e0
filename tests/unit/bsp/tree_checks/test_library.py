# SPDX-License-Identifier: MIT
"""Check of the devices that the installed library opens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from builder.bsp.tree_checks.library import Library, findings, package_files, read_library
from builder.formats.devicetree import DeviceTree
from builder.spec.models import Soc
from builder.untrusted import tree as foreign
from builder.vivado.design import Design, read_design
from builder.vivado.export import open_export
from tests.fixtures.exports import Part, hwh

AUDIO = """\
from pynq.uio import get_uio_index

class Audio(DefaultIP):
    def __init__(self):
        self._lib = ffi.dlopen(LIB_SEARCH_PATH + "/libaudio.so")

    bindto = ["xilinx.com:ip:audio_codec_ctrl:1.0"]

    def configure(self, rate=48000, iic_index=1, uio_name="audio-codec-ctrl"):
        self.uio_index = get_uio_index(uio_name)
        self._lib.config(iic_index)
"""
GPIO = '''\
class GPIO:
    @staticmethod
    def get_gpio_base_path(target_label=None):
        """Looks for the label."""
        valid_labels = []
        valid_labels.append("zynqmp_gpio")
        valid_labels.append("zynq_gpio")
'''
INTERRUPT = """\
def get_uio_irq(irq):
    return None
"""
TREE = """\
/dts-v1/;
/ {
    chosen { bootargs = "console=ttyPS0 uio_pdrv_genirq.of_id=generic-uio rw"; };
    aliases { %(aliases)s };
    %(uio)s
    axi {
        bus: i2c@e0005000 { status = "%(i2c)s"; };
        gpio@e000a000 { compatible = "xlnx,zynq-gpio-1.0"; };
    };
};
"""
WHOLE = {
    "aliases": "i2c1 = &bus;",
    "uio": 'audio-codec-ctrl@43c00000 { compatible = "generic-uio"; };',
    "i2c": "okay",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An installed library of a few files."""
    folder = tmp_path / "dist-packages/pynq"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib/audio.py").write_text(AUDIO)
    (folder / "gpio.py").write_text(GPIO)
    (folder / "lib/libaudio.so").write_bytes(b"\x7fELF\0/dev/i2c-%d\0")
    return folder


@pytest.fixture
def library(package: Path) -> Library:
    """Facts about the installed library."""
    return read_library(foreign.ForeignTree(package))


@pytest.fixture
def designs(tmp_path: Path) -> dict[str, Design]:
    """A design with the codec's controller, and GPIO lines in the logic."""
    path = tmp_path / "base.hwh"
    parts = {"codec": Part(kind="audio_codec_ctrl"), "leds": Part(kind="axi_gpio")}
    path.write_text(hwh(Soc.ZYNQ, parameters={"PCW_GPIO_EMIO_GPIO_ENABLE": "1"}, parts=parts))
    return {"base": read_design(open_export(path))}


def names(
    tree: DeviceTree, library: Library, designs: dict[str, Design], *overlays: DeviceTree
) -> list[str]:
    return [each.name for each in findings(tree, overlays, library, designs, source="b.dts")]


def test_opened_devices_are_read_from_the_source(library: Library) -> None:
    opened = library.opened["xilinx.com:ip:audio_codec_ctrl:1.0"]
    assert {(each.kind, each.name) for each in opened} == {
        ("uio", "audio-codec-ctrl"),
        ("i2c", "1"),
    }
    assert {each.place for each in opened} == {"pynq/lib/audio.py:10", "pynq/lib/audio.py:9"}
    assert library.gpio_labels == ["zynqmp_gpio", "zynq_gpio"]


@pytest.mark.parametrize(
    ("code", "opened"),
    [
        ('get_uio_device("one")', [("uio", "one")]),
        ('pynq.uio.get_uio_index("one")', [("uio", "one")]),
        ('open("/dev/i2c-7")', [("i2c", "7")]),
        ("get_uio_index(name)", []),
        ('open("/dev/i2c-*")', []),
    ],
)
def test_names_that_are_written_down(
    package: Path, code: str, opened: list[tuple[str, str]]
) -> None:
    (package / "own.py").write_text(
        f'class Own(Base):\n    bindto = ["a:b:c:1.0"]\nclass Base:\n    def f(self):\n        {code}\n'
    )
    found = read_library(foreign.ForeignTree(package)).opened["a:b:c:1.0"]
    assert [(each.kind, each.name) for each in found] == opened


def test_a_number_is_a_bus_only_where_the_compiled_library_opens_one(package: Path) -> None:
    (package / "lib/libaudio.so").write_bytes(b"\x7fELF")
    opened = read_library(foreign.ForeignTree(package)).opened["xilinx.com:ip:audio_codec_ctrl:1.0"]
    assert [each.kind for each in opened] == ["uio"]


def test_files_that_are_too_large_are_left_out(
    package: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (package / "large.py").open("wb") as file:
        file.truncate(65 << 20)
    assert read_library(foreign.ForeignTree(package)) == library
    monkeypatch.setattr("builder.bsp.tree_checks.library._LARGEST", 8)
    opened = read_library(foreign.ForeignTree(package)).opened["xilinx.com:ip:audio_codec_ctrl:1.0"]
    assert [each.kind for each in opened] == ["uio"]


def test_files_for_another_python_are_left_out(package: Path, library: Library) -> None:
    (package / "old.py").write_text("print 'hello'\n")
    assert read_library(foreign.ForeignTree(package)) == library


def test_links_are_not_followed(package: Path, library: Library, tmp_path: Path) -> None:
    """They may lead out of the root filesystem, or nowhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "other.py").write_text('class Other:\n    bindto = ["a:b:c:1.0"]\n')
    (package / "file.py").symlink_to(outside / "other.py")
    (package / "folder").symlink_to(outside)
    (package / "broken.py").symlink_to("/nowhere")
    (package / "lib/old").mkdir()
    (package / "lib/old/libaudio.so").symlink_to("/nowhere")
    assert package_files(foreign.ForeignTree(package), "other.py") == []
    assert read_library(foreign.ForeignTree(package)) == library
    # Like a root filesystem that is mounted in another namespace.
    assert (
        read_library(foreign.ForeignTree(Path("/proc/self/root") / package.relative_to("/")))
        == library
    )


def test_a_tree_with_all_of_it_is_right(
    compiled: Callable[[str], DeviceTree], library: Library, designs: dict[str, Design]
) -> None:
    assert names(compiled(TREE % WHOLE), library, designs) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"uio": ""}, "library: uio audio-codec-ctrl"),
        ({"uio": 'audio-codec-ctrl@0 { compatible = "uio"; };'}, "library: uio audio-codec-ctrl"),
        ({"aliases": ""}, "library: /dev/i2c-1"),
        ({"aliases": "i2c0 = &bus;"}, "library: /dev/i2c-1"),
        ({"i2c": "disabled"}, "library: /dev/i2c-1"),
    ],
)
def test_missing_devices_are_found(
    compiled: Callable[[str], DeviceTree],
    library: Library,
    designs: dict[str, Design],
    change: dict[str, str],
    found: str,
) -> None:
    tree = compiled(TREE % {**WHOLE, **change})
    (finding,) = findings(tree, [], library, designs, source="devicetree/b.dts")
    assert finding.name == found
    assert "design base has the block codec" in finding.text
    assert finding.text.endswith("in devicetree/b.dts")


OVERLAY = """\
/dts-v1/;
/plugin/;
/ { fragment@0 { target-path = "/"; __overlay__ { %s }; }; };
"""


def test_a_designs_own_overlay_may_bring_the_device(
    compiled: Callable[[str], DeviceTree], library: Library, designs: dict[str, Design]
) -> None:
    tree = compiled(TREE % {**WHOLE, "uio": ""})
    brought, other = (compiled(OVERLAY % text) for text in (WHOLE["uio"], "x@0 { };"))
    assert names(tree, library, designs, other) == ["library: uio audio-codec-ctrl"]
    assert names(tree, library, designs, other, brought) == []


def test_a_name_of_its_own_is_the_devices(
    compiled: Callable[[str], DeviceTree], library: Library, designs: dict[str, Design]
) -> None:
    uio = 'codec@1 { compatible = "generic-uio"; linux,uio-name = "audio-codec-ctrl"; };'
    assert names(compiled(TREE % {**WHOLE, "uio": uio}), library, designs) == []


def test_the_command_line_may_set_another_compatible(
    compiled: Callable[[str], DeviceTree], library: Library, designs: dict[str, Design]
) -> None:
    source = (TREE % WHOLE).replace("of_id=generic-uio", "of_id=uio")
    assert names(compiled(source), library, designs) == ["library: uio audio-codec-ctrl"]


def test_gpio_wants_the_controller(
    compiled: Callable[[str], DeviceTree], library: Library, designs: dict[str, Design]
) -> None:
    source = (TREE % WHOLE).replace("xlnx,zynq-gpio-1.0", "other")
    assert names(compiled(source), library, designs) == ["library: gpio"]


@pytest.mark.parametrize(
    ("uio", "found"),
    [
        ("interrupts = <0 29 4>;", []),
        ("interrupts = <1 1 4>, <0 29 4>;", []),
        ("interrupts = <0 30 4>;", ["library: interrupt 29"]),
        ("", ["library: interrupt 29"]),
    ],
)
def test_an_interrupt_of_the_logic_wants_a_uio_device(
    compiled: Callable[[str], DeviceTree], package: Path, tmp_path: Path, uio: str, found: list[str]
) -> None:
    parts = {
        "timer": Part(kind="axi_timer", outputs={"interrupt": "LEVEL_HIGH"}),
        "irqs": Part(
            kind="xlconcat",
            parameters={"NUM_PORTS": "1", "IN0_WIDTH": "1"},
            inputs={"In0": "timer.interrupt"},
            outputs={"dout[4]": ""},
        ),
    }
    path = tmp_path / "timer.hwh"
    path.write_text(hwh(Soc.ZYNQ, parts=parts))
    designs = {"timer": read_design(open_export(path))}
    tree = compiled(f'/dts-v1/; / {{ f@0 {{ compatible = "generic-uio"; {uio} }}; }};')
    assert names(tree, read_library(foreign.ForeignTree(package)), designs) == []
    (package / "interrupt.py").write_text(INTERRUPT)
    assert names(tree, read_library(foreign.ForeignTree(package)), designs) == found
    driven = compiled(OVERLAY % 'timer@0 { compatible = "a,driver"; interrupts = <0 29 4>; };')
    assert names(tree, read_library(foreign.ForeignTree(package)), designs, driven) == []


def test_without_the_block_nothing_is_asked_for(
    compiled: Callable[[str], DeviceTree], library: Library, tmp_path: Path
) -> None:
    path = tmp_path / "other.hwh"
    path.write_text(hwh(Soc.ZYNQ, parts={"leds": Part(kind="axi_gpio")}))
    empty = compiled("/dts-v1/; / { };")
    assert names(empty, library, {"other": read_design(open_export(path))}) == []
