# SPDX-License-Identifier: MIT
"""Importer of boards of PYNQ's sdbuild."""
