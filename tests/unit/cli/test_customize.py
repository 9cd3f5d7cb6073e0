# SPDX-License-Identifier: MIT
"""The command `customize`: what it makes of an image, and what it refuses to test."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from builder.errors import UserError
from builder.image.base_image import FACTS
from builder.plan.plan import Planned
from builder.rootfs.target_tests import ChecksLayer
from builder.spec.recipe import SECRET
from builder.steps.step import Step
from builder.store.store import Entry
from tests.fixtures.command_line import Answer, CommandLine, FakeArchive
from tests.unit.plan.test_customization import facts

Customize = Callable[..., Answer]
HERE = "builder.cli.customize"


@pytest.fixture
def built() -> list[list[Step]]:
    """The steps that were built, for each time that some were."""
    return []


@pytest.fixture
def customize(
    build_py: CommandLine, built: list[list[Step]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Customize:
    """Run the command on an image with certain facts and, `told` beside it, recipes; nothing is built."""
    monkeypatch.setattr(f"{HERE}.ensure_build_environment", lambda *_: None)
    monkeypatch.setattr(f"{HERE}.emulator_plan", lambda *_: None)
    monkeypatch.setattr(f"{HERE}.publish_custom", lambda *_, **__: (tmp_path / "new.img").touch())
    monkeypatch.setattr(f"{HERE}.select_distribution", lambda *_, **__: FakeArchive())
    monkeypatch.setattr(f"{HERE}.native_archive", lambda *_, **__: None)

    def run(*words: str, told: dict[str, Any] | None = None, **known: Any) -> Answer:
        entry = Entry(key="0", step="base-image", path=tmp_path / "entry", seconds=0, size=0)
        entry.files.mkdir(parents=True)
        (entry.files / FACTS).write_text(json.dumps(asdict(facts(**known))))

        class NoBuild:
            def __init__(self, plan: Sequence[Planned], **_: Any) -> None:
                self.plan = plan

            def run(self) -> Mapping[Step, Entry]:
                built.append([each.step for each in self.plan])
                return {each.step: entry for each in self.plan}

        monkeypatch.setattr(f"{HERE}.Scheduler", NoBuild)
        image = tmp_path / "card.img"
        image.write_bytes(b"a card")
        if told is not None:
            manifest = {"board": "Pynq-Z2", "image": {"sha256": facts().sha256}, "recipes": told}
            Path(f"{image}.json").write_text(json.dumps(manifest))
        return build_py.there("customize", str(image), "-o", str(tmp_path / "new.img"), *words)

    return run


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"board": ""}, "nothing says which board it is for"),
        ({"board": "Pynq-Z9"}, "nothing says which board it is for"),
        ({"boot_offset": 1 << 20}, "its partitions are not laid out as ours"),
    ],
)
def test_what_cannot_be_tested_is_refused_before_a_new_image_is_made(
    customize: Customize, built: list[list[Step]], known: dict[str, Any], message: str
) -> None:
    answer = customize("--test", **known)
    assert answer.status == UserError.exit_code
    assert f"the image cannot be tested: {message}" in answer.errors
    assert [[step.name for step in each] for each in built] == [["base-image"]]


@pytest.mark.parametrize("name", ["sudo-", "sudo=1.0", "sudo/stable"])
def test_a_package_is_a_name_and_no_instruction(customize: Customize, name: str) -> None:
    answer = customize("--package", name)
    assert answer.status == UserError.exit_code
    assert f"--package {name}: must " in answer.errors


def test_a_new_image_is_the_callers_also_if_it_does_not_boot(
    customize: Customize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Path] = []

    def fail(*_: Any, **__: Any) -> bool:
        raise UserError("the boot failed")

    def publish(*_: Any, **__: Any) -> None:
        for name in ("new.img", "new.img.json"):
            (tmp_path / name).touch()

    monkeypatch.setattr(f"{HERE}.publish_custom", publish)
    monkeypatch.setattr(f"{HERE}._test", fail)
    monkeypatch.setattr(f"{HERE}.give_to_caller", given.append)
    answer = customize("--test")
    assert "the boot failed" in answer.errors
    assert {"new.img", "new.img.json", "new"} <= {path.name for path in given}


def checks(built: list[list[Step]]) -> list[ChecksLayer]:
    return [step for step in built[-1] if isinstance(step, ChecksLayer)]


def test_a_board_that_checks_itself_gets_the_checks_of_what_it_is_now(
    customize: Customize, built: list[list[Step]]
) -> None:
    """Those of the recipes that came, with the values that were set; no secret is among these."""
    told = {
        "base": {},
        "hostname": {"name": "pynq"},
        "selftest": {},
        "users": {"user": "xilinx", "password": SECRET, "groups": []},
    }
    customize("--set", "hostname.name=zebra", "--recipe", "sensors", told=told)
    (layer,) = checks(built)
    assert layer.context["parameters"]["hostname"]["name"] == "zebra"
    assert layer.context["parameters"]["users"]["user"] == "xilinx"
    assert "password" not in layer.context["parameters"]["users"]
    recipes = {Path(name).parent.name for name in layer.checks}
    assert {"base", "hostname", "sensors", "users"} <= recipes
    assert "samba" not in recipes


@pytest.mark.parametrize(
    ("told", "words", "count"),
    [
        ({"hostname": {"name": "pynq"}}, (), 0),  # its board cannot check itself
        (None, (), 0),  # nothing says what is in it
        (None, ("--recipe", "selftest"), 1),
    ],
)
def test_checks_come_where_something_runs_them(
    customize: Customize,
    built: list[list[Step]],
    told: dict[str, Any] | None,
    words: Sequence[str],
    count: int,
) -> None:
    customize("--set", "hostname.name=zebra", *words, told=told)
    assert len(checks(built)) == count


@pytest.mark.parametrize("words", [[], ["--strict-archive"]])
def test_a_strict_choice_of_the_archive(
    customize: Customize, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    asked: list[object] = []

    def choose(*_: object, strict: bool, **__: object) -> None:
        asked.append(strict)
        raise UserError("far enough")

    monkeypatch.setattr(f"{HERE}.select_distribution", choose)
    answer = customize("--package", "vim", *words)
    assert answer.errors == "error: far enough\n"
    assert asked == [bool(words)]
