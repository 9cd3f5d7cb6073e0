# SPDX-License-Identifier: MIT
"""Reports of a build: one stream of events, and the views that render it."""
