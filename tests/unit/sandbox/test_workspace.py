# SPDX-License-Identifier: MIT
"""Workspaces: nothing inside remains after their end."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builder.engine.host import HostEngine, available_memory
from builder.errors import CommandError, HostError, StepError
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PrivateWorkspace, killed_workspace_reported
from tests.fixtures.product import ROOT

MIB = 1 << 20

pytestmark = pytest.mark.usefixtures("needs_root")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "scratch"
    path.mkdir()
    return path


def mounts() -> list[str]:
    """Return the mounts, without those that a Docker daemon makes for other processes."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line for line in lines if "/docker/" not in line]


def ends(pid: str) -> bool:
    for _ in range(100):
        try:
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def namespace_pids(holder_pid_namespace: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/ns/pid"):
        try:
            if str(path.readlink()) == holder_pid_namespace:
                found.append(path.parts[2])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_a_tmpfs_is_seen_inside_alone(scratch: Path, processes: Processes) -> None:
    with PrivateWorkspace(scratch, processes=processes, tmpfs_bytes=MIB) as workspace:
        workspace.run(["touch", scratch / "inside"])
        assert workspace.run(["ls", scratch]) == "inside\n"
        assert f"builder {scratch} tmpfs" in workspace.run(["cat", "/proc/self/mounts"])
        assert str(scratch) not in mounts()
        assert list(scratch.iterdir()) == []


def test_the_tmpfs_has_the_size_that_was_asked_for(scratch: Path, processes: Processes) -> None:
    with PrivateWorkspace(scratch, processes=processes, tmpfs_bytes=MIB) as workspace:
        command = ["dd", "if=/dev/zero", f"of={scratch}/x", "bs=1M", "count=2", "status=none"]
        with pytest.raises(CommandError, match="dd ended with status 1"):
            workspace.run(command)


def test_without_a_tmpfs_it_is_the_plain_directory(scratch: Path, processes: Processes) -> None:
    with PrivateWorkspace(scratch, processes=processes) as workspace:
        workspace.run(["touch", "inside"])
    assert [path.name for path in scratch.iterdir()] == ["inside"]


def test_outside_is_the_path_of_a_file_inside(scratch: Path, processes: Processes) -> None:
    with PrivateWorkspace(scratch, processes=processes, tmpfs_bytes=MIB) as workspace:
        workspace.run(["mkdir", scratch / "a"])
        workspace.outside(scratch / "a/file").write_text("hello")
        assert workspace.run(["cat", scratch / "a/file"]) == "hello"
        assert not (scratch / "a").exists()


def test_commands_begin_in_the_scratch_directory_or_where_told(
    scratch: Path, processes: Processes
) -> None:
    with PrivateWorkspace(scratch, processes=processes, tmpfs_bytes=MIB) as workspace:
        workspace.run(["mkdir", "sub"])
        # Directories that exist only inside are found, too.
        assert workspace.run(["pwd", "-P"]) == f"{scratch}\n"
        assert workspace.run(["pwd", "-P"], cwd=scratch / "sub") == f"{scratch}/sub\n"


def test_there_is_no_network_unless_it_is_asked_for(scratch: Path, processes: Processes) -> None:
    command = ["sh", "-c", "sed -n 's/ *\\([^:]*\\):.*/\\1/p' /proc/net/dev"]
    with PrivateWorkspace(scratch, processes=processes) as workspace:
        assert workspace.run(["readlink", "/proc/self/ns/net"]).strip() != str(
            Path("/proc/self/ns/net").readlink()
        )
        assert set(workspace.run(command).split()) <= {"lo", "sit0", "tunl0", "ip6tnl0"}
    with PrivateWorkspace(scratch, processes=processes, network=True) as workspace:
        assert workspace.run(["readlink", "/proc/self/ns/net"]).strip() == str(
            Path("/proc/self/ns/net").readlink()
        )


def test_processes_outside_are_not_seen(scratch: Path, processes: Processes) -> None:
    with PrivateWorkspace(scratch, processes=processes) as workspace:
        found = workspace.run(["sh", "-c", "ls -d /proc/[0-9]*"]).split()
    assert len(found) < 6


def test_mounts_and_processes_are_gone_when_it_closes(scratch: Path, processes: Processes) -> None:
    before = mounts()
    with PrivateWorkspace(scratch, processes=processes, tmpfs_bytes=MIB) as workspace:
        workspace.run(["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 < /dev/null &"])
        workspace.run(["mkdir", "proc"])
        workspace.run(["mount", "-t", "proc", "proc", scratch / "proc"])
        namespace = workspace.run(["readlink", "/proc/self/ns/pid"]).strip()
        inside = namespace_pids(namespace)
        assert len(inside) >= 2, "the first process of the namespace, and sleep"
    assert all(ends(pid) for pid in inside)
    assert mounts() == before
    assert list(scratch.iterdir()) == []


def test_an_error_inside_closes_it_too(scratch: Path, processes: Processes) -> None:
    workspace = PrivateWorkspace(scratch, processes=processes, tmpfs_bytes=MIB)
    with pytest.raises(CommandError), workspace:
        workspace.run(["false"])
    assert not workspace.outside(Path("/etc")).exists()


OWNER = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PrivateWorkspace
scratch = Path(sys.argv[1])
workspace = PrivateWorkspace(scratch, processes=Processes(), tmpfs_bytes=1 << 20)
workspace.run(["sh", "-c", "setsid sleep 60 >/dev/null 2>&1 < /dev/null &"])
print(workspace.run(["readlink", "/proc/self/ns/pid"]).strip(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_everything_is_gone_when_its_owner_is_killed(scratch: Path, number: signal.Signals) -> None:
    before = mounts()
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(scratch)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout
        namespace = owner.stdout.readline().strip()
        inside = namespace_pids(namespace)
        assert len(inside) >= 2
        owner.send_signal(number)
        owner.wait()
    assert all(ends(pid) for pid in inside)
    assert mounts() == before
    scratch.rmdir()  # nothing is mounted there


def test_a_killed_workspace_is_reported_as_such(scratch: Path, processes: Processes) -> None:
    with PrivateWorkspace(scratch, processes=processes) as workspace:
        missing = workspace.outside(scratch / "missing")
        with pytest.raises(FileNotFoundError), killed_workspace_reported():
            missing.read_text()
        workspace.check_alive()
        workspace.close()  # kills the first process, as the kernel does when memory runs out
        with pytest.raises(StepError, match="was killed"), killed_workspace_reported():
            missing.read_text()
        assert not workspace.alive
        with pytest.raises(StepError, match="was killed"):
            workspace.check_alive()


def test_secrets_are_in_no_log_and_no_error(scratch: Path, processes: Processes) -> None:
    log = io.StringIO()
    environment = {"PASSWORD": "hunter2", "USER": "me"}
    with PrivateWorkspace(scratch, processes=processes) as workspace:
        output = workspace.run(
            ["sh", "-c", 'echo "${#PASSWORD} $USER"'],
            environment=environment,
            secret=["PASSWORD"],
            log=log,
        )
        assert output == "7 me\n", "the command itself has it"
        with pytest.raises(CommandError) as caught:
            workspace.run(["false"], environment=environment, secret=["PASSWORD"], log=log)
    assert caught.value.replay == "env PASSWORD=... USER=me false"
    assert "hunter2" not in log.getvalue()
    assert "$ env PASSWORD=... USER=me false" in log.getvalue()


def test_the_line_to_paste_is_free_of_namespaces(scratch: Path, processes: Processes) -> None:
    workspace = PrivateWorkspace(scratch, processes=processes)
    with workspace, pytest.raises(CommandError) as caught:
        workspace.run(["ls", scratch / "none"])
    assert caught.value.replay == f"ls {scratch}/none"
    assert caught.value.message == "ls ended with status 2"


def test_stopping_everything_ends_a_command_inside(scratch: Path) -> None:
    processes = Processes()
    with PrivateWorkspace(scratch, processes=processes) as workspace:
        namespace = workspace.run(["readlink", "/proc/self/ns/pid"]).strip()
        inside = namespace_pids(namespace)
        processes.stop()
        assert all(ends(pid) for pid in inside)


def test_a_failed_mount_is_an_error_of_the_machine(tmp_path: Path, processes: Processes) -> None:
    with pytest.raises(HostError, match="cannot make a private namespace") as caught:
        PrivateWorkspace(tmp_path / "none", processes=processes, tmpfs_bytes=MIB)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["with blank", "with $(echo word)", "with 'quote"])
def test_a_directory_may_have_any_name(tmp_path: Path, processes: Processes, name: str) -> None:
    scratch = tmp_path / name
    scratch.mkdir()
    with PrivateWorkspace(scratch, processes=processes, tmpfs_bytes=MIB) as workspace:
        assert workspace.run(["pwd", "-P"]) == f"{scratch}\n"


@pytest.mark.parametrize(("need", "tmpfs"), [(MIB, True), (1 << 60, False)])
def test_the_host_uses_tmpfs_only_with_enough_memory(
    scratch: Path, processes: Processes, need: int, *, tmpfs: bool
) -> None:
    if tmpfs and available_memory() < (3 << 30):
        pytest.skip("too little memory free")
    with HostEngine(processes).workspace(scratch, need=need) as workspace:
        kind = workspace.run(["stat", "--file-system", "--format=%T", scratch]).strip()
    assert (kind == "tmpfs") is tmpfs


def test_the_users_environment_stays_outside(
    scratch: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "SECRET_OF_THE_CALLER", "x")
    with PrivateWorkspace(scratch, processes=processes) as workspace:
        assert "SECRET_OF_THE_CALLER" not in workspace.run(["env"])
