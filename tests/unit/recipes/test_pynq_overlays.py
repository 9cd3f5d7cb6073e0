# SPDX-License-Identifier: MIT
"""Recipe pynq-overlays: installation of PL designs from a fake library."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.product import ROOT

SCRIPT = ROOT / "recipes/pynq-overlays/scripts/host.sh"

LIBRARY = {
    "PKG-INFO": "Name: pynq\n",
    "boards/Pynq-Z2/base/base.bit": "the library's",
    "boards/Pynq-Z2/base/base.hwh": "<x/>",
    "boards/Pynq-Z2/base/base.tcl": "how it was made",
    "boards/Pynq-Z2/base/notebooks/leds.ipynb": "{}",
    "boards/Pynq-Z2/notebooks/common/hello.ipynb": "{}",
    "boards/ZCU104/base/base.bit": "another board's",
}

Install = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """The directory with the library's source distribution."""
    source = tmp_path / "source/pynq-3.1.2"
    for name, text in LIBRARY.items():
        file = source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    folder = tmp_path / "downloads"
    folder.mkdir()
    archive = folder / "pynq-3.1.2.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", source.parent, source.name], check=True)
    return folder


@pytest.fixture
def overlays(tmp_path: Path) -> Path:
    """The image's directory of designs."""
    return tmp_path / "image/usr/local/lib/python3.11/dist-packages/pynq/overlays"


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    """The image's directory of notebooks."""
    return tmp_path / "image/home/me/notebooks"


@pytest.fixture
def install(tmp_path: Path, downloads: Path, overlays: Path, notebooks: Path) -> Install:
    """A runner of the recipe's script for a board, as a user who cannot change owners."""
    image = tmp_path / "image"
    share = image / "usr/local/share/pynq"
    for folder in (overlays, notebooks, share, image / "etc/pynq", tmp_path / "bin"):
        folder.mkdir(parents=True)
    (share / "notebooks").symlink_to("/home/me/notebooks")
    (image / "etc/pynq/boot-overlay").touch()
    chown = tmp_path / "bin/chown"
    chown.write_text("#!/bin/sh\n")
    chown.chmod(0o755)

    def run(board: str, parameter: str = "", **more: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-eu", SCRIPT],
            env={
                "PATH": f"{chown.parent}:{os.environ['PATH']}",
                "ROOT": str(image),
                "DOWNLOADS": str(downloads),
                "BOARD": board,
                "PARAM_BOARD": parameter,
                **{key: str(value) for key, value in more.items()},
            },
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def content(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


@pytest.mark.parametrize(("board", "parameter"), [("Pynq-Z2", ""), ("Mine", "Pynq-Z2")])
def test_the_librarys_designs_for_a_board(
    install: Install, overlays: Path, notebooks: Path, board: str, parameter: str
) -> None:
    assert install(board, parameter).returncode == 0
    assert content(overlays) == {"base/base.bit": "the library's", "base/base.hwh": "<x/>"}
    assert content(notebooks).keys() == {"base/leds.ipynb", "common/hello.ipynb"}


def test_a_board_that_the_library_does_not_know_has_none(install: Install, overlays: Path) -> None:
    done = install("Mine")
    assert (done.returncode, done.stderr) == (0, "")
    assert content(overlays) == {}


def test_a_board_that_was_named_has_to_be_there(install: Install) -> None:
    done = install("Pynq-Z2", "Pynq-Z3")
    assert done.returncode == 1
    assert done.stderr == "the library has no designs for the board Pynq-Z3\n"


@pytest.mark.parametrize("board", ["Pynq-Z2", "Mine"])
def test_a_damaged_library_is_an_error(install: Install, downloads: Path, board: str) -> None:
    (archive,) = downloads.iterdir()
    archive.write_bytes(archive.read_bytes()[:-20])
    done = install(board)
    assert done.returncode == 1
    assert "unexpected end of file" in done.stderr


def test_a_library_that_is_missing_is_an_error(install: Install, downloads: Path) -> None:
    (archive,) = downloads.iterdir()
    archive.unlink()
    assert install("Mine").returncode == 1


def test_the_boards_own_design_wins(install: Install, overlays: Path, tmp_path: Path) -> None:
    own = tmp_path / "own/base"
    own.mkdir(parents=True)
    (own / "base.bit").write_text("the board's")
    assert install("Pynq-Z2", OVERLAYS=own.parent).returncode == 0
    assert content(overlays) == {"base/base.bit": "the board's"}
