# SPDX-License-Identifier: MIT
"""Explanations of failures: the task, the relevant line, its context, the log."""

from __future__ import annotations

from pathlib import Path

from builder.bsp.petalinux.failures import explain
from builder.errors import CommandError
from tests.fixtures.petalinux_failures import ENDED, error, failed, log
from tests.fixtures.petalinux_recorded import FETCHED, URL

# Where the cause is


def test_the_log_is_read_where_bitbake_shows_nothing_of_it() -> None:
    asked: list[str] = []

    def read_log(path: str) -> str:
        asked.append(path)
        return "NOTE: make\nDEBUG: a.c:1:1: error: no\nsrc/b.c:2:2: error: really\n"

    found = explain(error(), failed("foo", "compile", "oe_runmake failed"), read_log=read_log)
    assert asked == [log("foo", "compile")]
    assert found.details[0] == "src/b.c:2:2: error: really"
    assert found.details[-1] == f"log of foo do_compile: {log('foo', 'compile')}"


def test_colours_and_progress_bars() -> None:
    plain = failed("foo", "compile", data="a/b.c:2:2: error: no")
    coloured = "".join(f"\x1b[1;31m{line}\x1b[0m\r\n" for line in plain.splitlines())
    bar = "\rCurrently  2 running tasks (7 of 9)  77% |###   |\x1b[K\r"
    found = explain(error(), bar + coloured)
    assert found.message == "foo do_compile failed: the compiler rejects the source"
    assert found.details[0] == "a/b.c:2:2: error: no"
    assert found.details[-1] == f"log of foo do_compile: {log('foo', 'compile')}"


def test_recovered_failures_are_not_the_cause() -> None:
    """A mirror had the file, and settings.sh complains before each command."""
    output = (
        "ERROR: You are missing the following system tools required by PetaLinux:\n\n - xterm\n"
        f"WARNING: linux-r0 do_fetch: Failed to fetch URL {URL}, attempting MIRRORS if available\n"
        f"WARNING: linux-r0 do_fetch: Checksum failure encountered with download of {URL}\n"
        "WARNING: linux-r0 do_fetch: Checksum mismatch!\nFile: 'x' has sha256 checksum '0' when '1' "
        "was expected\n"
        "WARNING: The free space of /p (/dev/sda1) is running low (0.9GB left)\n"
    )
    found = explain(error(), output + failed("foo", "compile", data="a/b.c:2:2: error: no"))
    assert found.message == "foo do_compile failed: the compiler rejects the source"


def test_several_tasks() -> None:
    """The first failure is not the known one; the line is assigned to its task."""
    output = failed("m4", "configure", "configure failed", native="virtual:native:") + failed(
        "foo", "compile", "oe_runmake failed", data="a/b.c:2:2: error: no"
    )
    found = explain(error(), output + output)
    assert found.message == "foo do_compile failed: the compiler rejects the source"
    assert "also failed: m4-native do_configure" in found.details
    logs = {log("foo", "compile"): "a/b.c:2:2: error: from the log\n"}
    found = explain(error(), output, read_log=logs.get)
    assert found.details[0] == "a/b.c:2:2: error: from the log"


def test_long_lines_are_shortened_and_context_is_shown() -> None:
    output = failed("linux", "fetch", FETCHED + "ERROR: x: Unable to fetch URL from any source.")
    found = explain(error(), output)
    assert "Unable to fetch URL" in found.details[0]
    assert any("Could not resolve host" in line for line in found.details)
    assert max(map(len, found.details)) < 520
    assert not any("Task (" in line or "Logfile of" in line for line in found.details)


def test_many_lines(tmp_path: Path) -> None:
    middle = (
        "NOTE: recipe x: task do_compile: Started\n| make[1]: Entering directory 'x'\n" * 20_000
    )
    output = middle + failed("foo", "compile", data="a/b.c:2:2: error: no") + middle
    assert explain(error(), output).details[0] == "a/b.c:2:2: error: no"


# What is not known


def nothing(_: str) -> None:
    return None


def test_a_task_that_failed_for_an_unknown_reason() -> None:
    output = "ERROR: noise\n" + failed(
        "foo", "install", "Execution of 'run.do_install' failed with exit code 1", "no such thing"
    )
    lines = [f"line {number}" for number in range(40)]
    found = explain(error(), output, read_log=lambda _: "\n".join(lines))
    assert type(found) is CommandError
    assert found.message == "foo do_install failed"
    assert found.hint is None
    assert found.details[0] == "ERROR: foo-2.0+gitAUTOINC+0123456789-r0 do_install: no such thing"
    assert found.details[1:-1] == tuple(lines[-15:])
    assert found.details[-1] == f"log of foo do_install: {log('foo', 'install')}"


def test_a_command_that_failed_for_an_unknown_reason() -> None:
    output = (
        "[INFO] Building nothing\n[ERROR] Failed to do it\nERROR: Nothing PROVIDES 'nothing'\n"
        "ERROR: Failed to build nothing. Check the /p/build/build.log file for more details...\n"
    )
    found = explain(error(), output, read_log=nothing)
    assert found.message == ENDED
    assert found.details[0] == "ERROR: Nothing PROVIDES 'nothing'"


def test_a_command_that_says_nothing() -> None:
    assert explain(error(ENDED, "the last line"), "").details == ("the last line",)
