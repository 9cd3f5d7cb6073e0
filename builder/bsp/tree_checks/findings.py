# SPDX-License-Identifier: MIT
"""Findings of the checks of a device tree: how they are kept, accepted and told.

A finding never stops a build: the card starts the board, and some function of it is missing. It is
told after each build and is in the manifest, until the tree is changed or the board says in
`accepted-findings` why it is right as it is.
"""

from __future__ import annotations

import fnmatch
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from builder.spec.models import AcceptedFinding

FINDINGS = "findings.json"
"""File in the output of a step that checks a device tree."""

NOT_COMPARED = "not compared"
"""Subject of the only finding of a check that could not be made."""

_SNIPPET = "pynq-pl-zynq.dtsi and pynq-pl-zynqmp.dtsi change it in the tree of every board"
_BOARD_NAME = "the pynq library and the boot script read the board's name there"
_NOT_LISTED = "Linux lists the boards of its own trees; no driver asks for a board"
_ALWAYS = tuple(
    AcceptedFinding(finding=finding, because=because)
    for finding, because in (
        ("linux: /fabric@?0000000", _SNIPPET),
        ("linux: */clkc@100 fclk-enable", _SNIPPET),
        ("linux: /cpus/cpu@0 operating-points", _SNIPPET),
        ("linux: /fpga-full power-domains", _SNIPPET),
        ("linux: /chosen bootargs", _SNIPPET),
        ("linux: /chosen pynq_board", _BOARD_NAME),
        ("schema: chosen: 'pynq_board' *", _BOARD_NAME),
        ("schema: /: compatible: *", _NOT_LISTED),
        ("schema: /: failed to match any schema with compatible: *", _NOT_LISTED),
        (
            "schema: *: failed to match any schema with compatible: 'ulpi-phy'",
            "the driver is a module of this tree, which also switches VBUS on",
        ),
        (
            "schema: *: failed to match any schema with compatible: 'generic-uio'",
            "the UIO driver has no name of its own; it is told this one on the command line",
        ),
    )
)
"""Findings that are accepted for every board."""

_TOLD = 8
"""Findings of one check that are told one by one after a build."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that a check found.

    check: the check's short name. subject: what it is about, the same in each build.
    text: what is wrong, what that means on the board, and where to mend it.
    """

    check: str
    subject: str
    text: str

    @property
    def name(self) -> str:
        """The name by which a board accepts it."""
        return f"{self.check}: {self.subject}"

    def __str__(self) -> str:
        return f"[{self.name}] {self.text}"


def write_findings(path: Path, findings: Iterable[Finding]) -> None:
    """Write findings as JSON."""
    path.write_text(json.dumps([asdict(each) for each in findings], indent=1))


def read_findings(path: Path) -> list[Finding]:
    """Read what `write_findings` wrote."""
    return [Finding(**each) for each in json.loads(path.read_text())]


def reason(finding: Finding, accepted: Iterable[AcceptedFinding]) -> str | None:
    """Return why a finding is right, for every board or for one that accepts it; None if it is not."""
    return next((a.because for a in (*_ALWAYS, *accepted) if _is_for(a, finding)), None)


def told(findings: Sequence[Finding], accepted: Sequence[AcceptedFinding]) -> Iterator[str]:
    """Yield what the user is to know of findings that are not accepted."""
    left = [each for each in findings if reason(each, accepted) is None]
    counts: Counter[str] = Counter()
    for each in left:
        counts[each.check] += 1
        if counts[each.check] <= _TOLD:
            yield str(each)
    for check, count in counts.items():
        if count > _TOLD:
            yield f"[{check}] {count - _TOLD} more: `findings` in manifest.json has all of them"


def unused(
    findings: Sequence[Finding],
    accepted: Sequence[AcceptedFinding],
    *,
    not_made: Collection[str] = (),
) -> Iterator[tuple[int, str]]:
    """Yield the index of each accepted finding that was not found, and what to do about it.

    Checks that are `not_made` for a board, or could not be made, say nothing about its entries.
    """
    unknown = {*not_made, *(each.check for each in findings if each.subject == NOT_COMPARED)}
    for index, entry in enumerate(accepted):
        judged = entry.finding.partition(":")[0] not in unknown
        if judged and not any(_is_for(entry, each) for each in findings):
            what = (
                f"nothing was found that is called {entry.finding!r}; remove the entry, unless the "
                "board needs it with another distribution"
            )
            yield index, what


def _is_for(accepted: AcceptedFinding, finding: Finding) -> bool:
    return fnmatch.fnmatchcase(finding.name, accepted.finding)
