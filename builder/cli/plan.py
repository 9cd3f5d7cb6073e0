# SPDX-License-Identifier: MIT
"""The command `plan`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rich.markup import escape

from builder.cli.build import add_only
from builder.cli.build_options import BuildOptions
from builder.cli.context import Context, print_json
from builder.cli.options import Verbs
from builder.cli.planning import plan_images, resolve_in_build_environment
from builder.plan.plan import Planned, lines


def plan(arguments: argparse.Namespace, context: Context) -> int:
    """Print the steps of the boards' images, with the reason of each step that is to be built."""
    options = BuildOptions.from_arguments(arguments)
    specs = resolve_in_build_environment(options, context)
    store = context.open_store()
    with store.in_use():
        steps = plan_images(options, specs, store, context.console_note).plan
    rows = [*zip(steps, lines(steps), strict=True)]
    if context.progress == "json":
        print_json([_to_json(item, text) for item, (_, text) in rows])
        return 0
    width = max(len(item.label) for item in steps)
    for item, (label, text) in rows:
        style = "dim" if item.cached else "bold"
        context.console.print(f"[{style}]{escape(label.ljust(width))}[/]  {escape(text)}")
    context.console.print(_count(steps))
    return 0


def _to_json(item: Planned, text: str) -> dict[str, object]:
    return {"step": item.label, "boards": [*item.boards], "kept": item.cached, "what": text}


def _count(plan: Sequence[Planned]) -> str:
    """Return how many steps of a plan are to be built, as text."""
    todo = [item for item in plan if not item.cached]
    if not todo:
        return "all cached"
    certain = sum(item.certain for item in todo)
    count = f"{certain} of {len(plan)} to build"
    return count if certain == len(todo) else f"{count}, and up to {len(todo) - certain} more"


def register(verbs: Verbs) -> None:
    """Register the command."""
    verb = verbs.add(
        "plan",
        plan,
        "list the steps, which of them are cached, and why others must be built",
        group="build",
        spec=True,
        examples=["plan --board Pynq-Z2", "plan --all --progress json"],
    )
    add_only(verb)
