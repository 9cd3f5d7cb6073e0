# SPDX-License-Identifier: MIT
"""apt settings for package indexes, independent of the host's configuration."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from builder.spec.models import Architecture

VERIFIED = (
    'Acquire::AllowInsecureRepositories "false";',
    'Acquire::AllowWeakRepositories "false";',
    'Acquire::AllowDowngradeToInsecureRepositories "false";',
    'APT::Get::AllowUnauthenticated "false";',
)
"""Lines of apt.conf(5) with which apt refuses everything that is not signed."""

_TIMEOUT_SECONDS = 20
# The host administrator's settings for downloads also apply to builds.
_HOST_OPTIONS = re.compile(r"^Acquire::(?:http|https|ftp)::.*;$|^Acquire::(?:Retries|Check).*;$")


def configuration(directory: Path, architecture: Architecture, more: Sequence[str]) -> str:
    """Return the apt.conf(5) of the indexes in a directory; apt reads it after the host's."""
    lines = [
        f'APT::Architecture "{architecture.value}";',
        f'APT::Architectures {{ "{architecture.value}"; }};',
        'APT::Sandbox::User "root";',
        'Acquire::Languages "none";',
        *VERIFIED,
        *more,
        f'Acquire::http::Timeout "{_TIMEOUT_SECONDS}";',
        f'Acquire::https::Timeout "{_TIMEOUT_SECONDS}";',
        f'Dir::Etc::sourcelist "{directory / "sources.list"}";',
        'Dir::Etc::sourceparts "-";',
        f'Dir::State "{directory / "state"}";',
        f'Dir::State::lists "{directory / "lists"}";',
        f'Dir::State::status "{directory / "state/status"}";',
        f'Dir::Cache "{directory / "cache"}";',
        # Caches that apt derives from the indexes could not be verified.
        'Dir::Cache::pkgcache "";',
        'Dir::Cache::srcpkgcache "";',
        # Do not run the host's hooks after an update (appstream, packagekit).
        "#clear APT::Update::Post-Invoke;",
        "#clear APT::Update::Post-Invoke-Success;",
    ]
    return "".join(f"{line}\n" for line in lines)


def as_arguments(lines: Sequence[str]) -> list[str]:
    """Return lines of apt.conf(5), each with one value, as arguments of apt programs."""
    found = [re.fullmatch(r'(\S+) "([^"]*)";', line) for line in lines]
    return [word for match in found if match for word in ("-o", f"{match[1]}={match[2]}")]


def host_options() -> list[str]:
    """Return the host's apt options for downloads (proxies, certificates), one per line."""
    dumped = subprocess.run(
        ["apt-config", "dump"], capture_output=True, text=True, check=False
    ).stdout
    return [line for line in dumped.splitlines() if _HOST_OPTIONS.match(line) and '""' not in line]
