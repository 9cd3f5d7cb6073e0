# SPDX-License-Identifier: MIT
"""The PYNQ library on the board, in a notebook on its Jupyter server and in a program."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]
Run = Callable[[str, Sequence[str]], list[str]]
Complaints = Callable[[], str]

VERSION = {"zynq": "3.1.2", "zynqmp": "4.0.0"}
VENV = "/usr/local/share/pynq-venv"
MANAGER = "/sys/class/fpga_manager/fpga0"
REFERENCE = {
    "zynq": "/proc/device-tree/*/slcr@*/clkc@*/ps-clk-frequency",
    "zynqmp": "/proc/device-tree/pss[_-]ref[_-]clk/clock-frequency",
}
ARM_PLL_CTRL, ARM_CLK_CTRL = 0xF8000100, 0xF8000120

INSERT = """
import json, pathlib, warnings
warnings.simplefilter("ignore")
import pynq, pynq.uio
tree = pynq.DeviceTreeSegment("/run/checked-block.dtbo")
found = []
for _ in range(3):
    tree.insert()
    device = pynq.uio.get_uio_device("checked-block")
    found.append([tree.is_dtbo_applied(), bool(device) and pathlib.Path(device).is_char_device()])
    tree.remove()
    found.append([tree.is_dtbo_applied(), pynq.uio.get_uio_device("checked-block")])
print(json.dumps(found))
"""

# Without a PL design; on a board that cannot load designs, without any PYNQ device.
REGISTERS = """
import os, pynq.mmio
class Memory:
    capabilities = {"MEMORY_MAPPED": True}
    has_capability = capabilities.get
    def mmap(self, base, length):
        return pynq.pl_server.embedded_device.EmbeddedDevice.mmap(self, base, length)
print(int(pynq.MMIO(%d, 0x1000, device=Memory()).read(0xFC)))
"""

USER = """
print(json.dumps(os.geteuid()))
"""

INSTALLED = """
from importlib.metadata import distributions
print(*(each.metadata["Name"] for each in distributions()))
"""

OUTSIDE = pytest.mark.only("outside", "what compiles device trees is no part of the image")


NOTEBOOK = pytest.param(
    "notebook", marks=pytest.mark.long("it starts a kernel, which imports the library")
)


@pytest.fixture(scope="module", params=["program", NOTEBOOK])
def ran(
    request: pytest.FixtureRequest,
    send_block: Callable[[str, str], None],
    complaints: Complaints,
    known_register: tuple[int, int],
) -> dict[str, Any]:
    """The output of the cells, and the kernel's warnings meanwhile."""
    send_block("checked-block", "/run/checked-block.dtbo")
    run: Run = request.getfixturevalue(f"run_{request.param}")
    before = complaints()
    cells = {"tree": INSERT, "registers": REGISTERS % known_register[0], "user": USER}
    printed = run("checks of the library", [*cells.values()])
    found = {name: json.loads(text) for name, text in zip(cells, printed, strict=True)}
    found["complaints"] = complaints().removeprefix(before).strip()
    return found


# Importing the library takes most of a minute on an emulated board, so it is done once for all.
IMPORTED = """
import importlib.metadata, json, os, pwd, sys, pynq
found = {
    "prefix": sys.prefix,
    "file": pynq.__file__,
    "versions": [importlib.metadata.version("pynq"), pynq.__version__],
    "devices": [type(each).__name__ for each in pynq.Device.devices],
    "cpu": pynq.Clocks.cpu_mhz if pynq.Device.devices else None,
}
clocks = {"armv7l": pynq.ps._ClocksZynq, "aarch64": pynq.ps._ClocksUltrascale}[pynq.ps.CPU_ARCH]
found["reference"] = clocks.DEFAULT_SRC_CLK_MHZ
user = pwd.getpwnam(sys.argv[1])
os.initgroups(user.pw_name, user.pw_gid)
os.setgid(user.pw_gid)
os.setuid(user.pw_uid)
files = {getattr(module, "__file__", None) for module in sys.modules.values()} - {None}
found["unreadable"] = [file for file in files if not os.access(file, os.R_OK)]
print(json.dumps(found))
"""
FIND = "import sys; from importlib.util import find_spec as find; print(sys.prefix, find('pynq').origin)"


@pytest.fixture(scope="module")
def imported(run_python: Callable[..., str], parameters: Parameters) -> dict[str, Any]:
    """Facts about the library from a program run as root, and its files that the user cannot read."""
    user = parameters["users"]["user"]
    found: dict[str, Any] = json.loads(run_python(IMPORTED, user, modules=["pynq"]))
    return found


def test_version(imported: dict[str, Any], board: Any) -> None:
    """The library is installed with its metadata and all of its dependencies."""
    assert imported["versions"] == [VERSION[board.soc]] * 2


def test_everybody_has_it(host: Host, imported: dict[str, Any], parameters: Parameters) -> None:
    """The library is available to the user and root, in commands and in logins."""
    assert imported["prefix"] == "/usr"
    assert imported["unreadable"] == []
    as_user = f"runuser -u {parameters['users']['user']} -- "
    for caller, words, prefix in (
        ("", "-lc", VENV),
        (as_user, "-c", "/usr"),
        (as_user, "-lc", VENV),
    ):
        # The same file as root's, so it need not be imported again.
        found = host.check_output(f"{caller}bash %s %s", words, f'python3 -c "{FIND}"')
        assert found == f"{prefix} {imported['file']}"


@pytest.mark.long("the library takes long to import")
def test_the_user_imports_it(host: Host, parameters: Parameters) -> None:
    """The user can import the library in a login, without being root."""
    command = "python3 -W ignore -c 'import pynq; print(pynq.__version__)'"
    assert host.check_output("runuser -u %s -- bash -lc %s", parameters["users"]["user"], command)


def test_environment_of_notebooks(host: Host, parameters: Parameters) -> None:
    """Logins and kernels have the variable with the notebooks' directory that the library reads."""
    folder = f"/home/{parameters['users']['user']}/{parameters['jupyter']['notebooks']}"
    assert host.check_output("bash -lc 'echo $PYNQ_JUPYTER_NOTEBOOKS'") == folder


@pytest.mark.long("pip takes long to start")
def test_the_user_installs_into_the_environment(host: Host, parameters: Parameters) -> None:
    """The virtual environment belongs to the user, is pip's target, and has the image's packages."""
    user = parameters["users"]["user"]
    assert host.file(VENV).user == user
    assert host.file(f"{VENV}/bin/pip").user == user
    # A dry run without the network shows the target and the installed packages.
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    place = host.check_output("runuser -u %s -- %s -c %s", user, f"{VENV}/bin/python3", code)
    assert place.startswith(VENV)
    listed = host.check_output("runuser -u %s -- %s -c %s", user, f"{VENV}/bin/python3", INSTALLED)
    assert {"pynq", "numpy", "jupyterlab"} <= {*listed.split()}
    assert host.check_output("runuser -u %s -- %s --version", user, f"{VENV}/bin/pip")


@pytest.mark.parametrize("name", ["libiic.so", "libaudio.so"])
def test_its_compiled_libraries_load(host: Host, name: str) -> None:
    """The shared libraries of its drivers are installed and can be loaded."""
    code = "import ctypes, glob, sys; ctypes.CDLL(glob.glob(sys.argv[1])[0])"
    path = f"/usr/local/lib/python3.*/dist-packages/pynq/lib/{name}"
    host.check_output("python3 -c %s %s", code, path)


def test_devices(host: Host, imported: dict[str, Any]) -> None:
    """The library finds the board as a device only if the kernel can load PL designs."""
    manager = host.file(f"{MANAGER}/firmware").exists
    assert imported["devices"] == (["EmbeddedDevice"] if manager else [])


def test_clocks(
    host: Host, imported: dict[str, Any], board: Any, read_word: Callable[[int], int]
) -> None:
    """`Clocks` uses the board's reference clock from the device tree."""
    crystal = int(host.check_output(f"od -An -tu4 --endian=big {REFERENCE[board.soc]}"))
    assert imported["reference"] == crystal / 1e6
    if board.soc == "zynq" and imported["devices"]:
        # QEMU's registers have the values of the first stage, although its clocks ignore them.
        feedback, divider = (
            read_word(ARM_PLL_CTRL) >> 12 & 0x7F,
            read_word(ARM_CLK_CTRL) >> 8 & 0x3F,
        )
        assert imported["cpu"] == pytest.approx(crystal * feedback / divider / 1e6, abs=1e-5)


@OUTSIDE
def test_device_tree_overlay(host: Host, ran: dict[str, Any]) -> None:
    """The library applies a device-tree overlay with a UIO device and removes it, three times."""
    # The kernel says of each overlay that it cannot free what it adds to nodes of the board's tree:
    # this one adds none.
    assert ran["tree"] == [[True, True], [False, None]] * 3
    assert not host.file("/sys/kernel/config/device-tree/overlays/checked-block").exists
    assert ran["complaints"] == ""


@OUTSIDE
def test_registers(known_register: tuple[int, int], ran: dict[str, Any]) -> None:
    """The library reads registers of the processing system: the Ethernet controller's ID."""
    assert ran["registers"] == known_register[1]


@OUTSIDE
def test_notebooks_run_as_root(ran: dict[str, Any]) -> None:
    """A notebook's kernel runs as root, as the library requires; the server does not."""
    assert ran["user"] == 0


IN_A_KERNEL = """
import jupyter_client.manager

def show(message):
    if message["content"].get("name") == "stdout":
        print(message["content"]["text"], end="")

kernel, client = jupyter_client.manager.start_new_kernel(startup_timeout=600)
client.execute_interactive(
    "import os, sys; from importlib.util import find_spec;"
    "print(os.geteuid(), sys.prefix, os.environ['BOARD'], find_spec('pynq').origin)",
    timeout=600,
    output_hook=show,
)
client.stop_channels()
kernel.shutdown_kernel()
"""


@pytest.mark.long("it starts a kernel")
def test_notebooks_run_in_the_environment(
    host: Host, parameters: Parameters, board: Any, imported: dict[str, Any]
) -> None:
    """A notebook's kernel runs as root in the virtual environment, with BOARD and the library."""
    user = parameters["users"]["user"]
    found = host.check_output("runuser -u %s -- python3 -W ignore -c %s", user, IN_A_KERNEL)
    # The same file as root's, so it need not be imported again.
    assert found == f"0 {VENV} {board.hardware} {imported['file']}"
