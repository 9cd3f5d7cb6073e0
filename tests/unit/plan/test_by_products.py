# SPDX-License-Identifier: MIT
"""By-products: their plans, and the content of a sysroot."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.plan.board_steps import BoardSteps, board_steps
from builder.plan.by_products import PRODUCTS
from builder.plan.merge import BoardPlan
from builder.plan.plan import make_plan
from builder.publish.output import Output, finish
from builder.rootfs.by_products import DevelopmentPackages, _compiler, relative_links
from builder.scheduler.scheduler import Outcome
from builder.spec.resolve import resolve
from builder.store.store import Store
from builder.untrusted.tree import ForeignTree
from tests.fixtures.command_line import TREE, CommandLine, FakeArchive


def steps_of(only: str, monkeypatch: pytest.MonkeyPatch) -> BoardSteps:
    monkeypatch.setattr(FakeArchive, "versions", lambda *_: {"gcc": "4:12.2.0-3"})
    spec = resolve(TREE, "Pynq-Z2", distro="debian-bookworm")
    return board_steps(spec, FakeArchive(), only=only)


@pytest.mark.parametrize(
    ("only", "there", "missing"),
    [
        ("boot-files", {"kernel", "u-boot", "boot-files"}, {"bootstrap", "image"}),
        ("kernel", {"kernel"}, {"u-boot", "bootstrap", "image"}),
        ("rootfs", {"bootstrap", "recipe:ssh", "rootfs"}, {"kernel", "image"}),
        ("sysroot", {"bootstrap", "development", "sysroot"}, {"kernel", "image"}),
    ],
)
def test_a_by_product_plans_only_the_steps_it_needs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only: str,
    there: set[str],
    missing: set[str],
) -> None:
    plan = make_plan(steps_of(only, monkeypatch).targets, Store(tmp_path))
    names = {item.step.name for item in plan}
    assert there <= names
    assert not missing & names


def test_a_sysroot_has_the_image_layers_and_development_packages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = steps_of("sysroot", monkeypatch)
    assert steps.product
    development = steps.product.parents["development"]
    assert isinstance(development, DevelopmentPackages)
    assert {"openssh-server", "libc6-dev", "libstdc++-12-dev", "python3-dev"} <= {
        *development.wanted
    }


@pytest.mark.parametrize(
    ("version", "number"), [("4:12.2.0-3", "12"), ("11.4.0-1ubuntu1", "11"), ("", None)]
)
def test_the_major_version_of_the_compiler(version: str, number: str | None) -> None:
    assert _compiler(version) == number


def test_links_stay_within_a_sysroot(tmp_path: Path) -> None:
    library = tmp_path / "usr/lib/triplet"
    library.mkdir(parents=True)
    (library / "libz.so.1").write_text("z")
    (tmp_path / "lib").symlink_to("usr/lib")
    (library / "libz.so").symlink_to("/lib/triplet/libz.so.1")
    (library / "libown.so").symlink_to("libz.so.1")
    (tmp_path / "etc").symlink_to("/nowhere")
    relative_links(ForeignTree(tmp_path))
    assert (library / "libz.so").read_text() == "z"
    assert str((library / "libz.so").readlink()) == "../../../lib/triplet/libz.so.1"
    assert str((library / "libown.so").readlink()) == "libz.so.1"
    assert str((tmp_path / "etc").readlink()) == "nowhere"


@pytest.mark.parametrize("only", [*PRODUCTS])
def test_only_the_by_product_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only: str
) -> None:
    steps = steps_of(only, monkeypatch)
    assert steps.product
    store = Store(tmp_path / "store")
    with store.building("k"):
        (store.draft("k") / "made").write_text("it")
        entry = store.commit("k", step=steps.product.name, components={}, seconds=1)
    output = Output(directory=tmp_path / "output", board="Pynq-Z2")
    output.logs.mkdir(parents=True)
    folder = output.directory / (PRODUCTS[only].folder or "")
    if folder != output.directory:
        folder.mkdir()
        (folder / "old").write_text("of another build")
    board = BoardPlan(steps=steps, plan=make_plan(steps.targets, store))
    result = finish(
        output,
        board,
        Outcome(entries={steps.product: entry}, made=frozenset([steps.product]), failures=()),
    )
    assert result.complete
    found = {path.name for path in folder.iterdir()} - {"logs"}
    assert found == {"made"}
    assert not output.manifest.exists()
    (place,) = result.products
    assert place == (folder if PRODUCTS[only].folder else folder / "made")


def test_a_by_product_can_be_planned(build_py: CommandLine) -> None:
    answer = build_py.there("plan", "--board", "Pynq-Z2", "--only", "nothing")
    assert answer.status == 2
    assert "boot-files" in answer.errors
