# SPDX-License-Identifier: MIT
"""Sources: packages of the distribution's archive, files from the network. All verified."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import requests

from builder.archive.archive import Archive, SourcePackage
from builder.errors import Interrupted, StepError
from builder.spec.models import Download
from builder.steps.step import Job, Step

_CHUNK = 1 << 20


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

    def run(self, job: Job) -> None:
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

    def __init__(self, name: str, download: Download, *, scope: str) -> None:
        super().__init__(name, scope=scope)
        self.download = download

    def settings(self) -> Mapping[str, object]:
        return {"sha256": self.download.sha256, "name": self.download.name}

    def run(self, job: Job) -> None:
        job.say(f"downloading {self.download.url}")
        target = job.output / self.download.name
        try:
            self._fetch(job, target)
        except OSError as error:  # requests' errors are among them
            raise StepError(
                f"{self.download.url} cannot be had: {error}", hint="check the network and the URL"
            ) from error
        found = sha256(target)
        if found != self.download.sha256:
            raise StepError(
                f"{self.download.url} has another SHA-256 than the specification says",
                details=[f"wanted {self.download.sha256}", f"found  {found}"],
            )

    def _fetch(self, job: Job, target: Path) -> None:
        if self.download.url.startswith("file://"):
            target.write_bytes(Path(self.download.url.removeprefix("file://")).read_bytes())
            return
        with requests.get(self.download.url, stream=True, timeout=60) as answer:
            answer.raise_for_status()
            with target.open("wb") as file:
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
                    if job.tools.processes.stopped:
                        raise Interrupted("interrupted")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
