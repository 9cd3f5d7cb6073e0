# SPDX-License-Identifier: MIT
"""Descriptions of containers and of their images, and the interface of what runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from builder.sandbox.process import Processes

_UNUSED_IDS = (65532, 65532)
"""User and group IDs that Debian gives to no account (Debian Policy, 9.2.2), so that no other user
can write the files."""


def not_root(user: int, group: int) -> str:
    """Return the user of commands that refuse to run as root: the caller, unless that is root."""
    uid, gid = (user, group) if user else _UNUSED_IDS
    return f"{uid}:{gid}"


@dataclass(frozen=True, kw_only=True)
class ImageRecipe:
    """The contents of an image.

    name: the image's name, below the builder's own.
    distribution: name of the distribution that the base is.
    base: the base image's name in a registry; with a digest (NAME@sha256:...) it is exactly that
        image.
    suite, sources: the distribution's code name, and apt's list of its archives. mmdebstrap makes
        the base from them if no registry answers.
    problem, remedy: reason why `sources` is empty, if it is, and how to fix that.
    folder: directory with the Dockerfile, which begins with `ARG BASE` and `FROM ${BASE}`.
    files: by name, more files that the Dockerfile copies beside those in `folder`.
    arguments: values of the Dockerfile's other ARGs.
    python_packages: name in `files` of a lock file of Python packages, and the version of Python
        that they are for; the Dockerfile finds their wheels in `wheels/`.
    """

    name: str
    base: str
    suite: str
    sources: str
    folder: Path
    distribution: str = ""
    files: Mapping[str, Path] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    python_packages: tuple[str, str] | None = None
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A file or directory of the machine that a container sees at `target`."""

    source: Path
    target: Path
    read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Container:
    """A command and the container that it runs in, which ends with it.

    user: "UID:GID".
    capabilities: names of the container's capabilities (capabilities(7), without CAP_).
    network: whether the container has a network.
    secret: environment variables whose values are left out of logs and errors.
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
    """Builder of images and runner of containers."""

    @property
    def user(self) -> str:
        """User of commands that refuse to run as root ("UID:GID")."""

    def image(
        self,
        recipe: ImageRecipe,
        *,
        processes: Processes,
        log: IO[str],
        say: Callable[[str], object],
        offline: bool = False,
    ) -> str:
        """Return the tag of a recipe's image, and build it first if it does not exist.

        Raises:
            UserError: it does not exist, and there is no network (`offline`).
            HostError: no Docker daemon can be used, or the base is not available.
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

        The container is removed afterwards, however it ends.

        Raises:
            HostError: no Docker daemon can be used.
            CommandError: the command ended with a status other than 0.
            Interrupted: it was stopped.
        """
