# SPDX-License-Identifier: MIT
"""A recipe applied to a root filesystem: one layer."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2

from builder.apt.archive import Archive
from builder.errors import UserError
from builder.rootfs.bootstrap import QEMU_CPU
from builder.rootfs.files import TargetTree
from builder.rootfs.layers import MountedRoot, beside, layer_stack
from builder.rootfs.native.tree import native_parent, native_tree
from builder.rootfs.wheels import COMPILE, COMPILED, INSTALLED, local_packages
from builder.spec.models import Board, Scalar
from builder.spec.overlays import Design
from builder.spec.recipe import FileCopy, User
from builder.spec.resolve import ResolvedRecipe
from builder.steps.architectures import MACHINES
from builder.steps.step import ROOT_FILESYSTEM, Job, Shell, Step


class RecipeLayer(Step):
    """The layer of a recipe: its changes to the tree of the layers below."""

    packages = ("bubblewrap", "qemu-user-static", "openssl")
    capabilities = ROOT_FILESYSTEM

    def __init__(
        self,
        recipe: ResolvedRecipe,
        *,
        required: Sequence[ResolvedRecipe],
        below: Sequence[Step],
        wheels: Step | None,
        downloads: Sequence[Step],
        native: Step | None,
        archive: Archive,
        board: Board,
        scope: str,
        overlays: Sequence[Design] = (),
        notebooks: Path | None = None,
        hardware: str | None = None,
    ) -> None:
        parents = {step.name: step for step in (*below, *downloads)} | native_parent(native)
        if wheels:
            parents[wheels.name] = wheels
        super().__init__(f"recipe:{recipe.name}", scope=scope, parents=parents)
        self.recipe = recipe
        self.required = tuple(required)
        self.below = [step.name for step in below]
        self.wheels = wheels.name if wheels else None
        self.downloads = [step.name for step in downloads]
        self.native = native
        self.archive = archive
        self.board = board
        self.hardware = hardware
        specific = recipe.model.board_specific
        self.overlays = tuple(overlays) if specific else ()
        self.notebooks = notebooks if specific else None
        self.secrets = [
            _setting(item, key)
            for item in (recipe, *self.required)
            for key, parameter in item.model.parameters.items()
            if parameter.secret
        ]

    def settings(self) -> Mapping[str, object]:
        values: dict[str, object] = {
            _setting(item, key): value
            for item in (self.recipe, *self.required)
            for key, value in item.parameters.items()
        }
        values["distribution"] = vars(self._distribution())
        values["epoch"] = self.archive.epoch
        if self.recipe.model.board_specific:
            values["board"] = self.board.model_dump(mode="json")
            values["hardware"] = self.hardware
        return values

    def files(self) -> Sequence[Path]:
        model = self.recipe.model
        names = [item.source for item in (*model.files, *model.templates)]
        names += [name for name in (model.scripts.target, model.scripts.host) if name]
        names += model.scripts.inputs
        return [
            *(self.recipe.directory / name for name in ("recipe.yaml", *names)),
            *(each.directory / file for each in self.overlays for file in each.files),
            *([self.notebooks] if self.notebooks else []),
        ]

    def run(self, job: Job) -> None:
        stack = layer_stack(job)
        below = [job.entry(name) for name in self.below]
        native = native_tree(self.native, job)
        with stack.mounted(below, native=native, log=job.log) as root:
            self._apply(job, root, stack.inside(root, log=job.log))
            stack.save(root, job.output, epoch=self.archive.epoch, log=job.log)

    @contextmanager
    def shell(self, job: Job) -> Iterator[Shell]:
        stack = layer_stack(job)
        below = [job.entry(name) for name in self.below]
        native = native_tree(self.native, job)
        with stack.mounted(below, native=native) as root:
            yield Shell(
                workspace=stack.workspace,
                argv=[*stack.inside(root), "/bin/bash", "-i"],
                cwd=stack.workspace.directory,
                environment=self._environment(),
                about=f"the image as recipe {self.recipe.name} finds it; changes are thrown away",
            )

    def _apply(self, job: Job, root: MountedRoot, inside: Sequence[str]) -> None:
        model = self.recipe.model
        render = _Renderer(self._names())
        tree = TargetTree(root.files)

        def in_target(*argv: str, stdin: str | None = None) -> str:
            return job.run(
                root.workspace, *inside, *argv, environment=self._environment(), stdin=stdin
            )

        for group in model.groups:
            flags = ["--system"] if group.system else []
            in_target("groupadd", "--force", *flags, render.text(group.name))
        for user in model.users:
            self._user(job, user, render, in_target)
        for directory in model.directories:
            tree.directory(
                render.text(directory.path),
                mode=int(directory.mode, 8),
                owner=render.text(directory.owner),
                group=render.text(directory.group),
            )
        for file in model.files:
            tree.copy(self.recipe.directory / file.source, **self._place(file, render))
        for template in model.templates:
            source = self.recipe.directory / template.source
            tree.write(content=render.file(source).encode(), **self._place(template, render))
        for link in model.links:
            tree.link(render.text(link.path), render.text(link.target))
        if self.wheels:
            self._install_wheels(job, root, inside)
        self._scripts(job, root, inside)
        for verb, units in (
            ("enable", model.services.enable),
            ("disable", model.services.disable),
            ("mask", model.services.mask),
        ):
            if units:
                in_target("systemctl", verb, *map(render.text, units))

    def _place(self, file: FileCopy, render: _Renderer) -> dict[str, Any]:
        return {
            "path": render.text(file.to),
            "mode": int(file.mode, 8),
            "owner": render.text(file.owner),
            "group": render.text(file.group),
        }

    def _user(self, job: Job, user: User, render: _Renderer, in_target: Any) -> None:
        name = render.text(user.name)
        groups = ",".join(map(render.text, user.groups))
        if f"\n{name}:" in "\n" + in_target("cat", "/etc/passwd"):
            if groups:
                in_target("usermod", "--append", "--groups", groups, name)
        else:
            options = ["--shell", render.text(user.shell)]
            # A system account has no home directory unless it names one.
            home = not user.system or user.home
            options += ["--create-home"] if home else ["--no-create-home"]
            if user.home:
                options += ["--home-dir", render.text(user.home)]
            if user.system:
                options += ["--system"]
            own_group = f"\n{name}:" in "\n" + in_target("cat", "/etc/group")
            options += ["--gid", name] if own_group else ["--user-group"]
            if groups:
                options += ["--groups", groups]
            in_target("useradd", *options, name)
        password = render.text(user.password or "")
        if password:
            hashed = self._hash(job, name, password)
            in_target("chpasswd", "--encrypted", stdin=f"{name}:{hashed}\n")

    def _hash(self, job: Job, name: str, password: str) -> str:
        salt = _salt(job, f"user {name}")
        with job.workspace("password", need=1 << 20) as workspace:
            hashed = workspace.run(
                ["openssl", "passwd", "-6", "-salt", salt, "-stdin"], stdin=f"{password}\n"
            )
        return hashed.strip()

    def _install_wheels(self, job: Job, root: MountedRoot, inside: Sequence[str]) -> None:
        """Put what wheels unpack to into the tree; a file that is there already is an error."""
        assert self.wheels
        wheels = job.input(self.wheels)
        job.run(
            root.workspace,
            *("tar", "--extract", "--numeric-owner", "--same-permissions", "--touch"),
            # Directories that are there stay as they are.
            *("--keep-old-files", "--use-compress-program=zstd -d -T0"),
            *("--directory", root.path, "--file", wheels / INSTALLED),
        )
        if not (wheels / COMPILED).exists():
            packages = local_packages(self.archive.distribution.model.python)
            job.run(root.workspace, *inside, "python3", *COMPILE, packages)

    def _scripts(self, job: Job, root: MountedRoot, inside: Sequence[str]) -> None:
        scripts = self.recipe.model.scripts
        parameters = {
            f"PARAM_{_identifier(key).upper()}": _plain(value)
            for key, value in self.recipe.parameters.items()
        }
        secret = [
            f"PARAM_{_identifier(key).upper()}"
            for key, parameter in self.recipe.model.parameters.items()
            if parameter.secret
        ]
        environment = {
            **self._environment(),
            **parameters,
            "SALT": _salt(job, f"recipe {self.recipe.name}"),
        }
        if scripts.host:
            architecture = self.archive.architecture
            root.workspace.run(
                [*beside(root), "/bin/sh", "-eu", str(self.recipe.directory / scripts.host)],
                environment={
                    **environment,
                    "ROOT": str(root.path),
                    "ARCH": architecture.value,
                    "CROSS_COMPILE": MACHINES[architecture].cross_compile,
                    **self._downloaded(job, root),
                    **self._of_board(job, root),
                },
                secret=secret,
                log=job.log,
                on_line=job.on_line,
            )
        if scripts.target:
            text = (self.recipe.directory / scripts.target).read_text()
            root.workspace.run(
                [*inside, "/bin/sh", "-eu", "-s"],
                environment=environment,
                secret=secret,
                stdin=text,
                log=job.log,
                on_line=job.on_line,
            )

    def _downloaded(self, job: Job, root: MountedRoot) -> dict[str, str]:
        """Gather the recipe's downloads in one directory, which no layer holds."""
        if not self.downloads:
            return {}
        folder = root.workspace.directory / "downloads"
        files = [path for name in self.downloads for path in job.input(name).iterdir()]
        job.run(root.workspace, "rm", "-rf", folder)
        job.run(root.workspace, "mkdir", folder)
        job.run(root.workspace, "ln", "-s", *files, folder)
        return {"DOWNLOADS": str(folder)}

    def _of_board(self, job: Job, root: MountedRoot) -> dict[str, str]:
        """Name the board, gather its designs in one directory, and say where its notebooks are.

        Its name is the one that it has when it runs, by which designs find out where they are.
        """
        if not self.recipe.model.board_specific:
            return {}
        found = {"BOARD": self.hardware or self.board.board}
        if self.overlays:
            folder = root.workspace.directory / "overlays"
            job.run(root.workspace, "rm", "-rf", folder)
            for design in self.overlays:
                for parent in sorted({file.parent for file in design.files}):
                    place = folder / design.name / parent
                    files = [
                        design.directory / file for file in design.files if file.parent == parent
                    ]
                    job.run(root.workspace, "mkdir", "-p", place)
                    job.run(root.workspace, "cp", "--dereference", *files, place)
            found["OVERLAYS"] = str(folder)
        if self.notebooks:
            found["NOTEBOOKS"] = str(self.notebooks)
        return found

    def _environment(self) -> dict[str, str]:
        return {
            "SOURCE_DATE_EPOCH": str(self.archive.epoch),
            "DEBIAN_FRONTEND": "noninteractive",
            **QEMU_CPU[self.archive.architecture],
        }

    def _distribution(self) -> SimpleNamespace:
        distribution = self.archive.distribution
        return SimpleNamespace(
            name=distribution.name,
            family=distribution.model.family,
            suite=distribution.model.suite,
            version=distribution.model.version,
            architecture=self.archive.architecture.value,
        )

    def _names(self) -> dict[str, object]:
        """Return what templates see."""
        names: dict[str, object] = {
            "recipes": SimpleNamespace(
                **{
                    _identifier(item.name): SimpleNamespace(**_identifiers(item.parameters))
                    for item in self.required
                }
            ),
            "distribution": self._distribution(),
            **_identifiers(self.recipe.parameters),
        }
        if self.recipe.model.board_specific:
            names["board"] = self.board
        return names


class _Renderer:
    """Renders templates with one set of names; an unknown name is the user's error."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names = names
        self._jinja = jinja2.Environment(  # noqa: S701 - these are configuration files, not HTML
            undefined=jinja2.StrictUndefined, keep_trailing_newline=True
        )

    def text(self, template: str) -> str:
        """Render a value of a recipe."""
        return self._render(template, "a value")

    def file(self, path: Path) -> str:
        """Render a template file."""
        return self._render(path.read_text(), str(path))

    def _render(self, template: str, what: str) -> str:
        try:
            return self._jinja.from_string(template).render(self._names)
        except (
            *(jinja2.TemplateError, TypeError, ValueError),
            *(ArithmeticError, LookupError),
        ) as error:
            line = getattr(error, "lineno", None)
            where = f"{what}:{line}" if line else what
            message = getattr(error, "message", None) or str(error)
            raise UserError(f"{where}: {message}", details=[template[:200]]) from error


def _salt(job: Job, purpose: str) -> str:
    """Return 16 characters for a password's hash: the same in each build from this store."""
    digest = hmac.digest(job.store.secret(), purpose.encode(), hashlib.sha256)
    return base64.b64encode(digest, altchars=b"./").decode()[:16]


def _setting(recipe: ResolvedRecipe, key: str) -> str:
    return f"parameter {recipe.name}.{key}"


def _identifier(name: str) -> str:
    return name.replace("-", "_")


def _identifiers(parameters: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {_identifier(key): value for key, value in parameters.items()}


def _plain(value: Scalar) -> str:
    """Return a parameter as scripts get it: lists by blanks, truth as 1 or nothing."""
    if isinstance(value, list):
        return " ".join(value)
    if isinstance(value, bool):
        return "1" if value else ""
    return str(value)
