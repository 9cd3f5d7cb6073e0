# SPDX-License-Identifier: MIT
"""The root filesystem that a recipe is applied to."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.rootfs.layers import MountedRoot
from builder.steps.step import Job


@dataclass(frozen=True, kw_only=True)
class Target:
    """A mounted root filesystem, and how to run commands in it.

    job: the job of the recipe's step.
    root: the mounted root filesystem.
    inside: argument prefix that runs a command inside it.
    environment: environment of these commands.
    """

    job: Job
    root: MountedRoot
    inside: Sequence[str]
    environment: Mapping[str, str]

    def run(self, *argv: str, stdin: str | None = None) -> str:
        """Run a command inside the root filesystem and return its output."""
        return self.job.run(
            self.root.workspace, *self.inside, *argv, environment=self.environment, stdin=stdin
        )

    def salt(self, purpose: str) -> str:
        """Return 16 characters of salt for a password hash.

        The salt depends only on the store's secret and on `purpose`, so that a password has the
        same hash in all builds from one store.
        """
        digest = hmac.digest(self.job.store.secret(), purpose.encode(), hashlib.sha256)
        return base64.b64encode(digest, altchars=b"./").decode()[:16]
