# SPDX-License-Identifier: MIT
"""The PYNQ library's reference clock, from device trees."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.fixtures.product import ROOT


@pytest.fixture(scope="module")
def library() -> ModuleType:
    path = ROOT / "recipes/pynq/files/reference_clock.py"
    spec = importlib.util.spec_from_file_location("reference_clock", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("place", "hertz"),
    [
        ("axi/slcr@f8000000/clkc@100/ps-clk-frequency", 33_333_333),
        ("amba/slcr@f8000000/clkc@100/ps-clk-frequency", 50_000_000),
        ("pss_ref_clk/clock-frequency", 33_333_333),
        ("pss-ref-clk/clock-frequency", 30_000_000),
    ],
)
def test_the_device_tree_has_it(
    tmp_path: Path, library: ModuleType, place: str, hertz: int
) -> None:
    for name, value in ((place, hertz), ("video_clk/clock-frequency", 27_000_000)):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(value.to_bytes(4, "big"))
    assert library.reference_clock_mhz(50.0, tree=tmp_path) == hertz / 1e6


def test_else_it_is_the_librarys(tmp_path: Path, library: ModuleType) -> None:
    assert library.reference_clock_mhz(50.0, tree=tmp_path) == 50.0
    assert library.reference_clock_mhz(33.333, tree=tmp_path / "none") == 33.333
