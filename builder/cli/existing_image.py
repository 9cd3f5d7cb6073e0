# SPDX-License-Identifier: MIT
"""The spec of an image that was built before, read from its manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from builder.cli.build_options import is_secret
from builder.cli.context import Context, typed
from builder.errors import UserError
from builder.publish.comparison import Manifest, is_manifest
from builder.publish.output import Output
from builder.spec.extra import extra_recipes
from builder.spec.models import Scalar
from builder.spec.reader import SpecTree
from builder.spec.recipe import SECRET
from builder.spec.resolve import ImageSpec, ResolvedRecipe
from builder.store.checksum import sha256
from builder.store.store import Store


def built_spec(
    spec: ImageSpec, context: Context, store: Store, settings: Sequence[str]
) -> ImageSpec:
    """Return the spec of the image in a board's output directory.

    Recipes and parameters come from the manifest. Secrets, which are in no manifest, come from
    `spec`.

    Raises:
        UserError: there is no image, or it differs from its manifest or from `settings`.
    """
    output = Output(directory=context.output / spec.name, board=spec.name)
    manifest = _manifest(output)
    if store.digest(output.image, sha256) != manifest["image"]["sha256"]:
        raise UserError(
            f"{os.path.relpath(output.image)} does not match the checksum in {output.manifest.name}",
            hint=typed("build", "--board", spec.name),
        )
    built = replace(
        spec, recipes=tuple(known_recipes(context.tree, spec, manifest["recipes"]).values())
    )
    for setting in settings:
        name = setting.partition("=")[0]
        wanted, found = (_value(each, name) for each in (spec, built))
        if not is_secret(spec, name) and wanted != found:
            raise UserError(f"--set {name}: the image was built with {json.dumps(found)}")
    return built


def _manifest(output: Output) -> Manifest:
    if not output.image.is_file() or not output.manifest.is_file():
        raise UserError(
            f"there is no image of {output.board} in {os.path.relpath(output.directory)}",
            hint=typed("build", "--board", output.board),
        )
    try:
        manifest = json.loads(output.manifest.read_text())
    except ValueError as error:
        raise UserError(f"{output.manifest}: not JSON: {error}") from error
    if not is_manifest(manifest) or "recipes" not in manifest:
        raise UserError(f"{output.manifest}: not the manifest of a build")
    return manifest


def known_recipes(
    tree: SpecTree, spec: ImageSpec, present: Mapping[str, Mapping[str, Scalar]]
) -> Mapping[str, ResolvedRecipe]:
    """Return the recipes of an image that exist in the tree, with the image's parameters.

    Secrets are assumed to have the values of the board's own spec.
    """
    files = tree.recipe_files(spec.directories)
    own = spec.parameters()
    known = {
        name: {
            key: own.get(name, {}).get(key, "") if value == SECRET else value
            for key, value in values.items()
        }
        for name, values in present.items()
        if name in files
    }
    return extra_recipes(tree, [*known], present=known, directories=spec.directories).known


def _value(spec: ImageSpec, name: str) -> Scalar | None:
    recipe, _, key = name.partition(".")
    return spec.parameters().get(recipe, {}).get(key)
