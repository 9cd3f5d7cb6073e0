# SPDX-License-Identifier: MIT
"""The fingerprint of a step: a hash over everything that its output depends on.

Of its parents, the content of their outputs counts, and not what these were made of: a parent that
is made again and comes out the same changes nothing for the steps that stand on it.

The components are kept beside each entry, so that the plan can say which one changed.
"""

from __future__ import annotations

import ast
import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from builder.errors import UserError
from builder.steps.step import Step
from builder.store.checksum import sha256
from builder.untrusted.reading import check_place

_OWN_CODE = (
    "builder.steps",
    "builder.rootfs",
    "builder.image",
    "builder.bsp",
    "builder.qemu_devicetree",
    "builder.formats",
    "builder.vivado",
    "builder.boot_test",
)
"""Packages whose modules say how an output is made. The engine and the store only say where."""

_VALUE_LENGTH = 200

_MOST_FILES = 100_000
"""Files and directories of one that a step reads."""


def components(step: Step, *, secret: bytes) -> dict[str, str]:
    """Return the parts of a step's fingerprint by name, without those of its parents.

    Secret settings are hashed with the store's `secret`, so that nobody can try passwords on it.

    Raises:
        UserError: a file that the step reads is missing, or cannot be read.
    """
    parts: dict[str, str] = {}
    for name, value in step.settings().items():
        text = json.dumps(value, sort_keys=True, default=str)
        if name in step.secrets:
            text = f"sha256:{hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()}"
        elif len(text) > _VALUE_LENGTH:
            text = f"sha256:{_hash(text.encode())}"
        parts[f"setting {name}"] = text
    for path in step.files():
        for file in _files(path):
            parts[f"file {_short(file, path)}"] = _hash_of(file)
    for module in sorted(_closure(type(step).__module__)):
        if _source(module):
            parts[f"code {module}"] = _module_hash(module)
    for package in step.packages:
        parts[f"tool {package}"] = _versions().get(package, "not installed")
    return parts


def with_inputs(parts: Mapping[str, str], inputs: Mapping[str, str]) -> dict[str, str]:
    """Return all parts of a fingerprint: a step's own ones, and a hash for each of its parents."""
    return {**parts, **{f"input {name}": content for name, content in inputs.items()}}


def key(parts: Mapping[str, str]) -> str:
    """Return the fingerprint made of components: 32 hexadecimal digits."""
    return _hash(json.dumps(dict(parts), sort_keys=True).encode())[:32]


def reason(parts: Mapping[str, str], last: Mapping[str, str] | None) -> str:
    """Say in a few words why a step with these components is not kept."""
    if last is None:
        return "never built"
    for kind in ("file", "setting", "input", "tool", "code"):
        for name in sorted({*parts, *last}):
            if not name.startswith(f"{kind} ") or parts.get(name) == last.get(name):
                continue
            what = name.removeprefix(f"{kind} ")
            if kind in ("setting", "tool"):
                old, new = (_shown(each.get(name)) for each in (last, parts))
                return f"{what}: {old} -> {new}" if old != new else f"{what} changed"
            if kind == "code":
                return f"the builder's code changed ({what})"
            if kind == "input":
                return f"{what} changed"
            if name not in last:
                return f"{what} is new"
            return f"{what} changed" if name in parts else f"{what} is gone"
    return "not in the store any more"


def _shown(value: str | None) -> str:
    if value is None:
        return "none"
    return "..." if value.startswith("sha256:") else value


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hash_of(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _files(path: Path) -> Iterator[Path]:
    """Yield a file, or those of a directory in order, with those to which links lead."""
    count, todo = 0, [path]
    while todo:
        here = todo.pop()
        count += 1
        if count > _MOST_FILES:
            raise UserError(
                f"{path} has more than {_MOST_FILES} files: is a link in it that leads elsewhere?"
            )
        if here == path or here.is_symlink():
            check_place(here)
        if here.is_dir():
            todo += sorted(_inside(here), reverse=True)
        elif here.is_file():
            yield here
        else:
            raise UserError(f"there is no file {here}")


def _inside(folder: Path) -> Iterator[Path]:
    try:
        yield from (item for item in folder.iterdir() if item.name != "__pycache__")
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from error


def _short(file: Path, named: Path) -> str:
    """Return a file's path without what differs between machines: equal content, equal fingerprint.

    `named` is what the step named: the file, or a directory above it.
    """
    root = Path(__file__).parents[2]
    if file.is_relative_to(root):
        return str(file.relative_to(root))
    return str(Path(*named.parts[-2:]) / file.relative_to(named))


@cache
def _closure(module: str) -> frozenset[str]:
    """Return the modules of the step's floors that a module imports, itself included."""
    found = {module}
    todo = [module]
    while todo:
        for imported in _imports(todo.pop()):
            if imported.startswith(_OWN_CODE) and imported not in found:
                found.add(imported)
                todo.append(imported)
    return frozenset(found)


def _imports(module: str) -> Iterator[str]:
    tree = _tree(module)
    if tree is None:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _tree(module: str) -> ast.Module | None:
    """Return a module's syntax tree without what does nothing; None if the name is no module."""
    source = _source(module)
    if source is None:
        return None
    tree = ast.parse(source.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [item for item in node.body if not (_is_text(item) or _is_for_types(item))]
    return tree


def _is_text(node: ast.stmt) -> bool:
    """Return whether a statement is a text that does nothing: a docstring."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_for_types(node: ast.stmt) -> bool:
    """Return whether a statement is for the type checker alone."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


@cache
def _source(module: str) -> Path | None:
    """Return the file of a module; None if the name is no module (but a name in one)."""
    loaded = sys.modules.get(module)
    if loaded is not None and loaded.__file__:
        return Path(loaded.__file__)
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin else None


@cache
def _module_hash(module: str) -> str:
    """Return a hash over what a module does: not over its comments, docstrings and layout."""
    tree = _tree(module)
    return _hash(ast.dump(tree).encode()) if tree else ""


@cache
def _versions() -> Mapping[str, str]:
    """Return the versions of the host's packages."""
    try:
        listed = subprocess.run(
            ["dpkg-query", "--show", "--showformat=${Package} ${Version}\n"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
    except FileNotFoundError:
        return {}
    return dict(line.split(" ", 1) for line in listed.splitlines())
