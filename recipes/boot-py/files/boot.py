# SPDX-License-Identifier: MIT
"""Run by the board's Python at each boot, as root; `journalctl -u boot-py` has what it prints.

For the first lights on a PYNQ-Z2, put these lines below:

    from pynq.overlays.base import BaseOverlay

    for led in BaseOverlay("base.bit").leds:
        led.on()
"""
