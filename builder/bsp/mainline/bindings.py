# SPDX-License-Identifier: MIT
"""Linux's device tree bindings, and what they say of Linux's own trees for a family's boards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from builder.bsp.soc import Family
from builder.bsp.tree_checks.schema import complaints, relevant
from builder.errors import StepError
from builder.formats.devicetree import DeviceTree, read_tree
from builder.sandbox.process import SEARCH_PATH
from builder.sandbox.workspace import Workspace
from builder.steps.step import Job, Step
from builder.untrusted import tree as foreign

BINDINGS: Final = "bindings.tar"
"""File of the step's output: the bindings, from Documentation/devicetree/bindings on."""
TREES: Final = "trees"
"""Directory of the step's output: Linux's trees for boards of the family, compiled, by name."""
USUAL: Final = "usual.json"
"""File of the step's output: the general form of the complaints about these trees."""

PACKAGES: Final = ("dt-schema", "device-tree-compiler", "cpp")
"""Host packages of the checks; dt-schema (dt-mk-schema, dt-validate) may be missing."""

_FOLDER = "Documentation/devicetree/bindings"
_NEED = 1 << 29
"""Bytes that the package, the bindings and the trees take."""


def installed() -> bool:
    """Return whether this machine has the programs that read bindings."""
    programs = ("dt-mk-schema", "dt-validate")
    return all(shutil.which(each, path=SEARCH_PATH) for each in programs)


class Bindings(Step):
    """`bindings.tar`, `trees/` and `usual.json`."""

    packages = PACKAGES

    def __init__(self, family: Family, *, source: Step, scope: str) -> None:
        super().__init__("bindings", scope=scope, parents={"linux-source": source})
        self.family = family

    def settings(self) -> Mapping[str, object]:
        return {"soc": self.family.soc.value}

    def run(self, job: Job) -> None:
        with job.workspace("bindings", need=_NEED) as workspace:
            source = workspace.directory / "source"
            _unpack(job, workspace, source, arch=self.family.kernel_arch)
            trees = self._trees(job, workspace, source)
            usual = self._usual(job, workspace, source, trees)
            (job.output / USUAL).write_text(json.dumps(sorted(usual), indent=1))
            job.run(
                workspace,
                *("tar", "--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"),
                *("--mtime=@0", "--mode=u=rwX,go=rX"),  # directories get the time of the unpacking
                *("--file", job.output / BINDINGS, "--directory", source, _FOLDER),
            )

    def _trees(self, job: Job, workspace: Workspace, source: Path) -> list[Path]:
        """Compile Linux's trees for boards of the family, those that can be."""
        top = source / f"arch/{self.family.kernel_arch}/boot/dts"
        # Since 6.5 the trees lie in a directory for each maker.
        found = [
            path
            for path, _ in foreign.ForeignTree(workspace.outside(top)).walk()
            if path.endswith(f"/{self.family.dtsi}")
        ]
        if not found:
            raise StepError(f"these kernel sources have no {self.family.dtsi}")
        folder = (top / found[0].lstrip("/")).parent
        flat, output = workspace.directory / "flat.dts", job.output / TREES
        output.mkdir()
        for path in map(
            PurePosixPath, foreign.ForeignTree(workspace.outside(folder)).glob("*zynq*.dts")
        ):
            target = output / f"{path.stem}.dtb"
            try:
                job.run(
                    workspace,
                    *("cpp", "-nostdinc", "-undef", "-D__DTS__", "-x", "assembler-with-cpp"),
                    *("-I", folder, "-I", source / "include", folder / path.name, "-o", flat),
                )
                job.run(
                    workspace,
                    *("dtc", "-q", "-@", "-i", folder, "-I", "dts", "-O", "dtb"),
                    *("-o", target, flat),
                )
            except StepError as error:
                if job.tools.processes.stopped:
                    raise
                job.say(f"not compared with: {path.name}: {error.message}")
        return sorted(output.iterdir())

    @staticmethod
    def _usual(job: Job, workspace: Workspace, source: Path, trees: Sequence[Path]) -> set[str]:
        try:
            said = judged(job, workspace, source, trees)
        except NotJudgedError as error:
            job.say(str(error))
            return set()
        return {each.general for each in complaints(said)}


class NotJudgedError(Exception):
    """Trees could not be compared with the bindings; the text says why."""


def judged(job: Job, workspace: Workspace, source: Path, trees: Sequence[Path]) -> str:
    """Return what dt-validate says of compiled trees, by the bindings below `source`.

    Raises:
        NotJudgedError: dt-validate is not installed, or cannot do it, as versions before 2022.3.
    """
    if not installed():
        raise NotJudgedError("dt-validate is not installed")
    try:
        schema = _prepared(job, workspace, source, [read_tree(path) for path in trees])
        return _validated(job, workspace, schema, trees)
    except StepError as error:
        if job.tools.processes.stopped:
            raise
        details = [error.message, *error.details][-1]
        raise NotJudgedError(f"dt-validate cannot do it: {details}") from error


def _prepared(job: Job, workspace: Workspace, source: Path, trees: Sequence[DeviceTree]) -> Path:
    """Make one file of the bindings below `source` that say something of trees."""
    folder = workspace.outside(source / _FOLDER)
    texts = {
        path.relative_to(folder).as_posix(): path.read_text(errors="replace")
        for path in folder.rglob("*.yaml")
    }
    chosen = relevant(texts, trees)
    job.say(f"{len(chosen)} of {len(texts)} bindings are about these trees")
    listed = workspace.directory / "bindings.list"
    workspace.outside(listed).write_text("".join(f"{source / _FOLDER / each}\n" for each in chosen))
    schema = workspace.directory / "schema.json"
    job.run(workspace, "dt-mk-schema", "--json", "--outfile", schema, f"@{listed}")
    return schema


def _validated(job: Job, workspace: Workspace, schema: Path, trees: Sequence[Path]) -> str:
    # The exit code does not tell complaints from failures.
    said = job.run(
        workspace,
        *("sh", "-c", '"$@" 2>&1 || true', "sh"),
        *("dt-validate", "--show-unmatched", "--schema", schema),
        *trees,
    )
    if "Traceback (most recent call last)" in said:
        raise StepError("dt-validate broke off", details=said.splitlines()[-5:])
    return said


def unpacked(job: Job, workspace: Workspace, bindings: Path) -> Path:
    """Unpack the output of the step `Bindings`; return what stands for the kernel's sources."""
    source = workspace.directory / "source"
    job.run(workspace, "mkdir", source)
    job.run(workspace, "tar", "--extract", "--directory", source, "--file", bindings / BINDINGS)
    return source


def _unpack(job: Job, workspace: Workspace, target: Path, *, arch: str) -> None:
    """Unpack bindings and device trees out of the kernel's sources: a tarball, or a .deb with one."""
    archives = _archives(job, workspace)
    if len(archives) != 1:
        names = ", ".join(sorted(each.name for each in archives)) or "none"
        raise StepError(f"the kernel's sources should be one tarball, and are: {names}")
    wanted = (_FOLDER, "include/dt-bindings", "include/uapi/linux", f"arch/{arch}/boot/dts")
    job.run(workspace, "mkdir", target)
    job.run(
        workspace,
        *("tar", "--extract", "--no-same-owner", "--directory", target, "--strip-components=1"),
        *("--file", archives[0], "--wildcards"),
        *(f"*/{each}" for each in wanted),
    )


def _archives(job: Job, workspace: Workspace) -> list[Path]:
    packages = [*job.input("linux-source").iterdir()]
    if [each.suffix for each in packages] != [".deb"]:
        return packages
    (package,) = packages
    inside = workspace.directory / "package"
    job.run(workspace, "dpkg-deb", "--extract", package, inside)
    found = foreign.ForeignTree(workspace.outside(inside)).glob("usr/src/*.tar.*")
    return [inside / path.lstrip("/") for path in found]
