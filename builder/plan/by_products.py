# SPDX-License-Identifier: MIT
"""By-products of a board's build, which can be built without the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from builder.bsp.provider import BootArtifacts
from builder.rootfs.bootstrap import Bootstrap
from builder.rootfs.by_products import DevelopmentPackages, RootArchive, Sysroot
from builder.spec.resolve import ImageSpec
from builder.steps.step import Step


@dataclass(frozen=True, kw_only=True)
class Product:
    """A by-product.

    step: Returns the step for the image's specification, its root filesystem layers and the boot
        artifacts.
    folder: Directory below the board's output directory for the step's output; None for the output
        directory itself.
    """

    step: Callable[[ImageSpec, Sequence[Step], BootArtifacts], Step]
    folder: str | None = None


def _bootstrap(layers: Sequence[Step]) -> Bootstrap:
    bootstrap = layers[0]
    assert isinstance(bootstrap, Bootstrap), "the lowest layer"
    return bootstrap


def _root_archive(spec: ImageSpec, layers: Sequence[Step], _: BootArtifacts) -> Step:
    return RootArchive(spec.name, layers=layers, epoch=_bootstrap(layers).archive.epoch)


def _sysroot(spec: ImageSpec, layers: Sequence[Step], _: BootArtifacts) -> Step:
    bootstrap = _bootstrap(layers)
    development = DevelopmentPackages(bootstrap, spec.board.sysroot, scope=bootstrap.scope)
    return Sysroot(spec.name, development=development, layers=layers)


PRODUCTS: Mapping[str, Product] = {
    "boot-files": Product(step=lambda _, __, boot: boot.boot_files, folder="boot"),
    "kernel": Product(step=lambda _, __, boot: boot.kernel_layer, folder="kernel"),
    "rootfs": Product(step=_root_archive),
    "sysroot": Product(step=_sysroot),
}
"""The by-products by the names that `--only` takes."""
