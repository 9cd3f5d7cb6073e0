# SPDX-License-Identifier: MIT
"""The installed package: a wheel of the tree makes the image that the checkout makes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.fixtures.product import BOARD, ROOT, build_py, run_clean

pytestmark = pytest.mark.usefixtures("built")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command that `pip install` of the wheel provides, in an environment of its own."""
    folder = tmp_path_factory.mktemp("package")
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    pip = str(environment / "bin/pip")
    run_clean(pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    pins = folder / "pins.txt"  # the versions of the lock file; a wheel alone has no hashes
    pins.write_text(
        "\n".join(
            line.removesuffix(" \\")
            for line in (ROOT / "requirements.txt").read_text().splitlines()
            if line and not line.startswith((" ", "#"))
        )
    )
    run_clean(pip, "install", "--quiet", "--constraint", str(pins), str(wheel))
    return environment / "bin" / "zynq-sd-builder"


def run(program: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *words], cwd=folder, capture_output=True, text=True, check=False
    )


def test_it_knows_its_version_and_boards(program: Path, tmp_path: Path) -> None:
    (version,) = re.findall(
        r"^version = \"(.*)\"$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert version in run(program, tmp_path, "--version").stdout
    boards = json.loads(run(program, tmp_path, "boards", "--progress", "json").stdout)
    assert BOARD in json.dumps(boards)


def test_its_images_are_the_checkouts(program: Path, tmp_path: Path) -> None:
    """Everything that the checkout built is cached for the package: the keys are the same."""
    done = build_py("--board", BOARD, "--progress", "plain")
    assert done.returncode == 0, done.stdout[-4000:]
    planned = run(
        program, tmp_path, "plan", "--board", BOARD, "--engine", "host", "--progress", "json"
    )
    assert planned.returncode == 0, planned.stderr
    steps = json.loads(planned.stdout)
    steps = steps["steps"] if isinstance(steps, dict) else steps
    assert [step["step"] for step in steps if not step["kept"]] == []


def test_outputs_go_below_the_current_directory(program: Path, tmp_path: Path) -> None:
    done = run(program, tmp_path, "--board", BOARD, "--engine", "host", "--progress", "plain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "output" / BOARD / f"{BOARD}.img").is_file()
    assert sys.prefix not in done.stdout
