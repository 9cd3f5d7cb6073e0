# SPDX-License-Identifier: MIT
"""The steps that make an image out of one that is there already, and what is told of the new one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from builder.apt.archive import Archive
from builder.apt.installed_system import InstalledSystem
from builder.errors import UserError
from builder.image.base_image import BaseFacts, BaseImage
from builder.image.custom_image import IMAGE, CustomImage
from builder.plan.plan import Planned
from builder.plan.rootfs_steps import BoardView, checks_layers, recipe_layers
from builder.publish.manifest import python_packages, sources
from builder.publish.output import Output, copy_sparse
from builder.report.events import Listener, Note
from builder.rootfs.added_packages import AddedPackages
from builder.rootfs.designs import Designs
from builder.rootfs.native.programs import NativePrograms, Rules
from builder.spec.distributions import named_distribution
from builder.spec.extra import ExtraRecipes
from builder.spec.models import Board
from builder.spec.overlays import Design
from builder.spec.reader import SpecTree
from builder.spec.resolve import ImageSpec, NamedDistribution
from builder.steps.step import Step
from builder.store.checksum import sha256
from builder.store.files import write_atomically
from builder.store.store import Entry

Manifest = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Request:
    """Changes to be made to an image.

    free: bytes that the root filesystem shall have left.
    """

    recipes: ExtraRecipes
    packages: tuple[str, ...] = ()
    designs: tuple[Design, ...] = ()
    boot_files: tuple[Path, ...] = ()
    free: int = 512 << 20


@dataclass(frozen=True, kw_only=True)
class Archives:
    """The archives of packages, which are asked for only if there is something to install.

    target: for the system's architecture.
    native: the same for this machine's, if its programs may be used.
    """

    target: Callable[[NamedDistribution], Archive]
    native: Callable[[Archive], Archive | None]


@dataclass(frozen=True, kw_only=True)
class CustomSteps:
    """The steps: `image` is the last. `distribution` is the system's."""

    base: BaseImage
    facts: BaseFacts
    distribution: NamedDistribution
    image: CustomImage
    packages: AddedPackages | None


@dataclass(frozen=True, kw_only=True)
class CustomOutput(Output):
    """The output of a customization: the image at `path`, other files beside it and in `directory`."""

    path: Path = field(kw_only=True)

    @property
    def image(self) -> Path:
        """The card image."""
        return self.path

    @property
    def manifest(self) -> Path:
        """The list of the image's content, as JSON."""
        return Path(f"{self.path}.json")


def base_manifest(path: Path, facts: BaseFacts) -> tuple[Manifest, Path] | None:
    """Return the manifest that belongs to an image, and its file; None if there is none.

    It is beside the image, and names its checksum.
    """
    plain = re.sub(r"\.(xz|zst|gz|bz2|zip)$", "", path.name)
    for file in (path.with_name(f"{plain}.json"), path.with_name("manifest.json")):
        try:
            found = json.loads(file.read_text())
            if found["image"]["sha256"] == facts.sha256:
                return found, file
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue
    return None


def distribution_of(tree: SpecTree, facts: BaseFacts) -> tuple[NamedDistribution, bool]:
    """Return a system's distribution, and whether it is one that packages can be had for.

    Raises:
        UserError: it is neither Debian nor Ubuntu, nor made of one of them.
    """
    says = facts.os
    versions = {says.get("VERSION_ID", ""), says.get("VERSION_CODENAME", "")}
    # PYNQ's own os-release has its own version; what it is made of, apt's list of sources tells.
    suites = {says.get("UBUNTU_CODENAME", ""), says.get("VERSION_CODENAME", ""), *facts.suites}
    families = {says.get("ID", ""), *says.get("ID_LIKE", "").split()}
    for name in tree.distribution_files():
        found = named_distribution(tree, name)
        model = found.model
        fits = model.family in families and model.version in versions
        if fits or model.suite in suites:
            return found, True
    family = next((name for name in ("ubuntu", "debian") if name in families), None)
    if family is None and says.get("ID") != "pynqlinux":
        raise UserError(
            f"the image's system is {says.get('PRETTY_NAME') or says.get('ID') or 'not known'}, "
            "which is neither Debian nor Ubuntu"
        )
    like = next(
        each
        for name in tree.distribution_files()
        if (each := named_distribution(tree, name)).model.family == (family or "ubuntu")
    )
    suite = next(iter(facts.suites), says.get("VERSION_CODENAME", "unknown"))
    version = says.get("VERSION_ID", "")
    model = like.model.model_copy(
        update={"suite": suite, "version": version, "python": facts.python}
    )
    return NamedDistribution(name=f"{model.family}-{suite}", model=model, mirrors={}), False


def custom_steps(
    base: BaseImage,
    facts: BaseFacts,
    request: Request,
    *,
    tree: SpecTree,
    board: Board | None,
    hardware: str | None = None,
    becomes: ImageSpec | None = None,
    archives: Archives,
    listener: Listener,
) -> CustomSteps:
    """Return the steps that make the new image.

    Args:
        base: the step that takes the image apart.
        facts: what it found.
        request: what is to be done.
        tree: where distributions are described.
        board: the image's board, if it is known.
        hardware: the board whose device tree that one has, if it is another.
        becomes: what the new image is, if the checks that it holds are to be made anew.
        archives: where packages come from.
        listener: told what is worth knowing.

    Raises:
        UserError: what is asked for cannot be done with this image.
    """
    distribution, known = distribution_of(tree, facts)
    recipes = request.recipes.applied
    for recipe in recipes:
        if recipe.model.board_specific and board is None:
            raise UserError(
                f"recipe {recipe.name} reads the board, and the image does not say which one it is "
                "for",
                hint="name it by --board",
            )
    system = InstalledSystem(distribution, facts.architecture, epoch=facts.epoch)
    wanted = [
        name for recipe in recipes for name in recipe.packages(distribution, facts.architecture)
    ]
    missing = sorted({*wanted, *request.packages} - facts.packages.keys())
    locks = [lock for r in recipes if (lock := r.lock_file(distribution, facts.architecture))]
    for lock in locks:
        if not lock.is_file():
            raise UserError(
                f"there is no lock file of Python packages for {distribution.name} on "
                f"{facts.architecture.value}: {lock} is missing"
            )
    if missing and not known:
        raise UserError(
            f"the image's system is {distribution.name}, for which no packages can be had; these are "
            f"missing: {', '.join(missing)}",
            hint="take recipes without packages, or describe it in distributions/",
        )
    programs: NativePrograms | None = None
    archive: Archive | None = None
    runs = missing or locks or any(recipe.model.scripts.target for recipe in recipes)
    if known and runs:
        archive = archives.target(distribution)
        programs = _native(archive, archives, facts, listener)
    scope = f"{distribution.name}-{facts.architecture.value}-customized"
    layers: list[Step] = [base]
    packages: AddedPackages | None = None
    if missing and archive:
        packages = AddedPackages(
            archive, missing, below=layers, native=programs, epoch=facts.epoch, scope=scope
        )
        layers.append(packages)
    layers = recipe_layers(
        recipes,
        request.recipes.known,
        BoardView(
            name=f"{board.board}-customized" if board else scope,
            board=cast("Board", board),  # without one, no recipe is here that reads it
            hardware=hardware,
        ),
        below=layers,
        archive=system,
        native=programs,
        scope=scope,
    )
    if request.designs:
        layers.append(Designs(request.designs, below=layers, epoch=facts.epoch, scope=scope))
    if becomes:
        layers += checks_layers(becomes, distribution.name, epoch=facts.epoch, scope=scope)
    image = CustomImage(
        base, facts, layers=layers, boot_files=request.boot_files, free=request.free
    )
    return CustomSteps(
        base=base, facts=facts, distribution=distribution, image=image, packages=packages
    )


def _native(
    archive: Archive, archives: Archives, facts: BaseFacts, listener: Listener
) -> NativePrograms | None:
    """Return the step with this machine's programs, if they are of the versions in the image."""
    native = archives.native(archive)
    if native is None:
        return None
    names = Rules.read(archive.distribution.model.python).packages
    now = archive.versions(names)
    other = [
        name for name in names if name in facts.packages and facts.packages[name] != now.get(name)
    ]
    if other:
        listener(
            Note(
                text=f"the image has other versions than {archive.distribution.name} now "
                f"({', '.join(other[:3])}{', ...' if len(other) > 3 else ''}): "
                "what runs in it is emulated",
                loud=True,
            )
        )
        return None
    return NativePrograms(
        native, archive, scope=f"{archive.distribution.name}-{archive.architecture.value}"
    )


def publish_custom(
    output: CustomOutput,
    steps: CustomSteps,
    request: Request,
    *,
    plan: Sequence[Planned],
    entries: Mapping[Step, Entry],
    before: Manifest | None,
) -> None:
    """Put the image where it is wanted, with its checksum, block map and manifest."""
    made = entries[steps.image].files
    facts = json.loads((made / "image.json").read_text())
    for path in (f"{output.image}.bmap", f"{output.image}.sha256", output.manifest):
        Path(path).unlink(missing_ok=True)  # never those of another image
    copy_sparse(made / IMAGE, output.image)
    copy_sparse(made / f"{IMAGE}.bmap", Path(f"{output.image}.bmap"))
    Path(f"{output.image}.sha256").write_text(f"{facts['sha256']}  {output.image.name}\n")
    manifest = _manifest(
        output, facts, steps, request, plan=plan, entries=entries, before=before or {}
    )
    write_atomically(output.manifest, json.dumps(manifest, indent=1) + "\n")
    output.manifest.chmod(0o644)


def _manifest(
    output: CustomOutput,
    facts: Mapping[str, Any],
    steps: CustomSteps,
    request: Request,
    *,
    plan: Sequence[Planned],
    entries: Mapping[Step, Entry],
    before: Manifest,
) -> dict[str, Any]:
    recipes = {recipe.name: recipe.public_parameters() for recipe in request.recipes.applied}
    packages = before.get("packages")
    if steps.packages:
        packages = json.loads((entries[steps.packages].files / "packages.json").read_text())
    base = {
        "file": steps.base.path.name,
        "sha256": steps.facts.sha256,
        "base": before.get("base"),
    }
    old = before.get("sources") or ()
    both = (*(before.get("python-packages") or ()), *python_packages(plan, entries))
    python = {each["package"]: each for each in both}  # the newer one of a name is seen in Python
    # Where the bytes of the base image go says nothing of this one.
    known = {key: value for key, value in before.items() if key != "contents"}
    return {
        **known,
        "board": output.board,
        "image": {"file": output.image.name, **facts},
        "base": {key: value for key, value in base.items() if value},
        "distribution": {
            **before.get("distribution", {}),
            "name": steps.distribution.name,
            "architecture": steps.facts.architecture.value,
        },
        "recipes": {**before.get("recipes", {}), **recipes},
        "packages": packages
        or [{"package": name, "version": v} for name, v in steps.facts.packages.items()],
        "python-packages": [*python.values()],
        "sources": [*old, *(each for each in sources(plan) if each not in old)],
        "applied": {
            "recipes": [*recipes],
            "packages": steps.packages.wanted if steps.packages else [],
            "overlays": {
                design.name: {str(file): sha256(design.directory / file) for file in design.files}
                for design in request.designs
            },
            "boot-files": {path.name: sha256(path) for path in request.boot_files},
        },
        "steps": [
            *before.get("steps", ()),
            *(
                {
                    "name": item.step.name,
                    "fingerprint": entries[item.step].key if item.step in entries else item.key,
                    "seconds": round(entries[item.step].seconds, 1)
                    if item.step in entries
                    else None,
                }
                for item in plan
            ),
        ],
    }
