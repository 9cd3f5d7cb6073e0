# SPDX-License-Identifier: MIT
"""Content of lock files, created by the real uv from a small index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from builder.errors import StepError
from builder.python_lock.lock import make_lock, read_lock, write_lock
from builder.python_lock.modules import has_modules
from builder.python_lock.resolution import Resolver, Target
from builder.spec.models import Architecture
from builder.spec.recipe import Recipe
from builder.spec.resolve import NamedDistribution, ResolvedRecipe
from builder.store.checksum import sha256
from tests.fixtures.archive import ARM64, ARMHF, QuietHandler, distribution, serving
from tests.fixtures.package_index import Index, shown

Make = Callable[..., str]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "index")


@pytest.fixture
def url(index: Index, no_proxies: None) -> Iterator[str]:
    index.root.mkdir()
    with serving(partial(QuietHandler, directory=str(index.root))) as host:
        yield f"http://user:secret@{host}/simple"


@pytest.fixture
def system(tmp_path: Path) -> NamedDistribution:
    return distribution("http://x.invalid", tmp_path / "keyring", name="one", python="3.11")


def recipe(folder: Path, name: str = "r", **keys: Any) -> ResolvedRecipe:
    model = Recipe.model_validate(
        {"summary": name, "pip": "{distribution}-{architecture}.txt", **keys}, by_name=True
    )
    directory = folder / name
    directory.mkdir(exist_ok=True)
    return ResolvedRecipe(name=name, directory=directory, model=model, parameters={})


@pytest.fixture
def make(tmp_path: Path, url: str, system: NamedDistribution) -> Make:
    def made(
        wanted: ResolvedRecipe,
        *required: ResolvedRecipe,
        architecture: Architecture = ARMHF,
        **brought: str,
    ) -> str:
        work = tmp_path / "work"
        while work.exists():
            work = work.with_name(f"{work.name}0")
        work.mkdir()
        return make_lock(
            wanted, required, system, architecture, brought=brought, index=url, work=work
        )

    return made


def test_a_lock_holds_what_is_needed_with_the_hash_of_the_one_wheel(
    tmp_path: Path, index: Index, make: Make
) -> None:
    index.wheel("app", "1.0", "lib-part>=2")
    app = index.wheel("app", "2.0", "lib-part>=2", 'other; sys_platform == "win32"')
    any_wheel = index.wheel("lib-part", "2.1")
    arm = index.wheel("lib-part", "2.1", tag="cp311-cp311-manylinux_2_17_aarch64")
    wanted = recipe(tmp_path, requirements=["app"])
    text = make(wanted)
    assert text.splitlines()[:4] == [
        "# SPDX-License-Identifier: MIT",
        "# Locked for one on armhf, Python 3.11, by",
        "#     build.py lock --recipe r --distro one --architecture armhf",
        "# Requirements:",
    ]
    assert text.splitlines()[-2:] == [
        f"app==2.0 --hash=sha256:{sha256(app)}",
        f"lib-part==2.1 --hash=sha256:{sha256(any_wheel)}",
    ]
    assert make(wanted) == text, "not the same a second time"
    assert f"lib-part==2.1 --hash=sha256:{sha256(arm)}" in make(wanted, architecture=ARM64)
    assert "127.0.0.1" not in text
    assert "secret" not in text


def test_what_apt_brings_is_left_out_if_it_fits(tmp_path: Path, index: Index, make: Make) -> None:
    index.wheel("app", "1.0", "old", "numpy")
    index.wheel("old", "9.0")
    index.wheel("numpy", "2.0", tag="cp311-cp311-manylinux_2_17_x86_64")
    wanted = recipe(tmp_path, requirements=["app"])
    assert shown(make(wanted, old="1.0+debian", numpy="1.24.2")) == ["app==1.0"]
    newer = recipe(tmp_path, requirements=["app", "old>=2"])
    assert shown(make(newer, old="1.0", numpy="1.24.2")) == ["app==1.0", "old==9.0"]


def test_what_other_locks_hold_has_to_fit_and_is_left_out(
    tmp_path: Path, index: Index, make: Make
) -> None:
    for version in ("1.0", "2.0"):
        index.wheel("base", version)
    index.wheel("app", "1.0", "base")
    index.wheel("strict", "1.0", "base>=2")
    below = recipe(tmp_path, "below")
    (below.directory / "one-armhf.txt").write_text(f"base==1.0 --hash=sha256:{'0' * 64}\n")
    text = make(recipe(tmp_path, requirements=["app"]), below)
    assert shown(text) == ["app==1.0"]
    assert "the lock of below" in text
    with pytest.raises(StepError) as caught:
        make(recipe(tmp_path, requirements=["strict"]), below)
    said = "\n".join(caught.value.details)
    assert "strict==1.0 depends on base>=2" in said.replace("\n", " ") or "base>=2" in said
    assert "secret" not in said


def test_a_version_without_a_wheel_for_the_target_is_passed_over(
    tmp_path: Path, index: Index, make: Make
) -> None:
    index.wheel("fast", "1.0")
    index.wheel("fast", "2.0", tag="cp311-cp311-manylinux_2_17_aarch64")
    wanted = recipe(tmp_path, requirements=["fast"])
    assert shown(make(wanted)) == ["fast==1.0"]
    assert shown(make(wanted, architecture=ARM64)) == ["fast==2.0"]


def test_a_version_must_run_on_the_first_release_of_the_targets_python(
    tmp_path: Path, index: Index, make: Make
) -> None:
    index.wheel("late", "1.0")
    index.wheel("late", "2.0", python=">=3.11.5")
    assert shown(make(recipe(tmp_path, requirements=["late"]))) == ["late==1.0"]


def test_requirements_are_those_of_the_target(tmp_path: Path, index: Index, make: Make) -> None:
    for name in ("one", "two", "three"):
        index.wheel(name, "1.0")
    wanted = recipe(
        tmp_path,
        requirements={
            "all": ["one"],
            "armhf": ["two"],
            "arm64": ['three; python_version < "3.11"'],
        },
    )
    assert shown(make(wanted)) == ["one==1.0", "two==1.0"]
    assert shown(make(wanted, architecture=ARM64)) == ["one==1.0"]


def test_changes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "requirements/one.txt"
    assert write_lock(path, "a==1 --hash=x\nb==1 --hash=y\n").added == ("a 1", "b 1")
    change = write_lock(path, "# new\na==2 --hash=z\nb==1 --hash=y\n")
    assert (change.removed, change.added) == (("a 1",), ("a 2",))
    assert read_lock(path) == {"a": "2", "b": "1"}


@pytest.mark.parametrize(
    ("packages", "found"),
    [
        (["python3", "python3-pip", "python3-venv", "libmagic1"], []),
        (["python3", "python3-numpy"], ["python3-numpy"]),
        ([], []),
    ],
)
def test_the_interpreters_own_packages_are_no_modules(
    packages: Sequence[str], found: Sequence[str]
) -> None:
    assert has_modules(packages) is bool(found)


def test_the_nearest_tag_of_a_platform_comes_first() -> None:
    ranks = {str(tag): rank for tag, rank in Target(python="3.11", architecture=ARMHF).tags.items()}
    assert ranks["cp311-cp311-manylinux_2_31_armv7l"] < ranks["cp311-cp311-manylinux_2_17_armv7l"]
    assert ranks["cp311-cp311-linux_armv7l"] < ranks["py3-none-any"]
    assert not [tag for tag in ranks if "x86_64" in tag]


@pytest.mark.parametrize(
    "hashes", [{}, {"sha256": "0" * 63}, {"sha256": f"{'0' * 64}\nevil==1"}, {"md5": "0" * 32}]
)
def test_a_wheel_without_a_sha256_is_not_locked(tmp_path: Path, hashes: dict[str, str]) -> None:
    resolver = Resolver(Target(python="3.11", architecture=ARMHF), "http://x.invalid", tmp_path)
    wheel = {"name": "app-1.0-py3-none-any.whl", "hashes": hashes}
    with pytest.raises(StepError, match=r"no SHA-256 of app-1\.0-py3-none-any\.whl"):
        resolver._pin({"name": "app", "version": "1.0", "wheels": [wheel]})  # noqa: SLF001
