# SPDX-License-Identifier: MIT
"""Facts about a board from Vivado's hardware exports."""
