# SPDX-License-Identifier: MIT
"""Checks of BaseOverlay, the driver of the base design, in a program and in a notebook."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from testinfra.host import Host

RunPython = Callable[..., str]

pytestmark = pytest.mark.needs("pynq-overlays")

# Prints one line of JSON; the library's C code also prints lines.
USE = """
import json, time, warnings
facts = {}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from pynq.overlays.base import BaseOverlay
    start = time.monotonic()
    base = BaseOverlay("base.bit")
    facts["seconds"] = time.monotonic() - start
facts["warnings"] = [str(each.message) for each in caught if each.category is RuntimeWarning]
facts["loaded"] = base.is_loaded()

base.leds.write(0b0101, 0b1111)
for led in base.leds:
    led.toggle()
facts["widths"] = [len(each) for each in (base.leds, base.switches, base.buttons)]
facts["read"] = [base.switches.read(), base.buttons[0].read()]
for led in base.rgbleds[4:]:
    led.write(2)
    led.off()

base.select_rpi()
base.select_pmoda()
facts["processors"] = [base.iop_pmoda.mbtype, base.PMODA["mbtype"], base.PMODB["mbtype"]]
facts["trace"] = base.trace_pmoda.status

facts["audio"] = [base.audio.sample_rate, base.audio.iic_index, base.audio.uio_index]

start = time.monotonic()
try:
    video = base.video
    facts["video"] = [type(video.hdmi_in).__name__, type(video.hdmi_out).__name__]
except LookupError as error:
    facts["video"] = str(error)
facts["video_seconds"] = time.monotonic() - start
print("facts:" + json.dumps(facts))
"""

NOTEBOOK = pytest.param(
    "notebook",
    marks=[
        pytest.mark.only("outside", "it is run over the network, as by a browser"),
        pytest.mark.long("it starts a kernel, which imports the library"),
        pytest.mark.needs("jupyter"),
    ],
)


@pytest.fixture(scope="module", params=["program", NOTEBOOK])
def used(request: pytest.FixtureRequest, run_python: RunPython) -> dict[str, Any]:
    """Facts about a BaseOverlay and its members, printed by a program or a notebook."""
    if request.param == "program":
        printed = run_python(USE, modules=["pynq"])
    else:
        run: Callable[[str, Sequence[str]], list[str]] = request.getfixturevalue("run_notebook")
        (printed,) = run("checks of BaseOverlay", [USE])
    (line,) = [line for line in printed.splitlines() if line.startswith("facts:")]
    found: dict[str, Any] = json.loads(line.removeprefix("facts:"))
    return found


def test_base_overlay_loads_the_design(used: dict[str, Any]) -> None:
    """BaseOverlay("base.bit") loads the design, as every notebook of the board does first."""
    assert used["loaded"]


def test_base_overlay_has_leds_buttons_and_switches(used: dict[str, Any]) -> None:
    """LEDs, coloured LEDs, buttons and switches can be written and read."""
    assert used["widths"] == [4, 2, 4]
    switches, button = used["read"]
    assert 0 <= switches < 4
    assert button in {0, 1}


def test_base_overlay_has_its_connectors(used: dict[str, Any]) -> None:
    """The processors at the connectors have their types."""
    assert used["processors"] == ["Pmod", "Pmod", "Pmod"]
    assert used["trace"] == "RESET"


def test_base_overlay_has_audio(host: Host, used: dict[str, Any], board: Any) -> None:
    """The library looks for the codec on /dev/i2c-1; its controller is the tree's UIO device.

    An emulated board has no codec: the library warns within seconds.
    """
    names = host.check_output("cd /sys/class/uio && grep -l audio-codec-ctrl */name")
    assert used["audio"] == [48000, 1, int(names.removeprefix("uio").partition("/")[0])]
    codec = "The audio codec on /dev/i2c-1 has no clock, or does not answer: there is no sound"
    assert used["warnings"] == ([codec] if board.emulated else [])


def test_base_overlay_has_video(used: dict[str, Any], board: Any) -> None:
    """HDMI's input and output exist; on an emulated board, without pixel clock, they fail soon."""
    if board.emulated:
        assert used["video"] == "_video._display initialization failed [1]"
        assert used["video_seconds"] < 60
    else:
        assert used["video"] == ["VideoIn", "VideoOut"]


def test_i2c_buses_are_numbered_as_the_library_has_them(host: Host) -> None:
    """/dev/i2c-0 and /dev/i2c-1 are the I2C controllers 0 and 1 of the processing system."""
    for number, address in enumerate(("e0004000", "e0005000")):
        device = host.check_output(f"readlink -f /sys/bus/i2c/devices/i2c-{number}")
        assert device.endswith(f"/{address}.i2c/i2c-{number}")
