# SPDX-License-Identifier: MIT
"""Locations, settings and console that all commands share."""

from __future__ import annotations

import argparse
import json
import os
import pwd
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from builder.cli.settings import HANDED_ON, TERMINAL, hand_on, without
from builder.errors import UserError
from builder.publish.output import Output, make_result
from builder.report.console import LineView, make_view
from builder.report.events import Event
from builder.sandbox.compiler_cache import CompilerCache
from builder.sandbox.process import PASSED_ON, SEARCH_PATH
from builder.spec.reader import SpecTree
from builder.store.store import Store

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, or the tree in the installed package."""

_COMMAND = "zynq-sd-builder"
"""The command of the installed package; scripts/package.py is its entry point."""


def typed(*words: str) -> str:
    """Return a command line of this program that can be pasted in the current directory."""
    if (ROOT / "__init__.py").exists():
        return shlex.join([_COMMAND, *words])
    program = os.path.relpath(ROOT / "build.py")
    return shlex.join([program if "/" in program else f"./{program}", *words])


def print_json(value: object) -> None:
    """Print a value as JSON."""
    sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")


DEFAULT_STORE_SIZE = "60G"

DEFAULT_OUTPUT = "output"

CUSTOMIZED = "customized"
"""Subdirectory of the output directory with one directory per customized image."""

TOOLS_LOG = "tools-image.log"
"""Log file in the output directory of the build of the container image."""

_CACHE_SHARE = 20
"""The compiler cache takes at most 1/20 of the store's size; the objects of a kernel take 60 MB."""


def default_store() -> Path:
    """Return BUILDER_STORE, else the store in the cache directory of the user (not sudo's root)."""
    if "BUILDER_STORE" in os.environ:
        return Path(os.environ["BUILDER_STORE"])
    sudo = os.environ.get("SUDO_UID")
    home = pwd.getpwuid(int(sudo)).pw_dir if sudo else os.path.expanduser("~")  # noqa: PTH111 - a user need not have one
    return Path(os.environ.get("XDG_CACHE_HOME", f"{home}/.cache")) / "zynq-sd-builder"


class _Output(Console):
    """Console that raises an error when its pipe is closed; rich's own exits with 1."""

    def on_broken_pipe(self) -> None:
        """Raise the error that is being handled.

        Raises:
            BrokenPipeError: always.
        """
        raise  # noqa: PLE0704 - rich calls this where it handles the error


@dataclass(frozen=True, kw_only=True)
class Context:
    """Locations and settings of one run of the command line.

    store_size: in bytes.
    argv: the command line without `--set` options, which may contain secrets.
    settings: values of the `--set` options.
    """

    boards_dirs: Sequence[Path]
    store: Path
    store_size: int
    output: Path
    progress: str
    engine: str
    argv: tuple[str, ...]
    settings: tuple[str, ...] = ()

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace, argv: Sequence[str]) -> Context:
        """Return the context of a parsed command line.

        Raises:
            UserError: a directory of boards does not exist.
        """
        for name in arguments.boards_dir:
            if not Path(name).is_dir():
                raise UserError(f"--boards-dir {name}: no such directory")
        return cls(
            boards_dirs=[Path(path).resolve() for path in arguments.boards_dir],
            store=Path(arguments.store or default_store()).resolve(),
            store_size=arguments.store_size,
            output=Path(arguments.output).resolve(),
            progress=arguments.progress,
            engine=arguments.engine,
            argv=tuple(without(argv)),
            settings=tuple(getattr(arguments, "settings", ())),
        )

    @property
    def tree(self) -> SpecTree:
        """The YAML files of boards, recipes, profiles and distributions."""
        return SpecTree(root=ROOT, boards_dirs=tuple(self.boards_dirs))

    @property
    def console(self) -> Console:
        """Console on standard output; with `--progress json` events go there, so standard error."""
        return _Output(stderr=self.progress == "json", soft_wrap=True, highlight=False)

    def open_store(self) -> Store:
        """Open the store and create it if necessary.

        Raises:
            UserError: the directory cannot be created.
        """
        try:
            return Store(self.store)
        except OSError as error:
            raise UserError(f"--store {self.store}: {error.strerror}") from error

    def compiler_cache(self, store: Store) -> CompilerCache | None:
        """Return the store's compiler cache; None if ccache is not installed."""
        if not shutil.which("ccache", path=SEARCH_PATH):
            return None
        return CompilerCache(store.compiler_cache, limit=self.store_size // _CACHE_SHARE)

    def view(self) -> LineView:
        """Return the view of build events that `--progress` selects."""
        return make_view(self.progress, self.console)

    def console_note(self, event: Event) -> None:
        """Print an event of a command that has no view of a build."""
        LineView(self.console)(event)

    def output_of(self, board: str) -> Output:
        """Return a board's output directory and create it if necessary.

        Raises:
            UserError: the directory cannot be created.
        """
        output = Output(directory=self.output / board, board=board)
        try:
            make_result(output.directory)
            output.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"--output {self.output}: {error.strerror}") from error
        return output


def become_root(context: Context) -> None:
    """Run this command line again with sudo, unless this process is root.

    chroot and files of several owners need root. The values of `--set` go through a pipe on standard
    input, since all users of the machine can read command lines.
    """
    if os.geteuid() != 0:
        context.console.print("needs root for chroot and file ownership: running sudo")
        sys.stdout.flush()
        environment = [f"BUILDER_STORE={context.store}"]
        if context.settings:
            if os.isatty(0):
                environment.append(f"{TERMINAL}=/dev/tty")
            reads, writes = os.pipe()
            hand_on(context.settings, writes)
            os.dup2(reads, 0)
            environment.append(f"{HANDED_ON}=/dev/stdin")
        os.execvp(
            "sudo",
            [
                "sudo",
                # By name, not by value: proxy URLs may contain passwords.
                f"--preserve-env={','.join(PASSED_ON)}",
                *environment,
                "PYTHONDONTWRITEBYTECODE=1",  # no files of root in the user's checkout
                sys.executable,
                str(ROOT / "build.py"),
                *context.argv,
            ],
        )
