# SPDX-License-Identifier: MIT
"""What the kernel's messages of a run are looked through for."""

from __future__ import annotations

import pytest

from builder.machine.checks import kernel_traces


@pytest.mark.parametrize(
    "line",
    [
        "[   12.3] WARNING: CPU: 0 PID: 99 at kernel/dma/mapping.c:499 dma_alloc_attrs+0x8c/0x12c",
        "[   12.3] BUG: sleeping function called from invalid context at mm/slab.h:494",
        "[   12.3] kernel BUG at drivers/cpufreq/cpufreq.c:1499!",
        "[   12.3] Internal error: Oops: 5 [#1] SMP ARM",
        "[   12.3] refcount_t: underflow; use-after-free.",
        "[   12.3] list_del corruption. prev->next should be c1234567",
        "[   12.3] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
        "[   12.3] Unable to handle kernel NULL pointer dereference at virtual address 00000000",
        "[   12.3] Call trace:",
    ],
)
def test_traces_are_seen(line: str) -> None:
    assert kernel_traces(f"[    0.0] Linux version 6.1\n{line}\n[   12.4] usb: ready") == [line]


@pytest.mark.parametrize(
    "line",
    [
        "[    1.2] fpga_manager fpga0: Error while calling request_firmware(none.bin): -2",
        "[    1.2] OF: overlay: WARNING: memory leak will occur if overlay removed, property: /x/y",
        "[    1.2] fpga_manager fpga0: writing base.bin to Xilinx Zynq FPGA Manager",
        "[    1.2] systemd[1]: Listening on Debug socket",
    ],
)
def test_other_messages_are_not(line: str) -> None:
    assert kernel_traces(line) == []
