# SPDX-License-Identifier: MIT
"""Check of the devices that the installed PYNQ library opens against the device tree.

A driver of the library is bound to blocks of the programmable logic by their type (`bindto` of its
class, as VLNV). The devices that it opens are found in its source: names of UIO devices, numbers of
I2C buses, and labels of GPIO controllers. The library waits for an interrupt of the logic through
the UIO device that has it. So the check follows the installed library, and covers only blocks of
the image's designs.

Not found: names that a driver computes, and drivers of hierarchies (`checkhierarchy`), which have
no type.
"""

from __future__ import annotations

import ast
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from builder.bsp.tree_checks.findings import Finding
from builder.bsp.tree_checks.nodes import cells, compatible, is_on, strings
from builder.errors import StepError
from builder.formats.devicetree import DeviceTree
from builder.untrusted import tree as foreign
from builder.vivado.design import Design
from builder.vivado.interrupts import interrupts
from builder.vivado.system import PeripheralKind, peripherals

CHECK: Final = "library"

_PACKAGE: Final = "pynq"

_UIO_CALLS: Final = {"get_uio_device", "get_uio_index"}
"""Functions of `pynq.uio` whose first argument is the name of a UIO device."""
_WAITS: Final = "get_uio_irq"
"""Function of `pynq.interrupt` that looks for the UIO device of an interrupt."""
_I2C_PARAMETERS: Final = {"iic_index", "i2c_index"}
_I2C_IN_C: Final = b"/dev/i2c-%d"
_LARGEST: Final = 1 << 28
"""Maximum size in bytes of a compiled library that is read."""
_GPIO_LABELS: Final = {
    "zynq_gpio": "xlnx,zynq-gpio-1.0",
    "zynqmp_gpio": "xlnx,zynqmp-gpio-1.0",
}
"""`compatible` by the driver's labels (Linux, drivers/gpio/gpio-zynq.c: `zynq_gpio_of_match`)."""
_UIO_DEFAULT: Final = "generic-uio"


@dataclass(frozen=True, kw_only=True)
class OpenedDevice:
    """A device that a driver opens: a UIO device by name (`uio`), an I2C bus by number (`i2c`).

    `place` is the file and line in the library.
    """

    kind: str
    name: str
    place: str


@dataclass(frozen=True, kw_only=True)
class Library:
    """Facts about an installed library.

    opened: the devices that the driver of a block opens, by the block's VLNV.
    gpio_labels: labels of GPIO controllers; `pynq.GPIO` uses the first that exists.
    waits: file and line of the function that looks for the UIO device of an interrupt; "" if none.
    """

    opened: Mapping[str, Sequence[OpenedDevice]]
    gpio_labels: Sequence[str]
    waits: str = ""


@dataclass(kw_only=True)
class _Class:
    """A class of the library: its bases' names, its blocks, and the devices its methods open."""

    name: str
    bases: list[str]
    bindto: list[str] = field(default_factory=list)
    opened: list[OpenedDevice] = field(default_factory=list)


def read_library(package: foreign.ForeignTree) -> Library:
    """Read the devices that the drivers of an installed library open.

    Files that are too large or not Python of this version are skipped.

    Args:
        package: the library's directory `pynq`.
    """
    classes: list[_Class] = []
    gpio: list[str] = []
    waits = ""
    for path in package_files(package, "*.py"):
        place = f"{_PACKAGE}{path}"
        try:
            tree = ast.parse(package.read(path))
        except (SyntaxError, ValueError, StepError):
            continue
        i2c = _opens_i2c(tree, package)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                classes.append(_class(node, place=place, i2c=i2c))
            elif isinstance(node, ast.FunctionDef) and node.name == "get_gpio_base_path":
                gpio += [text for text in _texts(node) if text in _GPIO_LABELS]
            elif isinstance(node, ast.FunctionDef) and node.name == _WAITS:
                waits = f"{place}:{node.lineno}"
    opened: dict[str, list[OpenedDevice]] = {}
    by_name = {each.name: each for each in classes}
    for each in classes:
        for vlnv in each.bindto:
            opened.setdefault(vlnv, []).extend(_with_bases(each, by_name))
    return Library(opened=opened, gpio_labels=gpio, waits=waits)


def package_files(tree: foreign.ForeignTree, pattern: str) -> list[str]:
    """Return the paths of a tree's plain files that match a pattern (`PurePath.match`), sorted.

    Links are not followed.
    """
    return sorted(
        path
        for path, status in tree.walk()
        if stat.S_ISREG(status.st_mode) and PurePosixPath(path).match(pattern)
    )


def findings(
    tree: DeviceTree,
    overlays: Sequence[DeviceTree],
    library: Library,
    designs: Mapping[str, Design],
    *,
    source: str,
) -> list[Finding]:
    """Return a finding for each device that the drivers of designs open and that a tree lacks.

    Args:
        tree: the board's compiled tree.
        overlays: the device-tree overlays of the image, which come with designs. Devices that they
            add exist, and interrupts of their nodes have a driver.
        library: the installed library.
        designs: the designs of the image, by their names in messages.
        source: the source of the tree, for messages.
    """
    wanted = _uio_compatible(tree)
    names = {name for each in (tree, *overlays) for name in uio_names(each, wanted)}
    handled = _interrupts_of(tree, _uio_nodes(tree, wanted))
    for overlay in overlays:
        handled |= _interrupts_of(overlay, overlay)
    found: dict[str, Finding] = {}
    for name, design in designs.items():
        for subject, text in (
            *_devices(tree, names, library, name, design),
            *_gpio(tree, library, name, design),
            *_unhandled_interrupts(tree, handled, library, name, design),
        ):
            found[subject] = Finding(check=CHECK, subject=subject, text=f"{text} in {source}")
    return [*found.values()]


def _devices(
    tree: DeviceTree, uio: Collection[str], library: Library, name: str, design: Design
) -> Iterator[tuple[str, str]]:
    """Yield subject and text for each device that a driver of a block opens and the tree lacks."""
    for block in design.blocks.values():
        for opened in library.opened.get(block.vlnv, ()):
            missing = _missing(tree, uio, opened)
            if missing:
                subject, what, remedy = missing
                text = (
                    f"design {name} has the block {block.instance} ({block.vlnv}), whose driver "
                    f"opens {what} ({opened.place}), but the device tree does not have it. On the "
                    f"board the driver fails; {remedy}"
                )
                yield subject, text


def _gpio(
    tree: DeviceTree, library: Library, name: str, design: Design
) -> Iterator[tuple[str, str]]:
    """Yield subject and text if a design has GPIO lines and the tree has no controller for them."""
    labels = library.gpio_labels
    if labels and _uses_gpio(design) and not _has_gpio(tree, labels):
        text = (
            f"design {name} has GPIO lines of the processing system, for which pynq.GPIO looks for "
            f"a controller {' or '.join(labels)}, but the device tree has no enabled one. On the "
            "board pynq.GPIO raises; enable the node gpio@..."
        )
        yield "gpio", text


def _unhandled_interrupts(
    tree: DeviceTree, handled: AbstractSet[int], library: Library, name: str, design: Design
) -> Iterator[tuple[str, str]]:
    """Yield subject and text for each interrupt of a design that no UIO device has."""
    if not library.waits:
        return
    for number in sorted(_interrupts(design) - handled):
        text = (
            f"design {name} raises the shared peripheral interrupt {number}, which the library "
            f"waits for through a UIO device ({library.waits}), but the device tree has none for "
            "it. On the board the drivers of the design get no interrupt; add a node with compatible = "
            f'"{_uio_compatible(tree)}" and interrupts = <0 {number} 4>'
        )
        yield f"interrupt {number}", text


def _interrupts(design: Design) -> set[int]:
    """Return the interrupts of the processing system that a design raises."""
    return {each.number for each in interrupts(design).values() if each.controller is None}


def _interrupts_of(tree: DeviceTree, nodes: Iterable[str]) -> set[int]:
    """Return the shared peripheral interrupts of nodes: <0 NUMBER FLAGS>."""
    found = set()
    for node in nodes:
        words = cells(tree[node].get("interrupts", b""))
        found |= {words[at + 1] for at in range(0, len(words) - 2, 3) if words[at] == 0}
    return found


def _missing(
    tree: DeviceTree, uio: Collection[str], opened: OpenedDevice
) -> tuple[str, str, str] | None:
    """Return subject, description and remedy for a missing device; None if the tree has it."""
    if opened.kind == "uio":
        if opened.name in uio:
            return None
        remedy = f'add a node {opened.name}@ADDRESS with compatible = "{_uio_compatible(tree)}"'
        return f"uio {opened.name}", f"the UIO device {opened.name}", remedy
    alias = strings(tree.get("/aliases", {}).get(f"i2c{opened.name}", b""))
    if alias and alias[0] in tree and is_on(tree, alias[0]):
        return None
    device = f"/dev/i2c-{opened.name}"
    remedy = f"enable the bus and name it i2c{opened.name} in /aliases"
    return device, device, remedy


def uio_names(tree: DeviceTree, wanted: str) -> set[str]:
    """Return the names of a tree's UIO devices, whose `compatible` is `wanted`.

    Linux uses `linux,uio-name`, or else the node's name without its address
    (drivers/uio/uio_pdrv_genirq.c).
    """
    return {
        (strings(tree[node].get("linux,uio-name", b"")) or [_plain(node)])[0]
        for node in _uio_nodes(tree, wanted)
    }


def _uio_nodes(tree: DeviceTree, wanted: str) -> list[str]:
    return [node for node in tree if wanted in compatible(tree, node) and is_on(tree, node)]


def _uio_compatible(tree: DeviceTree) -> str:
    """Return the `compatible` to which the kernel's command line binds the UIO driver."""
    for word in strings(tree.get("/chosen", {}).get("bootargs", b"")):
        found = re.search(r"uio_pdrv_genirq\.of_id=(\S+)", word)
        if found:
            return found[1]
    return _UIO_DEFAULT


def _plain(node: str) -> str:
    return node.rpartition("/")[2].partition("@")[0]


def _uses_gpio(design: Design) -> bool:
    """Return whether a design connects GPIO lines of the processing system to the logic."""
    names = ("PCW_GPIO_EMIO_GPIO_ENABLE", "PSU__GPIO_EMIO__PERIPHERAL__ENABLE")
    parameters = design.system.parameters
    on = any(each.kind is PeripheralKind.GPIO for each in peripherals(design.soc, parameters))
    return on and any(parameters.get(name) == "1" for name in names)


def _has_gpio(tree: DeviceTree, gpio_labels: Iterable[str]) -> bool:
    wanted = {_GPIO_LABELS[label] for label in gpio_labels}
    return any(is_on(tree, node) and wanted & {*compatible(tree, node)} for node in tree)


def _class(node: ast.ClassDef, *, place: str, i2c: bool) -> _Class:
    bases = [name for base in node.bases if (name := _name(base))]
    found = _Class(name=node.name, bases=bases)
    for statement in node.body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "bindto" for target in statement.targets
        ):
            found.bindto += _texts(statement.value)
        elif isinstance(statement, ast.FunctionDef):
            found.opened += _opened(statement, place=place, i2c=i2c)
    return found


def _with_bases(driver: _Class, classes: Mapping[str, _Class]) -> list[OpenedDevice]:
    """Return the devices that a driver opens in its own methods and in those of its bases."""
    found: list[OpenedDevice] = []
    todo, seen = [driver], {id(driver)}
    while todo:
        each = todo.pop()
        found += each.opened
        for name in each.bases:
            base = classes.get(name)
            if base and id(base) not in seen:
                seen.add(id(base))
                todo.append(base)
    return found


def _opened(function: ast.FunctionDef, *, place: str, i2c: bool) -> Iterator[OpenedDevice]:
    """Yield the devices that a method opens by literal names."""
    defaults = _defaults(function)
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and _name(node.func) in _UIO_CALLS and node.args:
            argument = node.args[0]
            value = defaults.get(argument.id) if isinstance(argument, ast.Name) else None
            if isinstance(argument, ast.Constant):
                value = argument.value
            if isinstance(value, str):
                yield OpenedDevice(kind="uio", name=value, place=f"{place}:{node.lineno}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            bus = re.fullmatch(r"/dev/i2c-(\d+)", node.value)
            if bus:
                yield OpenedDevice(kind="i2c", name=bus[1], place=f"{place}:{node.lineno}")
    for name in _I2C_PARAMETERS & defaults.keys():
        if i2c and isinstance(defaults[name], int):
            yield OpenedDevice(
                kind="i2c", name=str(defaults[name]), place=f"{place}:{function.lineno}"
            )


def _opens_i2c(tree: ast.Module, package: foreign.ForeignTree) -> bool:
    """Return whether a module loads a compiled library that opens I2C buses by number."""
    names = {text.rpartition("/")[2] for text in _texts(tree) if text.endswith(".so")}
    compiled = package_files(package, "*.so") if names else []
    wanted = [path for path in compiled if path.rpartition("/")[2] in names]
    return any(_I2C_IN_C in _content(package, path) for path in wanted)


def _content(package: foreign.ForeignTree, path: str) -> bytes:
    """Return the content of a compiled library; empty if it is too large."""
    try:
        return package.read(path, most=_LARGEST)
    except StepError:
        return b""


def _defaults(function: ast.FunctionDef) -> dict[str, object]:
    """Return the constant defaults of a function's parameters."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs: list[tuple[ast.arg, ast.expr | None]] = []
    if arguments.defaults:
        pairs += zip(positional[-len(arguments.defaults) :], arguments.defaults, strict=True)
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return {
        argument.arg: default.value
        for argument, default in pairs
        if isinstance(default, ast.Constant)
    }


def _texts(node: ast.AST) -> list[str]:
    return [
        each.value
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]


def _name(node: ast.expr) -> str:
    """Return the last part of a name: `get_uio_index` for `pynq.uio.get_uio_index`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
