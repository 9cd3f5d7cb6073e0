# SPDX-License-Identifier: MIT
"""A board of sdbuild's, brought over and built: what the scripts of its package did to the image."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builder.publish.output import Output
from tests.fixtures.product import build_py
from tests.fixtures.sdbuild_repository import write_board

NAME = "Pynq-ZED"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root partition of the board's image, as a sparse file."""
    folder = tmp_path_factory.mktemp("sdbuild")
    write_board(folder / "old", NAME)
    boards, output = folder / "boards", folder / "output"
    done = build_py("import-spec", str(folder / "old"), "--to", str(boards))
    assert done.returncode == 0, done.stdout
    done = build_py(
        *("--board", NAME, "--boards-dir", str(boards), "--output", str(output)),
        *("--progress", "plain"),
    )
    assert done.returncode == 0, f"the build failed:\n{done.stdout[-4000:]}"
    image = Output(directory=output / NAME, board=NAME).image
    (_, start) = [
        int(word)
        for line in _tool("sfdisk", "--dump", image).splitlines()
        for word in line.partition("start=")[2].split(",")[0].split()
    ]
    path = folder / "root.ext4"
    _tool(
        *("dd", f"if={image}", f"of={path}", "bs=1M", "conv=sparse", "status=none"),
        f"skip={start // 2048}",
    )
    image.unlink()
    return path


def _tool(*argv: str | Path) -> str:
    return subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, check=True
    ).stdout


def content(root: Path, name: str) -> str:
    return _tool("debugfs", "-R", f"cat {name}", root)


def listed(root: Path, folder: str) -> dict[str, tuple[str, str, str]]:
    """Return mode, owner and group of what is in a directory, by name."""
    found = {}
    for line in _tool("debugfs", "-R", f"ls -p {folder}", root).splitlines():
        fields = line.split("/")
        if len(fields) > 5 and fields[5] not in (".", ".."):
            found[fields[5]] = (fields[2], fields[3], fields[4])
    return found


def test_the_scripts_of_a_package_did_their_work(root: Path) -> None:
    # pre.sh, by its copy of the machine's sudo; qemu.sh; post.sh, which takes away what pre.sh gave.
    assert content(root, "/opt/leds/board") == f"{NAME} arm\n"
    assert content(root, "/opt/leds/said") == "blink\n"
    assert content(root, "/opt/leds/machine") == "armv7l\n"
    assert {*listed(root, "/opt/leds")} == {"board", "leds.py", "machine", "said", "user"}


def test_what_the_scripts_made_is_roots(root: Path) -> None:
    assert {(user, group) for _, user, group in listed(root, "/opt/leds").values()} == {("0", "0")}


def test_the_target_has_what_the_script_in_it_asked_for(root: Path) -> None:
    user = content(root, "/opt/leds/user").strip()
    assert f"leds:x:{user}:" in content(root, "/etc/passwd")
    link = _tool(
        "debugfs", "-R", "stat /etc/systemd/system/multi-user.target.wants/leds.service", root
    )
    assert "leds.service" in link
    assert "Type: symlink" in link


def test_nothing_of_the_build_is_left(root: Path) -> None:
    assert "qemu.sh" not in listed(root, "/")
    assert "pynq" not in listed(root, "/")
    assert not {"qemu-arm-static"} & {*listed(root, "/usr/bin")}
