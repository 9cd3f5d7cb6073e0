# SPDX-License-Identifier: MIT
"""The kernel's own checkpatch.pl over the modules of this tree."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from builder.cli.context import default_store
from builder.publish.output import Output
from builder.store.store import Store
from tests.fixtures.product import ROOT

SOURCES = sorted((ROOT / "petalinux_bsp/meta-user/recipes-modules").glob("*/files/*.[ch]"))
# Modules outside of the kernel are built for more than one version of it; and it takes that macro,
# which stands on the left as everywhere in the kernel, for a constant.
NOT_FOR_US = "LINUX_VERSION_CODE,CONSTANT_COMPARISON"


@pytest.fixture(scope="module")
def checkpatch(built: Output, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Take the script out of the sources that the images' kernels are built from."""
    if shutil.which("perl") is None:
        pytest.skip("there is no perl on this machine")
    entries = [each for each in Store(default_store()).entries() if each.step == "linux-source"]
    packages = [path for each in entries for path in each.files.glob("*.deb")]
    if not packages:
        pytest.skip("the store does not hold the kernel's sources any more")
    folder = tmp_path_factory.mktemp("kernel")
    subprocess.run(
        [
            *("sh", "-ec"),
            (
                'dpkg-deb --fsys-tarfile "$1" | tar -xO --wildcards "./usr/src/*.tar.xz" '
                '| tar -xJ -C "$2" --strip-components=2 --wildcards "*/scripts/checkpatch.pl" '
                '"*/scripts/spelling.txt" "*/scripts/const_structs.checkpatch"'
            ),
            *("sh", packages[-1], folder),
        ],
        check=True,
    )
    return folder / "checkpatch.pl"


def test_there_are_sources() -> None:
    assert len({path.parent.parent.name for path in SOURCES}) >= 3


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_checkpatch_has_nothing_to_say(checkpatch: Path, source: Path) -> None:
    done = subprocess.run(
        [
            *("perl", checkpatch, "--no-tree", "--strict", "--terse", "--no-summary"),
            *("--ignore", NOT_FOR_US, "--file", source),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout + done.stderr).strip() == ""
    assert done.returncode == 0
