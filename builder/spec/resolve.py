# SPDX-License-Identifier: MIT
"""Resolution of a board's specification: all files and settings of one image, validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from builder.errors import UserError
from builder.spec.board_rules import check_board
from builder.spec.distribution import Distribution
from builder.spec.distribution_rules import check_distribution
from builder.spec.document import Document
from builder.spec.local import LocalSettings
from builder.spec.models import Architecture, Board, Bsp, Download, Provider, Scalar
from builder.spec.order import in_order, seeing_the_board
from builder.spec.overlays import Design, board_designs
from builder.spec.profiles import read_profiles
from builder.spec.reader import Reader, SpecTree, closest
from builder.spec.recipe import SECRET, Recipe
from builder.spec.recipe_rules import check_recipe
from builder.spec.values import Layer, missing_values, resolve_parameters


@dataclass(frozen=True, kw_only=True)
class NamedDistribution:
    """A distribution with its name and the user's mirrors for it."""

    name: str
    model: Distribution
    mirrors: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ResolvedRecipe:
    """A recipe with the values of its parameters.

    `origins` has the source of each value: `file:line`, or the option `--set`.
    """

    name: str
    directory: Path
    model: Recipe
    parameters: Mapping[str, Scalar]
    origins: Mapping[str, str] = field(default_factory=dict)

    def public_parameters(self) -> dict[str, Scalar]:
        """Return the values of its parameters with secrets replaced by `SECRET`.

        Empty secrets are not replaced.
        """
        return {
            key: SECRET if value and self.model.parameters[key].secret else value
            for key, value in self.parameters.items()
        }

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
        """Return the requirements (PEP 508) of its lock file for a distribution and architecture."""
        chosen = _targets(distribution, architecture)
        return [each for key in chosen for each in self.model.requirements.get(key, ())]

    def lock_file(self, distribution: NamedDistribution, architecture: Architecture) -> Path | None:
        """Return the lock file of its Python packages, whether it exists or not.

        The lock file of the most specific target applies. Return None if the recipe has no Python
        packages for the distribution and architecture.
        """
        targets = (distribution.name, distribution.model.family, architecture.value, "all")
        for key in targets:
            if key in self.model.pip:
                return self.directory / self.model.pip[key].format(
                    distribution=distribution.name, architecture=architecture.value
                )
        return None


def _targets(distribution: NamedDistribution, architecture: Architecture) -> tuple[str, ...]:
    """Return the keys of all lists that apply to a distribution and an architecture."""
    return ("all", distribution.name, distribution.model.family, architecture.value)


@dataclass(frozen=True, kw_only=True)
class PetaLinuxUse:
    """Settings of PetaLinux.

    Attributes:
        installer: AMD's installer, if the user has one.
        accepted: whether the user accepts AMD's licence, which is required for the installation.
        base: distribution in which PetaLinux runs, if it is not the default of the release.
        offline: whether PetaLinux must not use the network.
    """

    installer: Path | None = None
    accepted: bool = False
    base: str | None = None
    offline: bool = False


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """Specification of one image.

    Attributes:
        name: name of the board.
        document: the board's file, with the location of each value of `board`.
        directories: the directories of the boards that the board extends, the base first, then its
            own.
        hardware: name of the board that has the device tree: this one, or one that it extends.
        tree: the tree of specification files.
        board: the board's model.
        boot_files: prebuilt boot files, if they are not built.
        distributions: the supported distributions, in the order of preference.
        recipes: the recipes, in the order in which they are applied.
        overlays: the board's PL designs that exist.
        petalinux: settings of PetaLinux, for boards that use it.
    """

    name: str
    document: Document
    directories: tuple[Path, ...]
    hardware: str
    tree: SpecTree
    board: Board
    boot_files: Path | Download | None
    distributions: tuple[NamedDistribution, ...]
    recipes: tuple[ResolvedRecipe, ...]
    overlays: tuple[Design, ...] = ()
    petalinux: PetaLinuxUse = PetaLinuxUse()

    @property
    def directory(self) -> Path:
        """The board's own directory; file names in `board` are relative to it, or absolute."""
        return self.directories[-1]

    @property
    def notebooks(self) -> Path | None:
        """The directory of the board's notebooks, if there is one."""
        return self.directory / self.board.notebooks if self.board.notebooks else None

    @property
    def architecture(self) -> Architecture:
        """The architecture of the board's processors."""
        return self.board.soc.architecture

    def unusable(self, distribution: NamedDistribution) -> str | None:
        """Return why the image cannot be built from a distribution; None if it can."""
        for recipe in self.recipes:
            lock = recipe.lock_file(distribution, self.architecture)
            if lock and not lock.is_file():
                # The reason is stored with the selected distribution and shared by checkouts, so
                # paths are relative.
                root = self.tree.root
                named = lock.relative_to(root) if lock.is_relative_to(root) else lock
                return (
                    f"recipe {recipe.name} has no lock file for {distribution.name} on "
                    f"{self.architecture.value}: {named} is missing"
                )
        return None

    @property
    def holds_checks(self) -> bool:
        """Whether the image contains its checks, for the self-test on the board."""
        return any(recipe.model.checks for recipe in self.recipes)

    def boardless(self) -> list[ResolvedRecipe]:
        """Return the recipes that do not read the board, nor require a recipe that does."""
        models = {recipe.name: recipe.model for recipe in self.recipes}
        special = seeing_the_board([*models], models)
        return [recipe for recipe in self.recipes if recipe.name not in special]

    def parameters(self) -> dict[str, dict[str, Scalar]]:
        """Return the parameters of all recipes."""
        return {recipe.name: dict(recipe.parameters) for recipe in self.recipes}


def resolve(
    tree: SpecTree,
    board: str,
    *,
    settings: Sequence[str] = (),
    distro: str | None = None,
    profile: str | None = None,
    boot_files: Path | None = None,
    provider: Provider | None = None,
    petalinux: PetaLinuxUse | None = None,
) -> ImageSpec:
    """Read and validate the specification of a board's image.

    Args:
        tree: the tree of specification files.
        board: the board's name.
        settings: settings `recipe.parameter=value`, which override all files.
        distro: the only distribution to use, instead of the board's list.
        profile: the profile to use, instead of the board's.
        boot_files: prebuilt boot files, instead of the board's `bsp`.
        provider: provider of the boot files, instead of the board's `bsp.provider`.
        petalinux: settings of PetaLinux from the command line, which override the user's settings.

    Raises:
        UserError: there are problems; the details have each one with file, line and key.
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
        raise UserError(
            f"--boot-files are for the provider prebuilt, not for --bsp {provider}",
            hint="omit one of the two options",
        )
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
    """Implementation of `resolve`; collects all problems in the reader."""

    def __init__(
        self,
        tree: SpecTree,
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
        self.given_boot_files = boot_files
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
        self.distribution_files = tree.distribution_files()
        self.recipes: dict[str, Recipe | None] = {}

    def run(self, settings: Sequence[str], distro: str | None) -> ImageSpec | None:
        local = self.reader.local(self.tree.local_file) or LocalSettings()
        board = self.board
        if board is None:
            return None
        check_board(self.reader, self.board_file, board, boot_files=self.given_boot_files)
        overlays = board_designs(self.reader, self.board_file, board)
        petalinux = self.petalinux_use(local)
        distributions = self.distributions(board, local, distro)
        profile_file = self.profile_files.get(board.profile)
        profiles = None
        if profile_file is None:
            known = closest(board.profile, self.profile_files)
            self.add_problem(("profile",), f"there is no profile {board.profile}{known}")
        else:
            profiles = read_profiles(self.reader, profile_file, self.profile_files)
        names: list[str] = []
        for path, profile in profiles or ():
            names += self.known_recipes(path, ("recipes",), profile.recipes)
        names += self.known_recipes(self.board_file, ("recipes",), board.recipes)
        ordered = in_order(self.reader, names, self.recipes, self.recipe_files)
        if profiles is None:
            return None  # the parameters of the profile's recipes are unknown
        # The user's settings apply to all images, so they may name recipes of other images.
        elsewhere = self.recipe_files.keys() - {*ordered}
        own = {name: given for name, given in local.parameters.items() if name not in elsewhere}
        recipes = self.with_parameters(
            ordered,
            [
                *((path, profile.parameters) for path, profile in profiles),
                (self.board_file, board.parameters),
                (self.tree.local_file, own),
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
            boot_files=self.boot_files(board),
            distributions=distributions,
            recipes=recipes,
            overlays=overlays,
            petalinux=petalinux,
        )

    def add_problem(self, where: tuple[str | int, ...], what: str) -> None:
        self.reader.add_problem(self.board_file, where, what)

    def petalinux_use(self, local: LocalSettings) -> PetaLinuxUse:
        """Return the settings of PetaLinux: the command line's override the user's."""
        given, own = self.petalinux, local.petalinux
        known = self.tree.distribution_files()
        if own.base is not None and own.base not in known:
            self.reader.add_problem(
                self.tree.local_file,
                ("petalinux", "base"),
                f"there is no distribution {own.base}{closest(own.base, known)}",
            )
        installer = given.installer or (Path(own.installer) if own.installer else None)
        return replace(given, installer=installer, base=given.base or own.base)

    def boot_files(self, board: Board) -> Path | Download | None:
        """Return the prebuilt boot files, if the board does not build its own."""
        place = board.bsp.boot_files
        if self.given_boot_files or board.bsp.provider != "prebuilt" or place is None:
            return self.given_boot_files
        return self.directory / place.file if place.file else place.download

    def hardware(self, board: Board) -> str:
        """Return the name of the board that has the device tree."""
        if board.devicetree is None:
            return board.board
        return self.document.place(("devicetree",)).path.parent.name

    def distributions(
        self, board: Board, local: LocalSettings, pinned: str | None
    ) -> tuple[NamedDistribution, ...]:
        files = self.distribution_files
        for name in local.mirrors:
            if name not in files:
                self.reader.add_problem(
                    self.tree.local_file,
                    ("mirrors", name),
                    f"there is no distribution {name}{closest(name, files)}",
                )
        if pinned is not None and pinned not in files:
            raise UserError(f"--distro {pinned}: there is none{closest(pinned, files)}")
        found: list[NamedDistribution] = []
        for index, name in enumerate([pinned] if pinned else board.distro):
            if name not in files:
                self.add_problem(
                    ("distro", index), f"there is no distribution {name}{closest(name, files)}"
                )
                continue
            model = self.reader.distribution(files[name])
            if model is None:
                continue
            check_distribution(self.reader, files[name], model)
            if board.soc.architecture not in model.architectures:
                self.add_problem(
                    ("distro", index), f"{name} has no {board.soc.architecture.value} packages"
                )
            mirrors = local.mirrors.get(name, {})
            known = {*model.mirrors}
            known |= {f"{item}-{each.value}" for item in model.mirrors for each in Architecture}
            for archive in mirrors:
                if archive not in known:
                    self.reader.add_problem(
                        self.tree.local_file,
                        ("mirrors", name, archive),
                        f"{name} has no archive {archive}{closest(archive, model.mirrors)}",
                    )
            found.append(NamedDistribution(name=name, model=model, mirrors=mirrors))
        return tuple(found)

    def known_recipes(
        self, path: Path, where: tuple[str | int, ...], names: Sequence[str]
    ) -> list[str]:
        """Read the named recipes and their requirements; return the names that exist."""
        todo = [(path, (*where, index), name) for index, name in enumerate(names)]
        while todo:
            file, key, name = todo.pop()
            if name not in self.recipe_files:
                what = f"there is no recipe {name}{closest(name, self.recipe_files)}"
                self.reader.add_problem(file, key, what)
            elif name not in self.recipes:
                file = self.recipe_files[name]
                recipe = self.recipes[name] = self.reader.recipe(file)
                if recipe:
                    check_recipe(self.reader, file, recipe, self.distribution_files)
                    required = enumerate(recipe.requires)
                    todo += [(file, ("requires", index), each) for index, each in required]
        return [name for name in names if name in self.recipe_files]

    def with_parameters(
        self, names: Sequence[str], layers: Sequence[Layer], settings: Sequence[str]
    ) -> tuple[ResolvedRecipe, ...]:
        """Return the recipes, each with the values of its parameters."""
        recipes = {name: self.recipes[name] for name in names}
        values, origins = resolve_parameters(
            self.reader, recipes, self.recipe_files, layers, settings
        )
        # If there are problems, a missing value may have been set wrongly, and is reported already.
        for name, key, why in [] if self.reader.problems else missing_values(recipes, values):
            self.add_problem(("parameters", name, key), why)
        return tuple(
            ResolvedRecipe(
                name=name,
                directory=self.recipe_files[name].parent,
                model=model,
                parameters=values[name],
                origins=origins[name],
            )
            for name, model in recipes.items()
            if model
        )
