# SPDX-License-Identifier: MIT
"""From a board's name and the user's settings to everything that its image shall hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from builder.errors import UserError
from builder.spec.distribution import Distribution
from builder.spec.document import Document, KeyPath
from builder.spec.local import LocalSettings
from builder.spec.models import (
    Architecture,
    Board,
    Bsp,
    Download,
    Provider,
    Scalar,
    Soc,
)
from builder.spec.order import in_order
from builder.spec.overlays import Design, find_design
from builder.spec.profiles import read_profiles
from builder.spec.reader import Reader, Tree, closest, shown
from builder.spec.recipe import Parameter, Recipe
from builder.spec.recipe_rules import check_recipe
from builder.spec.values import parse, unfit, unset


@dataclass(frozen=True, kw_only=True)
class NamedDistribution:
    """A distribution with its name, and the mirrors that the user set for it."""

    name: str
    model: Distribution
    mirrors: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ResolvedRecipe:
    """A recipe with the values of its parameters.

    `origins` says where each value is from: `file:line`, or the option `--set`.
    """

    name: str
    directory: Path
    model: Recipe
    parameters: Mapping[str, Scalar]
    origins: Mapping[str, str] = field(default_factory=dict)

    def packages(self, distribution: NamedDistribution, architecture: Architecture) -> list[str]:
        """Return the apt packages for a distribution and an architecture."""
        chosen = _targets(distribution, architecture)
        return [package for key in chosen for package in self.model.apt.get(key, ())]

    def sdists(self, distribution: NamedDistribution, architecture: Architecture) -> dict[str, str]:
        """Return the source distributions, with SHA-256, for a distribution and an architecture."""
        chosen = _targets(distribution, architecture)
        return {
            name: checksum
            for key in chosen
            for name, checksum in self.model.sdists.get(key, {}).items()
        }

    def requirements(
        self, distribution: NamedDistribution, architecture: Architecture
    ) -> list[str]:
        """Return what its lock file for a distribution and an architecture is made of (PEP 508)."""
        chosen = _targets(distribution, architecture)
        return [each for key in chosen for each in self.model.requirements.get(key, ())]

    def lock_file(self, distribution: NamedDistribution, architecture: Architecture) -> Path | None:
        """Return the lock file of its Python packages, whether it exists or not.

        It is that of the narrowest target. None: there it has no packages of its own.
        """
        targets = (distribution.name, distribution.model.family, architecture.value, "all")
        for key in targets:
            if key in self.model.pip:
                return self.directory / self.model.pip[key].format(
                    distribution=distribution.name, architecture=architecture.value
                )
        return None


def _targets(distribution: NamedDistribution, architecture: Architecture) -> tuple[str, ...]:
    """Return the keys of all lists that count for a distribution and an architecture."""
    return ("all", distribution.name, distribution.model.family, architecture.value)


@dataclass(frozen=True, kw_only=True)
class PetaLinuxUse:
    """How PetaLinux is to be used on this machine.

    installer: AMD's, as the user gives it; None if he does not.
    accepted: whether he accepts AMD's licence, without which nothing is installed.
    base: distribution that it runs in, if he wants another one than the release's.
    offline: whether it has to do without the network.
    """

    installer: Path | None = None
    accepted: bool = False
    base: str | None = None
    offline: bool = False


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """All that is wanted of one image.

    `document` is the board's file, which knows where each value of `board` is written.
    `directories` are those of the boards that the board extends, the undermost first, then its own.
    `hardware` is the name of the board whose device tree it has: of itself, or of one it extends.
    `boot_files` is where finished ones are, if they are not built.
    `overlays` are the board's designs for the programmable logic that are there.
    `petalinux` is for boards whose boot files PetaLinux builds.
    `recipes` are in the order in which they are applied.
    """

    name: str
    document: Document
    directories: tuple[Path, ...]
    hardware: str
    tree: Tree
    board: Board
    boot_files: Path | Download | None
    distributions: tuple[NamedDistribution, ...]
    recipes: tuple[ResolvedRecipe, ...]
    overlays: tuple[Design, ...] = ()
    petalinux: PetaLinuxUse = PetaLinuxUse()

    @property
    def directory(self) -> Path:
        """The board's own directory; names of files in `board` are relative to it, or absolute."""
        return self.directories[-1]

    @property
    def notebooks(self) -> Path | None:
        """The directory of the board's notebooks, if it has one."""
        return self.directory / self.board.notebooks if self.board.notebooks else None

    @property
    def architecture(self) -> Architecture:
        """The architecture of the board's processors."""
        return self.board.soc.architecture

    def unusable(self, distribution: NamedDistribution) -> str | None:
        """Say why the image cannot be made of a distribution's packages; None if it can."""
        for recipe in self.recipes:
            lock = recipe.lock_file(distribution, self.architecture)
            if lock and not lock.is_file():
                return (
                    f"recipe {recipe.name} has no lock file for {distribution.name} on "
                    f"{self.architecture.value}: {lock} is missing"
                )
        return None

    @property
    def holds_checks(self) -> bool:
        """Whether the board can run its checks on itself."""
        return any(recipe.model.checks for recipe in self.recipes)

    def parameters(self) -> dict[str, dict[str, Scalar]]:
        """Return the parameters of all recipes."""
        return {recipe.name: dict(recipe.parameters) for recipe in self.recipes}


def parse_setting(text: str) -> tuple[str, str, str]:
    """Split `recipe.parameter=value` as `--set` takes it.

    Raises:
        UserError: it has another form.
    """
    name, equals, value = text.partition("=")
    recipe, dot, parameter = name.partition(".")
    if not (equals and dot and recipe and parameter):
        raise UserError(f"--set {text}: must be RECIPE.PARAMETER=VALUE")
    return recipe, parameter, value


def resolve(
    tree: Tree,
    board: str,
    *,
    settings: Sequence[str] = (),
    distro: str | None = None,
    profile: str | None = None,
    boot_files: Path | None = None,
    provider: Provider | None = None,
    petalinux: PetaLinuxUse | None = None,
) -> ImageSpec:
    """Read all that a board's image needs, check it, and return it.

    Args:
        tree: where the files are.
        board: the board's name.
        settings: `recipe.parameter=value` lines, which win over all files.
        distro: the one distribution to use, instead of the board's list.
        profile: the profile to use, instead of the board's.
        boot_files: finished boot files, instead of what the board's `bsp` says.
        provider: who makes the boot files, instead of the board's `bsp.provider`.
        petalinux: what the command line says of PetaLinux; it wins over the user's settings.

    Raises:
        UserError: something is wrong; its details name every problem with file, line and key.
    """
    files = tree.board_files()
    if board not in files:
        raise UserError(f"there is no board {board}{closest(board, files)}")
    if profile is not None and profile not in (known := tree.profile_files()):
        raise UserError(f"--profile {profile}: there is none{closest(profile, known)}")
    reader = Reader()
    if boot_files is not None and not boot_files.exists():
        raise UserError(f"--boot-files {boot_files}: there is no such file or directory")
    if boot_files is not None and provider not in (None, "prebuilt"):
        raise UserError(f"--boot-files are for the provider prebuilt, not for --bsp {provider}")
    resolution = _Resolution(
        tree,
        reader,
        files[board],
        profile=profile,
        boot_files=boot_files,
        provider=provider,
        petalinux=petalinux or PetaLinuxUse(),
    )
    spec = resolution.run(settings, distro)
    reader.raise_problems()
    assert spec is not None, "without problems there is a result"
    return spec


class _Resolution:
    """The work of `resolve`: each method one rule, all problems collected."""

    def __init__(
        self,
        tree: Tree,
        reader: Reader,
        board_file: Path,
        *,
        profile: str | None,
        boot_files: Path | None,
        provider: Provider | None,
        petalinux: PetaLinuxUse,
    ) -> None:
        self.tree = tree
        self.reader = reader
        self.board_file = board_file
        self.directory = board_file.parent
        self.board = reader.board(board_file, tree.board_files())
        self.boot_files: Path | Download | None = boot_files
        if self.board and profile:
            self.board = self.board.model_copy(update={"profile": profile})
        if self.board and boot_files:
            self.board = self.board.model_copy(update={"bsp": Bsp(provider="prebuilt")})
        elif self.board and provider:
            bsp = self.board.bsp.model_copy(update={"provider": provider})
            self.board = self.board.model_copy(update={"bsp": bsp})
        self.petalinux = petalinux
        self.document = reader.document(board_file)
        self.directories = tuple(path.parent for path in (*self.document.bases, board_file))
        self.recipe_files = tree.recipe_files(self.directories)
        self.profile_files = tree.profile_files(self.directories)
        self.recipes: dict[str, Recipe | None] = {}

    def run(self, settings: Sequence[str], distro: str | None) -> ImageSpec | None:
        local = self.reader.local(self.tree.local_file) or LocalSettings()
        board = self.board
        if board is None:
            return None
        self.check_board(board)
        overlays = self.overlays(board)
        petalinux = self.petalinux_use(local)
        distributions = self.distributions(board, local, distro)
        profile_file = self.profile_files.get(board.profile)
        profiles = None
        if profile_file is None:
            known = closest(board.profile, self.profile_files)
            self.complain(("profile",), f"there is no profile {board.profile}{known}")
        else:
            profiles = read_profiles(self.reader, profile_file, self.profile_files)
        names: list[str] = []
        for path, profile in profiles or ():
            names += self.known_recipes(path, ("recipes",), profile.recipes)
        names += self.known_recipes(self.board_file, ("recipes",), board.recipes)
        ordered = in_order(self.reader, names, self.recipes, self.recipe_files)
        if profiles is None:
            return None  # what its recipes would declare is not known
        values, origins = self.parameters(
            ordered,
            [
                *((path, profile.parameters) for path, profile in profiles),
                (self.board_file, board.parameters),
                (self.tree.local_file, local.parameters),
            ],
            settings,
        )
        if self.reader.problems:
            return None
        return ImageSpec(
            name=board.board,
            document=self.document,
            directories=self.directories,
            hardware=self.hardware(board),
            tree=self.tree,
            board=board,
            boot_files=self.boot_files,
            distributions=distributions,
            recipes=tuple(
                ResolvedRecipe(
                    name=name,
                    directory=self.recipe_files[name].parent,
                    model=model,
                    parameters=values[name],
                    origins=origins[name],
                )
                for name in ordered
                if (model := self.recipes[name])
            ),
            overlays=overlays,
            petalinux=petalinux,
        )

    def complain(self, where: tuple[str | int, ...], what: str) -> None:
        self.reader.complain(self.board_file, where, what)

    def check_board(self, board: Board) -> None:
        if board.board != self.directory.name:
            self.complain(("board",), f"must be the directory's name, {self.directory.name}")
        if board.devicetree:
            self.check_file(("devicetree",), board.devicetree)
        match board.bsp.provider:
            case "prebuilt":
                self.check_prebuilt(board)
            case "petalinux":
                self.check_petalinux(board)
            case "mainline":
                self.check_mainline(board)
        card = board.emulate.card
        if card & (card - 1):
            self.complain(("emulate", "card"), "must be a power of two, as QEMU's card readers ask")

    def overlays(self, board: Board) -> tuple[Design, ...]:
        """Return the board's designs that are there, and check that the others may be missing."""
        found: dict[str, Design] = {}
        for index, overlay in enumerate(board.overlays):
            where = ("overlays", index)
            if overlay.name in found:
                other = found[overlay.name].directory
                self.complain(where, f"has the name of another, {overlay.name}: {other}")
                continue
            try:
                found[overlay.name] = find_design(self.directory / overlay.directory)
            except FileNotFoundError as error:
                if not overlay.optional:
                    self.complain(where, f"{error}; say `optional: true` if it may be missing")
        if board.notebooks and not (self.directory / board.notebooks).is_dir():
            self.complain(("notebooks",), f"there is no directory {board.notebooks}")
        return tuple(found.values())

    def check_prebuilt(self, board: Board) -> None:
        """Find the boot files."""
        if self.boot_files:
            return  # of the command line
        place = board.bsp.boot_files
        if place is None:
            self.complain(("bsp",), "the provider prebuilt needs `boot-files`")
        elif place.file:
            self.boot_files = self.directory / place.file
            if not self.boot_files.exists():
                self.complain(
                    ("bsp", "boot-files", "file"),
                    f"there is no file or directory {self.boot_files}",
                )
        else:
            self.boot_files = place.download

    def check_petalinux(self, board: Board) -> None:
        """Check that there is something to make a project from."""
        hardware, petalinux = board.bsp.hardware, board.bsp.petalinux
        exported = hardware and (self.directory / hardware.xsa).is_file()
        if hardware and not hardware.optional:
            self.check_file(("bsp", "hardware", "xsa"), hardware.xsa)
        elif not petalinux.bsp and not exported:
            self.complain(
                ("bsp",), "PetaLinux needs `hardware` with its file, or a BSP in `petalinux.bsp`"
            )
        if petalinux.bsp and petalinux.bsp.file:
            self.check_file(("bsp", "petalinux", "bsp", "file"), petalinux.bsp.file)
        if petalinux.bitstream:
            self.check_file(("bsp", "petalinux", "bitstream"), petalinux.bitstream)

    def petalinux_use(self, local: LocalSettings) -> PetaLinuxUse:
        """Return what the command line says of PetaLinux, else the user's settings."""
        given, own = self.petalinux, local.petalinux
        known = self.tree.distribution_files()
        if own.base is not None and own.base not in known:
            self.reader.complain(
                self.tree.local_file,
                ("petalinux", "base"),
                f"there is no distribution {own.base}{closest(own.base, known)}",
            )
        installer = given.installer or (Path(own.installer) if own.installer else None)
        return replace(given, installer=installer, base=given.base or own.base)

    def check_mainline(self, board: Board) -> None:
        """Check that the files are there which boot files are built from."""
        bsp = board.bsp
        if not board.devicetree:
            self.complain(("devicetree",), "is missing")
        if bsp.boot_files:
            self.complain(("bsp", "boot-files"), "is for `provider: prebuilt`")
        if bsp.hardware and not bsp.hardware.optional:
            self.check_file(("bsp", "hardware", "xsa"), bsp.hardware.xsa)
        if table := bsp.start_up_table:
            if table.registers:
                self.check_file(("bsp", "start-up-table", "registers"), table.registers)
            if table.parameters:
                self.check_file(("bsp", "start-up-table", "parameters"), table.parameters)
        if bsp.boot_bin:
            self.check_file(("bsp", "boot-bin"), bsp.boot_bin)
        for index, fragment in enumerate(bsp.kernel_fragments):
            self.check_file(("bsp", "kernel-fragments", index), fragment)
        self.check_firmware(board)
        exported = bsp.hardware and (self.directory / bsp.hardware.xsa).is_file()
        if not (exported or bsp.firmware.fsbl or bsp.start_up_table or bsp.boot_bin):
            self.complain(
                ("bsp",),
                "the first stage needs `hardware` with its file, `start-up-table` or `boot-bin`",
            )

    def hardware(self, board: Board) -> str:
        """Return the name of the board whose device tree this one has."""
        if board.devicetree is None:
            return board.board
        return self.document.place(("devicetree",)).path.parent.name

    def check_firmware(self, board: Board) -> None:
        """Check what only one of the families has."""
        firmware, table = board.bsp.firmware, board.bsp.start_up_table
        programs = {
            "pmu": firmware.pmu,
            "pmu-configuration": firmware.pmu_configuration,
            "fsbl": firmware.fsbl,
        }
        for key, program in programs.items():
            where = ("bsp", "firmware", key)
            if program is None:
                continue
            if board.soc is not Soc.ZYNQMP:
                self.complain(where, f"is for {Soc.ZYNQMP.value}, this board is {board.soc.value}")
            elif program.file and not program.optional:
                self.check_file((*where, "file"), program.file)
        if table and board.soc is not Soc.ZYNQ:
            for key, name in (("registers", table.registers), ("parameters", table.parameters)):
                if name:
                    self.complain(
                        ("bsp", "start-up-table", key),
                        f"is for {Soc.ZYNQ.value}, this board is {board.soc.value}",
                    )

    def check_file(self, where: tuple[str | int, ...], path: str) -> None:
        if not (self.directory / path).is_file():
            self.complain(where, f"there is no file {self.directory / path}")

    def distributions(
        self, board: Board, local: LocalSettings, pinned: str | None
    ) -> tuple[NamedDistribution, ...]:
        files = self.tree.distribution_files()
        for name in local.mirrors:
            if name not in files:
                self.reader.complain(
                    self.tree.local_file,
                    ("mirrors", name),
                    f"there is no distribution {name}{closest(name, files)}",
                )
        if pinned is not None and pinned not in files:
            raise UserError(f"--distro {pinned}: there is none{closest(pinned, files)}")
        found: list[NamedDistribution] = []
        for index, name in enumerate([pinned] if pinned else board.distro):
            if name not in files:
                self.complain(
                    ("distro", index), f"there is no distribution {name}{closest(name, files)}"
                )
                continue
            model = self.reader.distribution(files[name])
            if model is None:
                continue
            for position, pocket in enumerate(model.pockets):
                if pocket.archive not in model.mirrors:
                    self.reader.complain(
                        files[name],
                        ("pockets", position, "archive"),
                        f"mirrors has no {pocket.archive}{closest(pocket.archive, model.mirrors)}",
                    )
            if board.soc.architecture not in model.architectures:
                self.complain(
                    ("distro", index), f"{name} has no {board.soc.architecture.value} packages"
                )
            mirrors = local.mirrors.get(name, {})
            known = {*model.mirrors}
            known |= {f"{item}-{each.value}" for item in model.mirrors for each in Architecture}
            for archive in mirrors:
                if archive not in known:
                    self.reader.complain(
                        self.tree.local_file,
                        ("mirrors", name, archive),
                        f"{name} has no archive {archive}{closest(archive, model.mirrors)}",
                    )
            found.append(NamedDistribution(name=name, model=model, mirrors=mirrors))
        return tuple(found)

    def known_recipes(
        self, path: Path, where: tuple[str | int, ...], names: Sequence[str]
    ) -> list[str]:
        """Read the named recipes and all that they require; return the names that exist."""
        known: list[str] = []
        for index, name in enumerate(names):
            if name not in self.recipe_files:
                self.reader.complain(
                    path,
                    (*where, index),
                    f"there is no recipe {name}{closest(name, self.recipe_files)}",
                )
                continue
            known.append(name)
            if name in self.recipes:
                continue
            file = self.recipe_files[name]
            recipe = self.recipes[name] = self.reader.recipe(file)
            if recipe:
                check_recipe(self.reader, file, recipe, self.tree.distribution_files())
                self.known_recipes(file, ("requires",), recipe.requires)
        return known

    def parameters(
        self,
        names: Sequence[str],
        layers: Sequence[tuple[Path, Mapping[str, Mapping[str, Scalar]]]],
        settings: Sequence[str],
    ) -> tuple[dict[str, dict[str, Scalar]], dict[str, dict[str, str]]]:
        """Return the value of each parameter, and where it is from.

        Later layers win, and `settings` over all.
        """
        values: dict[str, dict[str, Scalar]] = {}
        origins: dict[str, dict[str, str]] = {}
        declared: dict[str, Mapping[str, Parameter]] = {}
        for name in names:
            recipe = self.recipes.get(name)
            if recipe:
                declared[name] = recipe.parameters
                values[name] = {key: item.default for key, item in recipe.parameters.items()}
                file = self.recipe_files[name]
                origins[name] = {
                    key: self.origin(file, ("parameters", key)) for key in recipe.parameters
                }
        broken = {name for name, recipe in self.recipes.items() if recipe is None}
        for path, layer in layers:
            # A user's own settings are for all images, whatever recipes they have.
            elsewhere = self.recipe_files.keys() - declared if path == self.tree.local_file else ()
            for name, given in layer.items():
                if name in broken or name in elsewhere:
                    continue
                for key, value in given.items():
                    problem = unfit(declared, name, key, value)
                    if problem:
                        self.reader.complain(path, ("parameters", name, key), problem)
                    else:
                        values[name][key] = value
                        origins[name][key] = self.origin(path, ("parameters", name, key))
        for text in settings:
            name, key, raw = parse_setting(text)
            if name in broken:
                continue
            parameter = declared.get(name, {}).get(key)
            parsed = parse(raw, parameter.default) if parameter else raw
            problem = unfit(declared, name, key, parsed)
            if problem:
                raise UserError(f"--set {name}.{key}: {problem}")
            values[name][key] = parsed
            origins[name][key] = "--set"
        # Where there are problems, somebody may have tried.
        for name, key, summary in [] if self.reader.problems else unset(self.recipes, values):
            self.complain(("parameters", name, key), f"must be set: {summary}")
        return values, origins

    def origin(self, path: Path, where: KeyPath) -> str:
        """Return where a value of a file is written."""
        return self.reader.document(path).origin(where)


__all__ = ["ImageSpec", "NamedDistribution", "ResolvedRecipe", "parse_setting", "resolve", "shown"]
