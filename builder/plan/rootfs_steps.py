# SPDX-License-Identifier: MIT
"""The steps of a root filesystem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from builder.apt.archive import Archive
from builder.rootfs.board_view import BoardView
from builder.rootfs.bootstrap import Bootstrap
from builder.rootfs.native.programs import NativePrograms
from builder.rootfs.python_index import IndexSource
from builder.rootfs.recipe import RecipeLayer, RecipeParents
from builder.rootfs.recipe_inputs import RecipeInputs
from builder.rootfs.sdbuild_package import FetchingSdbuildPackageLayer, SdbuildPackageLayer
from builder.rootfs.target_tests import ChecksLayer
from builder.rootfs.wheels import Wheels
from builder.spec.resolve import ImageSpec, ResolvedRecipe
from builder.steps.sources import UrlSource
from builder.steps.step import Step
from builder.target_tests.context import MODULES, check_files, context, without_secrets


def root_layers(
    recipes: Sequence[ResolvedRecipe],
    archive: Archive,
    view: BoardView,
    *,
    native: Archive | None,
) -> list[Step]:
    """Return the steps for the layers of a root filesystem, the lowest first.

    Args:
        recipes: The recipes to apply, each after those that it requires.
        archive: The package archive for the board's architecture.
        view: The board as board-specific recipes see it.
        native: The archive for the host's architecture. Its programs replace emulated ones.
    """
    distribution, architecture = archive.distribution, archive.architecture
    scope = f"{distribution.name}-{architecture.value}"
    packages = [
        package for recipe in recipes for package in recipe.packages(distribution, architecture)
    ]
    programs = NativePrograms(native, archive, scope=scope) if native else None
    bootstrap = Bootstrap(archive, packages, native=programs, scope=scope)
    return recipe_layers(
        recipes,
        {recipe.name: recipe for recipe in recipes},
        view,
        below=[bootstrap],
        archive=archive,
        native=programs,
        scope=scope,
    )


def recipe_layers(
    recipes: Sequence[ResolvedRecipe],
    known: Mapping[str, ResolvedRecipe],
    view: BoardView | None,
    *,
    below: Sequence[Step],
    archive: Archive,
    native: Step | None,
    scope: str,
) -> list[Step]:
    """Return the layers `below` and, above them, a layer for each recipe, the lowest first.

    Args:
        recipes: The recipes to apply, each after those that it requires.
        known: These recipes, and those in the layers below, by name.
        view: The board; None if no recipe is board-specific.
        below: The steps for the layers below, the lowest first.
        archive: The distribution of the root filesystem, its architecture and date.
        native: The step for programs of the host's architecture that replace emulated ones.
        scope: Scope of the layers that are not board-specific.
    """
    layers = list(below)
    for recipe in recipes:
        specific = view if recipe.model.board_specific else None
        inputs = RecipeInputs(
            recipe=recipe, required=_required(recipe, known), archive=archive, view=specific
        )
        needs = RecipeParents(
            below=list(layers),
            wheels=_wheels(recipe, archive, scope),
            downloads=_downloads(recipe, archive, scope),
            native=native,
        )
        layer = _layer_class(recipe)
        layers.append(layer(inputs, needs, scope=specific.name if specific else scope))
    return layers


def _layer_class(recipe: ResolvedRecipe) -> type[RecipeLayer]:
    """Return the class of a recipe's step."""
    legacy = recipe.model.legacy
    if legacy is None:
        return RecipeLayer
    return FetchingSdbuildPackageLayer if legacy.network else SdbuildPackageLayer


def _required(
    recipe: ResolvedRecipe, by_name: Mapping[str, ResolvedRecipe]
) -> Sequence[ResolvedRecipe]:
    """Return the recipes that a recipe requires, directly or indirectly, in the order of names."""
    found: dict[str, ResolvedRecipe] = {}
    todo = list(recipe.model.requires)
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = by_name[name]
            todo += by_name[name].model.requires
    return [found[name] for name in sorted(found)]


def _wheels(recipe: ResolvedRecipe, archive: Archive, scope: str) -> Wheels | None:
    lock = recipe.lock_file(archive.distribution, archive.architecture)
    if lock is None:
        return None
    return Wheels(
        f"wheels:{recipe.name}",
        lock,
        python=archive.distribution.model.python,
        architecture=archive.architecture,
        scope=scope,
    )


def _downloads(recipe: ResolvedRecipe, archive: Archive, scope: str) -> list[Step]:
    files = recipe.sdists(archive.distribution, archive.architecture)
    name = f"download:{recipe.name}:{{}}"
    return [
        *(
            UrlSource(name.format(download.name), download, scope=scope)
            for download in recipe.model.downloads
        ),
        *(
            IndexSource(name.format(file), file, checksum, scope=scope)
            for file, checksum in files.items()
        ),
    ]


def checks_layers(
    spec: ImageSpec, distribution: str, *, epoch: int, scope: str
) -> list[ChecksLayer]:
    """Return the layer with the target tests of an image; none if the image does not have them.

    Args:
        spec: The specification of the image.
        distribution: The name of its distribution.
        epoch: The date of the layer's files, in seconds since the epoch.
        scope: Scope of the layer.
    """
    if not spec.holds_checks:
        return []
    facts = without_secrets(context(spec, distribution))
    return [ChecksLayer(check_files(spec), facts, modules=MODULES, epoch=epoch, scope=scope)]
