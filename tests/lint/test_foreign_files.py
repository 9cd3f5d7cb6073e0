# SPDX-License-Identifier: MIT
"""Files of others are reached through builder/untrusted/tree.py and builder/untrusted/reading.py alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]

ALLOWED: Final = {"builder/untrusted/reading.py", "builder/untrusted/tree.py"}
"""The modules that open archives and join paths of trees of others."""

JOINED_IN: Final = {"builder/rootfs/layers.py": "at"}
"""The function that turns a path that `Tree` has resolved into one for commands."""

ARCHIVES: Final = {
    *("tarfile.open", "tarfile.TarFile", "tarfile.TarFile.open", "tarfile.is_tarfile"),
    *("zipfile.ZipFile", "zipfile.Path", "zipfile.PyZipFile", "zipfile.is_zipfile"),
    "shutil.unpack_archive",
}
TREES: Final = {"root", "rootfs", "sysroot", "tree", "target", "unpacked", "outside"}
"""Names of variables for root filesystems, and for directories that archives are unpacked to.

Directories of this program have other names.
"""

METHODS: Final = {"joinpath", "glob", "rglob", "iterdir", "walk"}
FUNCTIONS: Final = {
    *("Path", "os.path.join", "os.walk", "os.fwalk", "os.listdir", "os.scandir"),
    *("shutil.copytree", "shutil.rmtree"),
}


def archives_opened(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the calls that open an archive for reading, and imports that would hide them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ARCHIVES and not writes(node):
            yield node
        if isinstance(node, ast.ImportFrom) and node.module in {"tarfile", "zipfile"}:
            yield node
        if isinstance(node, ast.Import) and any(
            each.asname and each.name in {"tarfile", "zipfile", "shutil"} for each in node.names
        ):
            yield node


def writes(call: ast.Call) -> bool:
    """Return whether a call opens an archive for writing."""
    modes = [*call.args[1:2], *(each.value for each in call.keywords if each.arg == "mode")]
    return any(
        isinstance(mode, ast.Constant) and str(mode.value).startswith(("w", "x")) for mode in modes
    )


def joins(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the expressions that make a path in a tree of others, or list its files."""
    for node in ast.walk(tree):
        match node:
            case ast.BinOp(op=ast.Div(), left=left) if is_tree(left):
                yield node
            case ast.Call(func=ast.Attribute(attr=name, value=value)) if (
                name in METHODS and is_directory(value)
            ):
                yield node
            case ast.Call(func=function, args=[first, *_]) if ast.unparse(
                function
            ) in FUNCTIONS and is_tree(first, in_text=True):
                if ast.unparse(function) != "Path" or len(node.args) > 1 or is_text(first):
                    yield node


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr)


def is_directory(node: ast.AST) -> bool:
    """Return whether an expression is the path of a tree; a variable may be a `Tree`, too."""
    return is_tree(node) and not (isinstance(node, ast.Name) and node.id == "tree")


def is_tree(node: ast.AST, *, in_text: bool = False) -> bool:
    match node:
        case ast.Name(id=name):
            return name in TREES
        case ast.Attribute(attr="path" | "changes", value=ast.Name(id="root" | "machine")):
            return True
        case ast.Attribute(attr="_root"):
            return True
        case ast.Call(func=ast.Attribute(attr="outside")):
            return True
        case ast.JoinedStr(values=[ast.FormattedValue(value=value), *rest]) if in_text:
            ending = isinstance(rest[0], ast.Constant) and not str(rest[0].value).startswith("/")
            return is_tree(value) and not ending
    return False


def found(
    module: Path, rule: Callable[[ast.Module], Iterator[ast.AST]], *, beside: str | None = None
) -> list[str]:
    """Return where a module breaks a rule, but for the function `beside`."""
    tree = ast.parse(module.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == beside:
            node.body = []
    place = module.relative_to(ROOT)
    return [f"{place}:{getattr(node, 'lineno', 0)}: {ast.unparse(node)}" for node in rule(tree)]


def modules() -> dict[str, Path]:
    paths = sorted((ROOT / "builder").rglob("*.py"))
    return {name: path for path in paths if (name := str(path.relative_to(ROOT))) not in ALLOWED}


def test_archives_are_opened_in_one_module() -> None:
    broken = [line for path in modules().values() for line in found(path, archives_opened)]
    assert not broken, "use builder.untrusted.reading"


def test_paths_of_trees_of_others_are_joined_in_one_module() -> None:
    broken = [
        line
        for name, path in modules().items()
        for line in found(path, joins, beside=JOINED_IN.get(name))
    ]
    assert not broken, (
        "use builder.untrusted.tree.Tree, or another name for a directory of this program"
    )


def unpacking(script: str) -> list[str]:
    """Return the commands of a shell script that unpack an archive with tar(1)."""
    lines = script.replace("\\\n", " ").splitlines()
    return [line for line in lines if re.search(r"\btar\b.* (-x|--extract)", line)]


def test_scripts_take_over_neither_owners_nor_modes_of_archives() -> None:
    """Tar does as root. An archive with modes 0777 would let everybody on the board write."""
    options = ("--no-same-owner", "--no-same-permissions")
    found = {
        str(path.relative_to(ROOT)): unpacking(path.read_text())
        for path in sorted((ROOT / "recipes").glob("*/scripts/host.sh"))
    }
    assert found["recipes/pynq/scripts/host.sh"]
    broken = [
        name
        for name, commands in found.items()
        for command in commands
        if not all(option in command for option in options)
    ]
    assert not broken


@pytest.mark.parametrize(
    "line",
    [
        "tarfile.open(path)",
        "tarfile.open(fileobj=stream, mode='r|')",
        "tarfile.open(path, mode)",
        "tarfile.TarFile.open(path)",
        "zipfile.ZipFile(path)",
        "zipfile.ZipFile(path, 'r')",
        "zipfile.ZipFile(path, 'a')",
        "zipfile.Path(path)",
        "shutil.unpack_archive(path)",
        "from tarfile import open",
        "from zipfile import ZipFile",
        "import zipfile as z",
    ],
)
def test_the_rule_of_archives_finds(line: str) -> None:
    assert [*archives_opened(ast.parse(line))]


@pytest.mark.parametrize(
    "line",
    [
        "tarfile.open(fileobj=buffer, mode='w')",
        "zipfile.ZipFile(path, 'w')",
        "zipfile.BadZipFile('x')",
        "import tarfile",
        "def f(a: zipfile.ZipFile) -> zipfile.ZipInfo: ...",
        "opened_zip(path)",
    ],
)
def test_the_rule_of_archives_lets_pass(line: str) -> None:
    assert not [*archives_opened(ast.parse(line))]


@pytest.mark.parametrize(
    "line",
    [
        "root / name",
        "(rootfs / 'etc/passwd').read_text()",
        "root / 'usr' / name",
        "root.path / 'etc'",
        "root.changes / name",
        "machine.path / name",
        "workspace.outside(stage) / name",
        "tree._root / name",
        "target / member(name)",
        "unpacked.joinpath(name)",
        "sysroot.rglob('*')",
        "root.path.iterdir()",
        "workspace.outside(root.path).glob('*')",
        "Path(root, name)",
        "Path(f'{root.path}/etc/passwd')",
        "Path(f'{root}{path}')",
        "Path(f'{workspace.outside(x)}/etc')",
        "os.path.join(rootfs, name)",
        "os.walk(root)",
        "shutil.rmtree(outside)",
    ],
)
def test_the_rule_of_trees_finds(line: str) -> None:
    assert [*joins(ast.parse(line))]


@pytest.mark.parametrize(
    "line",
    [
        "Tree(workspace.outside(root.path)).read('etc/passwd')",
        "tree.glob('*')",
        "root.files.read(name)",
        "store.root / 'entries'",
        "workspace.directory / 'root'",
        "workspace.outside(stage / name)",
        "run('cp', f'{root.path}/etc', place)",
        "Path(target)",
        "Path(f'{target}.sha256')",
        "root.workspace.directory / 'fat'",
        "4 / target_count",
    ],
)
def test_the_rule_of_trees_lets_pass(line: str) -> None:
    assert not [*joins(ast.parse(line))]
