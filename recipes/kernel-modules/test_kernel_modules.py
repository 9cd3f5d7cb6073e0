# SPDX-License-Identifier: MIT
"""Loading of kernel modules."""

from typing import Any

import pytest
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]


def test_modules_fit_the_kernel(host: Host) -> None:
    """A module of the running kernel loads, and can be taken out again."""
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
    """The modules that were set are loaded, or part of the kernel."""
    for name in parameters["kernel-modules"]["load"]:
        assert host.file(f"/sys/module/{name.replace('-', '_')}").is_directory
