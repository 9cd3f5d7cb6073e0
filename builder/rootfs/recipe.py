# SPDX-License-Identifier: MIT
"""The layer of a recipe in the root filesystem."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.rootfs.accounts import Accounts
from builder.rootfs.files import install_files
from builder.rootfs.layers import layer_stack
from builder.rootfs.native.tree import native_parent, native_tree
from builder.rootfs.python_packages import install_wheels
from builder.rootfs.recipe_inputs import RecipeInputs
from builder.rootfs.recipe_scripts import RecipeScripts
from builder.rootfs.target import Target
from builder.rootfs.templates import Renderer
from builder.spec.recipe import Services
from builder.steps.step import ROOT_FILESYSTEM, Job, Shell, Step


@dataclass(frozen=True, kw_only=True)
class RecipeParents:
    """The steps whose output the layer of a recipe needs.

    below: the layers below, the lowest first.
    wheels: the recipe's Python packages.
    downloads: the recipe's downloads.
    native: programs of the host's architecture that replace emulated ones.
    """

    below: Sequence[Step] = ()
    wheels: Step | None = None
    downloads: Sequence[Step] = ()
    native: Step | None = None

    def by_name(self) -> dict[str, Step]:
        """Return all these steps by their names."""
        steps = [*self.below, *self.downloads, *([self.wheels] if self.wheels else [])]
        return {step.name: step for step in steps} | native_parent(self.native)


class RecipeLayer(Step):
    """The layer of a recipe: its changes to the root filesystem of the layers below."""

    packages = ("bubblewrap", "qemu-user-static", "openssl")
    capabilities = ROOT_FILESYSTEM

    def __init__(self, inputs: RecipeInputs, needs: RecipeParents, *, scope: str) -> None:
        super().__init__(f"recipe:{inputs.recipe.name}", scope=scope, parents=needs.by_name())
        self.inputs = inputs
        # Names alone: a worker gets the step as JSON, without the steps below.
        self.below = [step.name for step in needs.below]
        self.downloads = [step.name for step in needs.downloads]
        self.wheels = needs.wheels.name if needs.wheels else None
        self.native = needs.native.name if needs.native else None
        self.secrets = inputs.secrets

    def settings(self) -> Mapping[str, object]:
        return self.inputs.settings()

    def files(self) -> Sequence[Path]:
        return self.inputs.files()

    def environment(self) -> dict[str, str]:
        """Return the environment of the recipe's commands."""
        return self.inputs.environment()

    def run(self, job: Job) -> None:
        with self._mounted(job) as target:
            self._apply(target)
            epoch = self.inputs.archive.epoch
            layer_stack(job).save(target.root, job.output, epoch=epoch, log=job.log)

    @contextmanager
    def shell(self, job: Job) -> Iterator[Shell]:
        name = self.inputs.recipe.name
        with self._mounted(job) as target:
            workspace = target.root.workspace
            yield Shell(
                workspace=workspace,
                argv=[*target.inside, "/bin/bash", "-i"],
                cwd=workspace.directory,
                environment=target.environment,
                about=f"the root filesystem before recipe {name}; changes are discarded",
            )

    def run_scripts(self, target: Target) -> None:
        """Run the recipe's scripts."""
        RecipeScripts(self.inputs, self.downloads).run(target)

    @contextmanager
    def _mounted(self, job: Job) -> Iterator[Target]:
        stack = layer_stack(job)
        below = [job.entry(name) for name in self.below]
        native = native_tree(self.native, job)
        with stack.mounted(below, native=native, log=job.log) as root:
            inside = stack.inside(root, log=job.log)
            yield Target(job=job, root=root, inside=inside, environment=self.environment())

    def _apply(self, target: Target) -> None:
        recipe = self.inputs.recipe
        render = Renderer(self.inputs.template_variables())
        accounts = Accounts(target, render)
        for group in recipe.model.groups:
            accounts.add_group(group)
        for user in recipe.model.users:
            accounts.add_user(user)
        install_files(recipe, target.root.files, render)
        if self.wheels:
            python = self.inputs.archive.distribution.model.python
            install_wheels(target, target.job.input(self.wheels), python)
        self.run_scripts(target)
        _set_services(recipe.model.services, target, render)


def _set_services(services: Services, target: Target, render: Renderer) -> None:
    for verb, units in (
        ("enable", services.enable),
        ("disable", services.disable),
        ("mask", services.mask),
    ):
        if units:
            target.run("systemctl", verb, *map(render.text, units))
