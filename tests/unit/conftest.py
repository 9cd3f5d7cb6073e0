# SPDX-License-Identifier: MIT
"""What the unit tests share."""

from __future__ import annotations

import gc
import io
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Generator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]

from builder.image.ext4_writer import WRITER, compilation
from builder.rootfs.layers import MountedRoot
from builder.sandbox.process import Processes
from builder.steps.step import Job
from builder.store.store import Entry, Store
from tests.fixtures.boot_files import Vendor
from tests.fixtures.command_line import TREE, CommandLine
from tests.fixtures.jobs import MakeJob, PlainTools
from tests.fixtures.leftovers import remaining, remove_large_files
from tests.fixtures.product import ROOT
from tests.fixtures.scheduling import ByDirectory, worker_share
from tests.fixtures.specs import Files

NUMBERS = count()
"""Numbers of the directories for temporary files of this worker's tests."""

SECONDS_TO_END = 10
"""How long processes may take to end after the last test."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Start a worker more than there are cores: a third of the time tests wait for processes."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByDirectory | None:
    """Schedule tests so that what they share is made once."""
    if config.getoption("dist") != "load":  # the default; the caller may choose another one
        return None
    return ByDirectory(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let each worker begin with other modules, and read the bytecode that others have written.

    Pytest compiles a test module in 10 to 100 ms. Without bytecode from an earlier run, workers that
    go through the modules side by side would each compile all of them.
    """
    report = yield
    if isinstance(collector, pytest.Directory):
        worker: dict[str, Any] = getattr(collector.config, "workerinput", {})
        first = worker_share(worker, len(report.result))
        report.result = [*report.result[first:], *report.result[:first]]
    return report


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Keep what is collected out of the garbage collector's sight.

    It stays until the end. To look through it for garbage, again and again, takes seconds of each run.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests into the same order in all workers, as pytest-xdist wants it."""
    items.sort(key=lambda item: str(item.path))


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail if a process outlives the tests that names their directory for temporary files."""
    yield
    left = remaining(f"{tmp_path_factory.getbasetemp()}/", SECONDS_TO_END)
    assert not left, "tests left processes behind"


@pytest.fixture(scope="session")
def passed_directories() -> Iterator[list[Path]]:
    """List of the directories of tests that passed, which are removed after the last test."""
    paths: list[Path] = []
    yield paths
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def tmp_path(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    passed_directories: list[Path],
) -> Iterator[Path]:
    """Directory for the files of one test; a failed test's stays.

    Pytest's own fixture removes it after the test. But each time that a file is made, ext4 passes over
    all inodes that were freed in the last seconds, one by one.
    """
    name = re.sub(r"\W", "_", request.node.name)[:30]
    path = tmp_path_factory.mktemp(f"{name}-{next(NUMBERS)}", numbered=False)
    failed = request.session.testsfailed
    yield path
    if request.session.testsfailed == failed:
        remove_large_files(path)
        passed_directories.append(path)


@pytest.fixture(scope="session")
def ext4_writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store's entry of the program that writes a tree into an ext4."""
    if shutil.which("gcc") is None or not Path("/usr/include/ext2fs/ext2fs.h").exists():
        pytest.skip("needs gcc, libext2fs-dev")
    entry = tmp_path_factory.mktemp("ext4-writer")
    (entry / "files").mkdir()
    subprocess.run([*compilation(entry / "files" / WRITER), "-Werror"], check=True)
    return entry


@pytest.fixture
def repository() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def processes() -> Iterator[Processes]:
    running = Processes()
    yield running
    running.stop()


@pytest.fixture
def build_py(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[CommandLine]:
    # Whoever the tests run as, nothing may ask for a password or build.
    for module in ("planning", "cache", "cleaning"):
        monkeypatch.setattr(f"builder.cli.{module}.ensure_build_environment", lambda *_: None)
    monkeypatch.setenv("COLUMNS", "200")
    before = signal.getsignal(signal.SIGTERM)
    umask = os.umask(0o022)
    yield CommandLine(tmp_path / "store", tmp_path / "output", capsys)
    os.umask(umask)
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def make_job(store: Store, processes: Processes, tmp_path: Path) -> MakeJob:
    def make(output: str = "output", root: MountedRoot | None = None, **inputs: Path) -> Job:
        folder = tmp_path / output
        folder.mkdir()
        return Job(
            inputs={
                name: Entry(key=name, step=name, path=path, seconds=0, size=0)
                for name, path in inputs.items()
            },
            output=folder,
            log=io.StringIO(),
            store=store,
            tools=PlainTools(store, processes, root),
            on_line=lambda _: None,
        )

    return make


@pytest.fixture
def job(make_job: MakeJob) -> Job:
    return make_job()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def boards_dir(tmp_path: Path) -> Path:
    """A directory with a copy of the Pynq-Z2."""
    folder = tmp_path / "boards"
    shutil.copytree(TREE.board_files()["Pynq-Z2"].parent, folder / "Pynq-Z2")
    return folder


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    """A board's maker and his boot files, which are good."""
    (tmp_path / "prebuilt").mkdir()
    return Vendor(tmp_path)
