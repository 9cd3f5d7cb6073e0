# SPDX-License-Identifier: MIT
"""Files of the Python package index that are no wheels.

pip fetches a source distribution only to run its code, to learn what it needs. Here it is a file
like any other, found by the index's own protocol (PEP 503) and checked against its hash.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

from pip._internal.models.index import PyPI

from builder.errors import StepError
from builder.network.download import DownloadError, Limits, fetch
from builder.sandbox.process import Processes
from builder.spec.models import Download
from builder.steps.sources import UrlSource
from builder.steps.step import Job, Step

_HINT = "check the network, and PIP_INDEX_URL or pip's configuration"
_PAGE = Limits(size=64 << 20, seconds=300)
"""Bounds of a page of the index: of the largest projects it takes a few MiB."""


class IndexSource(Step):
    """One file of the package index that pip is configured for, checked against its SHA-256."""

    fetches = True

    def __init__(self, name: str, file: str, checksum: str, *, scope: str) -> None:
        super().__init__(name, scope=scope)
        self.file = file
        self.checksum = checksum

    def settings(self) -> Mapping[str, object]:
        return {"sha256": self.checksum, "name": self.file}

    def provenance(self, output: Path | None) -> Mapping[str, object]:  # noqa: ARG002
        return {"sdist": self.file, "sha256": self.checksum}

    def run(self, job: Job) -> None:
        url = self.find(index_url(), job.tools.processes)
        found = Download(url=url, sha256=self.checksum)
        UrlSource(self.name, found, scope=self.scope).run(job)

    def find(self, index: str, processes: Processes) -> str:
        """Return the file's URL, as an index has it.

        Raises:
            StepError: it has none.
            Interrupted: everything has been told to stop.
        """
        # PROJECT-VERSION.tar.gz, the project in the index's own spelling (PEP 503).
        project = re.sub(r"[-_.]+", "-", self.file.rpartition("-")[0]).lower()
        page = f"{index.rstrip('/')}/{project}/"
        text = io.BytesIO()
        accepted = {"Accept": "text/html"}
        try:
            got = fetch(page, text, processes=processes, limits=_PAGE, headers=accepted)
        except DownloadError as error:
            message = f"the package index has no {project}: {error.why}"
            raise StepError(message, hint=_HINT) from error
        links = _Links()
        links.feed(text.getvalue().decode(errors="replace"))
        for link in links.found:
            url, _ = urldefrag(urljoin(got.url, link))
            if unquote(url).rpartition("/")[2] == self.file:
                return url
        raise StepError(f"{page} has no {self.file}", hint=_HINT)


class _Links(HTMLParser):
    """Collects where a page's links lead to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for key, value in attrs if (tag, key) == ("a", "href") and value]


def index_url() -> str:
    """Return the package index: PIP_INDEX_URL, that of pip's configuration, or pip's own."""
    if url := os.environ.get("PIP_INDEX_URL"):
        return url
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found = re.search(r"^(?:download|global)\.index-url='(.+)'$", listed, re.MULTILINE)
    return found[1] if found else PyPI.simple_url
