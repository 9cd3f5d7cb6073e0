# SPDX-License-Identifier: MIT
"""Steps of the provider `petalinux` in real containers, with the double of AMD's installer.

No card and no kernel is made, and nothing boots: what the double gives out are placeholders. Its
checks of the host, of its user and of the words of commands are on.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path

import docker
import pytest

from builder.bsp.petalinux.petalinux import boot_artifacts
from builder.containers.images import NAME
from builder.plan.plan import make_plan
from builder.sandbox.process import Processes
from builder.scheduler.scheduler import Scheduler
from builder.spec.models import Soc
from builder.spec.reader import SpecTree
from builder.spec.resolve import PetaLinuxUse, resolve
from builder.steps.layer_archive import LAYER as PACKED
from builder.store.store import Store
from tests.docker.support import CALLER, Checkout, containers, needs_docker, owners
from tests.docker.vendor import DTSI, LAYER, RELEASE, Vendor, built, vendors_tree
from tests.fixtures.command_line import FakeArchive
from tests.fixtures.petalinux import artifacts
from tests.fixtures.product import BOARD
from tests.petalinux.double import make_installer

pytestmark = needs_docker

BOOT_FILES = ("--board", BOARD, "--only", "boot-files")
SECONDS = 300


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    folder = tmp_path_factory.mktemp("petalinux-steps")
    place = vendors_tree(folder / "place", BOARD)
    given = artifacts(folder / "artifacts", Soc.ZYNQ)
    return Vendor(place=place, installer=make_installer(RELEASE, folder / "given", artifacts=given))


@pytest.fixture(scope="module")
def said(vendor: Vendor) -> str:
    """What the first build of boot files said."""
    return vendor.build(*BOOT_FILES)


def test_boot_files_from_a_hardware_export(vendor: Vendor, said: str) -> None:
    """And a second run keeps all of them."""
    components = {f"petalinux-{name}" for name in ("device-tree", "kernel", "fsbl", "u-boot")}
    assert built(said) >= {"petalinux", "petalinux-project", "petalinux-boot", *components}
    fat = vendor.place.output / BOARD / "boot/fat"
    assert {path.name for path in fat.iterdir()} == {"BOOT.BIN", "boot.scr", "image.ub"}
    assert built(vendor.build(*BOOT_FILES)) == set()
    assert containers() == []


def test_a_fault_in_a_device_tree_is_told(vendor: Vendor, said: str) -> None:
    """With the line of the source, and the log, which is there although its container is gone."""
    dtsi = vendor.board(BOARD) / DTSI
    dtsi.parent.mkdir(parents=True, exist_ok=True)
    dtsi.write_text('/include/ "system-conf.dtsi"\n/ { chosen { DOUBLE-SYNTAX-ERROR }; };\n')
    try:
        done = vendor.run(*BOOT_FILES)
    finally:
        dtsi.unlink()
    assert done.returncode == 2
    assert "device-tree do_compile failed" in done.stdout
    assert "system-user.dtsi:2" in done.stdout
    assert "hint: " in done.stdout
    kept = re.search(r"log of device-tree do_compile: (\S+)", done.stdout)
    assert kept
    assert "system-user.dtsi:2" in Path(kept[1]).read_text()
    assert containers() == []


def test_packages_of_modules_are_taken_apart(vendor: Vendor, said: str) -> None:
    """By the container's own bsdtar."""
    spec = resolve(
        SpecTree(root=vendor.place.tree),
        BOARD,
        provider="petalinux",
        petalinux=PetaLinuxUse(installer=vendor.installer, accepted=True),
    )
    store = Store(vendor.place.store)
    plan = make_plan(boot_artifacts(spec, FakeArchive()).more_layers, store)
    entries = Scheduler(
        plan,
        store=store,
        logs=vendor.place.output,
        listener=lambda _: None,
        processes=Processes(),
        jobs=1,
    ).run()
    layer = entries[plan[-1].step].files / PACKED
    plain = subprocess.run(["zstd", "-dcq", layer], check=True, capture_output=True).stdout
    names = set(re.findall(r"usr/lib/\S+", _listed(plain)))
    assert "usr/lib/modules-load.d/pynq-buffer.conf" in names
    assert "usr/lib/udev/rules.d/60-pynq-buffer.rules" in names
    assert any(name.endswith("/updates/pynq-buffer.ko") for name in names)
    assert not [name for name in names if "/kernel/" in name]


def _listed(tar: bytes) -> str:
    done = subprocess.run(["tar", "-t"], input=tar, check=True, capture_output=True)
    return done.stdout.decode()


def test_ctrl_c_leaves_nothing(vendor: Vendor, tmp_path: Path) -> None:
    """In the middle of a component, by a caller who is not root."""
    theirs = Checkout(tree=vendor.place.tree, store=tmp_path / "store", output=tmp_path / "output")
    for folder in (theirs.store, theirs.output):
        folder.mkdir()
        subprocess.run(["chown", f"{CALLER}:{CALLER}", folder], check=True)
    delay = vendor.board(BOARD) / LAYER / "conf/DOUBLE_DELAY"
    delay.parent.mkdir(parents=True, exist_ok=True)
    delay.write_text("600\n")
    words = vendor.words(*BOOT_FILES)
    log = tmp_path / "said"
    try:
        with log.open("w") as out, theirs.start(*words, caller=CALLER, stdout=out) as process:
            try:
                until = time.monotonic() + SECONDS
                while not at_work("petalinux-build") and process.poll() is None:
                    assert time.monotonic() < until, log.read_text()
                    time.sleep(1)
                time.sleep(5)  # to be in the middle of it
                assert at_work("petalinux-build"), log.read_text()
                process.send_signal(signal.SIGINT)
                process.wait(timeout=120)
            finally:
                process.kill()
    finally:
        delay.unlink()
    assert process.returncode == 130, log.read_text()
    assert containers() == []
    assert owners(theirs.store) | owners(theirs.output) == {CALLER}
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert not [*(theirs.store / "drafts").iterdir(), *(theirs.store / "scratch").iterdir()]


def at_work(program: str) -> bool:
    """Return whether one of the builder's containers runs a program."""
    with closing(docker.from_env()) as client:
        found = client.containers.list(filters={"label": NAME}, ignore_removed=True)
        return any(program in " ".join(each.attrs["Args"]) for each in found)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "its installer (of one of 2022.1"),
        (["--petalinux-installer", "README.md"], "is not the name of a PetaLinux"),
        (["--petalinux-installer", "/none.run"], "No such file or directory"),
    ],
)
def test_a_missing_or_wrong_installer_is_said_in_a_sentence(
    vendor: Vendor, words: list[str], sentence: str
) -> None:
    done = vendor.place.run(
        *("plan", "--board", BOARD, "--bsp", "petalinux", "--engine", "host"), *words
    )
    assert done.returncode == 2
    assert sentence in done.stdout
