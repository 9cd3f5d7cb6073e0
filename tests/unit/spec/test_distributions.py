# SPDX-License-Identifier: MIT
"""Distributions, and recipes' packages, lock files and source distributions for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import UserError
from builder.spec.models import Architecture
from builder.spec.resolve import ResolvedRecipe
from tests.fixtures.specs import DISTRIBUTION, Files


def test_a_pinned_distribution_is_the_only_one(files: Files) -> None:
    files.write("distributions/two.yaml", DISTRIBUTION.replace("One", "Two"))
    assert [item.name for item in files.resolve(distro="two").distributions] == ["two"]
    with pytest.raises(UserError, match=r"^--distro tow: there is none \(did you mean two\?\)$"):
        files.resolve(distro="tow")


@pytest.mark.parametrize("archive", ["main", "main-amd64"])
def test_mirrors_of_local_settings_are_used(files: Files, archive: str) -> None:
    """Also those for one architecture, which the distribution need not have."""
    files.write("local.yaml", f"mirrors: {{one: {{{archive}: http://near.invalid}}}}\n")
    (distribution,) = files.resolve().distributions
    assert distribution.mirrors == {archive: "http://near.invalid"}


def test_a_mirror_for_an_unknown_archive_is_refused(files: Files) -> None:
    files.write("local.yaml", "mirrors:\n  one: {mian: http://near.invalid}\n")
    (problem,) = files.problems()
    assert problem.startswith("local.yaml:2: mirrors.one.mian: ")
    assert "did you mean main?" in problem


@pytest.mark.parametrize(
    ("apt", "packages"),
    [
        ("[xx, yy]", "xx yy"),
        ("{all: [xx], one: [yy], two: [zz]}", "xx yy"),
        ("{debian: [xx], ubuntu: [yy]}", "xx"),
        ("{armhf: [xx], arm64: [yy]}", "xx"),
        ("{armhf: [p1], debian: [q1], one: [r1], all: [s1]}", "s1 r1 q1 p1"),
        ("[]", ""),
    ],
)
def test_packages_for_distribution_family_and_architecture_are_combined(
    files: Files, apt: str, packages: str
) -> None:
    files.write("distributions/two.yaml", DISTRIBUTION)
    files.recipe("a", f"apt: {apt}\n")
    spec = files.resolve()
    (recipe,) = spec.recipes
    assert recipe.packages(spec.distributions[0], spec.architecture) == packages.split()


def test_the_lock_file_depends_on_distribution_and_architecture(files: Files) -> None:
    def lock(recipe: ResolvedRecipe) -> Path | None:
        return recipe.lock_file(spec.distributions[0], spec.architecture)

    spec = files.resolve()
    assert lock(spec.recipes[0]) is None
    files.recipe("a", "pip: '{distribution}-{architecture}.txt'\n")
    spec = files.resolve()
    assert lock(spec.recipes[0]) == files.root / "recipes/a/one-armhf.txt"


@pytest.mark.parametrize(
    ("pip", "lock"),
    [
        ("{all: a}", "a"),
        ("{armhf: b, all: a}", "b"),
        ("{debian: c, armhf: b, all: a}", "c"),
        ("{one: d, debian: c, armhf: b, all: a}", "d"),
        ("{two: d, ubuntu: c, arm64: b}", None),
        ("{arm64: '{distribution}.txt', armhf: '{distribution}-{architecture}'}", "one-armhf"),
    ],
)
def test_the_lock_file_of_the_most_specific_target_is_used(
    files: Files, pip: str, lock: str | None
) -> None:
    files.write("distributions/two.yaml", DISTRIBUTION)
    files.recipe("a", f"pip: {pip}\n")
    spec = files.resolve()
    (recipe,) = spec.recipes
    expected = files.root / "recipes/a" / lock if lock else None
    assert recipe.lock_file(spec.distributions[0], spec.architecture) == expected
    assert (spec.unusable(spec.distributions[0]) is None) == (lock is None)


@pytest.mark.parametrize("name", ["{distro}.txt", "{}.txt", "{distribution"])
@pytest.mark.parametrize(("form", "key"), [("'{}'", "pip"), ("{{one: '{}'}}", "pip.one")])
def test_an_unknown_placeholder_in_a_lock_files_name_is_a_problem(
    files: Files, name: str, form: str, key: str
) -> None:
    files.recipe("a", f"pip: {form.format(name)}\n")
    (problem,) = files.problems()
    assert problem.startswith(f"recipes/a/recipe.yaml:2: {key}: may hold ")


def test_a_distribution_without_a_lock_file_is_unusable(files: Files) -> None:
    files.recipe("a", "pip: '{distribution}.txt'\n")
    spec = files.resolve()
    lock = files.root / "recipes/a/one.txt"
    problem = "recipe a has no lock file for one on armhf: recipes/a/one.txt is missing"
    assert spec.unusable(spec.distributions[0]) == problem
    lock.touch()
    assert spec.unusable(spec.distributions[0]) is None


def test_source_distributions_depend_on_the_target(files: Files) -> None:
    one, two = "1" * 64, "2" * 64
    files.write("recipes/a/host.sh", "")
    files.recipe("a", f"scripts: {{host: host.sh}}\nsdists: {{a-1.tar.gz: {one!r}}}\n")
    (distribution,) = files.resolve().distributions
    armhf = Architecture.ARMHF
    assert files.resolve().recipes[0].sdists(distribution, armhf) == {"a-1.tar.gz": one}
    files.recipe(
        "a",
        f"""\
        scripts: {{host: host.sh}}
        sdists:
          all: {{a-1.tar.gz: "{one}"}}
          armhf: {{b-1.tar.gz: "{two}"}}
          arm64: {{c-1.tar.gz: "{two}"}}
        """,
    )
    found = files.resolve().recipes[0].sdists(distribution, armhf)
    assert found == {"a-1.tar.gz": one, "b-1.tar.gz": two}
    files.recipe("a", "sdists: {risc: {a-1.tar.gz: x}}\n")
    assert files.problems()
