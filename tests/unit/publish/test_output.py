# SPDX-License-Identifier: MIT
"""The output directory when inputs are missing or publication fails."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from builder.bsp.tree_checks.findings import FINDINGS, Finding, write_findings
from builder.errors import HostError, StepError
from builder.plan.board_steps import BoardSteps, board_steps
from builder.plan.plan import make_plan
from builder.publish import output as publication
from builder.publish.manifest import manifest, notes
from builder.publish.output import Output, copy_files, publish
from builder.sandbox.compiler_cache import CacheUse
from builder.scheduler.scheduler import Outcome
from builder.spec.models import AcceptedFinding
from builder.spec.resolve import resolve
from builder.steps.step import Step
from builder.store.store import Entry, Store
from tests.fixtures.command_line import TREE, FakeArchive
from tests.fixtures.product import ROOT


@pytest.fixture
def steps() -> BoardSteps:
    return board_steps(resolve(TREE, "Pynq-Z2", distro="debian-bookworm"), FakeArchive())


@pytest.fixture
def image_alone(steps: BoardSteps, store: Store) -> dict[Step, Entry]:
    """The entries of a store that has only the image."""
    with store.building("k"):
        made = store.draft("k")
        (made / "Pynq-Z2.img").write_text("card")
        (made / "image.json").write_text(json.dumps({"sha256": "1", "size": 4, "root-size": 2}))
        entry = store.commit("k", step="image", components={}, seconds=1)
    return {steps.image: entry}


def outcome(entries: Mapping[Step, Entry]) -> Outcome:
    """Return the outcome of a build without changes."""
    return Outcome(entries={**entries}, made=frozenset(), failures=())


def test_an_image_is_published_without_its_parents_in_the_store(
    steps: BoardSteps, image_alone: dict[Step, Entry], tmp_path: Path
) -> None:
    output = Output(directory=tmp_path / "output", board="Pynq-Z2")
    output.directory.mkdir()
    assert publish(output, steps, [], outcome(image_alone))
    assert output.image.read_text() == "card"
    assert json.loads(output.manifest.read_text())["contents"]["boot files"] == {}
    assert not publish(output, steps, [], outcome(image_alone)), "nothing to do"


def test_the_manifest_counts_the_boot_files(
    steps: BoardSteps, image_alone: dict[Step, Entry], store: Store
) -> None:
    with store.building("b"):
        card = store.draft("b") / "fat"
        card.mkdir()
        (card / "BOOT.BIN").write_bytes(bytes(7))
        entry = store.commit("b", step="boot-files", components={}, seconds=1)
    found = manifest(steps, [], outcome({**image_alone, steps.boot.boot_files: entry}))
    assert found["contents"]["boot files"] == {"BOOT.BIN": 7}


@pytest.fixture
def checked(steps: BoardSteps, image_alone: dict[Step, Entry], store: Store) -> dict[Step, Entry]:
    """The entries of an image whose checks have run; one of them has a finding."""
    entries = {**image_alone}
    for number, step in enumerate(steps.checks):
        found = [Finding(check="design", subject="i2c@e0005000", text="it is off")]
        with store.building(f"c{number}"):
            write_findings(store.draft(f"c{number}") / FINDINGS, found[number:])
            entries[step] = store.commit(f"c{number}", step=step.name, components={}, seconds=1)
    return entries


def test_findings_are_notes_and_are_in_the_manifest(
    steps: BoardSteps, checked: dict[Step, Entry]
) -> None:
    told = "Pynq-Z2: [design: i2c@e0005000] it is off"
    assert told in notes(steps, checked)
    found = manifest(steps, [], outcome(checked))
    assert told in found["notes"]
    assert found["findings"] == [
        {"name": "design: i2c@e0005000", "text": "it is off", "accepted": None}
    ]


def test_the_manifest_describes_built_steps_and_their_compiler_cache_use(
    steps: BoardSteps, image_alone: dict[Step, Entry], store: Store
) -> None:
    plan = make_plan([steps.image], store)
    made = Outcome(
        entries=image_alone,
        made=frozenset([steps.image]),
        failures=(),
        cache_use={steps.image: CacheUse(compilations=9, hits=7)},
    )
    *below, image = manifest(steps, plan, made)["steps"]
    assert image["name"] == "image"
    assert (image["kept"], image["fingerprint"]) == (False, "k")
    assert (image["objects"], image["objects-from-cache"]) == (9, 7)
    assert all(step["kept"] and "objects" not in step for step in below)


def test_an_accepted_finding_is_in_the_manifest_with_its_reason(
    steps: BoardSteps, checked: dict[Step, Entry]
) -> None:
    accepted = AcceptedFinding(finding="design: i2c@*", because="nothing hangs on it")
    board = steps.spec.board.model_copy(update={"accepted_findings": (accepted,)})
    steps = replace(steps, spec=replace(steps.spec, board=board))
    found = manifest(steps, [], outcome(checked))
    assert not [note for note in found["notes"] if "i2c" in note]
    assert [each["accepted"] for each in found["findings"]] == ["nothing hangs on it"]


def test_an_unused_accepted_finding_is_a_note_with_its_line(
    steps: BoardSteps, checked: dict[Step, Entry]
) -> None:
    accepted = tuple(
        AcceptedFinding(finding=finding, because="it was so")
        for finding in ("design: x", "linux: x")
    )
    board = steps.spec.board.model_copy(update={"accepted_findings": accepted})
    steps = replace(steps, spec=replace(steps.spec, board=board))
    place = f"Pynq-Z2: {steps.spec.directory}/board.yaml:1: accepted-findings"
    found = [note for note in notes(steps, checked) if "no finding matches" in note]
    assert [note.startswith(f"{place}.{index}: ") for index, note in enumerate(found)] == [True] * 2
    # Of another provider's boot files, nothing was compared with Linux's tree.
    steps = replace(steps, boot=replace(steps.boot, checks=()))
    assert [note for note in notes(steps, checked) if "no finding matches" in note] == found[:1]


def test_a_check_that_ran_later_is_published(
    steps: BoardSteps,
    image_alone: dict[Step, Entry],
    checked: dict[Step, Entry],
    tmp_path: Path,
) -> None:
    output = Output(directory=tmp_path / "output", board="Pynq-Z2")
    output.directory.mkdir()
    assert publish(output, steps, [], outcome(image_alone))
    assert publish(output, steps, [], outcome(checked))
    assert json.loads(output.manifest.read_text())["findings"]
    assert not (output.directory / FINDINGS).exists(), "the manifest has them"
    assert not publish(output, steps, [], outcome(checked))


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("B.img", 0o600),
        ("B.img.xz", 0o600),
        ("B.rootfs.tar.zst", 0o600),
        ("B.img.bmap", 0o644),
        ("B.img.xz.sha256", 0o644),
        ("image.json", 0o644),
    ],
)
def test_copies_of_images_are_never_readable_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, mode: int
) -> None:
    (tmp_path / "source").write_text("card")
    for left in (name, f".{name}.part"):
        (tmp_path / left).touch()
        (tmp_path / left).chmod(0o666)
    modes: list[int] = []
    run = subprocess.run

    def copying(words: list[object], **options: object) -> object:
        done = run(words, **options)  # type: ignore[call-overload]
        modes.append(Path(str(words[-1])).stat().st_mode)
        return done

    umask = os.umask(0o022)
    monkeypatch.setattr("builder.publish.output.subprocess.run", copying)
    copy_files({tmp_path / "source": tmp_path / name})
    os.umask(umask)
    modes.append((tmp_path / name).stat().st_mode)
    assert [stat.S_IMODE(each) for each in modes] == [mode, mode]


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/cp"
    program.write_text("#!/bin/sh\necho cp: No space left on device >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr("builder.sandbox.process.SEARCH_PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr("builder.sandbox.disk_space._free", lambda _: 0)
    (tmp_path / "source").write_text("card")
    with pytest.raises(HostError, match=f"^{tmp_path}: no space is left, "):
        copy_files({tmp_path / "source": tmp_path / "target.img"})
    assert {path.name for path in tmp_path.iterdir()} == {"source", "bin"}


KILLED = """
import os, signal, sys
from pathlib import Path
from builder.publish.output import copy_files

rename, left = Path.rename, int(sys.argv[1])

def counted(path, target):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return rename(path, target)

Path.rename = counted
names = ("card.img", "card.img.bmap")
copy_files({Path("new", name): Path(name) for name in names}, {Path("card.img.sha256"): "new"})
"""


@pytest.mark.parametrize("renamed", range(6))
def test_a_killed_publication_leaves_no_image_without_its_own_checksum(
    tmp_path: Path, renamed: int
) -> None:
    names = ("card.img", "card.img.bmap", "card.img.sha256")
    (tmp_path / "new").mkdir()
    for name in names:
        (tmp_path / name).write_text("old")
        (tmp_path / "new" / name).write_text("new")

    def run(renames: int) -> int:
        words = [sys.executable, "-c", KILLED, str(renames)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(words, cwd=tmp_path, env=environment, check=False).returncode

    assert run(renamed) == -signal.SIGKILL
    texts = {(tmp_path / name).read_text() for name in names if (tmp_path / name).exists()}
    if (tmp_path / "card.img").exists():
        assert all((tmp_path / name).exists() for name in names)
        assert len(texts) == 1
    assert run(100) == 0
    assert {(tmp_path / name).read_text() for name in names} == {"new"}
    assert {path.name for path in tmp_path.iterdir()} == {"new", *names}


@pytest.mark.parametrize("copied", range(4))
def test_an_interrupted_publication_leaves_no_checksum_of_another_image(
    steps: BoardSteps, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied: int
) -> None:
    output = Output(directory=tmp_path / "output", board="Pynq-Z2")
    output.directory.mkdir()
    names = ("Pynq-Z2.img", "Pynq-Z2.img.bmap", "Pynq-Z2.img.sha256", "image.json")

    def made_of(text: str) -> Outcome:
        with store.building(text):
            made = store.draft(text)
            for name in names:
                (made / name).write_text(
                    json.dumps({"of": text, "sha256": text, "size": 4, "root-size": 2})
                )
            entry = store.commit(text, step="image", components={}, seconds=1)
        return outcome({steps.image: entry})

    publish(output, steps, [], made_of("old"))
    copies: list[Path] = []

    copying = publication._copy  # noqa: SLF001 - interrupted between two copies

    def interrupted(source: Path, partial: Path, target: Path) -> None:
        if len(copies) == copied:
            raise KeyboardInterrupt
        copies.append(target)
        copying(source, partial, target)

    monkeypatch.setattr("builder.publish.output._copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish(output, steps, [], made_of("new"))
    texts = {json.loads(path.read_text())["of"] for path in output.directory.glob("*.img*")}
    assert len(texts) == 1, "all that is there belongs together"
    assert output.image.exists()


def test_a_file_that_cannot_be_copied_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    target = tmp_path / "target.img"
    with pytest.raises(StepError, match=r"target\.img cannot be written") as caught:
        copy_files({tmp_path / "source": target})
    assert "omitting directory" in caught.value.details[0]
    assert {path.name for path in tmp_path.iterdir()} == {"source"}


def test_an_interrupted_copy_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target.img"
    source.write_text("card")

    def interrupted(words: list[object], **_: object) -> None:
        Path(str(words[-1])).write_text("ca")
        raise KeyboardInterrupt

    monkeypatch.setattr("builder.publish.output.subprocess.run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        copy_files({source: target})
    assert {path.name for path in tmp_path.iterdir()} == {"source"}


def test_an_existing_file_is_replaced_only_by_a_complete_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target.img"
    source.write_text("new")
    target.write_text("old")
    rename = Path.rename

    def interrupted(path: Path, to: Path) -> Path:
        if path.suffix == ".part":
            raise KeyboardInterrupt
        return rename(path, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            copy_files({source: target})
    assert target.read_text() == "old"
    copy_files({source: target})
    assert target.read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target.img"}
