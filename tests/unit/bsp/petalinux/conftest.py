# SPDX-License-Identifier: MIT
"""Fixtures: boards whose boot files the PetaLinux double builds."""

from tests.fixtures.petalinux_fixtures import bench, bsp, built, built_once

__all__ = ["bench", "bsp", "built", "built_once"]
