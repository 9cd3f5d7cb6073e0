# SPDX-License-Identifier: MIT
"""Docker containers and images."""
