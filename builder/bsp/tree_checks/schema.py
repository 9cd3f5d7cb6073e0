# SPDX-License-Identifier: MIT
"""A device tree against Linux's bindings, as dt-validate (package dt-schema) sees it.

The bindings complain of much that has always been in the trees of Linux itself. So only complaints
count that no tree of Linux for a board of the same SoC family gives rise to: addresses, phandles
and other numbers are left out of the comparison.
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

# In the trees of Linux they stand for a driver's helper, and half of all bindings name them.
_EVERYWHERE: Final = {"simple-bus", "simple-mfd", "syscon"}
_WORD = re.compile(r"[\w.,+-]+")
_NAMED = re.compile(r"\$nodename:\s*\n\s+(?:- )?(?:pattern|const): *['\"]?(.+?)['\"]?\n")
_REFERENCE = re.compile(r"\$ref:\s*['\"]?([^\s'\"#]+)")
_UNMATCHED = "failed to match any schema with compatible: "
# `FILE.dtb: NODE: TEXT`, or `FILE.dtb:0:0: NODE: TEXT` of nodes that no binding is about.
_COMPLAINT = re.compile(r"\S+\.dtb:(?:\d+:\d+:)? (\S+): (.*)")


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """A message of dt-validate about a node. `node` is a name or a path, as in the message."""

    node: str
    text: str

    @property
    def general(self) -> str:
        """The complaint without what differs between boards: addresses and other numbers."""
        text = re.sub(r"@[0-9a-f]+", "@", f"{self.node}: {self.text}")
        return re.sub(r"\b(0x)?\d+\b", "N", text)

    @property
    def unmatched(self) -> list[str]:
        """The `compatible` strings for which there is no schema, if that is the complaint."""
        _, found, listed = self.text.partition(_UNMATCHED)
        return re.findall(r"'([^']*)'", listed) if found else []


def relevant(bindings: Mapping[str, str], trees: Iterable[DeviceTree]) -> list[str]:
    """Return the names of the bindings that say something of trees, and all that these refer to.

    All of Linux's bindings take minutes to read; those that name no `compatible` and no node of the
    trees have nothing to say.

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
    """Return whether a binding is for nodes of a name that is among `names`."""
    for pattern in _NAMED.findall(text):
        try:
            if any(re.search(pattern, name) for name in names):
                return True
        except re.error:
            continue
    return False


def _target(path: str, reference: str) -> str:
    """Return which file a binding refers to, by its path below the bindings' directory."""
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
    """Return the complaints in what dt-validate wrote, each once."""
    found = [_COMPLAINT.fullmatch(line) for line in output.splitlines()]
    return [*dict.fromkeys(Complaint(node=each[1], text=each[2]) for each in found if each)]


def words(texts: Iterable[str]) -> set[str]:
    """Return the words of texts, as far as they may be `compatible` strings."""
    return {word.strip(".,") for text in texts for word in _WORD.findall(text)}


def findings(
    own: Iterable[Complaint], usual: Collection[str], *, described: Collection[str], source: str
) -> list[Finding]:
    """Return the complaints of a board's tree that are not usual.

    Args:
        own: what is said of the board's tree.
        usual: the general form of what is said of Linux's trees for boards of the family.
        described: words of the bindings that are plain text still, of which no schema is made.
        source: where the tree is to be changed, as messages name it.
    """
    found: dict[str, Finding] = {}
    for each in own:
        if each.general in usual or not {*each.unmatched}.isdisjoint(described):
            continue
        text = each.text.removesuffix(", one must be fixed:")
        # Names are patterns where they are accepted, and brackets are special there.
        subject = re.sub(r"[\[\]]", "", f"{each.node}: {text}")
        found[subject] = Finding(
            check=CHECK,
            subject=subject,
            text=f"Linux's bindings do not allow this at {each.node}, and none of Linux's own "
            f"trees of the family has it: {text}. On the board a driver may ignore what it says, "
            f"or not start; correct {source} (Documentation/devicetree/bindings of the kernel)",
        )
    return [*found.values()]
