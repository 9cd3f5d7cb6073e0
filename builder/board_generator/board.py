# SPDX-License-Identifier: MIT
"""The directory of a new board: all of its files, written aside and put into place in one piece."""

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

from builder.board_generator.devicetree import (
    Base,
    Chosen,
    baud_warning,
    board_tree,
    choose,
    with_logic,
)
from builder.board_generator.families import PORTING
from builder.board_generator.first_stage import FirstStage, first_stage
from builder.board_generator.logic import Logic, describe
from builder.board_generator.open_questions import checks
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
"""Distributions that a new board accepts: those that have been built."""
OVERLAY: Final = "pl-overlay"
"""The new board's recipe with the device tree overlay of its programmable logic."""


@dataclass(frozen=True, kw_only=True)
class BoardRequest:
    """The request for a board `name` in `directory`, from the hardware export `export`.

    like: a board of which it shall be a variant. profile: of recipes; None for the usual one.
    table: a board of U-Boot whose start-up table it has. console, card: numbers of the UART and of
    the SD controller, where there are several.
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
    """A board that was written: its directory, and what its maker has to know."""

    directory: Path
    summary: str
    first_stage: str
    warnings: tuple[str, ...]


@dataclass(kw_only=True)
class _Files:
    """The files of a board: path -> content, or the file that it is copied from."""

    content: dict[str, bytes | Path] = field(default_factory=dict)

    def write(self, directory: Path) -> None:
        for name, content in self.content.items():
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)


def new_board(wish: BoardRequest, tree: SpecTree) -> NewBoard:
    """Write the directory of a new board.

    Nothing is overwritten, and nothing is left behind if something is wrong.

    Raises:
        UserError: the name is taken, the export cannot be used, or a board cannot be made of it.
    """
    return _Writer(wish, tree).write()


class _Writer:
    """The work of `new_board`."""

    def __init__(self, wish: BoardRequest, tree: SpecTree) -> None:
        self._wish = wish
        self._tree = tree
        self._check_wish()
        self._export: HardwareExport = open_export(wish.export)
        self._design: Design = read_design(self._export)
        self._system: System = read_system(self._design)
        self._chosen: Chosen = choose(self._system, console=wish.console, card=wish.card)
        self._logic: Logic = describe(self._design, enable=with_logic(self._system))
        self._like, self._like_file = self._liked()
        self._first_stage: FirstStage = first_stage(
            wish.name,
            self._export,
            self._design,
            table=wish.table,
            like=self._like,
            registers=self._registers(),
        )
        self._bitstream = bitstream_of(self._export)
        self._slug = re.sub(r"[^a-z0-9]+", "-", wish.name.lower()).strip("-") or "board"
        # U-Boot's and the kernel's trees begin with the family: no name of theirs is taken.
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
            f"{self._wish.name}: {self._design.part}, {self._system.memory_size >> 20} MB.\n\n"
            f"Written from the design {self._design.name} of {self._wish.export.name}. One source for "
            "the kernel and for U-Boot. What is outside of the chip is not in an export: see "
            "README.md."
        )
        if base:
            about += f"\n\nIt is built on the tree of {base.board}, whose model it keeps."
        files.content[devicetree] = board_tree(
            self._system,
            self._chosen,
            name=self._wish.name,
            model=self._wish.name,
            about=about,
            base=base,
        ).encode()
        files.content["board.yaml"] = self._render(
            "board.yaml.j2",
            schema=self._schema("board", "."),
            origin=self._wish.export.name,
            body=yaml.safe_dump(self._board(devicetree), sort_keys=False).strip(),
        )
        files.content[f"tests/test_{self._slug.replace('-', '_')}.py"] = self._render(
            "test_board.py.j2", name=self._wish.name, chosen=self._chosen, devices=self._devices()
        )
        files.content["README.md"] = self._readme(devicetree, bitstream=bool(self._bitstream))
        self._place(files)
        return NewBoard(
            directory=self._wish.directory,
            summary=self._summary,
            first_stage=self._first_stage.about,
            warnings=tuple(self._warnings),
        )

    @property
    def _summary(self) -> str:
        return f"{self._wish.name}, {self._design.part}, {self._system.memory_size >> 20} MB"

    def _check_wish(self) -> None:
        wish, boards = self._wish, self._tree.board_files()
        if not re.fullmatch(_NAME, wish.name):
            raise UserError(
                f"{wish.name!r} is no name of a board",
                hint="letters, digits, and . _ + - after the first one",
            )
        if wish.name in boards:
            raise UserError(f"there is a board {wish.name} already: {boards[wish.name].parent}")
        if wish.directory.exists() or wish.directory.is_symlink():
            raise UserError(f"{wish.directory} is there already; nothing was changed")
        profiles = self._tree.profile_files()
        if wish.profile is not None and wish.profile not in profiles:
            raise UserError(
                f"--profile {wish.profile}: there is none{closest(wish.profile, profiles)}"
            )

    def _liked(self) -> tuple[Board | None, Path | None]:
        """Return the board that the new one is to be a variant of, and its file."""
        like, files = self._wish.like, self._tree.board_files()
        if like is None:
            return None, None
        if like not in files:
            raise UserError(f"--like {like}: there is no such board{closest(like, files)}")
        reader = Reader()
        board = reader.board(files[like], files)
        reader.raise_problems()
        assert board, "without problems there is a board"
        if board.soc is not self._design.soc:
            raise UserError(
                f"--like {like}: it is {board.soc.value}, the export {self._design.soc.value}"
            )
        return board, files[like]

    def _base(self, files: _Files) -> Base | None:
        """Copy the other board's device tree, for the new one's to include."""
        if not (self._like and self._like.devicetree and self._like_file):
            return None
        source = self._like_file.parent / self._like.devicetree
        for path in sorted(source.parent.glob("*.dts*")):
            if path != source:
                files.content[f"devicetree/{path.name}"] = path
        # A .dtsi: the folder's one .dts is the board's.
        include = f"{source.stem}.dtsi"
        if (source.parent / include).exists():
            include = f"{source.stem}-board.dtsi"
        files.content[f"devicetree/{include}"] = source
        return Base(include=include, source=source.read_text(), board=self._like.board)

    def _registers(self) -> Iterator[Path]:
        """Yield the start-up tables that boards here have, the one of the liked board first."""
        files = self._tree.board_files()
        names = [name for name in files if name != self._wish.like]
        for name in [*([self._wish.like] if self._wish.like else []), *names]:
            yield from sorted(files[name].parent.glob("ps7/*.registers.yaml"))

    def _board(self, devicetree: str) -> dict[str, Any]:
        """Return board.yaml: all of it, or what is not as in the liked board."""
        wish, system, chosen = self._wish, self._system, self._chosen
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
        profile = {"profile": wish.profile} if wish.profile else {}
        recipes = [OVERLAY] if self._logic.overlay else []
        if self._like:
            same = self._like.model_dump(mode="json", by_alias=True)
            same["memory"] = format_size(self._like.memory)
            own = {key: value for key, value in facts.items() if same[key] != value}
            return {
                "format": FORMAT,
                "board": wish.name,
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
            "board": wish.name,
            "summary": self._summary,
            **facts,
            "devicetree": devicetree,
            "bsp": bsp,
            "distro": _DISTRIBUTIONS,
            **(profile or {"profile": "pynq"}),
            **({"recipes": recipes} if recipes else {}),
        }

    def _over(self, bsp: dict[str, Any]) -> dict[str, Any]:
        """Return `bsp` as it is laid over the liked board's, of which some things are not wanted."""
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
        """Return devices of the board that QEMU has, by their names in sysfs, and their drivers."""
        facts, chosen = machine_facts(self._design.soc), self._chosen
        named = (
            (facts.serial[chosen.console.number], "xuartps"),
            (facts.sd[chosen.card.number], "sdhci-arasan"),
            (facts.nic[chosen.network.number if chosen.network else 0], "macb"),
            (PORTING[self._design.soc].fabric, "uio_pdrv_genirq"),
        )
        return [(".".join(reversed(node.split("@"))), driver) for node, driver in named]

    def _overlay(self, files: _Files) -> None:
        name, folder = self._wish.name, f"recipes/{OVERLAY}"
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
        # From the checkout, where the README's commands are typed.
        place = os.path.relpath(self._wish.directory.parent, self._tree.root)
        outside = self._wish.directory.parent != self._tree.root / "boards"
        return self._render(
            "README.md.j2",
            name=self._wish.name,
            origin=self._wish.export.name,
            design=self._design,
            like=self._wish.like,
            options=f" --boards-dir {shlex.quote(place)}" if outside else "",
            warnings=self._warnings,
            memory=f"{self._system.memory_size >> 20} MB",
            system=self._system,
            chosen=chosen,
            first_stage=self._first_stage.about,
            others=known,
            undescribed=[each for each in shown if each not in known],
            devicetree=devicetree,
            checks=checks(self._system, chosen, like=self._wish.like),
            logic=self._logic,
            overlay=self._logic.overlay,
            bitstream=bitstream,
        )

    def _schema(self, kind: str, folder: str) -> str:
        schema = self._tree.root / f"docs/schemas/{kind}.schema.json"
        return os.path.relpath(schema, self._wish.directory / folder)

    def _render(self, template: str, **names: Any) -> bytes:
        environment = jinja2.Environment(  # noqa: S701 - none of these is HTML
            loader=jinja2.FileSystemLoader(_TEMPLATES),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
        )
        return environment.get_template(template).render(names).encode()

    def _place(self, files: _Files) -> None:
        """Write the files aside, read them as a build would, and move them into place."""
        target = self._wish.directory
        with (
            _directory(target.parent),
            tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as aside,
        ):
            written = Path(aside) / target.name
            written.mkdir()
            files.write(written)
            folders = (*self._tree.boards_dirs, Path(aside))
            resolve(SpecTree(root=self._tree.root, boards_dirs=folders), self._wish.name)
            try:
                written.rename(target)
            except OSError as error:
                raise UserError(f"{target}: {error.strerror}; nothing was changed") from error


@contextmanager
def _directory(path: Path) -> Iterator[None]:
    """Make a directory if need be; it goes again if what is done in it fails."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    try:
        yield
    except BaseException:
        for each in missing:
            with suppress(OSError):  # somebody else may have put something there
                each.rmdir()
        raise
