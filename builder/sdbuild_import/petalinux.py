# SPDX-License-Identifier: MIT
"""Import of a board's `petalinux_bsp/` or `edf_bsp/`.

The provider `petalinux` uses `petalinux_bsp/meta-user` unchanged. For `mainline`, kernel fragments
and the device tree are converted.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.sdbuild_import.devicetree import UserTree, read_user_tree, user_name
from builder.sdbuild_import.draft import Draft, text_of
from builder.sdbuild_import.facts import kernel
from builder.sdbuild_import.report import Outcome

BSP = "petalinux_bsp"
EDF_SETTINGS = "edf.env"
_EDF = "edf_bsp"
_LAYER = f"{BSP}/meta-user"
_LINUX = "recipes-kernel/linux"
_TREES = "recipes-bsp/device-tree"
_BUILT = (
    *("conf", _TREES, _LINUX, "recipes-bsp/u-boot", "recipes-bsp/fsbl", "recipes-bsp/embeddedsw"),
    *("recipes-bsp/pmu-firmware", "recipes-bsp/pmu", "recipes-bsp/arm-trusted-firmware"),
    *("recipes-kernel", "recipes-modules"),
)
_OLD_SYNTAX = re.compile(r"\b\w+_(append|prepend|remove)(?:_\w+)?\s*=|\bFILESEXTRAPATHS_prepend\b")
_OPTION = re.compile(r"(?:# )?CONFIG_(\w+)(?:=.*| is not set)")


@dataclass(kw_only=True)
class BoardSupport:
    """Files and settings for `mainline`.

    Attributes:
        fragments: names of the converted kernel fragments in board.yaml.
        tree: name and content of the board's additions to the device tree.
    """

    fragments: list[str] = field(default_factory=list)
    tree: tuple[str, UserTree] | None = None


def convert_support(
    draft: Draft, source: str, *, like: str | None, mainline: bool, whole: bool
) -> BoardSupport:
    """Import `petalinux_bsp/` and `edf_bsp/` of a board.

    Args:
        draft: the board.
        source: name of its device tree source; the additions are written beside it.
        like: board whose device tree is used; if set, no additions are converted.
        mainline: whether `mainline` builds the boot files.
        whole: as for `read_user_tree`.
    """
    found = BoardSupport()
    layer = draft.below(_LAYER)
    for path in layer:
        _keep(draft, path, mainline=mainline)
    used = {name for path in layer if path.suffix == ".bbappend" for name in _named(path)}
    for path in layer:
        place = path.relative_to(draft.source / _LAYER)
        if path.suffix == ".cfg" and place.is_relative_to(_LINUX):
            if path.name in used or place.stem == "bsp" or place.stem.startswith("user_"):
                _fragment(draft, path, found)
            else:
                draft.report.add(path, Outcome.LEFT, "no .bbappend lists it in SRC_URI")
    _edf(draft, found)
    trees = [path for path in layer if path.suffix == ".dtsi" and f"/{_TREES}/" in str(path)]
    files, first = trees, "system-user.dtsi"
    if not files:
        files, first = [path for path in draft.below(_EDF) if path.suffix == ".dtsi"], "board.dtsi"
    if like:
        for path in files:
            what = f"not in the device tree for mainline, which is {like}'s: add missing parts"
            draft.report.add(path, Outcome.PERSON, what)
    else:
        _trees(draft, files, first, source, found, whole=whole)
    return found


def _keep(draft: Draft, path: Path, *, mainline: bool) -> None:
    """Copy a file of the user layer for PetaLinux, and report unsupported parts."""
    place = path.relative_to(draft.source / _LAYER)
    if not draft.copy(path, str(path.relative_to(draft.source))):
        return
    say = draft.report.add
    if not any(place.is_relative_to(part) for part in _BUILT):
        what = "the provider petalinux does not build this part of a layer: write a recipe"
        say(path, Outcome.PERSON, what)
        return
    if mainline and place.is_relative_to("recipes-modules"):
        what = "only the provider petalinux builds a board's own kernel modules, not mainline"
        say(path, Outcome.PERSON, what)
        return
    say(path, Outcome.AS_IT_IS, "user layer, for the provider petalinux")
    if path.suffix in (".bb", ".bbappend", ".inc", ".conf"):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if _OLD_SYNTAX.search(line):
                what = "PetaLinux since 2022 needs `:append`, `:prepend`, `:remove`, not `_append`"
                say(path, Outcome.PERSON, what, line=number)
    if place == Path("conf/layer.conf"):
        what = "must list the PetaLinux release's series in LAYERSERIES_COMPAT, or be removed"
        say(path, Outcome.PERSON, what)
    if mainline and path.suffix in (".patch", ".diff"):
        what = "mainline applies no patches: set another source by bsp.linux or bsp.u-boot"
        say(path, Outcome.PERSON, what)


def _named(append: Path) -> Iterator[str]:
    """Yield the names of the files in a .bbappend."""
    for name in re.findall(r"file://([^\s\"';]+)", text_of(append)):
        yield name.rpartition("/")[2]


def _fragment(draft: Draft, path: Path, found: BoardSupport) -> None:
    """Convert a kernel fragment: options of AMD's kernel become comments."""
    if draft.is_pointer(path):
        return
    missing = kernel().missing
    lines: list[str] = []
    options = 0
    for number, raw in enumerate(text_of(path).splitlines(), 1):
        line = raw.strip()
        option = _OPTION.fullmatch(line)
        if option and option[1] in missing:
            draft.report.add(
                path,
                Outcome.LEFT,
                f"CONFIG_{option[1]} exists only in AMD's kernel",
                line=number,
            )
            line = f"# only in AMD's kernel: {line.removeprefix('# ')}"
        elif option:
            options += 1
        lines.append(line)
    name = f"kernel/{path.name}"
    if not options:
        draft.report.add(path, Outcome.LEFT, "has no options for mainline's kernel")
    elif name in found.fragments:
        draft.report.add(path, Outcome.PERSON, f"another fragment already has the name {name}")
    else:
        header = f"# SPDX-License-Identifier: GPL-2.0-only\n# {path.relative_to(draft.source)}\n"
        draft.write(name, header + "\n".join([*lines, ""]))
        found.fragments.append(name)
        draft.report.add(
            path,
            Outcome.CONVERTED,
            f"{name}, for mainline; its build lists the options that this kernel does not have",
        )


def _trees(
    draft: Draft,
    files: Sequence[Path],
    first: str,
    source: str,
    found: BoardSupport,
    *,
    whole: bool,
) -> None:
    """Convert the board's additions to the device tree, and their includes."""
    main = next((path for path in files if path.name == first), None)
    if main is None or draft.is_pointer(main):
        return
    beside = {path.name: path for path in files if path != main}
    used: set[str] = set()

    def converted(path: Path) -> UserTree:
        text = text_of(path)
        tree = read_user_tree(text, draft.soc, beside=beside, whole=whole)
        for name in re.findall(r'#include "([^"]+)"', tree.text):
            tree.text = tree.text.replace(f'"{name}"', f'"{user_name(Path(name), source)}"')
            if name in beside and name not in used:
                used.add(name)
                converted(beside[name])
        name = user_name(path, source)
        draft.write(f"devicetree/{name}", tree.text)
        draft.report.add(path, Outcome.CONVERTED, f"devicetree/{name}, for mainline")
        for line, what in tree.remarks:
            draft.report.add(path, Outcome.PERSON, what, line=line)
        return tree

    found.tree = user_name(main, source), converted(main)
    for name in beside.keys() - used:
        draft.report.add(beside[name], Outcome.LEFT, f"{main.name} does not include it")


def _edf(draft: Draft, found: BoardSupport) -> None:
    """Import the files for AMD's EDF of sdbuild 4, except the device tree."""
    for path in draft.below(_EDF):
        place = path.relative_to(draft.source / _EDF)
        if place == Path("kernel.cfg"):
            _fragment(draft, path, found)
        elif place.parts[0] == "meta-remote":
            draft.report.add(path, Outcome.LEFT, "for PYNQ.remote's image, which is not built here")
        elif path.suffix != ".dtsi":
            what = "EDF is not a provider here, and mainline's U-Boot takes no patches"
            draft.report.add(path, Outcome.PERSON, what)
    settings = draft.source / EDF_SETTINGS
    if settings not in draft.files:
        return
    for number, line in enumerate(text_of(settings).splitlines(), 1):
        for name, value in _assignments(line):
            outcome, what = Outcome.LEFT, "EDF is not a provider here"
            if name in ("EDF_BOARD_DTS", "EDF_DDR_HIGH_BANK_REG"):
                outcome, what = Outcome.PERSON, "check whether the device tree needs it"
            draft.report.add(settings, outcome, f"{name}={value}: {what}", line=number)
    draft.report.add(settings, Outcome.LEFT, "EDF is not a provider here")


def _assignments(line: str) -> Iterator[tuple[str, str]]:
    """Yield the variables that a line of a shell script sets."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name.isidentifier():
            yield name, value


def edf_settings(path: Path) -> dict[str, str]:
    """Return the variables of an `edf.env`."""
    lines = text_of(path).splitlines()
    return dict(pair for line in lines for pair in _assignments(line))
