# SPDX-License-Identifier: MIT
"""The steps of a customized image: an existing image is the lowest layer of its root filesystem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.apt.archive import Archive
from builder.apt.installed_system import InstalledSystem
from builder.errors import UserError
from builder.image.base_image import BaseFacts, BaseImage
from builder.image.custom_image import CustomImage
from builder.plan.rootfs_steps import checks_layers, recipe_layers
from builder.report.events import Listener, Note
from builder.rootfs.added_packages import AddedPackages
from builder.rootfs.board_view import BoardView
from builder.rootfs.designs import Designs
from builder.rootfs.native.programs import NativePrograms, Rules
from builder.spec.distributions import named_distribution
from builder.spec.extra import ExtraRecipes
from builder.spec.overlays import Design
from builder.spec.reader import SpecTree
from builder.spec.resolve import ImageSpec, NamedDistribution, ResolvedRecipe
from builder.steps.step import Step


@dataclass(frozen=True, kw_only=True)
class Request:
    """The requested changes to an image.

    recipes: Recipes to apply.
    packages: Packages of the distribution to install.
    designs: Designs for the programmable logic.
    boot_files: Files for the boot partition.
    free: Minimum free space of the root filesystem in bytes.
    """

    recipes: ExtraRecipes
    packages: tuple[str, ...] = ()
    designs: tuple[Design, ...] = ()
    boot_files: tuple[Path, ...] = ()
    free: int = 512 << 20


@dataclass(frozen=True, kw_only=True)
class Archives:
    """Functions that return package archives. They are called only if they are needed.

    target: Returns the archive of a distribution for the image's architecture.
    native: Returns the same archive for the host's architecture; None if its programs must not be
        used.
    """

    target: Callable[[NamedDistribution], Archive]
    native: Callable[[Archive], Archive | None]


@dataclass(frozen=True, kw_only=True)
class CustomSteps:
    """The steps of a customized image.

    base: The step that unpacks the existing image.
    facts: The properties of the existing image.
    distribution: The distribution of the image.
    image: The step for the new image.
    packages: The step that installs packages, if any are missing.
    """

    base: BaseImage
    facts: BaseFacts
    distribution: NamedDistribution
    image: CustomImage
    packages: AddedPackages | None


def distribution_of(tree: SpecTree, facts: BaseFacts) -> tuple[NamedDistribution, bool]:
    """Return the distribution of an image, and whether its packages are available.

    They are available if `tree` describes the distribution.

    Raises:
        UserError: The system is neither Debian nor Ubuntu nor derived from one of them.
    """
    release = facts.os
    versions = {release.get("VERSION_ID", ""), release.get("VERSION_CODENAME", "")}
    # PYNQ's os-release has PYNQ's version. apt's list of sources names the Ubuntu release.
    codenames = {release.get("UBUNTU_CODENAME", ""), release.get("VERSION_CODENAME", "")}
    suites = {*codenames, *facts.suites}
    families = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    known = [named_distribution(tree, name) for name in tree.distribution_files()]
    for distribution in known:
        model = distribution.model
        if (model.family in families and model.version in versions) or model.suite in suites:
            return distribution, True
    family = next((name for name in ("ubuntu", "debian") if name in families), None)
    if family is None and release.get("ID") != "pynqlinux":
        name = release.get("PRETTY_NAME") or release.get("ID") or "unknown"
        raise UserError(f"the image's system is {name}, which is neither Debian nor Ubuntu")
    like = next(each.model for each in known if each.model.family == (family or "ubuntu"))
    suite = next(iter(facts.suites), release.get("VERSION_CODENAME", "unknown"))
    version = release.get("VERSION_ID", "")
    model = like.model_copy(update={"suite": suite, "version": version, "python": facts.python})
    return NamedDistribution(name=f"{model.family}-{suite}", model=model, mirrors={}), False


def custom_steps(
    base: BaseImage,
    facts: BaseFacts,
    request: Request,
    *,
    tree: SpecTree,
    spec: ImageSpec | None,
    new_spec: ImageSpec | None = None,
    archives: Archives,
    listener: Listener,
) -> CustomSteps:
    """Return the steps of a customized image.

    Args:
        base: The step that unpacks the existing image.
        facts: The properties of that image.
        request: The requested changes.
        tree: The descriptions of the distributions.
        spec: The specification of the board's image, if the board is known.
        new_spec: The specification of the new image, if its target tests are to be replaced.
        archives: The package archives.
        listener: Receives notes for the user.

    Raises:
        UserError: The image cannot be changed in the requested way.
    """
    recipes = request.recipes.applied
    if spec is None:
        _check_boardless(recipes)
    distribution, available = distribution_of(tree, facts)
    missing = _missing_packages(request, distribution, facts)
    if not available:
        _check_complete(missing, distribution)
    runs_pip = _check_locks(recipes, distribution, facts)
    archive = programs = None
    if available and (missing or runs_pip or any(each.model.scripts.target for each in recipes)):
        archive = archives.target(distribution)
        programs = _native_programs(archive, archives, facts, listener)
    scope = f"{distribution.name}-{facts.architecture.value}-customized"
    layers: list[Step] = [base]
    packages = None
    if missing and archive:
        packages = AddedPackages(
            archive, missing, below=layers, native=programs, epoch=facts.epoch, scope=scope
        )
        layers.append(packages)
    layers = recipe_layers(
        recipes,
        request.recipes.known,
        _board_view(spec),
        below=layers,
        archive=InstalledSystem(distribution, facts.architecture, epoch=facts.epoch),
        native=programs,
        scope=scope,
    )
    if request.designs:
        layers.append(Designs(request.designs, below=layers, epoch=facts.epoch, scope=scope))
    if new_spec:
        layers += checks_layers(new_spec, distribution.name, epoch=facts.epoch, scope=scope)
    return CustomSteps(
        base=base,
        facts=facts,
        distribution=distribution,
        image=CustomImage(
            base, facts, layers=layers, boot_files=request.boot_files, free=request.free
        ),
        packages=packages,
    )


def _check_boardless(recipes: Sequence[ResolvedRecipe]) -> None:
    """Check that no recipe needs the board.

    Raises:
        UserError: A recipe is board-specific.
    """
    for recipe in recipes:
        if recipe.model.board_specific:
            raise UserError(
                f"recipe {recipe.name} is board-specific, and the image does not name its board",
                hint="name the board with --board",
            )


def _missing_packages(
    request: Request, distribution: NamedDistribution, facts: BaseFacts
) -> list[str]:
    """Return the requested packages, and those of the recipes, that are not in the image."""
    wanted = {
        name
        for recipe in request.recipes.applied
        for name in recipe.packages(distribution, facts.architecture)
    }
    return sorted({*wanted, *request.packages} - facts.packages.keys())


def _check_complete(missing: Sequence[str], distribution: NamedDistribution) -> None:
    """Check that no packages are missing in an image without a package archive.

    Raises:
        UserError: Packages are missing.
    """
    if missing:
        raise UserError(
            f"no packages are available for the image's system, {distribution.name}; these are "
            f"missing: {', '.join(missing)}",
            hint="apply only recipes without packages, or add the distribution to distributions/",
        )


def _check_locks(
    recipes: Sequence[ResolvedRecipe], distribution: NamedDistribution, facts: BaseFacts
) -> bool:
    """Return whether any recipe has Python packages.

    Raises:
        UserError: A lock file of a recipe is missing.
    """
    locks = [
        lock
        for recipe in recipes
        if (lock := recipe.lock_file(distribution, facts.architecture)) is not None
    ]
    for lock in locks:
        if not lock.is_file():
            raise UserError(
                f"there is no lock file of Python packages for {distribution.name} on "
                f"{facts.architecture.value}: {lock} is missing"
            )
    return bool(locks)


def _board_view(spec: ImageSpec | None) -> BoardView | None:
    """Return the board as recipes see it; its designs and notebooks are in the image already."""
    if spec is None:
        return None
    return BoardView(
        name=f"{spec.board.board}-customized", board=spec.board, hardware=spec.hardware
    )


def _native_programs(
    archive: Archive, archives: Archives, facts: BaseFacts, listener: Listener
) -> NativePrograms | None:
    """Return the step with the host's programs, if their versions are those in the image."""
    native = archives.native(archive)
    if native is None:
        return None
    names = Rules.read(archive.distribution.model.python).packages
    current = archive.versions(names)
    other = [
        name
        for name in names
        if name in facts.packages and facts.packages[name] != current.get(name)
    ]
    if other:
        listener(
            Note(
                text=f"the image has other versions than {archive.distribution.name} now "
                f"({', '.join(other[:3])}{', ...' if len(other) > 3 else ''}): "
                "its programs run emulated",
                loud=True,
            )
        )
        return None
    return NativePrograms(
        native, archive, scope=f"{archive.distribution.name}-{archive.architecture.value}"
    )
