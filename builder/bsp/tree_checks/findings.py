# SPDX-License-Identifier: MIT
"""Findings of the checks of a device tree: storage, acceptance and messages.

A finding never stops a build: the card boots the board, but one of its functions is missing. It is
reported after each build and is in the manifest, until the tree is corrected or the board accepts
the finding, with the reason, in `accepted-findings`.
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
"""File with the findings in the output of a step that checks a device tree."""

NOT_COMPARED = "not compared"
"""Subject of the only finding of a check that could not run."""

_SNIPPET = "pynq-pl-zynq.dtsi and pynq-pl-zynqmp.dtsi change it in the tree of every board"
_BOARD_NAME = "the pynq library and the boot script read the board's name from it"
_NOT_LISTED = "Linux lists only the boards of its own trees; no driver depends on the board's name"
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
            "the builder's own kernel module is the driver, which also enables VBUS",
        ),
        (
            "schema: *: failed to match any schema with compatible: 'generic-uio'",
            "the UIO driver has no `compatible` of its own; the kernel's command line sets this one",
        ),
    )
)
"""Findings that are accepted for every board."""

_SHOWN = 8
"""Maximum number of findings of one check that are shown after a build."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding of a check.

    check: the check's short name.
    subject: the device or property concerned, the same in each build.
    text: the fault, its effect on the board, and the remedy.
    """

    check: str
    subject: str
    text: str

    @property
    def name(self) -> str:
        """The name by which a board accepts the finding."""
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
    """Return why a finding is accepted, for all boards or by `accepted`; None if it is not."""
    return next((a.because for a in (*_ALWAYS, *accepted) if _is_for(a, finding)), None)


def describe_findings(
    findings: Sequence[Finding], accepted: Sequence[AcceptedFinding]
) -> Iterator[str]:
    """Yield messages about the findings that are not accepted."""
    left = [each for each in findings if reason(each, accepted) is None]
    counts: Counter[str] = Counter()
    for each in left:
        counts[each.check] += 1
        if counts[each.check] <= _SHOWN:
            yield str(each)
    for check, count in counts.items():
        if count > _SHOWN:
            yield f"[{check}] {count - _SHOWN} more findings; see `findings` in manifest.json"


def unused(
    findings: Sequence[Finding],
    accepted: Sequence[AcceptedFinding],
    *,
    not_made: Collection[str] = (),
) -> Iterator[tuple[int, str]]:
    """Yield the index of each accepted finding that was not found, and a message.

    Entries for checks that do not exist for a board (`not_made`) or could not run are skipped.
    """
    unknown = {*not_made, *(each.check for each in findings if each.subject == NOT_COMPARED)}
    for index, entry in enumerate(accepted):
        was_checked = entry.finding.partition(":")[0] not in unknown
        if was_checked and not any(_is_for(entry, each) for each in findings):
            what = (
                f"no finding matches {entry.finding!r}; remove the entry, unless the board needs it "
                "with another distribution"
            )
            yield index, what


def _is_for(accepted: AcceptedFinding, finding: Finding) -> bool:
    return fnmatch.fnmatchcase(finding.name, accepted.finding)
