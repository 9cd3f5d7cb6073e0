# SPDX-License-Identifier: MIT
"""Inputs of the provider: the installer, the board's specification, the command line."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast, get_args

import pytest

from builder.apt.archive import Archive
from builder.bsp.petalinux.base import Chosen, choose, noted
from builder.bsp.petalinux.petalinux import boot_artifacts
from builder.bsp.petalinux.releases import releases
from builder.bsp.petalinux.tool import PetaLinuxTool
from builder.errors import HostError, UserError
from builder.plan.board_steps import PROVIDERS, BoardSteps
from builder.plan.plan import make_plan
from builder.publish import manifest
from builder.spec.distributions import named_distribution
from builder.spec.models import Provider, Soc
from builder.spec.resolve import ImageSpec, NamedDistribution
from builder.steps.step import Job
from builder.store.checksum import sha256
from tests.fixtures.command_line import TREE, CommandLine, FakeArchive
from tests.fixtures.petalinux import BASH, PYTHON, Bench
from tests.fixtures.specs import BOARD
from tests.petalinux.releases import RELEASES

NAME = RELEASES[PYTHON].installer


def test_the_releases_are_those_of_the_double() -> None:
    known = releases()
    assert [*known] == [*RELEASES]
    for version, double in RELEASES.items():
        facts = known[version].facts
        assert facts.installer == double.installer
        assert facts.commands == ("words" if double.python else "options")
        assert facts.accept in double.skip_license


def test_packages_of_a_release() -> None:
    release = releases()[PYTHON]
    jammy = release.packages("ubuntu-jammy", "ubuntu")
    bookworm = release.packages("debian-bookworm", "debian")
    assert {"libtinfo5", "texinfo"} <= {*jammy}
    assert "texinfo" in bookworm
    assert "libtinfo5" not in bookworm


def test_the_image(bench: Bench) -> None:
    bench.installer()
    bench.describe("hardware: {xsa: hw.xsa}\n  petalinux: {release: '2024.1'}")
    tool = next(item.step for item in bench.plan() if item.step.name == "petalinux")
    assert isinstance(tool, PetaLinuxTool)
    (base,) = tool.system.bases
    recipe = tool.system.recipe(base, "1000:100")
    assert recipe.name == f"petalinux-{PYTHON}"
    assert (recipe.base, recipe.suite) == ("debian:one-slim", "one")
    assert (recipe.folder / "Dockerfile").read_text().count("\nFROM ${BASE}\n") == 1
    assert "gcc-multilib" in recipe.arguments["PACKAGES"].split()
    assert (recipe.arguments["USER_ID"], recipe.arguments["GROUP_ID"]) == ("1000", "100")


def test_a_base_without_a_distribution(bench: Bench) -> None:
    bench.installer()
    bench.files.write("local.yaml", "{}\n")
    with pytest.raises(
        UserError, match="runs in ubuntu-jammy or debian-bookworm, which is not defined"
    ):
        bench.plan()


def test_the_bases_of_a_release_exist(bench: Bench) -> None:
    bench.installer()
    bench.files.write("local.yaml", "{}\n")
    one = (bench.tree / "distributions/one.yaml").read_text()
    bench.files.write("distributions/debian-bookworm.yaml", one)

    def bases() -> list[str]:
        tool = next(item.step for item in bench.plan() if item.step.name == "petalinux")
        assert isinstance(tool, PetaLinuxTool)
        return [base.name for base in tool.system.bases]

    assert bases() == ["debian-bookworm"]
    bench.files.write("distributions/ubuntu-jammy.yaml", one)
    assert bases() == ["ubuntu-jammy", "debian-bookworm"]


def distribution(name: str) -> NamedDistribution:
    return named_distribution(TREE, name)


BASES = [distribution("ubuntu-jammy"), distribution("debian-bookworm")]


def test_petalinux_runs_in_the_first_base_that_can_be_had(tmp_path: Path) -> None:
    asked: list[str] = []

    def make(base: NamedDistribution) -> str:
        asked.append(base.name)
        if base.name == "ubuntu-jammy":
            raise HostError("no registry", hint="let it be reached", details=["no such host"])
        return f"image-of-{base.name}"

    chosen = choose(BASES, make)
    assert asked == ["ubuntu-jammy", "debian-bookworm"]
    assert (chosen.distribution, chosen.image) == ("debian-bookworm", "image-of-debian-bookworm")
    assert chosen.message("2024.1") == (
        "PetaLinux 2024.1 runs in debian-bookworm: ubuntu-jammy is not available: no registry"
    )
    chosen.note(tmp_path)
    assert noted(tmp_path) == chosen
    assert choose(BASES, lambda base: base.name).message("1") == "PetaLinux 1 runs in ubuntu-jammy"


def test_without_any_base_the_error_is_that_of_the_first() -> None:
    def make(base: NamedDistribution) -> str:
        if base.name == "ubuntu-jammy":
            raise HostError("no registry", hint="let it be reached", details=["no such host"])
        raise HostError("no keyring")

    with pytest.raises(HostError, match=r"^no registry$") as caught:
        choose(BASES, make)
    assert caught.value.exit_code == 4
    assert caught.value.hint == "let it be reached"
    assert caught.value.details == ("no such host", "debian-bookworm is not available: no keyring")


def test_an_installation_stays_in_its_base(built: Bench) -> None:
    """Even if a better one is available again; and the manifest names it."""
    plan = built.plan()
    tool = next(item.step for item in plan if item.step.name == "petalinux")
    assert isinstance(tool, PetaLinuxTool)
    entry = built.store.get(next(item.key or "" for item in plan if item.step is tool))
    assert entry
    before = noted(entry.files)
    assert before == Chosen(distribution="one", image=f"petalinux-{PYTHON}")
    source = {"petalinux": PYTHON, "base": "one", "image": before.image}
    assert source.items() <= manifest.sources(plan, {tool: entry})[0].items()

    made: list[str] = []
    system = replace(tool.system, bases=BASES)
    job = SimpleNamespace(
        tools=SimpleNamespace(containers=built.containers, processes=built.processes),
        log=io.StringIO(),
        say=made.append,
    )
    replace(before, distribution="debian-bookworm").note(entry.files)
    system.image(cast(Job, job), tool=entry.files, install=False)
    assert built.containers.recipes[-1].base == "debian:bookworm-slim"
    system.image(cast(Job, job), tool=entry.files, install=True)
    assert built.containers.recipes[-1].base == "ubuntu:jammy"
    assert made == [f"PetaLinux {PYTHON} runs in ubuntu-jammy"]


def test_nothing_is_installed_without_accepting_the_licence(bench: Bench) -> None:
    bench.installer()
    bench.use = replace(bench.use, accepted=False)
    with pytest.raises(UserError, match=r"add --accept-petalinux-license$"):
        bench.build()
    assert not bench.containers.commands
    assert not bench.containers.recipes


def test_an_installed_release_needs_no_accepting(built: Bench) -> None:
    built.use = replace(built.use, accepted=False)
    assert not built.build().made


def _write(name: str, content: bytes = b"#!/bin/bash\n") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return write


def _folder(folder: Path) -> Path:
    path = folder / NAME
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / NAME, rf"{NAME}: No such file or directory$"),
        (_folder, rf"{NAME}: Is a directory$"),
        (_write(NAME, b"PK\3\4"), r"is not a PetaLinux installer: it is not a shell script$"),
        (_write(NAME, b""), r"is not a PetaLinux installer: it is not a shell script$"),
        (
            _write("petalinux.run"),
            r"^petalinux.run is not the name of a PetaLinux installer",
        ),
        (
            _write("petalinux-v2019.1-final-installer.run"),
            r"PetaLinux 2019.1 is not supported, only 2022.1, 2022.2, 2023.1, 2023.2, 2024.1",
        ),
    ],
)
def test_wrong_installers(
    bench: Bench, tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    bench.use = replace(bench.use, installer=make(tmp_path))
    with pytest.raises(UserError, match=message) as caught:
        bench.plan()
    assert caught.value.exit_code == 2


def test_no_installer(bench: Bench) -> None:
    with pytest.raises(UserError, match=r"installer .* is not configured$") as caught:
        bench.plan()
    assert caught.value.hint
    assert "AMD's page" in caught.value.hint
    assert "--petalinux-installer PATH" in caught.value.hint

    bench.describe(f"hardware: {{xsa: hw.xsa}}\n  petalinux: {{release: '{BASH}'}}")
    with pytest.raises(UserError, match=re.escape(RELEASES[BASH].installer)):
        bench.plan()


def test_a_release_that_is_asked_for(bench: Bench) -> None:
    bench.describe(f"hardware: {{xsa: hw.xsa}}\n  petalinux: {{release: '{BASH}'}}")
    bench.installer(PYTHON)
    with pytest.raises(UserError, match=r"installs PetaLinux 2024.1, but the board needs 2022.1$"):
        bench.plan()
    bench.describe("hardware: {xsa: hw.xsa}\n  petalinux: {release: '2031.1'}")
    with pytest.raises(UserError, match=r"PetaLinux 2031.1 is not supported"):
        bench.plan()


def test_the_installer_of_local_yaml(bench: Bench) -> None:
    path = bench.installer()
    bench.use = replace(bench.use, installer=None)
    bench.files.write("local.yaml", f"petalinux: {{base: one, installer: {path}}}\n")
    assert bench.spec().petalinux.installer == path
    assert bench.plan()


@pytest.mark.parametrize(
    ("bsp", "problem"),
    [
        ("hardware: {xsa: gone.xsa}", "bsp.hardware.xsa: there is no file"),
        ("hardware: {xsa: gone.xsa, optional: true}", "bsp: PetaLinux needs `hardware`"),
        ("petalinux: {}", "bsp: PetaLinux needs `hardware` with its file, or a BSP"),
        ("petalinux: {bsp: {file: gone.bsp}}", "bsp.petalinux.bsp.file: there is no file"),
        ("petalinux: {bsp: {file: a, url: 'file:///a'}}", "give either `file` or `url`"),
        ("petalinux: {bsp: {url: 'file:///a'}}", "`url` and `sha256` go together"),
        ("petalinux: {release: '24.1'}", "bsp.petalinux.release: "),
        (
            "hardware: {xsa: hw.xsa}\n  petalinux: {bitstream: a.bit}",
            "bsp.petalinux.bitstream: there is no file",
        ),
    ],
)
def test_wrong_boards(bench: Bench, bsp: str, problem: str) -> None:
    bench.describe(bsp)
    with pytest.raises(UserError) as caught:
        bench.spec()
    assert caught.value.exit_code == 2
    assert [detail for detail in caught.value.details if problem in detail]


def test_a_missing_base(bench: Bench) -> None:
    bench.files.write("local.yaml", "petalinux: {base: onne}\n")
    with pytest.raises(UserError) as caught:
        bench.spec()
    assert "petalinux.base: there is no distribution onne (did you mean one?)" in str(
        caught.value.details
    )


def test_the_command_line_chooses_the_provider(bench: Bench) -> None:
    bench.files.board(BOARD)
    with pytest.raises(UserError) as caught:
        bench.spec("petalinux")
    assert "PetaLinux needs `hardware`" in str(caught.value.details)
    bench.files.board(BOARD.replace("{boot-bin: BOOT.BIN}", "{hardware: {xsa: hw.xsa}}"))
    assert bench.spec("petalinux").board.bsp.provider == "petalinux"
    assert bench.spec().board.bsp.provider == "mainline"


def test_the_command_line(build_py: CommandLine, tmp_path: Path) -> None:
    answer = build_py.there("plan", "--board", "Pynq-Z2", "--bsp", "petalinux")
    assert answer.status == 2
    assert "PetaLinux needs `hardware` with its file" in answer.errors
    answer = build_py.there(
        *("plan", "--board", "Pynq-Z2", "--bsp", "petalinux", "--boot-files", str(tmp_path))
    )
    assert answer.status == 2
    assert "--boot-files are for the provider prebuilt, not for --bsp petalinux" in answer.errors
    answer = build_py.there("plan", "--board", "Pynq-Z2", "--bsp", "vivado")
    assert answer.status == 2
    assert "invalid choice: 'vivado'" in answer.errors


@pytest.mark.parametrize("soc", Soc)
def test_the_key_of_the_installed_tool(bench: Bench, soc: Soc) -> None:
    bench.describe("hardware: {xsa: hw.xsa}", soc)
    bench.installer()

    def key() -> str | None:
        return next(item.key for item in bench.plan() if item.step.name == "petalinux")

    first = key()
    bench.layer("recipes-bsp/device-tree/files/system-user.dtsi", "/ { };\n")
    bench.use = replace(bench.use, accepted=False, offline=True)
    assert key() == first
    dockerfile = bench.tree / "docker/petalinux/Dockerfile"
    dockerfile.write_text(f"{dockerfile.read_text()}RUN true\n")
    second = key()
    assert second != first
    with (bench.use.installer or Path()).open("ab") as file:
        file.write(b"more")
    assert key() not in (first, second)


def test_the_manifest_names_the_inputs(bench: Bench) -> None:
    path = bench.installer()
    bench.describe("petalinux: {bsp: {file: a.bsp}}")
    (bench.board / "a.bsp").write_bytes(b"a")
    wanted = [
        {"petalinux": PYTHON, "sha256": sha256(path)},
        {"petalinux-bsp": "a.bsp", "sha256": sha256(bench.board / "a.bsp")},
    ]
    assert manifest.sources(bench.plan()) == wanted


def test_hashes_of_large_files_come_from_the_cache(bench: Bench) -> None:
    installer = bench.installer()
    bench.describe("petalinux: {bsp: {file: a.bsp}}")
    (bench.board / "a.bsp").write_bytes(b"a")
    asked: list[Path] = []

    def read(path: Path) -> str:
        asked.append(path)
        return f"digest of {path.name}"

    steps = boot_artifacts(bench.spec(), FakeArchive(), read)
    plan = make_plan([steps.boot_files], bench.store)
    given = [each["sha256"] for each in manifest.sources(plan)]
    assert given == [f"digest of {installer.name}", "digest of a.bsp"]
    assert asked == [installer, bench.board / "a.bsp"], "once each"


def test_the_provider_is_known_to_plans() -> None:
    assert {*PROVIDERS} == {*get_args(Provider)}


@pytest.mark.parametrize("engine", ["host", "auto"])
def test_without_a_daemon_nothing_is_begun(
    build_py: CommandLine, bench: Bench, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """The hint does not suggest the current engine."""

    def steps(spec: ImageSpec, archive: Archive, **_: object) -> BoardSteps:
        boot = bench.steps()
        return BoardSteps(
            spec=spec,
            archive=archive,
            boot=boot,
            layers=[],
            image=boot.boot_files,
            compressed=None,
            only="boot-files",
            product=boot.boot_files,
        )

    bench.installer()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{bench.root}/none.sock")
    monkeypatch.setattr("builder.cli.planning.select_distribution", lambda *_, **__: FakeArchive())
    monkeypatch.setattr("builder.cli.planning.native_archive", lambda *_, **__: None)
    monkeypatch.setattr("builder.cli.planning.board_steps", steps)
    monkeypatch.setattr("builder.cli.build.check_machine", lambda _: [])
    words = ("--board", "Pynq-Z2", "--engine", engine, "--only", "boot-files")
    answer = build_py.there("build", *words)
    assert answer.status == 4
    first, *_, last = answer.errors.splitlines()
    assert first == (
        "error: step petalinux runs in a container, with --engine host too, and no Docker daemon "
        "answers"
    )
    assert last == "hint: start it (sudo systemctl start docker), or set DOCKER_HOST"
    assert not list((bench.root / "store/entries").iterdir()), "nothing was built"
