# SPDX-License-Identifier: MIT
"""The steps of a board's image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from builder.archive.archive import Archive
from builder.bsp.mainline import mainline
from builder.bsp.provider import BootArtifacts
from builder.errors import UserError
from builder.spec.resolve import ImageSpec, ResolvedRecipe
from builder.steps.bootstrap import Bootstrap
from builder.steps.image import Compressed, Image
from builder.steps.recipe import RecipeLayer
from builder.steps.step import Step
from builder.steps.wheels import Wheels

PROVIDERS: Mapping[str, Callable[[ImageSpec, Archive], BootArtifacts]] = {
    "mainline": mainline.boot_artifacts,
}
"""Who makes the boot files, by the name in a board's `bsp.provider`."""


@dataclass(frozen=True, kw_only=True)
class BoardSteps:
    """The steps of one board: `image` is the last; `layers` make the root filesystem."""

    spec: ImageSpec
    archive: Archive
    boot: BootArtifacts
    layers: Sequence[Step]
    image: Step
    compressed: Step | None

    @property
    def targets(self) -> list[Step]:
        """The steps whose output the user gets."""
        return [self.image, *([self.compressed] if self.compressed else [])]


def board_steps(spec: ImageSpec, archive: Archive, *, compress: str | None = None) -> BoardSteps:
    """Return the steps that make a board's image from an archive's packages.

    Raises:
        UserError: the image cannot be made of this distribution's packages.
    """
    distribution, architecture = archive.distribution, archive.architecture
    problem = spec.unusable(distribution)
    if problem:
        raise UserError(
            problem, hint="take another distribution with --distro, or write the lock file"
        )
    scope = f"{distribution.name}-{architecture.value}"
    packages = [
        package
        for recipe in spec.recipes
        for package in recipe.packages(distribution, architecture)
    ]
    bootstrap = Bootstrap(archive, packages, scope=scope)
    layers: list[Step] = [bootstrap]
    by_name = {recipe.name: recipe for recipe in spec.recipes}
    for recipe in spec.recipes:
        layers.append(
            RecipeLayer(
                recipe,
                required=_required(recipe, by_name),
                below=list(layers),
                wheels=_wheels(recipe, archive, scope),
                archive=archive,
                board=spec.board,
                scope=spec.name if recipe.model.board_specific else scope,
            )
        )
    boot = PROVIDERS[spec.board.bsp.provider](spec, archive)
    image = Image(
        spec.name,
        spec.board.partitions,
        layers=[*layers, boot.kernel_layer],
        boot_files=boot.boot_files,
        board_file=spec.directory / "board.yaml",
        epoch=archive.epoch,
    )
    return BoardSteps(
        spec=spec,
        archive=archive,
        boot=boot,
        layers=layers,
        image=image,
        compressed=Compressed(image, spec.name, compress) if compress else None,
    )


def _required(
    recipe: ResolvedRecipe, by_name: dict[str, ResolvedRecipe]
) -> Sequence[ResolvedRecipe]:
    """Return what a recipe requires, directly or not."""
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
