# SPDX-License-Identifier: MIT
"""A kernel's modules and headers among boot files, in the layouts of common build systems."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from builder.bsp.prebuilt.supplied import list_files
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
"""Maximum size of a file in bytes."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A set of files: the directory `name/` of the boot files in `root`, or archives."""

    name: str
    root: Path
    archives: Sequence[Path] = ()

    def files(self) -> Iterator[tuple[str, Opener]]:
        """Yield names of files, each with a function that opens it.

        The function must be called before the next file is requested.

        Raises:
            UserError: an archive is damaged or not an archive.
        """
        for archive in self.archives:
            yield from tar_files(archive)
        if not self.archives:
            for name, file in list_files(self.root):
                if name.startswith(self.name):
                    yield name, _opener(file)

    def releases(self) -> list[str]:
        """Return the kernel releases of the modules, sorted."""
        found = (_release(name) for name, _ in self.files())
        return sorted({match["release"] for match in found if match})

    def copy_modules(self, release: str, tree: ForeignTree, folder: str) -> None:
        """Copy the modules of a release into a directory of a tree."""
        for name, opener in self.files():
            match = _release(name)
            if match and match["release"] == release:
                _write(opener, tree, f"{folder}/{member(match['name'])}")

    def headers_root(self) -> str | None:
        """Return the directory with the kernel's top Makefile; None if there is none."""
        found = [name for name, _ in self.files() if PurePosixPath(name).name == "Makefile"]
        nearest = min(found, key=lambda name: (name.count("/"), name), default=None)
        return None if nearest is None else nearest.removesuffix("Makefile")

    def copy_headers(self, tree: ForeignTree, folder: str) -> None:
        """Copy a kernel's headers and build files for modules into a directory of a tree."""
        root = self.headers_root() or ""
        for name, opener in self.files():
            if name.startswith(root):
                _write(opener, tree, f"{folder}/{member(name.removeprefix(root))}")


def module_bundles(folder: Path) -> list[Bundle]:
    """Return the bundles of boot files that may contain modules, the most likely first."""
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
    """Return whether an entry of boot files belongs to the root filesystem, not to the FAT."""
    patterns = (_MODULE_ARCHIVE, _ROOTFS_ARCHIVE, _HEADERS)
    return name in _DIRECTORIES or any(pattern.fullmatch(name) for pattern in patterns)


def _release(name: str) -> re.Match[str] | None:
    # Archives that were made with `tar -C lib/modules` begin with the release.
    return _RELEASE.fullmatch(name) or _RELEASE.fullmatch(f"modules/{name}")


def _opener(path: Path) -> Opener:
    return lambda: path.open("rb")


def _write(opener: Opener, tree: ForeignTree, path: str) -> None:
    """Write a file; programs are recognized by their content, as zip files may lack modes."""
    with opener() as source:
        content = read_bounded(source, path, most=_LARGEST)
    is_program = content.startswith(_PROGRAM) and not path.endswith(_NO_PROGRAM)
    tree.write(path, content, mode=0o755 if is_program else 0o644)
