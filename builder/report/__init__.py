# SPDX-License-Identifier: MIT
"""Events of a build, and the views that print them."""
