# SPDX-License-Identifier: MIT
"""Fetches package indexes and packages with apt, which verifies them."""

from __future__ import annotations

import hashlib
import re
import secrets
import subprocess
import tempfile
from pathlib import Path
from time import time
from typing import Any

from builder.apt.archive import (
    RECORD,
    Archive,
    ArchiveRecord,
    ArchiveUnavailable,
    BinaryPackage,
    PocketUnavailable,
    SourcePackage,
)
from builder.apt.mirrors import keyring, mirror
from builder.apt.release import list_name, read_release
from builder.apt.settings import configuration
from builder.errors import BuildError
from builder.spec.distribution import Pocket
from builder.store.files import remove_tree, write_atomically


class ArchiveFetcher:
    """Fetches the indexes and packages of an archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def update(self, *, whole: bool = False) -> None:
        """Replace the archive's indexes by current ones; keep the old ones if that fails.

        Unavailable pockets other than the first are left out, unless `whole`.

        Raises:
            PocketUnavailable: a pocket is unavailable (`whole`).
            ArchiveUnavailable: a mirror does not answer, or its signature is invalid.
            HostError: apt or the keyring is missing.
        """
        archive = self._archive
        fresh = archive.place.parent / "sets" / secrets.token_hex(4) / archive.place.name
        draft = Archive(
            fresh,
            archive.distribution,
            archive.architecture,
            without=archive.without,
            prefer=archive.prefer,
            for_programs=archive.for_programs,
        )
        try:
            left_out = _fetch(draft, whole=whole)
            _write_record(draft, left_out)
        except BuildError:
            remove_tree(fresh.parent)
            raise
        remove_tree(archive.place)  # the link alone
        archive.place.symlink_to(draft.root)
        archive.reopen()

    def is_available(self, pocket: Pocket) -> bool:
        """Return whether the indexes of one pocket can be fetched and verified."""
        archive = self._archive
        others = {each.suite: "" for each in archive.distribution.model.pockets if each != pocket}
        with tempfile.TemporaryDirectory(prefix="pocket-") as folder:
            trial = Archive(
                Path(folder),
                archive.distribution,
                archive.architecture,
                without=others,
                for_programs=True,
            )
            try:
                _fetch(trial)
            except ArchiveUnavailable:
                return False
        return True

    def download(self, package: BinaryPackage, directory: Path) -> Path:
        """Download a package into a directory; return its file.

        Raises:
            ArchiveUnavailable: the download failed.
        """
        self._archive.apt("apt-get", "download", f"{package.name}={package.version}", cwd=directory)
        return directory / package.file

    def download_command(self, package: SourcePackage) -> list[str]:
        """Return the command that downloads a source package's files; apt verifies them."""
        wanted = f"{package.name}={package.version}"
        verb = (
            ["download", wanted]
            if package.binary
            else ["source", "--download-only", "--only-source", wanted]
        )
        return ["apt-get", "-c", str(self._archive.apt_conf), "-q", *verb]


def _fetch(archive: Archive, *, whole: bool = False) -> dict[str, str]:
    """Fetch an archive's indexes; return the pockets that were left out, with the reasons.

    A mirror that is being updated must not stop all builds, but builds report the pockets that
    they lack (`Archive.left_out`), since an image may then lack security updates.
    """
    left_out = dict(archive.without)
    while True:
        remove_tree(archive.root)
        for folder in ("lists/partial", "cache/archives/partial", "state"):
            (archive.root / folder).mkdir(parents=True)
        used = _used_pockets(archive, left_out)
        archive.sources_list().write_text(_entries(archive, used))
        _write_configuration(archive)
        try:
            archive.apt("apt-get", "update", "--error-on=any")
        except ArchiveUnavailable as error:
            broken = {
                pocket.suite: line.removeprefix("E: ")
                for pocket in used[1:]
                for line in error.details
                if line.startswith("E:") and f"/dists/{pocket.suite}/" in line
            }
            if not broken:
                raise
            if whole:
                raise PocketUnavailable(archive.distribution.name, broken) from error
            left_out |= broken
        else:
            _replace_links(archive.lists)
            return left_out


def _used_pockets(archive: Archive, left_out: dict[str, str]) -> list[Pocket]:
    pockets = archive.distribution.model.pockets
    return [pocket for pocket in pockets if pocket.suite not in left_out]


def _entries(archive: Archive, pockets: list[Pocket]) -> str:
    """Return the text of sources.list(5) for some pockets of an archive."""
    lines: list[str] = []
    signed = keyring(archive.distribution)
    for pocket in pockets:
        where = (
            f"[signed-by={signed}] {_mirror(archive, pocket)} {pocket.suite} "
            f"{' '.join(archive.distribution.model.components)}\n"
        )
        lines.append(f"deb {where}")
        if not archive.for_programs:
            lines.append(f"deb-src {where}")
    return "".join(lines)


def _mirror(archive: Archive, pocket: Pocket) -> str:
    return mirror(archive.distribution, pocket, archive.architecture)


def _write_configuration(archive: Archive) -> None:
    text = configuration(archive.root, archive.architecture, archive.preferences())
    archive.apt_conf.write_text(text)
    (archive.root / "state/status").touch()


def _replace_links(lists: Path) -> None:
    """Replace links by copies: for archives on this machine, apt only links to their files."""
    for path in lists.iterdir():
        if path.is_symlink():
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)


def _write_record(archive: Archive, left_out: dict[str, str]) -> None:
    """Write the record of the indexes that were fetched.

    Raises:
        ArchiveUnavailable: a release file is missing or invalid.
    """
    name = archive.distribution.name
    pockets: dict[str, str] = {}
    epoch = 0
    for pocket in _used_pockets(archive, left_out):
        prefix = list_name(f"{_mirror(archive, pocket)}/dists/{pocket.suite}")
        found = [
            path
            for kind in ("InRelease", "Release")
            if (path := archive.lists / f"{prefix}_{kind}").exists()
        ]
        if not found:
            raise ArchiveUnavailable(f"{name}: apt fetched no release file of {pocket.suite}")
        pockets[pocket.suite] = hashlib.sha256(found[0].read_bytes()).hexdigest()
        try:
            epoch = max(epoch, read_release(found[0]).date or 0)
        except ValueError as error:
            message = f"{name}: the release file of {pocket.suite}: {error}"
            raise ArchiveUnavailable(message) from error
    record = ArchiveRecord(
        pockets=pockets,
        left_out=left_out,
        configured=archive.configured(),
        epoch=epoch,
        fetched=int(time()),
        sources={key: _look_up(archive, key) for key in sorted(archive.required_sources())},
    )
    text = record.model_dump_json(by_alias=True, indent=1)
    write_atomically(archive.root / RECORD, text, durably=True)


def _look_up(archive: Archive, key: str) -> dict[str, Any] | None:
    """Return version and files of a `binary:NAME` or `source:NAME`; None if there is none."""
    kind, name = key.split(":")
    return _binary(archive, name) if kind == "binary" else _source(archive, name)


def _binary(archive: Archive, name: str) -> dict[str, Any] | None:
    shown = archive.apt("apt-cache", "show", "--no-all-versions", name, check=False)
    fields = dict(re.findall(r"^(Version|Filename|SHA256): (.+)$", shown, re.MULTILINE))
    if not {"Version", "Filename", "SHA256"} <= fields.keys():
        return None
    file = {"name": Path(fields["Filename"]).name, "sha256": fields["SHA256"]}
    return {"version": fields["Version"], "files": [file]}


def _source(archive: Archive, name: str) -> dict[str, Any] | None:
    shown = archive.apt("apt-cache", "showsrc", "--only-source", name, check=False)
    newest: dict[str, Any] = {}
    for paragraph in shown.split("\n\n"):
        version = re.search(r"^Version: (.+)$", paragraph, re.MULTILINE)
        sums = re.search(r"^Checksums-Sha256:\s*\n((?: .+\n?)+)", paragraph, re.MULTILINE)
        if version and sums:
            files = [line.split() for line in sums[1].splitlines()]
            if not newest or _is_newer(version[1], newest["version"]):
                named = [{"name": file, "sha256": sha} for sha, _, file in files]
                newest = {"version": version[1], "files": named}
    return newest or None


def _is_newer(left: str, right: str) -> bool:
    command = ["dpkg", "--compare-versions", left, "gt", right]
    return subprocess.run(command, check=False).returncode == 0
