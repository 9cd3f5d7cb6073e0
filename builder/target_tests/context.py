# SPDX-License-Identifier: MIT
"""Facts about an image for its checks, and the files with its checks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.qemu_devicetree.machine import machine_facts
from builder.spec.resolve import ImageSpec

_HERE = Path(__file__).parent
_NAMES = ("commands.py", "memory.py", "plugin.py", "server.py", "session.py")
MODULES = {f"builder/target_tests/{name}": _HERE / name for name in _NAMES}
"""Modules that run the checks on the host and on the board, by their path in the image."""


def check_files(spec: ImageSpec) -> dict[str, Path]:
    """Return the files and directories with an image's checks by name, in the order of execution.

    The names are `recipes/RECIPE/test_*.py` for recipes and `boards/BOARD/tests` for boards,
    wherever the recipe or the board is.
    """
    found = {
        f"recipes/{recipe.name}/{path.name}": path
        for recipe in spec.recipes
        for path in sorted(recipe.directory.glob("test_*.py"))
    }
    own = {f"boards/{directory.name}/tests": directory / "tests" for directory in spec.directories}
    return found | {name: path for name, path in own.items() if path.is_dir()}


def context(spec: ImageSpec, distribution: str) -> dict[str, Any]:
    """Return the facts about an image as JSON data.

    `secrets` has the names of secret parameters, `listens` the sockets that recipes declare.
    """
    return {
        "board": spec.name,
        "hardware": spec.hardware,
        "soc": spec.board.soc.value,
        "memory": spec.board.memory,
        "emulated-memory": machine_facts(spec.board.soc).memory(spec.board),
        "console": spec.board.console,
        "root-device": spec.board.root_device,
        "provider": spec.board.bsp.provider,
        "architecture": spec.architecture.value,
        "distribution": distribution,
        "parameters": spec.parameters(),
        "secrets": secrets(spec),
        "listens": listeners(spec),
    }


def listeners(spec: ImageSpec) -> list[dict[str, Any]]:
    """Return the sockets on which programs of an image's recipes may listen."""
    return [
        {
            "recipe": recipe.name,
            "protocol": each.protocol,
            "port": each.number(recipe.parameters),
            "program": each.program,
            "loopback": each.loopback,
        }
        for recipe in spec.recipes
        for each in recipe.model.listens
    ]


def secrets(spec: ImageSpec) -> dict[str, list[str]]:
    """Return the names of each recipe's secret parameters."""
    return {
        recipe.name: names
        for recipe in spec.recipes
        if (names := [key for key, item in recipe.model.parameters.items() if item.secret])
    }


def without_secrets(known: Mapping[str, Any]) -> dict[str, Any]:
    """Return a context without the values of secret parameters, except empty ones."""
    hidden = known["secrets"]
    parameters = {
        recipe: {
            key: value
            for key, value in values.items()
            if not value or key not in hidden.get(recipe, ())
        }
        for recipe, values in known["parameters"].items()
    }
    return {**known, "parameters": parameters}
