# SPDX-License-Identifier: MIT
"""Inspection of supplied boot files: their kinds, their problems, and notes on missing files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.bsp.prebuilt.modules import (
    Bundle,
    belongs_to_root,
    headers_bundle,
    module_bundles,
)
from builder.bsp.prebuilt.supplied import is_desktop_metadata, list_files
from builder.bsp.soc import FAMILIES
from builder.bsp.trees import memory_size
from builder.errors import BuildError, UserError
from builder.formats import linux_image
from builder.formats.boot_bin import BootImageError, parse
from builder.formats.devicetree import MOST_BYTES, DeviceTree, parse_tree
from builder.formats.fit import MAGIC, read_fit
from builder.formats.linux_image import KERNELS, kernel_name
from builder.spec.models import Soc
from builder.untrusted.reading import plain_file

_TREES = ("system.dtb", "devicetree.dtb")
_SCRIPTS = ("boot.scr", "uEnv.txt", "extlinux/extlinux.conf")
_COMPATIBLE = {Soc.ZYNQ: "xlnx,zynq-7000", Soc.ZYNQMP: "xlnx,zynqmp"}

# Files that builds leave beside the card's files. The image writes its own REVISION.
_NOT_FOR_THE_CARD = re.compile(
    r"rootfs\..*|vmlinux.*|System\.map.*|.*\.elf|.*\.manifest|.*\.testdata\.json|revision",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class BoardRequirements:
    """The parts of a board's specification that concern boot files; `memory` is in bytes."""

    soc: Soc
    memory: int
    console: str
    root_device: str
    hardware: str


@dataclass(frozen=True, kw_only=True)
class InspectedFiles:
    """Usable boot files.

    card: names and files of the FAT partition.
    left_out: entries that are not used.
    device_tree: the board's device tree, from the FIT or a separate file.
    release: release of the kernel; None if it is unknown.
    modules: the kernel's modules; None if there are none.
    headers: the kernel's headers; None if there are none.
    notes: notes for the user.
    """

    card: Sequence[tuple[str, Path]]
    left_out: Sequence[str]
    device_tree: bytes = field(repr=False)
    release: str | None
    modules: Bundle | None
    headers: Bundle | None
    notes: Sequence[str]


def inspect(folder: Path, wanted: BoardRequirements) -> InspectedFiles:
    """Inspect the boot files in a directory.

    Raises:
        UserError: they cannot be used; its details are all problems.
    """
    inspection = _Inspection(folder, wanted)
    found = inspection.run()
    if inspection.problems or found is None:
        problems = inspection.problems
        raise UserError(
            f"{len(problems)} problem{'s' if len(problems) > 1 else ''} with the boot files",
            hint="see docs/porting.md, Prebuilt boot files",
            details=problems,
        )
    return found


class _Inspection:
    """Implementation of `inspect`; its methods collect problems and notes."""

    def __init__(self, folder: Path, wanted: BoardRequirements) -> None:
        self.folder = folder
        self.wanted = wanted
        self.family = FAMILIES[wanted.soc]
        self.problems: list[str] = []
        self.notes: list[str] = []
        files = dict(list_files(folder))
        entries = {name.partition("/")[0] for name in files}
        self.left_out = {
            name
            for name in entries
            if is_desktop_metadata(name) or _NOT_FOR_THE_CARD.fullmatch(name)
        }
        self.card = {
            name: path
            for name, path in files.items()
            if (entry := name.partition("/")[0]) not in self.left_out and not belongs_to_root(entry)
        }
        self.on_card = {name: path for name, path in self.card.items() if "/" not in name}

    def run(self) -> InspectedFiles | None:
        self.boot_bin()
        self.spelling()
        kernel, device_tree = self.kernel()
        tree = self.device_tree(device_tree) if device_tree else None
        if tree:
            self.arguments(tree)
        running = linux_image.release(kernel) if kernel else None
        modules, release = self.modules(running)
        headers = self.headers()
        self.scripts()
        if device_tree is None:
            return None
        return InspectedFiles(
            card=[*self.card.items()],
            left_out=sorted(self.left_out),
            device_tree=device_tree,
            release=release or running,
            modules=modules,
            headers=headers,
            notes=self.notes,
        )

    def boot_bin(self) -> None:
        path = next(
            (self.on_card[name] for name in self.on_card if name.upper() == "BOOT.BIN"), None
        )
        if path is None:
            self.problems.append("BOOT.BIN, which the board's BootROM loads, is missing")
            return
        soc = self.wanted.soc
        try:
            parse(path, soc)
        except BootImageError as error:
            other = next((each for each in Soc if each is not soc and _fits(path, each)), None)
            if other:
                self.problems.append(
                    f"{path.name} is for {other.value}, but the board is {soc.value}"
                )
            else:
                reason = error.message.removeprefix(f"{path}: ")
                self.problems.append(f"the BootROM would not accept {path.name}: {reason}")

    def spelling(self) -> None:
        """Find names that differ only in case, which FAT ignores."""
        by_lower: dict[str, list[str]] = {}
        for name in self.card:
            by_lower.setdefault(name.lower(), []).append(name)
        for names in by_lower.values():
            if len(names) > 1:
                self.problems.append(f"{' and '.join(names)} are the same name on the card's FAT")

    def kernel(self) -> tuple[bytes | None, bytes | None]:
        """Return the kernel, unpacked, and the board's device tree."""
        name = kernel_name(self.on_card)
        if name is None:
            self.problems.append(f"there is no kernel; add one of {', '.join(KERNELS)}")
            return None, self.tree_file(f"{KERNELS[0]}, or a file like {_TREES[0]}")
        data, device_tree = plain_file(self.on_card[name], most=MOST_BYTES), None
        if data.startswith(MAGIC):
            try:
                fit = read_fit(self.on_card[name])
            except BuildError as error:
                self.problems.append(f"{name} is damaged: {error.message}")
                return None, None
            kernel = fit.find(fit.default, "kernel")
            if kernel is None:
                self.problems.append(f"{name}: the configuration {fit.default!r} has no kernel")
                return None, None
            if fit.find(fit.default, "ramdisk"):
                self.notes.append(
                    f"{name} contains a ramdisk: the card's root filesystem is used only if the "
                    "ramdisk switches to it"
                )
            image = fit.find(fit.default, "fdt")
            data, device_tree = kernel.data, image.data if image else None
        data = linux_image.unpacked(data)
        arch, own = linux_image.architecture(data), self.family.kernel_arch
        if arch and arch != own:
            self.problems.append(
                f"{name} is a kernel for {arch}, but the board's processors need {own}"
            )
        return data, device_tree or self.tree_file(f"{name} with one, or a file like {_TREES[0]}")

    def tree_file(self, what: str) -> bytes | None:
        """Return the device tree in a separate file; `what` describes the missing file."""
        files = [name for name in self.on_card if name.endswith(".dtb")]
        known = [name for name in _TREES if name in files]
        chosen = known[:1] or files
        if len(chosen) == 1:
            return plain_file(self.on_card[chosen[0]], most=MOST_BYTES)
        if chosen:
            listing = ", ".join(chosen)
            self.problems.append(
                f"there are several device trees: {listing}; rename the board's to {_TREES[0]}, or "
                "remove the others"
            )
        else:
            self.problems.append(f"there is no device tree; add {what}")
        return None

    def device_tree(self, data: bytes) -> DeviceTree | None:
        """Read the device tree; compare it with the board's specification."""
        wanted = self.wanted
        try:
            tree = parse_tree(data)
            memory = memory_size(tree)
        except (ValueError, UserError) as error:
            self.problems.append(f"the device tree is damaged: {error}")
            return None
        names = tree["/"].get("compatible", b"").decode(errors="replace").split("\0")
        for soc, name in _COMPATIBLE.items():
            if name in names and soc is not wanted.soc:
                self.problems.append(
                    f"the device tree is for {soc.value}, but the board is {wanted.soc.value}"
                )
        if memory and memory != wanted.memory:
            self.notes.append(
                f"the device tree's memory nodes have {memory >> 20} MiB, but board.yaml has "
                f"{wanted.memory >> 20} MiB"
            )
        name = tree.get("/chosen", {}).get("pynq_board", b"").rstrip(b"\0").decode(errors="replace")
        if name != wanted.hardware:
            says = f"is {name!r}" if name else "is missing"
            self.notes.append(
                f"/chosen/pynq_board of the device tree {says}: the variable BOARD, from which "
                f"designs learn the board's name, will not be {wanted.hardware!r}"
            )
        return tree

    def arguments(self, tree: DeviceTree) -> None:
        """Check `root=` in the kernel's arguments in the tree and the boot scripts."""
        wanted = self.wanted.root_device
        texts = [bootargs(tree).encode()]
        texts += [plain_file(path) for path in self.boot_scripts()]
        found = [each.decode(errors="replace") for text in texts for each in _ROOT.findall(text)]
        if not found:
            self.notes.append(
                f"none of these files names the root filesystem: U-Boot's environment has to "
                f"add `root={wanted} rootwait` to the kernel's arguments"
            )
        # Other forms (PARTUUID=, ${...}) can be resolved only on the board.
        elif all(each.startswith("/dev/") for each in found) and wanted not in found:
            self.notes.append(
                f"these files have the root filesystem at {', '.join(dict.fromkeys(found))}, but "
                f"the card has it at {wanted}"
            )

    def boot_scripts(self) -> list[Path]:
        return [self.card[name] for name in _SCRIPTS if name in self.card]

    def scripts(self) -> None:
        if not self.boot_scripts():
            self.notes.append(
                f"there is neither {' nor '.join(_SCRIPTS)}: U-Boot's own environment has to start "
                "the kernel"
            )

    def modules(self, running: str | None) -> tuple[Bundle | None, str | None]:
        """Return the bundle with the kernel's modules, and their release."""
        named = f"is {running}" if running else "does not contain its release"
        bundles = module_bundles(self.folder)
        for bundle in bundles:
            try:
                releases = bundle.releases()
            except UserError as error:
                self.problems.append(error.message)
                return None, None
            if not releases:
                continue
            if running in releases or (running is None and len(releases) == 1):
                return bundle, running or releases[0]
            if len(releases) == 1:
                self.problems.append(
                    f"{bundle.name} has the modules of {releases[0]}, but the kernel {named}"
                )
            else:
                self.problems.append(
                    f"{bundle.name} has the modules of {', '.join(releases)}, but the kernel "
                    f"{named}: remove all but one of them"
                )
            return None, None
        if any(bundle.name == "modules/" for bundle in bundles):
            example = f"modules/{running or '6.1.0'}/modules.dep"
            self.problems.append(f"modules/ has no directory named after a release, like {example}")
        else:
            self.notes.append(
                "no modules: only drivers that are built into the kernel will work. Put "
                f"modules/{running or 'RELEASE'} or modules.tar.gz beside the kernel"
            )
        return None, None

    def headers(self) -> Bundle | None:
        bundle = headers_bundle(self.folder)
        try:
            if bundle and bundle.headers_root() is None:
                self.problems.append(f"{bundle.name} has no Makefile: it has no kernel headers")
        except UserError as error:
            self.problems.append(error.message)
        return bundle


_ROOT = re.compile(rb"(?<![\w.])root=([^\s\"'\0]+)")


def bootargs(tree: DeviceTree) -> str:
    """Return the kernel's arguments in a device tree."""
    return tree.get("/chosen", {}).get("bootargs", b"").rstrip(b"\0").decode(errors="replace")


def _fits(path: Path, soc: Soc) -> bool:
    try:
        parse(path, soc)
    except BootImageError:
        return False
    return True
