# SPDX-License-Identifier: MIT
"""Output of a build in `images/linux` and in TMPDIR's deploy directory.

Names: UG1144, "Build Images" and "petalinux-package --boot"; BootFileNames of
scripts/libs/plnx_vars.py. A file of the same name among the artifacts is used unchanged.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from pathlib import Path

from tests.petalinux.tool import containers, hardware, kconfig, rpm
from tests.petalinux.tool.project import Project
from tests.petalinux.tool.recipes import IMAGE

_ZYNQ = {
    "device-tree": ("system.dtb",),
    "fsbl-firmware": ("zynq_fsbl.elf",),
    "u-boot-xlnx": ("u-boot.elf", "u-boot.bin", "u-boot-dtb.elf", "u-boot-dtb.bin"),
    "u-boot-xlnx-scr": ("boot.scr",),
    "linux-xlnx": ("zImage", "uImage", "vmlinux", "image.ub"),
    IMAGE: ("rootfs.tar.gz", "rootfs.cpio.gz", "rootfs.manifest"),
}
_ZYNQMP = {
    **_ZYNQ,
    "fsbl-firmware": ("zynqmp_fsbl.elf",),
    "pmu-firmware": ("pmufw.elf",),
    "arm-trusted-firmware": ("bl31.elf", "bl31.bin"),
    "linux-xlnx": ("Image", "vmlinux", "image.ub"),
}


def names(project: Project, recipe: str) -> tuple[str, ...]:
    table = _ZYNQMP if project.family == "zynqMP" else _ZYNQ
    return table.get(recipe, ())


def deployed(project: Project, recipe: str) -> bool:
    return all((project.images / name).is_file() for name in names(project, recipe))


def deploy(project: Project, recipe: str, tag: str) -> None:
    """Write a recipe's files; `tag` identifies their inputs."""
    project.images.mkdir(parents=True, exist_ok=True)
    deploy_dir = project.temporary() / "deploy"
    machine_dir = deploy_dir / "images" / project.machine
    machine_dir.mkdir(parents=True, exist_ok=True)
    for name in names(project, recipe):
        content = _content(project, name, tag)
        (project.images / name).write_bytes(content)
        (machine_dir / name).write_bytes(content)
    bit = hardware.bitstream(project)
    if recipe == "fsbl-firmware" and bit is not None:
        (project.images / "system.bit").write_bytes(bit.read_bytes())
    if recipe == "linux-xlnx":
        modules = f"modules--{project.tool.kernel_release}-r0-{project.machine}.tgz"
        (machine_dir / modules).write_bytes(_with_modules(project, {}))
    if recipe == "kernel-devsrc":
        rpms = deploy_dir / "rpm" / project.machine.replace("-", "_")
        rpms.mkdir(parents=True, exist_ok=True)
        name = f"kernel-devsrc-1.0-r0.{rpms.name}.rpm"
        headers = project.tool.artifacts() / "kernel-devsrc"
        content = containers.MARK + b"not a real rpm"
        if headers.is_dir():
            content = rpm.package(headers, f"lib/modules/{kernel_release(project)}/build")
        (rpms / name).write_bytes(content)


def remove(project: Project, recipe: str) -> None:
    for name in names(project, recipe):
        (project.images / name).unlink(missing_ok=True)


def is_placeholder(content: bytes) -> bool:
    return containers.MARK in content


def _content(project: Project, name: str, tag: str) -> bytes:
    real = project.tool.artifacts() / name
    if real.is_file():
        return real.read_bytes()
    machine = containers.AARCH64 if project.family == "zynqMP" else containers.ARM
    if name == "pmufw.elf":
        machine = containers.MICROBLAZE
    if name.endswith(".elf") or name == "vmlinux":
        return containers.elf(machine, f"{name} {tag}")
    if name in ("system.dtb", "image.ub"):
        return containers.tree(f"{containers.MARK.decode()}{name}", tag)
    if name == "boot.scr":
        script = containers.MARK + f"{tag}\nbootm image.ub\n".encode()
        return containers.legacy(6, "Boot script", script, architecture=2)
    if name in ("zImage", "uImage", "Image"):
        return containers.kernel(name, tag)
    if name == "rootfs.tar.gz":
        return _with_modules(project, _rootfs(project, tag))
    return containers.MARK + f"{name} {tag}\n".encode()


def kernel_release(project: Project) -> str:
    """Return the release in the kernel's file names."""
    found = sorted(project.tool.artifacts().glob("modules/lib/modules/*"))
    return found[0].name if found else project.tool.kernel_release


def _rootfs(project: Project, tag: str) -> dict[str, bytes]:
    values = kconfig.read(project.config)
    host = kconfig.text(values, "CONFIG_SUBSYSTEM_HOSTNAME")
    packages = kconfig.read(project.spec / "configs/rootfs_config")
    return {
        "etc/hostname": f"{host}\n".encode(),
        "etc/os-release": f"ID=petalinux\nVERSION_ID={project.tool.version}\n# {tag}\n".encode(),
        "etc/double-packages": "\n".join(sorted(packages)).encode(),
    }


def _with_modules(project: Project, files: dict[str, bytes]) -> bytes:
    """Return a .tar.gz of files and the kernel's modules; with headers if the rootfs has them.

    Modules come from the artifact `modules/` (with lib/modules in it) or `modules.tar*`.
    """
    artifacts = project.tool.artifacts()
    packages = kconfig.read(project.spec / "configs/rootfs_config")
    with tempfile.TemporaryDirectory() as scratch:
        root = artifacts / "modules"
        archives = sorted(artifacts.glob("modules.t*"))
        if not root.is_dir() and archives:
            root = Path(scratch)
            with tarfile.open(archives[0]) as archive:
                archive.extractall(root)  # noqa: S202 - a test's own archive
        found = sorted(root.glob("lib/modules/*")) if root.is_dir() else []
        release = found[0].name if found else project.tool.kernel_release
        base = f"lib/modules/{release}"
        trees = {base: found[0]} if found else {}
        contents = dict(files)
        if not found:
            contents[f"{base}/modules.dep"] = b""
            contents[f"{base}/modules.builtin"] = b""
        if files and "CONFIG_kernel-devsrc" in packages:
            headers = artifacts / "kernel-devsrc"
            if headers.is_dir():
                trees[f"{base}/build"] = headers
            else:
                contents[f"{base}/build/Makefile"] = containers.MARK + b"\n"
        return containers.tar_gz(contents, trees)


def tftp(project: Project) -> None:
    """Copy the images to the TFTP directory if it is writable; only print a failure."""
    values, talk = kconfig.read(project.config), project.tool.talk
    if "CONFIG_SUBSYSTEM_COPY_TO_TFTPBOOT" not in values:
        if project.tool.python:
            talk.info("copy to TFTP-boot directory is not enabled")
        return
    folder = Path(kconfig.text(values, "CONFIG_SUBSYSTEM_TFTPBOOT_DIR") or "/tftpboot")
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        talk.info(f"Failed to copy built images to tftp dir: {folder}")
        return
    for path in project.images.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    talk.info(f"Successfully copied built images to tftp dir: {folder}")
