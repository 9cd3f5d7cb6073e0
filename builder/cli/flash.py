# SPDX-License-Identifier: MIT
"""The command `flash`: writes an image to a card."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import shtab
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from builder.cli.confirmation import ask
from builder.cli.context import Context, become_root, typed
from builder.cli.options import BOARDS, Verbs, completed
from builder.errors import HostError, UserError
from builder.flash.devices import Device, candidates, check_room, devices, target
from builder.flash.image import CardImage, Progress, card_image
from builder.flash.writing import flash as write
from builder.report.console import columns, duration, size
from builder.sandbox.process import Processes


def flash(arguments: argparse.Namespace, context: Context) -> int:
    """Write an image to a card; without a device, list the removable devices."""
    image, device_name = _selected(arguments.words, arguments.board, context)
    if device_name is None:
        _list(context)
        if image is None:
            return 0
        raise UserError(
            f"no device named to write {os.path.relpath(image.path)} to",
            hint=typed("flash", os.path.relpath(image.path), "/dev/YOUR-CARD"),
        )
    assert image
    device = target(device_name, devices(), fixed=arguments.fixed_disk)
    if not shutil.which("bmaptool"):
        raise HostError("bmaptool is not installed", hint="apt-get install bmap-tools")
    become_root(context)
    started = time.monotonic()
    progress = _ProgressView(context)
    with progress:
        checked = image.check(progress)
        length = image.size(progress)
    check_room(device, length)
    if not checked:
        context.console.print(f"no checksum file for {escape(image.path.name)}: not verified")
    if image.block_map is None:
        context.console.print("no block map (.bmap): writing the whole image")
    _confirm(device, context.console, yes=arguments.yes)
    # The card may have been mounted or removed during the confirmation.
    device = target(device_name, devices(), fixed=arguments.fixed_disk)
    with progress:
        write(image, Path(device.path), length, progress=progress, processes=Processes())
    context.console.print(
        f"[bold green]written and verified[/] in {duration(time.monotonic() - started)}: "
        f"{escape(os.path.relpath(image.path))} is on {escape(device.described)}"
    )
    return 0


def _selected(
    given: Sequence[str], board: str | None, context: Context
) -> tuple[CardImage | None, Path | None]:
    """Return the image and the device that the command line names."""
    words = [Path(word) for word in given]
    if board:
        path = context.output / board / f"{board}.img"
        if not path.exists():
            raise UserError(
                f"there is no image of {board} in {os.path.relpath(context.output)}",
                hint=typed("--board", board),
            )
        words.insert(0, path)
    if len(words) > 2:
        raise UserError(
            f"flash takes one image and one device, but {len(words)} names are given",
            hint="with --board, name only the device",
        )
    image = card_image(words[0]) if words else None
    return image, words[1] if len(words) > 1 else None


def _list(context: Context) -> None:
    found = candidates(devices())
    if not found:
        context.console.print("no removable device with a card found")
        return
    rows = [("device", "size", "model", "content", "mounted")]
    for device in found:
        mounted = ", ".join(point for item in device.all() for point in item.mounts)
        rows.append((device.path, size(device.size), device.model, device.content, mounted))
    for line in columns(rows):
        context.console.print(escape(line))


def _confirm(device: Device, console: Console, *, yes: bool) -> None:
    """Ask for confirmation to overwrite a device.

    Raises:
        UserError: standard input is no terminal.
        Interrupted: the answer was not `yes`.
    """
    console.print(f"[bold yellow]all data on {escape(device.described)} will be lost[/]")
    console.print(f"  content: {escape(device.content)}")
    ask("write to it?", yes=yes, refused=f"nothing was written to {device.path}")


class _ProgressView:
    """Progress view: bars on a terminal, else lines or JSON objects.

    A context manager that can be entered several times.
    """

    def __init__(self, context: Context) -> None:
        self._console = context.console
        self._json = context.progress == "json"
        self._terminal = context.progress in ("auto", "live") and self._console.is_terminal
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._printed: dict[str, int] = {}

    def __enter__(self) -> Progress:
        if self._terminal:
            self._tasks = {}
            self._bars = Bars(
                TextColumn("  {task.description:<10}"),
                *(BarColumn(), DownloadColumn(), TimeRemainingColumn()),
                console=self._console,
            )
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()
            self._bars = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._bars:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total)
            self._bars.update(self._tasks[stage], completed=done)
            return
        percent = 100 * done // total if total else 100
        tenth = percent // (1 if self._json else 10)
        if self._printed.get(stage) == tenth:
            return
        self._printed[stage] = tenth
        if self._json:
            event = {"event": "FlashProgress", "stage": stage, "done": done, "total": total}
            sys.stdout.write(json.dumps({**event, "time": round(time.time(), 2)}) + "\n")
            sys.stdout.flush()
        else:
            self._console.print(f"  {stage:<10} {percent:3} %")


def register(verbs: Verbs) -> None:
    """Register the command."""
    verb = verbs.add(
        "flash",
        flash,
        "write an image to a card, or list the cards",
        group="cards",
        examples=[
            "flash output/Pynq-Z2/Pynq-Z2.img /dev/sdX",
            "flash --board Pynq-Z2 /dev/sdX",
        ],
    )
    words = verb.add_argument(
        "words", nargs="*", metavar="IMAGE DEVICE",
        help="the image (.img or compressed: .img.xz, .img.zst, ...) and the device, not a partition; "
        "without a device, the removable devices are listed",
    )  # fmt: skip
    completed(words, shtab.FILE)
    board = verb.add_argument(
        "--board", metavar="NAME", help="write the image that was built for this board"
    )
    completed(board, BOARDS)
    verb.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    verb.add_argument(
        "--fixed-disk", action="store_true", help="allow a disk that is not removable"
    )
