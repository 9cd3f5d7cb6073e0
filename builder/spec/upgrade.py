# SPDX-License-Identifier: MIT
"""Conversion of board and profile files from older format versions.

Only the affected values are changed; comments and layout are preserved.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import yaml

from builder.errors import UserError
from builder.spec.models import FORMAT
from builder.spec.yaml_text import compose

FIRST = 1
"""Format version of a file without the key `format`."""


_Upgrade = Callable[[str], tuple[str, list[str]]]


def _library_is_in_pynq(key: str) -> _Upgrade:
    """Return a conversion of files that name a profile in `key`."""

    def upgrade(text: str) -> tuple[str, list[str]]:
        changed = _set(text, key, "pynq-library", "pynq")
        if changed == text:
            return text, []
        return changed, [f"{key}: pynq-library is now part of pynq"]

    return upgrade


UPGRADES: Mapping[int, _Upgrade] = {1: _library_is_in_pynq("profile")}
"""Conversion of a board's file from each older format to the next; it also returns the changes."""

PROFILE_UPGRADES: Mapping[int, _Upgrade] = {1: _library_is_in_pynq("extends")}
"""Conversions of a profile. Profiles have no format version, so these must not change newer files."""


def upgraded(text: str) -> tuple[str, list[str]]:
    """Return a `board.yaml` in the current format, and a line for each change.

    Raises:
        UserError: it is not YAML, or has an unknown format.
    """
    written = _value(text, "format")
    number = re.fullmatch("[0-9]{1,9}", str(FIRST) if written is None else written)
    version = int(number[0]) if number else 0
    if not FIRST <= version <= FORMAT:
        raise UserError(
            f"format: is {written}, which this builder does not know: it reads {FORMAT}"
        )
    notes: list[str] = []
    for step in range(version, FORMAT):
        text, changes = UPGRADES[step](text)
        notes += changes
    if written is None:
        text = re.sub(r"(?m)^board:", f"format: {FORMAT}\nboard:", text, count=1)
        notes.append(f"format: {FORMAT} added")
    elif version != FORMAT:
        text = _set(text, "format", written, str(FORMAT))
        notes.append(f"format: {written} -> {FORMAT}")
    return text, notes


def upgraded_profile(text: str) -> tuple[str, list[str]]:
    """Return a profile in the current format, and a line for each change.

    Raises:
        UserError: it is not YAML.
    """
    notes: list[str] = []
    for step in PROFILE_UPGRADES.values():
        text, changes = step(text)
        notes += changes
    return text, notes


def _node(text: str, key: str) -> yaml.ScalarNode | None:
    """Return the value of a top-level key, with its location in the text."""
    try:
        top = compose(text)
    except yaml.YAMLError as error:
        raise UserError(f"not YAML: {error}") from error
    if not isinstance(top, yaml.MappingNode):
        raise UserError("must be a mapping of keys")
    for name, value in top.value:
        if name.value == key and isinstance(value, yaml.ScalarNode):
            return value
    return None


def _value(text: str, key: str) -> str | None:
    node = _node(text, key)
    return str(node.value) if node else None


def _set(text: str, key: str, old: str, new: str) -> str:
    """Replace the value of a top-level key if it is `old`."""
    node = _node(text, key)
    if node is None or node.value != old:
        return text
    return f"{text[: node.start_mark.index]}{new}{text[node.end_mark.index :]}"
