# SPDX-License-Identifier: MIT
"""Reader of a board's `.spec`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import UserError
from builder.sdbuild_import.make import Makefile, Variable, read_makefile
from builder.sdbuild_import.report import Outcome, Report
from builder.spec.models import Soc

_SOCS = {"arm": Soc.ZYNQ, "aarch64": Soc.ZYNQMP}

# Longer names first: the name of a board could begin with another prefix.
_USED = ("STAGE4_PACKAGES", "FPGA_MANAGER", "BITSTREAM", "SDBOOT", "ARCH", "BSP")
_UNUSED = {
    "REMOTE_PACKAGES": "packages of PYNQ.remote's image, which is not built here",
    "STAGE3_PACKAGES": "sdbuild itself ignores it",
    "BOOT_BITSTREAM": "sdbuild itself ignores it",
    "BASE": "the root filesystem is built from packages, not from an archive",
    "RFSoC": "replaced by the recipes rfsoc-clocks and xrfdc",
}
_PLAIN = {
    "SDIST_BOARD_ARTEFACTS": "for PYNQ's source distribution, which is not built here",
    "PYNQ_UBUNTU_REPO": "mirrors are set in local.yaml",
}


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word of a variable's value, and the line of the variable."""

    text: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Specification:
    """Content of a board's `.spec`; missing values are None or empty."""

    file: Path
    board: str
    soc: Soc
    bsp: Word | None
    bitstream: Word | None
    root_device: Word | None
    fpga_manager: bool
    packages: tuple[Word, ...]


def read_specification(file: Path, report: Report) -> Specification:
    """Read a board's `.spec`, whose file name is the board's, and report the outcome of each line.

    Raises:
        UserError: it cannot be read, or does not name the architecture.
    """
    return _Reading(file, read_makefile(file), report).specification()


class _Reading:
    def __init__(self, file: Path, makefile: Makefile, report: Report) -> None:
        self.file = file
        self.board = file.stem
        self.report = report
        self.found: dict[str, Variable] = {}
        for each in makefile.unsupported:
            self.say(Outcome.PERSON, f"{each.what}: not evaluated, check it", each.line)
        for name, variable in makefile.variables.items():
            self.sort(name, variable, makefile)

    def say(self, outcome: Outcome, what: str, line: int) -> None:
        self.report.add(self.file, outcome, what, line=line)

    def sort(self, name: str, variable: Variable, makefile: Makefile) -> None:
        """Classify a variable by its name."""
        line = variable.lines[0]
        if name in _PLAIN:
            self.say(Outcome.LEFT, f"{name}: {_PLAIN[name]}", line)
            return
        for prefix in (*_USED, *_UNUSED):
            suffix = name.removeprefix(f"{prefix}_")
            if suffix == name:
                continue
            if prefix in _UNUSED:
                self.say(Outcome.LEFT, f"{name}: {_UNUSED[prefix]}", line)
            elif suffix == self.board:
                self.found[prefix] = variable
            elif f"{prefix}_{self.board}" in makefile.variables:
                self.say(Outcome.PERSON, f"{name} is not for {self.board}: ignored", line)
            else:
                self.found[prefix] = variable
                self.say(
                    Outcome.PERSON,
                    f"{name} is not for {self.board}, so sdbuild ignores it: used as "
                    f"{prefix}_{self.board}",
                    line,
                )
            return
        if name not in makefile.used:
            self.say(Outcome.PERSON, f"{name} is not a variable of sdbuild", line)

    def specification(self) -> Specification:
        packages = dict.fromkeys(word.text for word in self.words("STAGE4_PACKAGES"))
        lines = {word.text: word.line for word in self.words("STAGE4_PACKAGES")}
        return Specification(
            file=self.file,
            board=self.board,
            soc=self.soc(),
            bsp=self.path("BSP"),
            bitstream=self.path("BITSTREAM"),
            root_device=self.root_device(),
            fpga_manager=self.fpga_manager(),
            packages=tuple(Word(text=name, line=lines[name]) for name in packages),
        )

    def words(self, prefix: str) -> Iterator[Word]:
        variable = self.found.get(prefix)
        for text in variable.value.split() if variable else ():
            assert variable
            if "$" not in text:  # unexpanded references have been reported
                yield Word(text=text, line=variable.lines[0])

    def one(self, prefix: str) -> Word | None:
        """Return the only word of a variable; None if it is empty."""
        words = [*self.words(prefix)]
        if len(words) > 1:
            all_of_them = " ".join(word.text for word in words)
            self.say(Outcome.PERSON, f"{prefix}: expected one word: {all_of_them}", words[0].line)
        return words[0] if words else None

    def path(self, prefix: str) -> Word | None:
        word = self.one(prefix)
        if word is None or "://" in word.text:
            return word
        return Word(text=re.sub(r"^(\./+)+", "", word.text), line=word.line)

    def soc(self) -> Soc:
        word = self.one("ARCH")
        known = ", ".join(_SOCS)
        if word is None:
            raise UserError(f"{self.file}:1: ARCH_{self.board} is missing (one of {known})")
        if word.text not in _SOCS:
            raise UserError(
                f"{self.file}:{word.line}: ARCH_{self.board} must be one of {known}, "
                f"not {word.text}"
            )
        self.say(Outcome.CONVERTED, f"soc: {_SOCS[word.text].value}", word.line)
        return _SOCS[word.text]

    def fpga_manager(self) -> bool:
        word = self.one("FPGA_MANAGER")
        off = word is not None and word.text == "0"
        if word:
            what = "the FPGA manager is always on here"
            what += "; sdbuild loads the design in BOOT.BIN, here boot-overlay does" if off else ""
            self.say(Outcome.CONVERTED, what, word.line)
        return not off

    def root_device(self) -> Word | None:
        word = self.one("SDBOOT")
        if word and not re.fullmatch(r"/dev/\w+", word.text):
            self.say(Outcome.PERSON, f"SDBOOT: {word.text} is not a device", word.line)
            return None
        if word:
            self.say(Outcome.CONVERTED, f"root-device: {word.text}", word.line)
        return word
