# SPDX-License-Identifier: MIT
"""Facts about a card that are read from its boot partition."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.boot_test.card import has_emulated_tree
from tests.unit.boot_test.test_board import OFFSET, card, fit
from tests.unit.boot_test.test_board import pytestmark as needs_tools

pytestmark = needs_tools

BOARD = 'conf-board { kernel = "kernel"; };'


@pytest.mark.parametrize(
    ("configurations", "expected"),
    [(BOARD, False), (f'{BOARD} conf-emulated {{ kernel = "kernel"; }};', True)],
)
def test_the_tree_for_qemu_is_a_configuration_of_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configurations: str, *, expected: bool
) -> None:
    monkeypatch.setattr("builder.boot_test.card.BOOT_OFFSET", OFFSET)
    packed = fit(tmp_path, "image.ub", {"kernel": b"k"}, configurations)
    assert has_emulated_tree(card(tmp_path, packed)) is expected


@pytest.mark.parametrize("name", ["image.ub", "Image"])
def test_other_boot_files_have_no_tree_for_qemu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("builder.boot_test.card.BOOT_OFFSET", OFFSET)
    (tmp_path / name).write_bytes(b"not a FIT")
    assert not has_emulated_tree(card(tmp_path, tmp_path / name))
