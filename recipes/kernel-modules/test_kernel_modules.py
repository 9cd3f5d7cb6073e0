# SPDX-License-Identifier: MIT
"""Loading of kernel modules, and the out-of-tree modules."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]
Complaints = Callable[[], str]

SOURCES = Path(__file__).parents[2] / "petalinux_bsp/meta-user/recipes-modules"
COMPILERS = {"armhf": "arm-linux-gnueabihf-gcc", "arm64": "aarch64-linux-gnu-gcc"}


@pytest.fixture(scope="module")
def added(host: Host) -> list[str]:
    """The out-of-tree modules that were built from this repository's sources."""
    found = host.check_output(
        "find /lib/modules/$(uname -r)/updates -name '*.ko*' 2>/dev/null || true"
    )
    names = [re.sub(r"\.ko.*", "", path.rpartition("/")[2]) for path in found.split()]
    if not names:
        pytest.skip("the kernel came with its modules: none were added")
    return sorted(names)


def test_modules_fit_the_kernel(host: Host) -> None:
    """A module of the running kernel can be loaded and unloaded."""
    known = host.check_output("cd /lib/modules/$(uname -r) && cut -d: -f1 modules.dep").split()
    names = {path.rpartition("/")[2].partition(".")[0].replace("-", "_") for path in known}
    loaded = set(host.check_output("cut -d' ' -f1 /proc/modules").split())
    harmless = [name for name in ("dummy", "tun", "veth", "usbserial", "loop") if name in names]
    free = [name for name in harmless if name not in loaded]
    if not free:
        pytest.skip("this kernel has none of the modules that can be loaded without hardware")
    host.check_output(f"modprobe {free[0]}")
    assert free[0] in host.check_output("cut -d' ' -f1 /proc/modules").split()
    host.check_output(f"modprobe --remove {free[0]}")


def test_modules_at_boot(host: Host, parameters: Parameters) -> None:
    """The configured modules are loaded, or built into the kernel."""
    for name in parameters["kernel-modules"]["load"]:
        assert host.file(f"/sys/module/{name.replace('-', '_')}").is_directory


@pytest.mark.only("outside", "the sources are no part of the image")
def test_added_modules_are_those_of_this_tree(host: Host, board: Any, added: list[str]) -> None:
    """Every module with sources in this repository is installed; a board may have more.

    Exceptions are modules that the kernel's configuration excludes and, with PetaLinux, modules that
    AMD's kernel already contains: PetaLinux has no recipe for them.
    """
    wanted = set()
    for path in SOURCES.iterdir():
        makefile = (path / "files/Makefile").read_text()
        condition = re.search(r"^obj-\$\((CONFIG_\w+)", makefile, re.MULTILINE)
        for_kernel = (
            not condition or host.run(f"zcat /proc/config.gz | grep {condition[1]}=y").succeeded
        )
        if for_kernel and (board.provider == "mainline" or any(path.glob("*.bb"))):
            wanted.add(path.name)
    assert {*added} >= wanted


def test_added_modules_are_described_and_fit_the_kernel(host: Host, added: list[str]) -> None:
    """The modules are built for exactly this kernel, with description, author and licence."""
    release = host.check_output("uname -r")
    kernels = "find /lib/modules/$(uname -r)/kernel -name '*.ko*' | head -1"
    own = host.check_output(f"modinfo -F vermagic $({kernels})")
    for name in added:
        lines = host.check_output(f"modinfo {name}").splitlines()
        fields = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
        assert fields["vermagic"].split()[0] == release
        assert fields["vermagic"] == own.strip()
        assert fields["filename"].startswith(f"/lib/modules/{release}/updates/")
        assert fields["name"] == name.replace("-", "_")
        assert fields["license"] == "GPL"
        assert fields["description"]
        assert fields["author"]


def test_added_modules_come_and_go(host: Host, added: list[str], complaints: Complaints) -> None:
    """The modules were loaded at boot, and can be unloaded and loaded again without warnings.

    AMD's kernel already contains the drivers of some of these modules, which are then not loaded.
    """
    listed = host.check_output("cat /usr/lib/modules-load.d/*.conf").split()
    loaded = [name for name in added if name in listed]
    assert "pynq-buffer" in loaded
    before = complaints()
    for _ in range(3):
        for name in loaded:
            assert host.file(f"/sys/module/{name.replace('-', '_')}").is_directory
        host.check_output(f"modprobe --remove {' '.join(loaded)}")
        for name in loaded:
            assert not host.file(f"/sys/module/{name.replace('-', '_')}").exists
        host.check_output(f"modprobe --all {' '.join(loaded)}")
    host.check_output("udevadm settle")
    assert complaints() == before


@pytest.fixture
def stress(board: Any, added: list[str], send: Callable[[bytes, str], None], tmp_path: Path) -> str:
    """Path on the board of the program that allocates many buffers, compiled for the board."""
    if "pynq-buffer" not in added:
        pytest.skip("there is no buffer device")
    program = tmp_path / "pynq-buffer-test"
    subprocess.run(
        [
            *(COMPILERS[board.architecture], "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s"),
            *("-pthread", "-o", program, SOURCES / "pynq-buffer/files/pynq-buffer-test.c"),
        ],
        check=True,
    )
    send(program.read_bytes(), "/run/pynq-buffer-test")
    return "/run/pynq-buffer-test"


@pytest.mark.long("thousands of buffers take half a minute")
@pytest.mark.only("outside", "its program is compiled where the checks come from")
def test_buffers_under_stress(host: Host, stress: str, complaints: Complaints) -> None:
    """Eight processes allocate 1,000 buffers twice, half of them are killed: no leaks or warnings."""
    before = complaints()
    done = host.run(stress)
    assert done.rc == 0, done.stdout
    assert re.search(r"^\d+ checks, 0 failed$", done.stdout, re.MULTILINE), done.stdout
    rounds = re.findall(
        r"^(\d+) buffers by 8 processes, (\d+) of them killed$", done.stdout, re.MULTILINE
    )
    assert len(rounds) == 2
    for buffers, killed in rounds:
        assert int(buffers) >= 1000
        assert int(killed) == 4
    assert re.search(r"^\d+ operations by 8 threads, ", done.stdout, re.MULTILINE), done.stdout
    assert complaints() == before
