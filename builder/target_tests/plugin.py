# SPDX-License-Identifier: MIT
"""Pytest plugin for the checks of boards: fixtures, markers, and the report.

The fixture `host` is testinfra's. A check's label in the report is the first line of its docstring,
followed by pytest's name for its parameters.

Images contain this file, to run their checks on the board itself. It only needs pytest,
pytest-timeout and testinfra, and also works with old releases of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from builder.target_tests import session
from builder.target_tests.commands import BoardBackend, BoardCommands
from builder.target_tests.session import LONG, Selection, variable

PLACES = {
    "outside": "from another machine",
    "board": "on the board itself",
    "emulated": "on an emulated board",
    "hardware": "on real hardware",
}
"""Places to which `@pytest.mark.only(PLACE, WHY)` limits a check. Others run everywhere."""

_EMULATED_BY = Path("/proc/device-tree/chosen/emulated-by")

_POLL_SECONDS = 0.2

_LATE = "hrtimer: interrupt took"
"""Kernel message after a long delay, such as a busy host of QEMU causes (kernel/time/hrtimer.c)."""


@dataclass(frozen=True, kw_only=True)
class BoardUnderTest:
    """Facts about the board for checks.

    Attributes:
        name: name of the board.
        hardware: the board that has the device tree: this one, or one that it extends.
        memory: memory in bytes.
        provider: source of the kernel and the boot files: `mainline`, `petalinux` or `prebuilt`.
        emulated: whether the board is emulated by QEMU.
    """

    name: str
    hardware: str
    soc: str
    memory: int
    console: str
    root_device: str
    provider: str
    architecture: str
    distribution: str
    emulated: bool


class _Values(dict[str, Any]):
    """Parameters of a recipe. A check that reads a secret without a value is skipped."""

    def __init__(self, recipe: str, values: Mapping[str, Any], secrets: Sequence[str]) -> None:
        super().__init__(values)
        self.secrets = {key: variable(recipe, key) for key in secrets}
        for key, name in self.secrets.items():
            if name in os.environ:
                self[key] = os.environ[name]

    def __missing__(self, key: str) -> Any:
        if key not in self.secrets:
            raise KeyError(key)
        pytest.skip(
            f"needs a secret that the image does not contain: set the variable {self.secrets[key]}"
        )


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for the context and the report."""
    group = parser.getgroup("board")
    group.addoption("--context", type=Path, help="JSON file with the facts about the image")
    group.addoption("--report", type=Path, help="file for the report")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers and register the report."""
    listed = ", ".join(PLACES)
    config.addinivalue_line(
        "markers", f"only(place, why): the check only runs in one place: {listed}"
    )
    config.addinivalue_line(
        "markers", f"{LONG}(why): the check is slow on an emulated board: --quick skips it"
    )
    config.addinivalue_line(
        "markers", "needs(recipe, ...): the check only runs on images with these recipes"
    )
    selection = session.Selection(
        config.getoption("keyword") or None, quick=config.getoption("markexpr") == session.QUICK
    )
    config.pluginmanager.register(
        _Report(_context(config), config.getoption("report"), selection=selection)
    )


def _context(config: pytest.Config) -> dict[str, Any]:
    """Read the context, and determine where the checks run.

    A context with local ports of the board is for checks that run from the host.
    """
    file: Path = config.getoption("context")
    context: dict[str, Any] = json.loads(file.read_text())
    context["checks"] = {name: file.parent / path for name, path in context["checks"].items()}
    outside = "ports" in context
    context.setdefault("emulated", _EMULATED_BY.exists())
    context["places"] = {
        "outside" if outside else "board",
        "emulated" if context["emulated"] else "hardware",
    }
    return context


@pytest.fixture(scope="session")
def _facts(pytestconfig: pytest.Config) -> dict[str, Any]:
    return _context(pytestconfig)


@pytest.fixture(scope="session")
def _commands(_facts: dict[str, Any]) -> Iterator[BoardCommands]:
    commands = BoardCommands(_facts.get("shell", ()))
    yield commands
    commands.close()


@pytest.fixture(scope="session")
def host(_commands: BoardCommands) -> Host:
    """Testinfra's host for the board, as root."""
    backend = BoardBackend(_commands)
    found = Host(backend)
    backend.set_host(found)
    return found


@pytest.fixture(scope="session")
def address_of_card(host: Host) -> str:
    """The MAC address that U-Boot derives from the card's ID (u-boot/mac-address.c)."""
    identity = bytes.fromhex(host.file("/sys/block/mmcblk0/device/cid").content_string)
    address = bytearray(hashlib.sha256(identity + b"\0").digest()[:6])
    address[0] = address[0] & ~1 | 2
    return address.hex(":")


@pytest.fixture(scope="session")
def run_python(_commands: BoardCommands) -> Callable[..., str]:
    """Run Python code as root; return its output. The check fails if the code does.

    Arguments for its `sys.argv` follow the code. Each call is a process of its own, but `modules`
    are imported only once for all of them: an emulated board takes a minute to import the library.
    """

    def run(code: str, *arguments: str, modules: Sequence[str] = ()) -> str:
        answer = _commands.run_python(code, *arguments, modules=modules)
        errors = answer.stderr.decode(errors="replace")
        assert answer.status == 0, f"Python ended with status {answer.status}: {errors}"
        return answer.stdout.decode().rstrip("\n")

    return run


@pytest.fixture(scope="session")
def board(_facts: dict[str, Any]) -> BoardUnderTest:
    """The board under test."""
    return BoardUnderTest(
        name=_facts["board"],
        hardware=_facts["hardware"],
        soc=_facts["soc"],
        memory=_facts["emulated-memory" if _facts["emulated"] else "memory"],
        console=_facts["console"],
        root_device=_facts["root-device"],
        provider=_facts["provider"],
        architecture=_facts["architecture"],
        distribution=_facts["distribution"],
        emulated=_facts["emulated"],
    )


@pytest.fixture(scope="session")
def parameters(_facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The parameters of the image's recipes: recipe, parameter, value."""
    secrets = _facts["secrets"]
    return {
        recipe: _Values(recipe, values, secrets.get(recipe, ()))
        for recipe, values in _facts["parameters"].items()
    }


@pytest.fixture(scope="session")
def listens(_facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The sockets that recipes declare: recipe, protocol, port or None, program, loopback."""
    return list(_facts["listens"])


@pytest.fixture(scope="session")
def ports(_facts: dict[str, Any]) -> dict[int, int]:
    """Local ports by port of the board: those for 22 and for every recipe's parameter `port`."""
    if "ports" in _facts:
        return {int(inner): outer for inner, outer in _facts["ports"].items()}
    found = [values["port"] for values in _facts["parameters"].values() if "port" in values]
    return {port: port for port in (22, *found)}


@pytest.fixture(scope="session")
def jupyter_url(parameters: dict[str, dict[str, Any]], ports: dict[int, int]) -> str:
    """The base URL of the board's Jupyter server."""
    return f"http://127.0.0.1:{ports[parameters['jupyter']['port']]}"


@pytest.fixture(scope="module")
def until(host: Host) -> Callable[..., str]:
    """Repeat a command until it succeeds; return its output.

    Arguments for its `%s` follow the command. The check fails after `seconds` (120).
    """

    def wait(command: str, *words: str, seconds: float = 120) -> str:
        deadline = time.monotonic() + seconds
        while True:
            result = host.run(command, *words)
            if result.succeeded:
                return str(result.stdout).strip()
            if time.monotonic() > deadline:
                output = f"{result.stdout}{result.stderr}"
                pytest.fail(f"not within {seconds} s: {' '.join((command, *words))}: {output}")
            time.sleep(_POLL_SECONDS)

    return wait


@pytest.fixture(scope="session")
def run_program(run_python: Callable[..., str]) -> Callable[[str, Sequence[str]], list[str]]:
    """Run cells as one program as root, with the interface of `run_notebook`."""
    return lambda _, cells: run_python("\n".join(cells), modules=["pynq"]).splitlines()


@pytest.fixture(scope="module")
def complaints(host: Host) -> Callable[[], str]:
    """Return the kernel's warnings and errors so far, except messages about a slow machine."""
    return lambda: without_delays(host.check_output("dmesg --level=emerg,alert,crit,err,warn"))


def without_delays(messages: str) -> str:
    """Return the kernel's messages without those that only report a slow machine."""
    return "\n".join(line for line in messages.splitlines() if _LATE not in line)


@pytest.fixture
def driver_of(host: Host) -> Callable[[str], str]:
    """Find a device of the board by its name in sysfs, and return the link to its driver."""

    def find(device: str) -> str:
        found = host.check_output("find /sys/devices -maxdepth 4 -name %s", device)
        assert found, f"there is no device {device}"
        driver: str = host.check_output("readlink %s/driver", found)
        return driver

    return find


def _label(item: pytest.Item, name: str) -> str:
    """Return the first line of a check's docstring, with the parameters in `name`."""
    doc = (getattr(getattr(item, "obj", None), "__doc__", None) or "").strip()
    if not doc:
        return name
    _, bracket, parameters = name.partition("[")
    return doc.splitlines()[0] + (f" [{parameters}" if bracket else "")


class _Report:
    """Report of a run: skips checks that belong elsewhere, collects results, writes JSON."""

    def __init__(self, context: Mapping[str, Any], file: Path, *, selection: Selection) -> None:
        self.context = context
        self.file = file
        self.selection = selection
        self.deselected = 0
        self.started = time.time()
        self.names: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.checks: dict[str, dict[str, Any]] = {}
        self.seconds: dict[str, float] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if not self._lacks_recipes(item)]
        for item in items:
            name = self.names[item.nodeid] = self._name(item)
            self.labels[item.nodeid] = _label(item, name.partition("::")[2])
            if (long := item.get_closest_marker(LONG)) and len(long.args) != 1:
                raise pytest.UsageError(f"{item.nodeid}: {LONG}(WHY)")
            for marker in item.iter_markers("only"):
                if len(marker.args) != 2 or marker.args[0] not in PLACES:
                    raise pytest.UsageError(
                        f"{item.nodeid}: only(PLACE, WHY), with PLACE of {', '.join(PLACES)}"
                    )

    def _lacks_recipes(self, item: pytest.Item) -> bool:
        """Return whether the image lacks a recipe that a check needs."""
        needed = {name for marker in item.iter_markers("needs") for name in marker.args}
        return not needed <= self.context["parameters"].keys()

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self.deselected += len(items)

    def _name(self, item: pytest.Item) -> str:
        """Return the name of a check, which does not depend on the location of its file."""
        file = Path(getattr(item, "path", None) or item.fspath)  # `path` is new in pytest 7
        for prefix, path in self.context["checks"].items():
            if file.is_relative_to(path):
                below = file.relative_to(path).as_posix()
                return f"{prefix if below == '.' else f'{prefix}/{below}'}::{item.name}"
        return f"{file.name}::{item.name}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        for marker in item.iter_markers("only"):
            place, why = marker.args
            item.user_properties.append(("only", place))
            if place not in self.context["places"]:
                pytest.skip(f"only {PLACES[place]}: {why}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A check also fails if it passes but its fixtures fail afterwards.
        if report.when == "call" or report.outcome != "passed":
            self.checks[report.nodeid] = self._check(report)
        # The time of a fixture counts for the first check that uses it.
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        if report.nodeid in self.checks:
            self.checks[report.nodeid]["seconds"] = round(self.seconds[report.nodeid], 1)

    def _check(self, report: pytest.TestReport) -> dict[str, Any]:
        """Return the entry of a check in the report."""
        check = {
            "check": self.names.get(report.nodeid, report.nodeid),
            "label": self.labels.get(report.nodeid, report.nodeid),
            "outcome": report.outcome,
            **dict(report.user_properties),
        }
        if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
            check["why"] = report.longrepr[2].removeprefix("Skipped: ")
        elif report.outcome != "passed":
            check["why"] = report.longreprtext
        return check

    def _count(self, outcome: str) -> int:
        return sum(check["outcome"] == outcome for check in self.checks.values())

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for check in self.checks.values():
            if check["outcome"] == "skipped":
                terminalreporter.write_line(f"not run: {check['label']} ({check['why']})")

    def pytest_sessionfinish(self) -> None:
        report = {
            "board": self.context["board"],
            "distribution": self.context["distribution"],
            "emulated": self.context["emulated"],
            "boot": self.context.get("stages", {}),
            "image": self.context.get("image", ""),
            "emulator": self.context.get("emulator", ""),
            "expression": self.selection.expression,
            "quick": self.selection.quick,
            "deselected": self.deselected,
            "passed": self._count("passed"),
            "failed": self._count("failed"),
            "skipped": self._count("skipped"),
            "seconds": round(time.time() - self.started, 1),
            "checks": [*self.checks.values()],
        }
        self.file.write_text(json.dumps(report, indent=1) + "\n")
