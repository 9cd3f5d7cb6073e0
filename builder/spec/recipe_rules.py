# SPDX-License-Identifier: MIT
"""Validation rules for recipes beyond their model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from builder.spec.legacy import check_legacy
from builder.spec.models import Architecture
from builder.spec.parameter_types import ParameterType
from builder.spec.reader import Reader, closest
from builder.spec.recipe import FileCopy, Recipe, Scripts


def check_recipe(reader: Reader, file: Path, recipe: Recipe, distributions: Iterable[str]) -> None:
    """Add a problem for each missing file of a recipe, and for each contradiction."""
    copies: list[tuple[str, tuple[FileCopy, ...]]] = [
        ("files", recipe.files),
        ("templates", recipe.templates),
    ]
    for key, items in copies:
        for index, item in enumerate(items):
            if not (file.parent / item.source).exists():
                reader.add_problem(
                    file,
                    (key, index, "from"),
                    f"there is no file {file.parent / item.source}",
                )
    _check_downloads(reader, file, recipe)
    _check_scripts(reader, file, recipe.scripts)
    check_legacy(reader, file, recipe)
    _check_listeners(reader, file, recipe)
    targets = {"all", "debian", "ubuntu", *distributions}
    targets |= {architecture.value for architecture in Architecture}
    chosen: dict[str, Iterable[str]] = {
        "apt": recipe.apt,
        "pip": recipe.pip,
        "requirements": recipe.requirements,
        "sdists": recipe.sdists,
    }
    for field, keys in chosen.items():
        for key in keys:
            if key not in targets:
                reader.add_problem(
                    file,
                    (field, key),
                    f"is not a distribution, family or architecture{closest(key, targets)}",
                )


def _check_downloads(reader: Reader, file: Path, recipe: Recipe) -> None:
    wanted: list[tuple[tuple[str | int, ...], str]] = [
        *((("downloads", i, "url"), each.name) for i, each in enumerate(recipe.downloads)),
        *((("sdists", key, name), name) for key, files in recipe.sdists.items() for name in files),
    ]
    for index, (where, name) in enumerate(wanted):
        if name in [other for _, other in wanted[:index]]:
            reader.add_problem(file, where, f"has the same file name as another: {name}")
        if recipe.scripts.host is None:
            reader.add_problem(file, where, "needs `scripts.host`, which reads the download")


def _check_listeners(reader: Reader, file: Path, recipe: Recipe) -> None:
    ports = [key for key, each in recipe.parameters.items() if each.type is ParameterType.PORT]
    for index, listener in enumerate(recipe.listens):
        if isinstance(listener.port, str) and listener.port not in ports:
            reader.add_problem(
                file,
                ("listens", index, "port"),
                f"is not a parameter of type port{closest(listener.port, ports)}",
            )


def _check_scripts(reader: Reader, file: Path, scripts: Scripts) -> None:
    named: list[tuple[tuple[str | int, ...], str | None]] = [
        (("target",), scripts.target),
        (("host",), scripts.host),
        *((("inputs", index), name) for index, name in enumerate(scripts.inputs)),
    ]
    for where, script in named:
        if script is None:
            continue
        path = file.parent / script
        if not (path.exists() if where[0] == "inputs" else path.is_file()):
            reader.add_problem(
                file, ("scripts", *where), f"there is no file {file.parent / script}"
            )
