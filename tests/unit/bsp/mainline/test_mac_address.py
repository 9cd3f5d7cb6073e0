# SPDX-License-Identifier: MIT
"""U-Boot's mac-address.c on a double of a board: the flash parts, the tree, the card."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest

from tests.fixtures.product import ROOT

SOURCE = ROOT / "petalinux_bsp/mainline/u-boot/mac-address.c"
DOUBLE = ROOT / "tests/unit/bsp/mainline/u_boot"

MAC = "00056b00b8a3"
"""As TUL programs them: 00:05:6b is a maker's own range."""
READ = "eth0 00:05:6b:00:b8:a3\n"
BLANK = "ff" * 64
SPANSION = "flash=01:" + "5a" * 16 + "ff" * 16 + MAC
MICRON = "flash=20:" + "ff" * 32 + MAC
WINBOND = "flash=ef:" + MAC
CARD = "card=00112233445566778899aabbccddeeff"
BOARD = ("alias=ethernet0", "cell=20", "cell=1000", CARD)
MADE_UP = "eth0 fe:00:ff:ee:dd:cc\n"
"""From CARD, by the double's digest: for one host, administered locally."""

Run = Callable[..., tuple[str, str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Start the program on a board; return the addresses that it sets, with their sources."""
    folder = tmp_path_factory.mktemp("u-boot")
    for name in re.findall(r"#include <([^>]+)>", SOURCE.read_text()):
        if name not in ("stdio.h", "string.h"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text('#include "double.h"\n')
    program = folder / "program"
    subprocess.run(
        ["cc", "-Wall", "-Wextra", "-Werror", "-I", folder, "-I", DOUBLE, "-o", program,
         SOURCE, DOUBLE / "double.c"],
        check=True,
    )  # fmt: skip

    def started(*words: str) -> tuple[str, str]:
        done = subprocess.run([program, *words], capture_output=True, text=True, check=True)
        return done.stdout, done.stderr.strip()

    return started


@pytest.mark.parametrize("flash", [SPANSION, MICRON, WINBOND])
def test_it_is_read_from_the_flash(run: Run, flash: str) -> None:
    assert run(*BOARD, flash) == (READ, "out of the flash")


def test_it_is_read_from_an_eeprom(run: Run) -> None:
    """The bytes are unchanged, although U-Boot's code for AMD's EEPROMs treats them as text."""
    upper_case_and_spaces = "000a354120ff"
    found = run("alias=ethernet0", "alias=ethernet1", f"eeprom={upper_case_and_spaces}", CARD)
    assert found[0] == "eth0 00:0a:35:41:20:ff\neth1 fe:01:ff:ee:dd:cc\n"


@pytest.mark.parametrize("content", ["", "ff" * 6, "00" * 6])
def test_an_eeprom_without_a_valid_one(run: Run, content: str) -> None:
    assert run("alias=ethernet0", f"eeprom={content}", CARD)[0] == MADE_UP


@pytest.mark.parametrize(
    "flash",
    [
        f"flash=01:{BLANK}",
        f"flash=ef:{BLANK}",
        "flash=20:" + "00" * 64,  # as QEMU's part answers
        "flash=01:" + "ff" * 32 + "01" + MAC[2:],  # for many hosts
        "flash=c2:" + "ff" * 32 + MAC,  # a part that it does not know
        None,
    ],
)
def test_without_a_valid_one_it_is_made_up_from_the_card(run: Run, flash: str | None) -> None:
    words = (*BOARD, flash) if flash else BOARD
    assert run(*words) == (MADE_UP, "made up from the card's identity")


def test_a_place_that_is_not_the_parts_is_not_read(run: Run) -> None:
    """Winbond's other command would return a part of its unique number."""
    assert run("alias=ethernet0", "cell=20", WINBOND, CARD)[0] == MADE_UP
    assert run("alias=ethernet0", "cell=1000", SPANSION, CARD)[0] == MADE_UP


def test_a_flash_that_the_tree_does_not_describe_is_not_read(run: Run) -> None:
    assert run("alias=ethernet0", SPANSION, CARD)[0] == MADE_UP


def test_another_card_or_network_has_another_one(run: Run) -> None:
    other = CARD.replace("dd", "de")
    both = ("alias=ethernet0", "alias=ethernet1")
    assert run(*both, other)[0] == "eth0 fe:00:ff:ee:de:cc\neth1 fe:01:ff:ee:de:cc\n"


def test_it_is_the_first_networks(run: Run) -> None:
    set_, _ = run(*BOARD, "alias=ethernet1", SPANSION)
    assert set_ == READ + "eth1 fe:01:ff:ee:dd:cc\n"


@pytest.mark.parametrize(
    "source",
    ["alias=nvmem0", "property=nvmem-cells", "property=local-mac-address", "property=mac-address"],
)
def test_an_address_named_in_the_tree_is_left_to_u_boot_and_linux(run: Run, source: str) -> None:
    assert run(*BOARD, source) == ("", "")


def test_one_that_is_set_stays(run: Run) -> None:
    assert run(*BOARD, SPANSION, "set=0") == ("", "")


@pytest.mark.parametrize("words", [(), ("alias=ethernet0", SPANSION), (CARD,)])
def test_without_a_network_or_a_card_nothing_is_set(run: Run, words: tuple[str, ...]) -> None:
    assert run(*words) == ("", "")
