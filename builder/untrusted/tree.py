# SPDX-License-Identifier: MIT
"""Access to untrusted directory trees: root filesystems of images, and content of archives.

Their authors may have created links or names that lead outside of the tree, or endless files. All
access of this program to paths in such trees goes through this module.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from builder.errors import StepError, UserError

_DIRECTORY_MODE: Final = 0o755

_MAX_LINKS: Final = 40
"""Maximum number of symbolic links in a path, as in path_resolution(7)."""

_MAX_BYTES: Final = 64 << 20
"""Maximum size in bytes of a file that is read at once."""

_LONGEST_NAME: Final = 4096
_LONGEST_PART: Final = 255
"""Maximum length in bytes of a member's name, and of a path component (PATH_MAX, NAME_MAX)."""


def member(name: str) -> PurePosixPath:
    """Return the name of an archive's member as a path that stays in the target directory.

    Raises:
        UserError: it is absolute, contains `..`, or is not a valid name.
    """
    path = PurePosixPath(name)
    lengths = [len(os.fsencode(part)) for part in path.parts]
    if not lengths or "\0" in name or len(name) > _LONGEST_NAME or max(lengths) > _LONGEST_PART:
        raise UserError(f"a member of the archive has the invalid file name {name[:80]!r}")
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{name}: the name leads outside of the archive's directory")
    return path


def read_bounded(file: IO[bytes], name: str, *, most: int = _MAX_BYTES) -> bytes:
    """Return the rest of a file.

    Raises:
        UserError: it has more than `most` bytes.
    """
    content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"{name}: larger than the limit of {most >> 20} MiB")
    return content


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A name in an open directory; changed links cannot affect either.

    above: the names of the parent directories, from the root on.
    """

    above: tuple[str, ...]
    directory: int
    name: str

    @property
    def path(self) -> Path:
        """A path for functions that do not follow a link in its last part."""
        return Path(f"/proc/self/fd/{self.directory}") / self.name

    def kind(self) -> int:
        """Return the kind of file (`stat.S_IFMT`); 0 if there is none."""
        try:
            status = os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return 0
        return stat.S_IFMT(status.st_mode)


class ForeignTree:
    """The files below a directory, which is `/` for all paths.

    Links are resolved as if the directory were the root directory, so none leads outside. Paths may
    be absolute or relative. Access is safe while others change the tree: each part of a path is
    opened separately.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def exists(self, path: str | PurePosixPath) -> bool:
        """Return whether a file or directory exists; false for a dangling link."""
        return bool(self._kind(path))

    def is_directory(self, path: str | PurePosixPath) -> bool:
        """Return whether a directory exists."""
        return self._kind(path) == stat.S_IFDIR

    def is_link(self, path: str | PurePosixPath) -> bool:
        """Return whether the last part of a path is a symbolic link."""
        try:
            with self._place(path, follow=False) as place:
                return place.kind() == stat.S_IFLNK
        except (FileNotFoundError, NotADirectoryError):
            return False

    def read(self, path: str | PurePosixPath, *, most: int = _MAX_BYTES) -> bytes:
        """Return the content of a plain file.

        Raises:
        FileNotFoundError, NotADirectoryError: it does not exist.
        StepError: it is not a plain file, or has more than `most` bytes.
        """
        with self._place(path) as place:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with os.fdopen(os.open(place.name, flags, dir_fd=place.directory), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_size > most:
                    what = f"a plain file of at most {most >> 20} MiB"
                    raise StepError(f"{path} in the image should be {what}")
                return file.read(most)

    def text(self, path: str | PurePosixPath) -> str:
        """Return the content of a text file; invalid UTF-8 is replaced."""
        return self.read(path).decode(errors="replace")

    def write(self, path: str | PurePosixPath, content: bytes, *, mode: int) -> None:
        """Write a file with a mode, replacing an existing one; create missing directories."""
        with self.created(path, mode=mode) as file:
            file.write(content)

    @contextmanager
    def created(self, path: str | PurePosixPath, *, mode: int) -> Iterator[IO[bytes]]:
        """Open a new file for writing, as `write` does."""
        with self._place(path, make=True, follow=False) as place:
            _remove(place)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(place.name, flags, dir_fd=place.directory), "wb") as file:
                yield file
                os.fchmod(file.fileno(), mode)

    def touch(self, path: str | PurePosixPath) -> None:
        """Create an empty file at a path unless it exists."""
        with self._place(path, make=True) as place:
            if not place.kind():
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                os.close(os.open(place.name, flags, 0o644, dir_fd=place.directory))

    def make_directory(self, path: str | PurePosixPath) -> None:
        """Create a directory and its parents, with mode 0755; an existing one is not changed.

        Raises:
            StepError: the path is not a directory.
        """
        with self._place(path, make=True) as place:
            if place.kind() == 0:
                os.mkdir(place.name, dir_fd=place.directory)
                os.chmod(place.name, _DIRECTORY_MODE, dir_fd=place.directory)
            elif place.kind() != stat.S_IFDIR:
                raise StepError(f"{path} should be a directory, but is a file in the image")

    def link(self, path: str | PurePosixPath, target: str) -> None:
        """Create a symbolic link, replacing an existing file; create missing directories."""
        with self._place(path, make=True, follow=False) as place:
            _remove(place)
            os.symlink(target, place.name, dir_fd=place.directory)

    def remove(self, path: str | PurePosixPath) -> None:
        """Remove a file, a link, or a directory with its content, if it exists."""
        try:
            with self._place(path, follow=False) as place:
                _remove(place)
        except (FileNotFoundError, NotADirectoryError):
            return

    def status(self, path: str | PurePosixPath, *, follow: bool = True) -> os.stat_result:
        """Return the status of a file; of a link itself unless `follow`.

        Raises:
            FileNotFoundError, NotADirectoryError: it does not exist.
        """
        with self._place(path, follow=follow) as place:
            return os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)

    def target(self, path: str | PurePosixPath) -> str:
        """Return the target of a symbolic link."""
        with self._place(path, follow=False) as place:
            return os.readlink(place.name, dir_fd=place.directory)

    def give(self, path: str | PurePosixPath, user: int, group: int) -> None:
        """Change the owner of a file or directory; of a link's target if it is a link."""
        with self._place(path) as place:
            os.chown(place.name, user, group, dir_fd=place.directory, follow_symlinks=False)

    def set_mode(self, path: str | PurePosixPath, mode: int) -> None:
        """Change the mode of a file or directory; of a link's target if it is a link."""
        with self._place(path) as place:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            opened = os.open(place.name, flags, dir_fd=place.directory)
            try:
                os.fchmod(opened, mode)
            finally:
                os.close(opened)

    def names(self, path: str | PurePosixPath) -> list[str]:
        """Return the names in a directory, sorted; empty if it does not exist."""
        try:
            with self._place(path) as place:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                opened = os.open(place.name, flags, dir_fd=place.directory)
                try:
                    return sorted(os.listdir(opened))  # noqa: PTH208 - pathlib takes no descriptor
                finally:
                    os.close(opened)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def glob(self, pattern: str) -> Iterator[str]:
        """Yield the paths that match a pattern, sorted: `*`, `?` and `[]` within one level."""
        found = ["/"]
        for part in PurePosixPath(pattern).parts:
            if part == "/":
                continue
            found = [
                f"{folder.rstrip('/')}/{name}"
                for folder in found
                for name in self._matching(folder, part)
            ]
        yield from (path for path in found if self.exists(path))

    def _matching(self, folder: str, part: str) -> list[str]:
        if any(sign in part for sign in "*?["):
            return fnmatch.filter(self.names(folder), part)
        return [part]

    def walk(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the path and the status of all files, directories and links, in any order.

        Paths begin with `/`. Links are not followed.
        """
        for folder, folders, files, opened in os.fwalk(self._root):
            above = folder[len(str(self._root)) :]
            for name in (*folders, *files):
                status = os.stat(name, dir_fd=opened, follow_symlinks=False)
                yield f"{above}/{name}", status

    def below(self, path: str | PurePosixPath) -> ForeignTree:
        """Return the files below a directory of the tree, as another tree.

        Raises:
            FileNotFoundError, NotADirectoryError: the directory does not exist.
        """
        return ForeignTree(self._root / self.inside(path))

    def inside(self, path: str | PurePosixPath, *, follow: bool = True) -> PurePosixPath:
        """Return a file's path without links, relative to the root, for use in commands.

        Unless `follow`, the last part may be a link. The path is valid while the tree is unchanged.

        Raises:
            FileNotFoundError, NotADirectoryError: a part of the path is missing.
        """
        with self._place(path, follow=follow) as place:
            if place.kind() == 0:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            return PurePosixPath(*place.above, place.name)

    def _kind(self, path: str | PurePosixPath) -> int:
        try:
            with self._place(path) as place:
                return place.kind()
        except (FileNotFoundError, NotADirectoryError):
            return 0

    @contextmanager
    def _place(
        self, path: str | PurePosixPath, *, follow: bool = True, make: bool = False
    ) -> Iterator[_Place]:
        """Provide an open directory and the name in it for a path.

        With `follow`, the name is not that of a link. With `make`, missing parents are created.
        """
        walk = _Walk(self._root, str(path))
        try:
            yield walk.place(follow=follow, make=make)
        except NotADirectoryError as error:
            if not make:
                raise
            raise StepError(f"{path}: a part of it is not a directory in the image") from error
        finally:
            walk.close()


class _Walk:
    """Resolution of a path, part by part; all directories on the way stay open, the root first."""

    def __init__(self, root: Path, path: str) -> None:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        self._path = path
        self._todo = [*reversed(PurePosixPath(path).parts)]
        self._open = [os.open(root, flags)]
        self._names: list[str] = []
        self._links = 0

    def close(self) -> None:
        """Close all directories."""
        while self._open:
            os.close(self._open.pop())

    def place(self, *, follow: bool, make: bool) -> _Place:
        """Resolve the path; return its last part."""
        while self._todo:
            part = self._todo.pop()
            if part == "/":
                self._leave(len(self._open) - 1)
            elif part == "..":
                self._leave(min(1, len(self._open) - 1))
            elif (self._todo or follow) and self._is_link(part):
                self._follow(part)
            elif self._todo:
                self._enter(part, make=make)
            else:
                return self._here(part)
        return self._here(".")

    def _here(self, name: str) -> _Place:
        return _Place(above=tuple(self._names), directory=self._open[-1], name=name)

    def _leave(self, count: int) -> None:
        for _ in range(count):
            os.close(self._open.pop())
            self._names.pop()

    def _is_link(self, part: str) -> bool:
        return self._here(part).kind() == stat.S_IFLNK

    def _follow(self, part: str) -> None:
        self._links += 1
        if self._links > _MAX_LINKS:
            raise StepError(f"{self._path}: too many symbolic links in the image")
        target = os.readlink(part, dir_fd=self._open[-1])
        self._todo += reversed(PurePosixPath(target).parts)

    def _enter(self, part: str, *, make: bool) -> None:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        if make and not self._here(part).kind():
            os.mkdir(part, dir_fd=self._open[-1])
            os.chmod(part, _DIRECTORY_MODE, dir_fd=self._open[-1])
        self._open.append(os.open(part, flags, dir_fd=self._open[-1]))
        self._names.append(part)


def _remove(place: _Place) -> None:
    if place.kind() == stat.S_IFDIR:
        shutil.rmtree(place.path)
    elif place.kind():
        os.unlink(place.name, dir_fd=place.directory)
