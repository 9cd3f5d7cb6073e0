# SPDX-License-Identifier: MIT
"""Creation, parsing and comparison of a recipe's lock files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from packaging.utils import canonicalize_name

from builder.python_lock.resolution import Resolver, Target
from builder.spec.models import Architecture
from builder.spec.resolve import NamedDistribution, ResolvedRecipe
from builder.untrusted.reading import plain_text


@dataclass(frozen=True, kw_only=True)
class Change:
    """Packages that a new lock file adds and removes, each as `name version`."""

    added: tuple[str, ...]
    removed: tuple[str, ...]


def make_lock(
    recipe: ResolvedRecipe,
    required: Sequence[ResolvedRecipe],
    distribution: NamedDistribution,
    architecture: Architecture,
    *,
    brought: Mapping[str, str],
    index: str,
    work: Path,
) -> str:
    """Return the text of a recipe's lock file for a distribution and an architecture.

    It lists the packages for the recipe's requirements, except those from apt and from the lock
    files of required recipes, each with the hash of a single wheel for the target.

    Args:
        recipe: the recipe.
        required: the recipes that it requires, directly or indirectly.
        distribution: the distribution, which determines the version of Python.
        architecture: architecture of the target.
        brought: versions of the Python packages that apt installs, by name.
        index: URL of the package index.
        work: an empty directory.

    Raises:
        StepError: the requirements cannot be met, or the index cannot be read.
    """
    below = [
        (each.name, lock)
        for each in required
        if (lock := each.lock_file(distribution, architecture)) and lock.is_file()
    ]
    locked = {name: version for _, lock in below for name, version in read_lock(lock).items()}
    target = Target(python=distribution.model.python, architecture=architecture)
    resolver = Resolver(target, index, work)
    wanted = recipe.requirements(distribution, architecture)
    resolved = resolver.resolve(wanted, brought=brought, locked=locked)
    own = {
        name: version
        for name, version in resolved.items()
        if name not in locked and brought.get(name) != version
    }
    pins = resolver.wheels(own) if own else []
    left_out = sorted(name for name, _ in below)
    return _header(recipe, distribution, target, wanted, left_out) + "".join(
        f"{pin.name}=={pin.version} --hash=sha256:{pin.sha256}\n" for pin in pins
    )


def read_lock(path: Path) -> dict[str, str]:
    """Return the packages of a lock file with their versions.

    Raises:
    UserError: it cannot be read, or is not a plain file.
    """
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", plain_text(path), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def write_lock(path: Path, text: str) -> Change:
    """Write a lock file if it has changed, and return the difference."""
    before = read_lock(path) if path.exists() else {}
    if not path.exists() or plain_text(path) != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    after = read_lock(path)
    return Change(
        added=tuple(f"{n} {v}" for n, v in sorted(after.items()) if before.get(n) != v),
        removed=tuple(f"{n} {v}" for n, v in sorted(before.items()) if after.get(n) != v),
    )


def _header(
    recipe: ResolvedRecipe,
    distribution: NamedDistribution,
    target: Target,
    wanted: Sequence[str],
    left_out: Sequence[str],
) -> str:
    architecture = target.architecture.value
    command = f"build.py lock --recipe {recipe.name} --distro {distribution.name}"
    provided = " and ".join(["apt's packages", *(f"the lock of {name}" for name in left_out)])
    paragraphs = [
        f"Locked for {distribution.name} on {architecture}, Python {target.python}, by",
        f"    {command} --architecture {architecture}",
        "Requirements:",
        *(f"    {each}" for each in wanted),
        f"Without {provided}. The list is complete: install it without dependencies.",
        "Each hash is that of the wheel for the target.",
    ]
    lines = [
        text if text.startswith(" ") else fill(text, 98, break_long_words=False)
        for text in paragraphs
    ]
    commented = "\n".join(f"# {line}" for text in lines for line in text.split("\n"))
    return f"# SPDX-License-Identifier: MIT\n{commented}\n"
