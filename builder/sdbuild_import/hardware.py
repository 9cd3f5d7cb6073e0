# SPDX-License-Identifier: MIT
"""A board's hardware export, its BSP of PetaLinux, and what is inside of that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from builder.board_generator.devicetree import Chosen, choose
from builder.errors import UserError
from builder.network.download import DownloadError, fetch
from builder.sandbox.process import Processes
from builder.sdbuild_import.draft import Draft
from builder.sdbuild_import.report import Outcome
from builder.sdbuild_import.specification import Specification, Word
from builder.untrusted.reading import Opener, tar_files
from builder.untrusted.tree import read_bounded
from builder.vivado.design import read_design
from builder.vivado.export import LARGEST, open_export
from builder.vivado.system import System, read_system

_EXPORT = "hardware"
_PMU = "firmware/pmufw.elf"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """Facts from a hardware export: the processing system, and the peripherals that it starts with."""

    system: System
    chosen: Chosen


def read_export(draft: Draft, name: str) -> Exported | None:
    """Return what an export in the result says of the hardware; None if it has no design.

    Raises:
        UserError: it cannot be read, or a board cannot be started from its design.
    """
    export = open_export(draft.directory / name)
    if not export.named(".hwh"):
        return None
    system = read_system(read_design(export))
    if system.soc is not draft.soc:
        raise UserError(f"its design is for {system.soc.value}, the board is {draft.soc.value}")
    return Exported(system=system, chosen=choose(system))


def convert_hardware(draft: Draft) -> str | None:
    """Take the board's hardware export over; return its name in the result, None without one."""
    found = [path for path in draft.files if path.suffix == ".xsa"]
    folder = draft.source / "petalinux_bsp/hardware_project"
    found.sort(key=lambda path: (not path.is_relative_to(folder), len(path.parts), str(path)))
    chosen = None
    for path in found:
        if chosen:
            draft.report.add(path, Outcome.PERSON, f"another export than the one taken, {chosen}")
        elif draft.copy(path, f"{_EXPORT}/{path.name}"):
            chosen = f"{_EXPORT}/{path.name}"
            draft.report.add(path, Outcome.CONVERTED, f"bsp.hardware: {chosen}")
    return chosen


def convert_bsp(draft: Draft, specification: Specification, *, fetch: bool) -> dict[str, Any]:
    """Take the board's BSP over; return it as board.yaml's bsp.petalinux.bsp, empty without one.

    Raises:
        UserError: it was to be fetched, and cannot be.
    """
    word = specification.bsp
    if word is None:
        return {}
    if "://" in word.text:
        return _from_network(draft, specification, word, fetch=fetch)
    path = draft.source / word.text
    say = draft.report.add
    if path not in draft.files:
        what = f"the BSP {word.text} is not there: put it beside board.yaml"
        say(specification.file, Outcome.PERSON, what, line=word.line)
    elif draft.copy(path, word.text):
        what = f"bsp.petalinux.bsp: {word.text}"
        say(path, Outcome.AS_IT_IS, what)
        say(specification.file, Outcome.CONVERTED, what, line=word.line)
    return {"file": word.text}


def _from_network(
    draft: Draft, specification: Specification, word: Word, *, fetch: bool
) -> dict[str, Any]:
    say, line = draft.report.add, word.line
    if not word.text.startswith(("http://", "https://", "file://")):
        what = f"BSP {word.text}: only http, https and file are understood"
        say(specification.file, Outcome.PERSON, what, line=line)
        return {}
    if not fetch:
        what = (
            f"BSP {word.text}: a download needs its sha256: write both under bsp.petalinux.bsp, or "
            "import again with --fetch, which computes it"
        )
        say(specification.file, Outcome.PERSON, what, line=line)
        return {}
    digest = fetched_sha256(word.text)
    what = f"bsp.petalinux.bsp: its sha256 is that of what came now, {digest[:16]}..."
    say(specification.file, Outcome.CONVERTED, what, line=line)
    return {"url": word.text, "sha256": digest}


def fetched_sha256(url: str) -> str:
    """Return the SHA-256 of what a URL gives.

    Raises:
        UserError: it gives nothing.
    """
    try:
        return fetch(url, processes=Processes()).sha256
    except DownloadError as error:
        raise UserError(error.message, hint=error.hint) from error


def inside_bsp(draft: Draft, bsp: Path, *, export: bool) -> tuple[str | None, str | None]:
    """Take the hardware export and the firmware out of a BSP; return their names in the result.

    A BSP is a tar archive of a PetaLinux project. `export` says whether the export is wanted.
    """
    chosen: dict[str, str] = {}
    try:
        for text, opener in tar_files(bsp):
            name = PurePosixPath(text)
            if export and name.suffix == ".xsa" and _better(name, chosen.get(_EXPORT)):
                _extract(opener, text, draft.directory / _EXPORT / f"{draft.name}.xsa")
                chosen[_EXPORT] = text
            elif name.name == "pmufw.elf":
                _extract(opener, text, draft.directory / _PMU)
                chosen[_PMU] = text
    except (OSError, UserError) as error:
        draft.report.add(bsp, Outcome.PERSON, f"is no BSP of PetaLinux: {error}")
        return None, None
    xsa = f"{_EXPORT}/{draft.name}.xsa" if _EXPORT in chosen else None
    pmu = _PMU if _PMU in chosen else None
    for made, of in ((xsa, _EXPORT), (pmu, _PMU)):
        if made:
            draft.report.add(bsp, Outcome.CONVERTED, f"{made}: its {chosen[of]}")
    return xsa, pmu


def _better(name: PurePosixPath, than: str | None) -> bool:
    """Return whether an export in a BSP is rather the project's than another: as sdbuild takes it."""
    return than is None or "hw-description" in name.parts


def _extract(opener: Opener, name: str, target: Path) -> None:
    with opener() as source:
        content = read_bounded(source, name, most=LARGEST)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
