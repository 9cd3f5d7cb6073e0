# SPDX-License-Identifier: MIT
"""Comparison of the options of a configured kernel with the wanted ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.bsp.mainline.kernel import unmet

CONFIG = """\
# Automatically generated file; DO NOT EDIT.
CONFIG_A=y
CONFIG_B=m
# CONFIG_C is not set
CONFIG_D="text"
CONFIG_E=0x10
"""


@pytest.mark.parametrize(
    ("fragments", "lost"),
    [
        ([""], []),
        (["CONFIG_A=y\nCONFIG_B=m\n"], []),
        (["# CONFIG_C is not set\n"], []),
        (["# CONFIG_NOWHERE is not set\n"], []),
        (['CONFIG_D="text"\nCONFIG_E=0x10\n'], []),
        (["# a comment\n\nCONFIG_A=y\n"], []),
        (["CONFIG_C=y\n"], ["0.cfg:1: CONFIG_C=y became n"]),
        (["\n\nCONFIG_B=y\n"], ["0.cfg:3: CONFIG_B=y became m"]),
        (["CONFIG_NEW=m\n"], ["0.cfg:1: CONFIG_NEW=m became n"]),
        (["# CONFIG_A is not set\n"], ["0.cfg:1: CONFIG_A=n became y"]),
        (['CONFIG_D="other"\n'], ['0.cfg:1: CONFIG_D="other" became "text"']),
        # A later fragment overrides.
        (["CONFIG_A=m\n", "CONFIG_A=y\n"], []),
        (["CONFIG_A=y\n", "CONFIG_A=m\n"], ["1.cfg:1: CONFIG_A=m became y"]),
        (
            ["CONFIG_C=y\n", "CONFIG_B=y\n"],
            ["0.cfg:1: CONFIG_C=y became n", "1.cfg:1: CONFIG_B=y became m"],
        ),
    ],
)
def test_options_that_did_not_hold_are_named_with_their_line(
    tmp_path: Path, fragments: list[str], lost: list[str]
) -> None:
    paths = []
    for number, text in enumerate(fragments):
        path = tmp_path / f"{number}.cfg"
        path.write_text(text)
        paths.append(path)
    assert [line.removeprefix(f"{tmp_path}/") for line in unmet(CONFIG, paths)] == lost
