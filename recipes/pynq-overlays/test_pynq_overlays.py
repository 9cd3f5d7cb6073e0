# SPDX-License-Identifier: MIT
"""PL designs: import of all designs; loading and use of the base design, if there is one."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]
Complaints = Callable[[], str]
ReadWord = Callable[[int], int]
RunPython = Callable[..., str]

OVERLAYS = "/usr/local/lib/python3.*/dist-packages/pynq/overlays"
VENV = "/usr/local/share/pynq-venv"
MANAGER = "/sys/class/fpga_manager/fpga0"
BOOT_OVERLAY = "/etc/pynq/boot-overlay"
DEVCFG_INT_STS = 0xF800700C
PCFG_DONE = 1 << 2

# Each prints one line of JSON.
CELLS = {
    "load": """
import errno, json, warnings
warnings.simplefilter("ignore")
import pynq
error = None
try:
    base = pynq.Overlay("base")
except OSError as problem:
    error = errno.errorcode[problem.errno]
    base = pynq.Overlay("base", download=False)
print(json.dumps([error, base.is_loaded(), base.bitfile_name]))
""",
    "blocks": """
print(json.dumps({name: block.get("phys_addr") for name, block in base.ip_dict.items()}))
""",
    "buffers": """
import gc, mmap, os
memory = os.open("/dev/mem", os.O_RDWR | os.O_SYNC)
found = []
for cacheable in (0, 1):
    array = pynq.allocate((1000, 1000), dtype="u4", cacheable=cacheable)
    array[:] = range(1000)
    array[7] = 0x12345678
    array.flush()
    physical = mmap.mmap(memory, array.nbytes, offset=array.physical_address)
    same = physical[:] == array.tobytes()
    physical[:4] = b"PYNQ"
    array.invalidate()
    found.append([same, array[0, 0].tobytes().decode(), array.physical_address % 4096])
    physical.close()
    array.freebuffer()
    del array
gc.collect()
os.close(memory)
print(json.dumps(found))
""",
}

REGISTERS = """
print(pynq.MMIO(%d, 0x1000).read(0xFC))
"""


@pytest.fixture(scope="module")
def designs(host: Host) -> list[str]:
    """The paths of the PL designs, without the suffix of their bitstream."""
    found = host.check_output(f"ls -d {OVERLAYS}/*/*.bit {OVERLAYS}/*/*.pdi 2> /dev/null; true")
    return [path.rpartition(".")[0] for path in found.split()]


@pytest.fixture(scope="module")
def base(host: Host, designs: list[str]) -> str:
    """The path of the base design without a suffix; checks are skipped if it cannot be used."""
    found = [path for path in designs if path.endswith("/base/base")]
    if not found:
        pytest.skip("the board has no design base")
    if not host.file(f"{MANAGER}/firmware").exists:
        pytest.skip("this board has no FPGA manager, without which the library finds no board")
    return found[0]


@pytest.fixture(scope="module")
def loaded(run_python: RunPython) -> Callable[[], str]:
    """Return the bitstream file of the loaded design, as reported by the library."""
    return lambda: run_python("print(__import__('pynq').PL.bitfile_name)", modules=["pynq"])


NOTEBOOK = pytest.param(
    "notebook",
    marks=[
        pytest.mark.only("outside", "it is run over the network, as by a browser"),
        pytest.mark.long("it starts a kernel, which imports the library"),
    ],
)


@pytest.fixture(scope="module", params=["program", NOTEBOOK])
def ran(
    request: pytest.FixtureRequest,
    base: str,
    complaints: Complaints,
    known_register: tuple[int, int],
    free_contiguous: Callable[[], int],
) -> dict[str, Any]:
    """The output of the cells, the kernel's warnings, and leaked memory in KiB."""
    assert base
    run = request.getfixturevalue(f"run_{request.param}")
    before, free = complaints(), free_contiguous()
    cells = {**CELLS, "registers": REGISTERS % known_register[0]}
    printed = run("checks of the base design", [*cells.values()])
    found = {name: json.loads(text) for name, text in zip(cells, printed, strict=True)}
    found["complaints"] = complaints().removeprefix(before).strip().splitlines()
    found["lost"] = free - free_contiguous()
    return found


def test_designs_are_whole(host: Host, designs: list[str], run_python: RunPython) -> None:
    """Each PL design has its .hwh file beside the bitstream, and its module can be imported."""
    modules = []
    for path in designs:
        assert host.file(f"{path}.hwh").exists
        if host.file(f"{path.rpartition('/')[0]}/__init__.py").exists:
            modules.append(f"pynq.overlays.{path.split('/')[-2]}")
    if modules:
        run_python(f"import {', '.join(modules)}", modules=["pynq"])


def test_boot_overlay(host: Host, loaded: Callable[[], str], *, can_load: bool) -> None:
    """The PL design for the boot is loaded; without one, the service does not run."""
    service = host.service("pynq-boot-overlay")
    assert service.is_enabled
    name = host.file(BOOT_OVERLAY).content_string.strip()
    if not name:
        assert not service.is_running
        assert host.check_output("systemctl show -P ExecMainStatus pynq-boot-overlay") == "0"
        return
    if not can_load:
        pytest.skip("this emulated board's programmable logic takes no design")
    assert service.is_running
    assert loaded().endswith(f"/{name}/{name}.bit")


def test_the_base_design_is_loaded(
    host: Host, ran: dict[str, Any], read_word: ReadWord, *, can_load: bool
) -> None:
    """Overlay("base") loads the design, and the FPGA manager is in the state operating."""
    error, loaded, file = ran["load"]
    assert file.endswith("/pynq/overlays/base/base.bit")
    if not can_load:
        assert error == "ETIMEDOUT"
        assert host.check_output(f"cat {MANAGER}/state") == "write init error"
        waited, failed = [line for line in ran["complaints"] if " fpga0: " in line]
        assert waited.endswith("Timeout waiting for PCFG_INIT")
        assert failed.endswith("Error preparing FPGA for writing")
        pytest.skip("this QEMU, before 11.0, has its configuration engine shut off (0xF8007034)")
    assert (error, loaded) == (None, True)
    assert host.check_output(f"cat {MANAGER}/state") == "operating"
    assert read_word(DEVCFG_INT_STS) & PCFG_DONE
    assert ran["complaints"] == []


def test_the_kernel_was_given_the_whole_bitstream(
    host: Host, ran: dict[str, Any], *, can_load: bool
) -> None:
    """The kernel's firmware file is the .bit without its header, in the engine's byte order."""
    if not can_load:
        pytest.skip("this QEMU's configuration engine is shut off")
    bits = host.file(ran["load"][2]).content
    start = bits.index(b"\xff" * 32)
    given = host.file("/lib/firmware/base.bin").content
    assert len(given) == len(bits) - start > 4_000_000
    words = memoryview(given).cast("I").tolist()
    assert 0xAA995566 in words[:64]  # the sync word (UG470) in the engine's byte order


def test_its_blocks_are_those_of_the_hardware_export(host: Host, ran: dict[str, Any]) -> None:
    """ip_dict has all blocks with registers in the design's .hwh file, at their addresses."""
    file = ran["load"][2].removesuffix(".bit") + ".hwh"
    export = ET.fromstring(host.file(file).content)  # noqa: S314 - from our own image
    modules = {each.get("INSTANCE"): each for each in export.iter("MODULE")}
    system = next(each for each in modules.values() if each.get("MODTYPE") == "processing_system7")
    wanted = {
        modules[each.get("INSTANCE")].get("FULLNAME", "").strip("/"): int(
            each.get("BASEVALUE", ""), 0
        )
        for each in system.iter("MEMRANGE")
        if each.get("MEMTYPE") == "REGISTER"
    }
    assert {"leds_gpio", "switches_gpio", "btns_gpio", "video/axi_vdma"} <= wanted.keys()
    blocks = {name: address for name, address in ran["blocks"].items() if address is not None}
    assert blocks == wanted


def test_its_buffers_are_physical_memory(ran: dict[str, Any]) -> None:
    """Arrays of allocate() and their physical addresses have the same content."""
    assert ran["buffers"] == [[True, "PYNQ", 0]] * 2
    assert ran["lost"] < 2048, "contiguous memory is not given back"


def test_registers_of_the_processing_system(
    known_register: tuple[int, int], ran: dict[str, Any]
) -> None:
    """MMIO on the library's own device reads the Ethernet controller's ID."""
    assert ran["registers"] == known_register[1]


def test_notebooks_are_the_users(host: Host, parameters: Parameters, designs: list[str]) -> None:
    """The notebooks of the PL designs are in the user's directory and belong to the user."""
    user = parameters["users"]["user"]
    folder = f"/home/{user}/{parameters['jupyter']['notebooks']}"
    # The library writes this file as root beside a notebook that loads a design.
    assert not host.check_output(f"find {folder} ! -user {user} ! -name loaded.xclbin")
    for name in (
        "common",
        *(["base"] if any(path.endswith("/base/base") for path in designs) else []),
    ):
        assert int(host.check_output(f"find {folder}/{name} -name '*.ipynb' | wc -l")) > 4


@pytest.fixture
def boot_with(host: Host, base: str) -> Iterator[Callable[[str], None]]:
    """Start the service as at boot, with the name of a design to load."""
    assert base
    kept = host.file(BOOT_OVERLAY).content_string.strip()

    def start(name: str) -> None:
        host.check_output("systemctl stop pynq-boot-overlay")
        host.check_output(f"echo %s > {BOOT_OVERLAY} && systemctl start pynq-boot-overlay", name)

    yield start
    start(kept)


@pytest.mark.long("the library and a design take long to load")
def test_a_design_is_loaded_at_the_start(
    host: Host,
    boot_with: Callable[[str], None],
    until: Callable[..., str],
    loaded: Callable[[], str],
    *,
    can_load: bool,
) -> None:
    """The service loads the configured design; the FPGA manager is in the state operating."""
    if not can_load:
        pytest.skip("this QEMU's configuration engine is shut off")
    boot_with("base")
    assert host.service("pynq-boot-overlay").is_running
    # Make sure that this start of the service loaded it, not another check.
    invocation = host.check_output("systemctl show -P InvocationID pynq-boot-overlay")
    said = until(
        "journalctl --output=cat _SYSTEMD_INVOCATION_ID=%s | grep '^loaded '",
        invocation,
        seconds=10,
    )
    assert said.endswith("/pynq/overlays/base/base.bit")
    assert loaded() == said.removeprefix("loaded ")
    assert host.check_output(f"cat {MANAGER}/state") == "operating"


USE_TREE = """
import json, pathlib, pynq, pynq.uio
design = pynq.Overlay("/run/checked-design/checked.bit")
device = pynq.uio.get_uio_device("checked-logic")
there = bool(device) and pathlib.Path(device).is_char_device()
design.free()
print(json.dumps([design.dtbo, there, pynq.uio.get_uio_device("checked-logic")]))
"""


@pytest.mark.long("a design takes long to load")
@pytest.mark.only("outside", "what compiles device trees is no part of the image")
def test_a_designs_own_device_tree(
    host: Host,
    base: str,
    send_block: Callable[[str, str], None],
    run_python: RunPython,
    complaints: Complaints,
    *,
    can_load: bool,
) -> None:
    """A design's device-tree overlay is applied when it is loaded, and removed when it is freed."""
    if not can_load:
        pytest.skip("this QEMU's configuration engine is shut off")
    host.check_output("mkdir /run/checked-design")
    try:
        for suffix in ("bit", "hwh"):
            host.check_output(f"cp {base}.{suffix} /run/checked-design/checked.{suffix}")
        send_block("checked-logic", "/run/checked-design/checked.dtbo")
        before = complaints()
        printed = run_python(USE_TREE, modules=["pynq"])
        tree, there, after = json.loads(printed.splitlines()[-1])
        assert tree == "/run/checked-design/checked.dtbo"
        assert there
        assert after is None
        assert not host.file("/sys/kernel/config/device-tree/overlays/checked").exists
        assert complaints() == before
    finally:
        host.check_output("rm -r /run/checked-design")


# A package as published by design vendors: the design, a driver for one of its blocks, and entry
# points through which PYNQ finds both. Its bitstream is that of the base design.
MAKE_WHEEL = """
import pathlib, sys, zipfile
import pynq.overlays
base = pathlib.Path(pynq.overlays.__path__[0], "base")
info = "checked_overlay-1.0.dist-info"
files = {
    "checked_overlay/__init__.py": b"",
    "checked_overlay/driver.py": b'''
import pynq

class TraceControl(pynq.DefaultIP):
    bindto = ["xilinx.com:hls:trace_cntrl_64:1.4"]
''',
    "checked_overlay/checked.bit": (base / "base.bit").read_bytes(),
    "checked_overlay/checked.hwh": (base / "base.hwh").read_bytes(),
    f"{info}/METADATA": b"Metadata-Version: 2.1\\nName: checked-overlay\\nVersion: 1.0\\n",
    f"{info}/WHEEL": b"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    f"{info}/entry_points.txt": b'''
[pynq.overlays]
checked = checked_overlay
[pynq.lib]
checked = checked_overlay.driver
''',
}
record = "".join(f"{name},,\\n" for name in [*files, f"{info}/RECORD"])
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    for name, content in {**files, f"{info}/RECORD": record.encode()}.items():
        wheel.writestr(name, content)
"""
USE_PACKAGE = """
import json, pynq
checked = pynq.Overlay("checked.bit", download=%s)
block = checked.trace_analyzer_pi.trace_cntrl_64_0
print(json.dumps([checked.bitfile_name, checked.is_loaded(), type(block).__module__]))
"""


class Package(NamedTuple):
    """A Python package with a PL design."""

    python: str
    """The Python interpreter for which it is installed."""
    place: str
    """Its directory."""


@pytest.fixture(params=["system", "environment"])
def package(
    request: pytest.FixtureRequest,
    host: Host,
    base: str,
    parameters: Parameters,
    run_python: RunPython,
) -> Iterator[Package]:
    """A package with a PL design, installed with pip by root for all users, or by the user."""
    assert base
    wheel = "/tmp/checked_overlay-1.0-py3-none-any.whl"
    python, pip = "python3", "pip3 --quiet"
    if request.param == "environment":
        python, pip = f"{VENV}/bin/python3", f"{VENV}/bin/pip --quiet"
        pip = f"runuser -u {parameters['users']['user']} -- {pip}"
    run_python(MAKE_WHEEL, wheel, modules=["pynq"])
    host.check_output(f"{pip} install --no-index --root-user-action=ignore {wheel}")
    code = "import checked_overlay; print(checked_overlay.__path__[0])"
    place = host.check_output(f"{python} -c '{code}'")
    yield Package(python, place)
    # Uninstalling with pip would take half a minute more.
    host.check_output(f"rm -r {wheel} {place} {place}-1.0.dist-info")


@pytest.mark.long("pip and the library take long to start")
def test_a_design_out_of_a_package(host: Host, package: Package, *, can_load: bool) -> None:
    """A PL design that pip installed is found by name and loaded, with its driver."""
    # As in a notebook's kernel, which runs as root.
    printed = host.check_output(f"{package.python} -W ignore -c %s", USE_PACKAGE % can_load)
    file, loaded, driver = json.loads(printed.splitlines()[-1])
    assert file == f"{package.place}/checked.bit"
    assert package.place.startswith(VENV) == package.python.startswith(VENV)
    assert driver == "checked_overlay.driver"
    assert loaded == can_load
    if can_load:
        assert host.check_output(f"cat {MANAGER}/state") == "operating"
        assert host.file("/lib/firmware/checked.bin").size > 4_000_000
