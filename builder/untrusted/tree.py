# SPDX-License-Identifier: MIT
"""Files of others: root filesystems of images, and what archives hold.

Whoever made them may have put links there that lead out of them, names that do, or files without
end. All of this program that reads or writes a path in such a tree does so here.
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

_MOST_LINKS: Final = 40
"""Symbolic links that a path may go through, as in path_resolution(7)."""

_MOST_BYTES: Final = 64 << 20
"""Bytes of a file of a tree that is read as a whole."""

_LONGEST_NAME: Final = 4096
_LONGEST_PART: Final = 255
"""Bytes of a member's name, and of what stands between two slashes: PATH_MAX, NAME_MAX of Linux."""


def member(name: str) -> PurePosixPath:
    """Return the name of an archive's member as a path that stays where it is unpacked to.

    Raises:
        UserError: it is absolute, goes up with `..`, or is no name.
    """
    path = PurePosixPath(name)
    lengths = [len(os.fsencode(part)) for part in path.parts]
    if not lengths or "\0" in name or len(name) > _LONGEST_NAME or max(lengths) > _LONGEST_PART:
        raise UserError(f"a member of the archive is called {name[:80]!r}, which is no file's name")
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{name}: its name leads out of the directory that it is unpacked to")
    return path


def read_bounded(file: IO[bytes], name: str, *, most: int = _MOST_BYTES) -> bytes:
    """Return the rest of a file.

    Raises:
        UserError: it has more than `most` bytes.
    """
    content = file.read(most + 1)
    if len(content) > most:
        raise UserError(f"{name}: larger than {most >> 20} MiB, which is the most that is read")
    return content


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A name in an open directory, neither of which links can change any more.

    above: the names of the directories on the way from the root.
    """

    above: tuple[str, ...]
    directory: int
    name: str

    @property
    def path(self) -> Path:
        """The path for functions that do not follow a link in its last part."""
        return Path(f"/proc/self/fd/{self.directory}") / self.name

    def kind(self) -> int:
        """Return the kind of file (`stat.S_IFMT`); 0 if there is none."""
        try:
            status = os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return 0
        return stat.S_IFMT(status.st_mode)


class ForeignTree:
    """The files below a directory, `/` being this directory, as its own programs would find them.

    Links are followed as if it were the root directory: none leads out. Paths may be absolute or
    not. It is safe while others change the tree: each part of a path is opened on its own.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def exists(self, path: str | PurePosixPath) -> bool:
        """Return whether there is a file, or a directory; a link to nothing is none."""
        return bool(self._kind(path))

    def is_directory(self, path: str | PurePosixPath) -> bool:
        """Return whether there is a directory."""
        return self._kind(path) == stat.S_IFDIR

    def is_link(self, path: str | PurePosixPath) -> bool:
        """Return whether the last part of a path is a symbolic link."""
        try:
            with self._place(path, follow=False) as place:
                return place.kind() == stat.S_IFLNK
        except (FileNotFoundError, NotADirectoryError):
            return False

    def read(self, path: str | PurePosixPath, *, most: int = _MOST_BYTES) -> bytes:
        """Return the content of a plain file.

        Raises:
            FileNotFoundError, NotADirectoryError: there is none.
            StepError: it is no plain file, or has more than `most` bytes.
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
        """Return the content of a text file; bytes that are no UTF-8 are replaced."""
        return self.read(path).decode(errors="replace")

    def write(self, path: str | PurePosixPath, content: bytes, *, mode: int) -> None:
        """Write a file with a mode, in place of what was there; missing directories are made."""
        with self.created(path, mode=mode) as file:
            file.write(content)

    @contextmanager
    def created(self, path: str | PurePosixPath, *, mode: int) -> Iterator[IO[bytes]]:
        """Open a new file for writing, as `write` makes it."""
        with self._place(path, make=True, follow=False) as place:
            _remove(place)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(place.name, flags, dir_fd=place.directory), "wb") as file:
                yield file
                os.fchmod(file.fileno(), mode)

    def touch(self, path: str | PurePosixPath) -> None:
        """Make an empty file where a path leads, unless there is something."""
        with self._place(path, make=True) as place:
            if not place.kind():
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                os.close(os.open(place.name, flags, 0o644, dir_fd=place.directory))

    def make_directory(self, path: str | PurePosixPath) -> None:
        """Make a directory and those above it, with mode 0755; one that is there stays as it is.

        Raises:
            StepError: there is something else.
        """
        with self._place(path, make=True) as place:
            if place.kind() == 0:
                os.mkdir(place.name, dir_fd=place.directory)
                os.chmod(place.name, _DIRECTORY_MODE, dir_fd=place.directory)
            elif place.kind() != stat.S_IFDIR:
                raise StepError(f"{path} is to be a directory, but the image has a file there")

    def link(self, path: str | PurePosixPath, target: str) -> None:
        """Make a symbolic link, in place of what was there; missing directories are made."""
        with self._place(path, make=True, follow=False) as place:
            _remove(place)
            os.symlink(target, place.name, dir_fd=place.directory)

    def remove(self, path: str | PurePosixPath) -> None:
        """Remove a file, a link, or a directory with all in it, if it is there."""
        try:
            with self._place(path, follow=False) as place:
                _remove(place)
        except (FileNotFoundError, NotADirectoryError):
            return

    def status(self, path: str | PurePosixPath, *, follow: bool = True) -> os.stat_result:
        """Return the status of a file; without `follow`, of a link as such.

        Raises:
            FileNotFoundError, NotADirectoryError: there is none.
        """
        with self._place(path, follow=follow) as place:
            return os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)

    def target(self, path: str | PurePosixPath) -> str:
        """Return the target of a symbolic link."""
        with self._place(path, follow=False) as place:
            return os.readlink(place.name, dir_fd=place.directory)

    def give(self, path: str | PurePosixPath, user: int, group: int) -> None:
        """Change the owner of a file or directory; of a link, of what it leads to."""
        with self._place(path) as place:
            os.chown(place.name, user, group, dir_fd=place.directory, follow_symlinks=False)

    def set_mode(self, path: str | PurePosixPath, mode: int) -> None:
        """Change the mode of a file or directory; of a link, of what it leads to."""
        with self._place(path) as place:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            opened = os.open(place.name, flags, dir_fd=place.directory)
            try:
                os.fchmod(opened, mode)
            finally:
                os.close(opened)

    def names(self, path: str | PurePosixPath) -> list[str]:
        """Return the names in a directory, sorted; none if there is no such directory."""
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
        """Yield the path and the status of all files, directories and links, in no order.

        Paths begin with `/`. Links are not followed.
        """
        for folder, folders, files, opened in os.fwalk(self._root):
            above = folder[len(str(self._root)) :]
            for name in (*folders, *files):
                status = os.stat(name, dir_fd=opened, follow_symlinks=False)
                yield f"{above}/{name}", status

    def below(self, path: str | PurePosixPath) -> ForeignTree:
        """Return the files below a directory of the tree, as a tree of its own.

        Raises:
            FileNotFoundError, NotADirectoryError: there is no such directory.
        """
        return ForeignTree(self._root / self.inside(path))

    def inside(self, path: str | PurePosixPath, *, follow: bool = True) -> PurePosixPath:
        """Return a path without links for a file, relative to the root, for commands to take.

        Without `follow`, the last part may be a link. It holds as long as nobody changes the tree.

        Raises:
            FileNotFoundError, NotADirectoryError: something on the way is missing.
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
        """Give the directory that a path leads to, opened, and the name in it.

        With `follow`, the name is of no link. With `make`, directories on the way are made.
        """
        walk = _Walk(self._root, str(path))
        try:
            yield walk.place(follow=follow, make=make)
        except NotADirectoryError as error:
            if not make:
                raise
            raise StepError(f"{path}: a part of it is no directory in the image") from error
        finally:
            walk.close()


class _Walk:
    """The way to a path, part by part: the directories passed are open, the root first."""

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
        """Go the way; return its end."""
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
        if self._links > _MOST_LINKS:
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
