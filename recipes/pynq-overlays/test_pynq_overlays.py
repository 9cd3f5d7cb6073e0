# SPDX-License-Identifier: MIT
"""The base design, loaded and used by a notebook."""

import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]

MANAGER = "/sys/class/fpga_manager/fpga0"
DEVCFG_CTRL = 0xF8007000

CELLS = {
    "load": """
import errno, json, warnings
warnings.simplefilter("ignore")
import pynq
error = None
try:
    base = pynq.Overlay("base.bit")
except OSError as problem:
    error = errno.errorcode[problem.errno]
    base = pynq.Overlay("base.bit", download=False)
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
print(json.dumps(found))
""",
    "clock": """
print(json.dumps(hex(pynq.MMIO(0xF8000000, 0x1000).read(0x170))))
""",
}

RUN = """
import json, sys
import nbclient, nbformat
cells = [nbformat.v4.new_code_cell(cell) for cell in json.loads(sys.argv[1])]
notebook = nbformat.v4.new_notebook(cells=cells)
nbclient.NotebookClient(notebook, timeout=900, startup_timeout=300, kernel_name="python3").execute()
texts = ["".join(each.get("text", "") for each in cell.outputs) for cell in notebook.cells]
print(json.dumps(texts))
"""

COMPLAINTS = "dmesg --level=emerg,alert,crit,err,warn"
CONTIGUOUS = "sync; echo 3 > /proc/sys/vm/drop_caches; awk '/CmaFree/ {print $2}' /proc/meminfo"


@pytest.fixture(scope="module")
def notebook(host: Host, parameters: Parameters) -> dict[str, Any]:
    """What the cells of a notebook printed, what the kernel complained of, and lost memory in KiB."""
    before, free = host.check_output(COMPLAINTS), int(host.check_output(CONTIGUOUS))
    user = parameters["users"]["user"]
    cells = json.dumps([*CELLS.values()])
    printed = host.check_output("runuser -u %s -- python3 -W ignore -c %s %s", user, RUN, cells)
    texts = json.loads(printed.splitlines()[-1])
    found = {name: json.loads(text) for name, text in zip(CELLS, texts, strict=True)}
    found["complaints"] = host.check_output(COMPLAINTS).removeprefix(before).strip().splitlines()
    found["lost"] = free - int(host.check_output(CONTIGUOUS))
    return found


def test_the_base_design_is_loaded(
    host: Host, board: Any, notebook: dict[str, Any], read_word: Callable[[int], int]
) -> None:
    """Overlay("base.bit") loads the design, and the manager says that it operates."""
    error, loaded, file = notebook["load"]
    assert file.endswith("/pynq/overlays/base/base.bit")
    if board.emulated and read_word(DEVCFG_CTRL) == 0:
        # QEMU before 10.2: its model writes 0 to UNLOCK (0xF8007034) when it is reset, which shuts
        # the whole of it off. The driver waits for bit 4 of STATUS (0xF8007014), PCFG_INIT.
        assert error == "ETIMEDOUT"
        assert host.check_output(f"cat {MANAGER}/state") == "write init error"
        waited, failed = [line for line in notebook["complaints"] if " fpga0: " in line]
        assert waited.endswith("Timeout waiting for PCFG_INIT")
        assert failed.endswith("Error preparing FPGA for writing")
        pytest.skip("this QEMU's configuration engine is shut off (0xF8007034)")
    assert (error, loaded) == (None, True)
    assert host.check_output(f"cat {MANAGER}/state") == "operating"
    assert notebook["complaints"] == []


def test_its_blocks_are_those_of_the_hardware_export(host: Host, notebook: dict[str, Any]) -> None:
    """ip_dict has all blocks with registers that the design's .hwh names, at their addresses."""
    file = notebook["load"][2].removesuffix(".bit") + ".hwh"
    export = ET.fromstring(host.file(file).content)  # noqa: S314 - out of our own image
    system = next(
        each for each in export.iter("MODULE") if each.get("MODTYPE") == "processing_system7"
    )
    wanted = {
        int(each.get("BASEVALUE", ""), 0)
        for each in system.iter("MEMRANGE")
        if each.get("MEMTYPE") == "REGISTER"
    }
    found = notebook["blocks"]
    assert {address for address in found.values() if address is not None} == wanted
    assert {"leds_gpio", "switches_gpio", "btns_gpio", "video/axi_vdma"} <= found.keys()


def test_its_buffers_are_physical_memory(notebook: dict[str, Any]) -> None:
    """What NumPy writes into allocate()'s arrays stands at their physical addresses, and back."""
    for same, written, offset in notebook["buffers"]:
        assert same
        assert written == "PYNQ"
        assert offset == 0
    assert notebook["lost"] < 1024, "contiguous memory is not given back"


def test_registers_are_read(notebook: dict[str, Any]) -> None:
    """MMIO reads a clock's register of the processing system, which is never zero."""
    assert int(notebook["clock"], 16) != 0


def test_notebooks_are_the_users(host: Host, parameters: Parameters) -> None:
    """The notebooks of the designs lie in the user's directory, and are the user's."""
    user = parameters["users"]["user"]
    folder = f"/home/{user}/{parameters['jupyter']['notebooks']}"
    for name in ("base", "logictools", "getting_started", "common"):
        assert host.file(f"{folder}/{name}").user == user
    assert int(host.check_output(f"find {folder}/base -name '*.ipynb' -user {user} | wc -l")) > 20
