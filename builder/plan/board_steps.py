# SPDX-License-Identifier: MIT
"""The steps of a board's image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from builder.apt.archive import Archive
from builder.bsp.mainline import mainline
from builder.bsp.petalinux import petalinux
from builder.bsp.prebuilt import prebuilt
from builder.bsp.provider import BootArtifacts
from builder.bsp.tree_checks.step import DesignCheck
from builder.errors import UserError
from builder.image.image import Compressed, Image
from builder.plan.by_products import PRODUCTS
from builder.plan.rootfs_steps import checks_layers, root_layers
from builder.rootfs.board_view import BoardView
from builder.spec.resolve import ImageSpec
from builder.steps.step import Step
from builder.store.checksum import sha256
from builder.store.digests import Read

PROVIDERS: Mapping[str, Callable[[ImageSpec, Archive, Read], BootArtifacts]] = {
    "mainline": lambda spec, archive, _: mainline.boot_artifacts(spec, archive),
    "prebuilt": prebuilt.boot_artifacts,
    "petalinux": petalinux.boot_artifacts,
}
"""The functions that return a board's boot artifacts, by the name in `bsp.provider`."""


@dataclass(frozen=True, kw_only=True)
class BoardSteps:
    """The steps of one board.

    spec: The specification of the image.
    archive: The package archive of its distribution.
    boot: The steps for the boot files and the kernel.
    layers: The steps for the root filesystem, the lowest layer first.
    image: The step for the card image.
    compressed: The step for the compressed image, if it is wanted.
    checks: Steps that compare the boot files and the root filesystem with the board's hardware.
    only: The name of the by-product to build instead of the image.
    product: The step for that by-product.
    """

    spec: ImageSpec
    archive: Archive
    boot: BootArtifacts
    layers: Sequence[Step]
    image: Step
    compressed: Step | None
    checks: Sequence[Step] = ()
    only: str | None = None
    product: Step | None = None

    @property
    def targets(self) -> list[Step]:
        """The steps whose output is the result of the build."""
        if self.product:
            return [self.product]
        return [self.image, *([self.compressed] if self.compressed else [])]

    @property
    def shown(self) -> list[Step]:
        """The steps whose output is published with an image or listed in its manifest."""
        return [] if self.product else [self.boot.boot_files, self.layers[0]]


def board_steps(
    spec: ImageSpec,
    archive: Archive,
    *,
    native: Archive | None = None,
    compress: str | None = None,
    only: str | None = None,
    read: Read = sha256,
) -> BoardSteps:
    """Return the steps of a board's image.

    Args:
        spec: The specification of the image.
        archive: The package archive for the board's architecture.
        native: The archive of the same distribution for the host's architecture. Programs of the
            host's architecture replace emulated ones; with None, all programs are emulated.
        compress: The compression of an additional compressed image.
        only: The name of a by-product to build instead of the image.
        read: Returns the SHA-256 of large files of the user.

    Raises:
        UserError: The distribution cannot be used for this image.
    """
    problem = spec.unusable(archive.distribution)
    if problem:
        raise UserError(
            problem, hint="choose another distribution with --distro or create the lock file"
        )
    layers = root_layers(spec.recipes, archive, _board_view(spec), native=native)
    boot = PROVIDERS[spec.board.bsp.provider](spec, archive, read)
    checks = checks_layers(spec, archive.distribution.name, epoch=archive.epoch, scope=spec.name)
    image = Image(
        spec.name,
        spec.board.partitions,
        layers=[*layers, boot.kernel_layer, *boot.more_layers, *checks],
        boot_files=boot.boot_files,
        board_file=spec.directory / "board.yaml",
        epoch=archive.epoch,
    )
    return BoardSteps(
        spec=spec,
        archive=archive,
        boot=boot,
        layers=layers,
        image=image,
        compressed=Compressed(image, spec.name, compress) if compress else None,
        checks=[]
        if only
        else [*boot.checks, DesignCheck(spec, layers=layers, boot_files=boot.boot_files)],
        only=only,
        product=PRODUCTS[only].step(spec, layers, boot) if only else None,
    )


def _board_view(spec: ImageSpec) -> BoardView:
    """Return the board as board-specific recipes see it.

    Their layers depend on all of it. It has no accepted findings, because changes of these must not
    rebuild layers.
    """
    return BoardView(
        name=spec.name,
        board=spec.board.model_copy(update={"accepted_findings": ()}),
        overlays=spec.overlays,
        notebooks=spec.notebooks,
        hardware=spec.hardware,
    )
