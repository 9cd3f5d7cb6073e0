# SPDX-License-Identifier: MIT
"""Boards whose boot files PetaLinux's double builds."""

from tests.fixtures.petalinux_fixtures import bench, bsp, built, built_once

__all__ = ["bench", "bsp", "built", "built_once"]
