# SPDX-License-Identifier: MIT
"""Opens the built image without booting it, with tools that had no part in making it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from builder.formats.boot_bin import parse
from builder.image.filesystem import FEATURES
from builder.image.image import BOOT_OFFSET
from builder.publish.output import Output
from builder.spec.models import Soc
from tests.fixtures.product import ROOT, build_py

MIB = 1 << 20
INDEXED = 0x1000
"""EXT4_INDEX_FL: a directory's flag."""
U_BOOT = {Soc.ZYNQ: "u-boot.img", Soc.ZYNQMP: "u-boot.itb"}


def tool(*argv: str | Path) -> str:
    return subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, check=True
    ).stdout


def soc_of(built: Output) -> Soc:
    return Soc(json.loads(built.manifest.read_text())["spec"]["soc"])


@pytest.fixture(scope="module")
def partitions(built: Output) -> list[tuple[int, int, int, int]]:
    """Return (active, type, start, size) of the MBR's entries, in sectors."""
    with built.image.open("rb") as file:
        record = file.read(512)
    assert record[510:] == b"\x55\xaa"
    entries = [record[at : at + 16] for at in range(446, 510, 16)]
    return [(e[0], e[4], *struct.unpack("<II", e[8:])) for e in entries if e[4]]


@pytest.fixture(scope="module")
def root(
    built: Output,
    partitions: list[tuple[int, int, int, int]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return the root partition alone, as a sparse file."""
    path = tmp_path_factory.mktemp("root") / "root.ext4"
    _, _, start, size = partitions[1]
    with path.open("wb") as target:
        target.truncate(size * 512)
    tool(
        *("dd", f"if={built.image}", f"of={path}", "bs=1M", "conv=sparse,notrunc", "status=none"),
        f"skip={start // 2048}",
    )
    return path


def test_partitions(partitions: list[tuple[int, int, int, int]], built: Output) -> None:
    boot, root = partitions
    assert boot[:2] == (0x80, 0x0C), "an active FAT partition first"
    assert boot[2] * 512 == BOOT_OFFSET
    assert root[1] == 0x83
    assert (root[2] + root[3]) * 512 == built.image.stat().st_size


def test_boot_partition(built: Output) -> None:
    image = f"{built.image}@@{BOOT_OFFSET}"
    listed = tool("mdir", "-b", "-i", image, "::/").split()
    wanted = {"BOOT.BIN", U_BOOT[soc_of(built)], "boot.scr", "image.ub", "REVISION"}
    assert {f"::/{name}" for name in wanted} <= {*listed}
    assert "PYNQ" in tool("mlabel", "-s", "-i", image, "::")
    assert f"Board: {built.board}" in tool("mtype", "-i", image, "::/REVISION")


def test_boot_bin(built: Output, tmp_path: Path) -> None:
    """The card's BOOT.BIN is the published one, and one for its family."""
    path = tmp_path / "BOOT.BIN"
    tool("mcopy", "-i", f"{built.image}@@{BOOT_OFFSET}", "::/BOOT.BIN", path)
    assert path.read_bytes() == (built.directory / "boot/fat/BOOT.BIN").read_bytes()
    # It has a header that the BootROM takes, and a first stage that fits where it is loaded.
    assert parse(path, soc_of(built)).first_stage


def test_fit_has_the_board_first(built: Output) -> None:
    shown = tool("dumpimage", "-l", built.directory / "boot/fat/image.ub")
    assert "Default Configuration: 'conf-board'" in shown
    assert "conf-emulated" in shown


def test_root_filesystem_is_clean(root: Path) -> None:
    done = subprocess.run(["e2fsck", "-f", "-n", root], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_root_filesystem_has_what_an_ext4_of_ours_has(root: Path) -> None:
    """Its features, checksums among them, and large directories with their index."""
    header = re.search(r"^Filesystem features: +(.*)$", tool("dumpe2fs", "-h", root), re.MULTILINE)
    assert header
    assert {*header[1].split()} == {*FEATURES}
    (flags,) = re.findall(
        r"Flags: (0x[0-9a-f]+)", tool("debugfs", "-R", "stat /var/lib/dpkg/info", root)
    )
    assert int(flags, 16) & INDEXED


@pytest.mark.parametrize(
    ("path", "mode", "owner"),
    [
        ("/", "40755", "0"),
        ("/tmp", "41777", "0"),
        ("/usr/bin/sudo", "104755", "0"),
        ("/home/xilinx", "40755", "1000"),
        ("/home/xilinx/jupyter_notebooks", "40755", "1000"),
        ("/etc/shadow", "100640", "0"),
    ],
)
def test_modes_and_owners(root: Path, path: str, mode: str, owner: str) -> None:
    text = tool("debugfs", "-R", f"stat {path}", root)
    words = text.split()
    assert words[words.index("User:") + 1] == owner
    number = int(words[words.index("Mode:") + 1], 8)
    assert number == int(mode, 8) & 0o7777


def test_no_secrets_and_no_traces_of_the_build(root: Path) -> None:
    assert tool("debugfs", "-R", "cat /etc/machine-id", root) == ""
    keys = tool("debugfs", "-R", "ls -p /etc/ssh", root)
    assert "ssh_host" not in keys
    assert "xilinx" not in tool("debugfs", "-R", "cat /etc/shadow", root).split(":")[1]
    assert str(ROOT) not in tool("debugfs", "-R", "cat /etc/apt/sources.list", root)


def test_checksum_and_block_map(built: Output) -> None:
    with built.image.open("rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    assert Path(f"{built.image}.sha256").read_text().split() == [digest, built.image.name]
    tree = ET.parse(f"{built.image}.bmap")  # noqa: S314 - our own file
    block = int(tree.findtext("BlockSize", "0"))
    covered: set[int] = set()
    for item in tree.iter("Range"):
        first, _, last = (item.text or "").strip().partition("-")
        covered |= {*range(int(first), int(last or first) + 1)}
    boot = range(BOOT_OFFSET // block, (BOOT_OFFSET + 100 * MIB) // block)
    assert covered >= {*boot}, "the whole FAT partition is mapped"


def test_the_device_tree_is_as_its_checks_want_it(built: Output) -> None:
    """Or the board says in `accepted-findings` why it is not."""
    manifest = json.loads(built.manifest.read_text())
    # Linux's bindings are for trees that are compiled here.
    mainline = manifest["spec"]["bsp"]["provider"] == "mainline"
    made = {step["name"] for step in manifest["steps"]}
    assert {"design-check", *(["tree-check"] if mainline else [])} <= made
    assert not [each["text"] for each in manifest["findings"] if not each["accepted"]]
    assert not [note for note in manifest["notes"] if "accepted-findings" in note]


def test_manifest(built: Output) -> None:
    manifest = json.loads(built.manifest.read_text())
    names = {package["package"] for package in manifest["packages"]}
    assert {"systemd", "openssh-server"} <= names
    wheels = {package["package"] for package in manifest["python-packages"]}
    assert "jupyterlab" in wheels
    # What is compiled: PyPI has wheels for one of the architectures.
    compiled = {"armhf": names, "arm64": wheels}[manifest["distribution"]["architecture"]]
    assert compiled & {"python3-numpy", "numpy"}
    assert {source.get("package") for source in manifest["sources"]} >= {"u-boot"}
    assert all(step["fingerprint"] for step in manifest["steps"])
    assert manifest["recipes"]["users"]["password"] == "(secret)"


def test_a_second_build_does_nothing(built: Output) -> None:
    before = built.image.stat().st_mtime_ns
    done = build_py("--board", built.board, "--progress", "plain")
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert not re.search(r"^ *start ", done.stdout, re.MULTILINE)
    assert built.image.stat().st_mtime_ns == before
    assert "all cached" in build_py("plan", "--board", built.board).stdout


def test_a_second_board_adds_only_its_own_steps(built: Output, tmp_path: Path) -> None:
    other = tmp_path / "boards/Other"
    other.mkdir(parents=True)
    (other / "board.yaml").write_text(
        f"board: Other\nextends: {built.board}\nsummary: another\n"
        "parameters: {hostname: {name: never-built-before}}\n"
    )
    words = ("--board", built.board, "--board", "Other", "--boards-dir", str(other.parent))
    planned = build_py("plan", *words).stdout
    to_build = dict(re.findall(r"^(\S+) \((.*)\) +build: ", planned, re.MULTILINE))
    assert {"recipe:hostname", "image"} <= to_build.keys(), planned
    assert {*to_build.values()} == {"Other"}


def test_writing_by_the_block_map_gives_the_image(built: Output, tmp_path: Path) -> None:
    """On a card full of old data, everything that matters is as in the image."""
    card = tmp_path / "card"
    with card.open("wb") as file:
        file.write(b"\xa5" * (128 * MIB))
        file.truncate(built.image.stat().st_size)
    tool("bmaptool", "copy", "--bmap", f"{built.image}.bmap", built.image, card)
    with built.image.open("rb") as image, card.open("rb") as written:
        end = BOOT_OFFSET + 100 * MIB
        assert image.read(end) == written.read(end)
    shutil.rmtree(tmp_path)
