# SPDX-License-Identifier: MIT
"""Containers as the builder sees them: what is to run where, and who runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from builder.sandbox.process import Processes

_NOBODYS = (65532, 65532)
"""Numbers that Debian gives to no account (Debian Policy, 9.2.2): nobody else can write the files."""


def not_root(user: int, group: int) -> str:
    """Return who commands are that refuse to be root: the caller, unless this is root."""
    uid, gid = (user, group) if user else _NOBODYS
    return f"{uid}:{gid}"


@dataclass(frozen=True, kw_only=True)
class ImageRecipe:
    """The parts that an image is made of.

    name: the image's name, below the builder's own.
    base: image that it begins with, as registries call it; with a digest (NAME@sha256:...) it is
        that one and no later one.
    suite, sources: where no registry answers, the base is made by mmdebstrap: the distribution's
        code name, and apt's list of where its packages come from.
    problem, remedy: why `sources` is empty, if it is, and what mends that.
    folder: directory with the Dockerfile, which begins with `ARG BASE` and `FROM ${BASE}`.
    files: files that the Dockerfile copies beside those in `folder`, by their names.
    arguments: values of the Dockerfile's other ARGs.
    python_packages: the name in `files` of a lock file of Python packages, and the version of
        Python that they are for; the Dockerfile finds their wheels in `wheels/`.
    """

    name: str
    base: str
    suite: str
    sources: str
    folder: Path
    files: Mapping[str, Path] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    python_packages: tuple[str, str] | None = None
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A file or directory of the machine that a container sees, at `target`."""

    source: Path
    target: Path
    read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Container:
    """A command in a container, which lives as long as the command.

    user: "UID:GID".
    capabilities: those that it has (capabilities(7), without CAP_): by default none at all.
    network: whether it reaches the network.
    secret: variables of the environment whose values are kept out of logs and errors.
    """

    image: str
    argv: Sequence[str]
    user: str
    mounts: Sequence[Mount] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = Path("/")
    capabilities: Sequence[str] = ()
    network: bool = False
    secret: Sequence[str] = ()


class Containers(Protocol):
    """Who makes images and runs containers."""

    @property
    def user(self) -> str:
        """Who commands are that refuse to be root ("UID:GID")."""

    def image(
        self,
        recipe: ImageRecipe,
        *,
        processes: Processes,
        log: IO[str],
        say: Callable[[str], object],
        offline: bool = False,
    ) -> str:
        """Return the tag of the image that a recipe describes, which is made if need be.

        Raises:
            UserError: it would have to be made, and there is no network (`offline`).
            HostError: no Docker daemon can be used, or there is no way to its base.
            CommandError: it cannot be built.
        """

    def run(
        self,
        container: Container,
        *,
        processes: Processes,
        log: IO[str] | None = None,
        on_line: Callable[[str], object] | None = None,
    ) -> str:
        """Run a command in a container to its end and return its standard output and error.

        Nothing of the container is left afterwards, however it ends.

        Raises:
            HostError: no Docker daemon can be used.
            CommandError: the command ended with a status other than 0.
            Interrupted: it was stopped.
        """
