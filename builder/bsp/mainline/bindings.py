# SPDX-License-Identifier: MIT
"""Linux's device tree bindings, and their complaints about Linux's own trees of a SoC family."""

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
"""File of the step's output: the directory Documentation/devicetree/bindings."""
TREES: Final = "trees"
"""Directory of the step's output: Linux's compiled trees for boards of the family."""
USUAL: Final = "usual.json"
"""File of the step's output: the general form of the complaints about these trees."""

PACKAGES: Final = ("dt-schema", "device-tree-compiler", "cpp")
"""Host packages of the checks; dt-schema (dt-mk-schema, dt-validate) is optional."""

_FOLDER = "Documentation/devicetree/bindings"
_NEED = 1 << 29
"""Disk space in bytes for the package, the bindings and the trees."""


def installed() -> bool:
    """Return whether dt-schema is installed."""
    programs = ("dt-mk-schema", "dt-validate")
    return all(shutil.which(each, path=SEARCH_PATH) for each in programs)


class Bindings(Step):
    """Step that makes `bindings.tar`, `trees/` and `usual.json`."""

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
                *("--mtime=@0", "--mode=u=rwX,go=rX"),  # directories have the time of unpacking
                *("--file", job.output / BINDINGS, "--directory", source, _FOLDER),
            )

    def _trees(self, job: Job, workspace: Workspace, source: Path) -> list[Path]:
        """Compile Linux's trees for boards of the family; those that do not compile are skipped."""
        top = source / f"arch/{self.family.kernel_arch}/boot/dts"
        # Since Linux 6.5 each vendor's trees have a directory of their own.
        found = [
            path
            for path, _ in foreign.ForeignTree(workspace.outside(top)).walk()
            if path.endswith(f"/{self.family.dtsi}")
        ]
        if not found:
            raise StepError(f"the kernel's sources have no {self.family.dtsi}")
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
                job.raise_if_killed(workspace, error)
                job.say(f"skipping {path.name}, which does not compile: {error.message}")
        return sorted(output.iterdir())

    @staticmethod
    def _usual(job: Job, workspace: Workspace, source: Path, trees: Sequence[Path]) -> set[str]:
        try:
            output = validate_trees(job, workspace, source, trees)
        except NotValidatedError as error:
            job.say(str(error))
            return set()
        return {each.general for each in complaints(output)}


class NotValidatedError(Exception):
    """Trees could not be compared with the bindings; the message has the reason."""


def validate_trees(job: Job, workspace: Workspace, source: Path, trees: Sequence[Path]) -> str:
    """Return the output of dt-validate for compiled trees and the bindings below `source`.

    Raises:
        NotValidatedError: dt-validate is not installed, or fails, as versions before 2022.3 do.
    """
    if not installed():
        raise NotValidatedError("dt-validate is not installed")
    try:
        schema = _make_schema(job, workspace, source, [read_tree(path) for path in trees])
        return _run_dt_validate(job, workspace, schema, trees)
    except StepError as error:
        job.raise_if_killed(workspace, error)
        details = [error.message, *error.details][-1]
        raise NotValidatedError(f"dt-validate failed: {details}") from error


def _make_schema(job: Job, workspace: Workspace, source: Path, trees: Sequence[DeviceTree]) -> Path:
    """Compile the bindings below `source` that are relevant to the trees into one schema file."""
    folder = workspace.outside(source / _FOLDER)
    texts = {
        path.relative_to(folder).as_posix(): path.read_text(errors="replace")
        for path in folder.rglob("*.yaml")
    }
    chosen = relevant(texts, trees)
    job.say(f"{len(chosen)} of {len(texts)} bindings are relevant to these trees")
    list_file = workspace.directory / "bindings.list"
    workspace.outside(list_file).write_text(
        "".join(f"{source / _FOLDER / each}\n" for each in chosen)
    )
    schema = workspace.directory / "schema.json"
    job.run(workspace, "dt-mk-schema", "--json", "--outfile", schema, f"@{list_file}")
    return schema


def _run_dt_validate(job: Job, workspace: Workspace, schema: Path, trees: Sequence[Path]) -> str:
    # dt-validate's exit status is the same for complaints and for failures; a signal is an error.
    output = job.run(
        workspace,
        *("sh", "-c", '"$@" 2>&1; status=$?; [ $status -lt 128 ] || exit $status', "sh"),
        *("dt-validate", "--show-unmatched", "--schema", schema),
        *trees,
    )
    if "Traceback (most recent call last)" in output:
        raise StepError("dt-validate ended with a traceback", details=output.splitlines()[-5:])
    return output


def unpack_bindings(job: Job, workspace: Workspace, bindings: Path) -> Path:
    """Unpack the output of the step `Bindings`; return its directory, in the kernel's layout."""
    source = workspace.directory / "source"
    job.run(workspace, "mkdir", source)
    job.run(workspace, "tar", "--extract", "--directory", source, "--file", bindings / BINDINGS)
    return source


def _unpack(job: Job, workspace: Workspace, target: Path, *, arch: str) -> None:
    """Unpack bindings and device trees from the kernel's sources: a tarball, or a .deb with one."""
    archives = _archives(job, workspace)
    if len(archives) != 1:
        names = ", ".join(sorted(each.name for each in archives)) or "none"
        raise StepError(f"the kernel's sources must be one tarball; found: {names}")
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
