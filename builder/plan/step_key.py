# SPDX-License-Identifier: MIT
"""The key of a step: a hash over everything that its output depends on.

The key includes the content of the parents' outputs, not the parents' keys: if a parent is rebuilt
and its output is identical, the keys of its children do not change.

The store records the components of a key beside each entry, so that the plan can name the one that
changed.
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
"""Packages whose code determines the content of outputs; other packages only run the steps."""

_VALUE_LENGTH = 200
"""Characters of a setting's value that are recorded in clear text; longer values are hashed."""

_MOST_FILES = 100_000
"""Maximum number of files and directories in one input directory of a step."""


def components(step: Step, *, secret: bytes) -> dict[str, str]:
    """Return the components of a step's key by name, without those of its parents.

    Secret settings are hashed with the store's `secret`, so that passwords cannot be guessed from
    the recorded hashes.

    Raises:
        UserError: An input file of the step is missing or cannot be read.
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
    """Return all components of a key: those of the step and the content hash of each parent."""
    return {**parts, **{f"input {name}": content for name, content in inputs.items()}}


def key(parts: Mapping[str, str]) -> str:
    """Return the key for these components: 32 hexadecimal digits."""
    return _hash(json.dumps(dict(parts), sort_keys=True).encode())[:32]


def reason(parts: Mapping[str, str], last: Mapping[str, str] | None) -> str:
    """Return the reason, in a few words, why a step with these components is not cached.

    Args:
        parts: The current components of the step's key.
        last: The components with which the step was last built; None if it was never built.
    """
    if last is None:
        return "never built"
    for kind in ("file", "setting", "input", "tool", "code"):
        for name in sorted({*parts, *last}):
            if not name.startswith(f"{kind} ") or parts.get(name) == last.get(name):
                continue
            changed = name.removeprefix(f"{kind} ")
            if kind in ("setting", "tool"):
                old, new = (_shown(each.get(name)) for each in (last, parts))
                return f"{changed}: {old} -> {new}" if old != new else f"{changed} changed"
            if kind == "code":
                return f"the builder's code changed ({changed})"
            if kind == "input":
                return f"{changed} changed"
            if name not in last:
                return f"{changed} is new"
            return f"{changed} changed" if name in parts else f"{changed} was removed"
    return "no longer in the store"


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
    """Yield a file, or all files of a directory in order; symbolic links are followed."""
    count, todo = 0, [path]
    while todo:
        current = todo.pop()
        count += 1
        if count > _MOST_FILES:
            raise UserError(
                f"{path} has more than {_MOST_FILES} files",
                hint="check it for symbolic links to other directories",
            )
        if current == path or current.is_symlink():
            check_place(current)
        if current.is_dir():
            todo += sorted(_entries(current), reverse=True)
        elif current.is_file():
            yield current
        else:
            raise UserError(f"there is no file {current}")


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from (item for item in folder.iterdir() if item.name != "__pycache__")
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from error


def _short(file: Path, named: Path) -> str:
    """Return a file's path without the parts that differ between machines.

    Equal inputs then have equal keys on all machines. `named` is the path that the step declares:
    the file itself or a directory that contains it.
    """
    root = Path(__file__).parents[2]
    if file.is_relative_to(root):
        return str(file.relative_to(root))
    return str(Path(*named.parts[-2:]) / file.relative_to(named))


@cache
def _closure(module: str) -> frozenset[str]:
    """Return a module and all modules of `_OWN_CODE` that it imports, directly or indirectly."""
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
    """Return a module's syntax tree without docstrings and type-checking imports.

    Return None if the name is not a module.
    """
    source = _source(module)
    if source is None:
        return None
    tree = ast.parse(source.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [
                item
                for item in node.body
                if not (_is_docstring(item) or _is_type_checking_block(item))
            ]
    return tree


def _is_docstring(node: ast.stmt) -> bool:
    """Return whether a statement is a string without effect."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_type_checking_block(node: ast.stmt) -> bool:
    """Return whether a statement is an `if TYPE_CHECKING:` block."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


@cache
def _source(module: str) -> Path | None:
    """Return the file of a module; None if the name is not a module but an attribute of one."""
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
    """Return a hash of a module's code, without its comments, docstrings and formatting."""
    tree = _tree(module)
    return _hash(ast.dump(tree).encode()) if tree else ""


@cache
def _versions() -> Mapping[str, str]:
    """Return the versions of the host's Debian packages by name."""
    try:
        listing = subprocess.run(
            ["dpkg-query", "--show", "--showformat=${Package} ${Version}\n"],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
    except FileNotFoundError:
        return {}
    return dict(line.split(" ", 1) for line in listing.splitlines())
