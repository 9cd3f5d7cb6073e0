# SPDX-License-Identifier: MIT
"""The steps of the provider `mainline`."""

from __future__ import annotations

from builder.apt.archive import Archive
from builder.bsp.mainline.bindings import Bindings
from builder.bsp.mainline.boot_bin import BootBin
from builder.bsp.mainline.boot_files import BootFiles
from builder.bsp.mainline.devicetree import BoardDeviceTree
from builder.bsp.mainline.kernel import Kernel
from builder.bsp.mainline.modules import KernelModules
from builder.bsp.mainline.tree_check import TreeCheck
from builder.bsp.mainline.trusted_firmware import TrustedFirmware
from builder.bsp.mainline.u_boot import UBoot
from builder.bsp.program import Program
from builder.bsp.provider import BootArtifacts
from builder.bsp.soc import FAMILIES, Family
from builder.spec.models import Download, FirmwareFile
from builder.spec.resolve import ImageSpec
from builder.steps.sources import PackageSource, UrlSource
from builder.steps.step import Step


def boot_artifacts(spec: ImageSpec, archive: Archive) -> BootArtifacts:
    """Return the steps that build a board's kernel, U-Boot, device tree and boot files."""
    board, bsp, tree = spec.board, spec.board.bsp, spec.tree
    assert board.devicetree, "the provider is not chosen without"
    family = FAMILIES[board.soc]
    names = archive.distribution.model.sources
    own_kernel = bool(bsp.kernel_fragments or bsp.linux)
    linux_source = _source("linux-source", bsp.linux, archive, names.linux, binary=True)
    kernel = Kernel(
        family,
        source=linux_source,
        fragments=family.fragments(tree.root),
        board_fragments=[spec.directory / name for name in bsp.kernel_fragments],
        scope=spec.name if own_kernel else family.soc.value,
    )
    trusted_firmware = _trusted_firmware(family, bsp.trusted_firmware, archive)
    fsbl = _program(spec, "fsbl", bsp.firmware.fsbl)
    pmu_configuration = _program(spec, "pmu-configuration", bsp.firmware.pmu_configuration)
    u_boot = UBoot(
        spec.name,
        spec.directory,
        board.devicetree,
        bsp,
        family=family,
        source=_source("u-boot-source", bsp.u_boot, archive, names.u_boot, binary=False),
        trusted_firmware=trusted_firmware,
        pmu_configuration=pmu_configuration,
        tree=tree,
    )
    finished = bsp.boot_bin if not fsbl and u_boot.first_stage == "none" else None
    pmu = None if finished else _program(spec, "pmu", bsp.firmware.pmu)
    boot_bin = BootBin(
        spec.name,
        family=family,
        u_boot=u_boot,
        trusted_firmware=trusted_firmware,
        pmu=pmu,
        fsbl=fsbl,
        finished=spec.directory / finished if finished else None,
    )
    device_tree = BoardDeviceTree(
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
        boot_bin=boot_bin,
        source=spec.directory / board.devicetree,
        project=tree.root,
    )
    tree_check = TreeCheck(
        spec.name,
        source=board.devicetree,
        device_tree=device_tree,
        bindings=Bindings(
            family, source=linux_source, scope=spec.name if bsp.linux else family.soc.value
        ),
    )
    notes = []
    if u_boot.stand_in:
        notes.append(_stand_in(spec, u_boot.first_stage))
    if family.pmu_firmware and not pmu and not finished:
        notes.append(_without_pmu(spec, bsp.firmware.pmu))
    if family.pmu_firmware and pmu and not fsbl and not pmu_configuration:
        notes.append(_without_pmu_configuration(spec, bsp.firmware.pmu_configuration))
    return BootArtifacts(
        boot_files=boot_files,
        kernel_layer=kernel,
        more_layers=(KernelModules(family, kernel=kernel, project=tree.root),),
        checks=(tree_check,),
        notes=tuple(notes),
    )


def _stand_in(spec: ImageSpec, first_stage: str) -> str:
    """Say that a card's first stage is not the board's, and what is to be done about it."""
    hardware = spec.board.bsp.hardware
    name = spec.directory / hardware.xsa if hardware else "an .xsa as bsp.hardware"
    return (
        f"{spec.name}: this card is for QEMU, do NOT expect it to start a board: its first stage has "
        f"the {first_stage}, of another board, whose memory may be set up in another way. Export the "
        f"hardware from Vivado, put it at {name}, and build again"
    )


def _without_pmu(spec: ImageSpec, wanted: FirmwareFile | None) -> str:
    """Say that a card starts no board, and what is to be done about it."""
    return (
        f"{spec.name}: this card does NOT start a board, only QEMU: its BOOT.BIN has no firmware "
        f"for the platform management unit (pmufw.elf). It comes with the board's PetaLinux BSP, "
        f"or out of AMD's tools; {_remedy(spec, 'pmu', wanted)}, and build again"
    )


def _without_pmu_configuration(spec: ImageSpec, wanted: FirmwareFile | None) -> str:
    """Say that the PMU's firmware may refuse all requests, and what is to be done about it.

    It does so until it has got its configuration object (UG1137, *Initial Configuration at Boot*).
    AMD's FSBL has the object inside and hands it over; SPL has what the board gives it.
    """
    return (
        f"{spec.name}: this card may NOT start a board: nothing in its BOOT.BIN gives the firmware "
        f"of the platform management unit its configuration object (pm_cfg_obj.c). Firmware that "
        f"was built without it refuses requests for clocks, power and resets: most peripherals do "
        f"not work. The object is in the board support package of the FSBL; "
        f"{_remedy(spec, 'pmu-configuration', wanted)}, and build again. Firmware that was built "
        f"with the object inside needs none"
    )


def _remedy(spec: ImageSpec, key: str, wanted: FirmwareFile | None) -> str:
    """Return how a board gets a file of its `bsp.firmware`."""
    if wanted and wanted.file:
        return f"put it at {spec.directory / wanted.file}"
    return f"name it in {spec.directory / 'board.yaml'}, as bsp.firmware.{key}"


def _program(spec: ImageSpec, name: str, wanted: FirmwareFile | None) -> Program | None:
    """Return a finished program that the board names; None if it names none, or has it not yet."""
    if wanted is None:
        return None
    if wanted.download:
        return Program(name=name, download=UrlSource(name, wanted.download, scope=spec.name))
    path = spec.directory / (wanted.file or "")
    return Program(name=name, path=path) if path.is_file() else None


def _trusted_firmware(
    family: Family, download: Download | None, archive: Archive
) -> TrustedFirmware | None:
    if family.trusted_firmware is None:
        return None
    package = archive.distribution.model.sources.trusted_firmware
    source = _source("trusted-firmware-source", download, archive, package, binary=False)
    return TrustedFirmware(family, family.trusted_firmware, source=source)


def _source(
    name: str, download: Download | None, archive: Archive, package: str, *, binary: bool
) -> Step:
    if download:
        return UrlSource(name, download, scope=archive.distribution.name)
    return PackageSource(name, archive, archive.source(package, binary=binary))
