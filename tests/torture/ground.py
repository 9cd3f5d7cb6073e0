# SPDX-License-Identifier: MIT
"""A store of its own with all that takes long, and builds in it of which the images are known."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from tests.torture.figures import say
from tests.torture.traces import Entries, Images, leftovers, mounts, rests

EXPENSIVE = (
    *("linux-source", "kernel", "u-boot-source", "u-boot", "trusted-firmware-source"),
    *("trusted-firmware", "native-programs", "bootstrap", "bindings", "modules", "ext4-writer"),
)
"""Steps that are made once. Copies of other stores' entries are copies of these."""

DEEP = ("bootstrap", "u-boot", "bindings", "modules")
"""Of these, one at a time is made again now and then. None needs the network."""

VARIANTS: Mapping[str, Sequence[str]] = {"plain": (), "other": ("--set", "hostname.name=torture")}
"""Two images of the same board, and the words that tell them apart."""

LONGEST = 1800
"""Seconds after which a build counts as one that does not end."""


class Broken(Exception):
    """The ground is no longer fit: an honest build fails, or gives another image."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A build that has ended; `status` is None if it had to be killed after `LONGEST` seconds."""

    status: int | None
    said: str
    seconds: float

    @property
    def told(self) -> bool:
        """Whether it failed as documented: an exit code for errors, one error, no traceback."""
        errors = [line for line in self.said.splitlines() if line.startswith("error:")]
        return self.status in (2, 3, 4) and len(errors) == 1 and "Traceback" not in self.said

    @property
    def end(self) -> str:
        """What it said last, for a report."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error:")]
        return " | ".join([*errors[:2], *lines[-2:]])[:400]


class Build:
    """A build that runs, in a process group of its own."""

    def __init__(
        self, argv: Sequence[str], said: IO[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self._said = said
        self._started = time.monotonic()
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def kill(self) -> None:
        """Kill it, with its process group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ended(self, seconds: float = LONGEST) -> Ended:
        """Wait for its end; it is killed after a time, or when this process is told to stop."""
        status: int | None = None
        with self._said:
            try:
                status = self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
            except BaseException:  # we are told to stop
                self.kill()
                raise
            self._said.seek(0)
            text = self._said.read()
        return Ended(status=status, said=text, seconds=time.monotonic() - self._started)


@dataclass(kw_only=True)
class Ground:
    """Where builds are tortured.

    `command` runs the builder, `words` are what every build is told. `images` has the SHA-256 of
    each variant's image, `entries` and `sums` what was seen of store and output. What a build
    started has `settle` seconds to end after it.
    """

    command: Sequence[str]
    board: str
    words: Sequence[str]
    store: Path
    output: Path
    images: dict[str, str] = field(default_factory=dict)
    start_seconds: float = math.inf
    settle: float = 15.0
    sums: Images = field(default_factory=Images)

    def __post_init__(self) -> None:
        (self.store / "entries").mkdir(parents=True, exist_ok=True)
        self.entries = Entries(self.store)

    def publishing_to(self, output: Path) -> Ground:
        """Return the same ground with another output directory."""
        other = replace(self, output=output)
        other.entries = self.entries
        return other

    def argv(self, verb: str, *words: str) -> list[str]:
        """Return the command line of a command of the builder."""
        places = ["--store", str(self.store), "--output", str(self.output)]
        return [*self.command, verb, *places, *words]

    def start(
        self,
        variant: str,
        *words: str,
        board: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Build:
        """Start a build of a variant."""
        chosen = ["--board", board or self.board, *self.words, *VARIANTS[variant], *words]
        argv = self.argv("build", *chosen, "--progress", "plain")
        return Build(argv, tempfile.TemporaryFile("w+", errors="replace"), environment)

    def run(self, verb: str, *words: str) -> Ended:
        """Run a command that builds nothing."""
        return Build(self.argv(verb, *words), tempfile.TemporaryFile("w+")).ended()

    def image(self, board: str | None = None) -> str | None:
        """Return the SHA-256 of the image in the output; None if there is none."""
        name = board or self.board
        return self.sums.sum(self.output / name / f"{name}.img")

    def verdict(self, ended: Ended, variant: str) -> str:
        """Say in a few words how a build ended: `right image` and `error told` are as they should."""
        if ended.status is None:
            return "no end"
        if ended.status == 0:
            return "right image" if self.image() == self.images[variant] else "wrong image"
        return "error told" if ended.told else f"status {ended.status} without one error"

    def problems(self) -> list[str]:
        """Return what is wrong after a build, however that ended. All builds must have ended."""
        running = leftovers(self.store, self.settle)
        return [
            *(f"still running: {number} {command}" for number, command in running.items()),
            *(f"still mounted: {point}" for point in mounts([self.store, self.output])),
            *self.entries.problems(),
            *self.sums.problems(self.output),
        ]

    def honest(self, variant: str, *words: str, rebuild: bool = True) -> list[str]:
        """Build without any harm; return what is wrong with the image or was left behind."""
        if rebuild:
            self.remove("image")
        ended = self.start(variant, *words).ended()
        verdict = self.verdict(ended, variant)
        found = [] if verdict == "right image" else [f"the build after it: {verdict}: {ended.end}"]
        return [*found, *self.problems(), *rests(self.store, self.output)]

    def reset(self) -> None:
        """Make sure that an honest build gives the image it should.

        Raises:
            Broken: it does not.
        """
        problems = self.honest("plain", "--offline", rebuild=False)
        if problems:
            raise Broken("; ".join(problems))

    def prepare(self, source: Path | None) -> None:
        """Make the reference images, with expensive entries of another store if they fit.

        Raises:
            Broken: a build fails.
        """
        if source and not (self.store / "secret").exists():
            copy_expensive(source, self.store)
        # What it fetches is all that there will be: builds with the network may come to other
        # packages, once a part of the archive can be had that could not before.
        ended = self.start("plain").ended(4 * LONGEST)
        if ended.status != 0:
            raise Broken(f"the first build failed: {ended.end}")
        before = time.time()
        self.take_images("--offline")
        for path in self.steps():
            # A build marks the entries that it uses; the others came along for nothing.
            if (path / "entry.json").stat().st_mtime < before - 1:
                shutil.rmtree(path)
        self.problems()

    def take_images(self, *words: str, environment: Mapping[str, str] | None = None) -> None:
        """Take the images of honest builds as those that all others must give.

        Raises:
            Broken: a build fails.
        """
        for variant in VARIANTS:
            say(f"reference build, variant {variant}")
            ended = self.start(variant, *words, environment=environment).ended(4 * LONGEST)
            image = self.image()
            if ended.status != 0 or image is None:
                raise Broken(f"the reference build failed: {ended.end}")
            self.images[variant] = image
            # One that finds everything there takes as long as a start.
            self.start_seconds = min(self.start_seconds, ended.seconds)

    def spoil(self, random: random.Random, *, deep: float = 0.0) -> float:
        """Remove the image and some of the upper steps' entries; return the seconds they took.

        With a probability of `deep`, one of the steps goes too that take long.
        """
        entries = self._described()
        share = random.random()
        chosen = [
            path
            for path, said in entries.items()
            if said["step"] == "image"
            or (said["step"] not in EXPENSIVE and random.random() < share)
        ]
        again = [path for path, said in entries.items() if said["step"] in DEEP]
        if again and random.random() < deep:
            chosen.append(random.choice(again))
        for path in chosen:
            shutil.rmtree(path)
        return self.start_seconds + sum(float(entries[path]["seconds"]) for path in chosen)

    def remove(self, *steps: str) -> None:
        """Remove the entries of some steps."""
        for path, step in self.steps().items():
            if step in steps:
                shutil.rmtree(path)

    def steps(self) -> dict[Path, str]:
        """Return the entries' directories, with the steps that they are of."""
        return {path: str(said["step"]) for path, said in self._described().items()}

    def _described(self) -> dict[Path, dict[str, Any]]:
        notes = sorted((self.store / "entries").glob("*/entry.json"))
        return {note.parent: json.loads(note.read_text()) for note in notes}


def copy_expensive(source: Path, target: Path) -> None:
    """Copy the entries of expensive steps out of a store.

    The hashes of outputs come along, by which keys are known when an entry below is gone, and the
    secret, which salts passwords.
    """
    for path in sorted((source / "entries").glob("*/entry.json")):
        if json.loads(path.read_text())["step"] in EXPENSIVE:
            copy = ["cp", "-a", "--reflink=auto", "--", str(path.parent), str(target / "entries")]
            subprocess.run(copy, check=True)
    shutil.copytree(source / "outputs", target / "outputs", dirs_exist_ok=True)
    if (source / "secret").exists():
        shutil.copy2(source / "secret", target / "secret")
