# SPDX-License-Identifier: MIT
"""The command `clean`: removes the results of builds."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.markup import escape

from builder.cli.build_environment import ContainerRequest, ensure_build_environment
from builder.cli.confirmation import ask
from builder.cli.context import CUSTOMIZED, TOOLS_LOG, Context
from builder.cli.options import Verbs
from builder.errors import UserError
from builder.publish.output import is_result
from builder.report.console import columns, size
from builder.store.files import remove_tree, tree_size


def clean(arguments: argparse.Namespace, context: Context) -> int:
    """Remove results and, with `--store-too`, the store's entries, after a confirmation."""
    ensure_build_environment(context, ContainerRequest(stdin=True))
    results, others = _found(context.output)
    listing = [(os.path.relpath(path), size(_size(path))) for path in results]
    if arguments.store_too:
        listing.append(
            (f"all entries of the store {context.store}", size(tree_size(context.store)))
        )
    if others:
        names = ", ".join(path.name for path in others)
        context.console.print(f"not made by a build, not removed: {escape(names)}")
    if not listing:
        context.console.print(f"nothing to remove in {escape(os.path.relpath(context.output))}")
        return 0
    context.console.print("[bold yellow]to be removed:[/]")
    for line in columns(listing):
        context.console.print(f"  {escape(line)}")
    ask("remove it?", yes=arguments.yes, refused="nothing was removed")
    if arguments.store_too and not context.open_store().empty():
        raise UserError(
            "the store is in use by a build; nothing was removed", hint="wait for the build"
        )
    _remove(results, context.output)
    return 0


def _found(output: Path) -> tuple[list[Path], list[Path]]:
    """Return the results of builds in an output directory, and all other files in it."""
    results: list[Path] = []
    others: list[Path] = []
    for path in sorted(output.iterdir()) if output.is_dir() else ():
        if path.name == CUSTOMIZED and path.is_dir() and not path.is_symlink():
            for inner in sorted(path.iterdir()):
                (results if is_result(inner) else others).append(inner)
        else:
            ours = is_result(path) or (path.name == TOOLS_LOG and not path.is_symlink())
            (results if ours else others).append(path)
    return results, others


def _size(path: Path) -> int:
    return tree_size(path) if path.is_dir() else path.stat().st_size


def _remove(results: Sequence[Path], output: Path) -> None:
    """Remove results, and directories that are empty afterwards."""
    for path in results:
        remove_tree(path)
    for folder in (output / CUSTOMIZED, output):
        with suppress(OSError):  # not empty, or a mount point of the container
            folder.rmdir()


def register(verbs: Verbs) -> None:
    """Register the command."""
    verb = verbs.add(
        "clean",
        clean,
        "remove results of builds from the output directory",
        group="caches",
        examples=["clean", "clean --store-too --yes"],
    )
    verb.add_argument("--store-too", action="store_true", help="also empty the store")
    verb.add_argument("--yes", action="store_true", help="do not ask for confirmation")
