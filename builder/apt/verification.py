# SPDX-License-Identifier: MIT
"""Checks of kept package indexes and packages before they are used again.

apt verifies what it fetches, once. It takes its lists as they are then, and packages that it finds
in its cache by their size. So the release files are checked against the keyring here, the indexes
against the release files, and packages against the indexes.
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
"""Returns a file's checksum as its second argument finds it (`Store.digest`)."""

_CHUNK = 1 << 20
_INDEX = re.compile(r"_(?:Packages|Sources)(\.\w+)?$")
_HELPER = "/usr/lib/apt/apt-helper"
_ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\n(?:[^\n]+\n)*\n([A-Za-z0-9+/=\n]+?)(?:=[^\n]{4}\n)?-----END"
)


class DamagedIndexes(BuildError):
    """Package indexes in the store are not what the archive signed."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"the package indexes in the store are damaged: {what}",
            hint="--update fetches them anew",
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
        lists: apt's directory of them.
        signed_by: the keyring of the archive.
        pockets: the suites that have to be there, with the SHA-256 of their release files.
        wanted: the indexes that a suite has to have, if it is said to have any, as release files
            call them.
        digest: how checksums of large files are found.

    Raises:
        DamagedIndexes: something is missing, or is not what was signed.
        HostError: this machine has no gpgv.
    """
    try:
        return _check(lists, signed_by, pockets=pockets, wanted=wanted, digest=digest)
    except OSError as error:
        raise DamagedIndexes(f"{error.filename}: {error.strerror}") from error


def remove_damaged(
    folder: Path, sums: Mapping[str, Collection[str]], say: Callable[[str], object]
) -> None:
    """Remove the packages in a directory that are not what the archive's indexes say.

    Args:
        folder: the directory.
        sums: names of files and the SHA-256 that they may have; others are left alone.
        say: called with a sentence for each file that is removed.
    """
    for path in sorted(folder.glob("*.deb")):
        with suppress(FileNotFoundError):  # another build may do the same
            if path.name in sums and _sha256(_plain(path)) not in sums[path.name]:
                path.unlink()
                say(f"{path.name} in the store is damaged: it is removed, and downloaded again")


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
    """Check one index; `packed` is how its name ends if it is compressed."""
    prefix = max((each for each in releases if path.name.startswith(each)), key=len, default="")
    listed: dict[str, Index] = {}
    if prefix:
        listed = {quoted(name): index for name, index in releases[prefix].indexes.items()}
    name = path.name.removeprefix(prefix)
    if name in listed:
        index, read = listed[name], _plain
    elif packed and name.removesuffix(packed) in listed:
        # apt may keep what came in another compression than it came in.
        index, read = listed[name.removesuffix(packed)], _unpacked
    else:
        raise DamagedIndexes(f"{path} is in no release file")
    if digest(path, partial(_bounded, read, index.size)) != index.sha256:
        raise DamagedIndexes(f"{path} is not what its release file says")


def _bounded(read: Callable[[Path], Iterator[bytes]], most: int, path: Path) -> str:
    """Return the SHA-256 of an index; nothing at all if it is larger than it is to be."""
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
    """Give a compressed file's content; if it is damaged, as much of it as there is."""
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
    """Check that a release file was signed by a key of a keyring."""
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
        said = done.stdout.decode(errors="replace").strip().splitlines() or ["gpgv refuses it"]
        raise DamagedIndexes(f"{path}: {said[-1].removeprefix('gpgv: ')}")


@contextmanager
def _binary(keyring: Path) -> Iterator[Path]:
    """Give a keyring as gpgv reads it: not in ASCII (RFC 9580, 6.2), in which apt takes them too."""
    armoured = _ARMOUR.findall(keyring.read_bytes().replace(b"\r\n", b"\n"))
    if not armoured:
        yield keyring
        return
    with tempfile.NamedTemporaryFile(suffix=".gpg") as file:
        file.write(b"".join(base64.b64decode(block) for block in armoured))
        file.flush()
        yield Path(file.name)
