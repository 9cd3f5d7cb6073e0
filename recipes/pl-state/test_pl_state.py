# SPDX-License-Identifier: MIT
"""PYNQ's stored state of the loaded PL design."""

from collections.abc import Callable

from testinfra.host import Host

PLACE = "/usr/local/lib/python3*/dist-packages/pynq/pl_server"
WRITE = """
from pynq.pl_server import global_state
state = global_state.GlobalState(bitfile_name="b", active_name="a", timestamp="t")
global_state.save_global_state(state, "check")
"""


def test_the_state_goes_at_boot(host: Host, run_python: Callable[..., str]) -> None:
    """PYNQ's state of a PL design lasts until the next boot."""
    # A design may be loaded at the moment.
    host.check_output(f"mkdir /run/kept && cp -a {PLACE}/global_pl_state_*.json /run/kept || true")
    try:
        run_python(WRITE, modules=["pynq"])
        host.check_output("systemd-tmpfiles --remove pl-state.conf")
        assert "state_check.json" in host.check_output(f"ls {PLACE}")
        host.check_output("systemd-tmpfiles --remove --boot pl-state.conf")
        assert "global_pl_state" not in host.check_output(f"ls {PLACE}")
    finally:
        host.check_output(f"cp -a /run/kept/. {PLACE} && rm -r /run/kept")
