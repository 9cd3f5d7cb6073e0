# SPDX-License-Identifier: MIT
"""The output directory: image, manifest, report."""
