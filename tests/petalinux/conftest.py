# SPDX-License-Identifier: MIT
"""Boards whose boot files PetaLinux's double builds."""

from tests.unit.petalinux_provider.fixtures import bench, bsp, built, built_once

__all__ = ["bench", "bsp", "built", "built_once"]
