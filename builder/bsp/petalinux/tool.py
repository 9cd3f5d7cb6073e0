# SPDX-License-Identifier: MIT
"""The user's PetaLinux installer, and the step that installs PetaLinux into the store."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from builder.bsp.petalinux.base import noted
from builder.bsp.petalinux.releases import PLATFORMS, Release, releases
from builder.bsp.petalinux.system import INPUT, TOOL, WORK, ContainerStep, System, session
from builder.errors import StepError, UserError
from builder.spec.models import Soc
from builder.steps.step import Job
from builder.store import checksum
from builder.store.digests import Read

_NAME = re.compile(r"petalinux-v(?P<version>\d{4}\.\d)-.*\.run")
_INSTALLER = "installer.run"


@dataclass(frozen=True)
class Installer:
    """AMD's installer of a release, which the user supplies."""

    path: Path
    read: Read = checksum.sha256

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the file."""
        return file_sha256(self.path, self.read)

    @property
    def name(self) -> str:
        """A name that is unique to this installer, such as "2024.1-0123456789ab"."""
        return f"{self.release.version}-{self.sha256[:12]}"

    @cached_property
    def release(self) -> Release:
        """The release that it installs, according to its file name.

        Raises:
            UserError: the file is not an installer, or the release is not supported.
        """
        known = releases()
        example = known[max(known)].facts.installer
        try:
            with self.path.open("rb") as file:
                is_script = file.read(2) == b"#!"
        except OSError as error:
            raise UserError(
                f"{self.path}: {error.strerror}", hint=_installer_hint(example)
            ) from error
        found = _NAME.fullmatch(self.path.name)
        if not found:
            raise UserError(
                f"{self.path.name} is not the name of a PetaLinux installer, which contains its "
                f"release, such as {example}",
                hint=_installer_hint(example),
            )
        release = known.get(found["version"])
        if release is None:
            raise UserError(
                f"{self.path.name}: PetaLinux {found['version']} is not supported, only "
                f"{', '.join(known)}"
            )
        if not is_script:
            raise UserError(
                f"{self.path} is not a PetaLinux installer: it is not a shell script",
                hint="download it again; AMD's page has its checksum",
            )
        return release


def find_installer(
    path: Path | None, wanted: str | None, read: Read = checksum.sha256
) -> Installer:
    """Return the user's installer, which has to be of the `wanted` release if that is set.

    Raises:
        UserError: no installer is configured, or it cannot be used.
    """
    known = releases()
    if wanted and wanted not in known:
        raise UserError(
            f"bsp.petalinux.release: PetaLinux {wanted} is not supported, only {', '.join(known)}"
        )
    if path is None:
        name = known[wanted].facts.installer if wanted else f"of one of {', '.join(known)}"
        raise UserError(
            f"PetaLinux builds the boot files, but its installer ({name}) is not configured",
            hint=_installer_hint(known[wanted or max(known)].facts.installer),
        )
    installer = Installer(path, read)
    if wanted and installer.release.version != wanted:
        raise UserError(
            f"{path.name} installs PetaLinux {installer.release.version}, but the board needs "
            f"{wanted}"
        )
    return installer


def _installer_hint(example: str) -> str:
    return (
        f"download {example} from AMD's page (an account is needed, and it may not be "
        "redistributed), and name it with --petalinux-installer PATH or in local.yaml as "
        "petalinux.installer"
    )


class PetaLinuxTool(ContainerStep):
    """Step that installs PetaLinux for one of the SoC families, for all its boards."""

    def __init__(self, installer: Installer, system: System, *, soc: Soc, accepted: bool) -> None:
        super().__init__("petalinux", scope=f"petalinux-{installer.release.version}-{soc.value}")
        self.installer = installer
        self.release = installer.release
        self.system = system
        self.soc = soc
        self.accepted = accepted

    def settings(self) -> Mapping[str, object]:
        return {
            "release": self.release.version,
            "installer": self.installer.sha256,
            "platform": PLATFORMS[self.soc],
            **self.system.settings(),
        }

    def files(self) -> Sequence[Path]:
        return [self.system.folder]

    def provenance(self, output: Path | None) -> Mapping[str, object]:
        source = {"petalinux": self.release.version, "sha256": self.installer.sha256}
        base = noted(output) if output else None
        return source | {"base": base.distribution, "image": base.image} if base else source

    def notes(self, output: Path) -> Sequence[str]:
        base = noted(output)
        return [base.message(self.release.version)] if base and base.why else ()

    def run(self, job: Job) -> None:
        name = f"PetaLinux {self.release.version}"
        if not self.accepted:
            raise UserError(
                f"installing {name} requires accepting AMD's licences: read them (they come with "
                "the installer), and add --accept-petalinux-license"
            )
        installer = {_INSTALLER: self.installer.path}
        with session(
            job, self.system, tool=job.output, install=True, inputs=installer
        ) as container:
            container.open_to_user(job.output)
            job.say(f"installing {name}")
            container.run(
                *("bash", INPUT / _INSTALLER, "--dir", TOOL, "--log", WORK / "log"),
                *("--platform", PLATFORMS[self.soc], self.release.facts.accept),
                called=self.installer.path.name,
            )
        job.output.chmod(0o755)
        if not (job.output / TOOL.name / "settings.sh").is_file():
            raise StepError(
                f"{self.installer.path.name} ended without an error, but installed no settings.sh"
            )


def file_sha256(path: Path, read: Read) -> str:
    """Return the SHA-256 of a file that the user supplied.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        return read(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
