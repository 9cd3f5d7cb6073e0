# SPDX-License-Identifier: MIT
"""The driver library of the RF data converters, which an emulated board does not have."""

from testinfra.host import Host

LOAD = "import ctypes; print(bool(ctypes.CDLL('librfdc.so').XRFdc_CfgInitialize))"


def test_library(host: Host) -> None:
    """Python can load the library and its dependencies."""
    assert host.check_output("python3 -c %s", LOAD) == "True"
