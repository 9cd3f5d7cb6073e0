# SPDX-License-Identifier: MIT
"""The command `shell`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from rich.markup import escape

from builder.cli.build_environment import ContainerRequest
from builder.cli.build_options import BuildOptions
from builder.cli.context import Context
from builder.cli.errors import error_console, report
from builder.cli.options import Verbs
from builder.cli.planning import board_names, plan_images, resolve_in_build_environment
from builder.errors import UserError
from builder.plan.merge import merge_plans
from builder.plan.plan import make_plan
from builder.publish.output import Output
from builder.sandbox.process import Processes
from builder.scheduler.build_context import BuildContext
from builder.scheduler.scheduler import Scheduler
from builder.spec.reader import closest
from builder.steps.step import Job, Step
from builder.store.store import Entry, Store


def shell(arguments: argparse.Namespace, context: Context) -> int:
    """Open a shell in the environment of a step."""
    options = BuildOptions.from_arguments(arguments)
    names = board_names(options, context)
    if len(names) > 1:
        raise UserError(f"shell is for one board, not for {len(names)}: {', '.join(names)}")
    specs = resolve_in_build_environment(
        options, context, ContainerRequest(capable=True, stdin=True)
    )
    (name,) = names
    store = context.open_store()
    with store.in_use():
        planned = plan_images(options, specs, store, context.console_note)
        by_name = {item.step.name: item for item in planned.plan}
        if arguments.step not in by_name:
            raise UserError(f"there is no step {arguments.step}{closest(arguments.step, by_name)}")
        step = by_name[arguments.step].step
        parents = make_plan(step.parents.values(), store) if step.parents else []
        processes = Processes()
        compiler_cache = context.compiler_cache(store) if options.ccache else None
        output = context.output_of(name)
        with context.view() as view:
            outcome = Scheduler(
                merge_plans({name: parents}),
                store=store,
                logs={name: output.logs},
                listener=view,
                processes=processes,
                jobs=options.jobs,
                compiler_cache=compiler_cache,
            ).attempt()
        if outcome.failures:
            same = options.to_argv(specs.values())
            return report(outcome.failures[0], error_console(), same=same)
        inputs = {each: outcome.entries[parent] for each, parent in step.parents.items()}
        with BuildContext(store, processes, compiler_cache=compiler_cache) as tools:
            _open(step, inputs, output, tools, store=store, context=context)
    return 0


def _open(
    step: Step,
    inputs: Mapping[str, Entry],
    output: Output,
    tools: BuildContext,
    *,
    store: Store,
    context: Context,
) -> None:
    """Open a shell where a step would run.

    Raises:
        UserError: the step has no environment.
    """
    with (
        store.scratch("shell-output") as scratch,
        (output.logs / "shell.log").open("w") as log,
    ):
        job = Job(
            inputs=inputs, output=scratch, log=log, store=store, tools=tools, on_line=log.write
        )
        opened = step.shell(job)
        if opened is None:
            raise UserError(f"step {step.name} has no environment in which a shell could run")
        with opened as prepared:
            context.console.print(escape(prepared.about))
            prepared.workspace.interactive(
                prepared.argv, cwd=prepared.cwd, environment=prepared.environment
            )


def register(verbs: Verbs) -> None:
    """Register the command."""
    verb = verbs.add(
        "shell",
        shell,
        "open a shell in the environment of a step of one board",
        group="build",
        spec=True,
        examples=["shell kernel --board Pynq-Z2", "shell recipe:jupyter --board Pynq-Z2"],
    )
    verb.add_argument("step", help="the step, as listed by `plan`")
