# SPDX-License-Identifier: MIT
"""The provider `prebuilt`: files used, keys, and ways to name boot files."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from builder.apt.archive import Archive
from builder.bsp.prebuilt import modules
from builder.bsp.prebuilt.prebuilt import boot_artifacts
from builder.bsp.prebuilt.supplied import digest, list_files
from builder.bsp.provider import NOTES
from builder.cli.context import typed
from builder.errors import StepError, UserError
from builder.formats import linux_image
from builder.formats.devicetree import read_tree
from builder.formats.fit import read_fit
from builder.plan.board_steps import BoardSteps
from builder.spec.models import Download
from builder.spec.resolve import ImageSpec, resolve
from builder.steps.layer_archive import LAYER
from builder.steps.sources import UrlSource
from builder.steps.step import Job, Step
from builder.store.checksum import sha256
from builder.untrusted import reading as bounded
from tests.fixtures.boot_files import (
    BANNER,
    RELEASE,
    Vendor,
    boot_bin,
    compiled,
    fit,
    image_arm64,
    needs_programs,
    tar,
    tree,
    u_image,
    zimage,
)
from tests.fixtures.command_line import CommandLine, FakeArchive
from tests.fixtures.specs import BOARD, NO_BYTES, Files

pytestmark = needs_programs

# Files that are used


def test_of_a_directory(vendor: Vendor) -> None:
    vendor.write("extlinux/extlinux.conf", b"APPEND root=/dev/mmcblk0p2")
    vendor.write("overlays/one.dtbo")
    vendor.write("rootfs.cpio.gz")
    vendor.write("pmufw.elf")
    boot = vendor.built()
    fat = boot / "fat"
    assert {str(path.relative_to(fat)) for path in fat.rglob("*") if path.is_file()} == {
        *("BOOT.BIN", "image.ub", "boot.scr"),
        *("extlinux/extlinux.conf", "overlays/one.dtbo"),
    }
    assert (fat / "image.ub").read_bytes() == (vendor.folder / "image.ub").read_bytes()
    assert (boot / "kernel-release").read_text() == f"{RELEASE}\n"
    assert (boot / "board.dtb").read_bytes() == tree(vendor.scratch)
    emulated = read_tree(boot / "emulated.dtb")
    assert emulated["/axi/ethernet@e000b000/phy@1"]["reg"] == b"\0\0\0\7"
    change, *_ = json.loads((boot / "changes.json").read_text())
    assert change["node"] == "/axi/ethernet@e000b000/phy@1"
    (note,) = json.loads((boot / NOTES).read_text())
    assert note == "B: no kernel headers: modules cannot be compiled on the board"


def test_the_layer_is_modules_that_modprobe_can_use(vendor: Vendor) -> None:
    folder = vendor.folder / f"modules/{RELEASE}"
    (folder / "build").symlink_to("/home/vendor/linux")
    (folder / "source").symlink_to(vendor.scratch)
    (folder / "kernel/some.ko").chmod(0o600)
    vendor.built()
    members = vendor.layer()
    modules = f"usr/lib/modules/{RELEASE}"
    assert f"{modules}/modules.dep.bin" in members
    assert f"{modules}/build" not in members
    assert f"{modules}/source" not in members
    assert members[f"{modules}/kernel/some.ko"].mode == 0o644
    assert {member.mtime for member in members.values()} == {1_700_000_000}


def test_existing_indexes_of_depmod_are_not_replaced(vendor: Vendor) -> None:
    for name in ("modules.dep", "modules.dep.bin"):
        vendor.write(f"modules/{RELEASE}/{name}", b"the vendor's")
    vendor.built()
    assert vendor.layer()[f"usr/lib/modules/{RELEASE}/modules.dep"].size == 12
    assert f"usr/lib/modules/{RELEASE}/modules.alias" not in vendor.layer()


@pytest.mark.parametrize("form", ["headers", "linux-headers-5.tar.gz"])
def test_headers_are_where_modules_look_for_them(vendor: Vendor, form: str) -> None:
    files = {"Makefile": b"#", "scripts/tool": b"#!/bin/sh", "scripts/a/Makefile": b"#"}
    if form == "headers":
        for name, content in files.items():
            vendor.write(f"headers/{name}", content)
    else:
        tar(vendor.folder / form, {f"linux/{name}": content for name, content in files.items()})
    boot = vendor.built()
    members = vendor.layer()
    headers = f"usr/src/linux-headers-{RELEASE}"
    assert members[f"usr/lib/modules/{RELEASE}/build"].linkname == f"/{headers}"
    assert members[f"{headers}/scripts/tool"].mode == 0o755
    assert members[f"{headers}/Makefile"].mode == 0o644
    assert json.loads((boot / NOTES).read_text()) == []
    assert not (boot / "fat" / form).exists()


@pytest.mark.parametrize("folder", ["", "card"])
def test_of_a_zip_file(vendor: Vendor, folder: str) -> None:
    boot = vendor.built(vendor.zipped(folder))
    assert {path.name for path in (boot / "fat").iterdir()} == {"BOOT.BIN", "image.ub", "boot.scr"}
    assert f"usr/lib/modules/{RELEASE}/kernel/some.ko" in vendor.layer()


def test_of_a_download(vendor: Vendor) -> None:
    (vendor.root / "download/files").mkdir(parents=True)
    shutil.move(vendor.zipped(), vendor.root / "download/files/it.zip")
    source = UrlSource("zip", Download(url="http://x.invalid/it.zip", sha256="0" * 64), scope="B")
    assert vendor.step(source).parents == {"zip": source}
    assert "content" not in vendor.step(source).settings()
    boot = vendor.built(source, zip=vendor.root / "download")
    assert (boot / "fat/BOOT.BIN").read_bytes() == boot_bin()


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("zImage", zimage()),
        ("zImage", zimage(pack=lzma.compress)),
        ("uImage", u_image(zimage())),
        ("uImage", u_image(gzip.compress(bytes(0x40) + BANNER))),
        ("Image", bytes(0x40) + BANNER),
        ("IMAGE.UB", b""),
    ],
)
def test_forms_of_the_kernel(vendor: Vendor, name: str, kernel: bytes) -> None:
    fit_image = (vendor.folder / "image.ub").read_bytes()
    vendor.loose()
    vendor.remove("zImage")
    vendor.write(name, kernel or fit_image)
    found = vendor.found()
    assert found.release == RELEASE
    assert found.device_tree == tree(vendor.scratch)


def test_a_kernel_of_64_bits(vendor: Vendor) -> None:
    assert linux_image.architecture(linux_image.unpacked(gzip.compress(image_arm64()))) == "arm64"
    assert linux_image.release(image_arm64()) == RELEASE
    assert linux_image.architecture(b"neither") is None


def test_a_tree_beside_a_fit_without_one(vendor: Vendor) -> None:
    vendor.write("image.ub", fit(vendor.scratch, zimage(), None))
    vendor.write("board.dtb", tree(vendor.scratch))
    assert vendor.found().device_tree == tree(vendor.scratch)


def test_data_behind_a_fit(tmp_path: Path) -> None:
    source = (
        "/dts-v1/; / { images { one { data-offset = <4>; data-size = <3>; };"
        " two { data-position = <%d>; data-size = <2>; }; }; configurations { c { }; }; };"
    )
    size = len(compiled(source % 0, tmp_path))
    path = tmp_path / "it.fit"
    blob = compiled(source % size, tmp_path) + bytes(-size % 4)
    path.write_bytes(blob + b"ab--onetail")
    found = read_fit(path)
    assert found.images["one"].data == b"one"
    assert found.default == "c"
    path.write_bytes(blob)
    with pytest.raises(StepError, match="truncated"):
        read_fit(path)


@pytest.mark.parametrize(
    ("name", "prefix", "mode"),
    [
        ("modules.tgz", "./lib/modules/", "w:gz"),
        ("modules-zynq.tar.xz", "lib/modules/", "w:xz"),
        ("modules.tar.gz", "", "w:gz"),
        ("modules.tar.zst", "lib/modules/", "zst"),
        ("rootfs.tar.gz", "./usr/lib/modules/", "w:gz"),
    ],
)
def test_modules_in_archives(vendor: Vendor, name: str, prefix: str, mode: str) -> None:
    vendor.remove("modules")
    path = vendor.folder / name
    files = {f"{prefix}{RELEASE}/kernel/other.ko": b"\x7fELF", "etc/passwd": b"root"}
    if mode == "zst":
        tar(path.with_suffix(""), files, "w:")
        subprocess.run(["zstd", "-q", "--rm", path.with_suffix("")], check=True)
    else:
        tar(path, files, mode)
    boot = vendor.built()
    files_there = {name for name, member in vendor.layer().items() if member.isfile()}
    assert f"usr/lib/modules/{RELEASE}/kernel/other.ko" in files_there
    assert not any("passwd" in each for each in files_there)
    assert not (boot / "fat" / name).exists()


@pytest.mark.parametrize("name", [f"{RELEASE}/../x.ko", "../x.ko", "/etc/cron.d/x", "a/../../x"])
def test_an_archive_with_names_that_lead_out_is_refused(vendor: Vendor, name: str) -> None:
    vendor.remove("modules")
    tar(vendor.folder / "modules.tar", {name: b"#!/bin/sh"}, "w:")
    (problem,) = vendor.problems()
    assert "the name leads outside of the archive's directory" in problem


def test_paths_after_a_release_stay_in_its_directory(vendor: Vendor) -> None:
    """The rest of such a name would begin with a slash."""
    vendor.remove("modules")
    place = vendor.scratch / "victim"
    name = f"lib/modules/{RELEASE}/{place}"
    tar(vendor.folder / "modules.tar", {name: b"#!/bin/sh"}, "w:")
    vendor.built()
    assert not place.exists()
    inside = f"usr/lib/modules/{RELEASE}{place}"
    assert vendor.layer()[inside].isfile()


def test_an_archive_without_end_is_refused(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor.remove("modules")
    tar(vendor.folder / "modules.tar", {f"{RELEASE}/{n}.ko": b"x" * 600 for n in range(4)}, "w:")
    for limit, most in (("_MAX_MEMBERS", 2), ("_MAX_BYTES", 2000)):
        with monkeypatch.context() as changed:
            changed.setattr(bounded, limit, most)
            (problem,) = vendor.problems()
        assert "modules.tar has more than" in problem
    monkeypatch.setattr(modules, "_LARGEST", 500)
    with pytest.raises(UserError, match=r"0\.ko: larger than"):
        vendor.built()


@pytest.mark.parametrize(
    "place", ["modules", "lib/modules", "usr/lib/modules", "modules/lib/modules"]
)
def test_places_of_modules(vendor: Vendor, place: str) -> None:
    vendor.remove("modules")
    vendor.write(f"{place}/{RELEASE}/modules.order")
    found = vendor.found()
    assert found.modules
    assert found.modules.releases() == [RELEASE]
    assert {name for name, _ in found.card} == {"BOOT.BIN", "image.ub", "boot.scr"}


def test_of_several_releases_the_kernels_own_is_taken(vendor: Vendor) -> None:
    vendor.write("modules/5.4.0/kernel/old.ko")
    vendor.built()
    assert not any("5.4.0" in name for name in vendor.layer())


def test_the_only_release_is_the_kernels_if_that_does_not_say(vendor: Vendor) -> None:
    vendor.loose(zimage(b"no banner"))
    assert vendor.found().release == RELEASE
    vendor.remove("modules")
    assert vendor.found().release is None
    boot = vendor.built()
    assert (boot / "kernel-release").read_text() == "unknown\n"


# The tree for QEMU


def test_missing_nodes_for_an_emulated_boot_are_added_and_listed(vendor: Vendor) -> None:
    arguments = "earlycon root=/dev/ram0"
    chosen = f'bootargs = "{arguments}"; pynq_board = "B";'
    vendor.loose(chosen=chosen, aliases="ethernet0 = &gem;", bus="amba", card="sdhci")
    boot = vendor.built()
    emulated = read_tree(boot / "emulated.dtb")
    assert emulated["/aliases"]["mmc0"] == b"/amba/sdhci@e0100000\0"
    assert emulated["/aliases"]["serial0"] == b"/amba/serial@e0001000\0"
    wanted = "earlycon console=ttyPS0,115200 root=/dev/mmcblk0p2 rw rootwait"
    assert emulated["/chosen"]["bootargs"] == f"{wanted}\0".encode()
    listed = json.loads((boot / "changes.json").read_text())
    assert [(each["node"], each["property"]) for each in listed] == [
        ("/aliases", "serial0"),
        ("/aliases", "mmc0"),
        ("/chosen", "bootargs"),
        ("/amba/ethernet@e000b000/phy@1", "reg"),
        *(
            ("/emulated-timer-clock", name)
            for name in ("compatible", "#clock-cells", "clock-frequency", "phandle")
        ),
        ("/amba/timer@f8f00600", "clocks"),
        ("/chosen", "emulated-by"),
    ]
    board = read_tree(boot / "board.dtb")
    assert board["/chosen"]["bootargs"] == f"{arguments}\0".encode()


@pytest.mark.parametrize(("usb", "told"), [("", False), ("usb@e0002000 { };", True)])
def test_harmful_operating_points_have_a_note(vendor: Vendor, usb: str, *, told: bool) -> None:
    points = "cpus { cpu@0 { operating-points = <666667 1000000 333334 1000000>; }; };"
    vendor.loose(more=points + usb)
    notes = json.loads((vendor.built() / NOTES).read_text())
    start = "B: operating-points in its device tree: at 333334 kHz CPU_1x is 55.556 MHz"
    assert any(note.startswith(start) for note in notes) is told


def test_a_card_that_qemu_cannot_be_is_made_all_the_same(vendor: Vendor) -> None:
    vendor.loose(card="nand")
    source = tree(vendor.scratch, aliases="ethernet0 = &gem; mmc0 = &uart;")
    vendor.write("system.dtb", source)
    boot = vendor.built()
    notes = json.loads((boot / NOTES).read_text())
    assert notes[-1].startswith("B: it cannot be tested in QEMU: alias mmc0 is serial@e0001000")
    assert not (boot / "emulated.dtb").exists()
    assert (boot / "fat/BOOT.BIN").exists()


# Keys


def test_the_digest_is_of_names_and_content_alone(vendor: Vendor) -> None:
    before = digest(vendor.folder)
    os.utime(vendor.folder / "BOOT.BIN", (0, 0))
    (vendor.folder / "boot.scr").chmod(0o777)
    elsewhere = vendor.root / "elsewhere/there"
    shutil.copytree(vendor.folder, elsewhere)
    assert digest(vendor.folder) == digest(elsewhere) == before
    shown = subprocess.run(
        ["sh", "-c", "find . -type f | sed s,./,, | LC_ALL=C sort | xargs sha256sum | sha256sum"],
        cwd=vendor.folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown.split()[0] == before
    (elsewhere / "boot.scr").rename(elsewhere / "Boot.scr")
    assert digest(elsewhere) != before
    vendor.write("boot.scr", b"other")
    assert digest(vendor.folder) != before


def test_hashes_of_files_come_from_the_cache(vendor: Vendor) -> None:
    asked: list[Path] = []

    def read(path: Path) -> str:
        asked.append(path)
        return sha256(path)

    assert digest(vendor.folder, read) == digest(vendor.folder)
    assert asked == [path for _, path in list_files(vendor.folder)]


def test_links_count_as_the_files_they_point_to(vendor: Vendor) -> None:
    before = digest(vendor.folder)
    outside = vendor.root / "real"
    (vendor.folder / "BOOT.BIN").rename(outside)
    (vendor.folder / "BOOT.BIN").symlink_to(outside)
    (vendor.folder / "dangling").symlink_to("/nowhere")
    (vendor.folder / "modules").rename(vendor.root / "elsewhere")
    (vendor.folder / "modules").symlink_to(vendor.root / "elsewhere")
    (vendor.folder / "modules/5.4.0").symlink_to(vendor.scratch)
    assert digest(vendor.folder) == before
    assert (vendor.built() / "fat/BOOT.BIN").read_bytes() == boot_bin()


def test_the_step_is_known_by_content(vendor: Vendor) -> None:
    step = vendor.step()
    assert step.files() == ()
    assert step.settings()["content"] == digest(vendor.folder)
    assert not any(str(vendor.root) in str(value) for value in step.settings().values())
    archive = vendor.zipped()
    assert vendor.step(archive).settings()["content"] == digest(archive) != digest(vendor.folder)


def test_the_kernels_name_on_a_card_may_be_in_any_case() -> None:
    assert linux_image.kernel_name(["BOOT.BIN", "IMAGE.UB", "Image"]) == "IMAGE.UB"
    assert linux_image.kernel_name(["BOOT.BIN"]) is None


# In a specification

PREBUILT = BOARD.replace("devicetree: b.dts\n", "")


class Epoch:
    """Fake archive."""

    epoch = 0


def test_a_board_that_brings_its_boot_files(files: Files) -> None:
    text = "{provider: prebuilt, boot-files: {file: card}}"
    files.board(PREBUILT.replace("{boot-bin: BOOT.BIN}", text))
    (problem,) = files.problems()
    assert problem.startswith("boards/B/board.yaml:7: bsp.boot-files.file: there is no file or dir")
    files.write("boards/B/card/BOOT.BIN", "")
    spec = files.resolve()
    assert spec.boot_files == files.root / "boards/B/card"
    assert spec.hardware == "B"
    artifacts = boot_artifacts(spec, cast(Archive, Epoch()))
    assert artifacts.boot_files.parents == {"prebuilt": artifacts.kernel_layer}


def test_a_board_that_downloads_its_boot_files(files: Files) -> None:
    place = f'{{url: "https://x.invalid/b.zip", sha256: "{"0" * 64}"}}'
    text = f"{{provider: prebuilt, boot-files: {place}}}"
    files.board(PREBUILT.replace("{boot-bin: BOOT.BIN}", text))
    spec = files.resolve()
    assert isinstance(spec.boot_files, Download)
    (source,) = boot_artifacts(spec, cast(Archive, Epoch())).kernel_layer.parents.values()
    assert isinstance(source, UrlSource)


@pytest.mark.parametrize(
    ("bsp", "problem"),
    [
        ("{provider: prebuilt}", "8: bsp: the provider prebuilt needs `boot-files`"),
        (
            "{boot-bin: BOOT.BIN, boot-files: {file: b.dts}}",
            "8: bsp.boot-files: is for `provider: prebuilt`",
        ),
        (
            "{provider: prebuilt, boot-files: {}}",
            "8: bsp.boot-files: give either `file` or `url`",
        ),
        (
            "{provider: prebuilt, boot-files: {file: /x}}",
            "8: bsp.boot-files.file: must be a path below the directory of this file",
        ),
    ],
)
def test_mistakes_in_a_specification(files: Files, bsp: str, problem: str) -> None:
    files.board(BOARD.replace("{boot-bin: BOOT.BIN}", bsp))
    assert files.problems() == [f"boards/B/board.yaml:{problem}"]


def test_built_boot_files_need_a_device_tree(files: Files) -> None:
    files.board(PREBUILT)
    assert files.problems() == ["boards/B/board.yaml:1: devicetree: is missing"]


def test_a_variant_of_a_board_that_is_built(files: Files) -> None:
    files.variant("extends: B\nbsp: {provider: prebuilt, boot-files: {file: card}}\n")
    files.write("boards/V/card/BOOT.BIN", "")
    spec = files.resolve(board="V")
    assert spec.boot_files == files.root / "boards/V/card"
    assert spec.hardware == "B", "it has that board's device tree"


def test_the_command_line_wins(files: Files, tmp_path: Path) -> None:
    spec = resolve(files.tree, "B", boot_files=tmp_path)
    assert spec.boot_files == tmp_path
    assert spec.board.bsp.provider == "prebuilt"
    # Recipes may depend on the board: the path of the files must not change their layers.
    assert str(tmp_path) not in str(spec.board.model_dump())


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ["--board", "Pynq-Z2", "--boot-files", "/nowhere"],
            "error: --boot-files /nowhere: there is no such file or directory\n",
        ),
        (
            ["--board", "Pynq-Z2", "--board", "ZedBoard", "--boot-files", "/"],
            "error: --boot-files is for one board, not for 2: Pynq-Z2, ZedBoard\n",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["build", "plan", "test"])
def test_mistakes_on_the_command_line(
    build_py: CommandLine, verb: str, words: list[str], error: str
) -> None:
    answer = build_py.there(verb, *words)
    assert answer.status == 2
    assert answer.errors.startswith(error)


class Card(Step):
    """Fake image."""

    def settings(self) -> dict[str, object]:
        return {}

    def run(self, job: Job) -> None:
        (job.output / "Pynq-Z2.img").write_text("image")
        (job.output / "image.json").write_text(
            json.dumps({"sha256": "0" * 64, "size": 5, "root-size": 1})
        )
        (job.output / "packages.json").write_text("[]")
        (job.output / LAYER).write_bytes(NO_BYTES)


def test_a_build_says_what_its_boot_files_are(
    build_py: CommandLine,
    vendor: Vendor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    needs_root: None,
) -> None:
    def steps(spec: ImageSpec, archive: Archive, **_: object) -> BoardSteps:
        boot = boot_artifacts(spec, archive)
        layer = Card("bootstrap", scope="")
        parents = {"bootstrap": layer, "boot-files": boot.boot_files}
        image = Card("image", scope="", parents=parents)
        return BoardSteps(
            spec=spec, archive=archive, boot=boot, layers=[layer], image=image, compressed=None
        )

    monkeypatch.setattr("builder.cli.planning.select_distribution", lambda *_, **__: FakeArchive())
    monkeypatch.setattr("builder.cli.planning.native_archive", lambda *_, **__: None)
    monkeypatch.setattr("builder.cli.planning.board_steps", steps)
    monkeypatch.setattr("builder.cli.build.check_machine", lambda _: [])
    monkeypatch.setattr("builder.cli.build._stop_on_interrupt", lambda: None)
    words = ["--progress", "plain", "--board", "Pynq-Z2", "--boot-files", str(vendor.folder)]
    note = "Pynq-Z2: no kernel headers: modules cannot be compiled on the board"
    for headline in ("built in", "nothing to do in"):
        answer = build_py.there("build", *words)
        assert (answer.status, answer.errors) == (0, "")
        lines = answer.output.splitlines()
        assert any(line.startswith(headline) for line in lines)
        assert note in lines, "each time, whatever was kept"
    places = [
        *("--store", os.path.relpath(tmp_path / "store")),
        *("--output", os.path.relpath(tmp_path / "output")),
    ]
    same = [*places, "--boot-files", str(vendor.folder)]
    command = typed("test", "--built", "--board", "Pynq-Z2", *same)
    assert f"  check it:       {command}\n" in answer.output
    manifest = json.loads((tmp_path / "output/Pynq-Z2/manifest.json").read_text())
    assert manifest["sources"] == [{"boot-files": "given", "sha256": digest(vendor.folder)}]
    assert note in manifest["notes"]
    assert (tmp_path / "output/Pynq-Z2/boot/fat/BOOT.BIN").exists()
    vendor.remove("BOOT.BIN")
    answer = build_py.there("build", *words)
    assert answer.status == 2
    assert "  BOOT.BIN, which the board's BootROM loads, is missing" in answer.errors


class Whole(bytes):
    """Bytes that refuse to be copied in part."""

    def __getitem__(self, key: object) -> Any:
        raise AssertionError(f"{key} was copied")


def test_a_kernel_with_many_beginnings_of_packed_data_is_not_copied_for_each() -> None:
    assert linux_image.release(Whole(b"\x1f\x8b\x08" * 3)) is None
