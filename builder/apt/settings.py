# SPDX-License-Identifier: MIT
"""Settings of apt: what holds for an archive's indexes, whatever this machine is configured for."""

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
"""Lines of apt.conf(5) by which apt takes nothing that is not signed."""

_TIMEOUT_SECONDS = 20
# What the host's administrator configured for apt's downloads holds for ours too.
_HOST_OPTIONS = re.compile(r"^Acquire::(?:http|https|ftp)::.*;$|^Acquire::(?:Retries|Check).*;$")


def configuration(directory: Path, architecture: Architecture, more: Sequence[str]) -> str:
    """Return the apt.conf(5) of a set of indexes in a directory; apt reads it after the host's."""
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
        # What apt makes of the indexes to find things sooner: nobody could check it.
        'Dir::Cache::pkgcache "";',
        'Dir::Cache::srcpkgcache "";',
        # The host's hooks after an update (appstream, packagekit) are not for us.
        "#clear APT::Update::Post-Invoke;",
        "#clear APT::Update::Post-Invoke-Success;",
    ]
    return "".join(f"{line}\n" for line in lines)


def as_arguments(lines: Sequence[str]) -> list[str]:
    """Return lines of apt.conf(5), each with one value, as arguments of apt's programs."""
    found = [re.fullmatch(r'(\S+) "([^"]*)";', line) for line in lines]
    return [word for match in found if match for word in ("-o", f"{match[1]}={match[2]}")]


def host_options() -> list[str]:
    """Return the host's apt options for downloads (proxies, certificates), one a line."""
    dumped = subprocess.run(
        ["apt-config", "dump"], capture_output=True, text=True, check=False
    ).stdout
    return [line for line in dumped.splitlines() if _HOST_OPTIONS.match(line) and '""' not in line]
