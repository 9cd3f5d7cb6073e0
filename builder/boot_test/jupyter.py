# SPDX-License-Identifier: MIT
"""Last stage of a boot: the board's Jupyter server answers."""

from __future__ import annotations

import time

import requests

from builder.boot_test.board import BootError, Stage

_REQUEST_SECONDS = 10
_POLL_SECONDS = 0.5


def wait_for_jupyter(port: int, *, started: float, timeout: float) -> Stage:
    """Wait until the Jupyter server behind a local port answers at /api, which needs no password.

    Args:
        port: the local port.
        started: start time of the board, by `time.monotonic`.
        timeout: seconds after `started`.

    Raises:
        BootError: it does not answer in time.
    """
    while time.monotonic() - started < timeout:
        try:
            if requests.get(f"http://127.0.0.1:{port}/api", timeout=_REQUEST_SECONDS).ok:
                return Stage(name="Jupyter", seconds=time.monotonic() - started)
        except requests.RequestException:
            pass
        time.sleep(_POLL_SECONDS)
    raise BootError(f"Jupyter does not answer within {timeout:.0f} s")
