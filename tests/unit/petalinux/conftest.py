# SPDX-License-Identifier: MIT
"""Installed doubles of PetaLinux."""

from tests.petalinux.fixtures import common, tools

__all__ = ["common", "tools"]
