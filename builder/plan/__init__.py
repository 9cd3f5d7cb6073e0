# SPDX-License-Identifier: MIT
"""Plans of builds: the steps in order, which are kept, and why the others are not."""
