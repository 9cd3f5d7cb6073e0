# SPDX-License-Identifier: MIT
"""The steps of customized images, and requests that are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from builder.apt.archive import Archive
from builder.errors import UserError
from builder.image.base_image import BaseFacts, BaseImage
from builder.plan.customization import (
    Archives,
    CustomSteps,
    Request,
    custom_steps,
    distribution_of,
)
from builder.plan.plan import make_plan
from builder.report.events import Event, Note
from builder.rootfs.native.programs import Rules
from builder.spec.extra import extra_recipes
from builder.spec.models import Architecture
from builder.spec.overlays import find_design
from builder.spec.reader import SpecTree
from builder.store.store import Store
from tests.fixtures.command_line import TREE, FakeArchive
from tests.fixtures.specs import Files


def facts(**changes: Any) -> BaseFacts:
    values: dict[str, Any] = {
        "sha256": "0" * 64,
        "size": 4 << 30,
        "boot_offset": 4 << 20,
        "boot_size": 100 << 20,
        "root_offset": 104 << 20,
        "root_size": 1 << 30,
        "label": "root",
        "uuid": "64448fe0-ddfb-5348-96b1-ed8a57f75452",
        "features": ("extent",),
        "epoch": 1000,
        "architecture": Architecture.ARMHF,
        "os": {"ID": "debian", "VERSION_ID": "12", "VERSION_CODENAME": "bookworm"},
        "suites": ("bookworm",),
        "packages": {"sudo": "1", "python3": "1"},
        "python": "3.11",
        "board": "Pynq-Z2",
        "boot_mounted": True,
    }
    return BaseFacts(**{**values, **changes})


class OneVersion(FakeArchive):
    """An archive that has one version of everything."""

    def versions(self, packages: Any) -> dict[str, str]:
        return dict.fromkeys(packages, "1")


class Steps:
    """Makes the steps, and counts what was asked of the archives."""

    def __init__(self) -> None:
        self.asked = 0
        self.notes: list[str] = []

    def __call__(
        self,
        *recipes: str,
        known: BaseFacts | None = None,
        present: Mapping[str, Mapping[str, Any]] | None = None,
        tree: SpecTree = TREE,
        **more: Any,
    ) -> CustomSteps:
        def target(_: object) -> Archive:
            self.asked += 1
            return OneVersion()

        def listen(event: Event) -> None:
            assert isinstance(event, Note)
            self.notes.append(event.text)

        return custom_steps(
            BaseImage(Path("/card.img"), "1" * 64),
            known or facts(),
            Request(
                recipes=extra_recipes(tree, recipes, present=present or {"base": {}, "users": {}}),
                **more,
            ),
            tree=TREE,
            spec=None,
            archives=Archives(target=target, native=lambda archive: archive),
            listener=listen,
        )


@pytest.fixture
def steps() -> Steps:
    return Steps()


def names(found: CustomSteps) -> list[str]:
    return found.image.layers


def test_files_alone_need_no_archive(steps: Steps, store: Store) -> None:
    found = steps("board-identity")
    assert names(found) == ["base-image", "recipe:board-identity"]
    assert steps.asked == 0
    assert [item.step.name for item in make_plan([found.image], store)] == [
        *names(found),
        "ext4-writer",
        "image",
    ]


def test_only_packages_that_the_system_lacks_are_added(steps: Steps) -> None:
    found = steps("sensors", packages=("sudo", "vim"), present={"base": {}, "python": {}})
    assert found.packages
    assert found.packages.wanted == ["libsensors-dev", "lm-sensors", "vim"]
    assert names(found) == ["base-image", "packages", "recipe:sensors"]
    assert steps.asked == 1


def test_native_programs_are_used_if_their_versions_match(steps: Steps) -> None:
    package = Rules.read("3.11").packages[0]
    found = steps(packages=("vim",), known=facts(packages={package: "1"}))
    assert found.packages
    assert "native-programs" in found.packages.parents
    assert steps.notes == []
    found = steps(packages=("vim",), known=facts(packages={package: "2"}))
    assert found.packages
    assert "native-programs" not in found.packages.parents
    assert f"other versions than debian-bookworm now ({package})" in steps.notes[0]


def test_designs_come_last(steps: Steps, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/base.bit").write_bytes(b"x")
    found = steps("board-identity", designs=(find_design(tmp_path / "base"),))
    assert names(found)[-1] == "overlays"


def test_a_board_specific_recipe_needs_a_board(steps: Steps, tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.recipe("own", "board-specific: true\n")
    with pytest.raises(UserError, match="recipe own is board-specific") as caught:
        steps("own", tree=files.tree)
    assert caught.value.hint == "name the board with --board"


def test_packages_for_a_system_that_is_not_known_are_refused(steps: Steps) -> None:
    system = {"ID": "debian", "VERSION_ID": "9", "PRETTY_NAME": "Debian 9"}
    old = facts(os=system, suites=("stretch",), python="3.5")
    assert names(steps("board-identity", known=old)) == ["base-image", "recipe:board-identity"]
    with pytest.raises(UserError, match=r"system, debian-stretch; .* missing: vim"):
        steps(packages=("vim",), known=old)


@pytest.mark.parametrize(
    ("changes", "name", "known"),
    [
        ({}, "debian-bookworm", True),
        ({"suites": ()}, "debian-bookworm", True),
        (
            {"os": {"ID": "ubuntu", "VERSION_ID": "22.04", "ID_LIKE": "debian"}, "suites": ()},
            "ubuntu-jammy",
            True,
        ),
        # PYNQ's releases call themselves something else.
        (
            {"os": {"ID": "pynqlinux", "VERSION_ID": "3.1"}, "suites": ("jammy",)},
            "ubuntu-jammy",
            True,
        ),
        (
            {"os": {"ID": "pynqlinux", "VERSION_ID": "2.5"}, "suites": ("bionic",)},
            "ubuntu-bionic",
            False,
        ),
    ],
)
def test_the_distribution_of_a_system(changes: Mapping[str, Any], name: str, known: object) -> None:
    found, can = distribution_of(TREE, facts(**changes))
    assert (found.name, can) == (name, known)


def test_other_systems_are_refused() -> None:
    with pytest.raises(UserError, match="Fedora 40, which is neither Debian nor Ubuntu"):
        distribution_of(TREE, facts(os={"ID": "fedora", "PRETTY_NAME": "Fedora 40"}, suites=()))


def test_the_key_depends_on_the_image_and_the_boot_files(
    steps: Steps, store: Store, tmp_path: Path
) -> None:
    def key(**more: Any) -> str:
        return make_plan([steps(**more).image], store)[-1].identity

    path = tmp_path / "image.ub"
    path.write_text("one")
    first = key(boot_files=(path,))
    assert first == key(boot_files=(path,))
    assert key() != first
    path.write_text("two")
    assert key(boot_files=(path,)) != first
    assert key(free=1 << 30) != key()
