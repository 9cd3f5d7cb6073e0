# SPDX-License-Identifier: MIT
"""Packages of kernel modules: those of the kernel, and those of recipes that `inherit module`.

Which file goes into which package, and the packages' names: module.bbclass,
kernel-module-split.bbclass and bitbake.conf of OpenEmbedded. Of do_install only lines like
`install -D ... ${S}/FILE ${D}${PLACE}/NAME` are understood.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.petalinux.tool import containers, rpm
from tests.petalinux.tool.project import Project
from tests.petalinux.tool.recipes import Recipe

_PLACES = {
    "base_libdir": "lib",
    "includedir": "usr/include",
    "nonarch_base_libdir": "lib",
    "sysconfdir": "etc",
}
_INSTALL = re.compile(
    r"^\s*install\s.*\$\{S\}/(?P<file>\S+)\s+\$\{D\}(?P<target>\S+)$", re.MULTILINE
)
_FEW = 3


class NotShipped(Exception):
    """A recipe installs files that belong to none of its packages."""

    def __init__(self, files: list[str]) -> None:
        super().__init__(*files)
        self.files = files


def deploy(project: Project, recipe: Recipe, release: str) -> None:
    """Write the packages of a recipe's modules, for a kernel's release."""
    text = recipe.file.read_text(encoding="utf-8").replace("\\\n", " ") if recipe.file else ""
    loaded = _words(text, "KERNEL_MODULE_AUTOLOAD")
    version = recipe.version.replace("-r0", "")
    for name in _names(recipe):
        files = {f"lib/modules/{release}/{_folder(project)}/{name}.ko": _module(project, name)}
        if name in loaded:
            files[f"etc/modules-load.d/{name}.conf"] = f"{name}\n".encode()
        _write(
            project, f"kernel-module-{name.replace('_', '-').lower()}-{release}-{version}", files
        )
    own, headers = {}, {}
    shipped = [_filled(word).strip("/") for word in _words(text, "FILES:${PN}")]
    lost = []
    for name, content in _installed(recipe, text):
        if name.startswith("usr/include/"):
            headers[name] = content
        elif any(name.startswith(place) for place in shipped):
            own[name] = content
        else:
            lost.append(f"/{name}")
    if lost:
        raise NotShipped(lost)
    _write(project, f"{recipe.name}-{version}", own)  # ALLOW_EMPTY
    if headers:
        _write(project, f"{recipe.name}-dev-{version}", headers)


def deploy_kernels(project: Project, release: str) -> None:
    """Write packages of the kernel's own modules: a few of them."""
    root = project.tool.artifacts() / f"modules/lib/modules/{release}"
    found = sorted((root / "kernel").rglob("*.ko"))[:_FEW]
    modules = {path.relative_to(root): path.read_bytes() for path in found}
    for path, content in (modules or {Path("kernel/double.ko"): _placeholder(project)}).items():
        name = f"kernel-module-{path.stem.replace('_', '-').lower()}-{release}-git"
        _write(project, name, {f"lib/modules/{release}/{path}": content})


def _names(recipe: Recipe) -> list[str]:
    if recipe.file is None:
        return [recipe.name]
    made = recipe.file.parent / "files/Makefile"
    text = made.read_text(encoding="utf-8") if made.is_file() else ""
    lines = re.findall(r"^obj-m\s*[:+]?=(.*)$", text, re.MULTILINE)
    return [name for line in lines for name in re.findall(r"([\w-]+)\.o\b", line)]


def _installed(recipe: Recipe, text: str) -> Iterator[tuple[str, bytes]]:
    for found in _INSTALL.finditer(text):
        content = (
            (recipe.file.parent / "files" / found["file"]).read_bytes() if recipe.file else b""
        )
        yield _filled(found["target"]).strip("/"), content


def _filled(text: str) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: f"/{_PLACES.get(found[1], found[0])}", text)


def _words(text: str, variable: str) -> list[str]:
    found = re.findall(rf'^{re.escape(variable)}\s*[:+]?=\s*"([^"]*)"', text, re.MULTILINE)
    return [word for value in found for word in value.split()]


def _folder(project: Project) -> str:
    # INSTALL_MOD_DIR of kbuild, which is another one since Linux 6.3
    version = project.tool.kernel_release.split(".")
    return "updates" if (int(version[0]), int(version[1])) >= (6, 3) else "extra"


def _module(project: Project, name: str) -> bytes:
    real = project.tool.artifacts() / f"recipes-modules/{name}.ko"
    return real.read_bytes() if real.is_file() else _placeholder(project)


def _placeholder(project: Project) -> bytes:
    machine = containers.AARCH64 if project.family == "zynqMP" else containers.ARM
    return containers.elf(machine, "module")


def _write(project: Project, name: str, files: dict[str, bytes]) -> None:
    architecture = project.machine.replace("-", "_")
    folder = project.temporary() / "deploy/rpm" / architecture
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for place, content in files.items():
            path = Path(scratch, place)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (folder / f"{name}-r0.{architecture}.rpm").write_bytes(rpm.package(Path(scratch), ""))
