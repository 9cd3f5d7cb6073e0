# SPDX-License-Identifier: MIT
"""Cards by the provider `petalinux` in real containers, with the double of AMD's installer.

The double gives out what `mainline` built, so that the cards boot. Its checks of the host, of its
user and of the words of commands are on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.cli.context import default_store
from builder.publish.output import Output
from builder.store.store import Store
from tests.docker.support import containers, needs_docker, take_over
from tests.docker.vendor import DTSI, FAMILIES, RELEASE, Vendor, built, vendors_tree
from tests.fixtures.product import BOARDS, build
from tests.petalinux.double import make_installer
from tests.petalinux.installed import install

pytestmark = needs_docker


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
def vendor(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    folder = tmp_path_factory.mktemp("petalinux")
    place = vendors_tree(folder / "place", name)
    output = build(name)
    artifacts = payload(output, folder / "payload")
    installer = make_installer(RELEASE, folder / "given", artifacts=artifacts)
    # What the double makes must not come to be in the caches of the user's store.
    place.store.rmdir()
    steps = json.loads(output.manifest.read_text())["steps"]
    keys = {step["fingerprint"] for step in steps}
    take_over(
        default_store(),
        place.store,
        wanted=lambda entry: entry.key in keys or entry.step == "qemu",
    )
    yield Vendor(place=place, installer=installer)
    shutil.rmtree(folder)


def test_a_card_by_petalinux_boots(vendor: Vendor, name: str) -> None:
    """From a hardware export; a second run keeps all; a device tree rebuilds what has it in it."""
    said = vendor.build("--board", name)
    components = {"petalinux-device-tree", "petalinux-kernel", "petalinux-u-boot"}
    components |= {"petalinux-modules"}
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
    assert built(vendor.build("--board", name)) == {
        *("petalinux-device-tree", "petalinux-boot"),
        *("prebuilt", "boot-files", "design-check", "image"),
    }
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
