# SPDX-License-Identifier: MIT
"""petalinux-build: the whole project, a component, or one of its tasks.

Command line: UG1144, "petalinux-build Command Line Options" (2020.2), and scripts/petalinux-build.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Sequence

from tests.petalinux.tool import config, images, project, recipes
from tests.petalinux.tool.bitbake import Bitbake
from tests.petalinux.tool.project import Project
from tests.petalinux.tool.recipes import IMAGE, Recipe
from tests.petalinux.tool.talk import Stop
from tests.petalinux.tool.toolbox import Toolbox, Words

_CLEANING = ("clean", "cleansstate", "cleanall", "distclean", "mrproper")
_TASKS = (
    *_CLEANING,
    *("build", "fetch", "unpack", "patch", "configure", "compile", "install", "deploy"),
    *("package", "populate_sysroot", "listtasks"),
)


def main(tool: Toolbox, words: Sequence[str]) -> None:
    given = _read(tool, words)
    found, talk = project.find(tool, given.project), tool.talk
    found.check_version()
    task = re.sub("^do_", "", given.execute)
    component = given.component or "project"
    if task == "mrproper" and not given.component:
        _mrproper(found)
        return
    found.build.mkdir(exist_ok=True)
    talk.log_to(found.build / "build.log")
    if not tool.python:
        talk.stage("Sourcing buildtools")
    found.check_hardware()
    talk.stage(f"Building {component}")
    try:
        config.settle(found)
        _bitbake(found, given, component, task)
    except Stop as stop:
        if tool.python or stop.code == 70:
            raise
        raise talk.stop(
            f"Failed to build {component}. "
            f"Check the {found.build}/build.log file for more details..."
        ) from None
    if task not in _CLEANING:
        images.tftp(found)
    talk.stage(f"Successfully built {component}")


def _read(tool: Toolbox, words: Sequence[str]) -> argparse.Namespace:
    parser = Words(tool, "petalinux-build")
    parser.add_argument("-p", "--project")
    parser.add_argument("-c", "--component", default="")
    parser.add_argument("-x", "--execute", default="")
    parser.add_argument("-f", "--force", action="store_true")
    parser.add_argument("-s", "--sdk", action="store_true")
    parser.add_argument(*(("-e", "--esdk") if tool.python else ("--esdk",)), action="store_true")
    parser.add_argument(
        *(("-D", "--debug") if tool.python else ("-v", "--verbose")), action="store_true"
    )
    return parser.read(words)


def _bitbake(found: Project, given: argparse.Namespace, component: str, task: str) -> None:
    talk = found.tool.talk
    wanted = _wanted(found, component)
    target = IMAGE if component == "project" else wanted[-1].target
    words = f" -c {task}" if task else ""
    if given.sdk or given.esdk:
        words = " -c do_populate_sdk" + ("_ext" if given.esdk else "")
    if given.force:
        if target == IMAGE:
            raise talk.stop("Force building is not supported for image targets")
        words += " -f"
    talk.info(f"bitbake {target}{words}")
    if task and task not in _TASKS:
        talk.raw(f"ERROR: Task do_{task} does not exist for target {target} (do_{task}).")
        raise talk.stop(f"Command bitbake {target}{words} failed") if found.tool.python else Stop(1)
    bitbake = Bitbake(found)
    try:
        if task in _CLEANING:
            for recipe in wanted:
                bitbake.clean(recipe, task)
            return
        bitbake.run(wanted, force=given.force, task=task)
    except Stop:
        if found.tool.python:
            raise talk.stop(f"Command bitbake {target}{words} failed") from None
        raise
    if given.sdk or given.esdk:
        name = "esdk.sh" if given.esdk else "sdk.sh"
        (found.images / name).write_text("#!/bin/sh\n# the double's SDK\n", encoding="utf-8")
        talk.info("Copying SDK Installer...")


def _wanted(found: Project, component: str) -> list[Recipe]:
    if component == "project":
        return [recipes.RECIPES[name] for name in recipes.whole(found.family)]
    recipe = recipes.resolve(found, component)
    if recipe is None or recipes.skipped(found, component):
        talk = found.tool.talk
        why = recipes.skipped(found, component)
        said = f"\n{component} was skipped: {why}" if why else ""
        talk.raw(f"ERROR: Nothing PROVIDES '{component}'{said}")
        raise talk.stop(f"Command bitbake {component} failed") if found.tool.python else Stop(1)
    return [recipe]


def _mrproper(found: Project) -> None:
    """Remove the build directories, the images and the generated configuration."""
    for place in (
        found.temporary(),
        found.build,
        found.root / "images",
        found.root / "components/plnx_workspace",
    ):
        shutil.rmtree(place, ignore_errors=True)
    for path in (found.spec / "configs").glob("*.conf"):
        path.unlink()
