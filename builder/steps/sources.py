# SPDX-License-Identifier: MIT
"""Sources: packages of the distribution's archive, files from the network. All verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO

from builder.apt.archive import Archive, SourcePackage
from builder.containers.redaction import without_passwords
from builder.errors import StepError
from builder.network.download import Limits, TooLargeError, fetch
from builder.spec.models import Download
from builder.steps.step import Job, Step
from builder.store.checksum import sha256

_PART = ".part"
"""Name of a file that is not whole yet, or not checked."""


class PackageSource(Step):
    """The files of a package that holds sources, as the archive's signed index names them."""

    fetches = True

    def __init__(self, name: str, archive: Archive, package: SourcePackage) -> None:
        super().__init__(name, scope=archive.distribution.name)
        self.archive = archive
        self.package = package

    def settings(self) -> Mapping[str, object]:
        return {
            "package": f"{self.package.name} {self.package.version}",
            "files": {file.name: file.sha256 for file in self.package.files},
        }

    def provenance(self, output: Path | None) -> Mapping[str, object]:  # noqa: ARG002
        files = {file.name: file.sha256 for file in self.package.files}
        return {"package": self.package.name, "version": self.package.version, "sha256": files}

    def run(self, job: Job) -> None:
        self.archive.check()
        with job.workspace("download", need=1 << 20, network=True) as workspace:
            command = self.archive.download_command(self.package)
            job.run(workspace, *command, cwd=job.output)
        sums = {sha256(path) for path in job.output.iterdir()}
        if sums != {file.sha256 for file in self.package.files}:
            raise StepError(
                f"{self.package.name}: the files that came are not those of the index",
                hint="--update fetches the index anew",
            )


class UrlSource(Step):
    """One file from a URL, checked against its SHA-256."""

    fetches = True

    def __init__(
        self, name: str, download: Download, *, scope: str, limits: Limits | None = None
    ) -> None:
        super().__init__(name, scope=scope)
        self.download = download
        self.limits = limits or Limits()

    def settings(self) -> Mapping[str, object]:
        return {"sha256": self.download.sha256, "name": self.download.name}

    def provenance(self, output: Path | None) -> Mapping[str, object]:  # noqa: ARG002
        return {"url": without_passwords(self.download.url), "sha256": self.download.sha256}

    def run(self, job: Job) -> None:
        url, wanted = without_passwords(self.download.url), self.download.sha256
        job.say(f"downloading {url}")
        part = job.output / _PART
        try:
            with part.open("wb") as file:
                found = self._fetch(job, file)
            if found != wanted:
                raise StepError(
                    f"{url} has another SHA-256 than the specification says",
                    details=[f"wanted {wanted}", f"found  {found}"],
                )
            part.rename(job.output / self.download.name)
        finally:
            part.unlink(missing_ok=True)

    def _fetch(self, job: Job, file: IO[bytes]) -> str:
        """Download into a file; return its SHA-256."""
        limits = replace(self.limits, size=self.download.max_size or self.limits.size)
        processes = job.tools.processes
        try:
            got = fetch(self.download.url, file, processes=processes, limits=limits, say=job.say)
        except TooLargeError as error:
            raise StepError(
                error.message, hint="say `max-size` beside its `url` if it is to be that large"
            ) from error
        return got.sha256
