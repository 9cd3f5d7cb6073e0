# SPDX-License-Identifier: MIT
"""The builder's own modules, built against a kernel's headers."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from builder.bsp.mainline.modules import KernelModules
from builder.bsp.soc import FAMILIES
from builder.errors import StepError
from builder.plan.step_key import components
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PlainWorkspace
from builder.spec.models import Soc
from builder.steps.layer_archive import LAYER, pack
from builder.steps.step import Job, Step, Tools
from builder.store.store import Entry, Store

RELEASE = "6.1.0-zynq"

# Fake kbuild: a module is its source after a line; installing copies it.
MAKEFILE = """
modules: $(patsubst %.c,%.ko,$(wildcard $(M)/*.c))
%.ko: %.c
	@test "$(ARCH)-$(CROSS_COMPILE)" = arm-arm-linux-gnueabihf-
	@echo "$(KCFLAGS)" | grep -q -e "-Werror -ffile-prefix-map=$(M)="
	@{ echo made; cat $<; } > $@
modules_install:
	@mkdir -p $(INSTALL_MOD_PATH)/lib/modules/RELEASE/$(INSTALL_MOD_DIR)
	@cp $(M)/*.ko $(INSTALL_MOD_PATH)/lib/modules/RELEASE/$(INSTALL_MOD_DIR) || true
""".replace("RELEASE", RELEASE)


class Kernel(Step):
    """Fake step of the kernel."""

    def __init__(self) -> None:
        super().__init__("kernel", scope="zynq")

    def settings(self) -> dict[str, object]:
        return {}

    def run(self, job: Job) -> None:
        raise NotImplementedError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with the recipes `one` and `two`."""
    folder = tmp_path / "tree/petalinux_bsp/meta-user/recipes-modules"
    for name in ("one", "two"):
        (folder / name / "files").mkdir(parents=True)
        (folder / name / f"{name}.bb").write_text("PetaLinux's")
        (folder / name / "files/Makefile").write_text(f"obj-m := {name}.o\n")
        (folder / name / f"files/{name}.c").write_text(name)
        (folder / name / f"files/{name}.conf").write_text(name)
    (folder / "two/files/60-two.rules").write_text("rule")
    (folder / "two/files/two.h").write_text("for programs")
    (folder / "two/files/inner.h").write_text("for nobody")
    return tmp_path / "tree"


@pytest.fixture
def job(tmp_path: Path, store: Store, processes: Processes) -> Job:
    """A job with a kernel's output, with a fake build system."""
    layer, given = tmp_path / "layer", tmp_path / "kernel/files"
    headers, modules = layer / f"usr/src/linux-headers-{RELEASE}", f"usr/lib/modules/{RELEASE}"
    for folder in (headers, layer / modules / "kernel", given, tmp_path / "output"):
        folder.mkdir(parents=True)
    (headers / "Makefile").write_text(MAKEFILE)
    for name in ("order", "builtin"):
        (layer / modules / f"modules.{name}").write_text("")
    subprocess.run(["depmod", "--basedir", layer / "usr", RELEASE], check=True)
    (given / "kernel-release").write_text(f"{RELEASE}\n")
    workspace = PlainWorkspace(tmp_path, processes=processes)
    pack(workspace, layer, given / LAYER, epoch=1_700_000_000, of_root=True)

    def room(name: str, *, need: int, network: bool = False) -> PlainWorkspace:
        assert not network
        folder = tmp_path / "work"
        folder.mkdir()
        return PlainWorkspace(folder, processes=processes)

    entry = Entry(key="k", step="kernel", path=tmp_path / "kernel", seconds=0, size=0)
    return Job(
        inputs={"kernel": entry},
        output=tmp_path / "output",
        log=io.StringIO(),
        store=store,
        tools=cast(
            Tools,
            SimpleNamespace(processes=processes, jobs=2, workspace=room, compiler_cache=None),
        ),
        on_line=lambda _: None,
    )


def step(tree: Path) -> KernelModules:
    return KernelModules(FAMILIES[Soc.ZYNQ], kernel=Kernel(), project=tree)


def listed(job: Job) -> dict[str, str]:
    """Return the layer's members: names, with kind, owner and time."""
    options = ["--list", "--verbose", "--numeric-owner", "--full-time"]
    lines = subprocess.run(
        ["tar", *options, "--use-compress-program=zstd -d", "--file", job.output / LAYER],
        capture_output=True,
        text=True,
        check=True,
        env={"TZ": "UTC", "PATH": "/usr/bin:/bin"},
    ).stdout.splitlines()
    fields = [line.split(None, 5) for line in lines]
    return {name: f"{mode} {who} {day} {hour}" for mode, who, _, day, hour, name in fields}


def test_the_layer_has_modules_their_files_and_the_indexes(tree: Path, job: Job) -> None:
    step(tree).run(job)
    found = listed(job)
    modules = f"./usr/lib/modules/{RELEASE}"
    files = {name for name in found if not name.endswith("/")}
    assert files - {f"{modules}/modules.dep", f"{modules}/modules.dep.bin"} == {
        *(f"{modules}/updates/{name}.ko" for name in ("one", "two")),
        *(f"./usr/lib/modules-load.d/{name}.conf" for name in ("one", "two")),
        "./usr/lib/udev/rules.d/60-two.rules",
        "./usr/include/two.h",
    }
    assert f"{modules}/modules.dep" in files
    assert {text[10:] for text in found.values()} == {" 0/0 2023-11-14 22:13:20"}


def test_a_recipe_without_a_module_is_named(tree: Path, job: Job) -> None:
    (tree / "petalinux_bsp/meta-user/recipes-modules/one/files/one.c").unlink()
    with pytest.raises(StepError, match="one/files made no module"):
        step(tree).run(job)


def test_a_recipe_that_the_kernels_configuration_leaves_out(tree: Path, job: Job) -> None:
    files = tree / "petalinux_bsp/meta-user/recipes-modules/one/files"
    (files / "one.c").unlink()
    (files / "Makefile").write_text("# for some kernels\nobj-$(CONFIG_ONE:y=m) := one.o\n")
    step(tree).run(job)
    assert {Path(name).stem for name in listed(job) if "one" in name or "two" in name} == {
        *("two", "60-two"),
    }


def test_files_for_petalinux_only_are_no_inputs(tree: Path) -> None:
    def parts() -> Any:
        return components(step(tree), secret=b"")

    before = parts()
    recipes = tree / "petalinux_bsp/meta-user/recipes-modules"
    (recipes / "one/one.bb").write_text("another")
    assert parts() == before
    (recipes / "one/files/one.c").write_text("another")
    assert parts() != before
    assert "gcc-arm-linux-gnueabihf" in step(tree).packages
