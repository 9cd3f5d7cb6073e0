# SPDX-License-Identifier: MIT
"""The steps of the provider `petalinux`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from builder.apt.archive import Archive
from builder.bsp.petalinux.component import (
    DEVICE_TREE,
    KERNEL,
    PROGRAMS,
    ComponentBuild,
    DeviceTreeBuild,
    KernelBuild,
)
from builder.bsp.petalinux.failures import explain
from builder.bsp.petalinux.layer import UserLayer
from builder.bsp.petalinux.modules import PARTS, ModulesBuild
from builder.bsp.petalinux.package import PetaLinuxBoot
from builder.bsp.petalinux.project import PetaLinuxProject
from builder.bsp.petalinux.releases import Release
from builder.bsp.petalinux.system import System
from builder.bsp.petalinux.tool import PetaLinuxTool, find_installer
from builder.bsp.prebuilt.prebuilt import artifacts_from
from builder.bsp.provider import BootArtifacts
from builder.errors import UserError
from builder.spec.distributions import named_distribution
from builder.spec.resolve import ImageSpec, NamedDistribution
from builder.steps.sources import UrlSource
from builder.store.checksum import sha256
from builder.store.digests import Read


def boot_artifacts(spec: ImageSpec, archive: Archive, read: Read = sha256) -> BootArtifacts:
    """Return the steps that build a board's boot files with PetaLinux.

    Raises:
        UserError: no installer is configured, or it cannot be used.
    """
    soc, bsp, use = spec.board.soc, spec.board.bsp, spec.petalinux
    installer = find_installer(use.installer, bsp.petalinux.release, read)
    release = installer.release
    tool = PetaLinuxTool(
        installer,
        System(
            release=release,
            bases=_bases(spec, release),
            folder=spec.tree.root / "docker/petalinux",
            shared_by=installer.name,
            offline=use.offline,
            explain=explain,
        ),
        soc=soc,
        accepted=use.accepted,
    )
    hardware = spec.directory / bsp.hardware.xsa if bsp.hardware else None
    project = PetaLinuxProject(
        spec.name,
        tool=tool,
        bsp=_bsp(spec),
        hardware=hardware if hardware and hardware.is_file() else None,
        root_device=spec.board.root_device,
        read=read,
    )
    kernel = KernelBuild(spec.name, project=project, layer=_layer(spec, KERNEL.parts))
    bitstream = bsp.petalinux.bitstream
    boot = PetaLinuxBoot(
        spec.name,
        project=project,
        builds=_component_builds(spec, project, kernel),
        bitstream=spec.directory / bitstream if bitstream else None,
        epoch=archive.epoch,
    )
    modules = ModulesBuild(spec.name, kernel=kernel, layer=_layer(spec, PARTS), epoch=archive.epoch)
    return replace(artifacts_from(boot, spec, archive), more_layers=(modules,))


def _component_builds(
    spec: ImageSpec, project: PetaLinuxProject, kernel: KernelBuild
) -> list[ComponentBuild]:
    """Return the steps that build the components of the boot files."""
    return [
        DeviceTreeBuild(
            spec.name,
            project=project,
            layer=_layer(spec, DEVICE_TREE.parts),
            console=spec.board.console,
            hardware=spec.hardware,
        ),
        kernel,
        *(
            ComponentBuild(spec.name, each, project=project, layer=_layer(spec, each.parts))
            for each in PROGRAMS
            if spec.board.soc in each.outputs
        ),
    ]


def _layer(spec: ImageSpec, parts: Sequence[str]) -> UserLayer:
    return UserLayer.of(spec.board.soc, spec.tree.root, spec.directories, parts=parts)


def _bsp(spec: ImageSpec) -> Path | UrlSource | None:
    bsp = spec.board.bsp.petalinux.bsp
    if bsp is None:
        return None
    if bsp.download:
        return UrlSource("petalinux-bsp", bsp.download, scope=spec.name)
    return spec.directory / (bsp.file or "")


def _bases(spec: ImageSpec, release: Release) -> list[NamedDistribution]:
    """Return the distributions that a release may run in.

    They are the user's choice, or those that the release supports.

    Raises:
        UserError: none of them is defined in the tree.
    """
    names = [spec.petalinux.base] if spec.petalinux.base else release.facts.base
    known = [name for name in names if name in spec.tree.distribution_files()]
    if not known:
        raise UserError(
            f"PetaLinux {release.version} runs in {' or '.join(names)}, which is not defined in "
            "distributions/"
        )
    return [named_distribution(spec.tree, name) for name in known]
