# SPDX-License-Identifier: MIT
"""Import of an sdbuild board into a directory with board.yaml, with a report."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from builder.errors import UserError
from builder.sdbuild_import.board_hardware import MEMORY, HardwareSource, describe_hardware
from builder.sdbuild_import.designs import convert_designs
from builder.sdbuild_import.devicetree import source_name
from builder.sdbuild_import.draft import Draft, files_of
from builder.sdbuild_import.facts import KnownBoard, known_board, plain
from builder.sdbuild_import.hardware import convert_bsp, convert_hardware, inside_bsp
from builder.sdbuild_import.packages import convert_packages
from builder.sdbuild_import.petalinux import EDF_SETTINGS, convert_support, edf_settings
from builder.sdbuild_import.report import Outcome, Report
from builder.sdbuild_import.specification import Specification, read_specification
from builder.spec.models import FORMAT, Board, Bsp, Model, Provider, Soc
from builder.spec.profiles import read_profiles
from builder.spec.reader import Reader, SpecTree, closest
from builder.spec.resolve import resolve
from builder.spec.texts import format_size

_DISTRIBUTIONS = ["ubuntu-jammy", "debian-bookworm"]
_PROFILE = "pynq"
_CONSOLE = "ttyPS0,115200"
_ROOT_DEVICE = "/dev/mmcblk0p2"

_TEXTS = ("readme", "license", "licence", "notice", "changelog", "citation", ".git", ".readthedocs")
_DOCUMENTS = (".md", ".rst", ".txt", ".pdf", ".png", ".jpg", ".jpeg", ".svg")


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """Options of an import.

    Attributes:
        like: board of this repository whose hardware description is copied.
        provider: provider of the boot files; None selects one automatically.
        fetch: whether files are downloaded to compute their SHA-256.
    """

    like: str | None = None
    provider: Provider | None = None
    fetch: bool = False


def find_boards(directory: Path) -> list[Path]:
    """Return the directories of sdbuild boards: the given one, or those below it.

    Like sdbuild, this searches `<B>/<B>.spec`; in a repository also below `boards/`.

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
        f"{directory} contains no sdbuild board: no B/B.spec",
        hint="a board is a directory B that contains a file B.spec",
    )


def _of_folder(path: Path) -> bool:
    return path.stem == path.parent.name


def import_board(source: Path, parent: Path, tree: SpecTree, request: ImportRequest) -> Report:
    """Convert a board to the directory `parent/<name>`, which must not exist.

    For an unsupported board (Versal), nothing is written but the report.

    Raises:
        UserError: the board cannot be read, or the directory exists.
    """
    name = source.name
    specification_file = source / f"{name}.spec"
    if not specification_file.is_file():
        others = [path.name for path in sorted(source.glob("*.spec"))]
        raise UserError(
            f"{source} has no {name}.spec, but {', '.join(others)}",
            hint="for sdbuild, directory and file must have the same name: rename one",
        )
    place = parent / name
    if place.exists():
        raise UserError(f"{place} already exists", hint="remove it, or set another with --to")
    if request.like and request.like not in tree.board_files():
        raise UserError(
            f"--like {request.like}: no such board{closest(request.like, tree.board_files())}"
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
        _Import(draft, read_specification(specification_file, draft.report), request).run()
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
        what = f"Versal is not supported (supported: {', '.join(soc.value for soc in Soc)})"
        draft.report.add(settings, Outcome.PERSON, what)
    return versal


def _problems(place: Path, tree: SpecTree) -> list[str]:
    """Return the validation errors of a board."""
    outer = SpecTree(root=tree.root, boards_dirs=(*tree.boards_dirs, place.parent))
    try:
        resolve(outer, place.name)
    except UserError as error:
        return [*(error.details or (error.message,))]
    return []


def _text(keys: Mapping[str, Any]) -> str:
    """Return the text of board.yaml, with its keys in the order of the reference."""
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
    """State of `import_board`; each method imports a part of the board."""

    def __init__(self, draft: Draft, specification: Specification, request: ImportRequest) -> None:
        self.draft = draft
        self.report = draft.report
        self.specification = specification
        self.request = request
        draft.soc = specification.soc
        self.known = None if request.like else self.known_by_name()
        self.like = self.read_like(request.like or self.namesake())
        self.source = source_name(draft.name, draft.soc)

    def run(self) -> None:
        draft, specification = self.draft, self.specification
        bsp: dict[str, Any] = {}
        draft.keys = {
            "format": FORMAT,
            "board": draft.name,
            "summary": f"{draft.name}, converted from a board of PYNQ's sdbuild",
            "soc": draft.soc.value,
            "memory": format_size(MEMORY[draft.soc]),
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
        hardware = HardwareSource(
            specification=specification.file,
            devicetree=self.source,
            known=self.known,
            like=self.like,
        )
        describe_hardware(draft, hardware, bsp, support.tree)
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

    def known_by_name(self) -> KnownBoard | None:
        """Return the board of Linux and U-Boot with this board's name."""
        known = known_board(self.draft.name)
        return known if known and known.soc is self.draft.soc else None

    def namesake(self) -> str | None:
        """Return the board of this repository with the same name."""
        names = {plain(name): name for name in self.draft.tree.board_files()}
        return names.get(plain(self.draft.name))

    def read_like(self, name: str | None) -> tuple[Path, Board] | None:
        """Return file and content of the board whose hardware description is copied.

        Raises:
            UserError: it has another family, or is invalid.
        """
        if name is None:
            return None
        files = self.draft.tree.board_files()
        reader = Reader()
        board = reader.board(files[name], files)
        reader.raise_problems()
        assert board, "there are no problems"
        if board.soc is not self.draft.soc:
            raise UserError(
                f"--like {name}: its family is {board.soc.value}, that of {self.draft.name} is "
                f"{self.draft.soc.value}"
            )
        self.known = None
        return files[name], board

    def firmware(self, bsp: dict[str, Any]) -> None:
        """Import the hardware export, the BSP, and its content."""
        export = convert_hardware(self.draft)
        petalinux = convert_bsp(self.draft, self.specification, fetch=self.request.fetch)
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
                    "no board boots from the card without firmware/pmufw.elf: take it from the "
                    "board's BSP (pre-built/linux/images), or build it with AMD's tools"
                )
                self.report.add(self.specification.file, Outcome.PERSON, what)

    def provider(self, bsp: dict[str, Any]) -> Provider:
        """Return the provider of the boot files."""
        if self.request.provider:
            return self.request.provider
        started = self.known or self.like or "hardware" in bsp
        return "petalinux" if "petalinux" in bsp and not started else "mainline"

    def select(self, recipes: Sequence[str]) -> None:
        """List the recipes in board.yaml that the profile lacks."""
        files = self.draft.tree.profile_files()
        profiles = read_profiles(Reader(), files[_PROFILE], files) or ()
        there = {name for _, profile in profiles for name in profile.recipes}
        more = [name for name in recipes if name not in there]
        if more:
            self.draft.keys["recipes"] = more

    def rest(self) -> None:
        """Report the files without findings."""
        for path in self.draft.files:
            place = path.relative_to(self.draft.source)
            if place.as_posix() in self.report.files or place.name == self.specification.file.name:
                continue
            name = path.name.lower()
            if name.startswith(_TEXTS) or path.suffix.lower() in _DOCUMENTS:
                self.report.add(path, Outcome.LEFT, "documentation")
            elif place.is_relative_to("petalinux_bsp/hardware_project"):
                self.report.add(path, Outcome.LEFT, "Vivado source of the hardware")
            elif path.suffix == ".spec":
                what = "another board's: write a variant with `extends`"
                self.report.add(path, Outcome.PERSON, what)
            elif name == "selftest.json":
                what = "tests on the board: write those of the hardware as checks in tests/"
                self.report.add(path, Outcome.PERSON, what)
            elif place.parts[0].startswith("petalinux_bsp"):
                what = "sdbuild reads only petalinux_bsp/: copy the file there, and import again"
                self.report.add(path, Outcome.PERSON, what)
            else:
                self.report.add(path, Outcome.PERSON, "not used by the builder")
