# SPDX-License-Identifier: MIT
"""Access to data of others within limits: files, archives, directory trees."""
