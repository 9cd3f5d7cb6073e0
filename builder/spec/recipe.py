# SPDX-License-Identifier: MIT
"""Model of recipes."""

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
    """Convert a plain list to packages of all targets."""
    return {"all": value} if isinstance(value, list) else value


PackageLists = Annotated[
    dict[Name, tuple[PackageName, ...]],
    BeforeValidator(_lists, json_schema_input_type=dict[str, list[str]] | list[str]),
]


def _requirement(text: str) -> str:
    try:
        Requirement(text)
    # RecursionError is raised for many nested brackets.
    except (InvalidRequirement, RecursionError) as error:
        raise ValueError("must be a requirement like 'name>=1,<2' (PEP 508)") from error
    return text


Requirements = Annotated[
    dict[Name, tuple[Annotated[Line, AfterValidator(_requirement)], ...]],
    BeforeValidator(_lists, json_schema_input_type=dict[str, list[str]] | list[str]),
]


def _files(value: object) -> object:
    """Convert a mapping of files to hashes to files of all targets."""
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
        raise ValueError("may hold {distribution} and {architecture}, but no other braces")
    return name


def _one_file(value: object) -> object:
    """Convert a plain name to the lock file of all targets."""
    return {"all": value} if isinstance(value, str) else value


LockFiles = Annotated[
    dict[Name, Annotated[RelativePath, AfterValidator(_placeholders)]],
    BeforeValidator(_one_file, json_schema_input_type=dict[str, str] | str),
]


class Owned(Model):
    """Owner and group of a file or directory in the image."""

    owner: str = Field(default="root", description="Name of the owner")
    group: str = Field(default="root", description="Name of the group")


class Directory(Owned):
    """A directory in the image."""

    path: AbsolutePath = Field(description="Path in the image")
    mode: Mode = "0755"


class FileCopy(Owned):
    """A file, or a directory tree, to copy into the image."""

    source: RelativePath = Field(
        alias="from", description="Path relative to the recipe's directory"
    )
    to: AbsolutePath = Field(description="Path in the image")
    mode: Mode = "0644"


class Link(Model):
    """A symbolic link in the image."""

    path: AbsolutePath = Field(description="Path in the image")
    target: str = Field(description="Target of the link")


class Group(Model):
    """A group of users."""

    name: str
    system: bool = Field(default=False, description="Whether it is a system group")


class User(Model):
    """A user account."""

    name: str
    groups: tuple[str, ...] = Field(default=(), description="Supplementary groups")
    shell: AbsolutePath = "/bin/bash"
    home: AbsolutePath | None = Field(
        default=None, description="Home directory (default: /home/<name>)"
    )
    system: bool = Field(default=False, description="Whether it is a system account")
    password: str | None = Field(
        default=None,
        description="Password in plain text; the image contains its hash (default: no password "
        "login)",
    )


class Services(Model):
    """Changes to systemd units."""

    enable: tuple[str, ...] = ()
    disable: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()


def _port(value: object) -> object:
    number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535
    if not number and not isinstance(value, str):
        raise ValueError("must be a number from 1 to 65535, or the name of a parameter")
    return value


class Listener(Model):
    """A network socket on which a program of the recipe listens, or several with any port."""

    port: Annotated[int | str, BeforeValidator(_port)] | None = Field(
        default=None,
        description="Port number, or the recipe's parameter with the number (default: any port that "
        "the kernel assigns)",
    )
    protocol: Literal["tcp", "udp"]
    program: str = Field(description="Name of the process; systemd may listen on its behalf")
    loopback: bool = Field(
        default=False, description="Whether it is only reachable from the board itself"
    )
    who: str = Field(description="Who may use it, for the table of ports")
    switch_off: str = Field(description="How to switch it off, for the table of ports")

    def number(self, parameters: Mapping[str, Scalar]) -> int | None:
        """Return the port number for the recipe's parameters; None for any port."""
        return int(str(parameters[self.port])) if isinstance(self.port, str) else self.port


class Scripts(Model):
    """Scripts that a recipe runs when the image is built."""

    target: RelativePath | None = Field(
        default=None, description="Script that /bin/sh -eu runs inside the image, under emulation"
    )
    host: RelativePath | None = Field(
        default=None,
        description="Script that runs natively, with ROOT, ARCH, CROSS_COMPILE and, if there are "
        "downloads, DOWNLOADS in its environment; in board-specific recipes also BOARD, the name of "
        "the board that has the device tree, and, if the board has them, OVERLAYS and NOTEBOOKS",
    )
    inputs: tuple[RelativePath, ...] = Field(
        default=(), description="Other files and directories that the scripts read"
    )


class Legacy(Model):
    """An sdbuild package, used unchanged; it runs after all other parts of the recipe."""

    package: RelativePath = Field(
        description="Directory with any of `pre.sh`, `qemu.sh` and `post.sh`, and their input files"
    )
    board_files: tuple[RelativePath, ...] = Field(
        default=(),
        description="Files that the scripts read in PYNQ_BOARDDIR, relative to the directory that "
        "contains `recipes/`",
    )
    network: bool = Field(
        default=False,
        description="Whether the scripts use the network; their downloads are not verified, and the "
        "image is not reproducible",
    )


SECRET = "(secret)"  # noqa: S105 - the placeholder of secrets
"""Placeholder for the value of a secret parameter in output and stored data."""


class Parameter(Model):
    """A parameter of a recipe, which users can set."""

    default: Scalar = Field(description="Default value; it also determines the YAML type")
    summary: Line = Field(description="Summary in one line")
    secret: bool = Field(
        default=False, description="Whether the value is omitted from logs and reports"
    )
    no_default_with: str | None = Field(
        default=None,
        pattern=r"^[^.]+\.[^.]+$",
        description="RECIPE.PARAMETER; if the image has that parameter and it is true, a value other "
        "than the default must be set",
    )
    type: ParameterType = Field(
        default=ParameterType.LINE,
        description="Type of a text, of a number or of each text of a list",
    )
    optional: bool = Field(
        default=False, description="Whether a text may be empty, whatever its type"
    )
    pattern: Pattern | None = Field(
        default=None,
        description="Regular expression that matches the whole text or number, or each text of a "
        "list, without look-around and backreferences. If the default does not match, a value must "
        "be set",
    )


class Recipe(Model):
    """A recipe: the file `recipe.yaml` in the directory `recipes/<name>/`."""

    summary: Line = Field(description="Summary in one line")
    requires: tuple[Name, ...] = Field(
        default=(), max_length=MOST_NAMES, description="Recipes that are applied before this one"
    )
    apt: PackageLists = Field(
        default={},
        description="apt packages: a list, or lists for `all`, a distribution, a family or an "
        "architecture; all lists that apply are combined",
    )
    pip: LockFiles = Field(
        default={},
        description="Lock file of Python packages with hashes: one for all, or one each for a "
        "distribution, a family, an architecture or `all`; the first that exists, in this order, "
        "applies. `{distribution}` and `{architecture}` in its name are replaced",
    )
    requirements: Requirements = Field(
        default={},
        description="Python requirements (PEP 508) from which `build.py lock` creates the lock "
        "files, in addition to the apt packages; a list, or lists as in `apt`",
    )
    downloads: tuple[Download, ...] = Field(
        default=(),
        description="Downloads, which `scripts.host` finds in the directory DOWNLOADS under the last "
        "part of their URL's path",
    )
    sdists: Sdists = Field(
        default={},
        description="Downloads from pip's index, by file name with their SHA-256; or such mappings "
        "for `all`, a distribution, a family or an architecture, which are combined",
    )
    groups: tuple[Group, ...] = ()
    users: tuple[User, ...] = ()
    directories: tuple[Directory, ...] = ()
    files: tuple[FileCopy, ...] = ()
    templates: tuple[FileCopy, ...] = ()
    links: tuple[Link, ...] = ()
    scripts: Scripts = Scripts()
    legacy: Legacy | None = Field(
        default=None, description="An sdbuild package; see docs/sdbuild.md"
    )
    services: Services = Services()
    listens: tuple[Listener, ...] = Field(
        default=(), description="Ports on which its programs listen; they must not use other ports"
    )
    checks: bool = Field(
        default=False,
        description="Whether the image contains the checks of its recipes and of the board, for the "
        "self-test on the board",
    )
    board_specific: bool = Field(
        default=False,
        description="Whether its templates or scripts read the board; it is then built separately "
        "for each board",
    )
    parameters: dict[Name, Parameter] = Field(default={})
