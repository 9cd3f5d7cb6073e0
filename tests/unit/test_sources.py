# SPDX-License-Identifier: MIT
"""Downloads: kept if they are what was asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builder.errors import StepError
from builder.steps.sources import sha256
from builder.steps.step import Job
from tests.unit.jobs import EMPTY, url_source


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_sha256_is_that_of_coreutils(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    told = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout
    assert sha256(path) == told.split()[0]


def test_a_download_is_kept_if_it_is_what_was_asked_for(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "linux.tar"
    path.write_text("")
    url_source(f"file://{path}").run(job)
    assert [item.name for item in job.output.iterdir()] == ["linux.tar"]


def test_another_content_is_refused_with_both_hashes(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "linux.tar"
    path.write_text("evil")
    with pytest.raises(StepError, match="has another SHA-256 than the specification") as caught:
        url_source(f"file://{path}").run(job)
    assert caught.value.details == (f"wanted {EMPTY}", f"found  {sha256(path)}")


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
