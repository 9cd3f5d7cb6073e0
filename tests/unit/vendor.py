# SPDX-License-Identifier: MIT
"""Boot files as a board's maker gives them, for tests: made up, but of the right form."""

from __future__ import annotations

import gzip
import io
import shutil
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from builder.bsp.prebuilt.inspection import Found, Wanted, inspect
from builder.bsp.prebuilt.prebuilt import Prebuilt, PrebuiltBootFiles
from builder.errors import UserError
from builder.formats.boot_bin import FORMATS, IDENTIFICATION, WIDTH_DETECTION
from builder.spec.models import Soc
from builder.steps.layer_archive import LAYER
from builder.steps.sources import UrlSource
from builder.steps.step import Job
from builder.store.store import Entry
from tests.unit.support import Here

PROGRAMS = ("dtc", "fdtput", "depmod", "zstd")
needs_programs = pytest.mark.skipif(
    not all(shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") for name in PROGRAMS),
    reason=f"needs {', '.join(PROGRAMS)}",
)

RELEASE = "5.15.19-vendor"
BANNER = f"Linux version {RELEASE} (someone@vendor) (gcc) #1 SMP".encode()
ARGUMENTS = "console=ttyPS0,115200 earlycon root=/dev/mmcblk0p2 rw rootwait"
ALIASES = "serial0 = &uart; mmc0 = &card; ethernet0 = &gem;"
ZYNQ = """\
/dts-v1/;
/ {{
    #address-cells = <1>;
    #size-cells = <1>;
    compatible = "{compatible}";
    aliases {{ {aliases} }};
    chosen {{ {chosen} }};
    {more}
    memory@0 {{ device_type = "memory"; reg = <0 0x20000000>; }};
    {bus} {{
        uart: serial@e0001000 {{ status = "okay"; }};
        serial@e0000000 {{ status = "disabled"; }};
        card: {card}@e0100000 {{ }};
        gem: ethernet@e000b000 {{ phy-handle = <&phy>; phy: phy@1 {{ reg = <1>; }}; }};
        timer@f8f00600 {{ clocks = <&clkc 4>; }};
        clkc: clkc {{ #clock-cells = <1>; }};
    }};
}};
"""


def zimage(banner: bytes = BANNER, pack: Callable[[bytes], bytes] = gzip.compress) -> bytes:
    """Return what looks like a zImage: its mark, a program, and the packed kernel."""
    return bytes(0x24) + b"\x18\x28\x6f\x01" + b"\x1f\x8b\x08 no gzip" + pack(b"vmlinux" + banner)


def image_arm64() -> bytes:
    return bytes(0x38) + b"ARM\x64" + bytes(64) + BANNER


def u_image(kernel: bytes) -> bytes:
    return b"\x27\x05\x19\x56".ljust(64, b"\0") + kernel


def boot_bin(soc: Soc = Soc.ZYNQ) -> bytes:
    form = FORMATS[soc]
    changed = {
        "width": WIDTH_DETECTION,
        "identification": IDENTIFICATION,
        "offset": form.length,
        "length": 64,
        "total": 64,
        "load": form.loads.start,
    }
    words = [changed.get(name, 0) for name in form.words]
    head = bytes(0x20) + struct.pack(f"<{len(words) + 1}I", *words, ~sum(words) & 0xFFFFFFFF)
    return head.ljust(form.length, b"\0") + bytes(64)


def compiled(source: str, folder: Path) -> bytes:
    words = ["dtc", "-q", "-O", "dtb"]
    return subprocess.run(
        words, input=source.encode(), cwd=folder, check=True, capture_output=True
    ).stdout


def tree(
    folder: Path,
    *,
    chosen: str = f'bootargs = "{ARGUMENTS}"; pynq_board = "B";',
    aliases: str = ALIASES,
    compatible: str = "xlnx,zynq-7000",
    bus: str = "axi",
    card: str = "mmc",
    more: str = "",
) -> bytes:
    source = ZYNQ.format(
        chosen=chosen, aliases=aliases, compatible=compatible, bus=bus, card=card, more=more
    )
    return compiled(source, folder)


def fit(
    folder: Path, kernel: bytes, dtb: bytes | None, *, more: str = "", chosen: str = ""
) -> bytes:
    """Return an image.ub with one configuration."""
    (folder / "k").write_bytes(kernel)
    (folder / "d").write_bytes(dtb or b"")
    image, named = 'fdt-1 { data = /incbin/("d"); arch = "arm"; };', 'fdt = "fdt-1";'
    if dtb is None:
        image = named = ""
    return compiled(
        f'/dts-v1/; / {{ images {{ kernel-1 {{ data = /incbin/("k"); arch = "arm"; }}; {image} {more}'
        ' }; configurations { default = "conf-1"; conf-1 { kernel = "kernel-1";'
        f" {named} {chosen} }}; }}; }};",
        folder,
    )


def tar(path: Path, names: Mapping[str, bytes], mode: Any = "w:gz") -> None:
    with tarfile.open(path, mode) as archive:
        for name, content in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("lib/modules/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)


class Vendor:
    """A directory with boot files, good until a test spoils it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scratch = root / "scratch"
        self.scratch.mkdir()
        self.folder = root / "given"
        self.wanted = Wanted(
            soc=Soc.ZYNQ,
            memory=512 << 20,
            console="ttyPS0,115200",
            root_device="/dev/mmcblk0p2",
            hardware="B",
        )
        self.write("BOOT.BIN", boot_bin())
        self.write("image.ub", fit(self.scratch, zimage(), tree(self.scratch)))
        self.write("boot.scr", b"bootm")
        self.write(f"modules/{RELEASE}/kernel/some.ko", b"\x7fELF")

    def write(self, name: str, content: bytes = b"x") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def remove(self, *names: str) -> None:
        for name in names:
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def loose(self, kernel: bytes | None = None, **dtb: Any) -> None:
        """Have kernel and device tree as files instead of the FIT."""
        self.remove("image.ub")
        self.write("zImage", kernel or zimage())
        self.write("system.dtb", tree(self.scratch, **dtb))

    def zipped(self, folder: str = "") -> Path:
        path = self.root / "given.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(self.folder.rglob("*")):
                archive.write(file, Path(folder, file.relative_to(self.folder)))
        return path

    def found(self) -> Found:
        return inspect(self.folder, self.wanted)

    def problems(self) -> list[str]:
        with pytest.raises(UserError, match=r"^\d+ problems? with the boot files$") as caught:
            self.found()
        assert caught.value.exit_code == 2
        return list(caught.value.details)

    def step(self, given: Path | UrlSource | None = None) -> Prebuilt:
        return Prebuilt(given or self.folder, wanted=self.wanted, epoch=1_700_000_000, scope="B")

    def run(
        self, step: Prebuilt | PrebuiltBootFiles, output: str = "output", **inputs: Path
    ) -> Path:
        target = self.root / output
        target.mkdir(parents=True)
        work = self.root / f"{output}-work"
        work.mkdir()
        entries = {
            name: Entry(key=name, step=name, path=path, seconds=0, size=0)
            for name, path in inputs.items()
        }
        job = Job(
            inputs=entries,
            output=target,
            log=io.StringIO(),
            store=cast(Any, None),
            tools=cast(Any, Here(work)),
            on_line=lambda _: None,
        )
        step.run(job)
        return target

    def built(self, given: Path | UrlSource | None = None, **inputs: Path) -> Path:
        """Run both steps; return the output of the second."""
        self.run(self.step(given), "prebuilt/files", **inputs)
        prebuilt = {"prebuilt": self.root / "prebuilt"}
        step = PrebuiltBootFiles("B", prebuilt=self.step(given), wanted=self.wanted)
        return self.run(step, "boot", **prebuilt)

    def layer(self) -> dict[str, tarfile.TarInfo]:
        """Return the layer's members; what they hold is in `unpacked`."""
        path = self.root / f"prebuilt/files/{LAYER}"
        plain = subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            return {member.name.removeprefix("./"): member for member in archive}
