# SPDX-License-Identifier: MIT
"""Clocks of the data converters.

The checks write no clocks: an emulated board has no SPI devices, and on a real one the clocks may be
in use.
"""

from testinfra.host import Host


def test_tables(host: Host) -> None:
    """All clock tables of the image can be read."""
    result = host.run("/usr/local/sbin/rfsoc-clocks list")
    assert (result.rc, result.stderr) == (0, "")
    assert result.stdout.startswith("LMK04208: SPI devices: ")


def test_what_is_missing_is_said(host: Host) -> None:
    """Without a table, the error names the missing file, and nothing is written."""
    result = host.run("/usr/local/sbin/rfsoc-clocks --tables /nowhere set --lmk 122.88")
    assert result.rc == 1
    assert "/nowhere/LMK04208_122.88.txt" in result.stderr


def test_notebooks_find_it(host: Host) -> None:
    """The module can be imported under PYNQ's name."""
    names = host.check_output("python3 -c 'import xrfclk; print(*xrfclk.__all__)'")
    assert names == "set_all_ref_clks set_ref_clks"


def test_service(host: Host) -> None:
    """The clocks are set at boot if there are tables, and nothing fails if there are none."""
    service = host.service("rfsoc-clocks")
    assert service.is_enabled
    result = host.check_output("systemctl show --property=Result --value rfsoc-clocks")
    assert result == "success"
