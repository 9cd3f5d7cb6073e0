# SPDX-License-Identifier: MIT
"""Import of a board's PL designs and notebooks."""

from __future__ import annotations

from pathlib import Path

from builder.sdbuild_import.draft import Draft
from builder.sdbuild_import.report import Outcome
from builder.sdbuild_import.specification import Specification
from builder.spec.overlays import find_design

_NOTEBOOKS = "notebooks"
_DEPTH = 2
_OF_VIVADO = (
    *(".tcl", ".xdc", ".v", ".sv", ".vh", ".svh", ".vhd", ".vhdl", ".xci", ".xpr", ".bd", ".mem"),
    *(".coe", ".xml", ".prj", ".ltx", ".hdf", ".dsa", ".c", ".cpp", ".h", ".hpp", ".mk", ".sh"),
)


def convert_designs(draft: Draft, specification: Specification) -> None:
    """Copy a board's designs and notebooks, and list them in board.yaml."""
    overlays: list[object] = []
    places: dict[str, str] = {}
    for folder in _folders(draft, specification):
        name = folder.relative_to(draft.source).as_posix()
        if folder.name in places:
            for path in draft.below(name):
                what = f"has the name of another design, {places[folder.name]}: rename one"
                draft.report.add(path, Outcome.PERSON, what)
            continue
        places[folder.name] = name
        complete = _bring(draft, folder)
        overlays.append(name if complete else {"directory": name, "optional": True})
    if overlays:
        draft.keys["overlays"] = overlays
    _bitstream(draft, specification, places)
    notebooks = draft.below(_NOTEBOOKS)
    for path in notebooks:
        if draft.copy(path, path.relative_to(draft.source).as_posix()):
            draft.report.add(path, Outcome.AS_IT_IS, "notebooks in the user's home directory")
    if notebooks:
        draft.keys["notebooks"] = _NOTEBOOKS


def _folders(draft: Draft, specification: Specification) -> list[Path]:
    """Return the directories of designs: those that sdbuild finds, and the one of BITSTREAM."""
    found = {
        path.parent
        for path in draft.files
        if path.suffix in (".bit", ".pdi")
        and 1 < len(path.relative_to(draft.source).parts) <= _DEPTH + 1
        and path.relative_to(draft.source).parts[0] not in ("packages", "petalinux_bsp")
    }
    if specification.bitstream:
        folder = (draft.source / specification.bitstream.text).parent
        if folder != draft.source and folder.is_dir():
            found.add(folder)
    return sorted(found)


def _bring(draft: Draft, folder: Path) -> bool:
    """Copy the files of a design; return whether its bitstream is among them."""
    place = folder.relative_to(draft.source).as_posix()
    try:
        files = {folder / name for name in find_design(folder).files}
        complete = True
    except FileNotFoundError:
        files = {path for path in draft.files if path.parent == folder}
        files = {path for path in files if path.suffix in (".hwh", ".py", ".dtbo")}
        files |= {*draft.below(place, _NOTEBOOKS)}
        complete = False
    for path in sorted(files & {*draft.files}):
        if draft.copy(path, path.relative_to(draft.source).as_posix()):
            draft.report.add(path, Outcome.AS_IT_IS, f"overlays: {place}")
        elif path.suffix in (".bit", ".pdi"):
            complete = False
    if not complete:
        sources = [path for path in draft.below(place) if path.suffix == ".tcl"]
        named = sources[0] if sources else next(iter(draft.below(place)), None)
        if named:
            what = f"{place} has no bitstream yet: build the design with Vivado, and copy .bit "
            draft.report.add(named, Outcome.PERSON, what + "and .hwh to this directory")
    for path in draft.below(place):
        vivado = path.suffix.lower() in _OF_VIVADO or path.name.lower() == "makefile"
        if path not in files and vivado:
            draft.report.add(path, Outcome.LEFT, "Vivado source of a design")
    return complete


def _bitstream(draft: Draft, specification: Specification, places: dict[str, str]) -> None:
    """Report where BITSTREAM was copied, and make it the boot overlay if it is sdbuild's."""
    word = specification.bitstream
    if word is None:
        return
    path = draft.source / word.text
    say, file, line = draft.report.add, specification.file, word.line
    if "://" in word.text or path.suffix != ".bit":
        say(file, Outcome.PERSON, f"BITSTREAM {word.text}: must be a .bit file", line=line)
        return
    if path not in draft.files or not draft.copy(path, word.text):
        what = f"BITSTREAM {word.text} is missing: build the design, and copy it beside board.yaml"
        say(file, Outcome.PERSON, what, line=line)
        return
    draft.keys["bsp"].setdefault("petalinux", {})["bitstream"] = word.text
    say(file, Outcome.CONVERTED, f"bsp.petalinux.bitstream: {word.text}", line=line)
    say(path, Outcome.AS_IT_IS, "the bitstream of BITSTREAM")
    name = path.parent.name
    if name not in places:
        what = f"{word.text} has no directory of its own: create one, and list it in `overlays`"
        say(path, Outcome.PERSON, what)
    elif not specification.fpga_manager:
        draft.keys["boot-overlay"] = name
        say(file, Outcome.CONVERTED, f"boot-overlay: {name}", line=line)
