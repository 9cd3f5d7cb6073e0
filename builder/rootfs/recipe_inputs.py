# SPDX-License-Identifier: MIT
"""The values and files that the layer of a recipe depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from builder.apt.archive import Archive
from builder.rootfs.board_view import BoardView
from builder.rootfs.bootstrap import QEMU_CPU
from builder.spec.models import Scalar
from builder.spec.resolve import ResolvedRecipe


@dataclass(frozen=True, kw_only=True)
class RecipeInputs:
    """The inputs of a recipe's templates and scripts.

    recipe: the recipe.
    required: the recipes that it requires, directly or indirectly.
    archive: the distribution, its architecture and its date.
    view: the board; None unless the recipe is board-specific.
    """

    recipe: ResolvedRecipe
    required: Sequence[ResolvedRecipe]
    archive: Archive
    view: BoardView | None = None

    @property
    def secrets(self) -> list[str]:
        """The names of the settings that are secret."""
        return [
            _setting(item, key)
            for item in (self.recipe, *self.required)
            for key, parameter in item.model.parameters.items()
            if parameter.secret
        ]

    def settings(self) -> dict[str, object]:
        """Return the values that the layer depends on."""
        values: dict[str, object] = {
            _setting(item, key): value
            for item in (self.recipe, *self.required)
            for key, value in item.parameters.items()
        }
        values["distribution"] = vars(self._distribution())
        values["epoch"] = self.archive.epoch
        if self.view:
            values["board"] = self.view.board.model_dump(mode="json")
            values["hardware"] = self.view.hardware
        return values

    def files(self) -> list[Path]:
        """Return the files and directories that the layer depends on."""
        model = self.recipe.model
        names = [item.source for item in (*model.files, *model.templates)]
        names += [name for name in (model.scripts.target, model.scripts.host) if name]
        names += model.scripts.inputs
        return [
            *(self.recipe.directory / name for name in ("recipe.yaml", *names)),
            *(self.view.files if self.view else []),
        ]

    def template_variables(self) -> dict[str, object]:
        """Return the variables of the recipe's templates."""
        names: dict[str, object] = {
            "recipes": SimpleNamespace(
                **{
                    identifier(item.name): SimpleNamespace(**_identifiers(item.parameters))
                    for item in self.required
                }
            ),
            "distribution": self._distribution(),
            **_identifiers(self.recipe.parameters),
        }
        if self.view:
            names["board"] = self.view.board
        return names

    def environment(self) -> dict[str, str]:
        """Return the environment of all commands that run in the target."""
        return {
            "SOURCE_DATE_EPOCH": str(self.archive.epoch),
            "DEBIAN_FRONTEND": "noninteractive",
            **QEMU_CPU[self.archive.architecture],
        }

    def _distribution(self) -> SimpleNamespace:
        distribution = self.archive.distribution
        return SimpleNamespace(
            name=distribution.name,
            family=distribution.model.family,
            suite=distribution.model.suite,
            version=distribution.model.version,
            architecture=self.archive.architecture.value,
        )


def identifier(name: str) -> str:
    """Return a kebab-case name as an identifier of Jinja and the shell."""
    return name.replace("-", "_")


def _identifiers(parameters: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {identifier(key): value for key, value in parameters.items()}


def _setting(recipe: ResolvedRecipe, key: str) -> str:
    return f"parameter {recipe.name}.{key}"
