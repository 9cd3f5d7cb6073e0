# SPDX-License-Identifier: MIT
"""Cached build directory of a source tree, for the next build of the same sources."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path
from typing import cast

import pytest

from builder.bsp.mainline.kbuild import KbuildTree
from builder.errors import StepError
from builder.sandbox.compiler_cache import CompilerCache
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PlainWorkspace
from builder.steps.step import Job, Tools
from builder.store.store import Store
from tests.fixtures.jobs import PlainTools

pytestmark = pytest.mark.skipif(not shutil.which("zstd"), reason="needs zstd")


class Building:
    """Build of a tree with one Makefile, each time in a new workspace."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        self.store = store
        self.tools = PlainTools(store, Processes())
        self.tools.compiler_cache = CompilerCache(folder / "ccache", limit=1 << 20)
        self.package = folder / "package"
        (folder / "linux").mkdir()
        (folder / "linux/Makefile").touch()
        self.package.mkdir()
        archive = self.package / "linux.tar.gz"
        subprocess.run(["tar", "-C", folder, "-czf", archive, "linux"], check=True)

    def tree(self, name: str) -> tuple[KbuildTree, io.StringIO]:
        log = io.StringIO()
        output = self.folder / name
        output.mkdir()
        workspace = PlainWorkspace(output, processes=self.tools.processes)
        job = Job(
            inputs={},
            output=output,
            log=log,
            store=self.store,
            tools=cast(Tools, self.tools),
            on_line=lambda _: None,
        )
        tree = KbuildTree(
            job, workspace, self.package, arch="arm", cross_compile="arm-", compilers={}
        )
        return tree, log


@pytest.fixture
def building(tmp_path: Path, store: Store) -> Building:
    return Building(tmp_path, store)


def kept(building: Building, name: str = "first") -> Path:
    """Cache a build directory; return its path."""
    tree, _ = building.tree(name)
    (tree.build / "object.o").write_text("x" * 100)
    (tree.build / ".version").write_text("1")
    os.utime(tree.build / "object.o", (1000, 1000))
    tree.keep("identity")
    assert building.tools.compiler_cache
    return building.tools.compiler_cache.build_directory("identity")


def test_the_next_build_goes_on_with_times_as_they_were(building: Building) -> None:
    kept(building)
    tree, log = building.tree("second")
    tree.restore("identity")
    assert [path.name for path in tree.build.iterdir()] == ["object.o"]
    assert (tree.build / "object.o").stat().st_mtime == 1000
    assert "building incrementally" in log.getvalue()


def test_other_sources_use_no_cached_build_directory(building: Building) -> None:
    kept(building)
    tree, _ = building.tree("second")
    tree.restore("another")
    assert not [*tree.build.iterdir()]


def test_a_damaged_one_is_thrown_away(building: Building) -> None:
    archive = kept(building)
    archive.write_bytes(archive.read_bytes()[:-20])
    tree, log = building.tree("second")
    tree.restore("identity")
    assert not [*tree.build.iterdir()]
    assert "is damaged" in log.getvalue()
    assert not archive.exists()


def test_without_a_cache_no_build_directory_is_cached(building: Building) -> None:
    building.tools.compiler_cache = None
    tree, _ = building.tree("first")
    tree.keep("identity")
    tree.restore("identity")
    assert not (building.folder / "ccache").exists()


def test_sources_in_a_directory_below_the_top_are_refused(building: Building) -> None:
    archive = building.package / "linux.tar.gz"
    subprocess.run(["tar", "-C", building.folder, "-czf", archive, "./linux"], check=True)
    with pytest.raises(StepError, match=r"linux\.tar\.gz has no Makefile in its top") as caught:
        building.tree("one")
    assert caught.value.hint
