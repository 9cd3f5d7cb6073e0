# SPDX-License-Identifier: MIT
"""Requirements on the machine, and errors about missing ones."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from builder.engine import requirements
from builder.engine.requirements import (
    MissingRequirement,
    check_machine,
    missing_packages,
    missing_requirements,
)
from builder.errors import HostError

ROWS = [
    line.partition("#")[0].split()
    for line in requirements.PACKAGES.read_text().splitlines()
    if line.partition("#")[0].strip()
]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_each_line_names_a_package_and_what_it_brings(row: list[str]) -> None:
    package, mark = row
    assert re.fullmatch(r"[a-z0-9][a-z0-9.+-]+\??", package)
    assert "/" not in mark or mark.startswith("/")


def test_the_list_is_sorted_without_doubles_and_says_what_for() -> None:
    names = [row[0] for row in ROWS]
    assert names == sorted({*names})
    lines = requirements.PACKAGES.read_text().splitlines()
    assert all(re.search(r"# \S", line) for line in lines)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("", []),
        ("# only a comment\n\n", []),
        ("coreutils ls # lists\n", []),
        ("some-package no-such-program # x\n", ["some-package"]),
        ("some-lib /nowhere/x.h # x\n", ["some-lib"]),
        ("base /etc/passwd\n", []),
        ("may-lack? no-such-program # x\n", []),
        ("b no-such-b\na no-such-a\ncoreutils ls\n", ["b", "a"]),
    ],
)
def test_packages_are_missing_if_their_program_or_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, missing: list[str]
) -> None:
    path = tmp_path / "packages.txt"
    path.write_text(text)
    monkeypatch.setattr(requirements, "PACKAGES", path)
    assert missing_packages() == missing


def test_programs_for_administrators_are_found_with_a_users_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "packages.txt"
    path.write_text("passwd useradd\n")
    monkeypatch.setattr(requirements, "PACKAGES", path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert missing_packages() == []


def test_one_command_installs_all_missing_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "packages.txt"
    path.write_text("one no-such-1\ntwo no-such-2\n")
    monkeypatch.setattr(requirements, "PACKAGES", path)
    first = missing_requirements(tmp_path)[0]
    assert first == MissingRequirement(
        what="packages: one, two", mend="apt-get install --no-install-recommends one two"
    )


def test_too_little_memory_or_disk_is_not_vital(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requirements, "missing_packages", list)
    monkeypatch.setattr(requirements, "runs", lambda _: True)
    monkeypatch.setattr(requirements, "_can_unshare", lambda: True)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(requirements, "available_memory", lambda: 1 << 20)
    monkeypatch.setattr(requirements, "_DISK", 1 << 70)
    found = missing_requirements(tmp_path / "not/there/yet")
    assert [(lack.what.partition(":")[0], lack.vital) for lack in found] == [
        ("memory", False),
        ("disk", False),
    ]
    assert f"in {tmp_path}," in found[1].what
    assert check_machine(tmp_path / "not/there/yet") == found


def test_a_missing_vital_requirement_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lacks = [
        MissingRequirement(what="packages: gcc", mend="apt-get install gcc"),
        MissingRequirement(what="memory", mend="", vital=False),
        MissingRequirement(what="root", mend="su -"),
    ]
    monkeypatch.setattr(requirements, "missing_requirements", lambda *_, **__: lacks)
    with pytest.raises(HostError, match=r"^this machine lacks packages: gcc$") as caught:
        check_machine(tmp_path)
    assert caught.value.exit_code == 4
    assert caught.value.hint == "make setup ENGINE=host, or: apt-get install gcc"
    assert caught.value.details == ("root",)


def test_setup_sh_reads_the_list_in_the_same_way(tmp_path: Path, repository: Path) -> None:
    """scripts/setup.sh has a reader of packages.txt of its own: it must find the same packages."""
    script = (repository / "scripts/setup.sh").read_text()
    loop = re.search(r"^missing=\n.*?^done < \S+packages\.txt$", script, re.DOTALL | re.MULTILINE)
    assert loop, "the loop over packages.txt has another form"
    (tmp_path / "builder/engine").mkdir(parents=True)
    (tmp_path / "builder/engine/packages.txt").write_text(
        "# comment\n\nb no-such-b # x\ncoreutils ls\nlib /nowhere.h # y\nbase /etc/passwd\n"
    )
    done = subprocess.run(
        ["sh", "-eu", "-c", f"{loop[0]}\necho $missing"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["b", "lib"]
