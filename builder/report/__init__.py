# SPDX-License-Identifier: MIT
"""What a build tells: one stream of events, and the views that render it."""
