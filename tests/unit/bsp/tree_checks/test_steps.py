# SPDX-License-Identifier: MIT
"""The steps that check a device tree: inputs and outputs."""

from __future__ import annotations

import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from builder.bsp.mainline import bindings
from builder.bsp.mainline.bindings import Bindings
from builder.bsp.mainline.tree_check import TreeCheck
from builder.bsp.soc import FAMILIES
from builder.bsp.tree_checks.findings import FINDINGS, read_findings
from builder.bsp.tree_checks.step import DesignCheck
from builder.errors import StepError
from builder.rootfs.layers import MountedRoot
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PlainWorkspace
from builder.spec.models import Soc
from builder.spec.resolve import ImageSpec, resolve
from builder.steps.step import Step
from tests.fixtures.command_line import TREE
from tests.fixtures.exports import Part, hwh, make_xsa, start_up
from tests.fixtures.jobs import MakeJob

PARENT = cast(Step, SimpleNamespace(name="boot-files"))
BOARD = """\
/dts-v1/;
/ {
    chosen { };
    axi {
        i2c1: i2c@e0005000 { status = "disabled"; };
        serial@e0000000 { };
        mmc@e0100000 { };
        ethernet@e000b000 { };
        usb@e0002000 { };
        spi@e000d000 { };
        gpio@e000a000 { compatible = "xlnx,zynq-gpio-1.0"; };
    };
};
"""
DRIVER = """\
class Codec:
    bindto = ["xilinx.com:ip:codec:1.0"]
    def open(self):
        get_uio_device("codec")
"""


def dtb(source: str, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    words = ["dtc", "-q", "-@", "-O", "dtb", "-o", str(target), "-"]
    subprocess.run(words, input=source.encode(), check=True)
    return target


@pytest.fixture
def root(tmp_path: Path, processes: Processes) -> MountedRoot:
    """A root filesystem with a library and a design."""
    package = tmp_path / "root/usr/local/lib/python3.11/dist-packages/pynq"
    (package / "overlays/base").mkdir(parents=True)
    (package / "codec.py").write_text(DRIVER)
    design = hwh(Soc.ZYNQ, parts={"codec": Part(kind="codec")})
    (package / "overlays/base/base.hwh").write_text(design)
    (package / "overlays/base/other.hwh").write_text("<x/>")
    workspace = PlainWorkspace(tmp_path / "work", processes=processes)
    return MountedRoot(path=tmp_path / "root", changes=tmp_path / "changes", workspace=workspace)


@pytest.fixture
def spec() -> ImageSpec:
    """A board whose parameters enable no peripheral that the tree above disables."""
    return resolve(TREE, "Pynq-Z2", distro="debian-bookworm")


def found(make_job: MakeJob, root: MountedRoot, spec: ImageSpec, board: str) -> list[str]:
    files = root.path.parent / "boot"
    dtb(board, files / "files/board.dtb")
    job = make_job(root=root, **{"boot-files": files})
    DesignCheck(spec, layers=[], boot_files=PARENT).run(job)
    return [each.name for each in read_findings(job.output / FINDINGS)]


def test_the_images_designs_and_library_are_compared(
    make_job: MakeJob, root: MountedRoot, spec: ImageSpec
) -> None:
    assert found(make_job, root, spec, BOARD) == ["design: i2c@e0005000", "library: uio codec"]


def test_an_overlay_of_the_image_counts(
    make_job: MakeJob, root: MountedRoot, spec: ImageSpec
) -> None:
    source = '/dts-v1/; /plugin/; &i2c1 { status = "okay"; };'
    dtb(source, root.path / "usr/lib/firmware/pl/own.dtbo")
    (root.path / "usr/lib/firmware/pl/away.dtbo").symlink_to("/nonexistent")
    assert found(make_job, root, spec, BOARD) == ["library: uio codec"]


def test_without_the_library_the_export_is_compared(
    make_job: MakeJob, root: MountedRoot, files_of: Callable[[], ImageSpec]
) -> None:
    subprocess.run(["rm", "-r", root.path / "usr"], check=True)
    assert found(make_job, root, files_of(), BOARD) == ["design: i2c@e0005000"]


@pytest.fixture
def files_of(boards_dir: Path) -> Callable[[], ImageSpec]:
    """Return a board with a hardware export."""

    def files_of() -> ImageSpec:
        tree = type(TREE)(root=TREE.root, boards_dirs=(boards_dir,))
        folder = boards_dir / "Pynq-Z2/base"
        folder.mkdir()
        make_xsa(folder / "base.xsa", {"base.hwh": hwh(Soc.ZYNQ, parts={}), **start_up(Soc.ZYNQ)})
        return resolve(tree, "Pynq-Z2", distro="debian-bookworm")

    return files_of


BINDING = """\
# SPDX-License-Identifier: GPL-2.0
%%YAML 1.2
---
$id: http://devicetree.org/schemas/%(name)s.yaml#
$schema: http://devicetree.org/meta-schemas/core.yaml#
title: A thing
maintainers: [a@b.c]
properties:
  compatible: {const: "v,%(name)s"}
  reg: {maxItems: 1}
required: [compatible, reg]
additionalProperties: false
"""
LINUX = {
    "arch/arm/boot/dts/zynq-7000.dtsi": """\
/ {
    #address-cells = <1>;
    #size-cells = <1>;
    thing: thing@1000 { compatible = "v,thing"; reg = <0x1000 0x10>; old; };
    other@2000 { compatible = "v,other"; reg = <0x2000 0x10>; old; };
};
""",
    "arch/arm/boot/dts/zynq-zed.dts": """\
/dts-v1/;
/include/ "zynq-7000.dtsi"
/ { compatible = "avnet,zynq-zed"; };
""",
    "arch/arm/boot/dts/zynq-old.dts": "no device tree",
    "include/dt-bindings/x.h": "",
    "include/uapi/linux/x.h": "",
    # Two, because dt-mk-schema treats a single file as its own output.
    **{
        f"Documentation/devicetree/bindings/{name}.yaml": BINDING % {"name": name}
        for name in ("thing", "other")
    },
}
OWN = """\
/dts-v1/;
/ {
    #address-cells = <1>;
    #size-cells = <1>;
    compatible = "avnet,zynq-zed";
    thing@1000 { compatible = "v,thing"; reg = <0x1000 0x10>; old; new; };
    other@2000 { compatible = "v,other"; reg = <0x2000 0x10>; old; };
};
"""


@pytest.fixture
def linux(make_job: MakeJob, tmp_path: Path) -> Callable[[], Path]:
    """Run the step `bindings` on kernel sources of a few files; return its output."""

    def linux() -> Path:
        top = tmp_path / "source/linux-6.1"
        for name, text in LINUX.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(text)
        package = tmp_path / "package/files/linux-6.1.tar.gz"
        package.parent.mkdir(parents=True)
        with tarfile.open(package, "w:gz") as archive:
            for name in LINUX:  # the kernel's tarball has no members for some directories either
                archive.add(top / name, f"linux-6.1/{name}")
        step = Bindings(FAMILIES[Soc.ZYNQ], source=PARENT, scope="zynq")
        job = make_job("made/files", **{"linux-source": tmp_path / "package"})
        step.run(job)
        return job.output.parent

    (tmp_path / "made").mkdir()
    return linux


def checked(make_job: MakeJob, made: Path) -> dict[str, str]:
    tree = made.parent / "tree"
    dtb(OWN, tree / "files/board.dtb")
    step = TreeCheck("B", source="b.dts", device_tree=PARENT, bindings=PARENT)
    job = make_job(**{"device-tree": tree, "bindings": made})
    step.run(job)
    return {each.name: each.text for each in read_findings(job.output / FINDINGS)}


@pytest.mark.skipif(not bindings.installed(), reason="dt-schema is not installed")
def test_a_tree_is_compared_with_linux(make_job: MakeJob, linux: Callable[[], Path]) -> None:
    made = linux()
    assert [path.name for path in (made / "files/trees").iterdir()] == ["zynq-zed.dtb"]
    names = [*checked(make_job, made)]
    assert names[0] == "linux: /thing@1000 new"
    # Linux's tree causes the same complaint about the other node's `old`.
    (complaint,) = [name for name in names if "@1000: " in name or "@2000: " in name]
    assert complaint.startswith("schema: thing@1000: 'new', 'old' do not match")


def test_without_dt_validate_there_is_a_finding(
    make_job: MakeJob, linux: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bindings, "installed", lambda: False)
    found = checked(make_job, linux())
    assert [*found] == ["linux: /thing@1000 new", "schema: not compared"]
    assert "install the package dt-schema" in found["schema: not compared"]


def test_bindings_come_out_the_same_at_another_time(
    make_job: MakeJob, linux: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bindings, "installed", lambda: False)
    first = (linux() / "files/bindings.tar").read_bytes()
    time.sleep(1.1)  # a tarball's times are in seconds
    job = make_job("again", **{"linux-source": tmp_path / "package"})
    Bindings(FAMILIES[Soc.ZYNQ], source=PARENT, scope="zynq").run(job)
    assert (job.output / "bindings.tar").read_bytes() == first


@pytest.mark.parametrize("names", [[], ["linux-6.1.tar.gz", "linux-6.2.tar.gz"]])
def test_kernel_sources_are_one_tarball(
    make_job: MakeJob, tmp_path: Path, names: list[str]
) -> None:
    package = tmp_path / "package/files"
    package.mkdir(parents=True)
    for name in names:
        (package / name).touch()
    job = make_job("made", **{"linux-source": tmp_path / "package"})
    with pytest.raises(StepError, match=f"one tarball; found: {', '.join(names) or 'none'}"):
        Bindings(FAMILIES[Soc.ZYNQ], source=PARENT, scope="zynq").run(job)
