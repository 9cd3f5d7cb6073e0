# SPDX-License-Identifier: MIT
"""By-products: a sysroot with which stock compilers and CMake make programs for the image."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from builder.publish.output import Output
from tests.fixtures.product import BOARD, ROOT, build_py

pytestmark = pytest.mark.usefixtures("built")

PROGRAM = """\
#include <stdio.h>
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/ndarraytypes.h>
#include <zlib.h>

int main(void)
{
    printf("%zu %d %zu %d\\n", sizeof(void *), PY_MAJOR_VERSION, sizeof(npy_complex128),
           zlibVersion()[0] == ZLIB_VERSION[0]);
    return 0;
}
"""
CMAKE = """\
cmake_minimum_required(VERSION 3.13)
project(try C)
find_package(ZLIB REQUIRED)
find_path(PYTHON Python.h PATH_SUFFIXES python3.11 REQUIRED)
find_path(NUMPY numpy/ndarraytypes.h PATHS /usr/lib/python3/dist-packages/numpy/core/include REQUIRED)
add_executable(try try.c)
target_include_directories(try PRIVATE ${PYTHON} ${NUMPY})
target_link_libraries(try ZLIB::ZLIB)
enable_testing()
add_test(NAME runs COMMAND try)
"""


@pytest.fixture(scope="module")
def sysroot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    done = build_py("--board", BOARD, "--only", "sysroot", "--progress", "plain")
    assert done.returncode == 0, done.stdout[-4000:]
    output = Output(directory=ROOT / "output" / BOARD, board=BOARD)
    archive = output.directory / f"{BOARD}-sysroot.tar.zst"
    subprocess.run(["sha256sum", "-c", f"{archive.name}.sha256"], cwd=archive.parent, check=True)
    folder = tmp_path_factory.mktemp("sysroot")
    subprocess.run(["tar", "-C", folder, "-xf", archive], check=True)
    return folder


def test_nothing_in_a_sysroot_leads_out_of_it(sysroot: Path) -> None:
    links = [path for path in sysroot.rglob("*") if path.is_symlink()]
    assert links
    assert not [path for path in links if path.readlink().is_absolute()]
    assert {path.lstat().st_uid for path in sysroot.rglob("*")} == {0}


def test_a_program_for_the_image_is_compiled_and_runs(sysroot: Path, tmp_path: Path) -> None:
    """By hand, with the machine's cross compiler, NumPy's headers and a library of the image."""
    source, program = tmp_path / "try.c", tmp_path / "try"
    source.write_text(PROGRAM)
    root = sysroot / "sysroot"
    compiler = "arm-linux-gnueabihf-gcc"
    numpy = root / "usr/lib/python3/dist-packages/numpy/core/include"
    subprocess.run(
        [
            *(compiler, f"--sysroot={root}", "-I", root / "usr/include/python3.11", "-I", numpy),
            *("-o", program, source, "-lz"),
        ],
        check=True,
    )
    done = subprocess.run(
        ["qemu-arm-static", "-L", root, program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["4", "3", "16", "1"]


def test_cmake_finds_what_is_in_the_sysroot(sysroot: Path, tmp_path: Path) -> None:
    if not shutil.which("cmake"):
        pytest.skip("needs cmake")
    (tmp_path / "try.c").write_text(PROGRAM)
    (tmp_path / "CMakeLists.txt").write_text(CMAKE)
    build = tmp_path / "build"
    toolchain = sysroot / "toolchain.cmake"
    for words in (
        ["cmake", "-S", str(tmp_path), "-B", str(build), f"-DCMAKE_TOOLCHAIN_FILE={toolchain}"],
        ["cmake", "--build", str(build)],
        ["ctest", "--test-dir", str(build), "--output-on-failure"],
    ):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
