# SPDX-License-Identifier: MIT
"""Selection of recipes to apply to an existing system, with their parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import UserError
from builder.spec.models import Scalar
from builder.spec.order import MOST_REQUIRED
from builder.spec.reader import Reader, SpecTree, closest
from builder.spec.recipe import SECRET
from builder.spec.recipe_rules import check_recipe
from builder.spec.resolve import ResolvedRecipe
from builder.spec.values import forbidden, parse_setting, read_value


@dataclass(frozen=True, kw_only=True)
class ExtraRecipes:
    """The recipes to apply to a system.

    Attributes:
        applied: the recipes, each after those that it requires.
        known: these recipes, and those that they require and that the system already has.
    """

    applied: tuple[ResolvedRecipe, ...]
    known: Mapping[str, ResolvedRecipe]


def extra_recipes(
    tree: SpecTree,
    names: Sequence[str],
    *,
    present: Mapping[str, Mapping[str, Scalar]],
    settings: Sequence[str] = (),
    directories: Sequence[Path] = (),
) -> ExtraRecipes:
    """Return the recipes to apply to a system.

    These are the named recipes, the recipes with a parameter in `settings`, and the recipes that they
    require and that the system does not have.

    Args:
        tree: the tree of specification files.
        names: names of requested recipes.
        present: recipes that the system has, with their parameters.
        settings: settings `recipe.parameter=value`.
        directories: directories of the board and of the boards that it extends, which may have
            recipes of their own.

    Raises:
        UserError: a name, a setting or a recipe is wrong.
    """
    work = _Work(tree, present, directories)
    parsed = [parse_setting(text) for text in settings]
    wanted = dict.fromkeys((*names, *(recipe for recipe, _, _ in parsed)))
    for name in wanted:
        work.add(name, asked=True)
    work.reader.raise_problems()
    for recipe, key, raw in parsed:
        work.set(recipe, key, raw)
    for name in work.applied:
        work.check_secrets(name)
    work.check_defaults()
    return ExtraRecipes(applied=tuple(work.found[name] for name in work.applied), known=work.found)


class _Work:
    """Implementation of `extra_recipes`."""

    def __init__(
        self,
        tree: SpecTree,
        present: Mapping[str, Mapping[str, Scalar]],
        directories: Sequence[Path],
    ) -> None:
        self.reader = Reader()
        self.found: dict[str, ResolvedRecipe] = {}
        self.applied: list[str] = []
        self._files = tree.recipe_files(directories)
        self._distributions = tree.distribution_files()
        self._local = self.reader.local(tree.local_file)
        self._present = present
        self._trail: list[str] = []

    def add(self, name: str, *, asked: bool) -> None:
        """Find a recipe and its requirements; apply it if it is `asked` for, or missing."""
        if name in self._trail:
            raise UserError(f"recipes require each other: {' -> '.join((*self._trail, name))}")
        if len(self._trail) >= MOST_REQUIRED:
            raise UserError(
                f"recipe {name}: its chain of required recipes has more than {MOST_REQUIRED}"
            )
        if name not in self._files:
            raise UserError(f"there is no recipe {name}{closest(name, self._files)}")
        applied = (asked or name not in self._present) and name not in self.applied
        if name in self.found and not applied:
            return
        model = self.reader.recipe(self._files[name])
        if model is None:
            return  # its problems are reported together with others
        check_recipe(self.reader, self._files[name], model, self._distributions)
        self._trail.append(name)
        for required in model.requires:
            self.add(required, asked=False)
        self._trail.pop()
        values = {key: item.default for key, item in model.parameters.items()}
        own = {} if self._local is None else self._local.parameters.get(name, {})
        for given in (own, self._present.get(name, {})):
            values |= {key: value for key, value in given.items() if key in values}
        self.found[name] = ResolvedRecipe(
            name=name, directory=self._files[name].parent, model=model, parameters=values
        )
        if applied:
            self.applied.append(name)

    def set(self, name: str, key: str, raw: str) -> None:
        """Set a parameter.

        Raises:
            UserError: there is no such parameter, or it cannot have this value.
        """
        recipe = self.found[name]
        value = read_value({name: recipe.model.parameters}, name, key, raw)
        self.found[name] = replace(recipe, parameters={**recipe.parameters, key: value})

    def check_secrets(self, name: str) -> None:
        """Check that all values of an applied recipe are known.

        Raises:
            UserError: the system has a secret whose value is unknown.
        """
        recipe = self.found[name]
        unknown = [
            key
            for key, value in recipe.parameters.items()
            if value == SECRET and recipe.model.parameters[key].secret
        ]
        if unknown:
            options = " ".join(f"--set {name}.{key}=..." for key in unknown)
            raise UserError(
                f"recipe {name} is already in the image, with secrets that the image's manifest "
                f"does not contain: {', '.join(unknown)}",
                hint=f"set them: {options}",
            )

    def check_defaults(self) -> None:
        """Check that no forbidden default is left, as far as values are known.

        Raises:
            UserError: another value must be set.
        """
        models = {name: recipe.model for name, recipe in self.found.items()}
        values = {name: recipe.parameters for name, recipe in self.found.items()}
        for name, key, why in forbidden(models, values):
            raise UserError(
                f"{name}.{key} {why}", hint=f"set another value: --set {name}.{key}=..."
            )
