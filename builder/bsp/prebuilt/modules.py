# SPDX-License-Identifier: MIT
"""A kernel's modules and headers among boot files, in the forms in which builds give them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from builder.bsp.prebuilt.given import listed
from builder.untrusted.reading import Opener, tar_files
from builder.untrusted.tree import ForeignTree, member, read_bounded

_TAR = r"\.(tar(\.\w+)?|tgz|txz)"
_DIRECTORIES = ("modules", "lib", "usr")
_MODULE_ARCHIVE = re.compile(rf"modules.*{_TAR}")
_ROOTFS_ARCHIVE = re.compile(rf"rootfs{_TAR}")
_HEADERS = re.compile(rf"(linux-|kernel-)?headers.*?({_TAR})?")
_RELEASE = re.compile(r"(?:(?:.*?/)?lib/)?modules/(?P<release>\d[^/]*)/(?P<name>.+)")
_PROGRAM = (b"#!", b"\x7fELF")
_NO_PROGRAM = (".ko", ".o", ".a", ".so")

_LARGEST = 512 << 20
"""Bytes of the largest file that is taken."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Files that come together: a directory `name/` among boot files in `root`, or archives."""

    name: str
    root: Path
    archives: Sequence[Path] = ()

    def files(self) -> Iterator[tuple[str, Opener]]:
        """Yield names of files, each with what opens it, to be called before the next one comes.

        Raises:
            UserError: the archive is damaged, or none.
        """
        for archive in self.archives:
            yield from tar_files(archive)
        if not self.archives:
            for name, file in listed(self.root):
                if name.startswith(self.name):
                    yield name, _opener(file)

    def releases(self) -> list[str]:
        """Return the releases of the kernels that there are modules for."""
        found = (_release(name) for name, _ in self.files())
        return sorted({match["release"] for match in found if match})

    def copy_modules(self, release: str, tree: ForeignTree, folder: str) -> None:
        """Copy the modules of a release into a directory of a tree."""
        for name, opener in self.files():
            match = _release(name)
            if match and match["release"] == release:
                _write(opener, tree, f"{folder}/{member(match['name'])}")

    def headers_root(self) -> str | None:
        """Return the directory in it that holds a kernel's Makefile; None if there is none."""
        found = [name for name, _ in self.files() if PurePosixPath(name).name == "Makefile"]
        nearest = min(found, key=lambda name: (name.count("/"), name), default=None)
        return None if nearest is None else nearest.removesuffix("Makefile")

    def copy_headers(self, tree: ForeignTree, folder: str) -> None:
        """Copy a kernel's headers, and what compiles modules, into a directory of a tree."""
        root = self.headers_root() or ""
        for name, opener in self.files():
            if name.startswith(root):
                _write(opener, tree, f"{folder}/{member(name.removeprefix(root))}")


def module_bundles(folder: Path) -> list[Bundle]:
    """Return where modules may be among boot files, the likeliest place first."""
    entries = sorted(folder.iterdir())
    own = [path for path in entries if path.name in _DIRECTORIES and path.is_dir()]
    found = [Bundle(name=f"{path.name}/", root=folder) for path in own]
    for pattern in (_MODULE_ARCHIVE, _ROOTFS_ARCHIVE):
        archives = [path for path in entries if pattern.fullmatch(path.name) and path.is_file()]
        if archives:
            names = ", ".join(path.name for path in archives)
            found.append(Bundle(name=names, root=folder, archives=archives))
    return found


def headers_bundle(folder: Path) -> Bundle | None:
    """Return a kernel's headers among boot files; None if there are none."""
    for path in sorted(folder.iterdir()):
        match = _HEADERS.fullmatch(path.name)
        if match and match[2] and path.is_file():
            return Bundle(name=path.name, root=folder, archives=[path])
        if match and path.is_dir():
            return Bundle(name=f"{path.name}/", root=folder)
    return None


def belongs_to_root(name: str) -> bool:
    """Return whether an entry of boot files is for the root filesystem, not for the card's FAT."""
    patterns = (_MODULE_ARCHIVE, _ROOTFS_ARCHIVE, _HEADERS)
    return name in _DIRECTORIES or any(pattern.fullmatch(name) for pattern in patterns)


def _release(name: str) -> re.Match[str] | None:
    # `tar -C lib/modules` has the release on top.
    return _RELEASE.fullmatch(name) or _RELEASE.fullmatch(f"modules/{name}")


def _opener(path: Path) -> Opener:
    return lambda: path.open("rb")


def _write(opener: Opener, tree: ForeignTree, path: str) -> None:
    """Write a file. Whether it is a program follows from its content: a zip file may not say so."""
    with opener() as source:
        content = read_bounded(source, path, most=_LARGEST)
    is_program = content.startswith(_PROGRAM) and not path.endswith(_NO_PROGRAM)
    tree.write(path, content, mode=0o755 if is_program else 0o644)
