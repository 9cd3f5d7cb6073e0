# SPDX-License-Identifier: MIT
"""Files of a Python package index on this machine."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from builder.errors import StepError
from builder.rootfs.python_index import IndexSource, index_url
from builder.sandbox.process import Processes
from builder.steps.step import Job, Tools
from builder.store.checksum import sha256
from builder.store.store import Store
from tests.fixtures.archive import QuietHandler, serving

FILE = "A_b-1.0+x.tar.gz"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An index with the project a-b and its file, in the layout of mirrors."""
    folder = tmp_path / "index"
    (folder / "simple/a-b").mkdir(parents=True)
    (folder / "files").mkdir()
    (folder / "files" / FILE).write_text("content")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(functools.partial(QuietHandler, directory=str(folder))) as host:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://{host}/simple")
        page(folder, "../../files/A_b-1.0%2Bx.tar.gz#sha256=0", "../../files/A_b-1.0.tar.gz")
        yield folder


@pytest.fixture
def job(tmp_path: Path, store: Store, processes: Processes) -> Job:
    (tmp_path / "output").mkdir()
    tools = cast(Tools, SimpleNamespace(processes=processes))
    return Job(
        inputs={},
        output=tmp_path / "output",
        log=io.StringIO(),
        store=store,
        tools=tools,
        on_line=lambda _: None,
    )


def page(folder: Path, *links: str) -> None:
    text = "".join(f'<a href="{link}" data-x>some name</a><br/>\n' for link in links)
    (folder / "simple/a-b/index.html").write_text(f"<!DOCTYPE html><html>{text}</html>")


def source(file: str = FILE, checksum: str = "0" * 64) -> IndexSource:
    return IndexSource("it", file, checksum, scope="s")


def test_a_file_is_found_by_its_name(index: Path, job: Job) -> None:
    source(checksum=sha256(index / "files" / FILE)).run(job)
    (found,) = job.output.iterdir()
    assert found.read_text() == "content"


def test_another_content_is_refused(index: Path, job: Job) -> None:
    with pytest.raises(StepError, match="the SHA-256 of the download differs"):
        source().run(job)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("A_b-2.0.tar.gz", r"/simple/a-b/ has no A_b-2\.0\.tar\.gz"),
        ("c-1.tar.gz", "the package index has no c: 404"),
    ],
)
def test_what_is_not_there_is_said(index: Path, job: Job, file: str, message: str) -> None:
    with pytest.raises(StepError, match=message) as caught:
        source(file).run(job)
    assert "PIP_INDEX_URL" in (caught.value.hint or "")


def test_the_index_is_the_one_that_pip_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = http://x.invalid/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    assert index_url() == "http://x.invalid/simple"
    config.write_text("")
    assert index_url().endswith("/simple")
    monkeypatch.setenv("PIP_INDEX_URL", "http://y.invalid/simple")
    assert index_url() == "http://y.invalid/simple"


def test_where_it_comes_from_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    one = source().settings()
    monkeypatch.setenv("PIP_INDEX_URL", "http://y.invalid/simple")
    assert source().settings() == one
    assert source(checksum="1" * 64).settings() != one
