# SPDX-License-Identifier: MIT
"""Fixtures: installed test doubles of PetaLinux, and boards whose boot files they build."""

from tests.fixtures.petalinux_fixtures import bench, bsp, built, built_once
from tests.petalinux.fixtures import bash, common, python, tool, tools

__all__ = ["bash", "bench", "bsp", "built", "built_once", "common", "python", "tool", "tools"]
