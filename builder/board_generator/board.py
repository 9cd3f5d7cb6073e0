# SPDX-License-Identifier: MIT
"""Generation of a new board's directory, which is written completely or not at all."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jinja2
import yaml

from builder.board_generator.devicetree import Base, board_tree, with_logic
from builder.board_generator.families import PORTING
from builder.board_generator.first_stage import FirstStage, first_stage
from builder.board_generator.logic import Logic, describe
from builder.board_generator.open_questions import checks
from builder.board_generator.peripherals import Chosen, baud_warning, choose
from builder.errors import UserError
from builder.formats.bitstream import loadable
from builder.qemu_devicetree.machine import machine_facts
from builder.spec.models import FORMAT, Board
from builder.spec.reader import Reader, SpecTree, closest
from builder.spec.resolve import resolve
from builder.spec.texts import format_size
from builder.vivado.design import Design, bitstream_of, read_design
from builder.vivado.export import HardwareExport, open_export
from builder.vivado.system import PeripheralKind, System, read_system

_TEMPLATES = Path(__file__).with_name("templates")
_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
_DISTRIBUTIONS: Final = ["debian-bookworm"]
"""Distributions of a new board: those that have been tested."""
OVERLAY: Final = "pl-overlay"
"""Name of the new board's recipe for the device-tree overlay of its programmable logic."""


@dataclass(frozen=True, kw_only=True)
class BoardRequest:
    """Options for a new board.

    Attributes:
        name: name of the board.
        export: the hardware export.
        directory: the board's new directory.
        like: board of which the new one is a variant.
        profile: profile of recipes; None for the default.
        table: board of U-Boot whose start-up table is used.
        console: number of the UART for the console; None selects one.
        card: number of the SD controller for the card; None selects one.
    """

    name: str
    export: Path
    directory: Path
    like: str | None = None
    profile: str | None = None
    table: str | None = None
    console: int | None = None
    card: int | None = None


@dataclass(frozen=True, kw_only=True)
class NewBoard:
    """Result of the generation: the directory, and information for the user."""

    directory: Path
    summary: str
    first_stage: str
    warnings: tuple[str, ...]


@dataclass(kw_only=True)
class _Files:
    """Files of a board: content, or the file to copy, by path."""

    content: dict[str, bytes | Path] = field(default_factory=dict)

    def write(self, directory: Path) -> None:
        for name, content in self.content.items():
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)


def new_board(request: BoardRequest, tree: SpecTree) -> NewBoard:
    """Generate the directory of a new board.

    Nothing is overwritten, and nothing is left behind on errors.

    Raises:
        UserError: the name is in use, or the export is unusable.
    """
    return _Writer(request, tree).write()


class _Writer:
    """State of `new_board`."""

    def __init__(self, request: BoardRequest, tree: SpecTree) -> None:
        self._request = request
        self._tree = tree
        self._check_request()
        self._export: HardwareExport = open_export(request.export)
        self._design: Design = read_design(self._export)
        self._system: System = read_system(self._design)
        self._chosen: Chosen = choose(self._system, console=request.console, card=request.card)
        self._logic: Logic = describe(self._design, enable=with_logic(self._system))
        self._like, self._like_file = self._read_like()
        self._first_stage: FirstStage = first_stage(
            request.name,
            self._export,
            self._design,
            table=request.table,
            like=self._like,
            registers=self._registers(),
        )
        self._bitstream = bitstream_of(self._export)
        self._slug = re.sub(r"[^a-z0-9]+", "-", request.name.lower()).strip("-") or "board"
        # Names of U-Boot's and the kernel's trees begin with the family, so there are no conflicts.
        self._stem = f"{self._slug}-{self._design.soc.value}"
        baud = baud_warning(self._chosen)
        self._warnings: list[str] = [*self._first_stage.warnings, *([baud] if baud else [])]

    def write(self) -> NewBoard:
        files = _Files(content={**self._first_stage.files})
        if self._logic.overlay:
            self._overlay(files)
        base = self._base(files)
        devicetree = f"devicetree/{self._stem}.dts"
        about = (
            f"{self._request.name}: {self._design.part}, {self._system.memory_size >> 20} MB.\n\n"
            f"Generated from the design {self._design.name} of {self._request.export.name}. One "
            "source for the kernel and U-Boot. An export has no information about components "
            "outside of the chip: see README.md."
        )
        if base:
            about += f"\n\nIt is based on the tree of {base.board}, and keeps its model."
        files.content[devicetree] = board_tree(
            self._system,
            self._chosen,
            name=self._request.name,
            model=self._request.name,
            about=about,
            base=base,
        ).encode()
        files.content["board.yaml"] = self._render(
            "board.yaml.j2",
            schema=self._schema("board", "."),
            origin=self._request.export.name,
            body=yaml.safe_dump(self._board(devicetree), sort_keys=False).strip(),
        )
        files.content[f"tests/test_{self._slug.replace('-', '_')}.py"] = self._render(
            "test_board.py.j2",
            name=self._request.name,
            chosen=self._chosen,
            devices=self._devices(),
        )
        files.content["README.md"] = self._readme(devicetree, bitstream=bool(self._bitstream))
        self._write(files)
        return NewBoard(
            directory=self._request.directory,
            summary=self._summary,
            first_stage=self._first_stage.about,
            warnings=tuple(self._warnings),
        )

    @property
    def _summary(self) -> str:
        return f"{self._request.name}, {self._design.part}, {self._system.memory_size >> 20} MB"

    def _check_request(self) -> None:
        request, boards = self._request, self._tree.board_files()
        if not re.fullmatch(_NAME, request.name):
            raise UserError(
                f"{request.name!r} is not a valid name for a board",
                hint="use letters and digits, and . _ + - after the first character",
            )
        if request.name in boards:
            directory = boards[request.name].parent
            raise UserError(f"the board {request.name} already exists: {directory}")
        if request.directory.exists() or request.directory.is_symlink():
            raise UserError(f"{request.directory} already exists; nothing was changed")
        profiles = self._tree.profile_files()
        if request.profile is not None and request.profile not in profiles:
            raise UserError(
                f"--profile {request.profile}: no such profile{closest(request.profile, profiles)}"
            )

    def _read_like(self) -> tuple[Board | None, Path | None]:
        """Return the board of which the new one is a variant, and its file."""
        like, files = self._request.like, self._tree.board_files()
        if like is None:
            return None, None
        if like not in files:
            raise UserError(f"--like {like}: no such board{closest(like, files)}")
        reader = Reader()
        board = reader.board(files[like], files)
        reader.raise_problems()
        assert board, "there are no problems"
        if board.soc is not self._design.soc:
            raise UserError(
                f"--like {like}: its family is {board.soc.value}, the export's is "
                f"{self._design.soc.value}"
            )
        return board, files[like]

    def _base(self, files: _Files) -> Base | None:
        """Copy the other board's device tree, for inclusion in the new one's."""
        if not (self._like and self._like.devicetree and self._like_file):
            return None
        source = self._like_file.parent / self._like.devicetree
        for path in sorted(source.parent.glob("*.dts*")):
            if path != source:
                files.content[f"devicetree/{path.name}"] = path
        # Rename it to .dtsi: a directory has a single .dts, the board's.
        include = f"{source.stem}.dtsi"
        if (source.parent / include).exists():
            include = f"{source.stem}-board.dtsi"
        files.content[f"devicetree/{include}"] = source
        return Base(include=include, source=source.read_text(), board=self._like.board)

    def _registers(self) -> Iterator[Path]:
        """Yield the start-up tables of existing boards, that of the board of `like` first."""
        files = self._tree.board_files()
        names = [name for name in files if name != self._request.like]
        for name in [*([self._request.like] if self._request.like else []), *names]:
            yield from sorted(files[name].parent.glob("ps7/*.registers.yaml"))

    def _board(self, devicetree: str) -> dict[str, Any]:
        """Return the content of board.yaml; with `like`, only the differences."""
        request, system, chosen = self._request, self._system, self._chosen
        facts: dict[str, Any] = {
            "soc": self._design.soc.value,
            "memory": format_size(system.memory_size),
            "console": chosen.kernel_console,
            "root-device": "/dev/mmcblk0p2",
        }
        bsp = dict(self._first_stage.bsp)
        if self._design.soc.value == "zynqmp" and not self._like:
            bsp["firmware"] = {
                "pmu": {"file": "firmware/pmufw.elf", "optional": True},
                "pmu-configuration": {"file": "firmware/pm_cfg_obj.c", "optional": True},
            }
        profile = {"profile": request.profile} if request.profile else {}
        recipes = [OVERLAY] if self._logic.overlay else []
        if self._like:
            same = self._like.model_dump(mode="json", by_alias=True)
            same["memory"] = format_size(self._like.memory)
            own = {key: value for key, value in facts.items() if same[key] != value}
            return {
                "format": FORMAT,
                "board": request.name,
                "extends": self._like.board,
                "summary": self._summary,
                **own,
                "devicetree": devicetree,
                "bsp": self._over(bsp),
                **profile,
                **({"recipes+": recipes} if recipes else {}),
            }
        return {
            "format": FORMAT,
            "board": request.name,
            "summary": self._summary,
            **facts,
            "devicetree": devicetree,
            "bsp": bsp,
            "distro": _DISTRIBUTIONS,
            **(profile or {"profile": "pynq"}),
            **({"recipes": recipes} if recipes else {}),
        }

    def _over(self, bsp: dict[str, Any]) -> dict[str, Any]:
        """Return `bsp` with None for keys of the base board that must not be inherited."""
        assert self._like
        table = self._like.bsp.start_up_table
        own = bsp.get("start-up-table")
        hardware = {"optional": False, **bsp["hardware"]}
        if own is None:
            return {**bsp, "hardware": hardware, **({"start-up-table": None} if table else {})}
        given = {"registers": table.registers, "u-boot": table.u_boot} if table else {}
        away = {key: None for key, value in given.items() if value and key not in own}
        if table and table.parameters and "parameters" not in own:
            away["parameters"] = None
        return {**bsp, "hardware": hardware, "start-up-table": {**own, **away}}

    def _devices(self) -> list[tuple[str, str]]:
        """Return devices of the board that QEMU emulates, by sysfs name, with their drivers."""
        facts, chosen = machine_facts(self._design.soc), self._chosen
        named = (
            (facts.serial[chosen.console.number], "xuartps"),
            (facts.sd[chosen.card.number], "sdhci-arasan"),
            (facts.nic[chosen.network.number if chosen.network else 0], "macb"),
            (PORTING[self._design.soc].fabric, "uio_pdrv_genirq"),
        )
        return [(".".join(reversed(node.split("@"))), driver) for node, driver in named]

    def _overlay(self, files: _Files) -> None:
        name, folder = self._request.name, f"recipes/{OVERLAY}"
        made = {
            "recipe.yaml": "recipe.yaml.j2",
            "scripts/host.sh": "host.sh.j2",
            "scripts/target.sh": "target.sh.j2",
            "files/pl-overlay": "pl-overlay.j2",
            "files/pl-overlay.service": "pl-overlay.service.j2",
            "firmware/README": "firmware-README.j2",
            "test_pl_overlay.py": "test_pl_overlay.py.j2",
        }
        nodes = re.findall(r"(?<=: )[\w-]+@[0-9a-f]+(?= \{)", self._logic.overlay)
        for path, template in made.items():
            files.content[f"{folder}/{path}"] = self._render(
                f"pl-overlay/{template}",
                name=name,
                schema=self._schema("recipe", folder),
                nodes=nodes,
            )
        files.content[f"{folder}/{name}.dtso"] = (
            "// SPDX-License-Identifier: GPL-2.0-or-later OR MIT\n"
            f"// The blocks of the design {self._design.name} that the processing system sees.\n"
            f"{self._logic.overlay}"
        ).encode()
        if self._bitstream:
            origin = f"{self._export.path}: {self._bitstream}"
            bits = loadable(self._export.read(self._bitstream), origin=origin)
            files.content[f"{folder}/firmware/{name}.bin"] = bits

    def _readme(self, devicetree: str, *, bitstream: bool) -> bytes:
        family, chosen = PORTING[self._design.soc], self._chosen
        shown = [
            each
            for each in self._system.peripherals
            if each not in (chosen.console, chosen.card, chosen.network)
        ]
        known = [
            each
            for each in shown
            if family.label(each)
            or each.kind in (PeripheralKind.GPIO, PeripheralKind.TIMER, PeripheralKind.WATCHDOG)
        ]
        # Relative to the repository, where users type the README's commands.
        place = os.path.relpath(self._request.directory.parent, self._tree.root)
        outside = self._request.directory.parent != self._tree.root / "boards"
        return self._render(
            "README.md.j2",
            name=self._request.name,
            origin=self._request.export.name,
            design=self._design,
            like=self._request.like,
            options=f" --boards-dir {shlex.quote(place)}" if outside else "",
            warnings=self._warnings,
            memory=f"{self._system.memory_size >> 20} MB",
            system=self._system,
            chosen=chosen,
            first_stage=self._first_stage.about,
            others=known,
            undescribed=[each for each in shown if each not in known],
            devicetree=devicetree,
            checks=checks(self._system, chosen, like=self._request.like),
            logic=self._logic,
            overlay=self._logic.overlay,
            bitstream=bitstream,
        )

    def _schema(self, kind: str, folder: str) -> str:
        schema = self._tree.root / f"docs/schemas/{kind}.schema.json"
        return os.path.relpath(schema, self._request.directory / folder)

    def _render(self, template: str, **names: Any) -> bytes:
        environment = jinja2.Environment(  # noqa: S701 - no template is HTML
            loader=jinja2.FileSystemLoader(_TEMPLATES),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
        )
        return environment.get_template(template).render(names).encode()

    def _write(self, files: _Files) -> None:
        """Write the files to a temporary directory, validate them, and rename it."""
        target = self._request.directory
        with (
            _directory(target.parent),
            tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as aside,
        ):
            written = Path(aside) / target.name
            written.mkdir()
            files.write(written)
            folders = (*self._tree.boards_dirs, Path(aside))
            resolve(SpecTree(root=self._tree.root, boards_dirs=folders), self._request.name)
            try:
                written.rename(target)
            except OSError as error:
                raise UserError(f"{target}: {error.strerror}; nothing was changed") from error


@contextmanager
def _directory(path: Path) -> Iterator[None]:
    """Create a directory if necessary; remove it if the body fails."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    try:
        yield
    except BaseException:
        for each in missing:
            with suppress(OSError):  # another process may have created files there
                each.rmdir()
        raise
