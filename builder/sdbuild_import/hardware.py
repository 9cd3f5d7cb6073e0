# SPDX-License-Identifier: MIT
"""Import of a board's hardware export and PetaLinux BSP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from builder.board_generator.peripherals import Chosen, choose
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
    """Facts from a hardware export: the processing system, and the peripherals used for booting."""

    system: System
    chosen: Chosen


def read_export(draft: Draft, name: str) -> Exported | None:
    """Return the facts from a hardware export in the result; None if it has no design.

    Raises:
        UserError: it cannot be read, or a board cannot boot with its design.
    """
    export = open_export(draft.directory / name)
    if not export.named(".hwh"):
        return None
    system = read_system(read_design(export))
    if system.soc is not draft.soc:
        raise UserError(f"its design is for {system.soc.value}, the board is {draft.soc.value}")
    return Exported(system=system, chosen=choose(system))


def convert_hardware(draft: Draft) -> str | None:
    """Copy the board's hardware export; return its name in the result, None if there is none."""
    found = [path for path in draft.files if path.suffix == ".xsa"]
    folder = draft.source / "petalinux_bsp/hardware_project"
    found.sort(key=lambda path: (not path.is_relative_to(folder), len(path.parts), str(path)))
    chosen = None
    for path in found:
        if chosen:
            draft.report.add(path, Outcome.PERSON, f"another export; {chosen} was used")
        elif draft.copy(path, f"{_EXPORT}/{path.name}"):
            chosen = f"{_EXPORT}/{path.name}"
            draft.report.add(path, Outcome.CONVERTED, f"bsp.hardware: {chosen}")
    return chosen


def convert_bsp(draft: Draft, specification: Specification, *, fetch: bool) -> dict[str, Any]:
    """Copy the board's BSP; return board.yaml's bsp.petalinux.bsp, empty if there is none.

    Args:
        draft: the board.
        specification: the board's `.spec`.
        fetch: whether to download a BSP to compute its SHA-256.

    Raises:
        UserError: the download failed.
    """
    word = specification.bsp
    if word is None:
        return {}
    if "://" in word.text:
        return _from_network(draft, specification, word, fetch=fetch)
    path = draft.source / word.text
    say = draft.report.add
    if path not in draft.files:
        what = f"the BSP {word.text} is missing: copy it beside board.yaml"
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
        what = f"BSP {word.text}: only http, https and file URLs are supported"
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
    what = f"bsp.petalinux.bsp: the sha256 is that of the file downloaded now, {digest[:16]}..."
    say(specification.file, Outcome.CONVERTED, what, line=line)
    return {"url": word.text, "sha256": digest}


def fetched_sha256(url: str) -> str:
    """Return the SHA-256 of a download.

    Raises:
        UserError: the download failed.
    """
    try:
        return fetch(url, processes=Processes()).sha256
    except DownloadError as error:
        raise UserError(error.message, hint=error.hint) from error


def inside_bsp(draft: Draft, bsp: Path, *, export: bool) -> tuple[str | None, str | None]:
    """Extract the hardware export and the PMU firmware of a BSP; return their names in the result.

    A BSP is a tar archive of a PetaLinux project. `export`: whether to extract the hardware export.
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
        draft.report.add(bsp, Outcome.PERSON, f"is not a BSP of PetaLinux: {error}")
        return None, None
    xsa = f"{_EXPORT}/{draft.name}.xsa" if _EXPORT in chosen else None
    pmu = _PMU if _PMU in chosen else None
    for made, of in ((xsa, _EXPORT), (pmu, _PMU)):
        if made:
            draft.report.add(bsp, Outcome.CONVERTED, f"{made}: from its {chosen[of]}")
    return xsa, pmu


def _better(name: PurePosixPath, than: str | None) -> bool:
    """Return whether an export in a BSP is preferred to another one, as in sdbuild."""
    return than is None or "hw-description" in name.parts


def _extract(opener: Opener, name: str, target: Path) -> None:
    with opener() as source:
        content = read_bounded(source, name, most=LARGEST)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
