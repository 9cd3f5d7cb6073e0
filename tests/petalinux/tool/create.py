# SPDX-License-Identifier: MIT
"""petalinux-create: a project from a template or from a BSP.

Command line: UG1144, "petalinux-create -t project Options" (2022.1, 2023.1) and "petalinux-create
project Options" (2024.1). Messages: public logs, and scripts/libs/create_component.py of
github.com/Xilinx/PetaLinux. `apps` and `modules` are not modelled.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from tests.petalinux.tool import kconfig, template
from tests.petalinux.tool.talk import Stop
from tests.petalinux.tool.toolbox import Toolbox, Words, renamed

_OLD = {
    f"{option}{kind}": kind
    for kind in ("project", "apps", "modules")
    for option in ("--type ", "--type=", "-t ", "-t")
}


def main(tool: Toolbox, words: Sequence[str]) -> None:
    rest = renamed(tool, "petalinux-create", words, _OLD)
    parser = Words(tool, "petalinux-create")
    parser.add_argument("kind", choices=["project", "apps", "modules"])
    parser.add_argument("-n", "--name", default="")
    parser.add_argument("-s", "--source")
    parser.add_argument("--template", choices=["zynq", "zynqMP", "versal", "microblaze"])
    parser.add_argument("--tmpdir")
    parser.add_argument(*(("-f", "--force") if tool.python else ("--force",)), action="store_true")
    parser.add_argument("-D", "--debug", action="store_true")
    given = parser.read(rest)
    talk = tool.talk
    if given.kind != "project":
        raise talk.stop(f"the double does not model petalinux-create {given.kind}", code=70)
    if given.source and given.template:
        parser.error("--template and --source are mutually exclusive")
    if given.source and not Path(given.source).is_file():
        raise talk.stop(f'BSP file "{Path(given.source).resolve()}" doesnot exists')
    if not given.source and not (given.name and given.template):
        raise talk.stop(
            "Neither target project name nor PetaLinux project source BSP is specified!"
        )
    talk.info(f"Create project: {given.name}")
    if given.source:
        root = _from_bsp(tool, Path(given.source), given.name, force=given.force)
    else:
        root = _room(tool, Path(given.name).resolve(), force=given.force)
        _from_template(tool, root, given.template)
    if given.tmpdir:
        talk.info(f"Project TMPDIR is redirecting to {given.tmpdir}")
        config = root / "project-spec/configs/config"
        values = kconfig.read(config)
        values["CONFIG_TMP_DIR_LOCATION"] = f'"{given.tmpdir}"'
        kconfig.write(config, values)
    where = root if given.name or tool.python else root.parent
    talk.info(f"New project successfully created in {where}")


def _room(tool: Toolbox, root: Path, *, force: bool) -> Path:
    """Make the project's directory; with --force rename an old one."""
    if root.exists():
        if not force:
            raise tool.talk.stop(
                f'Component "{root}" already exists. Use --force option to overwrite'
            )
        tool.talk.warning(f'"{root}" already exists and --force parameter specified, overwriting')
        old = root.with_name(f"{root.name}_old")
        if old.exists():
            shutil.rmtree(old)
        root.rename(old)
    root.mkdir(parents=True)
    return root


def _from_template(tool: Toolbox, root: Path, family: str) -> None:
    if family not in ("zynq", "zynqMP"):
        raise tool.talk.stop(f"the double does not model the template {family}", code=70)
    files = template.files(family, name=root.name, version=tool.version, series=tool.series)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    (root / ".petalinux").mkdir()
    if not tool.python:
        (root / "config.project").write_text("", encoding="utf-8")
        (root / ".petalinux/metadata").write_text(
            f"PETALINUX_VER={tool.version}\n", encoding="utf-8"
        )


def _from_bsp(tool: Toolbox, bsp: Path, name: str, *, force: bool) -> Path:
    """Unpack a BSP: a compressed tar with a project in its one top directory."""
    talk = tool.talk
    try:
        with tarfile.open(bsp) as archive:
            members = archive.getmembers()
            tops = sorted({member.name.split("/")[0] for member in members})
            found = {member.name.rstrip("/") for member in members}
            projects = [top for top in tops if f"{top}/.petalinux" in found]
            if not projects:
                raise talk.stop(f"No PetaLinux projects found in the BSP {bsp.resolve()}")
            if len(projects) > 1:
                raise talk.stop("the double does not model a BSP of several projects", code=70)
            project = projects[0]
            root = _room(tool, Path(name or project).resolve(), force=force)
            for member in members:
                if member.name.startswith(f"{project}/"):
                    member.name = member.name[len(project) + 1 :]
                    archive.extract(member, root)
    except tarfile.TarError as error:
        talk.raw(f"tar: {error}")
        raise talk.stop(f"No PetaLinux projects found in the BSP {bsp.resolve()}") from error
    except OSError as error:
        talk.raw(f"tar: {error}")
        raise Stop(255) from error
    if name:
        return root
    if tool.python:
        talk.info("Project(s):")
        talk.raw(f"\t* {project}")
        talk.info(f"Has been successfully installed to {root.parent}")
    else:
        talk.info("Projects:")
        talk.info(f"\t* {project}")
        talk.info(f"Has been successfully installed to {root.parent}/")
    return root
