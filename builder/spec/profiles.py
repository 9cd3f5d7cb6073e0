# SPDX-License-Identifier: MIT
"""Profiles and the profiles that they extend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from builder.spec.profile import Profile
from builder.spec.reader import MOST_BASES, Reader, closest


def read_profiles(
    reader: Reader, path: Path, files: Mapping[str, Path]
) -> list[tuple[Path, Profile]] | None:
    """Read a profile and the profiles that it extends, each with its file; the base comes first.

    Return None if there are problems, which are added to the reader. `files` are the profiles by
    name.
    """
    trail: list[Path] = []
    found: list[tuple[Path, Profile]] = []
    while True:
        profile = reader.profile(path)
        if profile is None:
            return None
        trail.append(path)
        found.insert(0, (path, profile))
        name = profile.extends
        if name is None:
            return found
        if name not in files:
            what = f"there is no profile {name}{closest(name, files)}"
            reader.add_problem(path, ("extends",), what)
            return None
        if len(trail) > MOST_BASES:
            what = f"is in a chain of more than {MOST_BASES} profiles that extend each other"
            reader.add_problem(path, ("extends",), what)
            return None
        if files[name] in trail:
            circle = [*trail[trail.index(files[name]) :], files[name]]
            what = f"goes in a circle: {' -> '.join(each.stem for each in circle)}"
            reader.add_problem(path, ("extends",), what)
            return None
        path = files[name]
