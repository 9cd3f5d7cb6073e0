# SPDX-License-Identifier: MIT
"""A board of sdbuild's becomes one of ours: a directory with board.yaml, and a report."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from builder.board_generator.devicetree import baud_warning
from builder.board_generator.devicetree import board_tree as tree_of_design
from builder.errors import UserError
from builder.sdbuild_import.designs import convert_designs
from builder.sdbuild_import.devicetree import QSPI, UserTree, board_tree, source_name
from builder.sdbuild_import.draft import Draft, files_of
from builder.sdbuild_import.facts import KnownBoard, known_board, plain
from builder.sdbuild_import.hardware import (
    Exported,
    convert_bsp,
    convert_hardware,
    inside_bsp,
    read_export,
)
from builder.sdbuild_import.packages import convert_packages
from builder.sdbuild_import.petalinux import (
    EDF_SETTINGS,
    BoardSupport,
    convert_support,
    edf_settings,
)
from builder.sdbuild_import.report import Outcome, Report
from builder.sdbuild_import.specification import Specification, read_specification
from builder.spec.document import read
from builder.spec.models import FORMAT, Board, Bsp, Model, Provider, Soc
from builder.spec.profiles import read_profiles
from builder.spec.reader import Reader, SpecTree, closest
from builder.spec.resolve import resolve
from builder.spec.texts import format_size
from builder.vivado.system import PeripheralKind

_DISTRIBUTIONS = ["ubuntu-jammy", "debian-bookworm"]
_PROFILE = "pynq"
_MEMORY = {Soc.ZYNQ: 512 << 20, Soc.ZYNQMP: 2 << 30}
_CONSOLE = "ttyPS0,115200"
_ROOT_DEVICE = "/dev/mmcblk0p2"

_TEXTS = ("readme", "license", "licence", "notice", "changelog", "citation", ".git", ".readthedocs")
_DOCUMENTS = (".md", ".rst", ".txt", ".pdf", ".png", ".jpg", ".jpeg", ".svg")


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """The user's request for an import.

    like: board of the tree from which the hardware's description is taken. provider: who is to make
    the boot files; None: whoever can. fetch: whether files are fetched for their SHA-256.
    """

    like: str | None = None
    provider: Provider | None = None
    fetch: bool = False


def find_boards(directory: Path) -> list[Path]:
    """Return the directories of sdbuild's boards in a directory: itself, or those below it.

    As sdbuild does, it looks for `<B>/<B>.spec`; in a repository also below `boards/`.

    Raises:
        UserError: there is none.
    """
    if not directory.is_dir():
        raise UserError(f"there is no directory {directory}")
    directory = directory.resolve()
    if any(directory.glob("*.spec")):
        return [directory]
    for pattern in ("*/*.spec", "*/*/*.spec"):
        found = sorted({path.parent for path in directory.glob(pattern) if _of_folder(path)})
        if found:
            return found
    raise UserError(
        f"{directory} has no board of sdbuild's: no B/B.spec",
        hint="a board is a directory with a file of its own name that ends in .spec",
    )


def _of_folder(path: Path) -> bool:
    return path.stem == path.parent.name


def import_board(source: Path, parent: Path, tree: SpecTree, wish: ImportRequest) -> Report:
    """Convert a board's directory to `parent/<its name>`, which must not exist yet.

    A board that cannot be described here (Versal) is reported, and nothing is written.

    Raises:
        UserError: the board cannot be read, or the new one exists.
    """
    name = source.name
    specification_file = source / f"{name}.spec"
    if not specification_file.is_file():
        others = [path.name for path in sorted(source.glob("*.spec"))]
        raise UserError(
            f"{source} has no {name}.spec, but {', '.join(others)}",
            hint="sdbuild wants directory and file to have the board's name: rename one",
        )
    place = parent / name
    if place.exists():
        raise UserError(f"{place} exists already", hint="remove it, or name another with --to")
    if wish.like and wish.like not in tree.board_files():
        raise UserError(
            f"--like {wish.like}: no such board{closest(wish.like, tree.board_files())}"
        )
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=parent) as folder:
        draft = Draft(
            name=name,
            source=source,
            directory=Path(folder) / name,
            tree=tree,
            report=Report(board=name, source=source),
        )
        draft.directory.mkdir()
        draft.files = files_of(draft.report)
        if _versal(draft):
            return draft.report
        _Import(draft, read_specification(specification_file, draft.report), wish).run()
        (draft.directory).rename(place)
    draft.report.directory = place
    draft.report.problems = _problems(place, tree)
    return draft.report


def _versal(draft: Draft) -> bool:
    settings = draft.source / EDF_SETTINGS
    versal = settings in draft.files and any(
        "versal" in value or value.startswith(("vck", "vrk", "vek", "vhk"))
        for value in edf_settings(settings).values()
    )
    if versal:
        what = (
            f"a board with Versal, which is no family here ({', '.join(soc.value for soc in Soc)})"
        )
        draft.report.add(settings, Outcome.PERSON, what)
    return versal


def _problems(place: Path, tree: SpecTree) -> list[str]:
    """Return what the reader of specifications says of a board."""
    outer = SpecTree(root=tree.root, boards_dirs=(*tree.boards_dirs, place.parent))
    try:
        resolve(outer, place.name)
    except UserError as error:
        return [*(error.details or (error.message,))]
    return []


def _text(keys: Mapping[str, Any]) -> str:
    """Return board.yaml, with its keys in the order of the reference."""
    text = yaml.safe_dump(
        _sorted({**keys, "bsp": _sorted(keys["bsp"], Bsp)}, Board),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=100,
    )
    return f"# Converted from a board of PYNQ's sdbuild.\n{text}"


def _sorted(keys: Mapping[str, Any], model: type[Model]) -> dict[str, Any]:
    fields = [field.alias or name for name, field in model.model_fields.items()]
    return {key: keys[key] for key in sorted(keys, key=fields.index)}


class _Import:
    """The work of `import_board`: each method one part of the board."""

    def __init__(self, draft: Draft, specification: Specification, wish: ImportRequest) -> None:
        self.draft = draft
        self.report = draft.report
        self.specification = specification
        self.wish = wish
        draft.soc = specification.soc
        self.known = None if wish.like else self.taken_for()
        self.like = self.read_like(wish.like or self.twin())
        self.source = source_name(draft.name, draft.soc)

    def run(self) -> None:
        draft, specification = self.draft, self.specification
        bsp: dict[str, Any] = {}
        draft.keys = {
            "format": FORMAT,
            "board": draft.name,
            "summary": f"{draft.name}, converted from a board of PYNQ's sdbuild",
            "soc": draft.soc.value,
            "memory": format_size(_MEMORY[draft.soc]),
            "console": _CONSOLE,
            "root-device": _ROOT_DEVICE,
            "bsp": bsp,
            "distro": _DISTRIBUTIONS,
            "profile": _PROFILE,
        }
        self.firmware(bsp)
        bsp["provider"] = self.provider(bsp)
        support = convert_support(
            draft,
            self.source,
            like=self.like[1].board if self.like else None,
            mainline=bsp["provider"] == "mainline",
            whole=self.known is None,
        )
        self.hardware(bsp, support)
        if support.fragments:
            bsp["kernel-fragments"] = support.fragments
        if specification.root_device:
            draft.keys["root-device"] = specification.root_device.text
        recipes = convert_packages(draft, specification)
        convert_designs(draft, specification)
        self.select(recipes)
        self.rest()
        draft.write("board.yaml", _text(draft.keys))
        self.report.add(specification.file, Outcome.CONVERTED, "board.yaml")

    def taken_for(self) -> KnownBoard | None:
        """Return the board of Linux and U-Boot for which this one is taken."""
        known = known_board(self.draft.name)
        return known if known and known.soc is self.draft.soc else None

    def twin(self) -> str | None:
        """Return the board of the tree that has this one's name."""
        names = {plain(name): name for name in self.draft.tree.board_files()}
        return names.get(plain(self.draft.name))

    def read_like(self, name: str | None) -> tuple[Path, Board] | None:
        """Return the file and content of the board from which the hardware's description is taken.

        Raises:
            UserError: it is of another family, or has problems.
        """
        if name is None:
            return None
        files = self.draft.tree.board_files()
        reader = Reader()
        board = reader.board(files[name], files)
        reader.raise_problems()
        assert board, "without problems it is there"
        if board.soc is not self.draft.soc:
            raise UserError(
                f"--like {name}: it is {board.soc.value}, {self.draft.name} is "
                f"{self.draft.soc.value}"
            )
        self.known = None
        return files[name], board

    def firmware(self, bsp: dict[str, Any]) -> None:
        """Find the hardware export, the BSP, and what is in that."""
        export = convert_hardware(self.draft)
        petalinux = convert_bsp(self.draft, self.specification, fetch=self.wish.fetch)
        pmu = None
        if petalinux.get("file") and (self.draft.directory / petalinux["file"]).is_file():
            path = self.draft.source / petalinux["file"]
            inner, pmu = inside_bsp(self.draft, path, export=export is None)
            export = export or inner
        if export:
            bsp["hardware"] = {"xsa": export}
        if petalinux:
            bsp["petalinux"] = {"bsp": petalinux}
        if self.draft.soc is Soc.ZYNQMP:
            missing = {"file": "firmware/pmufw.elf", "optional": True}
            bsp["firmware"] = {"pmu": {"file": pmu} if pmu else missing}
            if not pmu:
                what = (
                    "the card starts no board without firmware/pmufw.elf: it is in the board's BSP "
                    "(pre-built/linux/images), or comes from AMD's tools"
                )
                self.report.add(self.specification.file, Outcome.PERSON, what)

    def provider(self, bsp: dict[str, Any]) -> Provider:
        """Choose who makes the boot files."""
        if self.wish.provider:
            return self.wish.provider
        started = self.known or self.like or "hardware" in bsp
        return "petalinux" if "petalinux" in bsp and not started else "mainline"

    def hardware(self, bsp: dict[str, Any], support: BoardSupport) -> None:
        """Describe the hardware: memory; for `mainline`, start-up and device tree."""
        if self.like:
            self.as_like(bsp, *self.like)
            return
        known, told, keys = self.known, support.tree, self.draft.keys
        export = None if known else self.exported(bsp)
        if export:
            self.as_exported(export, told)
            return
        memory = _MEMORY[self.draft.soc]
        if known:
            memory = known.memory
            bsp["start-up-table"] = {"u-boot": known.start_up}
            what = f"taken by its name for the board of Linux's {known.devicetree}: see if it is"
            self.report.add(self.specification.file, Outcome.PERSON, what)
            if told and told[1].memory not in (0, memory):
                what = f"the device tree's memory is not {known.devicetree}'s, which is counted too"
                self.report.add(self.specification.file, Outcome.PERSON, what)
        elif told and told[1].memory:
            memory = told[1].memory
        if not known:
            self.assumed(memory, told is not None and bool(told[1].memory))
            if "hardware" not in bsp and bsp["provider"] == "mainline":
                bsp["hardware"] = {"xsa": f"hardware/{self.draft.name}.xsa"}
                what = (
                    f"there is no hardware export: build hardware_project with Vivado, and put the "
                    f".xsa at hardware/{self.draft.name}.xsa; or import with --like BOARD"
                )
                self.report.add(self.specification.file, Outcome.PERSON, what)
        keys["memory"] = format_size(memory)
        name = f"devicetree/{self.source}"
        keys["devicetree"] = name
        text = board_tree(
            self.draft.name,
            self.draft.soc,
            model=known.devicetree if known else None,
            user=told,
            memory=memory,
            aliases=known.aliases if known else {},
        )
        self.draft.write(name, text)

    def exported(self, bsp: Mapping[str, Any]) -> Exported | None:
        """Return what the hardware export says; None without one, or if it is of no use, which is said."""
        if "hardware" not in bsp:
            return None
        name = bsp["hardware"]["xsa"]
        try:
            return read_export(self.draft, name)
        except UserError as error:
            why = error.message.replace(f"{self.draft.directory}/", "")
            what = f"nothing was taken out of {name}: {why}"
            self.report.add(self.specification.file, Outcome.PERSON, what)
            return None

    def as_exported(self, export: Exported, told: tuple[str, UserTree] | None) -> None:
        """Describe what the hardware export says, as PetaLinux does, and after it the additions."""
        draft, system, chosen = self.draft, export.system, export.chosen
        memory, additions = system.memory_size, []
        if told:
            name, user = told
            if user.memory not in (0, memory):
                what = (
                    f"the device tree has memory {format_size(user.memory)}, which is taken, the "
                    f"hardware export {format_size(memory)}"
                )
                self.report.add(self.specification.file, Outcome.PERSON, what)
            if user.memory:
                memory, system = user.memory, replace(system, memory=())
            if (
                draft.soc is Soc.ZYNQ
                and "qspi" in user.references
                and not system.all_of(PeripheralKind.QSPI)
            ):
                additions.append(f"{Path(self.source).stem}-qspi.dtsi")
                draft.write(f"devicetree/{additions[0]}", QSPI)
            additions.append(name)
        draft.keys["memory"] = format_size(memory)
        draft.keys["console"] = chosen.kernel_console
        draft.keys["devicetree"] = f"devicetree/{self.source}"
        baud = baud_warning(chosen)
        if baud:
            self.report.add(self.specification.file, Outcome.PERSON, baud)
        network = chosen.network.name if chosen.network else "no network"
        facts = f"{chosen.console.name}, {chosen.card.name}, {network}"
        draft.write(
            draft.keys["devicetree"],
            tree_of_design(
                system,
                chosen,
                name=draft.name,
                model=draft.name,
                about=f"{draft.name}, converted from a board of PYNQ's sdbuild, and written from its "
                f"hardware export: {facts}.",
                additions=additions,
            ),
        )
        what = f"memory and devicetree/{self.source}, as the hardware export says: {facts}"
        self.report.add(self.specification.file, Outcome.CONVERTED, what)

    def assumed(self, memory: int, told: bool) -> None:  # noqa: FBT001 - private
        facts = ["console on the first UART", "card and network on the usual controllers"]
        if not told:
            facts.insert(0, f"memory {format_size(memory)}")
        what = f"assumed, since no file says: {', '.join(facts)}: look at devicetree/{self.source}"
        self.report.add(self.specification.file, Outcome.PERSON, what)

    def as_like(self, bsp: dict[str, Any], file: Path, board: Board) -> None:
        """Copy the hardware's description of a board of the tree."""
        keys, name = self.draft.keys, board.board
        given = read(file).data
        keys["memory"] = format_size(board.memory)
        keys["console"], keys["root-device"] = board.console, board.root_device
        what = f"memory, console, device tree and start-up table are those of {name}"
        same = name == self.draft.name
        self.report.add(
            self.specification.file,
            Outcome.CONVERTED if same else Outcome.PERSON,
            f"{what} of this tree" if same else f"{what}: see if they fit",
        )
        for key in ("start-up-table", "boot-bin"):
            if key in given.get("bsp", {}):
                bsp[key] = given["bsp"][key]
        table = board.bsp.start_up_table
        wanted = [board.bsp.boot_bin]
        if table:
            wanted += [table.registers, table.parameters]
        for each in filter(None, wanted):
            self.copy_own(file.parent / each, each)
        if board.devicetree:
            source = file.parent / board.devicetree
            for path in sorted(source.parent.glob("*.dts*")):
                to = f"devicetree/{self.source if path == source else path.name}"
                text = path.read_text(encoding="utf-8")
                if path == source:
                    text = text.replace(f'pynq_board = "{name}"', f'pynq_board = "{keys["board"]}"')
                self.draft.write(to, text)
            keys["devicetree"] = f"devicetree/{self.source}"

    def copy_own(self, path: Path, to: str) -> None:
        """Copy a file of the tree's into the result."""
        target = self.draft.directory / to
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)

    def select(self, recipes: Sequence[str]) -> None:
        """Put recipes that the profile does not have into board.yaml."""
        files = self.draft.tree.profile_files()
        profiles = read_profiles(Reader(), files[_PROFILE], files) or ()
        there = {name for _, profile in profiles for name in profile.recipes}
        more = [name for name in recipes if name not in there]
        if more:
            self.draft.keys["recipes"] = more

    def rest(self) -> None:
        """Say what becomes of files that nothing has been said of."""
        for path in self.draft.files:
            place = path.relative_to(self.draft.source)
            if place.as_posix() in self.report.files or place.name == self.specification.file.name:
                continue
            name = path.name.lower()
            if name.startswith(_TEXTS) or path.suffix.lower() in _DOCUMENTS:
                self.report.add(path, Outcome.LEFT, "documentation")
            elif place.is_relative_to("petalinux_bsp/hardware_project"):
                self.report.add(path, Outcome.LEFT, "source of the hardware, which Vivado builds")
            elif path.suffix == ".spec":
                self.report.add(path, Outcome.PERSON, "another board's: a variant with `extends`")
            elif name == "selftest.json":
                what = "tests on the board: write those of the hardware as checks, in tests/"
                self.report.add(path, Outcome.PERSON, what)
            elif place.parts[0].startswith("petalinux_bsp"):
                what = "sdbuild reads petalinux_bsp/ alone: copy it there, and import again"
                self.report.add(path, Outcome.PERSON, what)
            else:
                self.report.add(path, Outcome.PERSON, "nothing here reads it")
