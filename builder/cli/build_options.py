# SPDX-License-Identifier: MIT
"""Options of the commands that work on images, in one typed object."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.cli.context import DEFAULT_OUTPUT
from builder.spec.models import Provider
from builder.spec.resolve import ImageSpec, PetaLinuxUse

HIDDEN = "..."
"""Placeholder for the value of a secret parameter, which is never printed."""


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """Options that `build`, `plan`, `test`, `shell` and `dump` share.

    boards: names of the boards, in the order of the command line; empty with `all_boards`.
    settings: `RECIPE.PARAMETER=VALUE`, with the contents of files in place of `@FILE`.
    only: by-product to build instead of an image.
    store, output: None if the command line does not name them.
    """

    boards: tuple[str, ...]
    all_boards: bool
    distro: str | None
    profile: str | None
    settings: tuple[str, ...]
    compress: str | None
    only: str | None
    boot_files: Path | None
    provider: Provider | None
    petalinux_installer: Path | None
    accept_petalinux_license: bool
    update: bool
    offline: bool
    strict_archive: bool
    native: bool
    ccache: bool
    jobs: int
    boards_dirs: tuple[Path, ...]
    store: Path | None
    output: Path | None
    engine: str

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> BuildOptions:
        """Return the options of a parsed command line."""
        return cls(
            boards=tuple(arguments.boards or ()),
            all_boards=arguments.all,
            distro=arguments.distro,
            profile=arguments.profile,
            settings=tuple(arguments.settings),
            compress=arguments.compress,
            only=arguments.only,
            boot_files=arguments.boot_files,
            provider=arguments.bsp,
            petalinux_installer=arguments.petalinux_installer,
            accept_petalinux_license=arguments.accept_petalinux_license,
            update=arguments.update,
            offline=arguments.offline,
            strict_archive=arguments.strict_archive,
            native=arguments.native,
            ccache=arguments.ccache,
            jobs=arguments.jobs,
            boards_dirs=tuple(Path(path).resolve() for path in arguments.boards_dir),
            store=Path(arguments.store).resolve() if arguments.store else None,
            output=(
                Path(arguments.output).resolve() if arguments.output != DEFAULT_OUTPUT else None
            ),
            engine=arguments.engine,
        )

    @property
    def petalinux(self) -> PetaLinuxUse:
        """The options about PetaLinux."""
        return PetaLinuxUse(
            installer=self.petalinux_installer and self.petalinux_installer.absolute(),
            accepted=self.accept_petalinux_license,
            offline=self.offline,
        )

    def to_argv(self, specs: Iterable[ImageSpec]) -> list[str]:
        """Return the words that select the same image in another command, without the board.

        Args:
            specs: the boards' resolved specs. They tell which parameters are secret: the values of
                these are replaced by `HIDDEN`.
        """
        pairs = [*self._locations()]
        given = {
            "--distro": self.distro,
            "--profile": self.profile,
            "--boot-files": self.boot_files,
            "--bsp": self.provider,
            "--petalinux-installer": self.petalinux_installer,
        }
        pairs += [(option, str(value)) for option, value in given.items() if value]
        known = [*specs]
        pairs += [("--set", _printable(setting, known)) for setting in self.settings]
        words = [word for pair in pairs for word in pair]
        return words + (["--accept-petalinux-license"] if self.accept_petalinux_license else [])

    def _locations(self) -> Iterator[tuple[str, str]]:
        for path in self.boards_dirs:
            yield "--boards-dir", os.path.relpath(path)
        if self.store:
            yield "--store", os.path.relpath(self.store)
        if self.output:
            yield "--output", os.path.relpath(self.output)
        if self.engine != "auto":
            yield "--engine", self.engine


def _printable(setting: str, specs: Iterable[ImageSpec]) -> str:
    """Return a setting as it can be typed, with the value of a secret hidden."""
    name, _, value = setting.partition("=")
    if any(is_secret(spec, name) for spec in specs):
        return f"{name}={HIDDEN}"
    return f"{name}={'@' if value.startswith('@') else ''}{value}"


def is_secret(spec: ImageSpec, name: str) -> bool:
    """Return whether the parameter RECIPE.PARAMETER is a secret."""
    recipe, _, key = name.partition(".")
    return any(
        each.name == recipe and key in each.model.parameters and each.model.parameters[key].secret
        for each in spec.recipes
    )
