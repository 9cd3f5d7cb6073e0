# SPDX-License-Identifier: MIT
"""One distribution's package indexes for one architecture, as apt verified them.

They live in the store under archives/<distribution>-<architecture>/ and stay the same until
`update` replaces them: builds between two updates see the same packages, and need no network
to find out that there is nothing to do.

That place is a link to the set of indexes that was fetched last, a directory below archives/sets/.
A build that runs during an update goes on reading the set that it began with; the store removes
sets to which no link leads when nobody uses it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from time import time
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from builder.apt.mirrors import host_sources, keyring, mirror, public_mirror
from builder.apt.release import list_name, quoted, read_release
from builder.apt.settings import configuration
from builder.apt.verification import DamagedIndexes, Digest, check_indexes
from builder.errors import BuildError, HostError
from builder.sandbox.disk_space import full_disk
from builder.sandbox.process import clean_environment
from builder.spec.distribution import Pocket
from builder.spec.models import Architecture
from builder.spec.resolve import NamedDistribution
from builder.store.records import Unreadable, read_record
from builder.store.store import remove_tree, write_atomically

_RECORD = "release.json"
_MOST_DAYS = 30
"""How old indexes may be of which the release file does not say it."""
_PACKAGE_FIELDS = re.compile(r"^(Package|Version|Architecture|SHA256): (\S+)$", re.MULTILINE)


class ArchiveUnavailable(BuildError):
    """An archive does not answer, or what it answers cannot be trusted."""


class PocketUnavailable(ArchiveUnavailable):
    """Pockets of a distribution cannot be had, and are not to be left out."""

    def __init__(self, distribution: str, pockets: Mapping[str, str]) -> None:
        super().__init__(
            f"{distribution}: the packages of {', '.join(pockets)} cannot be had, and "
            "--strict-archive leaves none out",
            hint="try again later, set another mirror in local.yaml, or build without the option",
            details=[f"{suite}: {why}" for suite, why in pockets.items()],
        )


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file of a package: its name in the archive, its size in bytes and its SHA-256."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SourcePackage:
    """A package that holds sources. `binary`: a .deb with a tarball inside."""

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
        """The name that apt keeps it under."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


class _Sources(BaseModel):
    """Record of a package that holds sources."""

    version: str
    files: tuple[SourceFile, ...]


class ArchiveRecord(BaseModel):
    """Record of an archive (release.json).

    pockets: SHA-256 of each pocket's signed release file, by suite.
    left_out: the pockets that could not be had, and why.
    configured: a hash over all that decided from where packages came.
    epoch: the archive's date, in seconds since 1970.
    fetched: when the indexes were fetched, likewise; 0 if that was not noted.
    sources: packages that hold sources, by `binary:NAME` or `source:NAME`; None if there is none.
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
    """The indexes at `place`, which `update` has filled; `root` is the set that this one reads.

    `without` names pockets that are not to be used, and why. `prefer` is a suite whose packages go
    before those of all others; else apt's own priorities hold, by which backports come last. An
    archive `for_programs` is there for packages alone: it has no indexes of sources.
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
        self._place = place
        self.root = place.resolve()
        self.distribution = distribution
        self.architecture = architecture
        self._record: ArchiveRecord | None = None
        self._without = dict(without)
        self._left_out = dict(without)
        self._prefer = prefer
        self._for_programs = for_programs

    @property
    def known(self) -> bool:
        """Whether the indexes are there, for the mirrors that are configured now."""
        try:
            return (
                self.record.configured == self._configured()
                # An earlier version of the builder may not have looked for all of them.
                and self._wanted_sources() <= self.record.sources.keys()
            )
        except (FileNotFoundError, Unreadable):
            return False

    @property
    def damage(self) -> str | None:
        """How the record of the archive is damaged; None if it is not, or if there is none."""
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
            FileNotFoundError: nothing was.
            Unreadable: the record is damaged.
        """
        if self._record is None:
            self._record = read_record(self.root / _RECORD, _RECORDS)
        return self._record

    @property
    def pockets(self) -> Mapping[str, str]:
        """SHA-256 of each pocket's signed release file."""
        return self.record.pockets

    @property
    def left_out(self) -> dict[str, str]:
        """The pockets whose indexes could not be had, and why: their packages are not used."""
        return self.record.left_out

    @property
    def epoch(self) -> int:
        """The archive's date, in seconds since 1970: the time stamp of what is built from it."""
        return self.record.epoch

    def sources_list(self) -> Path:
        """Return apt's list of this archive's entries, with sources."""
        return self.root / "sources.list"

    def binary_sources(self) -> str:
        """Return apt's list of the entries for packages alone, as builds see them."""
        entries = self.sources_list().read_text().splitlines(keepends=True)
        return "".join(line for line in entries if line.startswith("deb "))

    def image_sources(self) -> str:
        """Return apt's list for the finished image, with mirrors that everybody reaches."""
        model = self.distribution.model
        return "".join(
            f"deb {public_mirror(self.distribution, pocket)} {pocket.suite} "
            f"{' '.join(model.components)}\n"
            for pocket in model.pockets
        )

    @property
    def lists(self) -> Path:
        """The directory with apt's verified indexes."""
        return self.root / "lists"

    def check(self, digest: Digest = lambda path, read: read(path)) -> None:
        """Check that the indexes are still what the archive's keyring verifies.

        `digest` finds checksums of large files.

        Raises:
            DamagedIndexes: they are not.
            HostError: the keyring is missing, or what verifies signatures.
        """
        components = self.distribution.model.components
        wanted = [f"{name}/binary-{self.architecture.value}/Packages" for name in components]
        if not self._for_programs:
            wanted += [f"{name}/source/Sources" for name in components]
        signed_by = keyring(self.distribution)
        newest = check_indexes(
            self.lists, signed_by, pockets=self.pockets, wanted=wanted, digest=digest
        )
        if newest != self.epoch:
            raise DamagedIndexes(f"{self.root / 'release.json'} has another date than they have")

    @property
    def outdated(self) -> dict[str, str]:
        """The pockets whose indexes are too old by now, and since which day.

        They are so when their release file says it, else some time after they were fetched.
        """
        found: dict[str, str] = {}
        for suite in self.pockets:
            until = self._valid_until(suite)
            if until < time():
                found[suite] = datetime.fromtimestamp(until, timezone.utc).date().isoformat()
        return found

    def _valid_until(self, suite: str) -> float:
        """Return until when a pocket's indexes are not too old, in seconds since 1970."""
        for name in ("InRelease", "Release"):
            for path in self.lists.glob(f"*_dists_{quoted(suite)}_{name}"):
                if told := read_release(path).valid_until:
                    return told
        # Earlier versions of the builder did not note when they fetched.
        fetched: float = self.record.fetched or (self.root / _RECORD).stat().st_mtime
        return fetched + _MOST_DAYS * 24 * 3600

    def update(self, *, whole: bool = False) -> None:
        """Fetch the indexes anew and verify their signatures; the old ones stay if that fails.

        Pockets beside the first one that cannot be had are left out, but not if `whole`.

        Raises:
            PocketUnavailable: `whole`, and one of them cannot be had.
            ArchiveUnavailable: a mirror does not answer or its signature is not good.
            HostError: apt or the keyring is missing.
        """
        fresh = self._place.parent / "sets" / secrets.token_hex(4) / self._place.name
        draft = Archive(
            fresh,
            self.distribution,
            self.architecture,
            without=self._without,
            prefer=self._prefer,
            for_programs=self._for_programs,
        )
        try:
            draft._fetch(whole=whole)
            draft._note()
        except BuildError:
            remove_tree(fresh.parent)
            raise
        remove_tree(self._place)  # the link alone
        self._place.symlink_to(draft.root)
        self.root = draft.root
        self._record = None

    @property
    def missing(self) -> list[Pocket]:
        """The pockets that were to be used and could not be had."""
        lost = self.left_out.keys() - self._without.keys()
        return [pocket for pocket in self.distribution.model.pockets if pocket.suite in lost]

    def can_be_had(self, pocket: Pocket) -> bool:
        """Fetch the indexes of one pocket alone, and say whether they are good."""
        others = {each.suite: "" for each in self.distribution.model.pockets if each != pocket}
        with tempfile.TemporaryDirectory(prefix="pocket-") as folder:
            trial = Archive(
                Path(folder),
                self.distribution,
                self.architecture,
                without=others,
                for_programs=True,
            )
            try:
                trial._fetch()
            except ArchiveUnavailable:
                return False
        return True

    def source(self, name: str, *, binary: bool) -> SourcePackage:
        """Look up a package that holds sources.

        Raises:
            ArchiveUnavailable: the archive has no such package.
        """
        key = f"{'binary' if binary else 'source'}:{name}"
        recorded = self.record.sources.get(key)
        if recorded is None:
            raise ArchiveUnavailable(
                f"{self.distribution.name} has no {'package' if binary else 'source package'} {name}"
            )
        return SourcePackage(
            name=name,
            version=recorded.version,
            binary=binary,
            files=recorded.files,
        )

    def versions(self, packages: Sequence[str]) -> dict[str, str]:
        """Return the version of each package that there is, as apt would install it."""
        shown = self._apt("apt-cache", "show", "--no-all-versions", *packages, check=False)
        return dict(re.findall(r"^Package: (.+)\n(?:.+\n)*?Version: (.+)$", shown, re.MULTILINE))

    def checksums(self, packages: Iterable[str]) -> dict[str, set[str]]:
        """Return the SHA-256 of all versions of packages, by the names of files that apt gives them.

        There may be several, if suites have different packages of the same version.
        """
        found: dict[str, set[str]] = {}
        # Else it would be an option.
        names = sorted({name for name in packages if name[:1].isalnum()})
        shown = (
            self._apt("apt-cache", "show", "--all-versions", *names, check=False) if names else ""
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
        """Return packages and all that they depend on, as a build installs them on nothing.

        Raises:
            ArchiveUnavailable: there is no such package, or they cannot be installed together.
        """
        said = self._apt("apt-get", "--simulate", "--no-install-recommends", "install", *packages)
        found = re.findall(r"^Inst (\S+) \((\S+) .*\[(\w+)\]\)", said, re.MULTILINE)
        return [
            BinaryPackage(name=name, version=version, architecture=architecture)
            for name, version, architecture in found
        ]

    def download(self, package: BinaryPackage, place: Path) -> Path:
        """Download a package into a directory; return its file.

        Raises:
            ArchiveUnavailable: it cannot be fetched.
        """
        self._apt("apt-get", "download", f"{package.name}={package.version}", cwd=place)
        return place / package.file

    def download_command(self, package: SourcePackage) -> list[str]:
        """Return the command that downloads a source package's files; apt verifies them."""
        wanted = f"{package.name}={package.version}"
        verb = (
            ["download", wanted]
            if package.binary
            else ["source", "--download-only", "--only-source", wanted]
        )
        return ["apt-get", "-c", str(self.root / "apt.conf"), "-q", *verb]

    def preferences(self) -> list[str]:
        """Return the apt options by which one of the suites is preferred, if one is."""
        return [f'APT::Default-Release "{self._prefer}";'] if self._prefer else []

    def _fetch(self, *, whole: bool = False) -> None:
        """Fetch all indexes, or if not `whole`, all but pockets beside the first one.

        A mirror that is in the middle of an update must not stop all builds; that an image lacks
        security updates must not be hidden either: see `left_out`.
        """
        while True:
            remove_tree(self.root)
            for folder in ("lists/partial", "cache/archives/partial", "state"):
                (self.root / folder).mkdir(parents=True)
            self.sources_list().write_text(self._entries())
            self._write_configuration()
            try:
                self._apt("apt-get", "update", "--error-on=any")
            except ArchiveUnavailable as error:
                broken = {
                    pocket.suite: line.removeprefix("E: ")
                    for pocket in self._pockets()[1:]
                    for line in error.details
                    if line.startswith("E:") and f"/dists/{pocket.suite}/" in line
                }
                if not broken:
                    raise
                if whole:
                    raise PocketUnavailable(self.distribution.name, broken) from error
                self._left_out |= broken
            else:
                self._detach()
                return

    def _detach(self) -> None:
        """Make the lists files of their own: of archives on this machine, apt makes links to them."""
        for path in self.lists.iterdir():
            if path.is_symlink():
                content = path.read_bytes()
                path.unlink()
                path.write_bytes(content)

    def _pockets(self) -> list[Pocket]:
        """Return the pockets that are used."""
        pockets = self.distribution.model.pockets
        return [pocket for pocket in pockets if pocket.suite not in self._left_out]

    def _mirror(self, pocket: Pocket) -> str:
        return mirror(self.distribution, pocket, self.architecture)

    def _note(self) -> None:
        """Write down what was fetched."""
        pockets: dict[str, str] = {}
        epoch = 0
        for pocket in self._pockets():
            prefix = list_name(f"{self._mirror(pocket)}/dists/{pocket.suite}")
            found = [
                path
                for name in ("InRelease", "Release")
                if (path := self.lists / f"{prefix}_{name}").exists()
            ]
            if not found:
                raise ArchiveUnavailable(f"{self.distribution.name}: no {pocket.suite}")
            pockets[pocket.suite] = hashlib.sha256(found[0].read_bytes()).hexdigest()
            try:
                epoch = max(epoch, read_release(found[0]).date or 0)
            except ValueError as error:
                message = f"{self.distribution.name}: the release file of {pocket.suite}: {error}"
                raise ArchiveUnavailable(message) from error
        record = ArchiveRecord(
            pockets=pockets,
            left_out=self._left_out,
            configured=self._configured(),
            epoch=epoch,
            fetched=int(time()),
            sources={key: self._look_up(*key.split(":")) for key in sorted(self._wanted_sources())},
        )
        text = record.model_dump_json(by_alias=True, indent=1)
        write_atomically(self.root / _RECORD, text, durably=True)

    def _wanted_sources(self) -> set[str]:
        """Return the packages that hold sources: `binary:NAME` or `source:NAME`."""
        if self._for_programs:
            return set()
        sources = self.distribution.model.sources
        return {
            f"binary:{sources.linux}",
            f"source:{sources.u_boot}",
            f"source:{sources.trusted_firmware}",
        }

    def _look_up(self, kind: str, name: str) -> dict[str, Any] | None:
        return self._binary(name) if kind == "binary" else self._source(name)

    def _binary(self, name: str) -> dict[str, Any] | None:
        shown = self._apt("apt-cache", "show", "--no-all-versions", name, check=False)
        fields = dict(re.findall(r"^(Version|Filename|SHA256): (.+)$", shown, re.MULTILINE))
        if not {"Version", "Filename", "SHA256"} <= fields.keys():
            return None
        file = {"name": Path(fields["Filename"]).name, "sha256": fields["SHA256"]}
        return {"version": fields["Version"], "files": [file]}

    def _source(self, name: str) -> dict[str, Any] | None:
        shown = self._apt("apt-cache", "showsrc", "--only-source", name, check=False)
        newest: dict[str, Any] = {}
        for paragraph in shown.split("\n\n"):
            version = re.search(r"^Version: (.+)$", paragraph, re.MULTILINE)
            sums = re.search(r"^Checksums-Sha256:\s*\n((?: .+\n?)+)", paragraph, re.MULTILINE)
            if version and sums:
                files = [line.split() for line in sums[1].splitlines()]
                if not newest or _newer(version[1], newest["version"]):
                    named = [{"name": file, "sha256": sha} for sha, _, file in files]
                    newest = {"version": version[1], "files": named}
        return newest or None

    def _configured(self) -> str:
        """Return a hash over all that decides from where packages come."""
        model = self.distribution.model.model_dump(mode="json")
        settings = [model, dict(self.distribution.mirrors), sorted(self._without)]
        parts = [json.dumps(settings, sort_keys=True)]
        if "host" in model["mirrors"].values():
            parts += host_sources()
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _entries(self) -> str:
        lines: list[str] = []
        signed = keyring(self.distribution)
        for pocket in self._pockets():
            where = (
                f"[signed-by={signed}] {self._mirror(pocket)} {pocket.suite} "
                f"{' '.join(self.distribution.model.components)}\n"
            )
            lines += (
                [f"deb {where}"] if self._for_programs else [f"deb {where}", f"deb-src {where}"]
            )
        return "".join(lines)

    def _write_configuration(self) -> None:
        text = configuration(self.root, self.architecture, self.preferences())
        (self.root / "apt.conf").write_text(text)
        (self.root / "state/status").touch()

    def _apt(self, *argv: str, check: bool = True, cwd: Path | None = None) -> str:
        if shutil.which(argv[0]) is None:
            raise HostError(f"{argv[0]} is not on this machine", hint="use a Debian-like machine")
        done = subprocess.run(
            [*argv, "-c", str(self.root / "apt.conf"), "-q"],
            cwd=cwd,
            env=clean_environment({"DEBIAN_FRONTEND": "noninteractive"}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # Without a check, what is not there is no error, and no part of the answer either.
            stderr=subprocess.STDOUT if check else subprocess.DEVNULL,
            text=True,
            errors="replace",
            check=False,
        )
        if check and done.returncode != 0:
            complaints = [
                line for line in done.stdout.splitlines() if line.startswith(("E:", "Err:", "W:"))
            ]
            error = ArchiveUnavailable(
                f"{self.distribution.name}: {' '.join(argv[:2])} failed",
                details=complaints or done.stdout.splitlines()[-10:],
            )
            raise full_disk(error, [self.root]) or error
        return done.stdout


def _newer(left: str, right: str) -> bool:
    return (
        subprocess.run(["dpkg", "--compare-versions", left, "gt", right], check=False).returncode
        == 0
    )
