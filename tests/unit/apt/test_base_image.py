# SPDX-License-Identifier: MIT
"""Base images of containers without a registry."""

from __future__ import annotations

import pytest

from builder.apt import base_image as base
from builder.apt.base_image import base_of
from builder.errors import HostError
from builder.spec.distributions import named_distribution
from tests.fixtures.command_line import TREE

JAMMY = named_distribution(TREE, "ubuntu-jammy")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(base, "keyring", lambda _: "/k.gpg")


def test_its_packages_come_from_the_archives_of_this_machines_kind() -> None:
    made = base_of(JAMMY)
    assert (made.image, made.suite) == ("ubuntu:jammy", "jammy")
    lines = made.sources.splitlines()
    assert lines[0] == (
        f"deb [signed-by=/k.gpg] {JAMMY.model.mirrors['main-amd64']} jammy "
        "main restricted universe multiverse"
    )
    assert [line.split()[3] for line in lines] == ["jammy", "jammy-updates", "jammy-security"]
    assert (made.problem, made.remedy) == ("", "")


def test_without_a_keyring_the_problem_and_what_mends_it_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def keyring(_: object) -> str:
        raise HostError("no keyring here", hint="apt-get install it")

    monkeypatch.setattr(base, "keyring", keyring)
    made = base_of(JAMMY)
    assert (made.sources, made.problem, made.remedy) == (
        "",
        "no keyring here",
        "apt-get install it",
    )


def test_a_machine_that_no_distribution_is_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    made = base_of(JAMMY)
    assert not made.sources
    assert made.problem == "ubuntu-jammy: no packages are known for the machine riscv64"
