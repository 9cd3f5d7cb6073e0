# SPDX-License-Identifier: MIT
"""The steps of the provider `mainline`."""

from __future__ import annotations

from pathlib import Path

from builder.archive.archive import Archive
from builder.bsp.mainline.boot_files import BootFiles
from builder.bsp.mainline.devicetree import DeviceTree
from builder.bsp.mainline.kernel import Kernel
from builder.bsp.mainline.u_boot import UBoot
from builder.bsp.provider import BootArtifacts
from builder.bsp.soc import FAMILIES
from builder.spec.models import Download
from builder.spec.resolve import ImageSpec
from builder.steps.sources import PackageSource, UrlSource
from builder.steps.step import Step


def boot_artifacts(spec: ImageSpec, archive: Archive) -> BootArtifacts:
    """Return the steps that build a board's kernel, U-Boot, device tree and boot files."""
    board, bsp, tree = spec.board, spec.board.bsp, spec.tree
    family = FAMILIES[board.soc]
    names = archive.distribution.model.sources
    own_kernel = bool(bsp.kernel_fragments or bsp.linux)
    kernel = Kernel(
        family,
        source=_source("linux-source", bsp.linux, archive, names.linux, binary=True),
        fragments=family.fragments(tree.root),
        board_fragments=[spec.directory / name for name in bsp.kernel_fragments],
        scope=spec.name if own_kernel else family.soc.value,
    )
    u_boot = UBoot(
        spec.name,
        spec.directory,
        board.devicetree,
        bsp,
        family=family,
        source=_source("u-boot-source", bsp.u_boot, archive, names.u_boot, binary=False),
        tree=tree,
    )
    device_tree = DeviceTree(
        spec.directory / board.devicetree,
        family=family,
        kernel=kernel,
        tree=tree.root,
        root_device=board.root_device,
        console=board.console,
        memory=board.memory,
        hardware=spec.hardware,
        scope=spec.name,
    )
    boot_files = BootFiles(
        spec.name,
        family=family,
        kernel=kernel,
        device_tree=device_tree,
        u_boot=u_boot,
        boot_bin=_boot_bin(spec, u_boot),
        tree=tree.root,
    )
    return BootArtifacts(boot_files=boot_files, kernel_layer=kernel)


def _boot_bin(spec: ImageSpec, u_boot: UBoot) -> Path | None:
    """Return the board's finished BOOT.BIN, if nothing that comes first is there."""
    name = spec.board.bsp.boot_bin
    return spec.directory / name if name and u_boot.first_stage == "none" else None


def _source(
    name: str, download: Download | None, archive: Archive, package: str, *, binary: bool
) -> Step:
    if download:
        return UrlSource(name, download, scope=archive.distribution.name)
    return PackageSource(name, archive, archive.source(package, binary=binary))
