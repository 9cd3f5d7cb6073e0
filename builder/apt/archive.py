# SPDX-License-Identifier: MIT
"""Verified package indexes of one distribution for one architecture.

The store keeps them under archives/<distribution>-<architecture>/. They stay the same until
`builder.apt.archive_fetcher` replaces them: builds between two updates see the same packages, and
an up-to-date build needs no network.

That path is a symbolic link to the set of indexes that was fetched last, a directory below
archives/sets/. A build that runs during an update continues to read the set that it started with.
The store removes sets without a link when no process uses the store.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from time import time
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from builder.apt.mirrors import host_sources, keyring, public_mirror
from builder.apt.release import quoted, read_release
from builder.apt.verification import DamagedIndexes, Digest, check_indexes
from builder.errors import BuildError, HostError
from builder.sandbox.disk_space import full_disk
from builder.sandbox.process import clean_environment
from builder.spec.distribution import Pocket
from builder.spec.models import Architecture
from builder.spec.resolve import NamedDistribution
from builder.store.records import Unreadable, read_record

RECORD = "release.json"
"""Name of the file with an archive's record, beside its indexes."""
_MAX_AGE_DAYS = 30
"""Maximum age of indexes whose release file has no Valid-Until field."""
_PACKAGE_FIELDS = re.compile(r"^(Package|Version|Architecture|SHA256): (\S+)$", re.MULTILINE)


class ArchiveUnavailable(BuildError):
    """An archive that does not answer or cannot be verified."""


class PocketUnavailable(ArchiveUnavailable):
    """Pockets of a distribution that are unavailable but required."""

    def __init__(self, distribution: str, pockets: Mapping[str, str]) -> None:
        super().__init__(
            f"{distribution}: the packages of {', '.join(pockets)} are unavailable, and "
            "--strict-archive requires all pockets",
            hint="try again later, set another mirror in local.yaml, or omit --strict-archive",
            details=[f"{suite}: {why}" for suite, why in pockets.items()],
        )


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file of a package: its name in the archive and its SHA-256."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SourcePackage:
    """A package that contains sources. `binary`: a .deb with a tarball inside."""

    name: str
    version: str
    binary: bool
    files: tuple[SourceFile, ...]


@dataclass(frozen=True, kw_only=True)
class BinaryPackage:
    """A package as apt would install it."""

    name: str
    version: str
    architecture: str

    @property
    def file(self) -> str:
        """File name of the package in apt's cache."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


class _Sources(BaseModel):
    """Record of a package that contains sources."""

    version: str
    files: tuple[SourceFile, ...]


class ArchiveRecord(BaseModel):
    """Record of an archive (release.json).

    pockets: SHA-256 of each pocket's signed release file, by suite.
    left_out: the unavailable pockets, with the reason for each.
    configured: a hash over the settings that decide where packages come from.
    epoch: the archive's date, in seconds since 1970.
    fetched: when the indexes were fetched, in seconds since 1970; 0 if unknown.
    sources: packages that contain sources, by `binary:NAME` or `source:NAME`; None if missing.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    pockets: dict[str, str]
    left_out: dict[str, str] = Field(alias="left-out")
    configured: str = ""
    epoch: int
    fetched: int = 0
    sources: dict[str, _Sources | None]


_RECORDS = TypeAdapter(ArchiveRecord)


class Archive:
    """Reader of the indexes at `place`, which an `ArchiveFetcher` has filled.

    Attributes:
        place: the link to the current set of indexes.
        root: the set of indexes that this object reads.
        without: unused pockets, with the reason for each.
        prefer: the suite whose packages have priority over all others. None leaves apt's own
            priorities, by which backports come last.
        for_programs: whether the archive has indexes of binary packages only, not of sources.
    """

    def __init__(
        self,
        place: Path,
        distribution: NamedDistribution,
        architecture: Architecture,
        *,
        without: Mapping[str, str] = MappingProxyType({}),
        prefer: str | None = None,
        for_programs: bool = False,
    ) -> None:
        self.place = place
        self.root = place.resolve()
        self.distribution = distribution
        self.architecture = architecture
        self.without = dict(without)
        self.prefer = prefer
        self.for_programs = for_programs
        self._record: ArchiveRecord | None = None

    def reopen(self) -> None:
        """Read the set of indexes that `place` links to now."""
        self.root = self.place.resolve()
        self._record = None

    @property
    def known(self) -> bool:
        """Whether the indexes were fetched, from the mirrors that are configured now."""
        try:
            return (
                self.record.configured == self.configured()
                # An earlier version of the builder may not have looked up all of them.
                and self.required_sources() <= self.record.sources.keys()
            )
        except (FileNotFoundError, Unreadable):
            return False

    @property
    def damage(self) -> str | None:
        """The problem with the archive's record; None if it is intact or missing."""
        try:
            _ = self.record
        except FileNotFoundError:
            return None
        except Unreadable as error:
            return str(error)
        return None

    @property
    def record(self) -> ArchiveRecord:
        """The record of the archive.

        Raises:
            FileNotFoundError: nothing was fetched.
            Unreadable: the record is damaged.
        """
        if self._record is None:
            self._record = read_record(self.root / RECORD, _RECORDS)
        return self._record

    @property
    def pockets(self) -> Mapping[str, str]:
        """SHA-256 of each pocket's signed release file."""
        return self.record.pockets

    @property
    def left_out(self) -> dict[str, str]:
        """The pockets whose indexes are unavailable, with the reason; their packages are unused."""
        return self.record.left_out

    @property
    def missing(self) -> list[Pocket]:
        """The pockets that should be used but were unavailable."""
        lost = self.left_out.keys() - self.without.keys()
        return [pocket for pocket in self.distribution.model.pockets if pocket.suite in lost]

    @property
    def epoch(self) -> int:
        """The archive's date, in seconds since 1970: the time stamp of images built from it."""
        return self.record.epoch

    @property
    def lists(self) -> Path:
        """The directory with apt's verified indexes."""
        return self.root / "lists"

    @property
    def apt_conf(self) -> Path:
        """The apt.conf(5) with which apt reads these indexes."""
        return self.root / "apt.conf"

    def sources_list(self) -> Path:
        """Return the sources.list of this archive, with source entries."""
        return self.root / "sources.list"

    def binary_sources(self) -> str:
        """Return the text of sources.list with the entries of binary packages only."""
        entries = self.sources_list().read_text().splitlines(keepends=True)
        return "".join(line for line in entries if line.startswith("deb "))

    def image_sources(self) -> str:
        """Return the text of the finished image's sources.list, with public mirrors."""
        model = self.distribution.model
        return "".join(
            f"deb {public_mirror(self.distribution, pocket)} {pocket.suite} "
            f"{' '.join(model.components)}\n"
            for pocket in model.pockets
        )

    def preferences(self) -> list[str]:
        """Return the apt options for the preferred suite; empty if there is none."""
        return [f'APT::Default-Release "{self.prefer}";'] if self.prefer else []

    def required_sources(self) -> set[str]:
        """Return the packages that contain sources: `binary:NAME` or `source:NAME`."""
        if self.for_programs:
            return set()
        sources = self.distribution.model.sources
        return {
            f"binary:{sources.linux}",
            f"source:{sources.u_boot}",
            f"source:{sources.trusted_firmware}",
        }

    def configured(self) -> str:
        """Return a hash over the settings that decide where packages come from."""
        model = self.distribution.model.model_dump(mode="json")
        settings = [model, dict(self.distribution.mirrors), sorted(self.without)]
        parts = [json.dumps(settings, sort_keys=True)]
        if "host" in model["mirrors"].values():
            parts += host_sources()
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def check(self, digest: Digest = lambda path, read: read(path)) -> None:
        """Check the indexes against the archive's keyring.

        Args:
            digest: returns checksums of large files.

        Raises:
            DamagedIndexes: the indexes are not those that the archive signed.
            HostError: the keyring or gpgv is missing.
        """
        components = self.distribution.model.components
        wanted = [f"{name}/binary-{self.architecture.value}/Packages" for name in components]
        if not self.for_programs:
            wanted += [f"{name}/source/Sources" for name in components]
        signed_by = keyring(self.distribution)
        newest = check_indexes(
            self.lists, signed_by, pockets=self.pockets, wanted=wanted, digest=digest
        )
        if newest != self.epoch:
            raise DamagedIndexes(f"{self.root / RECORD}: its date is not that of the indexes")

    @property
    def outdated(self) -> dict[str, str]:
        """The pockets whose indexes are too old, with the day on which they expired.

        Indexes expire at their release file's Valid-Until, else some time after they were fetched.
        """
        found: dict[str, str] = {}
        for suite in self.pockets:
            until = self._valid_until(suite)
            if until < time():
                found[suite] = datetime.fromtimestamp(until, timezone.utc).date().isoformat()
        return found

    def _valid_until(self, suite: str) -> float:
        """Return when a pocket's indexes expire, in seconds since 1970."""
        for name in ("InRelease", "Release"):
            for path in self.lists.glob(f"*_dists_{quoted(suite)}_{name}"):
                if valid_until := read_release(path).valid_until:
                    return valid_until
        # Earlier versions of the builder did not record the time of the fetch.
        fetched: float = self.record.fetched or (self.root / RECORD).stat().st_mtime
        return fetched + _MAX_AGE_DAYS * 24 * 3600

    def source(self, name: str, *, binary: bool) -> SourcePackage:
        """Look up a package that contains sources.

        Raises:
            ArchiveUnavailable: the archive has no such package.
        """
        key = f"{'binary' if binary else 'source'}:{name}"
        recorded = self.record.sources.get(key)
        if recorded is None:
            kind = "package" if binary else "source package"
            raise ArchiveUnavailable(f"{self.distribution.name} has no {kind} {name}")
        return SourcePackage(
            name=name,
            version=recorded.version,
            binary=binary,
            files=recorded.files,
        )

    def versions(self, packages: Sequence[str]) -> dict[str, str]:
        """Return the version of each existing package, as apt would install it."""
        shown = self.apt("apt-cache", "show", "--no-all-versions", *packages, check=False)
        return dict(re.findall(r"^Package: (.+)\n(?:.+\n)*?Version: (.+)$", shown, re.MULTILINE))

    def checksums(self, packages: Iterable[str]) -> dict[str, set[str]]:
        """Return the SHA-256 of all versions of packages, by file name in apt's cache.

        A file has several if suites have different packages of the same version.
        """
        found: dict[str, set[str]] = {}
        # A name that begins with another character could be read as an option.
        names = sorted({name for name in packages if name[:1].isalnum()})
        shown = (
            self.apt("apt-cache", "show", "--all-versions", *names, check=False) if names else ""
        )
        for paragraph in shown.split("\n\n"):
            fields = dict(_PACKAGE_FIELDS.findall(paragraph))
            sha256 = fields.pop("SHA256", None)
            if sha256 and len(fields) == 3:
                named = {key.lower(): value for key, value in fields.items()}
                package = BinaryPackage(name=named.pop("package"), **named)
                found.setdefault(package.file, set()).add(sha256)
        return found

    def installed_with(self, packages: Sequence[str]) -> list[BinaryPackage]:
        """Return packages and all their dependencies, as apt installs them on an empty system.

        Raises:
            ArchiveUnavailable: a package is missing, or they cannot be installed together.
        """
        output = self.apt("apt-get", "--simulate", "--no-install-recommends", "install", *packages)
        found = re.findall(r"^Inst (\S+) \((\S+) .*\[(\w+)\]\)", output, re.MULTILINE)
        return [
            BinaryPackage(name=name, version=version, architecture=architecture)
            for name, version, architecture in found
        ]

    def apt(self, *argv: str, check: bool = True, cwd: Path | None = None) -> str:
        """Run a program of apt on these indexes; return its output.

        Args:
            argv: the program and its arguments.
            check: whether a failure is an error. If not, only standard output is returned.
            cwd: the working directory.

        Raises:
            ArchiveUnavailable: the program failed (`check`).
            HostError: the program is not installed.
        """
        if shutil.which(argv[0]) is None:
            raise HostError(
                f"{argv[0]} is not installed on this machine",
                hint="build in Docker, or on a Debian-based system",
            )
        done = subprocess.run(
            [*argv, "-c", str(self.apt_conf), "-q"],
            cwd=cwd,
            env=clean_environment({"DEBIAN_FRONTEND": "noninteractive"}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # apt-cache reports missing packages on standard error: neither an error nor an answer.
            stderr=subprocess.STDOUT if check else subprocess.DEVNULL,
            text=True,
            errors="replace",
            check=False,
        )
        if check and done.returncode != 0:
            messages = [
                line for line in done.stdout.splitlines() if line.startswith(("E:", "Err:", "W:"))
            ]
            error = ArchiveUnavailable(
                f"{self.distribution.name}: {' '.join(argv[:2])} failed",
                details=messages or done.stdout.splitlines()[-10:],
            )
            raise full_disk(error, [self.root]) or error
        return done.stdout
