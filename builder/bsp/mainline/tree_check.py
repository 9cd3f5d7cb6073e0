# SPDX-License-Identifier: MIT
"""The step that compares a board's device tree with Linux's bindings and Linux's own trees."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path

from builder.bsp.mainline.bindings import (
    PACKAGES,
    TREES,
    USUAL,
    NotValidatedError,
    unpack_bindings,
    validate_trees,
)
from builder.bsp.tree_checks import linux, schema
from builder.bsp.tree_checks.findings import FINDINGS, NOT_COMPARED, Finding, write_findings
from builder.formats.devicetree import read_tree
from builder.steps.step import Job, Step
from builder.untrusted.tree import ForeignTree

_NEED = 1 << 27


class TreeCheck(Step):
    """Step that writes violations of Linux's bindings and differences from Linux's tree.

    Output: `findings.json`.
    """

    packages = PACKAGES

    def __init__(self, board: str, *, source: str, device_tree: Step, bindings: Step) -> None:
        parents = {"device-tree": device_tree, "bindings": bindings}
        super().__init__("tree-check", scope=board, parents=parents)
        self.source = source

    def settings(self) -> Mapping[str, object]:
        return {"source": self.source}

    def run(self, job: Job) -> None:
        bindings, board = job.input("bindings"), job.input("device-tree") / "board.dtb"
        found = [*self._against_linux(job, board, bindings), *self._schema(job, board, bindings)]
        for each in found:
            job.say(str(each))
        write_findings(job.output / FINDINGS, found)

    def _against_linux(self, job: Job, board: Path, bindings: Path) -> list[Finding]:
        own = read_tree(board)
        theirs = {path.stem: read_tree(path) for path in sorted((bindings / TREES).iterdir())}
        name = linux.same_board(own, theirs)
        if name is None:
            job.say("Linux has no device tree with this board's first `compatible`")
            return []
        return linux.findings(own, theirs[name], name=f"{name}.dts", source=self.source)

    def _schema(self, job: Job, board: Path, bindings: Path) -> list[Finding]:
        usual = json.loads((bindings / USUAL).read_text())
        with job.workspace("tree-check", need=_NEED) as workspace:
            source = unpack_bindings(job, workspace, bindings)
            try:
                output = validate_trees(job, workspace, source, [board])
            except NotValidatedError as error:
                return [
                    Finding(
                        check=schema.CHECK,
                        subject=NOT_COMPARED,
                        text=f"the tree was not compared with Linux's bindings: {error}. Properties "
                        "that no driver knows are not detected; install the package dt-schema "
                        "(2022.3 or later), and build again",
                    )
                ]
            files = ForeignTree(workspace.outside(source))
            texts = (
                files.text(path)
                for path, status in files.walk()
                if path.endswith(".txt") and stat.S_ISREG(status.st_mode)
            )
            described = schema.words(texts)
        return schema.findings(
            schema.complaints(output), {*usual}, described=described, source=self.source
        )
