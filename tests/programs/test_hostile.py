# SPDX-License-Identifier: MIT
"""Boards of strangers: `validate` ends soon, in little memory, and names what is wrong.

Each board has one file that is made to stop, to fill or to break whoever reads it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.fixtures.product import ROOT
from tests.unit.spec.test_document import BILLION, CHAIN, MERGED

SECONDS = 5
MEMORY = 200 << 20
BOARD = """\
format: 2
board: {name}
summary: of a stranger
soc: zynq
memory: 512M
console: ttyPS0,115200
root-device: /dev/mmcblk0p2
distro: [ubuntu-jammy]
profile: minimal
"""
TREE = "devicetree: b.dts\nbsp: {boot-bin: BOOT.BIN}\n"
TABLE = "devicetree: b.dts\nbsp: {start-up-table: {registers: t.yaml}}\n"
PARAMETERS = "devicetree: b.dts\nbsp: {start-up-table: {u-boot: zynq-zed, parameters: t.yaml}}\n"
EXPORT = "devicetree: b.dts\nbsp: {hardware: {xsa: x.xsa}}\n"
WITH_TREE = '#include "zynq-7000.dtsi"\n'


class Strangers:
    """A directory of boards, and what `validate` has to say of each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wanted: dict[str, str] = {}

    def board(self, name: str, more: str, says: str) -> Path:
        """Describe a board, of which a line has to have these words."""
        folder = self.root / name
        folder.mkdir()
        (folder / "board.yaml").write_text(BOARD.format(name=name) + more)
        (folder / "b.dts").write_text("")
        (folder / "BOOT.BIN").write_text("")
        self.wanted[name] = says
        return folder

    def yaml(self, name: str, text: str, says: str) -> None:
        """Make a board of a text alone."""
        (self.board(name, "", says) / "board.yaml").write_text(text)


def bombs(root: Path) -> Strangers:
    """Write boards whose YAML is more than it seems."""
    boards = Strangers(root)
    boards.yaml("laughs", BILLION, "more than 20000 values")
    boards.yaml("merges", MERGED, "more than 20000 values")
    boards.yaml("chain", CHAIN, "nested more than 32 deep")
    boards.yaml("deep", "a: " + "[" * 900_000, "nested more than 32 deep")
    boards.yaml("maps", "a: " + "{b: " * 200_000, "nested more than 32 deep")
    boards.yaml("indented", "\n".join(f"{' ' * n}a:" for n in range(1000)), "nested more than 32")
    boards.yaml("itself", "a: &a [*a]", "an anchor contains itself")
    boards.yaml("large", "#" * (30 << 20), "is larger than the limit of 1 MiB")
    boards.yaml("items", "a:\n" + "- x\n" * 200_000, "more than 20000 values")
    boards.yaml("twice", "a: 1\n" * 3_000, "is also on line 1")
    boards.yaml("number", f"memory: {'9' * 100_000}\n", "is too long for a number")
    boards.yaml("hex", f"memory: 0x{'f' * 100_000}\n", "is too long for a number")
    boards.yaml("base-60", f"memory: 1{':59' * 100_000}\n", "is too long for a number")
    boards.yaml("binary", "a: \x00\x01\x02", "not YAML")
    boards.yaml("latin", "", "is not UTF-8 text")
    (root / "latin/board.yaml").write_bytes(b"summary: \xff")
    boards.yaml("tag", "a: !!python/object/apply:os.system [id]", "could not determine a constr")
    boards.yaml("date", "a: !!timestamp never", "is not a timestamp")
    boards.board("keys", "".join(f"k{n}: 1\n" for n in range(3_000)), "more problems")
    boards.board("long", f"? {'k' * 500_000}\n: 1\n", "is not a known key")
    boards.board("value", f"boot-overlay: {'x' * 900_000}\n", "at most 100 characters")
    names = ", ".join(f"r{n}" for n in range(15_000))
    boards.board("recipes", f"recipes: [{names}]\n", "256 items")
    settings = "".join(f"  r{n}: {{a: 1}}\n" for n in range(1_500))
    boards.board("parameters", f"parameters:\n{settings}", "the image has no recipe")
    return boards


def files(root: Path) -> Strangers:
    """Write boards with files that are none, or whose names are."""
    boards = Strangers(root)
    for name, target in (("zero", "/dev/zero"), ("full", "/dev/full"), ("loop", "board.yaml")):
        (boards.board(name, "", "is not a plain file") / "board.yaml").unlink()
        (root / name / "board.yaml").symlink_to(target)
    del boards.wanted["loop"]  # a link to itself is not there
    (boards.board("pipe", "", "is not a plain file") / "board.yaml").unlink()
    os.mkfifo(root / "pipe/board.yaml")
    for name in ("tree-pipe", "tree-zero"):
        (boards.board(name, TREE, "there is no file") / "b.dts").unlink()
    os.mkfifo(root / "tree-pipe/b.dts")
    (root / "tree-zero/b.dts").symlink_to("/dev/zero")
    boards.board("name", f"devicetree: {'x' * 300}.dts\n", "is too long for a path")
    boards.board("names", f"notebooks: {'x/' * 10_000}\n", "is too long for a path")
    boards.board("nul", 'devicetree: "a\\0.dts"\n', "without control characters")
    boards.board("shell", "devicetree: $(shell id).dts\n", "must be a path without quotes")
    boards.board("escape", 'boot-overlay: "\\e[2J"\n', "should match pattern")
    folder = boards.board("recipe", TREE, "is not a plain file")
    (folder / "recipes/a").mkdir(parents=True)
    os.mkfifo(folder / "recipes/a/recipe.yaml")
    folder = boards.board("profile", TREE, "is not a plain file")
    (folder / "profiles").mkdir()
    (folder / "profiles/a.yaml").symlink_to("/dev/zero")
    folder = boards.board("everything", TREE + "overlays: [o]\n", "more than 10000 files")
    (folder / "o").mkdir()
    (folder / "o/o.bit").write_text("")
    (folder / "o/notebooks").symlink_to("/usr")
    for level in range(30):
        here = folder / f"levels/{level}"
        here.mkdir(parents=True)
        for side in "ab":
            (here / side).symlink_to(f"../{level + 1}")
    boards.board("ports", TREE + "parameters: {ssh: {port: -1}}\n", "ssh")
    return boards


def values(root: Path) -> Strangers:
    """Write boards whose values are out of all range."""
    boards = Strangers(root)
    for number, (more, says) in enumerate(
        [
            ("emulate: {card: 0}", "must be more than 0"),
            ("emulate: {timeout: 99999999999999999999}", "less than or equal to"),
            ("partitions: {root: {size: 4096G}}", "must be 1M to 2048G"),
            ("notebooks: .", "must be a path below"),
            ("sysroot: [sudo-]", "apt would remove sudo"),
            (
                f"bsp: {{linux: {{url: 'http://h/..', sha256: '{'0' * 64}'}}}}",
                "must be a file's name",
            ),
        ]
    ):
        boards.board(f"value-{number}", f"{more}\n", says)
    return boards


def recipes(root: Path) -> Strangers:
    """Write boards with recipes of their own."""
    boards = Strangers(root)

    def recipe(board: Path, name: str, text: str) -> None:
        (board / f"recipes/{name}").mkdir(parents=True)
        (board / f"recipes/{name}/recipe.yaml").write_text(f"summary: s\n{text}")

    folder = boards.board(
        "steps", TREE + "recipes: [r0]\n", "is in a chain of more than 100 recipes"
    )
    for number in range(400):
        recipe(folder, f"r{number}", f"requires: [r{number + 1}]\n")
    recipe(folder, "r400", "")
    folder = boards.board("pattern", TREE + "recipes: [a]\n", "must be set")
    text = f"{{default: {'x' * 900}, summary: s, pattern: '(x+x+)+y'}}"
    recipe(folder, "a", f"parameters: {{p: {text}}}\n")
    folder = boards.board("format", TREE, "may hold {distribution}")
    recipe(folder, "a", "pip: '{distribution:>9999999999}'\n")
    folder = boards.board("brackets", TREE, "must be a requirement")
    recipe(folder, "a", f"requirements: ['a; {'(' * 900}']\n")
    folder = boards.board("remove", TREE, "apt would remove sudo")
    recipe(folder, "a", "apt: [sudo-]\n")
    folder = boards.board("extends", TREE.replace("b.dts", "c.dts"), "there is no file")
    boards.yaml("v0", "board: v0\nextends: v1\n", "more than 20 boards")
    for number in range(1, 40):
        (root / f"v{number}").mkdir()
        (root / f"v{number}/board.yaml").write_text(f"board: v{number}\nextends: v{number + 1}\n")
    return boards


def hardware(root: Path) -> Strangers:
    """Write boards whose hardware is described by too much."""
    boards = Strangers(root)

    def tree(name: str, text: str, says: str) -> None:
        (boards.board(name, TREE, says) / "b.dts").write_text(text)

    tree("tree-large", "/* */" * 400_000, "larger than the limit of 1 MiB")
    tree("comments", "/*" * 500_000, "")
    tree("quotes", '"\\' + '"\\' * 500_000, "")
    tree("properties", "/ {" + "a;" * 200_000, "more than 20000 properties")
    tree("spaces", "/ {" + " " * 900_000, "")
    tree("includes", '#include "i0"\n#include "i0"\n', "files include one another")
    for level in range(40):
        (root / f"includes/i{level}").write_text(f'#include "i{level + 1}"\n' * 2)
    tree("include-name", f'#include "{"x" * 300}"\n', "")
    tree("zero-point", "&cpu0 { operating-points = <0 1>; };\n", "")
    tree("cells", f"&clkc {{ ps-clk-frequency = <0x{'f' * 50_000}>; }};\n", "")
    (boards.board("table", TABLE, "more than 20000 values") / "t.yaml").write_text(BILLION)
    for name, text, says in (
        ("nan", "PCW_ACT_APU_PERIPHERAL_FREQMHZ: nan\n", "is not a number"),
        ("infinite", "PCW_ACT_APU_PERIPHERAL_FREQMHZ: '1e999'\n", "is not a number"),
        ("small", "PCW_ACT_APU_PERIPHERAL_FREQMHZ: '1e-9'\n", ""),
        ("bomb", BILLION, "more than 20000 values"),
    ):
        folder = boards.board(f"parameters-{name}", PARAMETERS, says)
        (folder / "t.yaml").write_text(text)
        (folder / "b.dts").write_text(WITH_TREE)

    def export(name: str, content: bytes | None = None) -> None:
        folder = boards.board(f"export-{name}", EXPORT, "")
        (folder / "b.dts").write_text(WITH_TREE)
        with zipfile.ZipFile(folder / "x.xsa", "w", zipfile.ZIP_DEFLATED) as archive:
            if content is not None:
                archive.writestr("ps7_init_gpl.c", content)
            else:
                for number in range(12_000):
                    archive.writestr(f"{number}", "")

    export("zeros", bytes(64 << 20))
    export("comments", b"/*" * 2_000_000)
    export("tables", b"ps7_mio_init_data_3_0[]={" * 160_000)
    export("calls", b"ps7_mio_init_data_3_0[]={" + b"EMIT_A(" * 500_000 + b"};")
    export("members")
    return boards


# A process that begins as a copy of pytest's counts pytest's memory as its own, also after it has become
# another program. So a small one starts what is measured, and says its status, CPU and memory.
MEASURED = """
import json, os, resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
process = subprocess.Popen(sys.argv[1:], stderr=subprocess.STDOUT)
_, status, used = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
figures = [process.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss << 10]
print(json.dumps(figures), file=sys.stderr)
"""


def validated(folder: Path) -> tuple[str, float, int]:
    """Run `validate`; return what it says, the seconds of CPU, and the bytes of memory it took."""
    command = [sys.executable, str(ROOT / "build.py"), "validate", str(folder)]
    done = subprocess.run(
        [sys.executable, "-I", "-c", MEASURED, *command],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "COLUMNS": "10000", "HOME": str(folder)},
        check=True,
    )
    code, seconds, memory = json.loads(done.stderr)
    assert "Traceback" not in done.stdout, done.stdout[-3000:]
    assert code in (0, 2), done.stdout[-3000:]
    return done.stdout, seconds, memory


def by_board(said: str) -> Mapping[str, str]:
    """Return what was said of each board."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in said.splitlines():
        if not line.startswith(" "):
            name = line.partition(":")[0]
        found.setdefault(name, []).append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("make", [bombs, files, values, recipes, hardware])
def test_validate_ends_soon_and_says_what_is_wrong(
    tmp_path: Path, make: Callable[[Path], Strangers]
) -> None:
    boards = make(tmp_path)
    said, seconds, memory = validated(tmp_path)
    told = by_board(said)
    missing = {
        name: told.get(name, "nothing")[:300]
        for name, says in boards.wanted.items()
        if says not in told.get(name, "nothing")
    }
    assert not missing
    assert seconds < SECONDS
    assert memory < MEMORY
