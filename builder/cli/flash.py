# SPDX-License-Identifier: MIT
"""The command `flash`: an image onto a card."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
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
    """Write an image onto a card; without a device, list those that could be meant."""
    image, device_name = _meant(arguments, context)
    if device_name is None:
        _list(context)
        if image is None:
            return 0
        raise UserError(
            f"which device is {os.path.relpath(image.path)} to be written onto?",
            hint=typed("flash", os.path.relpath(image.path), "/dev/YOUR-CARD"),
        )
    assert image
    device = target(device_name, devices(), fixed=arguments.fixed_disk)
    if not shutil.which("bmaptool"):
        raise HostError("bmaptool is not installed", hint="apt-get install bmap-tools")
    become_root(context)
    started = time.monotonic()
    shown = _Shown(context)
    with shown:
        checked = image.check(shown)
        length = image.size(shown)
    check_room(device, length)
    if not checked:
        context.console.print(f"there is no checksum beside {escape(image.path.name)}: not checked")
    if image.block_map is None:
        context.console.print("there is no block map beside it: the whole image is written")
    _confirm(device, context.console, yes=arguments.yes)
    # It may have been mounted, or taken out, while the user made up his mind.
    device = target(device_name, devices(), fixed=arguments.fixed_disk)
    with shown:
        write(image, Path(device.path), length, progress=shown, processes=Processes())
    context.console.print(
        f"[bold green]written and verified[/] in {duration(time.monotonic() - started)}: "
        f"{escape(os.path.relpath(image.path))} is on {escape(device.described)}"
    )
    return 0


def _meant(arguments: argparse.Namespace, context: Context) -> tuple[CardImage | None, Path | None]:
    """Return the image and the device that the words of the command line mean."""
    words = [Path(word) for word in arguments.words]
    if arguments.board:
        path = context.output / arguments.board / f"{arguments.board}.img"
        if not path.exists():
            raise UserError(
                f"there is no image of {arguments.board} in {os.path.relpath(context.output)}",
                hint=typed("--board", arguments.board),
            )
        words.insert(0, path)
    if len(words) > 2:
        raise UserError(
            f"flash takes an image and a device, not {len(words)} words",
            hint="with --board, only the device is named",
        )
    image = card_image(words[0]) if words else None
    return image, words[1] if len(words) > 1 else None


def _list(context: Context) -> None:
    found = candidates(devices())
    if not found:
        context.console.print("there is no removable device with a card in it")
        return
    rows = [("device", "size", "model", "what is on it", "mounted")]
    for device in found:
        mounted = ", ".join(point for item in device.all() for point in item.mounts)
        rows.append((device.path, size(device.size), device.model, device.content, mounted))
    for line in columns(rows):
        context.console.print(escape(line))


def _confirm(device: Device, console: Console, *, yes: bool) -> None:
    """Ask on the terminal whether all that is on a device may go.

    Raises:
        UserError: there is nobody to ask.
        Interrupted: the answer was not yes.
    """
    console.print(f"[bold yellow]all that is on {escape(device.described)} will be lost[/]")
    console.print(f"  on it now: {escape(device.content)}")
    ask("write onto it?", yes=yes, refused=f"nothing was written onto {device.path}")


class _Shown:
    """Shows how far the work is: bars on a terminal, lines or JSON objects else.

    Use it as a context manager; it may be used again.
    """

    def __init__(self, context: Context) -> None:
        self._console = context.console
        self._json = context.progress == "json"
        self._terminal = context.progress in ("auto", "live") and self._console.is_terminal
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, int] = {}

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
        if self._told.get(stage) == tenth:
            return
        self._told[stage] = tenth
        if self._json:
            event = {"event": "FlashProgress", "stage": stage, "done": done, "total": total}
            sys.stdout.write(json.dumps({**event, "time": round(time.time(), 2)}) + "\n")
            sys.stdout.flush()
        else:
            self._console.print(f"  {stage:<10} {percent:3} %")


def declare(verbs: Verbs) -> None:
    """Declare the command."""
    verb = verbs.add("flash", flash, "write an image onto a card, or list the cards there are")
    words = verb.add_argument(
        "words", nargs="*", metavar="IMAGE DEVICE",
        help="the image (.img, or packed: .img.xz, .img.zst, ...) and the whole device; without a "
        "device, the removable ones are listed",
    )  # fmt: skip
    completed(words, shtab.FILE)
    board = verb.add_argument(
        "--board", metavar="NAME", help="the image that was built for this board"
    )
    completed(board, BOARDS)
    verb.add_argument("--yes", action="store_true", help="ask nothing: for scripts")
    verb.add_argument(
        "--fixed-disk", action="store_true", help="also onto a disk that is not removable"
    )
