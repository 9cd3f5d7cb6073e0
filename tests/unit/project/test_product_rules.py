# SPDX-License-Identifier: MIT
"""The rules of the house, kept by tests: sizes, first lines, what must not be named.

The linters are in tests/lint.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import builder
from builder.engine.requirements import PACKAGES
from builder.steps.step import Step
from tests.fixtures.product import ROOT, names, run_clean, tracked

PROGRAMS = Path(sys.executable).parent
MOST_LINES = 600


def test_the_site_can_be_built_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    run_clean("mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path))
    page = (tmp_path / "index.html").read_text()
    assert "zynq-sd-builder" in page
    assert not re.search(r'(?:src|href)="https?://[^"]+\.(?:js|css|woff2?)"', page), "all is local"


@pytest.mark.parametrize("shell", ["sh", "dash"])
def test_shell_scripts_can_be_parsed(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    for name in names(".sh"):
        run_clean(shell, "-n", name)


def test_no_module_is_long() -> None:
    long = {
        name: count
        for name in names(".py")
        if name.startswith("builder/")
        and (count := len((ROOT / name).read_text().splitlines())) > MOST_LINES
    }
    assert not long


def test_every_source_names_its_licence_on_top() -> None:
    without = [
        name
        for name in names(".py", ".sh", ".yaml", ".toml", ".dts", ".dtsi", ".cfg", ".j2")
        if not any(
            "SPDX-License-Identifier: " in line
            for line in (ROOT / name).read_text().splitlines()[:3]
        )
        and not name.endswith(".j2")
    ]
    assert not without


def modules() -> Iterator[str]:
    for module in pkgutil.walk_packages(builder.__path__, "builder."):
        yield module.name


def step_classes() -> list[type[Step]]:
    found: dict[str, type[Step]] = {}
    for name in modules():
        for _, item in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            if issubclass(item, Step) and item.__module__.startswith("builder."):
                found[f"{item.__module__}.{item.__name__}"] = item
    return [found[name] for name in sorted(found)]


def test_the_tools_of_every_step_are_on_the_list_of_host_packages() -> None:
    listed = {line.split()[0].rstrip("?") for line in PACKAGES.read_text().splitlines() if line}
    steps = step_classes()
    assert len(steps) > 8, "the steps are found"
    missing = {
        step.__name__: {*step.packages} - listed for step in steps if {*step.packages} - listed
    }
    assert not missing


def test_every_step_says_what_it_is() -> None:
    assert not [step.__name__ for step in step_classes() if not step.__dict__.get("__doc__")]


def test_yaml_is_read_in_one_place_within_limits() -> None:
    reading = re.compile(r"yaml\.(?:safe_|full_|unsafe_)?(?:load|compose)|yaml\.\w*Loader")
    found = {
        name
        for name in names(".py")
        if name.startswith("builder/") and reading.search((ROOT / name).read_text())
    }
    assert found == {"builder/spec/yaml_text.py"}


# Put together here, so that this file does not hold them. What a distribution itself calls its
# public mirror is data of the image, and stands in distributions/.
REGISTRIES = [
    ".".join(words)
    for words in (
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("ports", "ubuntu", "com"),
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("docker", "io/"),  # a Debian package has the name without the slash
    )
]
MACHINE_PATHS = ["/".join(words) for words in (("", "work", "main"), ("", "work", "shared"))]
MACHINE_PATHS += [f"/{word}/" for word in ("mnt", "Users")]


@pytest.mark.parametrize("word", [*REGISTRIES, *MACHINE_PATHS])
def test_no_registry_and_no_place_of_one_machine_is_named(word: str) -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if word in path.read_text(errors="replace")
        and path.relative_to(ROOT).parts[0] != "distributions"
    ]
    assert not found


def test_nothing_that_git_ignores_is_tracked() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    assert listed.stdout == ""
