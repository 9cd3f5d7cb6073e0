# SPDX-License-Identifier: MIT
"""Running build.py with a Docker daemon, as a given user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import docker
import pytest

from builder.containers.docker import Docker
from builder.containers.images import NAME
from builder.errors import HostError
from builder.store.store import Entry, Store
from tests.fixtures.product import ROOT

CALLER = 12345
"""ID of a user and group that no machine has: their files were made for them."""

_MAIN = "import sys; from builder.cli.main import main; sys.exit(main(sys.argv[1:]))"

SOCKET = Path("/var/run/docker.sock")


def unusable() -> str | None:
    """Return the reason why these tests cannot use a daemon; None if they can."""
    if os.geteuid() != 0:
        return "needs root, to be several users"
    try:
        Docker().close()
    except HostError as error:
        return error.message
    return None


needs_docker = pytest.mark.skipif(unusable() is not None, reason=str(unusable()))


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A copy of the tree that all users can read, with a store and an output beside it."""

    tree: Path
    store: Path
    output: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *words: str, caller: int = 0) -> list[str]:
        """Return the command line that runs build.py as a user."""
        places = ["--store", str(self.store), "--output", str(self.output)]
        python = [sys.executable, "-c", _MAIN]
        return [*(as_user(caller) if caller else []), *python, *words, *places]

    def start(
        self, *words: str, caller: int = 0, stdout: IO[str] | int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """Start build.py."""
        return subprocess.Popen(
            self.command(*words, caller=caller),
            cwd=self.tree,
            env={**os.environ, "PYTHONPATH": str(self.tree), **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str, caller: int = 0) -> subprocess.CompletedProcess[str]:
        """Run build.py to its end; its output goes to the test's."""
        process = self.start(*words, caller=caller)
        said, _ = process.communicate(timeout=3600)
        sys.stdout.write(said)
        return subprocess.CompletedProcess(process.args, process.returncode, said)


def as_user(user: int) -> Sequence[str]:
    """Return the command line that runs a command as a user who may use Docker and read all files.

    The interpreter that runs the tests may be where only root gets; what the command writes is the
    user's all the same.
    """
    reading = "+dac_read_search"
    return [
        *("setpriv", f"--reuid={user}", f"--regid={user}", f"--groups={SOCKET.stat().st_gid}"),
        *(f"--inh-caps={reading}", f"--ambient-caps={reading}", "--"),
    ]


def checkout(folder: Path) -> Checkout:
    """Make a copy of the tree in a directory."""
    folder.mkdir(parents=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    tree = folder / "tree"
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    for name in ("store", "output"):
        (folder / name).mkdir()
    return Checkout(tree=tree, store=folder / "store", output=folder / "output")


def take_over(source: Path, target: Path, *, wanted: Callable[[Entry], bool]) -> None:
    """Copy the indexes, the secret and some entries of a store to an empty one.

    Entries are never changed, so they are the same files where both stores are on one filesystem.
    """
    target.mkdir(exist_ok=True)
    for name in ("archives", "secret", "last"):
        subprocess.run(["cp", "-a", str(source / name), str(target / name)], check=True)
    (target / "entries").mkdir(exist_ok=True)
    same = source.stat().st_dev == target.stat().st_dev
    for entry in filter(wanted, Store(source).entries()):
        words = ["cp", "-al" if same else "-a", str(entry.path), str(target / "entries")]
        subprocess.run(words, check=True)
    # Links to the sets of indexes, and apt's configuration in them, contain the store's path.
    for link in (target / "archives").iterdir():
        if link.is_symlink():
            set_ = target / link.readlink().relative_to(source)
            link.unlink()
            link.symlink_to(set_)
            for name in ("apt.conf", "sources.list"):
                text = (set_ / name).read_text()
                (set_ / name).write_text(text.replace(str(source), str(target)))


def containers() -> list[str]:
    """Return the names of the builder's containers, running or not."""
    with closing(docker.from_env()) as client:
        found = client.containers.list(all=True, filters={"label": NAME})
    return [str(each.name) for each in found]


def owners(folder: Path) -> set[int]:
    """Return the owners of a directory and its files."""
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}
