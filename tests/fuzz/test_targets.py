# SPDX-License-Identifier: MIT
"""A few mutations of each target's seeds, the same in each run, and the inputs of mended findings."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from builder.errors import UserError
from tests.fuzz.judging import REGRESSIONS, Target, judge
from tests.fuzz.mutation import of_bytes
from tests.fuzz.targets import SLOW, TARGETS

FAST = {name: target for name, target in TARGETS.items() if name not in SLOW}

each_target = pytest.mark.parametrize("target", FAST.values(), ids=FAST)


@each_target
def test_a_seed_is_accepted(target: Target, tmp_path: Path) -> None:
    for seed in target.seeds():
        outcome = judge(target, seed, tmp_path)
        assert outcome.kind == "accepted", outcome.report


@each_target
def test_mutations_lead_to_no_finding(target: Target, tmp_path: Path) -> None:
    seeds = target.seeds()

    @settings(
        max_examples=target.examples,
        derandomize=True,
        database=None,
        deadline=None,  # of time, `judge` sees to it
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[*HealthCheck],
    )
    @given(st.randoms(use_true_random=False))
    def no_finding(random: Random) -> None:
        outcome = judge(target, target.input(random, seeds), tmp_path)
        assert not outcome.finding, outcome.report

    no_finding()


@each_target
def test_what_is_changed_again_may_be_anything(target: Target) -> None:
    """Inputs are kept and changed further, as well those that others have changed byte by byte."""
    for number, seed in enumerate(target.seeds()):
        random = Random(number)  # noqa: S311 - the same in each run
        data = seed[: len(seed) // 2]
        for _ in range(5):
            data = of_bytes(random, data)
            assert isinstance(target.input(random, [data]), bytes)


@pytest.mark.parametrize(
    "path",
    sorted(path for path in REGRESSIONS.glob("*/*") if path.is_file()),
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_a_mended_finding_stays_mended(path: Path, tmp_path: Path) -> None:
    outcome = judge(TARGETS[path.parent.name], path.read_bytes(), tmp_path)
    assert not outcome.finding, outcome.report


def spin() -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        ({}.popitem, "KeyError"),
        (lambda: bytearray(256 << 20), "memory"),
        (spin, "TooLongError"),
    ],
)
def test_the_judge_sees(
    behaviour: object, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fuzz.judging.SECONDS", 0.05)
    target = Target(name="x", seeds=list, mutation=of_bytes, run=lambda *_: behaviour())  # type: ignore[operator]
    outcome = judge(target, b"", tmp_path)
    assert (outcome.kind, outcome.finding) == (kind, True)


def test_the_judge_lets_errors_of_the_program_pass(tmp_path: Path) -> None:
    def refuse(data: bytes, folder: Path) -> None:
        raise UserError("no")

    target = Target(name="x", seeds=list, mutation=of_bytes, run=refuse)
    assert not judge(target, b"", tmp_path).finding
