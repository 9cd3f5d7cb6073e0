# SPDX-License-Identifier: MIT
"""Downloads of sources: only verified files are stored."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from builder.errors import StepError
from builder.network.download import Limits
from builder.plan.plan import make_plan
from builder.publish.manifest import sources
from builder.spec.models import Download, Place
from builder.steps.sources import UrlSource
from builder.steps.step import Job
from builder.store.checksum import sha256
from tests.fixtures.archive import QuietHandler, serving
from tests.fixtures.jobs import EMPTY, url_source


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_sha256_is_that_of_coreutils(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    told = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout
    assert sha256(path) == told.split()[0]


def test_a_verified_download_is_stored(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "linux.tar"
    path.write_text("")
    url_source(f"file://{path}").run(job)
    assert [item.name for item in job.output.iterdir()] == ["linux.tar"]


def test_different_content_is_refused_with_both_hashes(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "linux.tar"
    path.write_text("evil")
    with pytest.raises(StepError, match="SHA-256 of the download differs") as caught:
        url_source(f"file://{path}").run(job)
    assert caught.value.details == (f"expected {EMPTY}", f"found    {sha256(path)}")
    assert not [*job.output.iterdir()], "no unverified file remains"


def test_a_password_in_a_url_is_not_shown(job: Job) -> None:
    source = url_source("http://user:geheim@127.0.0.1:9/linux.tar")
    said: list[str] = []
    job.on_line = said.append
    with pytest.raises(
        StepError, match=r"http://127\.0\.0\.1:9/linux\.tar cannot be downloaded"
    ) as caught:
        source.run(job)
    assert said
    assert "geheim" not in "".join([str(caught.value), *caught.value.details, *said])
    (told,) = sources(make_plan([source], job.store))
    assert told["url"] == "http://127.0.0.1:9/linux.tar"


class HangsUp(QuietHandler):
    """A server that announces more bytes than it sends."""

    def do_GET(self) -> None:  # noqa: N802 - its name
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 500)
        self.close_connection = True


def test_half_a_download_is_never_there_under_its_name(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(HangsUp) as host:
        url = f"http://{host}/linux.tar"
        with pytest.raises(StepError, match=r"linux\.tar cannot be downloaded: Connection broken"):
            url_source(url, hashlib.sha256(b"x" * 500).hexdigest()).run(job)
    assert not [*job.output.iterdir()]


def test_a_large_download_has_to_be_declared(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "linux.tar"
    path.write_bytes(b"x" * 2000)

    def source(most: str | None) -> UrlSource:
        given = {"url": f"file://{path}", "sha256": sha256(path), "max-size": most}
        return UrlSource(
            "it", Download.model_validate(given), scope="s", limits=Limits(size=1000, waits=())
        )

    for most, told in ((None, "larger than 1000"), ("1K", "larger than 1K")):
        with pytest.raises(StepError, match=told) as caught:
            source(most).run(job)
        assert "`max-size`" in (caught.value.hint or "")
    source("2K").run(job)
    assert [item.name for item in job.output.iterdir()] == ["linux.tar"]
    assert source("2K").settings() == source(None).settings()


@pytest.mark.parametrize("most", ["0K", "-1", "8", "a lot", "0"])
def test_a_limit_is_a_size(most: str) -> None:
    with pytest.raises(ValidationError):
        Download.model_validate({"url": "http://x.invalid/x", "sha256": EMPTY, "max-size": most})


def test_the_limit_of_a_place_is_that_of_its_download() -> None:
    there = {"url": "http://x.invalid/x", "sha256": EMPTY, "max-size": "20G"}
    download = Place.model_validate(there).download
    assert download
    assert download.max_size == 20 << 30
    with pytest.raises(ValidationError, match="`max-size` is for a `url`"):
        Place.model_validate({"file": "x", "max-size": "20G"})


@pytest.mark.parametrize("url", ["file:///nowhere/x.tar", "http://127.0.0.1:9/x.tar"])
def test_a_download_that_fails_is_an_expected_error(
    job: Job, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(StepError) as caught:
        url_source(url).run(job)
    assert url in caught.value.message


def test_a_download_from_another_place_is_the_same() -> None:
    one, two = (url_source(f"http://{host}.invalid/x.tar") for host in ("one", "two"))
    assert one.settings() == two.settings()
    assert one.settings() != url_source("http://one.invalid/x.tar", "0" * 64).settings()
