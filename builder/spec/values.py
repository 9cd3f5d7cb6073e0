# SPDX-License-Identifier: MIT
"""Values of recipes' parameters: what they are read from, and whether they fit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from builder.spec.models import Scalar
from builder.spec.reader import closest
from builder.spec.recipe import Parameter, Recipe

_TYPE_NAMES = {str: "a text", int: "a number", bool: "true or false", list: "a list of texts"}


def unfit(
    declared: Mapping[str, Mapping[str, Parameter]], recipe: str, key: str, value: Scalar
) -> str | None:
    """Say why a parameter cannot take a value; None if it can. A secret value is not repeated."""
    if recipe not in declared:
        return f"the image has no recipe {recipe}{closest(recipe, declared)}"
    if key not in declared[recipe]:
        return f"recipe {recipe} has no parameter {key}{closest(key, declared[recipe])}"
    parameter = declared[recipe][key]
    wanted = type(parameter.default)
    if type(value) is not wanted:
        given = "what was given" if parameter.secret else repr(value)
        return f"must be {_TYPE_NAMES[wanted]}, not {given}"
    return mismatch(parameter, value)


def mismatch(parameter: Parameter, value: Scalar) -> str | None:
    """Say which text of a value does not match the parameter's pattern; None if all do."""
    if parameter.pattern is None:
        return None
    for text in value if isinstance(value, list) else [str(value)]:
        if not parameter.pattern.fullmatch(text):
            given = "" if parameter.secret else f", not {text!r}"
            return f"must match {parameter.pattern.pattern} ({parameter.summary}){given}"
    return None


def unset(
    declared: Mapping[str, Recipe | None], values: Mapping[str, Mapping[str, Scalar]]
) -> Iterator[tuple[str, str, str]]:
    """Yield recipe, parameter and summary where a default does not fit and nobody has set a value."""
    for name, given in values.items():
        recipe = declared[name]
        for key, parameter in recipe.parameters.items() if recipe else ():
            if mismatch(parameter, given[key]):
                yield name, key, parameter.summary


def parse(raw: str, default: Scalar) -> Scalar:
    """Read a value given as text as the type of a default; the text itself if it does not fit."""
    if isinstance(default, bool):
        return {"true": True, "false": False}.get(raw.lower(), raw)
    if isinstance(default, int):
        return int(raw) if re.fullmatch(r"-?[0-9]+", raw) else raw
    if isinstance(default, list):
        return [item for item in raw.split(",") if item]
    return raw
