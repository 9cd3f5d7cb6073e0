# SPDX-License-Identifier: MIT
"""Several boards in one call: what they share is made once, the rest is each one's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from builder.apt.archive import Archive
from builder.bsp.provider import BootArtifacts
from builder.cli.context import typed
from builder.cli.planning import Planning
from builder.errors import BuildError, StepError, UserError
from builder.plan.board_steps import BoardSteps, board_steps
from builder.plan.merge import merge_plans
from builder.plan.plan import Planned, make_plan
from builder.report.events import Listener, Note
from builder.spec.reader import SpecTree
from builder.spec.resolve import ImageSpec, NamedDistribution, resolve
from builder.steps.layer_archive import LAYER
from builder.steps.step import Job, Step
from builder.store.store import Store
from tests.fixtures.command_line import TREE, Answer, CommandLine, FakeArchive
from tests.fixtures.specs import NO_BYTES


@pytest.fixture
def two_boards(boards_dir: Path) -> Path:
    """A directory with two copies of the Pynq-Z2, called One and Two."""
    for name in ("One", "Two"):
        shutil.copytree(boards_dir / "Pynq-Z2", boards_dir / name)
        edit(boards_dir / name, "board: Pynq-Z2", f"board: {name}")
    shutil.rmtree(boards_dir / "Pynq-Z2")
    return boards_dir


def edit(board: Path, old: str, new: str) -> None:
    path = board / "board.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_problems_of_all_boards_are_said_at_once(
    build_py: CommandLine, two_boards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(two_boards / "One", "soc: zynq", "soc: z80")
    edit(two_boards / "Two", "profile: pynq", "profile: pink")
    monkeypatch.chdir(two_boards)
    words = [word for name in ("One", "Thre", "Two", "Pynq-Z2") for word in ("--board", name)]
    answer = build_py.there("plan", "--boards-dir", ".", *words)
    assert answer.status == 2
    first, soc, unknown, profile = answer.errors.splitlines()
    assert first == "error: 3 problems with 3 of 4 boards: One, Thre, Two"
    assert re.fullmatch(
        r"  One/board.yaml:\d+: soc: input should be 'zynq' or 'zynqmp', not 'z80'", soc
    )
    assert unknown.startswith("  Thre: there is no board Thre")
    assert re.fullmatch(r"  Two/board.yaml:\d+: profile: there is no profile pink.*", profile)


def test_what_is_wrong_with_all_boards_is_said_once(
    build_py: CommandLine, two_boards: Path
) -> None:
    answer = build_py.there(
        *("plan", "--boards-dir", str(two_boards), "--board", "One", "--board", "Two"),
        *("--set", "jupyter.port=x"),
    )
    assert answer.errors == "error: --set jupyter.port: must be a number, not 'x'\n"


def test_what_is_wrong_with_some_boards_alone_names_them(
    build_py: CommandLine, two_boards: Path
) -> None:
    edit(two_boards / "Two", "profile: pynq", "profile: minimal")
    answer = build_py.there(
        *("plan", "--boards-dir", str(two_boards), "--board", "One", "--board", "Two"),
        *("--set", "jupyter.port=1234"),
    )
    first, second = answer.errors.splitlines()
    assert first == "error: 1 problem with 1 of 2 boards: Two"
    assert second.startswith("  Two: --set jupyter.port: the image has no recipe jupyter")


@pytest.fixture
def meant(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The boards that a call means: it ends there, with exit code 2."""
    seen: list[str] = []

    def far_enough(_: object, specs: dict[str, ImageSpec], *__: object) -> Planning:
        seen.extend(specs)
        raise UserError("far enough")

    monkeypatch.setattr("builder.cli.commands.planning", far_enough)
    return seen


@pytest.mark.parametrize(
    ("words", "boards"),
    [
        (["--board", "Two", "--board", "One"], ["Two", "One"]),
        (["--board", "One", "--board", "One"], ["One"]),
        (["--all"], ["One", "Two"]),
    ],
)
def test_boards_are_taken_once_in_their_order(
    build_py: CommandLine, two_boards: Path, meant: list[str], words: list[str], boards: list[str]
) -> None:
    assert build_py.there("plan", "--boards-dir", str(two_boards), *words).status == 2
    assert meant == boards


def test_without_a_directory_all_boards_are_the_trees(
    build_py: CommandLine, meant: list[str]
) -> None:
    assert build_py.there("plan", "--all").status == 2
    assert meant == sorted(TREE.board_files())


def test_all_boards_of_a_directory_that_has_none(build_py: CommandLine, tmp_path: Path) -> None:
    answer = build_py.there("plan", "--all", "--boards-dir", str(tmp_path))
    assert answer.status == 2
    assert answer.errors.startswith("error: --all: there is no board in ")


def test_a_shell_is_one_boards(build_py: CommandLine) -> None:
    answer = build_py.there("shell", "kernel", "--board", "One", "--board", "Two")
    assert answer.status == 2
    assert answer.errors == "error: shell opens a step of one board, not of 2: One, Two\n"


class Choices:
    """Stands for `choose`: notes what was asked, takes the last distribution."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.made: list[FakeArchive] = []

    def __call__(
        self,
        distributions: Sequence[NamedDistribution],
        *_: object,
        listener: Listener,
        **__: object,
    ) -> Archive:
        self.asked.append([item.name for item in distributions])
        self.made.append(FakeArchive(distributions[-1].name))
        listener(Note(text="chosen"))
        return self.made[-1]


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> Choices:
    made = Choices()
    monkeypatch.setattr("builder.cli.planning.select_distribution", made)
    monkeypatch.setattr("builder.cli.planning.native_archive", lambda *_, **__: None)
    return made


@pytest.mark.parametrize(
    ("distro", "asked", "notes"),
    [
        ("[ubuntu-jammy, debian-bookworm]", 1, ["chosen"]),
        ("[debian-bookworm]", 2, ["One: chosen", "Two: chosen"]),
    ],
)
def test_boards_with_the_same_choice_of_a_distribution_choose_together(
    build_py: CommandLine,
    two_boards: Path,
    choices: Choices,
    monkeypatch: pytest.MonkeyPatch,
    *,
    distro: str,
    asked: int,
    notes: list[str],
) -> None:
    edit(two_boards / "Two", "distro: [ubuntu-jammy, debian-bookworm]", f"distro: {distro}")
    archives: list[Archive] = []

    def steps(_: object, archive: Archive, **__: object) -> None:
        archives.append(archive)
        raise UserError("far enough")

    monkeypatch.setattr("builder.cli.planning.board_steps", steps)
    answer = build_py.there(
        "plan", "--boards-dir", str(two_boards), "--board", "One", "--board", "Two"
    )
    assert answer.errors == "error: far enough\n"
    assert answer.output.splitlines() == notes
    assert len(choices.asked) == asked
    # However often it was fetched: all see the same packages.
    assert archives == [choices.made[-1]] * 2


class Work(Step):
    """A step of a made-up board, which leaves what a manifest reads."""

    def __init__(
        self, name: str, board: str, *parents: Step, fails: bool = False, content: str = ""
    ) -> None:
        super().__init__(name, scope=board, parents={step.name: step for step in parents})
        self.board = board
        self.fails = fails
        self.content = content

    def settings(self) -> dict[str, object]:
        return {"name": self.name, "board": self.board, "content": self.content}

    def run(self, job: Job) -> None:
        if self.fails:
            raise StepError("broken", hint="mend it")
        job.log.write(f"{self.name} of {self.board or 'all'}\n")
        if self.name == "image":
            (job.output / f"{self.board}.img").write_text("image")
            facts = {"sha256": f"{self.content} of {self.board}", "size": 5, "root-size": 4}
            (job.output / "image.json").write_text(json.dumps(facts))
        if self.name == "bootstrap":
            (job.output / "packages.json").write_text("[]")
        if self.name in ("bootstrap", "kernel"):
            (job.output / LAYER).write_bytes(NO_BYTES)


@dataclass
class Factory:
    """Builds One and Two from made-up steps.

    `broken` are boards whose U-Boot fails, `content` is in all images. `got` is the step that gets a
    QEMU for tests, if one does; `qemus` are where QEMU was looked for.
    """

    build_py: CommandLine
    boards_dir: Path
    broken: set[str] = field(default_factory=set)
    content: str = "first"
    got: Work | None = None
    qemus: list[Path | None] = field(default_factory=list)

    def emulator(self, _: object, __: object, store: Store, *___: object) -> Planned | None:
        return make_plan([self.got], store)[0] if self.got else None

    def steps(self, spec: ImageSpec, archive: Archive, **_: object) -> BoardSteps:
        bootstrap, kernel = Work("bootstrap", ""), Work("kernel", "")
        u_boot = Work("u-boot", spec.name, fails=spec.name in self.broken)
        boot_files = Work("boot-files", spec.name, kernel, u_boot)
        return BoardSteps(
            spec=spec,
            archive=archive,
            boot=BootArtifacts(boot_files=boot_files, kernel_layer=kernel),
            layers=[bootstrap],
            image=Work("image", spec.name, bootstrap, boot_files, content=self.content),
            compressed=None,
        )

    def __call__(self, verb: str, *boards: str, progress: str = "plain") -> Answer:
        words = [word for board in boards for word in ("--board", board)]
        return self.build_py.there(
            verb, "--boards-dir", str(self.boards_dir), "--progress", progress, *words
        )


@pytest.fixture
def factory(
    build_py: CommandLine, two_boards: Path, choices: Choices, monkeypatch: pytest.MonkeyPatch
) -> Factory:
    made = Factory(build_py, two_boards)
    monkeypatch.setattr("builder.cli.planning.board_steps", made.steps)
    monkeypatch.setattr("builder.cli.commands.check_machine", lambda _: [])
    monkeypatch.setattr("builder.cli.commands._stop_on_interrupt", lambda: None)
    monkeypatch.setattr("builder.cli.commands.emulator_plan", made.emulator)
    monkeypatch.setattr("builder.cli.commands.found_qemu", made.qemus.append)
    return made


def test_boards_with_equal_needs_differ_in_their_boot_files_alone(
    two_boards: Path, store: Store
) -> None:
    tree = SpecTree(root=TREE.root, boards_dirs=(two_boards,))
    plans = {}
    for name in ("One", "Two"):
        spec = resolve(tree, name, distro="debian-bookworm")
        steps = board_steps(spec, FakeArchive())
        plans[name] = make_plan(steps.targets, store, optional=steps.checks)
    plan = merge_plans(plans)
    shared = {item.step.name for item in plan if item.boards == ("One", "Two")}
    assert {"bootstrap", "kernel", "bindings", "recipe:jupyter", "wheels:jupyter"} <= shared
    own = {item.label for item in plan if len(item.boards) == 1}
    assert own == {
        f"{name} ({board})"
        for name in (
            *("recipe:pynq-overlays", "recipe:boot-leds", "checks"),
            *("device-tree", "u-boot", "boot-bin", "boot-files", "image"),
            *("tree-check", "design-check"),
        )
        for board in ("One", "Two")
    }
    (bootstrap,) = (item for item in plan if item.step.name == "bootstrap")
    in_it = {item.step.name for item in plan if item.root}
    layers = {item.step.name for item in plan if re.match(r"bootstrap|recipe:", item.step.name)}
    assert in_it == layers | {"image", "design-check"}
    assert {item.root for item in plan if item.root} == {bootstrap.key}


def test_a_plan_of_two_boards_shows_what_they_share_once(factory: Factory) -> None:
    answer = factory("plan", "One", "Two")
    assert answer.status == 0
    assert answer.output.splitlines() == [
        "chosen",
        "bootstrap (One, Two)  build: never built",
        "kernel (One, Two)     build: never built",
        "u-boot (One)          build: never built",
        "boot-files (One)      build: never built",
        "image (One)           build: never built",
        "u-boot (Two)          build: never built",
        "boot-files (Two)      build: never built",
        "image (Two)           build: never built",
        "8 of 8 to build",
    ]


def test_a_plan_of_one_board_names_no_boards(factory: Factory) -> None:
    names = [line.split("  ")[0] for line in factory("plan", "One").output.splitlines()[1:-1]]
    assert names == ["bootstrap", "kernel", "u-boot", "boot-files", "image"]


def test_two_boards_are_built_in_one_go(factory: Factory, tmp_path: Path) -> None:
    answer = factory("build", "One", "Two")
    assert (answer.status, answer.errors) == (0, "")
    starts = [line for line in answer.output.splitlines() if line.startswith("  start")]
    assert sum("kernel (One, Two)" in line for line in starts) == 1
    assert len(starts) == 8
    one, two = tmp_path / "output/One", tmp_path / "output/Two"
    logs = {
        folder: sorted(path.name for path in (folder / "logs").iterdir()) for folder in (one, two)
    }
    own = ["boot-files.log", "image.log", "u-boot.log"]
    assert logs == {one: sorted([*own, "bootstrap.log", "kernel.log"]), two: own}
    assert (two / "logs/image.log").read_text() == "image of Two\n"
    for folder in (one, two):
        assert (folder / f"{folder.name}.img").exists()
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["board"] == folder.name
        assert [step["name"] for step in manifest["steps"]] == [
            *("bootstrap", "kernel", "u-boot", "boot-files", "image")
        ]
        assert all(step["seconds"] is not None for step in manifest["steps"])
    table = [line.split() for line in answer.output.splitlines()[-4:]]
    assert table[0] == ["board", "image", "size", "steps", "time"]
    for row, folder in zip(table[1:3], (one, two), strict=True):
        image = os.path.relpath(folder / f"{folder.name}.img")
        assert row[:-2] == [folder.name, image, "5", "B", "5", "built,", "0", "kept"]
        assert re.fullmatch(r"\d+\.\d s", " ".join(row[-2:]))
    assert table[3][:5] == ["2", "of", "2", "boards", "finished"]


def test_a_second_build_of_two_boards_has_nothing_to_do(factory: Factory) -> None:
    factory("build", "One")
    answer = factory("build", "One", "Two")
    assert re.search(r"^One .* nothing to do +0\.0 s$", answer.output, re.MULTILINE)
    assert re.search(r"^Two .* 3 built, 2 kept +\d+\.\d s$", answer.output, re.MULTILINE)
    assert answer.output.count("  kept    kernel (One, Two)\n") == 1


def test_the_manifest_says_when_steps_ran_and_what_takes_room(
    factory: Factory, tmp_path: Path
) -> None:
    factory("build", "One")
    manifest = json.loads((tmp_path / "output/One/manifest.json").read_text())
    for step in manifest["steps"]:
        assert (step["kept"], step["reason"]) == (False, "never built")
        assert step["ended"] - step["started"] == pytest.approx(step["seconds"], abs=0.11)
        assert abs(step["ended"] - time.time()) < 300
    image, (*others,) = manifest["steps"][-1], manifest["steps"][:-1]
    assert image["ended"] >= max(step["started"] for step in others)
    partitions = {"boot": 100 << 20, "root": 4}
    layers = {"bootstrap": 0, "kernel": 0}
    assert manifest["contents"] == {"partitions": partitions, "boot files": {}, "layers": layers}


def test_layers_that_were_kept_are_not_read_again_to_say_what_takes_room(
    factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tmp_path / "output/One/manifest.json"
    factory("build", "One")
    before = json.loads(manifest.read_text())["contents"]
    monkeypatch.setattr("builder.publish.manifest._unpacked_size", lambda _: pytest.fail("read"))
    factory.content = "second"
    factory("build", "One")
    after = json.loads(manifest.read_text())
    assert not after["steps"][-1]["kept"]
    assert after["contents"] == before


def test_an_image_says_of_when_its_packages_are_and_which_are_missing(
    factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out = {"bookworm-security": "the mirror does not answer"}
    outdated = {"bookworm-updates": "2026-11-30"}
    monkeypatch.setattr(FakeArchive, "left_out", left_out)
    monkeypatch.setattr(FakeArchive, "outdated", outdated)
    monkeypatch.setattr(FakeArchive, "epoch", 86400)
    factory("build", "One")
    output = tmp_path / "output/One"
    told = json.loads((output / "manifest.json").read_text())["distribution"]
    assert (told["left-out"], told["as-of"]) == (left_out, 86400)
    assert told["outdated"] == outdated
    page = (output / "report.html").read_text()
    assert "Built without the packages of bookworm-security: the mirror does not answer" in page
    old = "Built from package indexes of bookworm-updates that expired on 2026-11-30"
    assert old in page
    assert "<dt>packages as of</dt><dd>1970-01-02 00:00 UTC</dd>" in page


def test_the_manifest_before_is_kept_when_the_image_changes(
    factory: Factory, tmp_path: Path
) -> None:
    output = tmp_path / "output/One"
    factory("build", "One")
    first = json.loads((output / "manifest.json").read_text())
    # The same image published anew, say after its file was removed, is no other image.
    (output / "One.img").unlink()
    factory("build", "One")
    assert not (output / "manifest.previous.json").exists()
    republished = json.loads((output / "manifest.json").read_text())
    assert all(step["kept"] for step in republished["steps"])
    factory.content = "second"
    factory("build", "One")
    before = json.loads((output / "manifest.previous.json").read_text())
    assert before["image"] == first["image"]
    after = json.loads((output / "manifest.json").read_text())
    kept = {step["name"]: step["kept"] for step in after["steps"]}
    assert (kept.pop("image"), set(kept.values())) == (False, {True})
    assert after["steps"][-1]["reason"] == 'content: "first" -> "second"'


def test_a_build_ends_with_a_report_to_look_at(factory: Factory, tmp_path: Path) -> None:
    report = tmp_path / "output/One/report.html"
    factory("build", "One")
    assert "first of One" in report.read_text()
    report.write_text("as it was")
    factory("build", "One")
    assert report.read_text() == "as it was", "nothing was to be done"
    report.unlink()
    factory("build", "One")
    assert "first of One" in report.read_text()
    factory.content = "second"
    factory("build", "One")
    assert "Differences from the previous build" in report.read_text()


def test_one_board_is_told_as_ever(factory: Factory, tmp_path: Path) -> None:
    answer = factory("build", "One")
    image = os.path.relpath(tmp_path / "output/One/One.img")
    same = [
        *("--boards-dir", os.path.relpath(factory.boards_dir)),
        *("--store", os.path.relpath(tmp_path / "store")),
        *("--output", os.path.relpath(tmp_path / "output")),
    ]
    assert "  start   kernel (never built)\n" in answer.output
    first, *rest = answer.output.splitlines()[-3:]
    assert re.fullmatch(rf"built in \d+\.\d s: {re.escape(image)}, 5 B", first)
    assert rest == [
        f"  check it:       {typed('test', '--built', '--board', 'One', *same)}",
        f"  write to card:  {typed('flash', image, '/dev/YOUR-CARD')}",
    ]


def test_a_board_that_fails_does_not_keep_the_other_from_its_image(
    factory: Factory, tmp_path: Path
) -> None:
    factory.broken = {"One"}
    answer = factory("build", "One", "Two")
    assert answer.status == 3
    assert answer.errors.splitlines() == [
        "error: step u-boot (One) failed: broken",
        f"log: {tmp_path}/output/One/logs/u-boot.log",
        "hint: mend it",
    ]
    assert re.search(r"^One +NOT FINISHED +2 built, 0 kept ", answer.output, re.MULTILINE)
    assert re.search(r"^Two .* 5 built, 0 kept ", answer.output, re.MULTILINE)
    assert answer.output.splitlines()[-1].startswith("1 of 2 boards finished in ")
    assert not (tmp_path / "output/One/One.img").exists()
    assert (tmp_path / "output/Two/Two.img").exists()


def test_programs_are_told_of_each_board_s_end(factory: Factory, tmp_path: Path) -> None:
    factory.broken = {"One"}
    answer = factory("build", "One", "Two", progress="json")
    events = [json.loads(line) for line in answer.output.splitlines()]
    for event in events:
        event.pop("time")
    done = {"message": None, "hint": None, "log": None}
    assert events[-2:] == [
        {
            "event": "BoardFinished",
            "board": "One",
            "status": 3,
            "image": None,
            "message": "step u-boot (One) failed: broken",
            "hint": "mend it",
            "log": f"{tmp_path}/output/One/logs/u-boot.log",
        },
        {
            "event": "BoardFinished",
            "board": "Two",
            "status": 0,
            **done,
            "image": f"{tmp_path}/output/Two/Two.img",
        },
    ]


def test_each_failure_is_reported(factory: Factory) -> None:
    factory.broken = {"One", "Two"}
    answer = factory("build", "One", "Two")
    assert answer.status == 3
    found = re.findall(r"^error: step u-boot \((\w+)\) failed", answer.errors, re.MULTILINE)
    assert sorted(found) == ["One", "Two"]


def test_one_board_that_fails_gets_one_report_and_no_table(
    factory: Factory, tmp_path: Path
) -> None:
    factory.broken = {"One"}
    answer = factory("build", "One")
    assert answer.status == 3
    assert answer.errors.splitlines()[0] == "error: step u-boot failed: broken"
    assert "finished" not in answer.output


@pytest.mark.parametrize(
    ("boards", "verdicts", "status", "summary"),
    [
        (["One", "Two"], [True, True], 0, ["One  passed", "Two  passed"]),
        (["One", "Two"], [False, True], 3, ["One  NOT PASSED", "Two  passed"]),
        (["One", "Two"], [StepError("no boot"), True], 3, ["One  not checked", "Two  passed"]),
        (["One"], [True], 0, []),
        (["One"], [False], 3, []),
        (["One"], [UserError("no ssh")], 2, []),
    ],
)
def test_boards_are_tested_one_after_the_other(
    factory: Factory,
    monkeypatch: pytest.MonkeyPatch,
    *,
    boards: list[str],
    verdicts: list[bool | BuildError],
    status: int,
    summary: list[str],
) -> None:
    left = list(verdicts)
    tested: list[str] = []

    def run_checks(spec: ImageSpec, *_: object, **__: object) -> bool:
        tested.append(spec.name)
        verdict = left.pop(0)
        if isinstance(verdict, BuildError):
            raise verdict
        return verdict

    monkeypatch.setattr("builder.cli.commands.run_checks", run_checks)
    before = signal.getsignal(signal.SIGINT)
    answer = factory("test", *boards)
    signal.signal(signal.SIGINT, before)
    assert answer.status == status
    assert tested == boards
    assert [line for line in answer.output.splitlines() if re.match(r"(One|Two)  \D+$", line)] == (
        summary
    )
    assert answer.errors == "".join(
        f"error: {verdict.message}\n" for verdict in verdicts if isinstance(verdict, BuildError)
    )


def test_what_cannot_be_built_is_not_tested(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.cli.commands.run_checks", lambda *_, **__: pytest.fail("tested"))
    factory.broken = {"One"}
    assert factory("test", "One", "Two").status == 3


def test_a_qemu_is_got_beside_the_build(
    factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.cli.commands.run_checks", lambda *_, **__: True)
    factory.got = Work("qemu", "")
    assert " qemu " not in factory("build", "One").output
    answer = factory("test", "One", "Two")
    assert (answer.status, answer.errors) == (0, "")
    assert "  start   qemu (never built)\n" in answer.output
    assert (tmp_path / "output/One/logs/qemu.log").exists()
    (place,) = factory.qemus
    assert place
    assert place.name == "bin"
    assert place.is_relative_to(tmp_path / "store/entries")


def test_what_is_tested_and_its_qemu_stay_in_the_store_until_the_end(
    factory: Factory, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[list[str]] = []

    def run_checks(*_: object, **__: object) -> bool:
        assert store.evict(0) == [], "another process"
        kept.append([entry.step for entry in store.entries()])
        return True

    monkeypatch.setattr("builder.cli.commands.run_checks", run_checks)
    factory.got = Work("qemu", "")
    words = ["--boards-dir", str(factory.boards_dir), "--board", "One", "--store-size", "1K"]
    assert factory.build_py.there("test", *words).status == 0
    (while_tested,) = kept
    assert {"qemu", "image"} <= {*while_tested}
    assert store.entries() == []


def test_without_that_qemu_boards_are_tested_all_the_same(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.cli.commands.run_checks", lambda *_, **__: True)
    factory.got = Work("qemu", "", fails=True)
    answer = factory("test", "One")
    assert (answer.status, answer.errors) == (0, "")
    assert "cannot load designs: step qemu failed: broken" in answer.output
    assert factory.qemus == [None]
