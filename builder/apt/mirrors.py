# SPDX-License-Identifier: MIT
"""URLs of a distribution's package archives."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from builder.errors import HostError, UserError
from builder.spec.distribution import Pocket
from builder.spec.models import Architecture
from builder.spec.resolve import NamedDistribution

_KEYRING_DIRECTORIES = (
    Path("/usr/share/keyrings"),
    Path("/etc/apt/trusted.gpg.d"),
    Path("/etc/apt/keyrings"),
)


def mirror(distribution: NamedDistribution, pocket: Pocket, architecture: Architecture) -> str:
    """Return the base URL of the archive of a pocket, for this machine.

    A mirror for the architecture has priority over a general one, and the user's setting over the
    distribution's file. The value `host` means the host's apt configuration; if that does not list
    the archive, debootstrap's default is used.

    Raises:
        UserError: no mirror is known.
    """
    configured = next(
        known[name]
        for name in (f"{pocket.archive}-{architecture.value}", pocket.archive)
        for known in (distribution.mirrors, distribution.model.mirrors)
        if name in known
    )
    if configured != "host":
        return configured.rstrip("/")
    url = _host_mirror(pocket.suite) or _bootstrap_default(distribution, pocket)
    return url.rstrip("/")


def public_mirror(distribution: NamedDistribution, pocket: Pocket) -> str:
    """Return the base URL for the finished image, which does not depend on the host."""
    configured = distribution.model.mirrors[pocket.archive]
    if configured != "host":
        return configured.rstrip("/")
    return _bootstrap_default(distribution, pocket)


def keyring(distribution: NamedDistribution) -> Path:
    """Return the keyring with which the distribution's archives are signed.

    Raises:
        HostError: it is not installed.
    """
    name = Path(distribution.model.keyring)
    candidates = (
        [name] if name.is_absolute() else [folder / name for folder in _KEYRING_DIRECTORIES]
    )
    for path in candidates:
        if path.is_file():
            return path
    raise HostError(
        f"{distribution.name}: the archive's keyring {name} is not installed",
        hint=f"apt-get install {distribution.model.keyring_package}",
    )


def host_sources() -> list[str]:
    """Return the texts of the host's own apt source lists."""
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*"))]
    return [path.read_text(errors="replace") for path in files if path.is_file()]


def _host_mirror(suite: str) -> str | None:
    """Return the base URL from which the host's own apt fetches a suite."""
    for line in _host_targets():
        *names, url = line.split()
        if suite in names:
            return url
    return None


@cache
def _host_targets() -> Sequence[str]:
    """Return names and base URL of all suites in the host's apt configuration, one per line."""
    try:
        return subprocess.run(
            ["apt-get", "indextargets", "--format", "$(CODENAME) $(SUITE) $(RELEASE) $(REPO_URI)"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.splitlines()
    except FileNotFoundError:
        return []


def _bootstrap_default(distribution: NamedDistribution, pocket: Pocket) -> str:
    """Return debootstrap's default mirror, or its sibling for security updates."""
    script = Path("/usr/sbin/debootstrap")
    found = (
        re.search(r'^DEF_MIRROR="([^"]+)"', script.read_text(), re.MULTILINE)
        if script.exists()
        else None
    )
    if distribution.model.family != "debian" or found is None:
        raise UserError(
            f"{distribution.name}: no mirror is known for its archive {pocket.archive}",
            hint=f"set one in local.yaml: mirrors: {{{distribution.name}: "
            f"{{{pocket.archive}: URL}}}}",
        )
    base = found[1].rstrip("/")
    return base if pocket.archive == "main" else f"{base}-{pocket.archive}"
