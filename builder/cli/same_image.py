# SPDX-License-Identifier: MIT
"""The words by which other commands mean the image of this command line, and no other one."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping

from builder.cli.context import Context
from builder.spec.resolve import ImageSpec

UNTOLD = "..."
"""Placeholder for a secret, which is never printed."""


def same_image(
    arguments: argparse.Namespace, context: Context, specs: Mapping[str, ImageSpec]
) -> list[str]:
    """Return the options that other commands need to mean the same image, at the same place."""
    given = {
        "--distro": arguments.distro,
        "--profile": arguments.profile,
        "--boot-files": arguments.boot_files,
        "--bsp": arguments.bsp,
        "--petalinux-installer": arguments.petalinux_installer,
    }
    pairs = [*_places(arguments, context)]
    pairs += [(option, str(value)) for option, value in given.items() if value]
    pairs += [("--set", _told(text, specs)) for text in arguments.settings]
    words = [word for pair in pairs for word in pair]
    return words + (["--accept-petalinux-license"] if arguments.accept_petalinux_license else [])


def _places(arguments: argparse.Namespace, context: Context) -> Iterator[tuple[str, str]]:
    for path in context.boards_dirs:
        yield "--boards-dir", os.path.relpath(path)
    # The default value is no help: in a container, and after sudo, it is the store that was given.
    if any(word.partition("=")[0] == "--store" for word in context.argv):
        yield "--store", os.path.relpath(context.store)
    if arguments.output != "output":
        yield "--output", os.path.relpath(context.output)
    if context.engine != "auto":
        yield "--engine", context.engine


def _told(setting: str, specs: Mapping[str, ImageSpec]) -> str:
    """Return a setting as it can be typed, but for the value of a secret."""
    name, _, value = setting.partition("=")
    if any(is_secret(spec, name) for spec in specs.values()):
        return f"{name}={UNTOLD}"
    return f"{name}={'@' if value.startswith('@') else ''}{value}"


def is_secret(spec: ImageSpec, name: str) -> bool:
    """Return whether a parameter is a secret, by its name: RECIPE.PARAMETER."""
    recipe, _, key = name.partition(".")
    return any(
        each.name == recipe and key in each.model.parameters and each.model.parameters[key].secret
        for each in spec.recipes
    )
