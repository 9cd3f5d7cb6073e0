# SPDX-License-Identifier: MIT
"""The last stage of a boot: the board's Jupyter server answers."""

from __future__ import annotations

import time

import requests

from builder.boot_test.board import BootError, Stage

_REQUEST_SECONDS = 10
_POLL_SECONDS = 0.5


def wait_for_jupyter(port: int, *, started: float, timeout: float) -> Stage:
    """Wait until the server behind a port of this machine answers at /api, which takes no password.

    `started` is when the board was, by `time.monotonic`.

    Raises:
        BootError: it does not within `timeout` seconds after that.
    """
    while time.monotonic() - started < timeout:
        try:
            if requests.get(f"http://127.0.0.1:{port}/api", timeout=_REQUEST_SECONDS).ok:
                return Stage(name="Jupyter", seconds=time.monotonic() - started)
        except requests.RequestException:
            pass
        time.sleep(_POLL_SECONDS)
    raise BootError(f"Jupyter does not answer within {timeout:.0f} s")
