# SPDX-License-Identifier: MIT
"""Running commands: environment, input, output and status."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from builder.errors import BuildError, CommandError, Interrupted
from builder.sandbox.process import TAIL_LINES, Processes, clean_environment, run, run_visibly
from tests.fixtures.product import ROOT


def shell(text: str, *arguments: str) -> list[str]:
    return ["sh", "-c", text, *arguments]


def wait_for_end(pid: int) -> bool:
    """Return whether a process ends within a few seconds."""
    for _ in range(100):
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


def alive(pid: int) -> bool:
    try:
        # A zombie has ended, even if no process reaps it.
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def test_output_and_errors_come_as_one_text(processes: Processes) -> None:
    text = "echo one; echo two >&2; printf three"
    assert run(shell(text), processes=processes) == "one\ntwo\nthree"


def test_the_log_has_the_command_and_its_output(processes: Processes) -> None:
    log = io.StringIO()
    run(["printf", r"%s\nb\n", "a c"], processes=processes, log=log)
    assert log.getvalue() == "$ printf '%s\\nb\\n' 'a c'\na c\nb\n"


def test_each_line_is_passed_on_as_it_comes(processes: Processes) -> None:
    seen: list[str] = []
    came: list[float] = []

    def note(line: str) -> None:
        seen.append(line)
        came.append(time.monotonic())

    run(shell("echo one; sleep 0.3; echo two"), processes=processes, on_line=note)
    assert seen == ["one", "two"]
    assert came[1] - came[0] > 0.2


@pytest.mark.parametrize("text", ["", "one line\n", "x" * 50_000, "grüezi\n"])
def test_standard_input_is_what_is_given(processes: Processes, text: str) -> None:
    assert run(["cat"], processes=processes, stdin=text) == text


def test_standard_input_is_closed_otherwise(processes: Processes) -> None:
    assert run(["cat"], processes=processes) == ""


def test_a_command_need_not_read_its_input(processes: Processes) -> None:
    assert run(["true"], processes=processes, stdin="x" * 1_000_000) == ""


def test_bytes_that_are_no_text_do_no_harm(processes: Processes) -> None:
    assert run(["printf", r"a\377b"], processes=processes) == "a\N{REPLACEMENT CHARACTER}b"


def test_the_working_directory(processes: Processes, tmp_path: Path) -> None:
    assert run(["pwd"], processes=processes, cwd=tmp_path) == f"{tmp_path}\n"


def test_arguments_are_not_split(processes: Processes) -> None:
    assert run(["echo", "$HOME", "a  b", "; ls"], processes=processes) == "$HOME a  b ; ls\n"


@pytest.mark.parametrize(
    ("text", "message", "status"),
    [
        ("exit 3", "sh ended with status 3", 3),
        ("kill -9 $$", "sh ended with signal 9", -9),
    ],
)
def test_another_status_than_0_is_an_error(
    processes: Processes, text: str, message: str, status: int
) -> None:
    with pytest.raises(CommandError) as caught:
        run(shell(text), processes=processes)
    assert caught.value.message == message
    assert caught.value.status == status
    assert caught.value.exit_code == 3


def test_an_error_shows_the_end_of_the_output_and_a_line_to_paste(processes: Processes) -> None:
    argv = shell('seq "$1"; false', "a name", "1000")
    with pytest.raises(CommandError) as caught:
        run(argv, processes=processes)
    assert caught.value.details == tuple(str(n) for n in range(1001 - TAIL_LINES, 1001))
    pasted = subprocess.run(
        ["bash", "-c", caught.value.replay], capture_output=True, text=True, check=False
    )
    assert pasted.returncode == 1
    assert pasted.stdout.endswith("999\n1000\n")


def test_the_shown_command_may_differ_from_the_run_one(processes: Processes) -> None:
    log = io.StringIO()
    with pytest.raises(CommandError) as caught:
        run(["false"], processes=processes, log=log, replay=["env", "PASSWORD=...", "make", "all"])
    assert caught.value.replay == "env PASSWORD=... make all"
    assert caught.value.message == "make ended with status 1"
    assert log.getvalue() == "$ env PASSWORD=... make all\n"


@pytest.mark.parametrize(
    ("argv", "program"),
    [
        (["make", "all"], "make"),
        (["env", "A=b", "/usr/bin/make"], "make"),
        (["chroot", "/root", "/bin/apt-get", "update"], "apt-get"),
        (["nsenter", "--mount=/x", "--", "tar", "-x"], "tar"),
        (["env"], "env"),
    ],
)
def test_an_error_names_the_program_without_wrappers(
    processes: Processes, argv: list[str], program: str
) -> None:
    with pytest.raises(CommandError, match=f"^{program} ended with status 1$"):
        run(["false"], processes=processes, replay=argv)


def test_a_missing_program_is_an_expected_error_that_names_it(processes: Processes) -> None:
    with pytest.raises(BuildError) as caught:
        run(["no-such-program"], processes=processes)
    assert "no-such-program" in " ".join([caught.value.message, *caught.value.details])


def test_a_missing_directory_is_not_taken_for_a_missing_program(
    processes: Processes, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match=rf"^there is no directory {tmp_path}/none$"):
        run(["true"], processes=processes, cwd=tmp_path / "none")


def test_the_callers_environment_is_not_passed_on(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "x")
    monkeypatch.setenv("LANG", "de_CH.UTF-8")
    monkeypatch.setenv("PATH", f"/nowhere:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    for name in ("http_proxy", "HTTPS_PROXY", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    output = run(["env"], processes=processes)
    assert "SECRET_OF_THE_CALLER" not in output
    assert "nowhere" not in output
    names = {line.partition("=")[0] for line in output.splitlines()}
    assert {"PATH", "HOME", "LANG", "LC_ALL"} <= names
    assert "LANG=C.UTF-8\n" in output


def test_proxies_are_passed_on_and_additions_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.invalid")
    environment = clean_environment({"LANG": "C", "MORE": "1"})
    assert environment["https_proxy"] == "http://proxy.invalid"
    assert environment["LANG"] == "C"
    assert environment["MORE"] == "1"


def test_a_given_environment_is_complete(processes: Processes) -> None:
    environment = {"PATH": os.environ["PATH"], "ONLY": "this"}
    names = {
        line.partition("=")[0]
        for line in run(["env"], processes=processes, environment=environment).splitlines()
    }
    assert names == {"PATH", "ONLY"}


def test_stop_kills_running_commands_and_refuses_new_ones(processes: Processes) -> None:
    timer = threading.Timer(0.3, processes.stop)
    timer.start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        run(["sleep", "60"], processes=processes)
    timer.join()
    assert time.monotonic() - started < 10
    assert processes.stopped
    with pytest.raises(Interrupted):
        run(["true"], processes=processes)


def test_stop_kills_a_commands_children(processes: Processes) -> None:
    """Otherwise they would hold the output open, and `run` would not return."""
    threading.Timer(0.3, processes.stop).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        run(["sh", "-c", "sleep 600 & sleep 600; true"], processes=processes)
    assert time.monotonic() - started < 60


def test_an_error_of_a_listener_ends_the_command(processes: Processes) -> None:
    pids: list[int] = []

    def fail(line: str) -> None:
        pids.append(int(line))
        raise LookupError

    with pytest.raises(LookupError):
        run(shell("echo $$; exec sleep 60"), processes=processes, on_line=fail)
    assert wait_for_end(pids[0])


BUILDER = f"""
import subprocess, sys, time
sys.path.insert(0, {str(ROOT)!r})
from builder.sandbox.process import Processes, clean_environment
pipes = {{"stdin": subprocess.DEVNULL, "stdout": None, "stderr": None}}
process = Processes().start(["sleep", "60"], environment=clean_environment(), **pipes)
time.sleep(0.3)  # until setpriv has become sleep
print(process.pid, flush=True)
time.sleep(60)
"""


VISIBLE = f"""
import signal, sys
sys.path.insert(0, {str(ROOT)!r})
from builder.sandbox.process import Processes, clean_environment, run_visibly
# As the command line does: a job in a shell's background starts with SIGINT ignored.
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.default_int_handler)
command = ["sh", "-c", "echo $$; exec sleep 60"]
run_visibly(command, environment=clean_environment(), processes=Processes())
"""


@pytest.mark.parametrize(
    ("program", "number"),
    [
        *((BUILDER, number) for number in (signal.SIGKILL, signal.SIGTERM)),
        *((VISIBLE, number) for number in (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)),
    ],
)
def test_commands_die_with_the_builder_however_it_dies(
    program: str, number: signal.Signals
) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=pipe, stderr=pipe, text=True
    ) as builder:
        assert builder.stdout
        pid = int(builder.stdout.readline())
        assert alive(pid)
        builder.send_signal(number)
        builder.wait(timeout=50)  # less than `sleep` takes
        assert wait_for_end(pid)


def test_run_visibly_returns_the_status(
    processes: Processes, capfd: pytest.CaptureFixture[str]
) -> None:
    command = shell("echo out; echo problem >&2; exit 7")
    assert run_visibly(command, environment=clean_environment(), processes=processes) == 7
    assert capfd.readouterr() == ("out\n", "problem\n")


def test_ctrl_c_in_the_terminal_reaches_the_builder_alone(processes: Processes) -> None:
    session = int(run(["cut", "-d", " ", "-f", "6", "/proc/self/stat"], processes=processes))
    assert session != os.getsid(0)
