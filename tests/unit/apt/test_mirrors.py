# SPDX-License-Identifier: MIT
"""Mirrors for builds on this machine, and for the image."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.apt.mirrors import keyring, mirror, public_mirror
from builder.errors import HostError
from builder.spec.models import Architecture
from builder.spec.resolve import NamedDistribution
from tests.fixtures.archive import AMD64, ARMHF, distribution


def test_a_missing_keyring_names_its_package() -> None:
    named = distribution("http://a.invalid", Path("none.gpg"))
    with pytest.raises(HostError, match=r"^one: the archive's keyring none\.gpg is not") as caught:
        keyring(named)
    assert caught.value.hint == "apt-get install test-keyring"


@pytest.mark.parametrize(
    ("mirrors", "own", "used", "public"),
    [
        ({"main": "http://a.invalid/x/"}, {}, "http://a.invalid/x", "http://a.invalid/x"),
        (
            {"main": "http://a.invalid"},
            {"main": "http://b.invalid/"},
            "http://b.invalid",
            "http://a.invalid",
        ),
        (
            {"main": "http://a.invalid"},
            {"security": "http://b.invalid"},
            "http://a.invalid",
            "http://a.invalid",
        ),
    ],
)
def test_the_users_mirror_wins_on_this_machine_and_not_in_the_image(
    mirrors: dict[str, str], own: dict[str, str], used: str, public: str
) -> None:
    model = distribution("", Path("none.gpg"), mirrors=mirrors).model
    named = NamedDistribution(name="one", model=model, mirrors=own)
    assert mirror(named, model.pockets[0], ARMHF) == used
    assert public_mirror(named, model.pockets[0]) == public


@pytest.mark.parametrize(
    ("own", "armhf", "amd64"),
    [
        ({}, "http://ports.invalid", "http://pc.invalid/x"),
        ({"main": "http://near.invalid"}, "http://near.invalid", "http://pc.invalid/x"),
        (
            {"main": "http://near.invalid", "main-amd64": "http://own.invalid/"},
            "http://near.invalid",
            "http://own.invalid",
        ),
        ({"security-amd64": "http://sec.invalid"}, "http://ports.invalid", "http://pc.invalid/x"),
    ],
)
def test_an_architecture_may_have_a_mirror_of_its_own(
    own: dict[str, str], armhf: str, amd64: str
) -> None:
    mirrors = {"main": "http://ports.invalid", "main-amd64": "http://pc.invalid/x/"}
    model = distribution("", Path("none.gpg"), mirrors=mirrors).model
    named = NamedDistribution(name="one", model=model, mirrors=own)
    pocket = model.pockets[0]
    assert mirror(named, pocket, ARMHF) == armhf
    assert mirror(named, pocket, AMD64) == amd64
    assert mirror(named, pocket, Architecture.ARM64) == armhf
    assert public_mirror(named, pocket) == "http://ports.invalid"
