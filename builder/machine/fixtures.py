# SPDX-License-Identifier: MIT
"""The pytest plugin that boards' checks run with: fixtures, and the report.

`host` is testinfra's. A check's label in the report is the first line of its docstring.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

_READ_WORD = """
import mmap, os, sys
address = int(sys.argv[1], 0)
page = address & -mmap.PAGESIZE
memory = os.open("/dev/mem", os.O_RDONLY | os.O_SYNC)
words = memoryview(mmap.mmap(memory, mmap.PAGESIZE, prot=mmap.PROT_READ, offset=page)).cast("I")
print(hex(words[(address - page) // 4]))
"""


@dataclass(frozen=True, kw_only=True)
class BoardUnderTest:
    """What a check may know of the board. `memory` is in bytes.

    `hardware` is the board whose device tree it has: itself, or one that it extends.
    """

    name: str
    hardware: str
    soc: str
    memory: int
    console: str
    root_device: str
    architecture: str
    distribution: str


def _context() -> dict[str, Any]:
    context: dict[str, Any] = json.loads(Path(os.environ["BUILDER_CHECKS"]).read_text())
    return context


@pytest.fixture(scope="session")
def board() -> BoardUnderTest:
    """The board under test."""
    context = _context()
    return BoardUnderTest(
        name=context["board"],
        hardware=context["hardware"],
        soc=context["soc"],
        memory=context["memory"],
        console=context["console"],
        root_device=context["root-device"],
        architecture=context["architecture"],
        distribution=context["distribution"],
    )


@pytest.fixture(scope="session")
def parameters() -> dict[str, dict[str, Any]]:
    """The parameters of the image's recipes: recipe, parameter, value."""
    values: dict[str, dict[str, Any]] = _context()["parameters"]
    return values


@pytest.fixture(scope="session")
def ports() -> dict[int, int]:
    """The local ports that lead to the board's: to 22, and to every recipe's parameter `port`."""
    return {int(inner): outer for inner, outer in _context()["ports"].items()}


@pytest.fixture(scope="session")
def jupyter_url(parameters: dict[str, dict[str, Any]], ports: dict[int, int]) -> str:
    """The base URL by which the board's Jupyter is reached from here."""
    return f"http://127.0.0.1:{ports[parameters['jupyter']['port']]}"


@pytest.fixture(scope="session")
def output() -> Path:
    """The board's output directory, for what a check leaves to look at."""
    return Path(_context()["report"]).parent


@pytest.fixture(scope="module")
def meminfo(host: Host) -> dict[str, int]:
    """The board's /proc/meminfo, in bytes."""
    lines = host.check_output("cat /proc/meminfo").splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


@pytest.fixture
def read_word(host: Host) -> Callable[[int], int]:
    """Read a 32-bit register of the board at a physical address, through /dev/mem."""
    return lambda address: int(host.check_output("python3 -c %s %s", _READ_WORD, hex(address)), 0)


@pytest.fixture
def driver_of(host: Host) -> Callable[[str], str]:
    """Find a device of the board by its name in sysfs, and say where its driver is there."""

    def find(device: str) -> str:
        found = host.check_output("find /sys/devices -maxdepth 4 -name %s", device)
        assert found, f"there is no device {device}"
        driver: str = host.check_output("readlink %s/driver", found)
        return driver

    return find


class _Report:
    """Collects results and writes them as JSON."""

    def __init__(self) -> None:
        self.started = time.time()
        self.labels: dict[str, str] = {}
        self.checks: list[dict[str, Any]] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            doc = getattr(getattr(item, "obj", None), "__doc__", None)
            self.labels[item.nodeid] = (doc or item.name).strip().splitlines()[0]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.checks.append(
                {
                    "check": report.nodeid,
                    "label": self.labels.get(report.nodeid, report.nodeid),
                    "outcome": report.outcome,
                    "seconds": round(report.duration, 1),
                    **({"why": report.longreprtext} if report.outcome != "passed" else {}),
                }
            )

    def pytest_sessionfinish(self) -> None:
        context = _context()
        outcomes = Counter(check["outcome"] for check in self.checks)
        report = {
            "board": context["board"],
            "distribution": context["distribution"],
            "boot": context["stages"],
            "image": context["image"],
            "passed": outcomes["passed"],
            "skipped": outcomes["skipped"],
            "failed": outcomes["failed"],
            "seconds": round(time.time() - self.started, 1),
            "checks": self.checks,
        }
        Path(context["report"]).write_text(json.dumps(report, indent=1) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    """Add the report to pytest's plugins."""
    config.pluginmanager.register(_Report())
