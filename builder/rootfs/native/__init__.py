# SPDX-License-Identifier: MIT
"""Native execution: programs of the host's architecture in the target's root filesystem."""
