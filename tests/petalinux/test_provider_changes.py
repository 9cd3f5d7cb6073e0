# SPDX-License-Identifier: MIT
"""Incremental builds with the PetaLinux double: cached steps, and steps that a change rebuilds."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from builder.bsp.petalinux.tool import Installer, PetaLinuxTool
from builder.errors import CommandError, HostError, StepError, UserError
from builder.spec.models import Soc
from tests.fixtures.boot_files import RELEASE, needs_programs
from tests.fixtures.petalinux import BASH, DTSI, MODULES, PYTHON, Bench, layer

pytestmark = [
    needs_programs,
    pytest.mark.skipif(not shutil.which("mkimage"), reason="needs mkimage"),
]


def test_the_layer_has_modules_and_headers(built: Bench) -> None:
    names = layer(built.build().entries["prebuilt"])
    headers = f"usr/src/linux-headers-{RELEASE}"
    assert {f"usr/lib/modules/{RELEASE}/some.ko", f"{headers}/Makefile"} <= {*names}
    assert f"{headers}/scripts/basic/fixdep.c" in names


def test_a_changed_module_builds_modules_alone(built: Bench) -> None:
    source = built.tree / "petalinux_bsp/meta-user/recipes-modules/pynq-buffer/files/pynq-buffer.c"
    source.write_text(f"{source.read_text()}\n")
    assert built.build().made == {MODULES}


def test_modules_for_another_kernel_are_refused(built: Bench, tmp_path: Path) -> None:
    other = tmp_path / "other/modules/lib/modules/1.2.3"
    other.mkdir(parents=True)
    built.layer("recipes-modules/my-led/my-led.bb", "inherit module\n")
    built.layer("recipes-modules/my-led/files/Makefile", "obj-m := my-led.o\n")
    built.containers.environment["DOUBLE_ARTIFACTS"] = str(tmp_path / "other")
    with pytest.raises(StepError, match=rf" is for the kernel 1.2.3, but the kernel is {RELEASE}"):
        built.build(modules_alone=True)


def test_a_recipe_without_packages(built: Bench) -> None:
    """It is an error, instead of a card without the module."""
    built.layer("recipes-modules/my-led/my-led.bb", "# inherits nothing\n")
    with pytest.raises(StepError, match="deployed no package my-led-"):
        built.build(modules_alone=True)


def test_a_fault_in_the_device_tree_is_told(built: Bench) -> None:
    built.layer(DTSI, "/ {\n    model = ;\n};\n")
    with pytest.raises(UserError, match=r"device-tree do_compile failed: .*system-user.dtsi:2"):
        built.build()


def test_the_log_of_a_failed_task_is_kept(built: Bench) -> None:
    """The log has a path of this machine, until the step is built again."""
    built.containers.environment["DOUBLE_FAIL"] = "compile@u-boot-xlnx"
    built.layer("recipes-bsp/u-boot/files/bsp.cfg", "CONFIG_BOOTDELAY=9\n")
    with pytest.raises(CommandError, match="u-boot-xlnx do_compile failed") as caught:
        built.build()
    (line,) = (each for each in caught.value.details if each.startswith("log of "))
    kept = built.logs / "petalinux-u-boot.u-boot-xlnx.do_compile.log"
    assert line == f"log of u-boot-xlnx do_compile: {kept}"
    assert "drivers/foo.c:1:1: error: the double was told to fail" in kept.read_text()
    assert not [each for each in caught.value.details if "/petalinux/work" in each]

    del built.containers.environment["DOUBLE_FAIL"]
    built.build()
    assert not kept.exists()


def test_a_full_disk_is_the_machines_fault(built: Bench) -> None:
    built.containers.environment["DOUBLE_FAIL"] = "no-space"
    built.layer(DTSI, "/ { };\n")
    with pytest.raises(HostError, match="the disk is full"):
        built.build()


def test_a_bsp_of_another_release_is_refused(bench: Bench, bsp: Path) -> None:
    bench.describe("petalinux: {bsp: {file: vendor.bsp}}")
    shutil.copy(bsp, bench.board)
    bench.installer(BASH)
    with pytest.raises(
        UserError, match=r"vendor.bsp is for PetaLinux 2024.1, but the installer is for 2022"
    ):
        bench.build()


def test_a_bsp_of_the_other_family_is_refused(bench: Bench, bsp: Path) -> None:
    bench.describe("petalinux: {bsp: {file: vendor.bsp}}", Soc.ZYNQMP)
    shutil.copy(bsp, bench.board)
    bench.installer()
    with pytest.raises(UserError, match=r"vendor.bsp is not for zynqmp"):
        bench.build()


def test_offline(built: Bench) -> None:
    built.use = replace(built.use, offline=True)
    built.containers.offline = True
    assert not built.build().made

    built.layer(DTSI, '/include/ "system-conf.dtsi"\n/ { model = "two"; };\n')
    with pytest.raises(StepError, match="the build is offline"):
        built.build()
    (shared,) = (built.store.root / "petalinux").iterdir()
    assert re.fullmatch(rf"{PYTHON}-[0-9a-f]{{12}}", shared.name)
    (shared / "downloads/sources.tar.gz").write_bytes(b"x")
    assert built.build().made == {"petalinux-device-tree"}
    assert not any(command.network for command in built.containers.commands)


def test_installers_of_one_release_share_nothing(bench: Bench, tmp_path: Path) -> None:
    given = bench.installer()
    name = Installer(given).name
    with given.open("ab") as file:
        file.write(b"\n")
    other = Installer(given).name
    assert name.startswith(f"{PYTHON}-")
    assert other.startswith(f"{PYTHON}-")
    assert name != other
    system = next(
        step.system for item in bench.plan() if isinstance(step := item.step, PetaLinuxTool)
    )
    assert system.shared_by == other


def test_headers_that_are_no_package_are_left_out(built: Bench) -> None:
    shutil.rmtree(built.root / "artifacts/kernel-devsrc")
    built.containers.environment["DOUBLE_ARTIFACTS"] = str(built.root / "artifacts")
    built.layer("recipes-kernel/linux/more.cfg", "")
    done = built.build()
    assert (
        "petalinux-build deployed no package of the kernel's headers"
        in done.logs["petalinux-kernel"]
    )
    (note,) = json.loads((done.entries["boot-files"] / "notes.json").read_text())
    assert note == "B: no kernel headers: modules cannot be compiled on the board"
