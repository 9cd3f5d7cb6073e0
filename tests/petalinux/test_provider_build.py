# SPDX-License-Identifier: MIT
"""Whole builds of boot files with the PetaLinux double: results, cached steps, other users."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from builder.formats.devicetree import read_tree
from builder.formats.fit import read_fit
from builder.spec.models import Soc
from tests.fixtures.boot_files import RELEASE, needs_programs
from tests.fixtures.petalinux import BASH, DTSI, MODULES, PACKED, PYTHON, Bench, layer
from tests.petalinux.double import make_xsa
from tests.petalinux.tool.containers import AARCH64, MICROBLAZE

pytestmark = [
    needs_programs,
    pytest.mark.skipif(not shutil.which("mkimage"), reason="needs mkimage"),
]

needs_bootgen = pytest.mark.skipif(not shutil.which("bootgen"), reason="needs bootgen")
PACKAGE = {BASH: "petalinux-package --boot", PYTHON: "petalinux-package boot"}
CREATE = {BASH: "petalinux-create -t project", PYTHON: "petalinux-create project"}


@pytest.mark.parametrize("release", [BASH, PYTHON])
def test_boot_files_from_a_hardware_export(bench: Bench, release: str) -> None:
    bench.installer(release)
    built = bench.build()
    assert built.made == {
        *("petalinux", "petalinux-project", "petalinux-device-tree", "petalinux-kernel"),
        *("petalinux-fsbl", "petalinux-u-boot", "petalinux-boot-script", MODULES, *PACKED),
    }
    said = bench.containers.said()
    assert said[:3] == [
        f"{CREATE[release]} --template zynq -n project",
        "petalinux-config --get-hw-description=/petalinux/input/hardware.xsa --silentconfig",
        "petalinux-config --silentconfig",
    ]
    assert said[-1] == (
        f"{PACKAGE[release]} --fsbl /petalinux/input/petalinux-fsbl/zynq_fsbl.elf --u-boot "
        "/petalinux/input/petalinux-u-boot/u-boot.elf --dtb "
        "/petalinux/input/petalinux-device-tree/system.dtb --force -o /petalinux/work/BOOT.BIN"
    )
    boot = built.entries["boot-files"]
    assert {path.name for path in (boot / "fat").iterdir()} == {"BOOT.BIN", "boot.scr", "image.ub"}
    assert json.loads((boot / "notes.json").read_text()) == []
    assert (boot / "kernel-release").read_text() == f"{RELEASE}\n"
    chosen = read_tree(boot / "board.dtb")["/chosen"]
    arguments = b"console=ttyPS0,115200 root=/dev/mmcblk0p2 earlycon rw rootwait\0"
    assert chosen == {"bootargs": arguments, "pynq_board": b"B\0"}
    fit = read_fit(boot / "fat/image.ub")
    kernel = fit.find(fit.default, "kernel")
    assert kernel
    assert kernel.data == (bench.root / "artifacts/zImage").read_bytes()
    assert kernel.arch == "arm"
    assert fit.images["fdt"].data == (boot / "board.dtb").read_bytes()
    assert (boot / "emulated.dtb").exists()
    assert not bench.build().made


OWN = ("fpga-mgr-sysfs", "of-overlay-configfs", "pynq-buffer")
"""The modules of the builder's user layer."""


@pytest.mark.parametrize(
    ("release", "soc", "has_zocl"),
    [
        (BASH, Soc.ZYNQ, True),
        (PYTHON, Soc.ZYNQ, False),
        (PYTHON, Soc.ZYNQMP, True),
    ],
)
def test_modules_beside_the_kernels(
    bench: Bench, release: str, soc: Soc, *, has_zocl: bool
) -> None:
    bench.describe("hardware: {xsa: hw.xsa}", soc)
    bench.layer(
        "recipes-modules/my-led/my-led_1.0.bb", 'inherit module\nSRC_URI = "file://Makefile"\n'
    )
    bench.layer("recipes-modules/my-led/files/Makefile", "obj-m := my-led.o my-key.o\n")
    bench.installer(release)
    built = bench.build(modules_alone=True)
    recipes = sorted(["my-led", *OWN, *(["zocl"] if has_zocl else [])])
    said = [line for line in bench.containers.said() if line.startswith("petalinux-build -c ")]
    assert [line for line in said if line.split()[-1] in (*recipes, "zocl")] == [
        f"petalinux-build -c {name}" for name in recipes
    ]
    files = layer(built.entries[MODULES])
    modules = f"usr/lib/modules/{RELEASE}"
    wanted = {f"updates/{name}.ko" for name in ("my-led", "my-key", *OWN)}
    wanted |= {"extra/zocl.ko"} if has_zocl else set()
    assert {name for name in files if name.endswith(".ko")} == {
        f"{modules}/{name}" for name in wanted
    }, "and none of the kernel's own"
    listed = files[f"{modules}/modules.dep"].decode().splitlines()
    assert {line.partition(":")[0] for line in listed} == {"some.ko", *wanted}
    assert f"{modules}/modules.dep.bin" in files
    source = bench.tree / "petalinux_bsp/meta-user/recipes-modules/pynq-buffer/files"
    assert {name: files[name] for name in files if not name.startswith("usr/lib/modules/")} == {
        "usr/lib/modules-load.d/pynq-buffer.conf": b"pynq-buffer\n",
        "usr/lib/udev/rules.d/60-pynq-buffer.rules": (source / "60-pynq-buffer.rules").read_bytes(),
        "usr/include/pynq-buffer.h": (source / "pynq-buffer.h").read_bytes(),
    }
    assert "Missed 20 " in built.logs[MODULES], "the kernel is not built a second time"


@needs_bootgen
@pytest.mark.parametrize("with_bitstream", [False, True])
def test_a_board_of_the_other_family(bench: Bench, *, with_bitstream: bool) -> None:
    more = "\n  petalinux: {bitstream: base.bit}" if with_bitstream else ""
    bench.describe(f"hardware: {{xsa: hw.xsa}}{more}", Soc.ZYNQMP)
    (bench.board / "base.bit").write_bytes(bitstream(b"a design", b"xczu28dr-ffvg1517-2-e"))
    programs(
        bench,
        {
            "zynqmp_fsbl.elf": (0xFFFC0000, AARCH64),
            "pmufw.elf": (0xFFDC0000, MICROBLAZE),
            "bl31.elf": (0xFFFEA000, AARCH64),
            "u-boot.elf": (0x8000000, AARCH64),
        },
    )
    bench.installer()
    built = bench.build()
    firmware = {"petalinux-pmufw", "petalinux-trusted-firmware"}
    assert firmware < built.made
    said = bench.containers.said()
    assert said[0].endswith("--template zynqMP -n project")
    if not with_bitstream:
        assert " --pmufw /petalinux/input/petalinux-pmufw/pmufw.elf " in said[-1]
        assert " --atf /petalinux/input/petalinux-trusted-firmware/bl31.elf " in said[-1]
    content = (built.entries["boot-files"] / "fat/BOOT.BIN").read_bytes()
    wanted = [b"pmufw.elf", b"zynqmp_fsbl.elf", b"bl31.elf", b"u-boot.elf"]
    wanted[2:2] = [b"a design"] if with_bitstream else []
    places = [content.index(part) for part in wanted]
    assert places == sorted(places)
    assert "--platform aarch64 -y" in " ".join(bench.containers.commands[0].argv)
    assert (built.entries["petalinux-fsbl"] / "zynqmp_fsbl.elf").exists()
    fit = read_fit(built.entries["boot-files"] / "fat/image.ub")
    assert fit.images["kernel"].arch == "arm64"


def test_what_a_change_builds_again(built: Bench) -> None:
    """Later steps are not built again, because the double's output is the same each time."""
    assert not built.build().made

    built.layer(DTSI, '/include/ "system-conf.dtsi"\n/ { model = "two"; };\n')
    done = built.build()
    assert done.made == {"petalinux-device-tree"}
    reason = done.reason("petalinux-device-tree")
    assert reason
    assert reason.startswith(f"layer {DTSI}: ")

    fragment = built.tree / "petalinux_bsp/meta-user/recipes-kernel/linux/linux-xlnx/wifi.cfg"
    fragment.write_text(f"{fragment.read_text()}\n# more\n")
    assert built.build().made == {"petalinux-kernel", MODULES, *PACKED}

    built.layer("recipes-bsp/u-boot/files/bsp.cfg", "CONFIG_BOOTDELAY=9\n")
    assert built.build().made == {"petalinux-u-boot", "petalinux-boot-script", *PACKED}

    make_xsa(built.board / "hw.xsa", bitstream=b"another")
    assert built.build().made == {item.step.name for item in built.plan()} - {"petalinux"}


@pytest.mark.parametrize("by", ["file", "url"])
def test_a_project_from_a_bsp(bench: Bench, bsp: Path, by: str) -> None:
    digest = hashlib.sha256(bsp.read_bytes()).hexdigest()
    place = f'url: "file://{bsp}", sha256: "{digest}"' if by == "url" else "file: vendor.bsp"
    bench.describe(f"petalinux: {{bsp: {{{place}}}}}")
    if by == "file":
        shutil.copy(bsp, bench.board)
    bench.installer()
    built = bench.build()
    assert ("petalinux-bsp" in built.made) == (by == "url")
    assert bench.containers.said()[:2] == [
        "petalinux-create project -s /petalinux/input/project.bsp -n project",
        "petalinux-config --silentconfig",
    ]
    project = built.entries["petalinux-project"] / "project"
    assert 'model = "vendor"' in (project / f"project-spec/meta-user/{DTSI}").read_text()
    (step,) = {item.step for item in built.plan if item.step.name == "petalinux-project"}
    assert getattr(step, "bsp_sha256", None) == digest
    assert not bench.build().made


@needs_bootgen
@pytest.mark.parametrize("release", [BASH, PYTHON])
def test_a_bitstream_is_packed_though_the_fpga_manager_is_on(bench: Bench, release: str) -> None:
    bench.describe("hardware: {xsa: hw.xsa}\n  petalinux: {bitstream: base.bit}")
    (bench.board / "base.bit").write_bytes(bitstream(b"a design"))
    programs(bench, {"zynq_fsbl.elf": (0, 40), "u-boot.elf": (0x4000000, 40)})
    bench.installer(release)
    boot_bin = bench.build().entries["boot-files"] / "fat/BOOT.BIN"
    said = bench.containers.said()[-1]
    assert said == (
        f"{PACKAGE[release]} --bif /petalinux/work/boot.bif --force -o /petalinux/work/BOOT.BIN"
    )
    content = boot_bin.read_bytes()
    places = [content.index(part) for part in (b"zynq_fsbl.elf", b"a design", b"u-boot.elf")]
    assert places == sorted(places)
    (bench.board / "base.bit").write_bytes(bitstream(b"another!"))
    assert bench.build().made == PACKED


def test_what_builds_share_is_kept_for_other_boards(bench: Bench) -> None:
    bench.installer()
    bench.build()
    assert all(command.network for command in bench.containers.commands)
    bench.files.board(
        (bench.board / "board.yaml").read_text().replace("board: B", "board: C"), name="C"
    )
    shutil.copy(bench.board / "hw.xsa", bench.tree / "boards/C")
    bench.name = "C"
    built = bench.build()
    assert "petalinux" not in built.made
    assert "Missed 0" in built.logs["petalinux-u-boot"]


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that other users can access."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: commands of another user")
def test_commands_of_another_user(reachable: Path) -> None:
    bench = Bench(reachable)
    bench.store.root.chmod(0o755)  # a container reaches its mounts whatever directory they are in
    bench.installer()
    bench.containers.uid = 65534
    built = bench.build()
    assert {command.user for command in bench.containers.commands} == {"65534:65534"}
    tool, project = (built.entries[name] for name in ("petalinux", "petalinux-project"))
    assert (tool / "tool/settings.sh").stat().st_uid == 65534
    assert (project / "project/project-spec/configs/config").stat().st_uid == 0
    assert {path.stat().st_mode & 0o022 for path in built.entries.values()} == {0}
    assert bench.containers.commands[-1].argv[:2] == ["find", "/petalinux/work"]
    assert not bench.build().made


def programs(bench: Bench, wanted: Mapping[str, tuple[int, int]]) -> None:
    """Make programs whose content is their name, with their addresses and machines."""
    folder = bench.root / "artifacts"
    folder.mkdir()
    for name, (at, machine) in wanted.items():
        (folder / name).write_bytes(program(name.encode(), at=at, machine=machine))


def program(content: bytes, *, at: int, machine: int = 40) -> bytes:
    """Return an ELF file with one segment: bytes at an address."""
    data = content.ljust(64, b"\0")
    wide = machine == AARCH64
    ident = bytes([0x7F, *b"ELF", 2 if wide else 1, 1, 1]).ljust(16, b"\0")
    size, entry = (64, 56) if wide else (52, 32)
    head = struct.pack(
        "<2HI3QI6H" if wide else "<2HI3II6H",
        *(2, machine, 1, at, size, 0, 0, size, entry, 1, 0, 0, 0),
    )
    where = (size + entry, at, at, len(data), len(data))
    segment = struct.pack("<2I6Q", 1, 7, *where, 4) if wide else struct.pack("<8I", 1, *where, 7, 4)
    return ident + head + segment + data


def bitstream(content: bytes, part: bytes = b"7z020clg400") -> bytes:
    """Return a bitstream in Vivado's format: a header of texts, then the data."""
    texts = ((b"a", b"top"), (b"b", part), (b"c", b"2024/01/01"), (b"d", b"00:00:00"))
    head = bytes.fromhex("00090ff00ff00ff00ff0000001")
    for key, text in texts:
        head += key + struct.pack(">H", len(text) + 1) + text + b"\0"
    # bootgen swaps the bytes of each word.
    swapped = b"".join(content[at : at + 4][::-1] for at in range(0, len(content), 4))
    data = b"\xff" * 32 + bytes.fromhex("aa995566") + swapped.ljust(64, b"\0")
    return head + b"e" + struct.pack(">I", len(data)) + data
