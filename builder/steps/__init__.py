# SPDX-License-Identifier: MIT
"""How each thing is done: a step is one unit of work with declared inputs and one output."""
