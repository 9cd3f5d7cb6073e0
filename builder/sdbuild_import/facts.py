# SPDX-License-Identifier: MIT
"""Facts about sdbuild's packages, scripts, kernel options and boards, from the data files here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter

from builder.spec.models import Model, Soc
from builder.spec.texts import Name, Size
from builder.spec.yaml_text import load

_HERE = Path(__file__).parent


class Package(Model):
    """The replacement of one of sdbuild's own packages; packages.yaml documents the keys."""

    recipes: tuple[Name, ...] = ()
    what: str = ""
    person: str = ""


class Remark(Model):
    """A message about lines of a script that match a pattern."""

    pattern: re.Pattern[str]
    what: str


class Scripts(Model):
    """Content of scripts.yaml."""

    network: tuple[re.Pattern[str], ...]
    remarks: tuple[Remark, ...]


class KnownBoard(Model):
    """A board that Linux and U-Boot support; boards.yaml documents the keys."""

    names: tuple[str, ...] = Field(min_length=1)
    soc: Soc
    devicetree: str
    start_up: str
    memory: Size
    aliases: dict[str, str] = Field(default={})


class TreeFamily(Model):
    """Facts about the device trees of a family; devicetree.yaml documents the keys."""

    includes: tuple[str, ...]
    cells: int
    aliases: dict[str, str]
    fabric: tuple[tuple[int, int], ...]
    labels: frozenset[str]

    def in_fabric(self, address: int) -> bool:
        """Return whether an address is in the programmable logic."""
        return any(first <= address < end for first, end in self.fabric)


class Kernel(Model):
    """Content of kernel.yaml."""

    missing: frozenset[str]


def _load(name: str) -> Any:
    return load((_HERE / f"{name}.yaml").read_text(encoding="utf-8"))


@cache
def packages() -> Mapping[str, Package]:
    """Return the replacements of sdbuild's own packages, by name."""
    return TypeAdapter(dict[Name, Package]).validate_python(_load("packages"))


@cache
def scripts() -> Scripts:
    """Return the patterns for scripts of packages."""
    return Scripts.model_validate(_load("scripts"))


@cache
def kernel() -> Kernel:
    """Return the facts about kernel options."""
    return Kernel.model_validate(_load("kernel"))


@cache
def tree_families() -> Mapping[Soc, TreeFamily]:
    """Return the facts about device trees, by family."""
    return TypeAdapter(dict[Soc, TreeFamily]).validate_python(_load("devicetree"))


@cache
def known_boards() -> tuple[KnownBoard, ...]:
    """Return the boards that Linux and U-Boot support."""
    return TypeAdapter(tuple[KnownBoard, ...]).validate_python(_load("boards"))


def plain(name: str) -> str:
    """Return a board's name in lower case with letters and digits only, for comparison."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def known_board(name: str) -> KnownBoard | None:
    """Return the known board with a name; None if there is none."""
    return next((board for board in known_boards() if plain(name) in board.names), None)
