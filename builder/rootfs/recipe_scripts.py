# SPDX-License-Identifier: MIT
"""The scripts of a recipe: one runs on the host, one in the target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from builder.rootfs.board_view import BoardView
from builder.rootfs.layers import host_command
from builder.rootfs.recipe_inputs import RecipeInputs, identifier
from builder.rootfs.target import Target
from builder.spec.models import Scalar
from builder.steps.architectures import MACHINES


class RecipeScripts:
    """The scripts of a recipe.

    `downloads` are the names of the parents whose output is the recipe's downloads.
    """

    def __init__(self, inputs: RecipeInputs, downloads: Sequence[str]) -> None:
        self._inputs = inputs
        self._downloads = downloads

    def run(self, target: Target) -> None:
        """Run the host script, then the target script."""
        scripts = self._inputs.recipe.model.scripts
        if scripts.host:
            self._run_on_host(target, self._inputs.recipe.directory / scripts.host)
        if scripts.target:
            self._run_in_target(target, self._inputs.recipe.directory / scripts.target)

    def _run_on_host(self, target: Target, script: Path) -> None:
        architecture = self._inputs.archive.architecture
        target.root.workspace.run(
            [*host_command(target.root), "/bin/sh", "-eu", str(script)],
            environment={
                **self._environment(target),
                "ROOT": str(target.root.path),
                "ARCH": architecture.value,
                "CROSS_COMPILE": MACHINES[architecture].cross_compile,
                **self._download_variables(target),
                **(_board_variables(target, self._inputs.view) if self._inputs.view else {}),
            },
            secret=self._secret_variables(),
            log=target.job.log,
            on_line=target.job.on_line,
        )

    def _run_in_target(self, target: Target, script: Path) -> None:
        target.root.workspace.run(
            [*target.inside, "/bin/sh", "-eu", "-s"],
            environment=self._environment(target),
            secret=self._secret_variables(),
            stdin=script.read_text(),
            log=target.job.log,
            on_line=target.job.on_line,
        )

    def _environment(self, target: Target) -> dict[str, str]:
        """Return the variables that both scripts have."""
        recipe = self._inputs.recipe
        return {
            **target.environment,
            **{_variable(key): _shell_value(value) for key, value in recipe.parameters.items()},
            "SALT": target.salt(f"recipe {recipe.name}"),
        }

    def _secret_variables(self) -> list[str]:
        declared = self._inputs.recipe.model.parameters
        return [_variable(key) for key, parameter in declared.items() if parameter.secret]

    def _download_variables(self, target: Target) -> dict[str, str]:
        """Link the downloads into one directory outside of the layer; return its variable."""
        if not self._downloads:
            return {}
        workspace, job = target.root.workspace, target.job
        folder = workspace.directory / "downloads"
        files = [path for name in self._downloads for path in job.input(name).iterdir()]
        job.run(workspace, "rm", "-rf", folder)
        job.run(workspace, "mkdir", folder)
        job.run(workspace, "ln", "-s", *files, folder)
        return {"DOWNLOADS": str(folder)}


def _board_variables(target: Target, view: BoardView) -> dict[str, str]:
    """Copy the board's PL designs into one directory; return the variables about the board."""
    workspace, job = target.root.workspace, target.job
    variables = {"BOARD": view.hardware_name}
    if view.overlays:
        folder = workspace.directory / "overlays"
        job.run(workspace, "rm", "-rf", folder)
        for design in view.overlays:
            for parent in sorted({file.parent for file in design.files}):
                place = folder / design.name / parent
                files = [design.directory / file for file in design.files if file.parent == parent]
                job.run(workspace, "mkdir", "-p", place)
                job.run(workspace, "cp", "--dereference", *files, place)
        variables["OVERLAYS"] = str(folder)
    if view.notebooks:
        variables["NOTEBOOKS"] = str(view.notebooks)
    return variables


def _variable(parameter: str) -> str:
    return f"PARAM_{identifier(parameter).upper()}"


def _shell_value(value: Scalar) -> str:
    """Return a parameter's value for scripts: lists joined by blanks; true is 1, false is empty."""
    if isinstance(value, list):
        return " ".join(value)
    if isinstance(value, bool):
        return "1" if value else ""
    return str(value)
