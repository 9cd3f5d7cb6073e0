# SPDX-License-Identifier: MIT
"""Images of a board in all profiles, and with recipes and passwords that no profile has, boot."""

from __future__ import annotations

import json
import sys

import pytest
import yaml

from builder.publish.output import Output
from tests.fixtures.product import BOARD, build_py

VARIANTS: dict[str, dict[str, object]] = {
    "minimal": {"profile": "minimal"},
    "pynq-full": {"profile": "pynq-full", "emulate": {"card": "8G"}},
    "with-recipes": {
        "recipes": ["i2c-tools", "wifi-access-point"],
        "parameters": {"wifi-access-point": {"passphrase": "a net of its own"}},
    },
    "with-passwords": {
        "parameters": {
            "users": {"password": "one of the user", "force-password-change": True},
            "jupyter": {"password": "one of notebooks"},
            "samba": {"password": "one of the drive"},
        },
    },
}
CHECKED = {
    "minimal": ["slim"],
    "pynq-full": ["development", "desktop", "python-full", "pynq-overlays"],
    "with-recipes": ["i2c-tools", "wifi-access-point"],
    "with-passwords": ["users", "jupyter", "samba"],
}
"""Recipes whose checks have to be among those that ran."""

ALONE = {"with-recipes", "with-passwords"}
"""Where nothing else is checked: all the rest is as in the profile `pynq`."""


@pytest.fixture(scope="module", params=VARIANTS)
def variant(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Output]:
    """A variant of the board, written, built and tested by the user's own command; its name."""
    name = f"{BOARD}-{request.param}"
    folder = tmp_path_factory.mktemp(request.param)
    place = folder / "boards" / name
    place.mkdir(parents=True)
    spec = {
        "format": 2,
        "board": name,
        "summary": f"{BOARD}, {request.param}",
        "extends": BOARD,
        **VARIANTS[request.param],
    }
    (place / "board.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    words = ["--boards-dir", str(folder / "boards"), "--output", str(folder / "output")]
    if request.param in ALONE:
        own = [f"test_{recipe.replace('-', '_')}" for recipe in CHECKED[request.param]]
        words += ["-k", " or ".join(["first_boot", *own])]
    done = build_py("test", "--board", name, *words, "--progress", "plain")
    assert done.returncode == 0, done.stdout[-6000:]
    return request.param, Output(directory=folder / "output" / name, board=name)


def test_it_boots_and_its_checks_pass(variant: tuple[str, Output]) -> None:
    name, output = variant
    report = json.loads(output.test_report.read_text())
    assert report["failed"] == 0
    passed = {
        check["check"].partition("::")[0].rpartition("/")[2]
        for check in report["checks"]
        if check["outcome"] == "passed"
    }
    assert {f"test_{recipe.replace('-', '_')}.py" for recipe in CHECKED[name]} <= passed
    # What is written of boot times comes from here (`-rP` shows it).
    for stage in ("ssh", "Jupyter"):
        sys.stdout.write(f"{name}: seconds to {stage}: {report['boot'].get(stage)}\n")
    assert report["boot"]["ssh"] > 0
    assert ("Jupyter" in report["boot"]) == (name not in {"minimal", *ALONE})
