# SPDX-License-Identifier: MIT
"""Publication of builds: image, manifest and report in the output directory."""
