# SPDX-License-Identifier: MIT
"""Differences between two builds."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from builder.publish.comparison import Change, Comparison, compare

MANIFEST: dict[str, Any] = {
    "board": "X",
    "image": {"file": "X.img", "sha256": "aa", "size": 100, "root-size": 60},
    "distribution": {
        "name": "debian-bookworm",
        "architecture": "armhf",
        "release-files": {"bookworm": "11"},
        "left-out": {},
        "as-of": 1000,
    },
    "spec": {"board": "X", "memory": 512, "partitions": {"boot": 100, "root": {"free": 1}}},
    "recipes": {"jupyter": {"port": 9090, "password": "(secret)"}, "base": {}},
    "packages": [{"package": "bash", "architecture": "armhf", "version": "5.2"}],
    "python-packages": [{"package": "jupyter_server", "version": "2.1", "file": "x.whl"}],
    "sources": [
        {"package": "u-boot", "version": "2023.01", "sha256": {"u.dsc": "00"}},
        {"url": "mirror/x.tar.gz", "sha256": "22"},
    ],
    "contents": {"layers": {"bootstrap": 50}, "boot files": {"image.ub": 5}},
    "steps": [{"name": "kernel", "fingerprint": "k1", "seconds": 1.0}],
}


def changed(change: Callable[[dict[str, Any]], object]) -> Comparison:
    after = copy.deepcopy(MANIFEST)
    change(after)
    return compare(MANIFEST, after)


def test_a_build_does_not_differ_from_itself() -> None:
    found = compare(MANIFEST, MANIFEST)
    assert found.same_image
    assert not any(vars(found).values())


@pytest.mark.parametrize(
    ("change", "where", "expected"),
    [
        (lambda m: m["image"].update(sha256="bb"), "image", ("sha256", "aa", "bb")),
        (lambda m: m["image"].update(size=101), "image", ("size", 100, 101)),
        (
            lambda m: m["distribution"].update(name="debian-trixie"),
            "settings",
            ("distribution.name", "debian-bookworm", "debian-trixie"),
        ),
        (
            lambda m: m["distribution"]["release-files"].update(bookworm="12"),
            "settings",
            ("distribution.bookworm", "11", "12"),
        ),
        (
            lambda m: m["spec"]["partitions"]["root"].update(free=2),
            "settings",
            ("partitions.root.free", "1", "2"),
        ),
        (
            lambda m: m["recipes"]["jupyter"].update(port=80),
            "settings",
            ("recipes.jupyter.port", "9090", "80"),
        ),
        (lambda m: m["recipes"].pop("base"), "settings", ("recipes.base", "{}", None)),
        (lambda m: m["packages"][0].update(version="6"), "packages", ("bash", "5.2", "6")),
        (lambda m: m["packages"].clear(), "packages", ("bash", "5.2", None)),
        (
            lambda m: m["packages"].append({"package": "zsh", "version": "5"}),
            "packages",
            ("zsh", None, "5"),
        ),
        (
            lambda m: m["python-packages"][0].update(version="2.2"),
            "python_packages",
            ("jupyter-server", "2.1", "2.2"),
        ),
        (
            lambda m: m["sources"][0].update(version="2024.01"),
            "sources",
            ("u-boot", "2023.01", "2024.01"),
        ),
        (lambda m: m["sources"][1].update(sha256="33"), "sources", ("mirror/x.tar.gz", "22", "33")),
        (
            lambda m: m["contents"]["layers"].update(bootstrap=51),
            "contents",
            ("layers: bootstrap", 50, 51),
        ),
        (lambda m: m["steps"][0].update(fingerprint="k2"), "steps", ("kernel", "k1", "k2")),
    ],
)
def test_each_difference_is_found_alone(
    change: Callable[[dict[str, Any]], object],
    where: str,
    expected: tuple[str, str | int | None, str | int | None],
) -> None:
    found = vars(changed(change))
    name, before, after = expected
    assert found.pop(where) == [Change(name=name, before=before, after=after)]
    assert not any(found.values())


def test_another_spelling_of_a_python_package_is_the_same_package() -> None:
    spelled = [{"package": "Jupyter-Server", "version": "2.1", "file": "x"}]
    assert not changed(lambda m: m.update({"python-packages": spelled})).python_packages


def test_images_with_the_same_checksum_are_the_same() -> None:
    assert changed(lambda m: m["image"].update(size=1)).same_image
    assert not changed(lambda m: m["image"].update(sha256="bb")).same_image


def test_times_are_not_compared() -> None:
    assert not any(vars(changed(lambda m: m["steps"][0].update(seconds=9.0))).values())


def test_older_manifests_can_be_compared() -> None:
    older = {"board": "X", "image": {"sha256": "aa", "size": 100}, "packages": None}
    found = compare(older, MANIFEST)
    assert found.same_image
    assert found.packages == [Change(name="bash", before=None, after="5.2")]
    assert not found.contents
