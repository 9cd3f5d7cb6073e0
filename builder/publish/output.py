# SPDX-License-Identifier: MIT
"""The output directory: what a build gives its user, and the manifest that says what is in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import StepError
from builder.plan.board_steps import BoardSteps
from builder.plan.by_products import PRODUCTS
from builder.plan.merge import BoardPlan
from builder.plan.plan import Planned
from builder.publish.comparison import compare, is_manifest
from builder.publish.manifest import manifest, notes
from builder.publish.report_page import Report, render
from builder.qemu_devicetree.derive import describe_changes
from builder.sandbox.disk_space import full_disk_told
from builder.sandbox.process import clean_environment
from builder.scheduler.scheduler import Outcome
from builder.spec.resolve import ImageSpec
from builder.steps.step import Step
from builder.store.store import Entry, write_atomically

_STAMP = ".published"

_MARKER = ".made-by-build"
"""File in a directory of results that did not exist before, or was empty: it may be removed whole."""
_NAMES = re.compile(
    r"\.published|image\.json|manifest(\.previous)?\.json|report\.html|screenshot\.png"
    r"|(self)?test-report\.json|boot|kernel|logs|sysroot"
)
"""Names in results of earlier builds, which have no marker; others begin with the board's name."""

_SECRET = 0o600
"""Mode of images and root filesystems: hashes of passwords and keys of networks are in them."""
_OPEN = {".bmap": 0o644, ".json": 0o644, ".sha256": 0o644}
"""Modes of the files beside them, which only say something of them, by the ends of their names."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """A board's output directory."""

    directory: Path
    board: str

    @property
    def image(self) -> Path:
        """The card image."""
        return self.directory / f"{self.board}.img"

    @property
    def manifest(self) -> Path:
        """The list of the image's content, as JSON."""
        return self.directory / "manifest.json"

    @property
    def previous(self) -> Path:
        """The list of the previous image's content, if there was another image."""
        return self.directory / "manifest.previous.json"

    @property
    def report(self) -> Path:
        """A page to look at: image, build, tests."""
        return self.directory / "report.html"

    @property
    def test_report(self) -> Path:
        """The result of the last test, as JSON."""
        return self.directory / "test-report.json"

    @property
    def selftest_report(self) -> Path:
        """The results of the board's check of itself in the last test."""
        return self.directory / "selftest-report.json"

    @property
    def screenshot(self) -> Path:
        """The picture that the last test took of a browser."""
        return self.directory / "screenshot.png"

    @property
    def logs(self) -> Path:
        """A log for each step."""
        return self.directory / "logs"

    @property
    def console(self) -> Path:
        """The output of the serial console in the last test."""
        return self.logs / "console.log"


def make_result(directory: Path) -> None:
    """Make a directory for results if there is none, and mark it unless others have files in it."""
    directory.mkdir(parents=True, exist_ok=True)
    if not any(directory.iterdir()):
        (directory / _MARKER).write_text("Made by build.py; `build.py clean` removes all of it.\n")


def is_result(directory: Path) -> bool:
    """Return whether a build made a directory, and so may remove it.

    One of an earlier build, which has no marker, is known by its manifest, and may hold nothing else
    than builds make.
    """
    if directory.is_symlink() or not directory.is_dir():
        return False
    if _is_plain(directory / _MARKER):
        return True
    manifest = directory / "manifest.json"
    if not _is_plain(manifest):
        return False
    try:
        found = json.loads(manifest.read_text())
    except ValueError:
        return False
    return (
        is_manifest(found)
        and found["board"] == directory.name
        and all(
            _NAMES.fullmatch(path.name)
            or path.name.startswith((f"{directory.name}.", f"{directory.name}-"))
            for path in directory.iterdir()
        )
    )


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


@dataclass(frozen=True, kw_only=True)
class BoardResult:
    """Result of a build for one board.

    `complete` says whether its image is there, `fresh` whether it was not before. So many of its
    steps were `built` and `kept`; those that were built took `seconds` in sum, whichever boards
    they are for. `notes` are what the user is to know about the card, after each build. `products`
    are where by-products are, if these were asked for in place of the image.
    """

    output: Output
    complete: bool
    fresh: bool
    built: int
    cached: int
    seconds: float
    notes: Sequence[str] = ()
    products: Sequence[Path] = ()


def finish(output: Output, board: BoardPlan, outcome: Outcome) -> BoardResult:
    """Publish a board whose image could be made, and say what came of it."""
    entries = outcome.entries
    complete = all(step in entries for step in board.steps.targets)
    products: Sequence[Path] = ()
    if board.steps.product:
        products = _publish_product(output, board.steps, entries) if complete else ()
        fresh = complete
    else:
        fresh = complete and publish(output, board.steps, board.plan, outcome)
        if complete and (fresh or not output.report.exists()):
            write_report(output, board.steps.spec)
    built = [entries[item.step] for item in board.plan if item.step in outcome.made]
    return BoardResult(
        output=output,
        complete=complete,
        fresh=fresh,
        built=len(built),
        cached=sum(
            item.step not in outcome.made and (item.cached or item.step in entries)
            for item in board.plan
        ),
        seconds=sum(entry.seconds for entry in built),
        notes=notes(board.steps, entries),
        products=products,
    )


def _publish_product(
    output: Output, steps: BoardSteps, entries: Mapping[Step, Entry]
) -> Sequence[Path]:
    """Bring a by-product's files into the output directory; return where they are."""
    assert steps.only
    assert steps.product
    made, folder = entries[steps.product].files, PRODUCTS[steps.only].folder
    if folder:
        shutil.rmtree(output.directory / folder, ignore_errors=True)
        shutil.copytree(made, output.directory / folder)
        return [output.directory / folder]
    files = sorted(made.iterdir())
    _copy_all(files, output.directory)
    return [output.directory / path.name for path in files]


def publish(
    output: Output,
    steps: BoardSteps,
    plan: Sequence[Planned],
    outcome: Outcome,
) -> bool:
    """Bring the output directory up to date; return whether there was anything to do.

    Files are copied, not linked: what users do to them must not reach the store.
    """
    entries = outcome.entries
    targets = [entries[step] for step in steps.targets]
    checks = [entries[step] for step in steps.checks if step in entries]
    stamp = output.directory / _STAMP
    wanted = "\n".join(entry.key for entry in (*targets, *checks))
    files = [path for entry in targets for path in entry.files.iterdir()]
    complete = all((output.directory / path.name).exists() for path in files)
    if complete and output.manifest.exists() and stamp.exists() and stamp.read_text() == wanted:
        return False
    stamp.unlink(missing_ok=True)
    _copy_all(files, output.directory)
    boot = output.directory / "boot"
    shutil.rmtree(boot, ignore_errors=True)
    made = entries.get(steps.boot.boot_files)
    if made:
        shutil.copytree(made.files, boot)
    _replace_manifest(output, manifest(steps, plan, outcome))
    stamp.write_text(wanted)
    return True


def _replace_manifest(output: Output, new: Mapping[str, Any]) -> None:
    """Write the manifest, and keep the one before it if that is of another image."""
    try:
        old = json.loads(output.manifest.read_text())
    except (FileNotFoundError, ValueError):
        old = None
    if old and not compare(old, new).same_image:
        _write(output.previous, json.dumps(old, indent=1) + "\n")
    _write(output.manifest, json.dumps(new, indent=1) + "\n")


def write_report(output: Output, spec: ImageSpec) -> None:
    """Write `report.html` of what is in the output directory: image, last test, image before."""
    screenshot = output.screenshot.read_bytes() if output.screenshot.exists() else None
    changes = _text(output.directory / "boot/changes.json")
    page = render(
        Report(
            manifest=json.loads(output.manifest.read_text()),
            previous=_read(output.previous),
            test=_read(output.test_report),
            selftest=_read(output.selftest_report),
            emulation=describe_changes(changes) if changes else [],
            console=_text(output.console),
            screenshot=screenshot,
            # What everybody knows is no secret, and may be a word like any other.
            secrets=[
                str(value)
                for recipe in spec.recipes
                for key, value in recipe.parameters.items()
                if recipe.model.parameters[key].secret
                and value != recipe.model.parameters[key].default
            ],
        )
    )
    _write(output.report, page)


def _read(path: Path) -> Any:
    """Return what a JSON file holds; None if it is not there."""
    text = _text(path)
    return json.loads(text) if text else None


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _write(path: Path, text: str) -> None:
    write_atomically(path, text)
    path.chmod(0o644)


def _copy_all(files: Sequence[Path], directory: Path) -> None:
    """Copy files into a directory.

    Checksums and block maps are removed before, and copied after all others: an interrupt leaves
    none beside an image that it does not belong to.
    """
    beside = [path for path in files if path.suffix in _OPEN]
    for path in beside:
        (directory / path.name).unlink(missing_ok=True)
    for path in (*(path for path in files if path not in beside), *beside):
        copy_sparse(path, directory / path.name)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file with its holes, and without copying where the filesystem can share blocks.

    Only its owner may read the copy of an image or a root filesystem.

    Raises:
        StepError: it cannot be copied; nothing of it is left.
        HostError: there is no room.
    """
    partial, old = (target.with_name(f".{target.name}.{what}") for what in ("part", "old"))
    try:
        partial.unlink(missing_ok=True)  # a killed process may have left one
        partial.touch(mode=_OPEN.get(target.suffix, _SECRET))  # which `cp` leaves as it is
        with full_disk_told(target.parent):
            _copy(source, partial, target)
        # Renamed onto the old file, the new one would have to go to the disk now (ext4(5),
        # auto_da_alloc), which takes longer than the copy.
        if target.exists():
            target.rename(old)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
        if old.exists() and not target.exists():
            old.rename(target)
        old.unlink(missing_ok=True)


def _copy(source: Path, partial: Path, target: Path) -> None:
    copying = subprocess.run(
        ["cp", "--sparse=auto", "--reflink=auto", "--", source, partial],
        stderr=subprocess.PIPE,
        env=clean_environment(),
        text=True,
        check=False,
    )
    if copying.returncode:
        raise StepError(f"{target} cannot be written", details=copying.stderr.strip().splitlines())
