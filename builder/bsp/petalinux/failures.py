# SPDX-License-Identifier: MIT
"""Explanations of failed PetaLinux commands: the relevant line, and a remedy.

bitbake prints thousands of lines, and the last ones never contain the cause. failures.yaml has the
known failures. The log of a failed task is read, too: depending on its settings, bitbake prints all
of it, its end, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, TypeAdapter

from builder.errors import BuildError, CommandError, HostError, UserError
from builder.spec.models import Model
from builder.spec.yaml_text import load

_FILE = Path(__file__).with_name("failures.yaml")

_LAST_LINES = 15
_MOST = 5
_BEFORE, _AFTER = 2, 4
_LONGEST = 500

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()]\w")
# Warnings are followed by success (such as a download from another mirror) or by an error that is
# as clear. Only the warning of the disk monitor contains more than the error that follows.
_NOISE = re.compile(
    r"^(?:(?:NOTE|INFO|DEBUG):|WARNING:(?! The free )|\[(?:NOTE|INFO|DEBUG|WARNING)\]).*\n",
    re.MULTILINE,
)
_TASK = re.compile(
    r"^ERROR: Task (?:\d+ )?\((?P<path>.+?)(?::|, )(?P<task>do_\w+)\) failed with exit code",
    re.MULTILINE,
)
_LOG = re.compile(r"^ERROR: Logfile of failure stored in: (?P<path>\S+)", re.MULTILINE)
# Lines that bitbake and PetaLinux print around every failure.
_FRAME = re.compile(
    r"^ERROR: (?:Task .*failed with exit|Logfile of failure|Failed to build .*Check the)"
    r"|^Log data follows:|^\[ERROR\] Command bitbake |^Summary: |^  \S+:do_\w+$"
    r"|^(?:Loading cache|Parsing recipes|Initialising tasks|Checking sstate.*|Sstate summary): "
)
_ERROR = re.compile(r"^(?:\[?ERROR|FATAL ERROR|\w*(?:Error|Exception))\b.*", re.MULTILINE)
_SAYS_LITTLE = re.compile(
    r"Execution of .* failed|oe_runmake failed|Function failed|Error executing a python function"
    r"|Logfile of failure|Task .*failed with exit|Failed to |Command \S+ .*failed"
)


def _compiled(pattern: object) -> object:
    return re.compile(pattern, re.MULTILINE) if isinstance(pattern, str) else pattern


class Failure(Model):
    """A known failure; failures.yaml describes the keys."""

    name: str
    kind: Literal["user", "host", "step"]
    what: str
    says: tuple[Annotated[re.Pattern[str], BeforeValidator(_compiled)], ...]
    hint: str

    def find(self, text: str) -> tuple[re.Match[str], dict[str, str]] | None:
        """Return the first match in a text, and the values of the groups of all matches."""
        for pattern in self.says:
            if found := list(pattern.finditer(text)):
                return found[0], {name: _listed(found, name) for name in pattern.groupindex}
        return None


@lru_cache(maxsize=1)
def known_failures() -> tuple[Failure, ...]:
    """Return the entries of failures.yaml."""
    entries = load(_FILE.read_text(encoding="utf-8"))
    return TypeAdapter(tuple[Failure, ...]).validate_python(entries)


@dataclass(frozen=True)
class FailedTask:
    """A failed task of bitbake: the end of its output in the text, and its log if named."""

    recipe: str
    task: str
    end: int
    log: str | None

    def __str__(self) -> str:
        return f"{self.recipe} {self.task}"


def explain(
    error: CommandError,
    output: str,
    read_log: Callable[[str], str | None] = lambda _: None,
    keep_log: Callable[[str, str], str | None] = lambda path, _: path,
) -> BuildError:
    """Return the error to show for a failed command of PetaLinux or its installer.

    It is a UserError or a HostError for known failures of these kinds, and otherwise a CommandError
    with the command line.

    Args:
        error: the command's error.
        output: the command's whole output.
        read_log: returns the text of a task's log by its path in the container; None if it does not
            exist.
        keep_log: saves a task's log, by its path in the container, under a name; returns its path
            for the user, None if it does not exist.
    """
    output = _relevant(output)
    tasks = failed_tasks(output)
    logs = [(task, read_log(task.log)) for task in tasks if task.log]
    kept = {task: keep_log(task.log, f"{task.recipe}.{task.task}") for task in tasks if task.log}
    read = [(task, _relevant(text)) for task, text in logs if text]
    for failure in known_failures():
        for of, text in [*read, (None, output)]:
            if found := failure.find(text):
                match, values = found
                task = of or _task_at(tasks, match.start())
                return _made(
                    failure.kind,
                    error,
                    message=_message(error, task, failure.what.format_map(values)),
                    details=[*_around(text, match), *_whereabouts(task, tasks, kept)],
                    hint=failure.hint.format_map(values),
                )
    task = tasks[0] if tasks else None
    log = next((text for of, text in read if of == task), "")
    return _made(
        "step",
        error,
        message=_message(error, task),
        details=[
            *(_end(_part(output, task), log) or error.details),
            *_whereabouts(task, tasks, kept),
        ],
    )


def failed_tasks(output: str) -> list[FailedTask]:
    """Return the tasks that bitbake reports as failed, in the order of the output."""
    logs = [found["path"] for found in _LOG.finditer(output)]
    tasks: dict[tuple[str, str], FailedTask] = {}
    for found in _TASK.finditer(output):
        # virtual:native:/layers/.../m4_1.4.19.bb is the recipe m4-native
        recipe = Path(found["path"]).name.removesuffix(".bb").partition("_")[0]
        if ":native:" in found["path"] and not recipe.endswith("-native"):
            recipe = f"{recipe}-native"
        task = found["task"]
        # The work directory of a variant has the variant's name: nativesdk-m4, lib32-m4.
        place = re.compile(rf"[/-]{re.escape(recipe)}/.*/log\.{task}\.")
        log = next((path for path in logs if place.search(path)), None)
        tasks.setdefault((recipe, task), FailedTask(recipe, task, found.start(), log))
    return list(tasks.values())


def _relevant(text: str) -> str:
    """Return a text without colours, progress bars, marks of quoted logs, notes, and warnings."""
    plain = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _NOISE.sub("", re.sub(r"^\| ?", "", f"{plain}\n", flags=re.MULTILINE))


def _task_at(tasks: Sequence[FailedTask], position: int) -> FailedTask | None:
    """Return the task of a position in the output: bitbake names the task after its log."""
    return next((task for task in tasks if task.end >= position), tasks[0] if tasks else None)


def _listed(found: Iterable[re.Match[str]], group: str) -> str:
    """Return the distinct values of a group, separated by commas; lists are split into items."""
    values = list(dict.fromkeys(match[group] for match in found))
    lines = (line for value in values[:_MOST] for line in value.splitlines())
    items = (re.sub(r"^\s*- ", "", line).strip() for line in lines)
    more = ["..."] if len(values) > _MOST else []
    return ", ".join([*dict.fromkeys(item for item in items if item), *more])


def _message(error: CommandError, task: FailedTask | None, what: str = "") -> str:
    first = f"{task} failed" if task else error.message
    return f"{first}: {what}" if what else first


def _around(text: str, match: re.Match[str]) -> list[str]:
    """Return the lines of a match, followed by the lines before it and after it."""
    start = text.rfind("\n", 0, match.start()) + 1
    stop = text.find("\n", match.end())
    before = _lines(text[:start][-10_000:])[-_BEFORE:]
    behind = _lines(text[stop:][:10_000])[:_AFTER]
    return list(dict.fromkeys([*_lines(text[start:stop]), *before, *behind]))


def _part(output: str, task: FailedTask | None) -> str:
    """Return a task's part of the output, from its first error on."""
    if task is None:
        return output
    name = rf"^ERROR: \S*{re.escape(task.recipe)}\S* {task.task}: "
    first = re.search(name, output[: task.end], re.MULTILINE)
    return output[first.start() if first else 0 : task.end]


def _end(output: str, log: str) -> list[str]:
    """Return the first line that may be the cause of an unknown failure, and the last lines."""
    errors = [found[0] for text in (output, log) for found in _ERROR.finditer(text)]
    telling = [line for line in errors if not _SAYS_LITTLE.search(line)] or errors
    return list(
        dict.fromkeys([*_lines("\n".join(telling[:1])), *_lines(log or output)[-_LAST_LINES:]])
    )


def _lines(text: str) -> list[str]:
    """Return the relevant lines, shortened: bitbake prints whole environments in one line."""
    lines = (line.rstrip() for line in text.splitlines() if not _FRAME.search(line))
    half = _LONGEST // 2
    return [
        line if len(line) <= _LONGEST else f"{line[:half]} ... {line[-half:]}"
        for line in lines
        if line
    ]


def _whereabouts(
    task: FailedTask | None, tasks: Sequence[FailedTask], logs: Mapping[FailedTask, str | None]
) -> list[str]:
    others = ", ".join(str(other) for other in tasks if other != task)
    lines = [f"also failed: {others}"] if others else []
    log = logs.get(task) if task else None
    return [*lines, f"log of {task}: {log}"] if log else lines


def _made(
    kind: Literal["user", "host", "step"],
    error: CommandError,
    *,
    message: str,
    details: Sequence[str],
    hint: str | None = None,
) -> BuildError:
    if kind == "user":
        return UserError(message, hint=hint, details=details)
    if kind == "host":
        return HostError(message, hint=hint, details=details)
    return CommandError(
        message, replay=error.replay, status=error.status, hint=hint, details=details
    )
