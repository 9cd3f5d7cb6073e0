# SPDX-License-Identifier: MIT
"""What a hardware export of Vivado says of a board."""
