# SPDX-License-Identifier: MIT
"""The built image under QEMU, until ssh and Jupyter answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from bench.board import BOARD, qemu_of_tests
from bench.measure import Row, say, seconds
from builder.cli.context import ROOT
from builder.engine.process import Processes
from builder.errors import UserError
from builder.machine.checks import emulated_board
from builder.machine.jupyter import wait_for_jupyter
from builder.machine.qemu import EmulatedBoard
from builder.plan.publish import Output
from builder.spec.reader import Tree
from builder.spec.resolve import ImageSpec, resolve

_SSH = 22
_TIMEOUT = 600.0


@contextmanager
def booted(
    place: Path, ports: Sequence[int]
) -> Iterator[tuple[ImageSpec, EmulatedBoard, dict[str, float]]]:
    """Boot the image in output/; give it with the seconds at which it reached each stage.

    Raises:
        UserError: there is no image.
    """
    output = Output(directory=ROOT / "output" / BOARD, board=BOARD)
    if not output.image.exists():
        raise UserError(f"there is no {output.image}", hint=f"build.py --board {BOARD}")
    spec = resolve(Tree(root=ROOT), BOARD)
    qemu = qemu_of_tests()
    say(f"booting, {qemu}")
    with emulated_board(
        spec,
        output,
        device_tree=output.directory / "boot/emulated.dtb",
        forward=ports,
        prebuilt=False,
        qemu=qemu,
        work=place,
        processes=Processes(),
        console=Console(stderr=True),
    ) as board:
        stages = board.wait_for_ssh(_SSH, _TIMEOUT, lambda _: None)
        yield spec, board, {stage.name: stage.seconds for stage in stages}


def run(place: Path, peers: bool) -> list[Row]:  # noqa: ARG001, FBT001 - the sections' one signature
    """Boot the image in output/."""
    port = int(str(resolve(Tree(root=ROOT), BOARD).parameters()["jupyter"]["port"]))
    with booted(place, [_SSH, port]) as (_, board, reached):
        jupyter = wait_for_jupyter(
            board.ports[port], started=board.started, timeout=_TIMEOUT
        ).seconds
    return [
        seconds(f"boot to {name}", taken, "boot to systemd", reached["systemd"])
        for name, taken in (("ssh", reached["ssh"]), ("Jupyter", jupyter))
    ]
