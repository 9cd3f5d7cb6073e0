# SPDX-License-Identifier: MIT
"""Benchmarks of the builder: ratios against reference commands on the same machine."""
