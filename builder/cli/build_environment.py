# SPDX-License-Identifier: MIT
"""Build environment: the engine `docker` runs this builder again, in a container with all tools.

The container sees the directories in `_mounts`: the checkout and the boards read-only, the store
and the output read-write, all under their own paths. Its user is the caller.
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
from builder.bsp.petalinux.failures import explain
from builder.bsp.petalinux.releases import releases
from builder.bsp.petalinux.system import ContainerStep, System
from builder.cli.context import ROOT, TOOLS_LOG, Context, become_root
from builder.cli.settings import HANDED_ON, hand_on
from builder.containers.broker import ContainerBroker, RelayedContainers
from builder.containers.capability_key import take_key
from builder.containers.containers import Container, ImageRecipe, Mount
from builder.containers.docker import Docker, RunningContainer
from builder.engine.engine import CALLER, CAPABLE, CONTROL, control
from builder.engine.requirements import BROWSER
from builder.errors import HostError, Interrupted, StepError
from builder.plan.plan import Planned
from builder.sandbox.process import PASSED_ON, Processes
from builder.spec.distributions import named_distribution
from builder.spec.resolve import NamedDistribution
from builder.steps.step import ROOT_FILESYSTEM

TOOLS = "debian-bookworm"
"""Distribution of the build container."""

_PETALINUX = "petalinux-"
_PYTHON = "/opt/builder/bin/python"
_START = "import sys; from builder.cli.main import main; sys.exit(main(sys.argv[1:]))"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_BUNDLES = (
    _CERTIFICATES,
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/ca-bundle.pem"),
)
# In a root caller's store, commands that refuse to run as root own some of the files.
_FILES = ("CHOWN", "DAC_OVERRIDE", "FOWNER")


@dataclass(frozen=True, kw_only=True)
class ContainerRequest:
    """A command's requirements on its container.

    shown: the user's files and directories that it reads, beside those of the context.
    written: the user's directories that it writes to, beside those of the context.
    capable: whether it works in root filesystems itself, without a worker.
    stdin: whether the user types into it.
    browser: whether it needs a browser, which makes the image half as large again.
    offline: whether it may not use the network.
    """

    shown: Sequence[Path] = ()
    written: Sequence[Path] = ()
    capable: bool = False
    stdin: bool = False
    browser: bool = False
    offline: bool = False


def ensure_build_environment(context: Context, request: ContainerRequest | None = None) -> None:
    """Return if builds run in this process; otherwise run the command line again, and exit with it.

    Builds run in this process if it is in a container of the builder's, or root with the engine
    `host`.

    Raises:
        HostError: the engine is `docker`, and Docker cannot be used.
        SystemExit: the command line has run in a container.
    """
    folder = control()
    if folder:
        _follow_broker(folder)
        return
    docker = chosen(context.engine)
    if docker is None:
        become_root(context)
    else:
        with docker:
            raise SystemExit(run_inside(context, docker, request or ContainerRequest()))


@cache
def _follow_broker(folder: Path) -> None:
    """Take the key, and end this process when the broker ends."""
    take_key(folder)
    RelayedContainers(folder, "").exit_with_broker()


def run_inside(context: Context, docker: Docker, request: ContainerRequest) -> int:
    """Run this command line again in a container, and return its exit code.

    Raises:
        HostError: the image cannot be built, or the Docker daemon refuses a request.
    """
    docker.sweep()
    for folder in (context.store, context.output):
        folder.mkdir(parents=True, exist_ok=True)
    image = _image(context, docker, request)
    with tempfile.TemporaryDirectory(prefix="builder-") as name:
        folder = Path(name)
        plain = _container(context, image, folder, request)
        worker = replace(
            plain,
            argv=[_PYTHON, "-m", "builder.scheduler.worker_server"],
            user="0:0",
            capabilities=ROOT_FILESYSTEM,
            environment={**plain.environment, CAPABLE: "1"},
        )
        main = plain
        if request.capable:
            main = replace(worker, argv=plain.argv)
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        _reclaim(context, docker, plain)
        with _Signals(resize=terminal) as signals:
            try:
                with (
                    ContainerBroker(folder, docker, worker, _recipe_finder(context, docker.user)),
                    docker.started(main, terminal=terminal, stdin=request.stdin) as running,
                    signals.passed_to(running),
                    _typing(running) if request.stdin and terminal else nullcontext(),
                ):
                    for stream, data in running.output():
                        target = sys.stdout.buffer if stream == 1 else sys.stderr.buffer
                        target.write(data)
                        target.flush()
                    status = running.wait()
            finally:
                # Signals are still handled: a second Ctrl-C must not interrupt the clean-up.
                _reclaim(context, docker, plain)
                # The worker was killed, so its drafts are unused.
                context.open_store().sweep()
            return status if signals.stops < 2 else Interrupted.exit_code


def tools_image(
    tree_root: Path, distribution: NamedDistribution, *, browser: bool = False
) -> ImageRecipe:
    """Return the recipe of the image with all host tools, and with a browser if requested."""
    base = base_of(distribution)
    return ImageRecipe(
        name="tools",
        distribution=distribution.name,
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


def _recipe_finder(context: Context, user: str) -> Callable[[str, str], ImageRecipe]:
    """Return a function that finds the recipe of an image by its name and distribution.

    These are the images that a builder in a container may have made: those of PetaLinux, for
    commands of a user ("UID:GID").
    """

    def find(name: str, distribution: str) -> ImageRecipe:
        release = releases().get(name.removeprefix(_PETALINUX))
        tree = context.tree
        if not name.startswith(_PETALINUX) or release is None:
            raise StepError(f"there is no image {name}")
        if distribution not in tree.distribution_files():
            raise StepError(f"the image {name} cannot have the unknown distribution {distribution}")
        system = System(
            release=release,
            bases=(),
            folder=ROOT / "docker/petalinux",
            shared_by="",
            offline=False,
            explain=explain,
        )
        return system.recipe(named_distribution(tree, distribution), user)

    return find


def _image(context: Context, docker: Docker, request: ContainerRequest) -> str:
    distribution = named_distribution(context.tree, TOOLS)
    recipe = tools_image(ROOT, distribution, browser=request.browser)
    with (context.output / TOOLS_LOG).open("w") as log:
        return docker.image(
            recipe,
            processes=Processes(),
            log=log,
            say=lambda line: context.console.print(line, style="dim", markup=False),
            offline=request.offline,
        )


def _container(context: Context, image: str, control: Path, request: ContainerRequest) -> Container:
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
        mounts=_mounts(context, control, request),
        environment=environment,
        cwd=Path.cwd(),
        capabilities=() if user else _FILES,
        network=True,
    )


def _mounts(context: Context, control: Path, request: ContainerRequest) -> list[Mount]:
    """Return the files and directories of this machine that a container sees."""

    def same(path: Path, *, read_only: bool) -> Mount:
        return Mount(source=path.resolve(), target=path, read_only=read_only)

    names = control / "passwd"
    names.write_text(
        "root:x:0:0:root:/root:/bin/sh\n"
        + (f"caller:x:{os.getuid()}:{os.getgid()}::/tmp:/bin/sh\n" if os.getuid() else "")
        + "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        "_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n"
    )
    readable = [ROOT, *context.boards_dirs, *request.shown]
    writable = [context.store, context.output, control, *request.written]
    mounts = [
        same(path, read_only=True) for path in dict.fromkeys(readable) if path not in writable
    ]
    mounts += [same(path, read_only=False) for path in dict.fromkeys(writable)]
    mounts.append(Mount(source=names, target=Path("/etc/passwd"), read_only=True))
    # Packages and wheels come from the same sources as the machine's own.
    for path in (Path("/etc/apt"), Path("/etc/pip.conf")):
        if path.exists():
            mounts.append(same(path, read_only=True))
    bundle = next((path for path in _BUNDLES if path.is_file()), None)
    if bundle:
        mounts.append(Mount(source=bundle.resolve(), target=_CERTIFICATES, read_only=True))
    return mounts


class _Signals:
    """Handlers that pass Ctrl-C on to a container; the second one kills it.

    A signal that arrives before the container runs is passed on when it does. One that arrives
    after its end is only counted, so that the clean-up is not interrupted.

    resize: whether the container's terminal follows the size of this process's terminal.
    stops: number of signals that arrived.
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
            _in_thread(partial(running.signal, "SIGINT") if stop == 1 else running.kill)

    def _follow_size(self, *_: object) -> None:
        if running := self._running:
            _in_thread(partial(running.resize, *shutil.get_terminal_size()))


def _in_thread(action: Callable[[], None]) -> None:
    """Run an action in a thread: the main one may be using the connection to the daemon."""
    threading.Thread(target=action).start()


@contextmanager
def _typing(running: RunningContainer) -> Iterator[None]:
    """Pass keys on to the container as they are typed."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def forward() -> None:
        while data := os.read(descriptor, 1024):
            running.write(data)

    tty.setraw(descriptor)
    threading.Thread(target=forward, daemon=True).start()
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _reclaim(context: Context, docker: Docker, container: Container) -> None:
    """Make the caller the owner of files that a killed worker left in the store and the output."""
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
    """Return whether root owns a file in a directory, finished entries aside.

    A directory that this user cannot read counts as root's, as a root caller's store is.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        return True  # only its owner can read a store
    for place, names, files in os.walk(folder):
        if Path(place) == folder and "entries" in names:
            names.remove("entries")  # files get their owner before they become entries
        for name in (*names, *files):
            with suppress(FileNotFoundError):  # another build may be removing it
                if (Path(place) / name).lstat().st_uid == 0:
                    return True
    return False


def chosen(engine: str) -> Docker | None:
    """Return the Docker daemon for an engine; None if builds run on the machine itself.

    The engine `auto` uses Docker if a daemon answers.

    Raises:
        HostError: the engine is `docker`, and no daemon can be used.
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
    """Check before a build that steps which always run in containers can do so.

    Raises:
        HostError: the plan has such steps, and Docker cannot be used.
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
