# SPDX-License-Identifier: MIT
"""Downloads."""
