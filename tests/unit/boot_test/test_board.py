# SPDX-License-Identifier: MIT
"""The emulated board, and the files that its boot extracts from a card image."""

from __future__ import annotations

import gzip
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import ValidationError

from builder.boot_test.board import (
    BootError,
    BootSource,
    EmulatedBoard,
    EmulatedHardware,
    hold_port,
)
from builder.boot_test.emulator import Qemu
from builder.boot_test.extraction import (
    extract_first_stage,
    extract_kernel,
    extract_linux,
    extract_u_boot,
)
from builder.boot_test.qemu_release import qemu_source
from builder.errors import StepError
from builder.qemu_devicetree.machine import MachineFacts, machine_facts
from builder.sandbox.process import Processes
from builder.spec.models import Soc

OFFSET = 1 << 20
TOOLS = ("mkfs.vfat", "mcopy", "mdir", "mkimage", "dtc")

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool, path="/usr/bin:/usr/sbin:/sbin") for tool in TOOLS),
    reason=f"needs {', '.join(TOOLS)}",
)


def run(*argv: str | Path, cwd: Path) -> None:
    subprocess.run([str(word) for word in argv], cwd=cwd, check=True, capture_output=True)


def fit(folder: Path, name: str, images: dict[str, bytes], configurations: str) -> Path:
    """Pack files into a FIT, in their order."""
    for image, content in images.items():
        (folder / image).write_bytes(content)
    nodes = "".join(
        f'{image} {{ data = /incbin/("{image}"); type = "flat_dt"; arch = "arm";'
        ' compression = "none"; hash { algo = "sha256"; }; };'
        for image in images
    )
    (folder / "source.its").write_text(
        f'/dts-v1/; / {{ description = "d"; #address-cells = <1>; images {{ {nodes} }};'
        f" configurations {{ {configurations} }}; }};"
    )
    run("mkimage", "-f", "source.its", name, cwd=folder)
    return folder / name


def card(folder: Path, *files: Path) -> Path:
    """Put files onto the boot partition of an image."""
    image = folder / "card.img"
    with image.open("wb") as file:
        file.truncate(OFFSET + (8 << 20))
    run("/sbin/mkfs.vfat", "--offset", str(OFFSET // 512), image, cwd=folder)
    run("mcopy", "-i", f"{image}@@{OFFSET}", *files, "::/", cwd=folder)
    return image


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def test_kernel_and_tree_are_those_of_the_configuration_for_qemu(
    tmp_path: Path, work: Path
) -> None:
    images = {"fdt-board": b"board" * 9, "kernel": b"linux" * 99, "fdt-emulated": b"emulated" * 9}
    packed = fit(
        tmp_path,
        "image.ub",
        images,
        'default = "conf-board"; conf-board { kernel = "kernel"; fdt = "fdt-board"; };'
        'conf-emulated { kernel = "kernel"; fdt = "fdt-emulated"; };',
    )
    kernel, tree = extract_linux(card(tmp_path, packed), OFFSET, work)
    assert kernel.read_bytes() == images["kernel"]
    assert tree.read_bytes() == images["fdt-emulated"]


def test_a_card_without_a_configuration_for_qemu_is_refused(tmp_path: Path, work: Path) -> None:
    packed = fit(tmp_path, "image.ub", {"kernel": b"k"}, 'conf-board { kernel = "kernel"; };')
    with pytest.raises(StepError, match="has no configuration conf-emulated"):
        extract_linux(card(tmp_path, packed), OFFSET, work)


def test_u_boot_is_followed_by_its_device_tree(tmp_path: Path, work: Path) -> None:
    packed = fit(
        tmp_path,
        "u-boot.img",
        {"firmware-1": b"U-Boot", "fdt-1": b"tree"},
        'conf { kernel = "firmware-1"; fdt = "fdt-1"; };',
    )
    raw = extract_u_boot(card(tmp_path, packed), OFFSET, work)
    assert raw.read_bytes() == b"U-Boottree"


def test_the_first_stage_is_what_the_bootrom_would_start(tmp_path: Path, work: Path) -> None:
    spl = tmp_path / "spl"
    spl.write_bytes(b"\x0e\0\0\xea and so on, U-Boot SPL 2023.01".ljust(64, b"\0"))
    run("mkimage", "-T", "zynqimage", "-d", spl, "BOOT.BIN", cwd=tmp_path)
    image = card(tmp_path, tmp_path / "BOOT.BIN")
    found = extract_first_stage(image, OFFSET, Soc.ZYNQ, work)
    assert found
    program, address = found
    assert (program.read_bytes(), address) == (spl.read_bytes(), 0)


def test_only_u_boots_first_stage_is_started(tmp_path: Path, work: Path) -> None:
    (tmp_path / "fsbl").write_bytes(b"\x0e\0\0\xea of another kind".ljust(64, b"\0"))
    run("mkimage", "-T", "zynqimage", "-d", "fsbl", "BOOT.BIN", cwd=tmp_path)
    image = card(tmp_path, tmp_path / "BOOT.BIN")
    assert extract_first_stage(image, OFFSET, Soc.ZYNQ, work) is None


SAYS = {
    "SPL alone": ("U-Boot SPL 2023.01", "SPL: failed to boot from all boot devices"),
    "U-Boot": ("U-Boot SPL 2023.01", "Trying to boot from MMC1", "", "U-Boot 2023.01 (Jun 22)"),
}


@pytest.fixture
def first_stage(tmp_path: Path, work: Path) -> Callable[[str, str], EmulatedBoard]:
    """Return a board with a fake QEMU that only writes a text to the console."""
    run("qemu-img", "create", "-q", "card.img", "8M", cwd=tmp_path)
    (tmp_path / "tree.dts").write_text(
        "/dts-v1/; / { aliases { serial0 = &u; mmc0 = &m; ethernet0 = &e; };"
        " u: serial@e0000000 { }; m: mmc@e0100000 { }; e: ethernet@e000b000 { }; };"
    )
    run("dtc", "-q", "-Odtb", "-o", "tree.dtb", "tree.dts", cwd=tmp_path)

    def started(says: str, then: str) -> EmulatedBoard:
        text = "\r\n".join(SAYS[says])
        program = tmp_path / "qemu-system-arm"
        program.write_text(
            f'#!/bin/sh\necho "$*" > {tmp_path}/words\n'
            f'for word; do case $word in file:*) echo "{text}" > "${{word#file:}}";; esac; done\n'
            f"exec {then}\n"
        )
        program.chmod(0o755)
        return EmulatedBoard(
            EmulatedHardware(
                facts=machine_facts(Soc.ZYNQ),
                memory=512 << 20,
                card_size=8 << 20,
                console="ttyPS0,115200",
            ),
            BootSource(
                image=tmp_path / "card.img",
                boot_offset=OFFSET,
                device_tree=tmp_path / "tree.dtb",
                first_stage=(tmp_path / "spl", 0),
            ),
            forward=(22,),
            work=work,
            processes=Processes(),
            qemu=Qemu(source=qemu_source(), version=(11, 1), directory=tmp_path),
        )

    return started


needs_qemu_img = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-utils")


@needs_qemu_img
@pytest.mark.parametrize(
    ("says", "then", "problem"),
    [
        ("SPL alone", "true", "after stage first stage: QEMU ended with status 0"),
        ("SPL alone", "sleep 60", "after stage first stage: no ssh after 2 s"),
        ("U-Boot", "sleep 60", "after stage U-Boot: no ssh after 2 s"),
    ],
)
def test_a_boot_begins_with_the_first_stage(
    first_stage: Callable[[str, str], EmulatedBoard],
    tmp_path: Path,
    says: str,
    then: str,
    problem: str,
) -> None:
    with first_stage(says, then) as board, pytest.raises(BootError) as caught:
        board.wait_for_ssh(22, 2, lambda _: None)
    assert caught.value.message == f"the boot failed {problem}"
    words = (tmp_path / "words").read_text()
    assert "-M xilinx-zynq-a9,boot-mode=sd -m 512M -smp 1 " in words
    networks = re.findall(r"-nic (\S+)", words)
    assert networks
    assert all(each.startswith("user,restrict=on") for each in networks), "nothing here is reached"
    assert f"-device loader,file={tmp_path}/spl,addr=0x0,cpu-num=0" in words


@needs_qemu_img
def test_a_boards_ports_are_reserved_until_it_ends(
    first_stage: Callable[[str, str], EmulatedBoard],
) -> None:
    with first_stage("U-Boot", "sleep 60") as board:
        address = ("127.0.0.1", board.ports[22])
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(address)
    with socket.socket() as other:
        other.bind(address)


@pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="needs qemu-system-arm")
def test_qemu_listens_on_a_port_that_is_held_for_it(tmp_path: Path) -> None:
    """The machine has no processor: only QEMU's handling of the option is tested."""
    with hold_port() as holder:
        address = holder.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        words = ["qemu-system-arm", "-M", "none", "-S", "-display", "none", "-monitor", "none"]
        forward = f"user,id=net,hostfwd=tcp:127.0.0.1:{address[1]}-:22"
        with (tmp_path / "log").open("w") as log:
            qemu = subprocess.Popen([*words, "-serial", "none", "-netdev", forward], stderr=log)
        try:
            while qemu.poll() is None:
                with suppress(ConnectionRefusedError), socket.create_connection(address):
                    break
                time.sleep(0.05)
            assert qemu.poll() is None, (tmp_path / "log").read_text()
        finally:
            qemu.kill()
            qemu.wait()


@pytest.mark.parametrize(
    "start", [{}, {"u-boot-address": 0x4000000, "no-u-boot": "It waits for ever."}]
)
def test_a_machine_has_one_way_to_start(start: dict[str, object]) -> None:
    machine = {
        "program": "q",
        "machine": "m",
        "cpus": 1,
        "most-memory": "1G",
        "serial": [],
        "sd": [],
        "nic": [],
        "mac-address": 0x88,
    }
    with pytest.raises(ValidationError, match="give either `u-boot-address` or `no-u-boot`"):
        MachineFacts.model_validate({**machine, **start})


# Prebuilt boot files


def zimage(payload: bytes = b"") -> bytes:
    return bytes(0x24) + b"\x18\x28\x6f\x01" + payload


def test_a_prebuilt_kernel_is_that_of_the_default_configuration(tmp_path: Path, work: Path) -> None:
    images = {"kernel": zimage(b"linux"), "old": b"old", "ramdisk": b"cpio"}
    packed = fit(
        tmp_path,
        "image.ub",
        images,
        'default = "new"; old { kernel = "old"; }; new { kernel = "kernel"; ramdisk = "ramdisk"; };',
    )
    other = tmp_path / "zImage"
    other.write_bytes(zimage(b"other"))
    kernel, ramdisk = extract_kernel(card(tmp_path, packed, other), OFFSET, work)
    assert kernel.read_bytes() == zimage(b"linux")
    assert ramdisk
    assert ramdisk.read_bytes() == b"cpio"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("zImage", zimage()),
        ("uImage", b"\x27\x05\x19\x56".ljust(64, b"\0") + zimage()),
        ("Image.gz", gzip.compress(zimage())),
    ],
    ids=["zImage", "uImage", "Image.gz"],
)
def test_a_prebuilt_kernel_is_unpacked(
    tmp_path: Path, work: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    kernel, ramdisk = extract_kernel(card(tmp_path, tmp_path / name), OFFSET, work)
    assert kernel.read_bytes() == zimage()
    assert ramdisk is None


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("Image", "QEMU cannot start the card's Image"), ("other", "the card has no kernel")],
)
def test_a_kernel_that_qemu_does_not_start(
    tmp_path: Path, work: Path, name: str, complaint: str
) -> None:
    (tmp_path / name).write_bytes(b"a plain Image of 32 bits has no mark" * 9)
    with pytest.raises(StepError, match=complaint):
        extract_kernel(card(tmp_path, tmp_path / name), OFFSET, work)
