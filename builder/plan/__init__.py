# SPDX-License-Identifier: MIT
"""Plans of builds: the steps in order, the cached ones, and the reasons to build the others."""
