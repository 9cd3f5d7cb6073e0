# SPDX-License-Identifier: MIT
"""Check of a device tree against Linux's bindings by dt-validate (package dt-schema).

dt-validate also complains about Linux's own trees. So only complaints count that do not occur for
any of Linux's trees for boards of the same SoC family; addresses, phandles and other numbers are
ignored in this comparison.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from builder.bsp.tree_checks.findings import Finding
from builder.bsp.tree_checks.nodes import compatible
from builder.formats.devicetree import DeviceTree

CHECK: Final = "schema"

# Helper drivers that half of all bindings name.
_EVERYWHERE: Final = {"simple-bus", "simple-mfd", "syscon"}
_WORD = re.compile(r"[\w.,+-]+")
_NAMED = re.compile(r"\$nodename:\s*\n\s+(?:- )?(?:pattern|const): *['\"]?(.+?)['\"]?\n")
_REFERENCE = re.compile(r"\$ref:\s*['\"]?([^\s'\"#]+)")
_UNMATCHED = "failed to match any schema with compatible: "
# `FILE.dtb: NODE: TEXT`, or `FILE.dtb:0:0: NODE: TEXT` for nodes without a binding.
_COMPLAINT = re.compile(r"\S+\.dtb:(?:\d+:\d+:)? (\S+): (.*)")


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """A message of dt-validate about a node; `node` is a name or a path, as in the message."""

    node: str
    text: str

    @property
    def general(self) -> str:
        """The complaint without addresses and other numbers, which differ between boards."""
        text = re.sub(r"@[0-9a-f]+", "@", f"{self.node}: {self.text}")
        return re.sub(r"\b(0x)?\d+\b", "N", text)

    @property
    def unmatched(self) -> list[str]:
        """The `compatible` strings without a schema, if that is the complaint."""
        _, found, strings = self.text.partition(_UNMATCHED)
        return re.findall(r"'([^']*)'", strings) if found else []


def relevant(bindings: Mapping[str, str], trees: Iterable[DeviceTree]) -> list[str]:
    """Return the names of the bindings that apply to trees, and of those that they refer to.

    Compiling all of Linux's bindings takes minutes; those that name no `compatible` and no node of
    the trees are not needed.

    Args:
        bindings: the text of each file by its path below Documentation/devicetree/bindings.
        trees: compiled device trees.
    """
    strings: set[str] = set()
    names: set[str] = set()
    for tree in trees:
        strings |= {each for node in tree for each in compatible(tree, node)} - _EVERYWHERE
        names |= {node.rpartition("/")[2] for node in tree}
    chosen = {
        path
        for path, text in bindings.items()
        if not strings.isdisjoint(_WORD.findall(text)) or _names_one(text, names)
    }
    todo = [*chosen]
    while todo:
        path = todo.pop()
        for reference in _REFERENCE.findall(bindings[path]):
            wanted = _target(path, reference)
            if wanted in bindings and wanted not in chosen:
                chosen.add(wanted)
                todo.append(wanted)
    return sorted(chosen)


def _names_one(text: str, names: Collection[str]) -> bool:
    """Return whether a binding is for nodes with one of the names."""
    for pattern in _NAMED.findall(text):
        try:
            if any(re.search(pattern, name) for name in names):
                return True
        except re.error:
            continue
    return False


def _target(path: str, reference: str) -> str:
    """Return the path, below the bindings' directory, of the file that a binding refers to."""
    if reference.startswith("/schemas/"):
        return reference.removeprefix("/schemas/")
    parts: list[str] = []
    for part in (PurePosixPath(path).parent / reference).parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def complaints(output: str) -> list[Complaint]:
    """Return the complaints in the output of dt-validate, each once."""
    found = [_COMPLAINT.fullmatch(line) for line in output.splitlines()]
    return [*dict.fromkeys(Complaint(node=each[1], text=each[2]) for each in found if each)]


def words(texts: Iterable[str]) -> set[str]:
    """Return the words of texts that may be `compatible` strings."""
    return {word.strip(".,") for text in texts for word in _WORD.findall(text)}


def findings(
    own: Iterable[Complaint], usual: Collection[str], *, described: Collection[str], source: str
) -> list[Finding]:
    """Return a finding for each complaint about a board's tree that Linux's trees do not cause.

    Args:
        own: the complaints about the board's tree.
        usual: the general form of the complaints about Linux's trees for boards of the family.
        described: words of the bindings that are still plain text, for which there is no schema.
        source: the source of the tree, for messages.
    """
    found: dict[str, Finding] = {}
    for each in own:
        if each.general in usual or not {*each.unmatched}.isdisjoint(described):
            continue
        text = each.text.removesuffix(", one must be fixed:")
        # `accepted-findings` contains patterns, in which brackets are special.
        subject = re.sub(r"[\[\]]", "", f"{each.node}: {text}")
        found[subject] = Finding(
            check=CHECK,
            subject=subject,
            text=f"Linux's bindings do not allow this at {each.node}, and none of Linux's own "
            f"trees of the family has it: {text}. On the board a driver may ignore the property, "
            f"or not start; correct {source} (see the kernel's Documentation/devicetree/bindings)",
        )
    return [*found.values()]
