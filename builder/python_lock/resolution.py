# SPDX-License-Identifier: MIT
"""Selection of wheels for a target by uv, without running programs of the target."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from builder.errors import StepError
from builder.rootfs.wheels import platform_tags
from builder.sandbox.process import clean_environment
from builder.spec.models import Architecture
from builder.steps.architectures import MACHINES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_HINT = "check the recipe's `requirements`, the network, and PIP_INDEX_URL or pip's configuration"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A target of wheels: the version of Python, such as 3.11, and the architecture."""

    python: str
    architecture: Architecture

    @property
    def marker(self) -> str:
        """The target as an environment marker (PEP 508)."""
        return (
            f"sys_platform == 'linux' and platform_machine == '{self._machine}' and "
            f"python_full_version == '{self.python}.*' and implementation_name == 'cpython'"
        )

    @property
    def tags(self) -> dict[Tag, int]:
        """The tags of supported wheels, with their rank: pip prefers the lowest."""
        major, minor = map(int, self.python.split("."))
        platforms = platform_tags(self.architecture)
        tags = [
            *cpython_tags((major, minor), platforms=platforms),
            *compatible_tags((major, minor), f"cp{major}{minor}", platforms),
        ]
        return {tag: rank for rank, tag in reversed([*enumerate(tags)])}

    @property
    def _machine(self) -> str:
        return MACHINES[self.architecture].uname


@dataclass(frozen=True, kw_only=True, order=True)
class Pin:
    """A package in a lock file: its version and the SHA-256 of the wheel for the target."""

    name: str
    version: str
    sha256: str


class Resolver:
    """Resolver of requirements with uv, for one target and one index, in a directory of its own."""

    def __init__(self, target: Target, index: str, work: Path) -> None:
        self._target = target
        self._index = index
        self._work = work
        # uv has no name for the platform armv7l, so pass it as a project's environment, for which a
        # wheel must exist (`required-environments`).
        marker = json.dumps([target.marker])
        (work / "pyproject.toml").write_text(
            f"[tool.uv]\nenvironments = {marker}\nrequired-environments = {marker}\n"
        )

    def resolve(
        self,
        requirements: Iterable[str],
        *,
        brought: Mapping[str, str],
        locked: Mapping[str, str],
    ) -> dict[str, str]:
        """Return name and version of all packages that requirements need, directly or indirectly.

        Args:
            requirements: requirements (PEP 508).
            brought: packages from apt: used if they fit, even if the index has newer versions.
            locked: packages from other lock files: must be compatible.

        Raises:
            StepError: there is no such set, or the index cannot be read.
        """
        there = self._work / "there"
        there.mkdir()
        for name, version in brought.items():
            _empty_wheel(there, name, version)
        # uv prefers the versions in the existing output file.
        result = self._work / "resolved.txt"
        result.write_text(_pinned(brought))
        constraints = self._work / "constraints.txt"
        constraints.write_text(_pinned(locked))
        self._compile(
            requirements,
            *("--find-links", there, "--constraint", constraints, "--output-file", result),
            *("--no-header", "--no-annotate"),
        )
        lines = [line.partition(" ")[0] for line in result.read_text().splitlines()]
        return dict(line.split("==") for line in lines if line and not line.startswith("#"))

    def wheels(self, versions: Mapping[str, str]) -> list[Pin]:
        """Return packages with the wheel that pip would select for each.

        Raises:
            StepError: a package has no wheel for the target, or the index cannot be read.
        """
        result = self._work / "pylock.toml"
        wanted = _pinned(versions).splitlines()
        self._compile(wanted, "--no-deps", "--format", "pylock.toml", "--output-file", result)
        listed = tomllib.loads(result.read_text()).get("packages", [])
        return sorted(self._pin(package) for package in listed)

    def _pin(self, package: Mapping[str, object]) -> Pin:
        name, version, ranks = str(package["name"]), str(package["version"]), self._target.tags
        fitting: list[tuple[int, str, str]] = []
        wheels = package.get("wheels", [])
        assert isinstance(wheels, list), "the format of pylock.toml (PEP 751)"
        for wheel in wheels:
            file = wheel.get("name") or wheel["url"].rpartition("/")[2].partition("#")[0]
            _, _, _, tags = parse_wheel_filename(file)
            rank = min((ranks[tag] for tag in tags if tag in ranks), default=None)
            if rank is not None:
                fitting.append((rank, file, _sha256(file, wheel)))
        if not fitting:
            raise StepError(
                f"{name} {version} has no wheel for Python {self._target.python} on "
                f"{self._target.architecture.value}",
                hint="install it from apt in the recipe, or require another version",
            )
        return Pin(name=canonicalize_name(name), version=version, sha256=min(fitting)[2])

    def _compile(self, requirements: Iterable[str], *options: str | Path) -> None:
        wanted = self._work / "requirements.in"
        wanted.write_text("".join(f"{line}\n" for line in requirements))
        command: Sequence[str | Path] = [
            *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", wanted),
            *("--universal", "--python-version", self._target.python, "--only-binary", ":all:"),
            # One version for all of 3.x.0, 3.x.1, ...: distributions ship an early one.
            *("--fork-strategy", "fewest"),
            *("--default-index", self._index, "--generate-hashes", *options),
        ]
        done = subprocess.run(
            command,
            cwd=self._work,
            # Ignore the user's settings, which may contain other indexes.
            env=clean_environment(
                {"XDG_CONFIG_HOME": str(self._work), "XDG_CONFIG_DIRS": str(self._work)}
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            output = done.stderr.replace(self._index, "INDEX").strip().splitlines()
            raise StepError(
                "uv found no compatible set of packages", details=output[:40], hint=_HINT
            )


def _sha256(file: str, wheel: Mapping[str, Any]) -> str:
    found = str(wheel.get("hashes", {}).get("sha256", ""))
    if not re.fullmatch("[0-9a-f]{64}", found):
        raise StepError(f"the package index has no SHA-256 of {file}", hint=_HINT)
    return found


def _pinned(versions: Mapping[str, str]) -> str:
    return "".join(f"{name}=={version}\n" for name, version in sorted(versions.items()))


def _empty_wheel(folder: Path, name: str, version: str) -> None:
    """Write an empty wheel for a package from apt, without dependencies: apt installs those."""
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        wheel.writestr(f"{stem}.dist-info/METADATA", metadata)
        wheel.writestr(
            f"{stem}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: builder\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
