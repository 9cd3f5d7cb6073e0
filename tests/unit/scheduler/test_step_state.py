# SPDX-License-Identifier: MIT
"""Steps as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from builder.errors import StepError
from builder.plan.board_steps import board_steps
from builder.plan.plan import make_plan
from builder.scheduler.step_state import decode_step, encode_step
from builder.spec.models import Download, Soc
from builder.spec.resolve import resolve
from builder.spec.texts import FileName
from builder.steps.step import Job, Step
from builder.store.store import Store
from tests.fixtures.command_line import TREE, FakeArchive

PACKAGES = ("builder", "tests")


class Pair(NamedTuple):
    first: int
    second: Path


@dataclass(frozen=True)
class Inner:
    value: object


class Sample(Step):
    """A step with one attribute of a test's choice."""

    def __init__(self, value: object, parents: Mapping[str, Step] | None = None) -> None:
        super().__init__("sample", scope="test", parents=parents)
        self.value = value

    def settings(self) -> Mapping[str, object]:
        return {}

    def run(self, job: Job) -> None:
        raise AssertionError(job)


def sent(step: Step) -> Step:
    """Return a step as another process gets it."""
    return decode_step(json.loads(json.dumps(encode_step(step))), PACKAGES)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, 1.5, "text", b"\x00\xff", Path("/a/b")),
        *([1, [2]], (1, (2,)), {1, 2}, frozenset({"a"}), {"a": 1, 2: (3,), Soc.ZYNQ: None}),
        *(Soc.ZYNQMP, FileName("name"), Pair(1, Path("x")), Inner(Inner([1]))),
        Download.model_validate({"url": "https://example.org/a", "sha256": "0" * 64}),
    ],
    ids=repr,
)
def test_values_are_the_same_afterwards(value: object) -> None:
    there = sent(Sample(value))
    assert isinstance(there, Sample)
    assert there.value == value
    assert type(there.value) is type(value)


def test_a_read_only_dictionary_becomes_a_plain_one() -> None:
    there = sent(Sample(MappingProxyType({"a": 1})))
    assert vars(there)["value"] == {"a": 1}


def test_parents_stay_behind() -> None:
    there = sent(Sample(Sample(1, {"top": Sample(2)}), {"top": Sample(3)}))
    assert there.parents == {}
    assert vars(there)["value"].parents == {}


@pytest.mark.parametrize("value", [len, partial(print, 1), Sample, lambda: 1, object()])
def test_code_is_not_sent(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be sent to the worker"):
        encode_step(Sample(value))


@pytest.mark.parametrize(
    "value",
    [
        {"object": ["subprocess:Popen", {"args": ["true"]}]},
        {"object": ["builtins:dict", {}]},
        {"object": ["builder:__name__", {}]},
        {"object": ["builder.errors:StepError", {}]},
        {"object": ["builder.errors:Mapping", {}]},
        {"object": ["builder.none:Step", {}]},
        {"object": ["builder.steps.step:Step.run", {}]},
        {"object": ["builder.spec.models:Download", {}]},
        {"enum": ["builder.spec.models:Soc", "none"]},
        {"enum": ["builder.spec.models:Download", "none"]},
        {"model": ["builder.store.store:Entry", {}, []]},
        {"call": ["os:system", "true"]},
        {"path": "/", "bytes": ""},
        {"dict": [1]},
        {},
    ],
    ids=str,
)
def test_other_descriptions_are_refused(value: Any) -> None:
    sample = encode_step(Sample(None))
    sample["object"][1]["value"] = value
    with pytest.raises(StepError, match="the description of a step is malformed"):
        decode_step(sample, PACKAGES)


def test_classes_of_other_packages_are_refused() -> None:
    with pytest.raises(StepError, match="is not one of the builder's classes"):
        decode_step(encode_step(Sample(None)))


def test_steps_of_a_board_that_need_capabilities_can_be_sent(store: Store) -> None:
    spec = resolve(TREE, "Pynq-Z2", distro="debian-bookworm")
    steps = board_steps(spec, FakeArchive())
    plan = make_plan(steps.targets, store, optional=steps.checks)
    capable = {item.step.name: item.step for item in plan if item.step.capabilities}
    assert {"bootstrap", "recipe:ssh", "image", "design-check"} <= {*capable}
    for step in capable.values():
        there = sent(step)
        assert type(there) is type(step)
        assert there.settings() == step.settings()
        assert there.files() == step.files()
        assert len(json.dumps(encode_step(step))) < 1 << 20
