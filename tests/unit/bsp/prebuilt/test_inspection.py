# SPDX-License-Identifier: MIT
"""Inspection of prebuilt boot files: notes and problems."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from builder.bsp.prebuilt import supplied
from builder.bsp.prebuilt.inspection import BoardRequirements
from builder.bsp.prebuilt.supplied import list_files, top, unpack
from builder.bsp.provider import NOTES
from builder.errors import UserError
from builder.spec.models import Soc
from tests.fixtures.boot_files import (
    ARGUMENTS,
    BANNER,
    RELEASE,
    Vendor,
    boot_bin,
    compiled,
    fit,
    image_arm64,
    needs_programs,
    tree,
    zimage,
)

pytestmark = needs_programs

# Notes


def said(vendor: Vendor) -> str:
    notes = [note for note in vendor.found().notes if "headers" not in note]
    return "; ".join(notes)


def test_good_boot_files_have_no_notes(vendor: Vendor) -> None:
    assert said(vendor) == ""


def test_without_modules(vendor: Vendor) -> None:
    vendor.remove("modules")
    assert said(vendor).startswith(
        "no modules: only drivers that are built into the kernel will work"
    )
    boot = vendor.built()
    assert [*vendor.layer()][-1] == "usr/lib/modules"
    assert "no modules" in (boot / NOTES).read_text()


def test_without_a_boot_script(vendor: Vendor) -> None:
    vendor.remove("boot.scr")
    assert "U-Boot's own environment has to start" in said(vendor)
    vendor.write("uEnv.txt")
    assert said(vendor) == ""


@pytest.mark.parametrize(
    ("chosen", "script", "note"),
    [
        ("", "", "U-Boot's environment has to add `root=/dev/mmcblk0p2 rootwait`"),
        ("", "setenv bootargs root=/dev/mmcblk0p2", ""),
        ("", "setenv bootargs 'root=PARTUUID=${uuid}'", ""),
        ("root=/dev/mmcblk1p2", "", "at /dev/mmcblk1p2, but the card has it at /dev/mmcblk0p2"),
        ("root=/dev/mmcblk1p2", "root=/dev/mmcblk0p2", ""),
        ("nfsroot=1.2.3.4", "", "none of these files names the root filesystem"),
    ],
)
def test_the_root_filesystem(vendor: Vendor, chosen: str, script: str, note: str) -> None:
    vendor.loose(chosen=f'bootargs = "{chosen}"; pynq_board = "B";')
    vendor.write("boot.scr", script.encode() or b"bootm")
    assert note in said(vendor)
    assert bool(note) == bool(said(vendor))


def test_other_memory_and_another_name(vendor: Vendor) -> None:
    vendor.wanted = BoardRequirements(**{**vars(vendor.wanted), "memory": 1 << 30, "hardware": "C"})
    memory, name = vendor.found().notes
    assert memory.endswith("have 512 MiB, but board.yaml has 1024 MiB")
    assert "pynq_board of the device tree is 'B'" in name
    vendor.loose(chosen=f'bootargs = "{ARGUMENTS}";')
    assert "pynq_board of the device tree is missing" in said(vendor)


def test_a_ramdisk(vendor: Vendor) -> None:
    ramdisk = 'ramdisk-1 { data = "cpio"; };'
    packed = fit(
        vendor.scratch,
        zimage(),
        tree(vendor.scratch),
        more=ramdisk,
        chosen='ramdisk = "ramdisk-1";',
    )
    vendor.write("image.ub", packed)
    assert said(vendor).startswith("image.ub contains a ramdisk")


# Problems


def test_all_problems_come_at_once(vendor: Vendor) -> None:
    vendor.remove("BOOT.BIN", "image.ub")
    vendor.write(f"headers/{RELEASE}/none")
    vendor.write("modules/5.4.0/modules.dep")
    assert vendor.problems() == [
        "BOOT.BIN, which the board's BootROM loads, is missing",
        "there is no kernel; add one of image.ub, fitImage, zImage, Image, Image.gz, uImage",
        "there is no device tree; add image.ub, or a file like system.dtb",
        f"modules/ has the modules of {RELEASE}, 5.4.0, but the kernel does not contain its release: remove all but one of them",
        "headers/ has no Makefile: it has no kernel headers",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (boot_bin(Soc.ZYNQMP), "BOOT.BIN is for zynqmp, but the board is zynq"),
        (b"\x7fELF", "the BootROM would not accept BOOT.BIN: it is shorter (4 bytes)"),
    ],
)
def test_another_boot_bin(vendor: Vendor, content: bytes, problem: str) -> None:
    vendor.write("BOOT.BIN", content)
    (found,) = vendor.problems()
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("releases", "problem"),
    [
        (["6.1.0"], f"modules/ has the modules of 6.1.0, but the kernel is {RELEASE}"),
        (
            ["5.4.0", "6.1.0"],
            f"modules/ has the modules of 5.4.0, 6.1.0, but the kernel is {RELEASE}: remove all",
        ),
        (
            [],
            f"modules/ has no directory named after a release, like modules/{RELEASE}/modules.dep",
        ),
    ],
)
def test_modules_of_another_kernel(vendor: Vendor, releases: list[str], problem: str) -> None:
    vendor.remove("modules")
    vendor.write("modules/README")
    for release in releases:
        vendor.write(f"modules/{release}/modules.dep")
    (found,) = vendor.problems()
    assert found.startswith(problem)


def test_several_releases_and_a_kernel_that_does_not_say(vendor: Vendor) -> None:
    vendor.loose(zimage(b""))
    vendor.write("modules/6.1.0/modules.dep")
    (found,) = vendor.problems()
    assert "5.15.19-vendor, 6.1.0, but the kernel does not contain its release" in found


def test_another_family(vendor: Vendor) -> None:
    vendor.loose(compatible="xlnx,zynqmp")
    vendor.write("zImage", image_arm64())
    assert vendor.problems() == [
        "zImage is a kernel for arm64, but the board's processors need arm",
        "the device tree is for zynqmp, but the board is zynq",
    ]


def test_damaged_files(vendor: Vendor) -> None:
    vendor.remove("modules")
    vendor.write("modules.tgz", b"\x1f\x8b\x08 but no gzip")
    vendor.write("image.ub", (vendor.folder / "image.ub").read_bytes()[:200])
    fit_problem, tar_problem = vendor.problems()
    assert fit_problem.startswith("image.ub is damaged: ")
    assert tar_problem.startswith("modules.tgz cannot be read: ")


def test_a_damaged_tree(vendor: Vendor) -> None:
    vendor.loose()
    vendor.write("system.dtb", b"\xd0\x0d\xfe\xed")
    (problem,) = vendor.problems()
    assert problem.startswith("the device tree is damaged: ")


def test_a_fit_without_a_kernel(vendor: Vendor) -> None:
    vendor.write("image.ub", compiled("/dts-v1/; / { images { }; };", vendor.scratch))
    (problem,) = vendor.problems()
    assert problem == "image.ub: the configuration '' has no kernel"


def test_two_trees_and_two_spellings(vendor: Vendor) -> None:
    vendor.loose()
    vendor.remove("system.dtb")
    vendor.write("one.dtb")
    vendor.write("two.dtb")
    vendor.write("Boot.scr")
    spelling, trees = vendor.problems()
    assert spelling == "Boot.scr and boot.scr are the same name on the card's FAT"
    assert trees.startswith("there are several device trees: one.dtb, two.dtb;")


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../b", "C:/x", "a\\..\\b"])
def test_a_zip_file_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good", "x")
        archive.writestr(name, "x")
    with pytest.raises(UserError, match=r"x\.zip cannot be unpacked") as caught:
        unpack(path, tmp_path / "target")
    (detail,) = caught.value.details
    assert detail.startswith(f"{name}: ")
    assert "name leads out" in detail
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["."], "a member of the archive has the invalid file name '.'"),
        ([""], "a member of the archive has the invalid file name ''"),
        (["a", "a/b"], "a: is both a file and a directory"),
        (["a/b/c", "a/b"], "a/b: is both a file and a directory"),
        (["a", "./a"], "a: occurs twice"),
        (["x" * 300], f"a member of the archive has the invalid file name '{'x' * 80}'"),
        (
            ["x/" * 3000],
            f"a member of the archive has the invalid file name '{'x/' * 40}'",
        ),
    ],
)
def test_invalid_names_in_zip_files_are_refused(
    tmp_path: Path, names: list[str], problem: str
) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name + "x" * name.endswith("/")), "x")
    with pytest.raises(UserError) as caught:
        unpack(path, tmp_path / "target")
    assert caught.value.details == (problem,)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_zip_files_are_packed_by_deflate(tmp_path: Path, method: int) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a", bytes(1000))
    damaged = bytearray(path.read_bytes())
    damaged[45] ^= 0xFF
    for content in (path.read_bytes(), damaged):
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            unpack(path, tmp_path / "target")
        assert caught.value.details[0].startswith("a: is not compressed with Deflate")


def test_boot_files_with_links_to_everything_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        (tmp_path / f"elsewhere/{number}").mkdir(parents=True)
        (tmp_path / f"elsewhere/{number}/file").write_bytes(bytes(1000))
    (tmp_path / "given").mkdir()
    (tmp_path / "given/modules").symlink_to("../elsewhere")
    os.mkfifo(tmp_path / "given/pipe")
    assert len([*list_files(tmp_path / "given")]) == 5
    (tmp_path / "given/proc").symlink_to("/proc")
    with pytest.raises(UserError, match="leads to /proc"):
        [*list_files(tmp_path / "given")]
    (tmp_path / "given/proc").unlink()
    for limit, most in (("_MOST_FILES", 4), ("_MOST_BYTES", 4000)):
        with monkeypatch.context() as changed:
            changed.setattr(supplied, limit, most)
            with pytest.raises(UserError, match="does it contain links to other directories"):
                [*list_files(tmp_path / "given")]


def test_links_in_zip_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("Image")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UserError) as caught:
        unpack(path, tmp_path / "target")
    assert caught.value.details[0].startswith("Image: is a symbolic link")


def test_a_zip_file_that_grows_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.bsp.prebuilt.supplied._MOST_UNPACKED_BYTES", 3 << 20)
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(4 << 20))
    assert path.stat().st_size < 1 << 14
    with pytest.raises(UserError) as caught:
        unpack(path, tmp_path / "target")
    assert caught.value.details == ("it unpacks to 4 MiB, more than 3 MiB",)


@pytest.mark.parametrize("content", [b"no zip", b"PK\3\4 cut off"])
def test_not_a_zip_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a readable zip file"):
        unpack(path, tmp_path / "target")


def test_a_damaged_member(vendor: Vendor, tmp_path: Path) -> None:
    path = vendor.zipped()
    data = path.read_bytes()
    path.write_bytes(data.replace(BANNER[:5], b"Lunix").replace(b"bootm", b"bootx", 1))
    with pytest.raises(UserError, match="not a readable zip file: Bad CRC-32"):
        unpack(path, tmp_path / "target")


def test_desktop_metadata_is_no_second_directory(tmp_path: Path) -> None:
    for name in ("card", "__MACOSX", ".git"):
        (tmp_path / name).mkdir()
    assert top(tmp_path) == tmp_path / "card"
    (tmp_path / "file").write_text("")
    assert top(tmp_path) == tmp_path
