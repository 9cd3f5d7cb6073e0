# SPDX-License-Identifier: MIT
"""Files that are put into a project: the user layer (meta-user), and symbols of its configuration.

A project's own layer comes from its BSP, or from PetaLinux's template. Files of the boards'
`petalinux_bsp/meta-user` replace its files of the same name. The tree's own, which is for all
boards, is added to it: where a file of that name is there, to the end of it.
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
    """The parts of the user layer that one step reads.

    shared: the tree's `meta-user`. own: those of the board and of the boards that it extends, the
    undermost first. parts: directories of a layer.
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
        """Return what tells the files apart: by name in the layer, what each is made of.

        Files of several layers have one name in a project, so names alone do not tell.
        """
        found: dict[str, list[str]] = {}
        for layer in (*self.own, self.shared):
            for name, path in self._files(layer):
                found.setdefault(name, []).append(sha256(path)[:16])
        return {f"layer {name}": "+".join(sums) for name, sums in sorted(found.items())}

    def recipes(self, part: str) -> list[str]:
        """Return the names of the recipes that are in a part of the layers, sorted."""
        files = (
            path for layer in (self.shared, *self.own) for path in (layer / part).glob("*/*.bb")
        )
        return sorted({path.stem.partition("_")[0] for path in files})

    def write(self, project: Path, changes: Path) -> None:
        """Write the files of the project's layer that become others into `changes`, another tree."""
        before, after = project / META_USER, changes / META_USER
        for layer in self.own:
            for name, path in self._files(layer):
                _copy(path, after / name)
        for name, path in self._files(self.shared):
            there = next((each / name for each in (after, before) if (each / name).exists()), None)
            if there is None:
                _copy(path, after / name)
            elif name != _LAYER_CONF:  # the release's own names its Yocto
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
    """Return what a file of the tree's layer is called in a project; "" if it is not for it.

    In the tree, bitbake's overrides tell the families' system-user.dtsi apart. A project is of one
    family, and has one already, whose place that of an override would take.
    """
    path = PurePosixPath(name)
    families = {each.value for each in Soc}
    if path.name != _DTSI:
        return name
    family = path.parent.name if path.parent.name in families else Soc.ZYNQ.value
    return f"{_FILES}/{_DTSI}" if family == soc.value else ""


def _together(there: str, added: str, name: str) -> str:
    """Return a project's file with the lines of the tree's that it lacks at its end."""
    if not name.endswith(_ADDED):
        raise UserError(
            f"{BSP_DIRECTORY}/meta-user/{name} cannot be added to the project's own file",
            hint=f"only files that end in {', '.join(_ADDED)} can",
        )
    if name.endswith(".dtsi"):  # a board's wins, but what is included at its end
        lines = {line.strip() for line in there.splitlines()}
        included = (line for line in added.splitlines() if line.startswith("/include/"))
        added = "".join(f"{line}\n" for line in included if line.strip() not in lines)
    return f"{there.rstrip()}\n\n{added}" if there.strip() else added


def set_symbols(text: str, wanted: Mapping[str, str | None]) -> str:
    """Return a configuration in which symbols have these values, None for unset, each once."""
    kept = [
        line
        for line in text.splitlines()
        if not ((found := _SYMBOL.fullmatch(line.strip())) and found["name"] in wanted)
    ]
    for name, value in wanted.items():
        kept.append(f"# {name} is not set" if value is None else f"{name}={value}")
    return "".join(f"{line}\n" for line in kept)


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
        raise UserError(f"{path} is no text: {error}") from error


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
