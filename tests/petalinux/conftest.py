# SPDX-License-Identifier: MIT
"""Installed doubles of PetaLinux, and boards whose boot files they build."""

from tests.petalinux.fixtures import bash, common, python, tool, tools
from tests.unit.petalinux_provider.fixtures import bench, bsp, built, built_once

__all__ = ["bash", "bench", "bsp", "built", "built_once", "common", "python", "tool", "tools"]
