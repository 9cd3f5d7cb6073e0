# SPDX-License-Identifier: MIT
"""Values of recipe parameters: their sources and their validation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from builder.errors import UserError
from builder.spec.document import KeyPath
from builder.spec.models import Scalar
from builder.spec.parameter_types import mismatch
from builder.spec.patterns import matches
from builder.spec.reader import Reader, closest
from builder.spec.recipe import Parameter, Recipe

_TYPE_NAMES = {str: "a text", int: "a number", bool: "true or false", list: "a list of texts"}

Layer = tuple[Path, Mapping[str, Mapping[str, Scalar]]]
"""A file that sets parameters, and its settings: recipe, parameter, value."""


def resolve_parameters(
    reader: Reader,
    recipes: Mapping[str, Recipe | None],
    files: Mapping[str, Path],
    layers: Sequence[Layer],
    settings: Sequence[str],
) -> tuple[dict[str, dict[str, Scalar]], dict[str, dict[str, str]]]:
    """Return the values of each recipe's parameters, and their sources.

    Args:
        reader: collects the problems of values.
        recipes: the recipes by name; None for a recipe with problems.
        files: the file of each recipe.
        layers: the settings of files; later ones override earlier ones.
        settings: settings `recipe.parameter=value`, which override all files.

    Raises:
        UserError: one of the settings is wrong.
    """
    values: dict[str, dict[str, Scalar]] = {}
    origins: dict[str, dict[str, str]] = {}
    declared = {name: recipe.parameters for name, recipe in recipes.items() if recipe}
    broken = recipes.keys() - declared

    def origin(path: Path, where: KeyPath) -> str:
        return reader.document(path).origin(where)

    for name, parameters in declared.items():
        values[name] = {key: item.default for key, item in parameters.items()}
        origins[name] = {key: origin(files[name], ("parameters", key)) for key in parameters}
    for path, layer in layers:
        for name, given in layer.items():
            if name in broken:
                continue
            for key, value in given.items():
                where = ("parameters", name, key)
                problem = _unfit(declared, name, key, value)
                if problem:
                    reader.add_problem(path, where, problem)
                else:
                    values[name][key] = value
                    origins[name][key] = origin(path, where)
    for text in settings:
        name, key, raw = parse_setting(text)
        if name in broken:
            continue
        values[name][key] = read_value(declared, name, key, raw)
        origins[name][key] = "--set"
    return values, origins


def parse_setting(text: str) -> tuple[str, str, str]:
    """Split a setting `recipe.parameter=value` of the option `--set`.

    Raises:
        UserError: it does not have this form.
    """
    name, equals, value = text.partition("=")
    recipe, dot, parameter = name.partition(".")
    if not (equals and dot and recipe and parameter):
        # The value is not shown: it may be a secret.
        raise UserError(f"--set {name}: must be RECIPE.PARAMETER=VALUE")
    return recipe, parameter, value


def read_value(
    declared: Mapping[str, Mapping[str, Parameter]], recipe: str, key: str, raw: str
) -> Scalar:
    """Return the value of a parameter that `--set` gives as text.

    Raises:
        UserError: there is no such parameter, or it cannot have this value.
    """
    parameter = declared.get(recipe, {}).get(key)
    value = _parse(raw, parameter.default) if parameter else raw
    problem = _unfit(declared, recipe, key, value)
    if problem:
        raise UserError(f"--set {recipe}.{key}: {problem}")
    return value


def missing_values(
    declared: Mapping[str, Recipe | None], values: Mapping[str, Mapping[str, Scalar]]
) -> Iterator[tuple[str, str, str]]:
    """Yield recipe, parameter and reason for each parameter that must still be set."""
    for name, key, parameter in _parameters(declared, values):
        if _mismatch(parameter, values[name][key]):
            yield name, key, f"must be set: {parameter.summary}"
    yield from forbidden(declared, values)


def forbidden(
    declared: Mapping[str, Recipe | None], values: Mapping[str, Mapping[str, Scalar]]
) -> Iterator[tuple[str, str, str]]:
    """Yield recipe, parameter and reason for each default that another parameter forbids."""
    for name, key, parameter in _parameters(declared, values):
        other, _, switch = (parameter.no_default_with or "").partition(".")
        if values[name][key] == parameter.default and values.get(other, {}).get(switch):
            what = f"the default, which is publicly known ({parameter.summary})"
            yield name, key, f"must not be {what}, because {parameter.no_default_with} is set"


def _parameters(
    declared: Mapping[str, Recipe | None], values: Mapping[str, Mapping[str, Scalar]]
) -> Iterator[tuple[str, str, Parameter]]:
    """Yield recipe, name and declaration of each parameter of the recipes that have values."""
    for name in values:
        recipe = declared[name]
        for key, parameter in recipe.parameters.items() if recipe else ():
            yield name, key, parameter


def _unfit(
    declared: Mapping[str, Mapping[str, Parameter]], recipe: str, key: str, value: Scalar
) -> str | None:
    """Return why a parameter cannot have a value; None if it can. Secret values are not shown."""
    if recipe not in declared:
        return f"the image has no recipe {recipe}{closest(recipe, declared)}"
    if key not in declared[recipe]:
        return f"recipe {recipe} has no parameter {key}{closest(key, declared[recipe])}"
    parameter = declared[recipe][key]
    wanted = type(parameter.default)
    if type(value) is not wanted:
        given = "" if parameter.secret else f", not {value!r}"
        return f"must be {_TYPE_NAMES[wanted]}{given}"
    return _mismatch(parameter, value)


def _mismatch(parameter: Parameter, value: Scalar) -> str | None:
    """Return which text of a value does not match the parameter's type or pattern; None if all do."""
    if isinstance(value, bool):
        return None
    for text in value if isinstance(value, list) else [str(value)]:
        unset = parameter.optional and not text
        problem = None if unset else mismatch(parameter.type, text)
        if parameter.pattern and not problem and not matches(parameter.pattern, text):
            problem = f"must match {parameter.pattern}"
        if problem:
            given = "" if parameter.secret else f", not {text!r}"
            return f"{problem} ({parameter.summary}){given}"
    return None


def _parse(raw: str, default: Scalar) -> Scalar:
    """Convert a text to the type of a default; return the text itself if that is not possible."""
    if isinstance(default, bool):
        return {"true": True, "false": False}.get(raw.lower(), raw)
    if isinstance(default, int):
        return int(raw) if re.fullmatch(r"-?[0-9]+", raw) else raw
    if isinstance(default, list):
        return [item for item in raw.split(",") if item]
    return raw
