# SPDX-License-Identifier: MIT
"""The engine `docker`, with a real daemon."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest

from builder.cli.context import default_store
from builder.containers.containers import Container, Mount
from builder.containers.docker import Docker
from builder.engine.requirements import PACKAGES
from builder.errors import CommandError, Interrupted
from builder.publish.output import Output
from builder.sandbox.process import Processes
from tests.docker.support import (
    CALLER,
    Checkout,
    checkout,
    containers,
    needs_docker,
    owners,
    take_over,
)
from tests.fixtures.product import BOARD

pytestmark = needs_docker

# The longest steps, with the same work as on the machine itself, are tested by hand.
KEPT = ("linux-source", "kernel")


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return checkout(tmp_path_factory.mktemp("docker") / "place")


@pytest.fixture
def daemon() -> Iterator[Docker]:
    with Docker() as opened:
        yield opened


@pytest.fixture(scope="session")
def image(place: Checkout) -> str:
    """The image with the tools, which the first command builds."""
    done = place.run("cache", "--engine", "docker")
    assert done.returncode == 0, done.stdout
    with closing(docker.from_env()) as client:
        (found,) = client.images.list("zynq-sd-builder/tools")[:1]
    return str(found.tags[0])


def manifest(folder: Path) -> dict[str, Any]:
    """Return a manifest without the times, reasons and durations of its steps."""
    read: dict[str, Any] = json.loads((folder / BOARD / "manifest.json").read_text())
    read["steps"] = [{key: step[key] for key in ("name", "fingerprint")} for step in read["steps"]]
    return read


def versions(*before: str) -> dict[str, str]:
    """Return the versions of packages, here or where the command `before` leads."""
    listed = subprocess.run(
        [*before, "dpkg-query", "--show", "--showformat=${Package}\\t${Version}\\n"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(line.split("\t") for line in listed.splitlines())


def test_containers_make_the_same_image(
    image: str, place: Checkout, built: Output, tmp_path: Path
) -> None:
    here = built.directory
    # A machine's packages may be older than those of a new container: then keys differ.
    ours, theirs = versions(), versions("docker", "run", "--rm", image)
    tools = [line.split()[0].rstrip("?") for line in PACKAGES.read_text().splitlines() if line]
    old = [name for name in tools if name in theirs and ours.get(name) != theirs[name]]
    if old:
        pytest.skip(f"these are of other versions in containers: {', '.join(old)}")
    store = tmp_path / "store"
    take_over(default_store(), store, wanted=lambda entry: entry.step in KEPT)
    there = Checkout(tree=place.tree, store=store, output=tmp_path / "output")
    done = there.run("--board", BOARD, "--engine", "docker", "--progress", "plain")
    assert done.returncode == 0, done.stdout[-4000:]
    for step in KEPT:
        assert f"cached  {step}" in done.stdout, "its fingerprint is the same"
    assert manifest(there.output) == manifest(here.parent)
    image = f"{BOARD}/{BOARD}.img"
    same = subprocess.run(["cmp", here.parent / image, there.output / image], check=False)
    assert same.returncode == 0
    assert "nothing to do" in there.run("--board", BOARD, "--engine", "docker").stdout
    assert containers() == []


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_leaves_nothing(place: Checkout, tmp_path: Path, times: int) -> None:
    """During the work on a root filesystem, with a caller who is not root."""
    theirs = Checkout(tree=place.tree, store=tmp_path / "store", output=tmp_path / "output")
    for folder in (theirs.store, theirs.output):
        folder.mkdir()
        subprocess.run(["chown", f"{CALLER}:{CALLER}", folder], check=True)
    words = ("--board", BOARD, "--engine", "docker", "--progress", "plain")
    with theirs.start(*words, caller=CALLER) as process:
        assert process.stdout
        for line in process.stdout:
            sys.stdout.write(line)
            if "start   native-programs" in line:
                break
        time.sleep(8)  # to be in the middle of it
        running = containers()
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
        sys.stdout.write(process.communicate(timeout=120)[0])
    assert len(running) == 2, "the builder's, and the worker's"
    assert process.returncode == 130
    assert containers() == []
    assert owners(theirs.store) | owners(theirs.output) == {CALLER}
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert not [*(theirs.store / "drafts").iterdir(), *(theirs.store / "scratch").iterdir()]


def command(image: str, *argv: str, **more: Any) -> Container:
    return Container(image=image, argv=argv, user=f"{CALLER}:{CALLER}", **more)


def test_a_container_has_no_power_and_no_network(daemon: Docker, image: str) -> None:
    said = daemon.run(
        command(image, "sh", "-c", "grep CapBnd /proc/self/status; ls /sys/class/net; id -u"),
        processes=Processes(),
    )
    assert said.split() == ["CapBnd:", "0" * 16, "lo", str(CALLER)]


def test_a_failure_tells_status_and_last_words(daemon: Docker, image: str) -> None:
    with pytest.raises(CommandError, match="sh ended with status 4") as caught:
        daemon.run(command(image, "sh", "-c", "echo last >&2; exit 4"), processes=Processes())
    assert caught.value.details == ("last",)
    assert containers() == []


def test_what_is_shown_to_read_cannot_be_written(
    daemon: Docker, image: str, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    for read_only in (False, True):
        mount = Mount(source=tmp_path, target=tmp_path, read_only=read_only)
        wanted = command(image, "touch", str(tmp_path / f"{read_only}"), mounts=[mount])
        if read_only:
            with pytest.raises(CommandError, match="touch ended"):
                daemon.run(wanted, processes=Processes())
        else:
            daemon.run(wanted, processes=Processes())
    assert [path.name for path in tmp_path.iterdir()] == ["False"]
    assert (tmp_path / "False").stat().st_uid == CALLER


def test_a_command_that_is_stopped_is_gone(daemon: Docker, image: str) -> None:
    processes = Processes()

    def stop(_: str) -> None:
        processes.stop()

    with pytest.raises(Interrupted):
        daemon.run(
            command(image, "sh", "-c", "echo here; sleep 600"), processes=processes, on_line=stop
        )
    assert containers() == []


def test_containers_of_a_killed_builder_go_with_the_next(daemon: Docker, image: str) -> None:
    script = (
        "from builder.containers.docker import Docker; from builder.containers.containers import Container;"
        "from builder.sandbox.process import Processes; import sys;"
        f"Docker().run(Container(image={image!r}, argv=['sh', '-c', 'echo here; sleep 600'],"
        "user='1:1'), processes=Processes(), on_line=lambda line: print(line, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as killed:
        assert killed.stdout
        assert killed.stdout.readline() == b"here\n"
        killed.kill()
    assert len(containers()) == 1
    daemon.sweep()
    assert containers() == []
