# SPDX-License-Identifier: MIT
"""Commands on a board through one server, with a local shell instead of a login."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

from builder.target_tests.commands import BoardBackend, BoardCommands


@pytest.fixture(params=["board", "outside"])
def commands(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BoardCommands]:
    """A connection to the host, as on the board itself and as through a login."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    # Otherwise `python3` may be a script that selects one of several versions.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    login = tmp_path / "login"
    # Like ssh, join the words and let a shell split them again.
    login.write_text(f'#!/bin/sh\necho login >> {tmp_path}/logins\nexec sh -c "$*"\n')
    login.chmod(0o755)
    opened = BoardCommands([str(login)] if request.param == "outside" else [])
    yield opened
    opened.close()


@pytest.fixture
def host(commands: BoardCommands) -> Host:
    return Host(BoardBackend(commands))


def test_a_command_gives_its_status_and_both_outputs(commands: BoardCommands) -> None:
    assert commands.run("echo said; echo 'told' >&2; exit 3") == (3, b"said\n", b"told\n")


def test_outputs_are_unchanged_bytes(commands: BoardCommands, tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "data").write_bytes(data)
    assert commands.run(f"cat {tmp_path}/data").stdout == data


def test_the_standard_input_of_a_command_is_empty(commands: BoardCommands) -> None:
    assert commands.run("cat") == (0, b"", b"")


def test_a_signal_gives_the_status_of_a_shell(commands: BoardCommands) -> None:
    assert commands.run("kill -KILL $$").status == 128 + signal.SIGKILL
    code = "import os; os.kill(os.getpid(), 9)"
    assert commands.run_python(code).status == 128 + signal.SIGKILL


def test_all_commands_share_one_login(commands: BoardCommands, tmp_path: Path) -> None:
    servers = {commands.run("echo $PPID").stdout for _ in range(3)}
    servers.add(commands.run_python("import os; print(os.getppid())").stdout)
    assert len(servers) == 1
    if (tmp_path / "logins").exists():
        assert (tmp_path / "logins").read_text() == "login\n"


def test_a_background_process_is_not_waited_for(commands: BoardCommands) -> None:
    started = time.monotonic()
    pid = int(commands.run("sleep 60 & echo $!").stdout)
    assert time.monotonic() - started < 30
    os.kill(pid, signal.SIGKILL)


def test_testinfra_uses_the_backend(host: Host, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("Grüße\n")
    assert host.file(str(tmp_path / "a file")).content_string == "Grüße\n"
    assert host.check_output("printf %%s%%s %s %s", "'", '"') == "'\""
    assert host.run("exit 4").rc == 4
    assert not host.file("/nonexistent").exists


def test_code_has_its_arguments_and_a_name_of_its_own(commands: BoardCommands) -> None:
    code = "import sys; print(__name__, sys.argv, file=sys.stderr); x = 1"
    assert commands.run_python(code, "a b", "'") == (0, b"", b"__main__ ['-c', 'a b', \"'\"]\n")
    # Programs do not share variables.
    answer = commands.run_python("print(x)")
    assert answer.status == 1
    assert b"NameError: name 'x' is not defined" in answer.stderr


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("raise SystemExit", 0, b""),
        ("raise SystemExit(7)", 7, b""),
        ("raise SystemExit('why')", 1, b"why\n"),
        ("def f(:", 1, b"SyntaxError"),
        ("import atexit; atexit.register(print, 'over')", 0, b""),
    ],
)
def test_code_ends_like_a_program(
    commands: BoardCommands, code: str, status: int, said: bytes
) -> None:
    answer = commands.run_python(code)
    assert answer.status == status
    assert said in answer.stderr
    assert answer.stdout == (b"over\n" if "over" in code else b"")
    assert commands.run_python("print('next')").stdout == b"next\n"


def test_code_runs_without_the_servers_names(commands: BoardCommands) -> None:
    """The server's own modules and `__future__` imports do not affect the code."""
    code = "import sys\nclass A:\n    x: int\nprint(A.__annotations__, sys.path[0] == '')"
    assert commands.run_python(code).stdout == b"{'x': <class 'int'>} True\n"


def test_modules_are_imported_once(
    commands: BoardCommands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "slow_library.py").write_text(
        f"print('in the way of the answers')\nopen('{tmp_path}/imports', 'a').write('x')\nstate = []\n"
    )
    code = "import slow_library; slow_library.state.append(1); print(slow_library.state)"
    for _ in range(3):
        assert commands.run_python(code, modules=["slow_library"]) == (0, b"[1]\n", b"")
    assert (tmp_path / "imports").read_text() == "x"


def test_a_missing_module_is_an_error(commands: BoardCommands) -> None:
    answer = commands.run_python("print('never')", modules=["no_such_library"])
    assert answer.status == 1
    assert b"No module named 'no_such_library'" in answer.stderr
    assert commands.run("echo on").stdout == b"on\n"


def test_a_time_limit_ends_a_command_and_the_next_one_is_answered(commands: BoardCommands) -> None:
    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    pid = int(commands.run("echo $PPID").stdout)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(TimeoutError):
            commands.run("exec sleep 60")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert commands.run("echo next").stdout == b"next\n"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_lost_connection_is_an_error_and_the_next_command_connects_again(
    commands: BoardCommands,
) -> None:
    with pytest.raises(ConnectionError, match="the connection to the board was lost"):
        commands.run("kill -KILL $PPID")
    assert commands.run("echo again").stdout == b"again\n"


def test_a_board_without_python_runs_commands(tmp_path: Path) -> None:
    login = tmp_path / "login"
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sh").symlink_to("/bin/sh")
    login.write_text(f'#!/bin/sh\nPATH={tools}\nexec sh -c "$*"\n')
    login.chmod(0o755)
    commands = BoardCommands([str(login)])
    assert commands.run("echo said; exit 3") == (3, b"said\n", b"")
    with pytest.raises(ConnectionError, match="the board has no python3"):
        commands.run_python("print()")


def test_the_server_ends_with_its_client(commands: BoardCommands) -> None:
    pid = commands.run("echo $PPID").stdout.decode().strip()
    commands.close()
    assert subprocess.run(["ps", "-p", pid], capture_output=True, check=False).returncode == 1
