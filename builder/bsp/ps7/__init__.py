# SPDX-License-Identifier: MIT
"""Start-up tables of the Zynq-7000 processing system and their checks."""
