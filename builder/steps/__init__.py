# SPDX-License-Identifier: MIT
"""The base of all steps: units of work with declared inputs and one output."""
