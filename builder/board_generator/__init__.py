# SPDX-License-Identifier: MIT
"""Generator of board directories from hardware exports."""
