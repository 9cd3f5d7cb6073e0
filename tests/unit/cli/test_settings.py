# SPDX-License-Identifier: MIT
"""Values of --set: reading them from files, and passing them to the re-executed process."""

from __future__ import annotations

import os
import pty
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from builder.cli import settings
from builder.cli.context import Context, become_root
from builder.errors import UserError
from tests.fixtures.command_line import TREE
from tests.fixtures.product import ROOT


@pytest.mark.parametrize(
    ("content", "value"), [("word", "word"), ("word\n", "word"), ("two\nlines\n", "two\nlines")]
)
def test_a_value_may_be_in_a_file(tmp_path: Path, content: str, value: str) -> None:
    file = tmp_path / "secret"
    file.write_text(content)
    assert settings.given([f"users.password=@{file}"]) == [f"users.password={value}"]


def test_a_value_may_be_in_a_pipe() -> None:
    reads, writes = os.pipe()

    def write() -> None:
        with os.fdopen(writes, "wb") as pipe:
            pipe.write(b"piped\n")

    threading.Thread(target=write).start()
    assert settings.given([f"a.b=@/dev/fd/{reads}"]) == ["a.b=piped"]
    os.close(reads)


@pytest.mark.parametrize("text", ["a.b=c@d", "a.b=", "a.b", "@x"])
def test_other_values_stay_as_they_are(text: str) -> None:
    assert settings.given([text]) == [text]
    assert settings.given(["a.b=@@c"]) == ["a.b=@c"]


def test_unreadable_and_unsuitable_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, why in {
        "missing": "No such file",
        "large": "larger than the limit of 64 KiB",
        "binary": "not UTF-8 text",
        ".": "Is a directory",
        "../../../../../../../../dev/zero": "regular file or a pipe",
    }.items():
        with pytest.raises(UserError, match=why):
            settings.given([f"a.b=@{tmp_path}/{name}"])


def test_a_command_line_is_passed_on_without_values() -> None:
    argv = ["--board", "B", "--set", "a.b=c", "--set=d.e=f", "plan", "--set"]
    assert settings.without(argv) == ["--board", "B", "plan"]


def test_settings_are_handed_on_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings"
    settings.hand_on(["a.b=c", "d.e=f"], os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
    monkeypatch.setenv(settings.HANDED_ON, str(file))
    assert settings.given(["g.h=i"]) == ["a.b=c", "d.e=f", "g.h=i"]
    assert settings.given([]) == []


def test_sudo_gets_no_value_on_its_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    handed: list[str] = []
    before = os.dup(0)

    def execvp(_: str, argv: list[str]) -> None:
        seen.extend(argv)
        monkeypatch.setenv(settings.HANDED_ON, "/dev/stdin")
        handed.extend(settings.given([]))

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "execvp", execvp)
    monkeypatch.setenv("https_proxy", "http://user:geheim@proxy.invalid")
    context = Context(
        boards_dirs=TREE.boards_dirs,
        store=tmp_path,
        store_size=1,
        output=tmp_path,
        progress="plain",
        engine="host",
        argv=("--board", "Pynq-Z2"),
        settings=("users.password=geheim",),
    )
    try:
        become_root(context)
    finally:
        os.dup2(before, 0)
        os.close(before)
    assert handed == ["users.password=geheim"]
    assert "BUILDER_SETTINGS=/dev/stdin" in seen
    assert not [word for word in seen if "geheim" in word]
    assert any(word.startswith("--preserve-env=") and "https_proxy" in word for word in seen)


AFTER_SUDO = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from builder.cli import settings
reads, writes = os.pipe()
settings.hand_on(["a.b=c"], writes)
os.dup2(reads, 0)
os.environ |= {{settings.HANDED_ON: "/dev/stdin", settings.TERMINAL: "/dev/tty"}}
print(settings.given([]), os.isatty(0), input())
"""


def test_standard_input_is_the_terminal_again_after_settings_came_by_it() -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-c", AFTER_SUDO])  # noqa: S606
    os.write(terminal, b"typed\n")
    said = b""
    with suppress(OSError):  # a terminal whose process has ended
        while data := os.read(terminal, 1024):
            said += data
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0, said
    assert b"['a.b=c'] True typed" in said
