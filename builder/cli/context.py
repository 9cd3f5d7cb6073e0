# SPDX-License-Identifier: MIT
"""The common part of all commands: directories, and how results are shown."""

from __future__ import annotations

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

from builder.cli.settings import HANDED_ON, TERMINAL, hand_on
from builder.errors import UserError
from builder.publish.output import Output, make_result
from builder.report.console import LineView, make_view
from builder.report.events import Event
from builder.sandbox.compiler_cache import CompilerCache
from builder.sandbox.process import PASSED_ON, SEARCH_PATH
from builder.spec.reader import SpecTree
from builder.store.store import Store

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""


def typed(*words: str) -> str:
    """Return a command line of this program as it can be typed in the current directory."""
    program = os.path.relpath(ROOT / "build.py")
    return shlex.join([program if "/" in program else f"./{program}", *words])


def print_json(value: object) -> None:
    """Print a value as JSON, for programs."""
    sys.stdout.write(json.dumps(value, indent=1, default=str) + "\n")


DEFAULT_STORE_SIZE = "60G"

CUSTOMIZED = "customized"
"""Directory of the output in which each customized image has one."""

TOOLS_LOG = "tools-image.log"
"""File of the output: how the image of the build's container was made."""

_CACHE_SHARE = 20
"""Part of the store that compiled objects may take: a kernel's are 60 MB."""


def default_store() -> Path:
    """Return where the store is: BUILDER_STORE, else in the cache of the user (not of sudo)."""
    if "BUILDER_STORE" in os.environ:
        return Path(os.environ["BUILDER_STORE"])
    sudo = os.environ.get("SUDO_UID")
    home = pwd.getpwuid(int(sudo)).pw_dir if sudo else os.path.expanduser("~")  # noqa: PTH111 - a user need not have one
    return Path(os.environ.get("XDG_CACHE_HOME", f"{home}/.cache")) / "zynq-sd-builder"


class _Output(Console):
    """A console that tells its caller when nobody reads it any more; rich's own exits with 1."""

    def on_broken_pipe(self) -> None:
        """Raise the error that led here.

        Raises:
            BrokenPipeError: always.
        """
        raise  # noqa: PLE0704 - rich calls this where it handles the error


@dataclass(frozen=True, kw_only=True)
class Context:
    """Directories and settings of one run of the command line.

    argv: the command line, without the values of `--set`. settings: these values.
    """

    boards_dirs: Sequence[Path]
    store: Path
    store_size: int
    output: Path
    progress: str
    engine: str
    argv: tuple[str, ...]
    settings: tuple[str, ...] = ()

    @property
    def tree(self) -> SpecTree:
        """The YAML files."""
        return SpecTree(root=ROOT, boards_dirs=tuple(self.boards_dirs))

    @property
    def console(self) -> Console:
        """Standard output; in the JSON view it belongs to the events, so standard error."""
        return _Output(stderr=self.progress == "json", soft_wrap=True, highlight=False)

    def open_store(self) -> Store:
        """Open the store, making it if need be.

        Raises:
            UserError: there can be none at that place.
        """
        try:
            return Store(self.store)
        except OSError as error:
            raise UserError(f"--store {self.store}: {error.strerror}") from error

    def compiler_cache(self, store: Store) -> CompilerCache | None:
        """Return the store's cache of compiled objects; None if this machine lacks ccache."""
        if not shutil.which("ccache", path=SEARCH_PATH):
            return None
        return CompilerCache(store.compiler_cache, limit=self.store_size // _CACHE_SHARE)

    def view(self) -> LineView:
        """Return the view of a build's events that the user asked for."""
        return make_view(self.progress, self.console)

    def console_note(self, event: Event) -> None:
        """Show an event of a command that has no view of a build."""
        LineView(self.console)(event)

    def output_of(self, board: str) -> Output:
        """Return a board's output directory, which is made if need be.

        Raises:
            UserError: there can be none at that place.
        """
        output = Output(directory=self.output / board, board=board)
        try:
            make_result(output.directory)
            output.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"--output {self.output}: {error.strerror}") from error
        return output


def become_root(context: Context) -> None:
    """Start again by sudo if this is not root: chroots and the owners of files need it."""
    if os.geteuid() != 0:
        context.console.print("this needs root (chroot, owners of files): using sudo")
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
                # Not by their values: addresses of proxies may have passwords in them.
                f"--preserve-env={','.join(PASSED_ON)}",
                *environment,
                "PYTHONDONTWRITEBYTECODE=1",  # no files of root's in the user's checkout
                sys.executable,
                str(ROOT / "build.py"),
                *context.argv,
            ],
        )
