# SPDX-License-Identifier: MIT
"""The compiler cache, with this machine's compiler and ccache."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.errors import CommandError, StepError
from builder.sandbox.compiler_cache import CacheUse, CompilerCache
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PlainWorkspace

pytestmark = pytest.mark.skipif(
    not (shutil.which("ccache") and shutil.which("gcc")), reason="needs ccache and gcc"
)

SOURCE = """\
#include "number.h"
int number(void) { return NUMBER; }
"""


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., tuple[bytes, CacheUse]]:
    """Compile a source in a workspace of its own; return the object and the cache's statistics."""
    cache = CompilerCache(tmp_path / "ccache", limit=100 << 20)

    def compile_(
        place: str,
        *,
        header: str = "#define NUMBER 1\n",
        cached: bool = True,
        compiler: str = "gcc",
    ) -> tuple[bytes, CacheUse]:
        folder = tmp_path / place
        (folder / "source").mkdir(parents=True)
        (folder / "source/number.h").write_text(header)
        (folder / "source/number.c").write_text(SOURCE)
        with PlainWorkspace(folder, processes=Processes()) as workspace:
            environment = cache.prepare(workspace, [compiler]) if cached else {}
            # With relative paths, as make compiles the trees; -g adds the directory.
            words = ["-g", f"-ffile-prefix-map={folder}=.", "-Isource", "-c", "source/number.c"]
            workspace.run(
                [compiler, *words, "-o", "number.o"],
                environment=environment,
            )
            return (folder / "number.o").read_bytes(), cache.use(workspace)

    return compile_


Compile = Callable[..., tuple[bytes, CacheUse]]


def test_another_workspace_gets_the_same_object(compiled: Compile) -> None:
    plain, _ = compiled("plain", cached=False)
    first, use = compiled("first")
    assert use == CacheUse(compilations=1, hits=0)
    second, use = compiled("a/longer/path")
    assert use == CacheUse(compilations=1, hits=1)
    assert plain == first == second


def test_a_changed_header_is_another_object(compiled: Compile) -> None:
    one, _ = compiled("one")
    two, use = compiled("two", header="#define NUMBER 2\n")
    assert use.hits == 0
    assert one != two


def test_a_macro_that_is_not_used_changes_nothing(compiled: Compile) -> None:
    """Like an option of the kernel that a source does not use."""
    one, _ = compiled("one")
    two, use = compiled("two", header="#define NUMBER 1\n#define OTHER 2\n")
    assert use.hits == 1
    assert one == two


def test_another_compiler_is_another_object(
    compiled: Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even with the same name, size and time."""
    programs = tmp_path / "programs"
    programs.mkdir()
    paths = f"{programs}:/usr/bin:/bin"
    monkeypatch.setattr("builder.sandbox.process.SEARCH_PATH", paths)
    monkeypatch.setattr("builder.sandbox.compiler_cache.SEARCH_PATH", paths)
    found = []
    for version in "12":
        program = programs / "gcc"
        program.write_text(f'#!/bin/sh\n# version {version}\nexec /usr/bin/gcc "$@"\n')
        program.chmod(0o755)
        assert stat.S_IMODE(program.stat().st_mode) == 0o755
        found.append(compiled(version)[1].hits)
    assert found == [0, 0]
    assert compiled("again")[1].hits == 1


def test_an_error_in_the_source_is_reported(compiled: Compile) -> None:
    with pytest.raises(CommandError, match="gcc ended with status 1"):
        compiled("bad", header="")


def test_a_missing_compiler_is_reported(compiled: Compile) -> None:
    with pytest.raises(CommandError):
        compiled("none", compiler="no-such-gcc")


def test_the_cache_holds_whole_build_directories_used_last(tmp_path: Path) -> None:
    cache = CompilerCache(tmp_path, limit=1)
    keeping = cache.keeping("a")
    keeping.__enter__().write_text("half")
    keeping.__exit__(StepError, StepError("interrupted"), None)
    assert not cache.build_directory("a").exists()
    assert not [*tmp_path.rglob("*a*")]
    for number, name in enumerate("abcdefgh"):
        with cache.keeping(name) as archive:
            archive.write_text(name)
        os.utime(cache.build_directory(name), (number, number))
    with cache.keeping("h") as archive:
        archive.write_text("another")
    found = {name for name in "abcdefgh" if cache.build_directory(name).exists()}
    assert found == {*"cdefgh"}
    assert cache.build_directory("h").read_text() == "another"


def test_without_compilations_there_is_no_percentage() -> None:
    assert str(CacheUse(compilations=0, hits=0)) == "compiler cache: 0 of 0 objects"
    assert str(CacheUse(compilations=3, hits=2)) == "compiler cache: 2 of 3 objects (66 %)"
