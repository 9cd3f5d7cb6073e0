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
    board, bsp = spec.board, spec.board.bsp
    assert board.devicetree, "boards without a device tree have another provider"
    family = FAMILIES[board.soc]
    source = spec.directory / board.devicetree
    linux_source = _source(
        "linux-source", bsp.linux, archive, archive.distribution.model.sources.linux, binary=True
    )
    kernel = _kernel(spec, family, linux_source)
    u_boot, boot_bin, notes = _boot_loader(spec, family, archive, board.devicetree)
    device_tree = BoardDeviceTree(
        source,
        family=family,
        kernel=kernel,
        tree=spec.tree.root,
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
        source=source,
        project=spec.tree.root,
    )
    tree_check = TreeCheck(
        spec.name,
        source=board.devicetree,
        device_tree=device_tree,
        bindings=Bindings(
            family, source=linux_source, scope=spec.name if bsp.linux else family.soc.value
        ),
    )
    return BootArtifacts(
        boot_files=boot_files,
        kernel_layer=kernel,
        more_layers=(KernelModules(family, kernel=kernel, project=spec.tree.root),),
        checks=(tree_check,),
        notes=tuple(notes),
    )


def _kernel(spec: ImageSpec, family: Family, source: Step) -> Kernel:
    """Return the step that builds the kernel; boards without own settings share it."""
    bsp = spec.board.bsp
    has_own_kernel = bool(bsp.kernel_fragments or bsp.linux)
    return Kernel(
        family,
        source=source,
        fragments=family.fragments(spec.tree.root),
        board_fragments=[spec.directory / name for name in bsp.kernel_fragments],
        scope=spec.name if has_own_kernel else family.soc.value,
    )


def _boot_loader(
    spec: ImageSpec, family: Family, archive: Archive, devicetree: str
) -> tuple[UBoot, BootBin, list[str]]:
    """Return the steps that build U-Boot and BOOT.BIN, and notes for the user."""
    bsp = spec.board.bsp
    trusted_firmware = _trusted_firmware(family, bsp.trusted_firmware, archive)
    fsbl = _program(spec, "fsbl", bsp.firmware.fsbl)
    pmu_configuration = _program(spec, "pmu-configuration", bsp.firmware.pmu_configuration)
    package = archive.distribution.model.sources.u_boot
    u_boot = UBoot(
        spec.name,
        spec.directory,
        devicetree,
        bsp,
        family=family,
        source=_source("u-boot-source", bsp.u_boot, archive, package, binary=False),
        trusted_firmware=trusted_firmware,
        pmu_configuration=pmu_configuration,
        tree=spec.tree,
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
    notes = []
    if u_boot.is_placeholder:
        notes.append(_placeholder_note(spec, u_boot.first_stage))
    if family.pmu_firmware and not pmu and not finished:
        notes.append(_pmu_note(spec, bsp.firmware.pmu))
    if family.pmu_firmware and pmu and not fsbl and not pmu_configuration:
        notes.append(_pmu_configuration_note(spec, bsp.firmware.pmu_configuration))
    return u_boot, boot_bin, notes


def _placeholder_note(spec: ImageSpec, first_stage: str) -> str:
    """Return the note that a card's first stage is not the board's, with the remedy."""
    hardware = spec.board.bsp.hardware
    remedy = (
        f"put it at {spec.directory / hardware.xsa}"
        if hardware
        else "name it in board.yaml as bsp.hardware.xsa"
    )
    return (
        f"{spec.name}: this card is for QEMU, do NOT expect it to boot a board: its first stage "
        f"has a placeholder, the {first_stage} of another board, whose memory may be set up "
        f"differently. Export the hardware from Vivado (.xsa), {remedy}, and build again"
    )


def _pmu_note(spec: ImageSpec, wanted: FirmwareFile | None) -> str:
    """Return the note that a card boots only QEMU, with the remedy."""
    return (
        f"{spec.name}: this card does NOT boot a board, only QEMU: its BOOT.BIN has no firmware "
        f"for the platform management unit (pmufw.elf). Take it from the board's PetaLinux BSP or "
        f"build it with AMD's tools; {_remedy(spec, 'pmu', wanted)}, and build again"
    )


def _pmu_configuration_note(spec: ImageSpec, wanted: FirmwareFile | None) -> str:
    """Return the note that the PMU firmware may refuse all requests, with the remedy.

    It does so until it has received its configuration object (UG1137, *Initial Configuration at
    Boot*). AMD's FSBL contains the object and passes it on; SPL has only the board's, if any.
    """
    return (
        f"{spec.name}: this card may NOT boot a board: its BOOT.BIN has no configuration object "
        f"(pm_cfg_obj.c) for the firmware of the platform management unit. Firmware that was built "
        f"without the object refuses requests for clocks, power and resets: most peripherals do "
        f"not work. The object is in the board support package of the FSBL; "
        f"{_remedy(spec, 'pmu-configuration', wanted)}, and build again. Firmware with a built-in "
        f"object needs none"
    )


def _remedy(spec: ImageSpec, key: str, wanted: FirmwareFile | None) -> str:
    """Return the instruction for adding a file of `bsp.firmware` to a board."""
    if wanted and wanted.file:
        return f"put it at {spec.directory / wanted.file}"
    return f"name it in {spec.directory / 'board.yaml'}, as bsp.firmware.{key}"


def _program(spec: ImageSpec, name: str, wanted: FirmwareFile | None) -> Program | None:
    """Return a prebuilt program of the board; None if it names none, or the file does not exist."""
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
