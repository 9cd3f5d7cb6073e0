# SPDX-License-Identifier: MIT
"""The recipes of the components, their inputs, and the errors of layers.

Names of components: UG1144, "petalinux-build Command Line Options", and MapBuildComp of
scripts/petalinux-build. The inputs of a recipe's hash are the double's own, coarser than bitbake's.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.petalinux.tool import kconfig
from tests.petalinux.tool.project import Project


@dataclass(frozen=True)
class Recipe:
    """A recipe.

    target: bitbake target. version: as in the names of work directories.
    inputs: patterns below meta-user. after: recipes whose output this one needs.
    settings: prefixes of the symbols of configs/config that it depends on.
    module: whether it makes kernel modules. file: the .bb of a user's recipe.
    """

    name: str
    target: str
    version: str
    inputs: tuple[str, ...]
    after: tuple[str, ...] = ()
    hardware: bool = False
    settings: tuple[str, ...] = ()
    tasks: int = 20
    module: bool = False
    file: Path | None = None


IMAGE = "petalinux-image-minimal"

_DT_SETTINGS = tuple(
    f"CONFIG_SUBSYSTEM_{name}"
    for name in (
        "AUTOCONFIG_DEVICE",
        "BOOTARGS",
        "DEVICETREE",
        "DTB",
        "ETHERNET",
        "EXTRA_DT",
        "FPGA_MANAGER",
        "MACHINE_NAME",
        "REMOVE_PL_DTB",
        "SERIAL",
        "USER_CMDLINE",
    )
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "device-tree",
            "virtual/dtb",
            "xilinx+gitAUTOINC+0a1b2c3d4e-r0",
            ("recipes-bsp/device-tree/**/*",),
            hardware=True,
            settings=_DT_SETTINGS,
        ),
        Recipe(
            "fsbl-firmware",
            "virtual/fsbl",
            "git-r0",
            ("recipes-bsp/embeddedsw/**/fsbl*", "recipes-bsp/fsbl*/**/*"),
            hardware=True,
        ),
        Recipe(
            "pmu-firmware",
            "virtual/pmu-firmware",
            "git-r0",
            ("recipes-bsp/embeddedsw/**/pmu*", "recipes-bsp/pmu*/**/*"),
            hardware=True,
        ),
        Recipe(
            "arm-trusted-firmware",
            "virtual/arm-trusted-firmware",
            "git-r0",
            ("recipes-bsp/arm-trusted-firmware/**/*",),
        ),
        Recipe(
            "u-boot-xlnx",
            "virtual/bootloader",
            "git-r0",
            ("recipes-bsp/u-boot/u-boot-xlnx*", "recipes-bsp/u-boot/files/**/*"),
            after=("device-tree",),
            settings=("CONFIG_SUBSYSTEM_UBOOT", "CONFIG_SUBSYSTEM_U__BOOT"),
        ),
        Recipe(
            "u-boot-xlnx-scr",
            "u-boot-xlnx-scr",
            "1.0-r0",
            ("recipes-bsp/u-boot/u-boot-*scr*", "recipes-bsp/u-boot/u-boot-*scr*/**/*"),
            settings=("CONFIG_SUBSYSTEM_BOOTARGS", "CONFIG_SUBSYSTEM_UBOOT"),
        ),
        Recipe(
            "linux-xlnx",
            "virtual/kernel",
            "git-r0",
            ("recipes-kernel/linux/**/*",),
            after=("device-tree",),
            settings=("CONFIG_SUBSYSTEM_ROOTFS", "CONFIG_SUBSYSTEM_UIMAGE"),
            tasks=35,
        ),
        Recipe("kernel-devsrc", "kernel-devsrc", "1.0-r0", (), after=("linux-xlnx",)),
        Recipe("zocl", "zocl", "202410.2.17.0-r0", (), after=("linux-xlnx",), module=True),
        Recipe(
            IMAGE,
            IMAGE,
            "1.0-r0",
            (
                "conf/user-rootfsconfig",
                "recipes-apps/**/*",
                "recipes-core/**/*",
                "recipes-modules/**/*",
            ),
            after=("linux-xlnx", "u-boot-xlnx-scr"),
            settings=("CONFIG_SUBSYSTEM_ROOTFS", "CONFIG_SUBSYSTEM_HOSTNAME"),
            tasks=200,
        ),
    )
}

COMPONENTS = {
    "bootloader": "fsbl-firmware",
    "kernel": "linux-xlnx",
    "u-boot": "u-boot-xlnx",
    "rootfs": IMAGE,
    "pmufw": "pmu-firmware",
    "fsbl": "fsbl-firmware",
}


def whole(family: str) -> list[str]:
    """Return the recipes of a whole build, in the order of execution."""
    names = ["device-tree", "fsbl-firmware"]
    if family == "zynqMP":
        names += ["pmu-firmware", "arm-trusted-firmware"]
    return [*names, "u-boot-xlnx", "u-boot-xlnx-scr", "linux-xlnx", IMAGE]


def resolve(project: Project, component: str) -> Recipe | None:
    """Return a component's recipe; the user's layers may have further components."""
    name = COMPONENTS.get(component, component)
    if name in ("pmu-firmware", "arm-trusted-firmware") and project.family != "zynqMP":
        return None
    if name in RECIPES:
        return RECIPES[name]
    for layer in layers(project):
        for path in layer.glob("recipes-*/*/*.bb"):
            if path.stem.split("_")[0] == name:
                below = f"recipes-*/{path.parent.name}/**/*"
                text = path.read_text(encoding="utf-8")
                module = re.search(r"^inherit .*\bmodule\b", text, re.MULTILINE) is not None
                after = ("linux-xlnx",) if module else ()
                return Recipe(name, name, "1.0-r0", (below,), after, module=module, file=path)
    return None


def skipped(project: Project, component: str) -> str | None:
    """Return why a recipe cannot be built for the machine; None if it can."""
    # COMPATIBLE_MACHINE of recipes-xrt/zocl in meta-xilinx, with XRT of 2024.1 and later
    if component == "zocl" and project.tool.python and project.family != "zynqMP":
        return f"incompatible with machine {project.machine} (not in COMPATIBLE_MACHINE)"
    return None


def layers(project: Project) -> list[Path]:
    """Return meta-user and the layers named by CONFIG_USER_LAYER_n."""
    values = kconfig.read(project.config)
    found = [project.meta_user]
    for name in sorted(values):
        if name.startswith("CONFIG_USER_LAYER_") and kconfig.text(values, name):
            place = kconfig.text(values, name).replace("${PROOT}", str(project.root))
            found.append(Path(place))
    return found


def fingerprint(project: Project, recipe: Recipe) -> str:
    """Return a hash of all inputs of the recipe's output."""
    digest = hashlib.sha256(f"{project.tool.version} {project.machine} {recipe.name}\n".encode())
    values = kconfig.read(project.config)
    for name in sorted(values):
        if recipe.settings and name.startswith(recipe.settings):
            digest.update(f"{name}={values[name]}\n".encode())
    for name in ("conf/petalinuxbsp.conf", "conf/layer.conf"):
        _feed(digest, project.meta_user / name)
    if recipe.name == IMAGE:
        _feed(digest, project.spec / "configs/rootfs_config")
    if recipe.hardware:
        _feed(digest, project.xsa)
    for layer in layers(project):
        for path in _inputs(layer, recipe):
            _feed(digest, path)
    for name in recipe.after:
        digest.update(fingerprint(project, RECIPES[name]).encode())
    for name in sorted(os.environ.get("BB_ENV_PASSTHROUGH_ADDITIONS", "").split()):
        digest.update(f"{name}={os.environ.get(name, '')}\n".encode())
    return digest.hexdigest()


def _inputs(layer: Path, recipe: Recipe) -> list[Path]:
    found = {path for pattern in recipe.inputs for path in layer.glob(pattern) if path.is_file()}
    return sorted(found)


def _feed(digest: hashlib._Hash, path: Path) -> None:
    if path.is_file():
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")


_OLD_OVERRIDE = re.compile(
    r"^\s*([\w\-{}$.]+?_(?:append|prepend|remove)(?:_\w+)?)\s*[:+?]?=", re.MULTILINE
)
_COMPAT = re.compile(r'^LAYERSERIES_COMPAT_([\w\-]+)\s*\??=\s*"([^"]*)"', re.MULTILINE)
_FILE_URI = re.compile(r"file://([^\s;\"'\\]+)")


def complaints(project: Project) -> Iterator[str]:
    """Return bitbake's error message for layers that it cannot parse."""
    found = layers(project)
    missing = [layer for layer in found if not (layer / "conf/layer.conf").is_file()]
    if missing:
        names = " ".join(map(str, missing))
        yield f"The following layer directories do not exist: {names}"
        yield f"Please check BBLAYERS in {project.build}/conf/bblayers.conf"
        return
    for layer in found:
        text = (layer / "conf/layer.conf").read_text(encoding="utf-8")
        for name, series in _COMPAT.findall(text):
            if project.tool.series not in series.split():
                yield (
                    f"Layer {name} is not compatible with the core layer which only supports these "
                    f"series: {project.tool.series} (layer is compatible with {series})"
                )
        for path in sorted(layer.rglob("*")):
            if path.suffix in (".bb", ".bbappend", ".inc", ".conf") and path.is_file():
                text = path.read_text(encoding="utf-8")
                if old := _OLD_OVERRIDE.search(text):
                    line = text.count("\n", 0, old.start(1)) + 1
                    yield (
                        f"ParseError at {path}:{line}: Variable {old[1]} contains an operation "
                        "using the old override syntax. Please convert this layer/metadata before "
                        "attempting to use with a newer bitbake."
                    )


def absent_files(project: Project, recipe: Recipe) -> list[str]:
    """Return the `file://` names of a recipe's appends whose file does not exist."""
    absent = []
    for layer in layers(project):
        for path in _inputs(layer, recipe):
            if path.suffix in (".bb", ".bbappend"):
                text = re.sub(r"^\s*#.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
                for name in _FILE_URI.findall(text):
                    plain = name.split("/")[-1]
                    if "$" not in name and not any(path.parent.rglob(plain)):
                        absent.append(name)
    return absent
