# SPDX-License-Identifier: MIT
"""Boot time of the built image under QEMU, until ssh and Jupyter answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from bench.board import BOARD, qemu_of_tests
from bench.measure import Row, say, seconds
from builder.boot_test.board import EmulatedBoard
from builder.boot_test.card import has_emulated_tree
from builder.boot_test.jupyter import wait_for_jupyter
from builder.boot_test.run import emulated_board
from builder.cli.context import ROOT
from builder.errors import UserError
from builder.publish.output import Output
from builder.sandbox.process import Processes
from builder.spec.reader import SpecTree
from builder.spec.resolve import ImageSpec, resolve

_SSH = 22
_TIMEOUT = 600.0


@contextmanager
def booted(
    place: Path, spec: ImageSpec, output: Output, ports: Sequence[int]
) -> Iterator[tuple[EmulatedBoard, dict[str, float]]]:
    """Boot an image; yield the board and the times of the boot stages in seconds.

    Raises:
        UserError: There is no image.
    """
    if not output.image.exists():
        raise UserError(f"there is no {output.image}", hint=f"build.py --board {spec.name}")
    qemu = qemu_of_tests()
    say(f"booting {spec.name}, {qemu}")
    with emulated_board(
        spec,
        output,
        prebuilt=not has_emulated_tree(output.image),
        forward=ports,
        qemu=qemu,
        work=place,
        processes=Processes(),
        console=Console(stderr=True),
    ) as board:
        stages = board.wait_for_ssh(_SSH, _TIMEOUT, lambda _: None)
        yield board, {stage.name: stage.seconds for stage in stages}


def own_image() -> tuple[ImageSpec, Output]:
    """Return the specification of the measured board and its directory in output/."""
    return resolve(SpecTree(root=ROOT), BOARD), Output(
        directory=ROOT / "output" / BOARD, board=BOARD
    )


def reached(place: Path, spec: ImageSpec, output: Output) -> dict[str, float]:
    """Boot an image; return the times of the stages in seconds, with Jupyter if it is installed."""
    jupyter = spec.parameters().get("jupyter")
    ports = [int(str(jupyter["port"]))] if jupyter else []
    with booted(place, spec, output, [_SSH, *ports]) as (board, stages):
        for port in ports:
            stages["Jupyter"] = wait_for_jupyter(
                board.ports[port], started=board.started, timeout=_TIMEOUT
            ).seconds
    return stages


def run(place: Path, peers: bool) -> list[Row]:  # noqa: ARG001, FBT001 - the sections' one signature
    """Boot the image in output/."""
    stages = reached(place, *own_image())
    return [
        seconds(f"boot to {name}", stages[name], "boot to systemd", stages["systemd"])
        for name in ("ssh", "Jupyter")
    ]
