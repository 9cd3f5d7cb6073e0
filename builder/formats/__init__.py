# SPDX-License-Identifier: MIT
"""Readers and writers of file formats."""
