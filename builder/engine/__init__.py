# SPDX-License-Identifier: MIT
"""Where a step's commands run."""
