# SPDX-License-Identifier: MIT
"""Installed test double, whose commands run as a user runs them: bash, settings.sh, command."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.petalinux.double import make_installer
from tests.petalinux.releases import RELEASES, Release

PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Installed:
    """An installed double of one release."""

    release: Release
    root: Path

    def run(
        self, *words: str, cwd: Path, given: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a shell that sourced settings.sh; its outputs are merged."""
        settings = shlex.quote(str(self.root / "settings.sh"))
        return run(
            "bash",
            "-c",
            f"source {settings} >/dev/null && {shlex.join(words)}",
            cwd=cwd,
            given=given,
            environment=environment,
        )

    def project(self, cwd: Path, family: str = "zynq", name: str = "p") -> Path:
        """Create a project from a template."""
        first = ("project",) if self.release.python else ("-t", "project")
        done = self.run("petalinux-create", *first, "--template", family, "-n", name, cwd=cwd)
        assert done.returncode == 0, done.stdout
        return cwd / name


def run(
    *words: str | Path, cwd: Path, given: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program with a small environment."""
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={
            "HOME": str(cwd),
            "LANG": "C.UTF-8",
            "PATH": PATH,
            "SHELL": "/bin/bash",
            **(environment or {}),
        },
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )


def install(release: str, folder: Path, *, artifacts: Path | None = None) -> Installed:
    """Install a double that accepts any host into `folder`/VERSION."""
    installer = make_installer(release, folder, artifacts=artifacts, any_host=True)
    target = folder / release
    done = run(installer, "-y", "--dir", target, cwd=folder)
    assert done.returncode == 0, done.stdout
    installer.unlink()
    return Installed(RELEASES[release], target)
