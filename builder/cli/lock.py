# SPDX-License-Identifier: MIT
"""The command `lock`: updates the lock files of recipes' Python packages."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.markup import escape

from builder.apt.distribution_selection import select_distribution
from builder.cli.context import Context
from builder.cli.options import DISTRIBUTIONS, RECIPES, Verbs, completed
from builder.errors import UserError
from builder.python_lock.lock import Change, make_lock, write_lock
from builder.python_lock.modules import apt_modules, has_modules
from builder.report.events import Note
from builder.rootfs.mmdebstrap import downloads
from builder.rootfs.python_index import index_url
from builder.spec.distributions import named_distribution
from builder.spec.models import Architecture
from builder.spec.order import in_order
from builder.spec.reader import Reader, closest
from builder.spec.resolve import NamedDistribution, ResolvedRecipe

ARCHITECTURES = (Architecture.ARMHF.value, Architecture.ARM64.value)


def lock(arguments: argparse.Namespace, context: Context) -> int:
    """Update lock files; required recipes come first, since other lock files depend on theirs.

    Raises:
        UserError: a name is unknown, or a named recipe has no lock file to update.
    """
    recipes = _recipes(context)
    for name in arguments.recipes:
        if name not in recipes:
            raise UserError(f"--recipe {name}: there is no such recipe{closest(name, recipes)}")
    known = context.tree.distribution_files()
    for name in arguments.distros:
        if name not in known:
            raise UserError(f"--distro {name}: there is no such distribution{closest(name, known)}")
    wanted = arguments.recipes or list(recipes)
    work: list[tuple[ResolvedRecipe, NamedDistribution, Architecture, Path]] = []
    for distro in arguments.distros or list(known):
        distribution = named_distribution(context.tree, distro)
        for architecture in map(Architecture, arguments.architectures or ARCHITECTURES):
            for recipe in recipes.values():
                path = recipe.lock_file(distribution, architecture)
                # New lock files are created only for distributions that were named.
                if path and recipe.name in wanted and (path.exists() or arguments.distros):
                    work.append((recipe, distribution, architecture, path))
    for name in arguments.recipes:
        if all(recipe.name != name for recipe, *_ in work):
            raise _no_lock_file(recipes[name], arguments.distros)
    for recipe, distribution, architecture, path in work:
        text = _make(context, recipe, recipes, distribution, architecture)
        _show(context, path, write_lock(path, text))
    return 0


def _no_lock_file(recipe: ResolvedRecipe, distros: Sequence[str]) -> UserError:
    """Return the error about a named recipe without a lock file to update."""
    if not recipe.model.pip or distros:
        place = f" for {', '.join(distros)}" if distros else ""
        return UserError(
            f"recipe {recipe.name} names no lock file{place}",
            hint="set `pip` (the lock file) and `requirements` (its packages) in recipe.yaml",
        )
    return UserError(
        f"recipe {recipe.name} has no lock file yet",
        hint="name the distribution to create it for: --distro debian-bookworm",
    )


def _recipes(context: Context) -> Mapping[str, ResolvedRecipe]:
    """Return all recipes, each after the recipes that it requires."""
    reader = Reader()
    files = context.tree.recipe_files([path.parent for path in context.tree.board_files().values()])
    models = {name: reader.recipe(path) for name, path in files.items()}
    order = in_order(reader, sorted(models), models, files)
    reader.raise_problems()
    return {
        name: ResolvedRecipe(name=name, directory=files[name].parent, model=model, parameters={})
        for name in order
        if (model := models[name])
    }


def _make(
    context: Context,
    recipe: ResolvedRecipe,
    recipes: Mapping[str, ResolvedRecipe],
    distribution: NamedDistribution,
    architecture: Architecture,
) -> str:
    """Return the text of a recipe's new lock file."""
    names = _required(recipe, recipes)
    required = [each for name, each in recipes.items() if name in names]
    packages = [
        package
        for each in (*required, recipe)
        for package in each.packages(distribution, architecture)
    ]
    with TemporaryDirectory() as folder:
        provided = _from_apt(context, distribution, architecture, packages, Path(folder))
        work = Path(folder) / "work"
        work.mkdir()
        return make_lock(
            recipe,
            required,
            distribution,
            architecture,
            brought=provided,
            index=index_url(),
            work=work,
        )


def _show(context: Context, path: Path, change: Change) -> None:
    context.console.print(f"[bold]{escape(str(path))}[/]")
    for sign, packages in (("-", change.removed), ("+", change.added)):
        for package in packages:
            context.console.print(f"  {sign} {escape(package)}")


def _from_apt(
    context: Context,
    distribution: NamedDistribution,
    architecture: Architecture,
    packages: Sequence[str],
    work: Path,
) -> dict[str, str]:
    """Return the Python packages that apt installs; uses the archive only if there are any."""
    if not has_modules(packages):
        return {}
    store = context.open_store()
    with store.in_use():
        archive = select_distribution(
            [distribution], architecture, store, listener=context.console_note
        )
        return apt_modules(
            archive,
            packages,
            downloads(archive, store),
            work,
            say=lambda text: context.console_note(Note(text=text, loud=True)),
        )


def _required(recipe: ResolvedRecipe, recipes: Mapping[str, ResolvedRecipe]) -> set[str]:
    """Return the recipes that a recipe requires, directly or indirectly."""
    found: set[str] = set()
    todo = [*recipe.model.requires]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += recipes[name].model.requires
    return found


def register(verbs: Verbs) -> None:
    """Register the command."""
    verb = verbs.add(
        "lock",
        lock,
        "update the lock files of recipes' Python packages",
        group="developers",
        examples=[
            "lock",
            "lock --recipe jupyter --distro debian-bookworm --architecture arm64",
        ],
    )
    recipe = verb.add_argument(
        "--recipe", action="append", default=[], dest="recipes", metavar="NAME",
        help="only for this recipe (repeatable; default: all recipes)",
    )  # fmt: skip
    completed(recipe, RECIPES)
    distro = verb.add_argument(
        "--distro", action="append", default=[], dest="distros", metavar="NAME",
        help="only for this distribution; creates missing lock files (repeatable; default: all "
        "distributions)",
    )  # fmt: skip
    completed(distro, DISTRIBUTIONS)
    verb.add_argument(
        "--architecture", action="append", default=[], dest="architectures", choices=ARCHITECTURES,
        help="only for this architecture (repeatable; default: both)",
    )  # fmt: skip
