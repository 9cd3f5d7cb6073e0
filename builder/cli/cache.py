# SPDX-License-Identifier: MIT
"""The command `cache`."""

from __future__ import annotations

import argparse

from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from builder.cli.build_environment import ensure_build_environment
from builder.cli.context import Context, print_json
from builder.cli.options import Verbs
from builder.errors import StepError
from builder.report.console import duration, size
from builder.store.store import Store


def cache(arguments: argparse.Namespace, context: Context) -> int:
    """List the store's entries, the least recently used first, or verify them."""
    ensure_build_environment(context)
    store = context.open_store()
    if arguments.verify:
        with store.in_use():
            return _verify(store, context)
    entries = store.entries()
    if context.progress == "json":
        keys = ("key", "step", "size", "seconds")
        print_json([{key: getattr(entry, key) for key in keys} for entry in entries])
        return 0
    for entry in entries:
        context.console.print(
            f"{entry.key}  {size(entry.size):>9}  {duration(entry.seconds):>12}  {escape(entry.step)}"
        )
    total = size(sum(entry.size for entry in entries))
    context.console.print(f"{len(entries)} entries, {total}, in {escape(str(context.store))}")
    return 0


def _verify(store: Store, context: Context) -> int:
    """Compare all files of the store's entries with their hash trees; remove damaged entries."""
    known = {entry.key: entry for entry in store.entries()}
    keys = store.keys()
    damaged = 0
    with Progress(
        *(
            "verified",
            BarColumn(),
            DownloadColumn(binary_units=True),
            TextColumn("{task.fields[step]}"),
        ),
        console=context.console,
        transient=True,
        disable=not context.console.is_terminal,
    ) as progress:
        task = progress.add_task("", total=sum(entry.size for entry in known.values()), step="")
        for key in keys:
            entry = known.get(key)
            step = entry.step if entry else "unknown step"
            progress.update(task, step=escape(step))
            damage = store.damage(key, fully=True)
            if damage:
                damaged += 1
                what = "removed" if store.drop(key) else "in use by a build, which rebuilds it"
                context.console.print(f"{key}  {escape(step)}: {escape(damage)}; {what}")
            progress.advance(task, entry.size if entry else 0)
    context.console.print(f"{len(keys)} entries verified, {damaged} damaged")
    return StepError.exit_code if damaged else 0


def register(verbs: Verbs) -> None:
    """Register the command."""
    verb = verbs.add(
        "cache",
        cache,
        "list or verify the entries of the store",
        group="caches",
        examples=["cache", "cache --verify"],
    )
    verb.add_argument(
        "--verify", action="store_true",
        help="read all entries and remove damaged ones; exit code 3 if there are any",
    )  # fmt: skip
