# SPDX-License-Identifier: MIT
"""Checks of cached package indexes and packages before use.

apt verifies files only when it fetches them. It trusts existing lists, and checks packages in its
cache only by size. So this module checks release files against the keyring, indexes against the
release files, and packages against the indexes.
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from builder.apt.release import Index, Release, quoted, read_release
from builder.errors import BuildError, HostError
from builder.sandbox.process import clean_environment

Digest = Callable[[Path, Callable[[Path], str]], str]
"""Returns a file's checksum, by calling its second argument if necessary (`Store.digest`)."""

_CHUNK = 1 << 20
_INDEX = re.compile(r"_(?:Packages|Sources)(\.\w+)?$")
_HELPER = "/usr/lib/apt/apt-helper"
_ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\n(?:[^\n]+\n)*\n([A-Za-z0-9+/=\n]+?)(?:=[^\n]{4}\n)?-----END"
)


class DamagedIndexes(BuildError):
    """Package indexes in the store that differ from those that the archive signed."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the package indexes in the store are damaged: {what}",
            hint="--update fetches them again",
        )


def check_indexes(
    lists: Path,
    signed_by: Path,
    *,
    pockets: Mapping[str, str],
    wanted: Sequence[str],
    digest: Digest = lambda path, read: read(path),
) -> int:
    """Check the indexes that apt has fetched; return their newest date (s since 1970, else 0).

    Args:
        lists: apt's directory of indexes.
        signed_by: the keyring of the archive.
        pockets: the required suites, with the SHA-256 of their release files.
        wanted: the indexes that are required if the suite's release file lists them as not empty,
            by their names there.
        digest: returns checksums of large files.

    Raises:
        DamagedIndexes: a file is missing or differs from what was signed.
        HostError: gpgv is not installed.
    """
    try:
        return _check(lists, signed_by, pockets=pockets, wanted=wanted, digest=digest)
    except OSError as error:
        raise DamagedIndexes(f"{error.filename}: {error.strerror}") from error


def remove_damaged(
    folder: Path, sums: Mapping[str, Collection[str]], say: Callable[[str], object]
) -> None:
    """Remove the packages in a directory that do not match the archive's indexes.

    Args:
        folder: the directory.
        sums: the accepted SHA-256 by file name; other files are ignored.
        say: called with a message for each file that is removed.
    """
    for path in sorted(folder.glob("*.deb")):
        with suppress(FileNotFoundError):  # another build may do the same
            if path.name in sums and _sha256(_plain(path)) not in sums[path.name]:
                path.unlink()
                say(f"{path.name} in the store is damaged: removed, to be downloaded again")


def _check(
    lists: Path,
    signed_by: Path,
    *,
    pockets: Mapping[str, str],
    wanted: Sequence[str],
    digest: Digest,
) -> int:
    releases: dict[str, Release] = {}
    found: set[str] = set()
    for path in sorted((*lists.glob("*_InRelease"), *lists.glob("*_Release"))):
        _check_signature(path, signed_by)
        try:
            releases[path.name.rpartition("_")[0] + "_"] = read_release(path)
        except ValueError as error:
            raise DamagedIndexes(f"{path}: {error}") from error
        found.add(_sha256(_plain(path)))
    lost = sorted(suite for suite, sha256 in pockets.items() if sha256 not in found)
    if lost:
        raise DamagedIndexes(f"{lists} lacks the release file of {', '.join(lost)}")
    names = {path.name for path in lists.iterdir() if path.is_file()}
    present: set[str] = set()
    for name in sorted(names):
        if match := _INDEX.search(name):
            present.add(name.removesuffix(match[1] or ""))
            _check_index(lists / name, match[1] or "", releases, digest)
    for prefix, release in releases.items():
        for key in wanted:
            known = release.indexes.get(key)
            if known and known.size and prefix + quoted(key) not in present:
                raise DamagedIndexes(f"{lists} lacks {prefix}{quoted(key)}")
    return max((release.date or 0 for release in releases.values()), default=0)


def _check_index(path: Path, packed: str, releases: Mapping[str, Release], digest: Digest) -> None:
    """Check one index; `packed` is the suffix of its name if it is compressed."""
    prefix = max((each for each in releases if path.name.startswith(each)), key=len, default="")
    listed: dict[str, Index] = {}
    if prefix:
        listed = {quoted(name): index for name, index in releases[prefix].indexes.items()}
    name = path.name.removeprefix(prefix)
    if name in listed:
        index, read = listed[name], _plain
    elif packed and name.removesuffix(packed) in listed:
        # apt may store an index in another compression than it was downloaded in.
        index, read = listed[name.removesuffix(packed)], _unpacked
    else:
        raise DamagedIndexes(f"{path} is in no release file")
    if digest(path, partial(_bounded, read, index.size)) != index.sha256:
        raise DamagedIndexes(f"{path} is not what its release file says")


def _bounded(read: Callable[[Path], Iterator[bytes]], most: int, path: Path) -> str:
    """Return the SHA-256 of an index; an empty string if it is larger than `most` bytes."""
    return _sha256(read(path), most)


def _sha256(pieces: Iterator[bytes], most: int | None = None) -> str:
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        size += len(piece)
        if most is not None and size > most:
            return ""
        digest.update(piece)
    return digest.hexdigest()


def _plain(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def _unpacked(path: Path) -> Iterator[bytes]:
    """Yield a compressed file's content, as far as it can be decompressed."""
    with subprocess.Popen(
        [_HELPER, "cat-file", str(path)],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout
        try:
            while piece := process.stdout.read(_CHUNK):
                yield piece
        finally:
            process.kill()


def _check_signature(path: Path, signed_by: Path) -> None:
    """Check that a release file is signed by a key of a keyring."""
    detached = path.with_name(f"{path.name}.gpg")
    files = [path] if path.name.endswith("InRelease") else [detached, path]
    with _binary(signed_by) as keyring:
        command = ["gpgv", "--homedir", "/nonexistent", "--ignore-time-conflict"]
        try:
            done = subprocess.run(
                [*command, "--keyring", str(keyring), *map(str, files)],
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except FileNotFoundError as error:
            raise HostError(
                "gpgv is not on this machine: signatures of package indexes cannot be checked",
                hint="apt-get install gpgv",
            ) from error
    if done.returncode != 0:
        output = done.stdout.decode(errors="replace").strip().splitlines() or ["gpgv refuses it"]
        raise DamagedIndexes(f"{path}: {output[-1].removeprefix('gpgv: ')}")


@contextmanager
def _binary(keyring: Path) -> Iterator[Path]:
    """Provide a keyring in gpgv's binary format: apt also accepts ASCII armour (RFC 9580, 6.2)."""
    armoured = _ARMOUR.findall(keyring.read_bytes().replace(b"\r\n", b"\n"))
    if not armoured:
        yield keyring
        return
    with tempfile.NamedTemporaryFile(suffix=".gpg") as file:
        file.write(b"".join(base64.b64decode(block) for block in armoured))
        file.flush()
        yield Path(file.name)
