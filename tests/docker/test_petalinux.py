# SPDX-License-Identifier: MIT
"""The provider `petalinux` in real containers, with the double of AMD's installer.

The double gives out what `mainline` built, so that the cards boot. Its checks of the host, of its
user and of the words of commands are on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.cli.context import default_store
from builder.plan.publish import Output
from builder.store.store import Store
from tests.docker.support import Checkout, checkout, containers, needs_docker
from tests.petalinux.double import make_installer, make_xsa
from tests.petalinux.installed import install
from tests.support import BOARDS

pytestmark = needs_docker

RELEASE = "2024.1"
FAMILIES = {"Pynq-Z2": "zynq", "ZCU111": "zynqMP"}
EXPORTS = {"Pynq-Z2": "base/base.xsa", "ZCU111": "hardware/zcu111.xsa"}
"""Where the boards say that their hardware exports are."""
DTSI = "petalinux_bsp/meta-user/recipes-bsp/device-tree/files/system-user.dtsi"


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """A tree with boards of a vendor's, whose boot files PetaLinux builds."""

    place: Checkout
    installer: Path

    def run(self, *words: str, engine: str = "docker") -> subprocess.CompletedProcess[str]:
        """Run build.py with the installer."""
        return self.place.run(
            *words,
            *("--bsp", "petalinux", "--petalinux-installer", str(self.installer)),
            *("--accept-petalinux-license", "--engine", engine, "--progress", "plain"),
        )

    def build(self, *words: str, engine: str = "docker") -> str:
        """Run it to a good end; return what it said."""
        done = self.run(*words, engine=engine)
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    def board(self, name: str) -> Path:
        return self.place.tree / "boards" / name


def payload(output: Output, folder: Path) -> Path:
    """Put what `mainline` built of a board where PetaLinux would have it."""
    store = Store(default_store())
    manifest = json.loads(output.manifest.read_text())
    made = {
        step["name"]: entry.files
        for step in manifest["steps"]
        if (entry := store.get(step["fingerprint"]))
    }
    layer = folder / "layer"
    layer.mkdir(parents=True)
    packed = made["kernel"] / "layer.tar.zst"
    subprocess.run(["tar", "-x", "-f", packed, "-C", layer], check=True)
    (release,) = (layer / "usr/lib/modules").iterdir()
    (layer / "usr/lib").rename(folder / "modules-usr")
    (folder / "modules/lib/modules").mkdir(parents=True)
    shutil.move(folder / "modules-usr/modules" / release.name, folder / "modules/lib/modules")
    (folder / f"modules/lib/modules/{release.name}/build").unlink(missing_ok=True)
    shutil.move(layer / f"usr/src/linux-headers-{release.name}", folder / "kernel-devsrc")
    packed = made["modules"] / "layer.tar.zst"
    subprocess.run(["tar", "-x", "-f", packed, "-C", layer], check=True)
    added = layer / f"usr/lib/modules/{release.name}/updates"
    shutil.copytree(added, folder / "recipes-modules")
    for name in ("zImage", "Image"):
        if (made["kernel"] / name).exists():
            shutil.copy(made["kernel"] / name, folder)
    shutil.copy(made["u-boot"] / "u-boot.elf", folder)
    shutil.copy(output.directory / "boot/board.dtb", folder / "system.dtb")
    shutil.copy(output.directory / "boot/fat/BOOT.BIN", folder)
    if "trusted-firmware" in made:
        shutil.copy(made["trusted-firmware"] / "bl31.elf", folder)
    shutil.rmtree(layer)
    shutil.rmtree(folder / "modules-usr")
    return folder


@pytest.fixture(scope="module", params=BOARDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def vendor(
    name: str, outputs: dict[str, Output], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Vendor]:
    folder = tmp_path_factory.mktemp("petalinux")
    place = checkout(folder / "place")
    export = place.tree / "boards" / name / EXPORTS[name]
    export.parent.mkdir(exist_ok=True)
    make_xsa(export, FAMILIES[name])
    (place.tree / "local.yaml").write_text("petalinux: {base: debian-bookworm}\n")
    given = folder / "given"
    given.mkdir()
    artifacts = payload(outputs[name], folder / "payload")
    shared = Checkout(tree=place.tree, store=default_store(), output=place.output)
    yield Vendor(place=shared, installer=make_installer(RELEASE, given, artifacts=artifacts))
    shutil.rmtree(folder)


def built(said: str) -> set[str]:
    """Return the steps that were done."""
    return {line.split()[1] for line in said.splitlines() if line.startswith("  done ")}


def test_a_card_by_petalinux_boots(vendor: Vendor, name: str) -> None:
    """From a hardware export; a second run keeps all; a device tree rebuilds what has it in it."""
    said = vendor.build("--board", name)
    components = {"petalinux-device-tree", "petalinux-kernel", "petalinux-u-boot"}
    assert built(said) >= {"petalinux", "petalinux-project", "petalinux-boot", *components}
    assert "bootstrap" not in built(said), "the root filesystem is the same"
    assert "nothing to do" in vendor.build("--board", name)
    assert containers() == []
    manifest = json.loads((vendor.place.output / name / "manifest.json").read_text())
    (tool,) = (each for each in manifest["sources"] if "petalinux" in each)
    assert tool["petalinux"] == RELEASE
    checks = "board_name or root_device or added_modules or buffers or physical_pages"
    said = vendor.build("test", "--board", name, "-k", checks, engine="host")
    assert f"{name}: passed" in said or "passed, booted" in said
    dtsi = vendor.board(name) / DTSI
    dtsi.parent.mkdir(parents=True, exist_ok=True)
    dtsi.write_text('/include/ "system-conf.dtsi"\n/ { chosen { }; };\n')
    assert built(vendor.build("--board", name)) <= {
        *("petalinux-device-tree", "petalinux-boot"),
        *("prebuilt", "boot-files", "image"),
    }
    dtsi.write_text('/include/ "system-conf.dtsi"\n/ { chosen { DOUBLE-SYNTAX-ERROR }; };\n')
    done = vendor.run("--board", name)
    assert done.returncode == 2
    assert "system-user.dtsi:2" in done.stdout
    dtsi.unlink()


def test_projects_come_from_bsps_too(vendor: Vendor, name: str, tmp_path: Path) -> None:
    """A BSP file of the board, and one from a URL."""
    tool = install(RELEASE, tmp_path)
    project = tool.project(tmp_path, FAMILIES[name])
    made = tmp_path / "made.bsp"
    words = ("petalinux-package", "bsp", "-p", str(project), "-o", str(made))
    assert tool.run(*words, cwd=tmp_path).returncode == 0
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    url = vendor.board("Url") / "made.bsp"  # which containers see
    variants = {"File": "file: made.bsp", "Url": f"url: 'file://{url}', sha256: {digest}"}
    for variant, bsp in variants.items():
        board = vendor.board(variant)
        board.mkdir()
        shutil.copy(made, board)
        (board / "board.yaml").write_text(
            f"board: {variant}\nextends: {name}\nsummary: {variant}\n"
            f"bsp: {{petalinux: {{bsp: {{{bsp}}}}}}}\n"
        )
        said = vendor.build("--board", variant)
        assert {"petalinux-project", "petalinux-device-tree"} <= built(said)
        assert "petalinux" not in built(said), "it is installed"
        shutil.rmtree(board)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "its installer (of one of 2022.1"),
        (["--petalinux-installer", "README.md"], "does not have the name of a PetaLinux"),
        (["--petalinux-installer", "/none.run"], "No such file or directory"),
    ],
)
def test_a_missing_or_wrong_installer_is_said_in_a_sentence(
    vendor: Vendor, name: str, words: list[str], sentence: str
) -> None:
    done = vendor.place.run(
        *("plan", "--board", name, "--bsp", "petalinux", "--engine", "host"), *words
    )
    assert done.returncode == 2
    assert sentence in done.stdout
