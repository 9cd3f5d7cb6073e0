# SPDX-License-Identifier: MIT
"""The device tree of an emulated boot: the board's own with a documented list of changes.

`derive` applies the list with `fdtput` (package device-tree-compiler) and returns all differences
that it made; `check` proves that there are no others. The proof reads both files with the builder's
own reader, so that it depends neither on `fdtput` nor on the code that called it.
"""

from __future__ import annotations

import fnmatch
import json
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from builder.errors import HostError, StepError, UserError
from builder.formats.devicetree import DeviceTree, is_enabled, read_tree, reservations, show
from builder.spec.document import ProblemsError, read

Value: TypeAlias = str | tuple[int | str, ...]
"""The value of a property: a string, or 32-bit cells. A path as a cell is that node's phandle."""


_KEYS = {"nodes", "enabled", "via", "property", "value", "remove", "create", "optional", "because"}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A change of a property of some nodes, with the reason.

    nodes: pattern of the nodes' paths; `*`, `?` and `[]` match within one level.
    property: name of the property; may be a pattern if it is removed.
    because: the reason.
    value: the new value; None removes the property.
    enabled: whether only nodes match whose `status` is "okay".
    via: property of the matching nodes with a phandle; the change is made to the nodes to which it
        refers.
    create: whether the node is created if it does not exist; `nodes` must then be a literal path.
    optional: whether it is not an error if nothing matches.
    """

    nodes: str
    property: str
    because: str
    value: Value | None = None
    enabled: bool = False
    via: str | None = None
    create: bool = False
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Change:
    """One applied difference; `before` is None for a new property, `after` for a removed one."""

    node: str
    property: str
    before: bytes | None
    after: bytes | None
    because: str

    def __str__(self) -> str:
        return f"{self.node} {self.property}: {show(self.before)} -> {show(self.after)}"


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Read the `changes` of a machine's YAML file.

    Raises:
        UserError: the file cannot be read, or an entry is wrong; the message names the entry.
    """
    try:
        entries = read(path).data.get("changes", [])
    except ProblemsError as error:
        raise UserError(f"{path} cannot be used", details=[*map(str, error.problems)]) from error
    if not isinstance(entries, list):
        raise UserError(f"{path}: `changes` must be a list")
    return tuple(_rule(entry, f"{path}: changes.{index}") for index, entry in enumerate(entries))


def _rule(entry: Any, where: str) -> Rule:
    if not isinstance(entry, dict) or not {"nodes", "property", "because"} <= entry.keys():
        raise UserError(f"{where}: a change must have `nodes`, `property` and `because`")
    unknown = sorted(map(str, entry.keys() - _KEYS))
    if unknown:
        raise UserError(f"{where}: unknown keys: {', '.join(unknown)}")
    if ("value" in entry) == bool(entry.get("remove")):
        raise UserError(f"{where}: give either `value` or `remove: true`")
    value = entry.get("value")
    if isinstance(value, list):
        value = tuple(value)
    if not (
        value is None
        or isinstance(value, str)
        or (isinstance(value, tuple) and value and all(_is_cell(cell) for cell in value))
    ):
        raise UserError(f"{where}: `value` must be a string or a list of 32-bit numbers and paths")
    return Rule(
        nodes=entry["nodes"],
        property=entry["property"],
        because=" ".join(entry["because"].split()),
        value=value,
        enabled=bool(entry.get("enabled")),
        via=entry.get("via"),
        create=bool(entry.get("create")),
        optional=bool(entry.get("optional")),
    )


def _is_cell(cell: object) -> bool:
    if isinstance(cell, str):
        return cell.startswith("/")
    return isinstance(cell, int) and not isinstance(cell, bool) and 0 <= cell <= 0xFFFFFFFF


def derive(board_dtb: Path, changes: Sequence[Rule], output: Path) -> list[Change]:
    """Write the emulated machine's tree to `output` and return all differences from the board's.

    A rule whose value the tree already has makes no difference and is not in the result.

    Raises:
        UserError: a rule that is not optional matches no node or property, or its value refers to a
            node without a phandle.
        HostError: `fdtput` is not installed.
        StepError: the board's tree is damaged, or `fdtput` made other changes.
    """
    shutil.copyfile(board_dtb, output)
    applied: list[Change] = []
    for rule in changes:
        tree = read_tree(output)
        targets = list(_targets(tree, rule))
        if not targets and not rule.optional:
            raise UserError(
                f"{board_dtb.name}: no node or property matches {rule.nodes} {rule.property}",
                hint=f"the emulated machine needs this change: {rule.because}",
            )
        for node, name in targets:
            before = tree.get(node, {}).get(name)
            after = None if rule.value is None else _encode(rule.value, tree)
            if before == after:
                continue
            _apply(output, node, name, after, rule)
            applied.append(
                Change(node=node, property=name, before=before, after=after, because=rule.because)
            )
    check(board_dtb, output, applied)
    return applied


def changes_to_json(changes: Iterable[Change]) -> str:
    """Return changes as JSON for `describe_changes`."""
    found = [
        {
            "node": change.node,
            "property": change.property,
            "text": str(change),
            "because": change.because,
        }
        for change in changes
    ]
    return json.dumps(found, indent=1)


def describe_changes(listed_changes: str) -> list[str]:
    """Return the output of `changes_to_json` as readable lines, one per reason with its changes.

    Changes without a known reason ("") are the last line.
    """
    lines: dict[str, list[str]] = {}
    for change in json.loads(listed_changes):
        lines.setdefault(change["because"], []).append(change["text"])
    unknown = lines.pop("", None)
    known = [f"{'; '.join(texts)} ({because})" for because, texts in lines.items()]
    return [*known, "; ".join(unknown)] if unknown else known


def check(board_dtb: Path, derived_dtb: Path, changes: Iterable[Change]) -> None:
    """Prove that two trees differ only in the given changes.

    Raises:
        StepError: there are other differences; the details name them.
    """
    board, derived = read_tree(board_dtb), read_tree(derived_dtb)
    expected = {node: dict(properties) for node, properties in board.items()}
    for change in changes:
        if change.after is None:
            expected.get(change.node, {}).pop(change.property, None)
        else:
            expected.setdefault(change.node, {})[change.property] = change.after
    details = [
        f"{change.node} {change.property}: expected {show(change.before)}, found {show(change.after)}"
        for change in differences(expected, derived)
    ]
    details += [
        f"{node} (the node): expected {show(b'' if node in expected else None)}, "
        f"found {show(b'' if node in derived else None)}"
        for node in sorted(expected.keys() ^ derived.keys())
    ]
    if reservations(board_dtb) != reservations(derived_dtb):
        details.append("the memory reservations differ")
    if details:
        raise StepError(
            f"{derived_dtb.name} differs from {board_dtb.name} in more than the listed changes",
            details=details,
        )


def differences(before: DeviceTree, after: DeviceTree) -> Iterator[Change]:
    """Yield each property that differs between two trees, without a reason."""
    for node in sorted(before.keys() | after.keys()):
        old, new = before.get(node, {}), after.get(node, {})
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                yield Change(
                    node=node, property=name, before=old.get(name), after=new.get(name), because=""
                )


def _targets(tree: DeviceTree, rule: Rule) -> Iterator[tuple[str, str]]:
    """Yield (node, property) for everything that a rule matches."""
    if rule.create:
        yield rule.nodes, rule.property
        return
    pattern = rule.nodes.split("/")
    nodes = [
        node
        for node, properties in tree.items()
        if _matches(node.split("/"), pattern) and (not rule.enabled or is_enabled(properties))
    ]
    if rule.via is not None:
        handles = {
            properties[name]: node
            for node, properties in tree.items()
            for name in ("phandle", "linux,phandle")
            if name in properties
        }
        references = [tree[node][rule.via][:4] for node in nodes if rule.via in tree[node]]
        nodes = list(dict.fromkeys(handles[each] for each in references if each in handles))
    for node in nodes:
        if rule.value is not None:
            yield node, rule.property
        else:
            for name in fnmatch.filter(tree[node], rule.property):
                yield node, name


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    return len(parts) == len(pattern) and all(map(fnmatch.fnmatchcase, parts, pattern))


def _encode(value: Value, tree: DeviceTree) -> bytes:
    if isinstance(value, str):
        return value.encode() + b"\0"
    return b"".join(
        _phandle(cell, tree) if isinstance(cell, str) else struct.pack(">I", cell) for cell in value
    )


def _phandle(node: str, tree: DeviceTree) -> bytes:
    handle = tree.get(node, {}).get("phandle")
    if handle is None:
        raise UserError(f"the device tree has no node {node} with a phandle")
    return handle


def _apply(dtb: Path, node: str, name: str, after: bytes | None, rule: Rule) -> None:
    if after is None:
        arguments = ["-d", "--", str(dtb), node, name]
    elif isinstance(rule.value, str):
        arguments = ["-t", "s", "--", str(dtb), node, name, rule.value]
    else:
        cells = struct.unpack(f">{len(after) // 4}I", after)
        arguments = ["-t", "u", "--", str(dtb), node, name, *map(str, cells)]
    if rule.create:
        arguments.insert(0, "-p")
    try:
        subprocess.run(["fdtput", *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise HostError(
            "fdtput is not installed", hint="apt-get install device-tree-compiler"
        ) from error
    except subprocess.CalledProcessError as error:
        raise StepError(
            f"fdtput could not change {name} of {node}", details=error.stderr.splitlines()
        ) from error
