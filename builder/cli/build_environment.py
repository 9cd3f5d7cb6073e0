# SPDX-License-Identifier: MIT
"""The engine `docker`: this same builder again, in a container that holds all that it needs.

What the container sees of the machine is in `_mounts`: the tree and the boards, to read; the store
and the output, to write. All is where it is on the machine, and belongs to who called.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import termios
import threading
import tty
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from builder.apt.base_image import base_of
from builder.bsp.petalinux.system import ContainerStep
from builder.cli.context import ROOT, TOOLS_LOG, Context, become_root
from builder.cli.settings import HANDED_ON, hand_on
from builder.containers.broker import ContainerBroker, RelayedContainers
from builder.containers.capability_key import taken_key
from builder.containers.containers import Container, ImageRecipe, Mount
from builder.containers.docker import Docker, RunningContainer
from builder.engine.engine import CALLER, CAPABLE, CONTROL, control
from builder.engine.requirements import BROWSER
from builder.errors import HostError, Interrupted
from builder.plan.plan import Planned
from builder.sandbox.process import PASSED_ON, Processes
from builder.spec.distributions import named_distribution
from builder.spec.resolve import NamedDistribution
from builder.steps.step import ROOT_FILESYSTEM

TOOLS = "debian-bookworm"
"""Distribution of the container's system."""

_PYTHON = "/opt/builder/bin/python"
_START = "import sys; from builder.cli.main import main; sys.exit(main(sys.argv[1:]))"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_BUNDLES = (
    _CERTIFICATES,
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/ca-bundle.pem"),
)
# A caller who is root finds files of other users in the store: those that refuse to be root.
_FILES = ("CHOWN", "DAC_OVERRIDE", "FOWNER")


@dataclass(frozen=True, kw_only=True)
class ContainerRequest:
    """A command's requirements for its container.

    shown: files and directories of the user's beside those of the context.
    written: directories of the user's that it writes into, beside those of the context.
    capable: whether it works in root filesystems itself; else a worker does it for it.
    stdin: whether the user types into it.
    browser: whether a browser is needed, which makes the image half as large again.
    offline: whether it has to do without the network.
    """

    shown: Sequence[Path] = ()
    written: Sequence[Path] = ()
    capable: bool = False
    stdin: bool = False
    browser: bool = False
    offline: bool = False


def ensure_build_environment(context: Context, wish: ContainerRequest | None = None) -> None:
    """Go on where builds run.

    That is here, if this process is in a container of the builder's or root on a machine that
    builds itself. Else everything begins again there, and this process ends with it.

    Raises:
        HostError: Docker was asked for, and cannot be used.
    """
    folder = control()
    if folder:
        _stay(folder)
        return
    docker = chosen(context.engine)
    if docker is None:
        become_root(context)
    else:
        with docker:
            raise SystemExit(run_inside(context, docker, wish or ContainerRequest()))


@cache
def _stay(folder: Path) -> None:
    """Take the key, and end when the process outside ends, however that happens."""
    taken_key(folder)
    RelayedContainers(folder, "").stay()


def run_inside(context: Context, docker: Docker, wish: ContainerRequest) -> int:
    """Run this command line again in a container; return its exit code.

    Raises:
        HostError: the image cannot be made, or the daemon refuses.
    """
    docker.sweep()
    for folder in (context.store, context.output):
        folder.mkdir(parents=True, exist_ok=True)
    image = _image(context, docker, wish)
    with tempfile.TemporaryDirectory(prefix="builder-") as name:
        folder = Path(name)
        plain = _container(context, image, folder, wish)
        worker = replace(
            plain,
            argv=[_PYTHON, "-m", "builder.scheduler.worker_server"],
            user="0:0",
            capabilities=ROOT_FILESYSTEM,
            environment={**plain.environment, CAPABLE: "1"},
        )
        main = plain
        if wish.capable:
            main = replace(worker, argv=plain.argv)
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        _reclaim(context, docker, plain)
        with _Signals(resize=terminal) as signals:
            try:
                with (
                    ContainerBroker(folder, docker, worker),
                    docker.started(main, terminal=terminal, stdin=wish.stdin) as running,
                    signals.passed_to(running),
                    _typing(running) if wish.stdin and terminal else nullcontext(),
                ):
                    for stream, data in running.output():
                        to = sys.stdout.buffer if stream == 1 else sys.stderr.buffer
                        to.write(data)
                        to.flush()
                    status = running.wait()
            finally:
                # Signals are still held back: a second Ctrl-C must not interrupt the cleaning up.
                _reclaim(context, docker, plain)
                # The worker was killed: nobody uses its drafts any more.
                context.open_store().sweep()
            return status if signals.stops < 2 else Interrupted.exit_code


def tools_image(
    tree_root: Path, distribution: NamedDistribution, *, browser: bool = False
) -> ImageRecipe:
    """Return the recipe of the image with all host tools, and a browser on top of it if wanted."""
    base = base_of(distribution)
    return ImageRecipe(
        name="tools",
        base=base.image,
        suite=base.suite,
        sources=base.sources,
        problem=base.problem,
        remedy=base.remedy,
        folder=tree_root / "docker/tools",
        files={
            "packages.txt": tree_root / "builder/engine/packages.txt",
            "requirements.txt": tree_root / "requirements.txt",
        },
        arguments={"BROWSER": BROWSER} if browser else {},
        python_packages=("requirements.txt", distribution.model.python),
    )


def _image(context: Context, docker: Docker, wish: ContainerRequest) -> str:
    distribution = named_distribution(context.tree, TOOLS)
    recipe = tools_image(ROOT, distribution, browser=wish.browser)
    with (context.output / TOOLS_LOG).open("w") as log:
        return docker.image(
            recipe,
            processes=Processes(),
            log=log,
            say=lambda line: context.console.print(line, style="dim", markup=False),
            offline=wish.offline,
        )


def _container(context: Context, image: str, control: Path, wish: ContainerRequest) -> Container:
    user, group = os.getuid(), os.getgid()
    environment = {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "TERM": os.environ.get("TERM", "dumb"),
        "BUILDER_STORE": str(context.store),
        CONTROL: str(control),
        CALLER: f"{user}:{group}",
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
    }
    if context.settings:
        file = control / "settings.json"
        hand_on(context.settings, os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        environment[HANDED_ON] = str(file)
    if not sys.stdout.isatty():
        environment["COLUMNS"] = str(shutil.get_terminal_size().columns)
    return Container(
        image=image,
        argv=[_PYTHON, "-c", _START, *context.argv],
        user=f"{user}:{group}",
        mounts=_mounts(context, control, wish),
        environment=environment,
        cwd=Path.cwd(),
        capabilities=() if user else _FILES,
        network=True,
    )


def _mounts(context: Context, control: Path, wish: ContainerRequest) -> list[Mount]:
    """Return what a container sees of this machine."""

    def same(path: Path, *, read_only: bool) -> Mount:
        return Mount(source=path.resolve(), target=path, read_only=read_only)

    names = control / "passwd"
    names.write_text(
        "root:x:0:0:root:/root:/bin/sh\n"
        + (f"caller:x:{os.getuid()}:{os.getgid()}::/tmp:/bin/sh\n" if os.getuid() else "")
        + "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        "_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n"
    )
    readable = [ROOT, *context.boards_dirs, *wish.shown]
    writable = [context.store, context.output, control, *wish.written]
    mounts = [
        same(path, read_only=True) for path in dict.fromkeys(readable) if path not in writable
    ]
    mounts += [same(path, read_only=False) for path in dict.fromkeys(writable)]
    mounts.append(Mount(source=names, target=Path("/etc/passwd"), read_only=True))
    # Packages and wheels come from where the machine's own come from.
    for path in (Path("/etc/apt"), Path("/etc/pip.conf")):
        if path.exists():
            mounts.append(same(path, read_only=True))
    bundle = next((path for path in _BUNDLES if path.is_file()), None)
    if bundle:
        mounts.append(Mount(source=bundle.resolve(), target=_CERTIFICATES, read_only=True))
    return mounts


class _Signals:
    """Handlers that pass Ctrl-C on to a container, the second time with force.

    A signal that comes before the container runs is passed on as soon as it does. One that comes
    after it has ended is only counted, so that the cleaning up is not interrupted.

    resize: whether the container's terminal follows the size of the terminal here.
    stops: how many signals to stop came.
    """

    def __init__(self, *, resize: bool) -> None:
        self.stops = 0
        self._resize = resize
        self._running: RunningContainer | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        handlers = dict.fromkeys((signal.SIGINT, signal.SIGTERM), self._stop)
        if self._resize:
            handlers[signal.SIGWINCH] = self._follow_size
        self._before = {number: signal.signal(number, handlers[number]) for number in handlers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def passed_to(self, running: RunningContainer) -> Iterator[None]:
        """Pass signals on to a container."""
        self._running = running
        try:
            if self._resize:
                self._follow_size()
            for stop in range(self.stops):
                self._send(stop + 1)
            yield
        finally:
            self._running = None

    def _stop(self, *_: object) -> None:
        self.stops += 1
        self._send(self.stops)

    def _send(self, stop: int) -> None:
        if running := self._running:
            _apart(partial(running.signal, "SIGINT") if stop == 1 else running.kill)

    def _follow_size(self, *_: object) -> None:
        if running := self._running:
            _apart(partial(running.resize, *shutil.get_terminal_size()))


def _apart(action: Callable[[], None]) -> None:
    """Do something in a thread: the main one may be using the connection to the daemon."""
    threading.Thread(target=action).start()


@contextmanager
def _typing(running: RunningContainer) -> Iterator[None]:
    """Give the container what is typed, key by key."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pass_on() -> None:
        while data := os.read(descriptor, 1024):
            running.write(data)

    tty.setraw(descriptor)
    threading.Thread(target=pass_on, daemon=True).start()
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _reclaim(context: Context, docker: Docker, container: Container) -> None:
    """Make the caller the owner of what a worker that was killed left in the store."""
    user = os.getuid()
    places = [context.store, context.output]
    if user == 0 or not any(of_root(place) for place in places):
        return
    docker.run(
        replace(
            container,
            argv=[
                *(_PYTHON, "-m", "builder.scheduler.reclaim"),
                *(*map(str, places), *container.user.split(":")),
            ],
            user="0:0",
            capabilities=_FILES,
            network=False,
        ),
        processes=Processes(),
    )


def of_root(folder: Path) -> bool:
    """Return whether root owns something in a directory that is not the finished entries'.

    Also if the directory is another user's alone, as root's store is.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        return True  # a store is its owner's alone
    for place, names, files in os.walk(folder):
        if Path(place) == folder and "entries" in names:
            names.remove("entries")  # given away before they became entries
        for name in (*names, *files):
            with suppress(FileNotFoundError):  # another build may be at work there
                if (Path(place) / name).lstat().st_uid == 0:
                    return True
    return False


def chosen(engine: str) -> Docker | None:
    """Return the Docker daemon if builds are to run in containers; None if on the machine itself.

    `auto` takes Docker where a daemon answers.

    Raises:
        HostError: `docker` was asked for, and none can be used.
    """
    if engine == "host":
        return None
    try:
        return Docker()
    except HostError as error:
        if engine == "docker":
            hint = f"{error.hint}; or use --engine host" if error.hint else "use --engine host"
            raise HostError(error.message, hint=hint, details=error.details) from error
        return None


def check_containers(plan: Iterable[Planned]) -> None:
    """Make sure, before anything is built, that the steps can be that run in containers anyway.

    Raises:
        HostError: there are such steps, and Docker cannot be used.
    """
    steps = [item for item in plan if not item.cached and isinstance(item.step, ContainerStep)]
    if not steps or control():
        return
    try:
        Docker().close()
    except HostError as error:
        raise HostError(
            f"step {steps[0].label} runs in a container, with --engine host too, and {error.message}",
            hint=error.hint,
            details=error.details,
        ) from error
