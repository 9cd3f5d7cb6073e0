# SPDX-License-Identifier: MIT
"""The layer with an image's checks, which the board runs on itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.steps.layer_archive import LAYER, pack
from builder.steps.step import Job, Step

DIRECTORY = "usr/share/board-selftest"
"""The image's directory of checks, the modules that run them, and `context.json`."""

_IGNORED = shutil.ignore_patterns("__pycache__")


class ChecksLayer(Step):
    """A layer with checks, the modules that run them, and their facts about the image.

    It does not depend on other layers: a changed check rebuilds only this layer and the image.
    """

    def __init__(
        self,
        checks: Mapping[str, Path],
        context: Mapping[str, Any],
        *,
        modules: Mapping[str, Path],
        epoch: int,
        scope: str,
    ) -> None:
        super().__init__("checks", scope=scope)
        self.checks = dict(checks)
        self.context = dict(context)
        self.modules = dict(modules)
        self.epoch = epoch

    def settings(self) -> Mapping[str, object]:
        return {"checks": [*self.checks], "context": self.context, "epoch": self.epoch}

    def files(self) -> Sequence[Path]:
        return [*self.modules.values(), *self.checks.values()]

    def run(self, job: Job) -> None:
        with job.workspace("checks", need=1 << 20) as workspace:
            stage = workspace.directory / "stage"
            directory = workspace.outside(stage / DIRECTORY)
            directory.mkdir(parents=True)
            for name, path in {**self.modules, **self.checks}.items():
                place = directory / name
                place.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():
                    shutil.copytree(path, place, ignore=_IGNORED)
                else:
                    shutil.copyfile(path, place)
            facts = {**self.context, "checks": {name: name for name in self.checks}}
            (directory / "context.json").write_text(json.dumps(facts, indent=1) + "\n")
            # Readable by all users of the board, whatever their modes are on the host.
            job.run(workspace, "chmod", "-R", "u=rwX,go=rX", stage)
            pack(workspace, stage, job.output / LAYER, epoch=self.epoch, of_root=True, log=job.log)
