# SPDX-License-Identifier: MIT
"""Bounded access to untrusted data: files, archives, directory trees."""
