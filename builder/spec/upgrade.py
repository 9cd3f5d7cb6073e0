# SPDX-License-Identifier: MIT
"""Brings files of a board's maker from an older version of the format to this one.

Texts are changed where they must be and nowhere else: comments and layout stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import yaml

from builder.errors import UserError
from builder.spec.models import FORMAT
from builder.spec.yaml_text import compose

FIRST = 1
"""The format of a file that does not say which it has been written for."""


_Upgrade = Callable[[str], tuple[str, list[str]]]


def _library_is_in_pynq(key: str) -> _Upgrade:
    """Return what brings a file over that names a profile at a key."""

    def upgrade(text: str) -> tuple[str, list[str]]:
        changed = _set(text, key, "pynq-library", "pynq")
        if changed == text:
            return text, []
        return changed, [f"{key}: pynq-library is a part of pynq now"]

    return upgrade


UPGRADES: Mapping[int, _Upgrade] = {1: _library_is_in_pynq("profile")}
"""For each older format what makes the next one of a board's file, and says what it changed."""

PROFILE_UPGRADES: Mapping[int, _Upgrade] = {1: _library_is_in_pynq("extends")}
"""The same of a profile. It does not say its format, so that each must leave a newer one alone."""


def upgraded(text: str) -> tuple[str, list[str]]:
    """Return a `board.yaml` as this builder reads it, and what was changed, a line each.

    Raises:
        UserError: it is not YAML, or of a format that this builder does not know.
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
        notes.append(f"format: {FORMAT} is stated")
    elif version != FORMAT:
        text = _set(text, "format", written, str(FORMAT))
        notes.append(f"format: {written} -> {FORMAT}")
    return text, notes


def upgraded_profile(text: str) -> tuple[str, list[str]]:
    """Return a profile as this builder reads it, and what was changed, a line each.

    Raises:
        UserError: it is not YAML.
    """
    notes: list[str] = []
    for step in PROFILE_UPGRADES.values():
        text, changes = step(text)
        notes += changes
    return text, notes


def _node(text: str, key: str) -> yaml.ScalarNode | None:
    """Return the value of one of a file's topmost keys, with its place in the text."""
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
    """Replace the value of one of a file's topmost keys if it is `old`."""
    node = _node(text, key)
    if node is None or node.value != old:
        return text
    return f"{text[: node.start_mark.index]}{new}{text[node.end_mark.index :]}"
