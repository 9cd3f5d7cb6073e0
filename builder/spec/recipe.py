# SPDX-License-Identifier: MIT
"""The model of recipes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import AfterValidator, BeforeValidator, Field

from builder.spec.models import MOST_NAMES, Download, Model, Scalar
from builder.spec.parameter_types import ParameterType
from builder.spec.patterns import Pattern
from builder.spec.texts import AbsolutePath, Line, Mode, Name, PackageName, RelativePath, Sha256


def _lists(value: object) -> object:
    """Let a plain list stand for the packages of all targets."""
    return {"all": value} if isinstance(value, list) else value


PackageLists = Annotated[
    dict[Name, tuple[PackageName, ...]],
    BeforeValidator(_lists, json_schema_input_type=dict[str, list[str]] | list[str]),
]


def _requirement(text: str) -> str:
    try:
        Requirement(text)
    # RecursionError: of one with many brackets.
    except (InvalidRequirement, RecursionError) as error:
        raise ValueError("must be a requirement like 'name>=1,<2' (PEP 508)") from error
    return text


Requirements = Annotated[
    dict[Name, tuple[Annotated[Line, AfterValidator(_requirement)], ...]],
    BeforeValidator(_lists, json_schema_input_type=dict[str, list[str]] | list[str]),
]


def _files(value: object) -> object:
    """Let files with their hashes stand for those of all targets."""
    if isinstance(value, dict) and not any(isinstance(item, dict) for item in value.values()):
        return {"all": value}
    return value


Sdists = Annotated[
    dict[Name, dict[Name, Sha256]],
    BeforeValidator(_files, json_schema_input_type=dict[str, dict[str, str]] | dict[str, str]),
]


_PLACEHOLDERS = re.compile(r"(?:[^{}]|\{distribution\}|\{architecture\})*")


def _placeholders(name: str) -> str:
    if not _PLACEHOLDERS.fullmatch(name):
        raise ValueError("may hold {distribution} and {architecture} in braces, nothing else")
    return name


def _one_file(value: object) -> object:
    """Let a plain name stand for the lock file of all targets."""
    return {"all": value} if isinstance(value, str) else value


LockFiles = Annotated[
    dict[Name, Annotated[RelativePath, AfterValidator(_placeholders)]],
    BeforeValidator(_one_file, json_schema_input_type=dict[str, str] | str),
]


class Owned(Model):
    """Owner, group and mode of something that a recipe puts into the image."""

    owner: str = Field(default="root", description="Name of the owner")
    group: str = Field(default="root", description="Name of the group")


class Directory(Owned):
    """A directory in the image."""

    path: AbsolutePath = Field(description="Its path in the image")
    mode: Mode = "0755"


class FileCopy(Owned):
    """A file, or a tree of files, copied into the image."""

    source: RelativePath = Field(alias="from", description="Path below the recipe's directory")
    to: AbsolutePath = Field(description="Path in the image")
    mode: Mode = "0644"


class Link(Model):
    """A symbolic link in the image."""

    path: AbsolutePath = Field(description="Its path in the image")
    target: str = Field(description="What it points to")


class Group(Model):
    """A group of users."""

    name: str
    system: bool = Field(default=False, description="Whether its id is one of the system's")


class User(Model):
    """A user account."""

    name: str
    groups: tuple[str, ...] = Field(default=(), description="Groups beside its own")
    shell: AbsolutePath = "/bin/bash"
    home: AbsolutePath | None = Field(default=None, description="Default: /home/<name>")
    system: bool = Field(default=False, description="Whether it is a system account")
    password: str | None = Field(
        default=None, description="Password in plain; the image gets its hash. Default: locked"
    )


class Services(Model):
    """Changes to units of systemd."""

    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()


def _port(value: object) -> object:
    number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535
    if not number and not isinstance(value, str):
        raise ValueError("must be a number from 1 to 65535, or the name of a parameter")
    return value


class Listener(Model):
    """A socket of the network that a program of the recipe listens on, or several."""

    port: Annotated[int | str, BeforeValidator(_port)] | None = Field(
        default=None,
        description="The port, or the recipe's parameter that has it. Default: whichever the "
        "kernel gives",
    )
    protocol: Literal["tcp", "udp"]
    program: str = Field(description="Name of the process; systemd may listen in its place")
    loopback: bool = Field(default=False, description="Whether only the board itself reaches it")
    who: str = Field(description="Who may use it, for the table of ports")
    switch_off: str = Field(description="How it is switched off, for the table of ports")

    def number(self, parameters: Mapping[str, Scalar]) -> int | None:
        """Return the port with the values of the recipe's parameters; None for any."""
        return int(str(parameters[self.port])) if isinstance(self.port, str) else self.port


class Scripts(Model):
    """Scripts that a recipe runs when the image is built."""

    target: RelativePath | None = Field(
        default=None, description="Run by /bin/sh -eu inside the image, under emulation"
    )
    host: RelativePath | None = Field(
        default=None,
        description="Run natively, with ROOT, ARCH, CROSS_COMPILE and, if there are any, DOWNLOADS "
        "in its environment; of a board-specific recipe also BOARD, which is the name of the "
        "board whose hardware it is, and, if the board has them, OVERLAYS and NOTEBOOKS",
    )
    inputs: tuple[RelativePath, ...] = Field(
        default=(), description="Other files and directories that the scripts read"
    )


class Legacy(Model):
    """A package of PYNQ's sdbuild, used as it is, after all else that the recipe does."""

    package: RelativePath = Field(
        description="Directory with `pre.sh`, `qemu.sh`, `post.sh` (any of them) and what they read"
    )
    board_files: tuple[RelativePath, ...] = Field(
        default=(),
        description="What the scripts find below PYNQ_BOARDDIR; relative to where `recipes/` is",
    )
    network: bool = Field(
        default=False,
        description="Whether the scripts reach the network; what they fetch is not checked, and "
        "the image cannot be made again as it was",
    )


SECRET = "(secret)"  # noqa: S105 - it is what stands in place of one
"""Stands for the value of a secret parameter in what is shown and kept."""


class Parameter(Model):
    """Something about a recipe that a user may set."""

    default: Scalar = Field(description="Value, and type, if nobody sets it")
    summary: Line = Field(description="One line on what it does")
    secret: bool = Field(default=False, description="Whether it is kept out of logs and reports")
    no_default_with: str | None = Field(
        default=None,
        pattern=r"^[^.]+\.[^.]+$",
        description="RECIPE.PARAMETER; if the image has it and it is true, somebody has to set "
        "another value than the default",
    )
    type: ParameterType = Field(
        default=ParameterType.LINE,
        description="What a text, a number or each text of a list is",
    )
    optional: bool = Field(
        default=False, description="Whether a text may be empty, whatever its type"
    )
    pattern: Pattern | None = Field(
        default=None,
        description="Regular expression for the whole of a text or a number, or for each text of a "
        "list, without look-around and references to groups. If the default does not fit, somebody "
        "has to set a value",
    )


class Recipe(Model):
    """A recipe: the directory `recipes/<name>/` with this file as `recipe.yaml`."""

    summary: Line = Field(description="One line on what it gives")
    requires: tuple[Name, ...] = Field(
        default=(), max_length=MOST_NAMES, description="Recipes that come before it"
    )
    apt: PackageLists = Field(
        default={},
        description="Packages: a list, or lists for `all`, a distribution, a family or an "
        "architecture, which are added up",
    )
    pip: LockFiles = Field(
        default={},
        description="Lock file of Python packages with hashes: one, or one each for a "
        "distribution, a family, an architecture or `all`, the first of these that is there; "
        "`{distribution}` and `{architecture}` in its name are replaced",
    )
    requirements: Requirements = Field(
        default={},
        description="What the lock files are made of by `build.py lock`, beside the packages of apt: "
        "requirements (PEP 508), in a list or lists as with `apt`",
    )
    downloads: tuple[Download, ...] = Field(
        default=(),
        description="Files from the network, which `scripts.host` finds in the directory DOWNLOADS "
        "under the last part of their URL's path",
    )
    sdists: Sdists = Field(
        default={},
        description="As `downloads`, of pip's index: file and SHA-256; or these for `all`, a "
        "distribution, a family or an architecture, which are added up",
    )
    groups: tuple[Group, ...] = ()
    users: tuple[User, ...] = ()
    directories: tuple[Directory, ...] = ()
    files: tuple[FileCopy, ...] = ()
    templates: tuple[FileCopy, ...] = ()
    links: tuple[Link, ...] = ()
    scripts: Scripts = Scripts()
    legacy: Legacy | None = Field(
        default=None, description="A package of PYNQ's sdbuild, as docs/sdbuild.md says"
    )
    services: Services = Services()
    listens: tuple[Listener, ...] = Field(
        default=(), description="The ports that its programs listen on; no others may"
    )
    checks: bool = Field(
        default=False,
        description="Whether the image holds the checks of all its recipes and of the board, for "
        "the board to run on itself",
    )
    board_specific: bool = Field(
        default=False,
        description="Whether its templates or scripts read the board; built once a board then",
    )
    parameters: dict[Name, Parameter] = Field(default={})
