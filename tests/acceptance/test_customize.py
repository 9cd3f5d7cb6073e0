# SPDX-License-Identifier: MIT
"""Images made out of others by the user's own command, compared with these as the kernel sees both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builder.image.image import BOOT_OFFSET
from builder.publish.output import Output
from builder.store.checksum import sha256
from tests.fixtures.cards import BOOT, START, card, system, tool
from tests.fixtures.product import BOARD, ROOT, build_py
from tests.unit.formats.test_ext4 import CAPABILITY, CHANGES

OFFSET = BOOT_OFFSET + (100 << 20)
"""Where the root partition begins on a card of ours."""

# user::rwx, user:1000:rwx, group::r-x, mask::rwx, other::r-x (linux/posix_acl_xattr.h).
ACL = bytes.fromhex(
    "02000000 01000700ffffffff 02000700e8030000 04000500ffffffff 10000700ffffffff 20000500ffffffff"
)


@pytest.fixture(autouse=True)
def _needs_loop_devices() -> None:
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("the kernel's own view of a filesystem takes root and a loop device")


def compared(before: Path, after: Path, *, offset: int) -> dict[str, Any]:
    """Return what differs between the root filesystems of two images."""
    done = subprocess.run(
        [
            *("unshare", "--mount", "--propagation", "private"),
            *(sys.executable, str(ROOT / "tests/acceptance/compare.py")),
            *(str(before), str(offset), str(after), str(offset)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def customized(base: Path, new: Path, *words: str | Path) -> str:
    done = build_py("customize", str(base), "-o", str(new), "--progress", "plain", *map(str, words))
    assert done.returncode == 0, done.stdout
    assert tool("sha256sum", "--check", f"{new}.sha256", cwd=new.parent)
    return done.stdout


@pytest.fixture(scope="module")
def new(built: Output, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of ours with a recipe more, another parameter, and a boot file more."""
    folder = tmp_path_factory.mktemp("customized")
    (folder / "uEnv.txt").write_text("added\n")
    base = built.image
    before = sha256(base)
    words = ("--recipe", "sensors", "--set", "hostname.name=zebra")
    customized(base, folder / "new.img", *words, "--boot-file", folder / "uEnv.txt")
    assert sha256(base) == before
    return folder / "new.img"


def test_only_what_was_asked_for_differs(built: Output, new: Path) -> None:
    found = compared(built.image, new, offset=OFFSET)
    assert found["files"] > 10000
    assert found["gone"] == []
    assert {"usr/bin/sensors", "usr/share/doc/lm-sensors"} <= {*found["new"]}
    # What apt and dpkg keep books in, and directories in which something was added.
    books = {"etc/ld.so.cache", "var/lib/dpkg/status", "var/lib/dpkg/status-old"}
    books |= {"var/lib/apt/extended_states", "var/lib/ucf/hashfile.0", "var/lib/ucf/hashfile.1"}
    content = {path for path, what in found["changed"].items() if "content" in what}
    # The board's own checks know the new name and the new recipe.
    asked_for = {"etc/hostname", "etc/hosts", "usr/share/board-selftest/context.json"}
    assert "usr/share/board-selftest/recipes/sensors" in found["new"]
    assert asked_for <= content <= books | asked_for
    others = {
        path: what
        for path, what in found["changed"].items()
        if path not in content and not {*what} <= {"time", "links"}
    }
    assert others == {}


def test_the_boot_partition_has_the_new_file_beside_the_old_ones(built: Output, new: Path) -> None:
    names = [
        {*tool("mdir", "-b", "-i", f"{image}@@{BOOT_OFFSET}", "::/").split()}
        for image in (built.image, new)
    ]
    assert names[1] == names[0] | {"::/uEnv.txt"}


def test_the_manifest_names_the_base_and_all_that_was_done(built: Output, new: Path) -> None:
    manifest = json.loads(Path(f"{new}.json").read_text())
    assert manifest["base"] == {
        "file": f"{BOARD}.img",
        "sha256": sha256(built.image),
    }
    assert manifest["image"]["sha256"] == sha256(new)
    assert manifest["board"] == BOARD
    assert manifest["recipes"]["hostname"] == {"name": "zebra"}
    assert manifest["recipes"]["users"]["password"] == "(secret)"
    assert manifest["applied"]["recipes"] == ["sensors", "hostname"]
    assert "lm-sensors" in manifest["applied"]["packages"]
    assert "lm-sensors" in {package["package"] for package in manifest["packages"]}


def test_the_root_filesystem_is_in_order(new: Path, tmp_path: Path) -> None:
    copy = tmp_path / "root.ext4"
    tool("dd", f"if={new}", f"of={copy}", "bs=1M", f"skip={OFFSET >> 20}", "conv=sparse")
    assert tool("e2fsck", "-f", "-n", copy)


def test_a_second_time_the_base_is_not_taken_apart_again(built: Output, new: Path) -> None:
    said = customized(built.image, new.parent / "more.img", "--set", "hostname.name=other")
    assert "cached  base-image" in said
    # And an image that was customized can be customized again.
    said = customized(new.parent / "more.img", new.parent / "again.img", "--recipe", "time")
    manifest = json.loads((new.parent / "again.img.json").read_text())
    assert manifest["base"]["base"]["file"] == f"{BOARD}.img"
    assert manifest["recipes"]["hostname"] == {"name": "other"}


@pytest.mark.parametrize("features", ["metadata_csum,64bit", "^metadata_csum,^64bit,^extent"])
def test_a_released_image_of_another_layout_keeps_everything(tmp_path: Path, features: str) -> None:
    """Hard links, devices, capabilities, ACLs, owners, times; and a design takes another's place."""
    tree = system(tmp_path / "tree")
    library = tree / "usr/local/share/pynq-venv/lib/python3.10/site-packages/pynq/overlays"
    (library / "base").mkdir(parents=True)
    (library / "base/base.bit").write_text("old")
    (tree / "plain").write_text("hello\n")
    (tree / "sub").mkdir()
    (tree / "secret").write_text("x")
    os.setxattr(tree / "secret", "system.posix_acl_access", ACL)
    image = card(tmp_path / "card.img", tree, "-O", features)
    root = START + BOOT
    tool(
        *("debugfs", "-w", "-f", "/dev/stdin", f"{image}?offset={root}"),
        stdin="\n".join(CHANGES) + "\n",
    )
    (tmp_path / "capability").write_bytes(CAPABILITY)
    tool(
        *("debugfs", "-w", "-R", f"ea_set -f {tmp_path}/capability plain security.capability"),
        f"{image}?offset={root}",
    )
    design = tmp_path / "base"
    design.mkdir()
    (design / "base.bit").write_text("new")
    customized(image, tmp_path / "new.img", "--overlay", design)
    found = compared(image, tmp_path / "new.img", offset=root)
    place = "usr/local/share/pynq-venv/lib/python3.10/site-packages/pynq/overlays"
    assert found["new"] == found["gone"] == []
    assert {path for path, what in found["changed"].items() if what != ["time"]} == {
        f"{place}/base/base.bit"
    }
