# SPDX-License-Identifier: MIT
"""Options in printed commands select the same image; `test --built` tests an existing image."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from builder.cli.build import _print_summary
from builder.cli.build_options import BuildOptions
from builder.cli.context import Context
from builder.cli.errors import report
from builder.cli.main import parsers
from builder.cli.planning import resolve_boards
from builder.errors import CommandError
from builder.publish.output import BoardResult, Output
from builder.scheduler.scheduler import StepFailure
from builder.spec.resolve import ImageSpec
from tests.fixtures.command_line import Answer, CommandLine

SECRET = "users.password=hunter2hunter2"


def same(*words: str, known: bool = True) -> list[str]:
    """Return the options that select the image of a command line."""
    argv = ["build", "--board", "Pynq-Z2", *words]
    arguments = parsers()[0].parse_args(argv)
    options = BuildOptions.from_arguments(arguments)
    context = Context.from_arguments(arguments, argv)
    return options.to_argv(resolve_boards(options, context).values() if known else [])


def test_printed_options_are_parsed_to_the_same_options(tmp_path: Path) -> None:
    words = [
        *("build", "--board", "Pynq-Z2", "--boards-dir", str(tmp_path), "--store", str(tmp_path)),
        *("--output", str(tmp_path), "--distro", "debian-bookworm", "--bsp", "mainline"),
        *("--boot-files", "files.zip", "--accept-petalinux-license", "--set", "jupyter.port=9091"),
    ]

    def parsed(*words: str) -> BuildOptions:
        return BuildOptions.from_arguments(parsers()[0].parse_args(words))

    options = parsed(*words)
    assert parsed("build", "--board", "Pynq-Z2", *options.to_argv([])) == options


def test_printed_options_are_those_of_the_command_line(tmp_path: Path) -> None:
    boards, store, output = (tmp_path / name for name in ("boards", "store", "output"))
    boards.mkdir()
    words = [
        *("--boards-dir", str(boards), "--store", str(store), "--output", str(output)),
        *("--engine", "host", "--profile", "pynq-full", "--set", "jupyter.port=9091"),
    ]
    found = same(*words)
    for option, path in (("--boards-dir", boards), ("--store", store), ("--output", output)):
        assert found[found.index(option) + 1] == os.path.relpath(path)
    assert {"--engine", "host", "--profile", "pynq-full", "jupyter.port=9091"} <= {*found}


def test_printed_options_contain_no_secret() -> None:
    found = same("--set", SECRET)
    assert found == ["--set", "users.password=..."]


def test_an_at_sign_at_the_start_of_a_value_is_escaped() -> None:
    assert same("--set", "own.text=@here", known=False) == ["--set", "own.text=@@here"]


def test_without_options_none_are_printed() -> None:
    assert same() == []


def test_the_summary_names_the_image_that_was_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Output(directory=tmp_path, board="Pynq-Z2")
    output.image.write_text("image")
    result = BoardResult(
        output=output, complete=True, fresh=True, built=1, cached=0, seconds=1, notes=()
    )
    context: Any = SimpleNamespace(console=Console(soft_wrap=True))
    words = ["--output", "elsewhere", "--set", "users.password=..."]
    _print_summary(context, result, taken="1 s", same=words)
    said = capsys.readouterr().out
    assert "test --built --board Pynq-Z2 --output elsewhere --set users.password=...\n" in said
    assert "secrets are not shown" in said
    assert f"flash {os.path.relpath(output.image)} /dev/YOUR-CARD" in said


# Errors


class _Step:
    name = "recipe:ssh"
    shell = None


def told(replay: str, message: str, *, has_shell: bool) -> str:
    """Return the report of a failed step."""
    cause = CommandError(message, replay=replay, status=2)
    item: Any = SimpleNamespace(step=_Step(), label="recipe:ssh", boards=["Own"])
    failure = StepFailure(item, cause, Path("/logs/ssh.log"))
    failure.has_shell = has_shell
    said = io.StringIO()
    assert report(failure, Console(file=said, soft_wrap=True), same=["--boards-dir", "b"]) == 3
    return said.getvalue()


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (
            "bwrap --bind /gone/root / -- /x/enter /bin/sh -eu -s",
            "script of recipe ssh for the target",
        ),
        ("bwrap --bind /gone/root / -- /x/enter /usr/sbin/useradd a", "useradd"),
    ],
)
def test_an_error_names_the_recipe_s_script_and_how_to_look_around(command: str, name: str) -> None:
    said = told(command, "enter ended with status 2", has_shell=True)
    assert said.startswith(f"error: step recipe:ssh failed: {name} ended with status 2\n")
    assert "command:" not in said
    (words,) = (line for line in said.splitlines() if line.startswith("look around:"))
    assert shlex.split(words)[-5:] == ["recipe:ssh", "--board", "Own", "--boards-dir", "b"]


@pytest.mark.parametrize(
    ("command", "label"),
    [
        ("make -C /gone/scratch/x", "command (its directory no longer exists)"),
        ("make -C /etc", "command"),
    ],
)
def test_a_command_that_cannot_be_pasted_says_so(command: str, label: str) -> None:
    said = told(command, "make ended with status 2", has_shell=False)
    assert "step recipe:ssh failed: make ended with status 2\n" in said
    assert f"\n{label}: {command}\n" in said
    assert "look around" not in said


# test --built


@pytest.fixture
def built(
    build_py: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Answer, list[ImageSpec]]]:
    """Run `test --built` for an image that has a port and a password of its own."""
    checked: list[ImageSpec] = []

    def run_checks(spec: ImageSpec, *_: object, **__: object) -> bool:
        checked.append(spec)
        return True

    def build(*_: object, **__: object) -> None:
        pytest.fail("it builds")

    monkeypatch.setattr("builder.cli.test.build_images", build)
    monkeypatch.setattr("builder.cli.build.plan_images", build)
    monkeypatch.setattr("builder.cli.test.emulator_plan", lambda *_, **__: None)
    monkeypatch.setattr("builder.cli.test.found_qemu", lambda _: None)
    monkeypatch.setattr("builder.cli.test.run_checks", run_checks)
    output = Output(directory=tmp_path / "output/Pynq-Z2", board="Pynq-Z2")
    output.logs.mkdir(parents=True)
    output.image.write_text("image")
    manifest = {
        "board": "Pynq-Z2",
        "image": {"sha256": hashlib.sha256(b"image").hexdigest()},
        "recipes": {
            "ssh": {"password-authentication": True},
            "users": {"user": "me", "password": "(secret)"},
            "jupyter": {"port": 9091},
        },
    }
    output.manifest.write_text(json.dumps(manifest))

    def run(*words: str) -> tuple[Answer, list[ImageSpec]]:
        return build_py.there("test", "--built", "--board", "Pynq-Z2", *words), checked

    return run


def test_a_built_image_is_tested_with_the_recipes_of_its_manifest(
    built: Callable[..., tuple[Answer, list[ImageSpec]]],
) -> None:
    answer, (spec,) = built("--set", SECRET)
    assert (answer.status, answer.errors) == (0, "")
    parameters = spec.parameters()
    assert parameters["users"]["user"] == "me"
    assert parameters["users"]["password"] == "hunter2hunter2"
    assert parameters["jupyter"]["port"] == 9091
    assert "samba" not in parameters


def test_settings_must_match_the_built_image(
    built: Callable[..., tuple[Answer, list[ImageSpec]]],
) -> None:
    answer, checked = built("--set", "jupyter.port=9092")
    assert (answer.status, checked) == (2, [])
    assert answer.errors == "error: --set jupyter.port: the image was built with 9091\n"


def test_a_missing_or_changed_image_is_not_tested(
    built: Callable[..., tuple[Answer, list[ImageSpec]]], tmp_path: Path
) -> None:
    image = tmp_path / "output/Pynq-Z2/Pynq-Z2.img"
    image.write_text("another image")
    answer, checked = built()
    assert (answer.status, checked) == (2, [])
    assert "does not match the checksum in manifest.json" in answer.errors
    image.unlink()
    answer, checked = built()
    assert (answer.status, checked) == (2, [])
    assert answer.errors.startswith("error: there is no image of Pynq-Z2 in ")
