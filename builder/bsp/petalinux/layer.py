# SPDX-License-Identifier: MIT
"""Files that are added to a project: the user layer (meta-user) and configuration symbols.

A project's layer comes from its BSP or from PetaLinux's template. Files of the boards'
`petalinux_bsp/meta-user` replace files of the same name. The builder's own layer, which is for all
boards, is added: a file whose name already exists is appended to the existing file.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from builder.bsp.soc import BSP_DIRECTORY
from builder.errors import UserError
from builder.spec.models import Soc
from builder.store.checksum import sha256
from builder.untrusted.reading import check_place

META_USER = "project-spec/meta-user"
CONFIG = "project-spec/configs/config"

_MOST_FILES = 10_000
_LAYER_CONF = "conf/layer.conf"
_DTSI = "system-user.dtsi"
_FILES = "recipes-bsp/device-tree/files"
_ADDED = (".bbappend", ".cfg", ".conf", ".dtsi")
_SYMBOL = re.compile(r"(?:# )?(?P<name>CONFIG_[\w+.-]+)(?:=(?P<value>.*)| is not set)")


@dataclass(frozen=True, kw_only=True)
class UserLayer:
    """The parts of the user layers that one step depends on.

    soc: the SoC family.
    shared: the builder's `meta-user`, for all boards.
    own: `meta-user` of the board and of the boards that it extends, the lowest first.
    parts: directories of a layer.
    """

    soc: Soc
    shared: Path
    own: Sequence[Path]
    parts: Sequence[str]

    @classmethod
    def of(cls, soc: Soc, tree: Path, boards: Sequence[Path], *, parts: Sequence[str]) -> UserLayer:
        """Return parts of the layers of a tree and of boards' directories."""
        shared, *own = (each / BSP_DIRECTORY / "meta-user" for each in (tree, *boards))
        return cls(soc=soc, shared=shared, own=own, parts=("conf", *parts))

    def settings(self) -> dict[str, object]:
        """Return the hashes of the files by their names in the layer, for the step's key.

        Files of several layers may have the same name.
        """
        found: dict[str, list[str]] = {}
        for layer in (*self.own, self.shared):
            for name, path in self._files(layer):
                found.setdefault(name, []).append(sha256(path)[:16])
        return {f"layer {name}": "+".join(sums) for name, sums in sorted(found.items())}

    def recipes(self, part: str) -> list[str]:
        """Return the names of the recipes in a part of the layers, sorted."""
        files = (
            path for layer in (self.shared, *self.own) for path in (layer / part).glob("*/*.bb")
        )
        return sorted({path.stem.partition("_")[0] for path in files})

    def write(self, project: Path, changes: Path) -> None:
        """Write the changed files of the project's layer into another directory, `changes`."""
        before, after = project / META_USER, changes / META_USER
        for layer in self.own:
            for name, path in self._files(layer):
                _copy(path, after / name)
        for name, path in self._files(self.shared):
            there = next((each / name for each in (after, before) if (each / name).exists()), None)
            if there is None:
                _copy(path, after / name)
            elif name != _LAYER_CONF:  # the project's names the release's Yocto
                _write(after / name, _together(_text(there), _text(path), name))

    def _files(self, layer: Path) -> Iterator[tuple[str, Path]]:
        for part in self.parts:
            check_place(layer / part)
            found = [*islice((layer / part).rglob("*"), _MOST_FILES + 1)]
            if len(found) > _MOST_FILES:
                raise UserError(f"{layer / part} has more than {_MOST_FILES} files")
            for path in sorted(found):
                if path.is_file():
                    name = path.relative_to(layer).as_posix()
                    if layer == self.shared:
                        name = _of_family(name, self.soc)
                    if name:
                        yield name, path


def _of_family(name: str, soc: Soc) -> str:
    """Return the project's name of a file of the builder's layer; "" if for another family.

    The builder's layer has a system-user.dtsi per family, selected by bitbake's overrides. A
    project is for one family and has its own system-user.dtsi, which a file in an override's
    directory would replace.
    """
    path = PurePosixPath(name)
    families = {each.value for each in Soc}
    if path.name != _DTSI:
        return name
    family = path.parent.name if path.parent.name in families else Soc.ZYNQ.value
    return f"{_FILES}/{_DTSI}" if family == soc.value else ""


def _together(there: str, added: str, name: str) -> str:
    """Return a project's file with the builder's file appended, of a .dtsi only new includes."""
    if not name.endswith(_ADDED):
        raise UserError(
            f"{BSP_DIRECTORY}/meta-user/{name} cannot be appended to the project's file",
            hint=f"only {', '.join(_ADDED)} files can be appended; rename the file",
        )
    if name.endswith(".dtsi"):  # the board's content has precedence; only includes are added
        lines = {line.strip() for line in there.splitlines()}
        included = (line for line in added.splitlines() if line.startswith("/include/"))
        added = "".join(f"{line}\n" for line in included if line.strip() not in lines)
    return f"{there.rstrip()}\n\n{added}" if there.strip() else added


def set_symbols(text: str, wanted: Mapping[str, str | None]) -> str:
    """Return a configuration with these values of symbols (None: unset), each symbol once."""
    lines = [
        line
        for line in text.splitlines()
        if not ((found := _SYMBOL.fullmatch(line.strip())) and found["name"] in wanted)
    ]
    for name, value in wanted.items():
        lines.append(f"# {name} is not set" if value is None else f"{name}={value}")
    return "".join(f"{line}\n" for line in lines)


def symbols(text: str) -> dict[str, str]:
    """Return the symbols that a configuration sets, with their values."""
    found = (_SYMBOL.fullmatch(line.strip()) for line in text.splitlines())
    return {
        each["name"]: each["value"] for each in found if each and each["value"] not in (None, "n")
    }


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}") from error


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
