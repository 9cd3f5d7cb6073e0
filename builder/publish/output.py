# SPDX-License-Identifier: MIT
"""The output directory of a board: image, boot files, manifest, report and logs."""

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
from builder.store.files import write_atomically
from builder.store.store import Entry

_STAMP = ".published"

_MARKER = ".made-by-build"
"""File in an output directory that the build created, or that was empty: `clean` may remove it."""
_NAMES = re.compile(
    r"\.published|image\.json|manifest(\.previous)?\.json|report\.html|screenshot\.png"
    r"|(self)?test-report\.json|boot|kernel|logs|sysroot"
)
"""File names in output directories without a marker, from earlier releases of the builder.

All other files there begin with the board's name.
"""

_SECRET = 0o600
"""Mode of images and root filesystems: they contain password hashes and network keys."""
_PUBLIC = 0o644
_PUBLIC_SUFFIXES = (".bmap", ".json", ".sha256")
"""Suffixes of the files that describe an image or root filesystem; they have the mode _PUBLIC."""


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
        """The HTML page about image, build and tests."""
        return self.directory / "report.html"

    @property
    def test_report(self) -> Path:
        """The result of the last test, as JSON."""
        return self.directory / "test-report.json"

    @property
    def selftest_report(self) -> Path:
        """The result of the board's self-test in the last test, as JSON."""
        return self.directory / "selftest-report.json"

    @property
    def screenshot(self) -> Path:
        """The screenshot of JupyterLab in a browser in the last test."""
        return self.directory / "screenshot.png"

    @property
    def logs(self) -> Path:
        """The directory with a log for each step."""
        return self.directory / "logs"

    @property
    def console(self) -> Path:
        """The output of the serial console in the last test."""
        return self.logs / "console.log"


def make_result(directory: Path) -> None:
    """Create an output directory; mark it for `clean` unless it has files already."""
    directory.mkdir(parents=True, exist_ok=True)
    if not any(directory.iterdir()):
        (directory / _MARKER).write_text(
            "Created by build.py; `build.py clean` removes this directory.\n"
        )


def is_result(directory: Path) -> bool:
    """Return whether a directory is the output of a build, so that `clean` may remove it.

    A directory without a marker, of an earlier release of the builder, must have a manifest and no
    files other than those of builds.
    """
    if directory.is_symlink() or not directory.is_dir():
        return False
    if _is_regular(directory / _MARKER):
        return True
    manifest_file = directory / "manifest.json"
    if not _is_regular(manifest_file):
        return False
    try:
        found = json.loads(manifest_file.read_text())
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


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


@dataclass(frozen=True, kw_only=True)
class BoardResult:
    """Result of a build for one board.

    output: The output directory.
    complete: Whether the image, or the by-product, has been built.
    fresh: Whether this build published it; False if it was up to date.
    built: Number of the board's steps that this build made.
    cached: Number of its steps that were cached.
    seconds: Sum of the times of the steps that this build made, including those shared with other
        boards.
    notes: Notes for the user about the card.
    products: Files and directories of the by-product, if one was built instead of the image.
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
    """Publish a board's image or by-product if it has been built; return the result."""
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
    """Copy a by-product into the output directory; return the paths of its copies."""
    assert steps.only
    assert steps.product
    made, folder = entries[steps.product].files, PRODUCTS[steps.only].folder
    if folder:
        shutil.rmtree(output.directory / folder, ignore_errors=True)
        shutil.copytree(made, output.directory / folder)
        return [output.directory / folder]
    copies = {path: output.directory / path.name for path in sorted(made.iterdir())}
    copy_files(copies)
    return [*copies.values()]


def publish(
    output: Output,
    steps: BoardSteps,
    plan: Sequence[Planned],
    outcome: Outcome,
) -> bool:
    """Bring the output directory up to date; return whether anything had changed.

    Files are copied, not linked, so that changes by the user do not damage the store.
    """
    entries = outcome.entries
    targets = [entries[step] for step in steps.targets]
    checks = [entries[step] for step in steps.checks if step in entries]
    stamp = output.directory / _STAMP
    wanted = "\n".join(entry.key for entry in (*targets, *checks))
    copies = {
        path: output.directory / path.name for entry in targets for path in entry.files.iterdir()
    }
    complete = all(path.exists() for path in copies.values())
    if complete and output.manifest.exists() and stamp.exists() and stamp.read_text() == wanted:
        return False
    stamp.unlink(missing_ok=True)
    copy_files(copies)
    boot = output.directory / "boot"
    shutil.rmtree(boot, ignore_errors=True)
    made = entries.get(steps.boot.boot_files)
    if made:
        shutil.copytree(made.files, boot)
    _replace_manifest(output, manifest(steps, plan, outcome))
    stamp.write_text(wanted)
    return True


def _replace_manifest(output: Output, new: Mapping[str, Any]) -> None:
    """Write the manifest; save the existing one as `previous` if it is of another image."""
    try:
        old = json.loads(output.manifest.read_text())
    except (FileNotFoundError, ValueError):
        old = None
    if old and not compare(old, new).same_image:
        write_public(output.previous, json.dumps(old, indent=1) + "\n")
    write_public(output.manifest, json.dumps(new, indent=1) + "\n")


def write_report(output: Output, spec: ImageSpec) -> None:
    """Write `report.html` about the image, the last test and the previous image."""
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
            # Default values are public, and can be common words.
            secrets=[
                str(value)
                for recipe in spec.recipes
                for key, value in recipe.parameters.items()
                if recipe.model.parameters[key].secret
                and value != recipe.model.parameters[key].default
            ],
        )
    )
    write_public(output.report, page)


def _read(path: Path) -> Any:
    """Return the content of a JSON file; None if there is no such file."""
    text = _text(path)
    return json.loads(text) if text else None


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def write_public(path: Path, text: str) -> None:
    """Write a file that all users may read, atomically."""
    write_atomically(path, text)
    path.chmod(_PUBLIC)


def copy_files(copies: Mapping[Path, Path], texts: Mapping[Path, str] | None = None) -> None:
    """Replace files by copies of others, and by new texts.

    All new files are complete before the first file is replaced. An image is never beside the checksum
    or block map of another image, nor without its own: if the process is killed while it replaces
    files, the image itself is missing.

    Args:
        copies: The targets of the copies by their sources.
        texts: The contents of files that describe an image, by their paths.

    Raises:
        StepError: A file cannot be copied. Nothing is replaced.
        HostError: The disk is full. Nothing is replaced.
    """
    new: dict[Path, Path] = {}
    try:
        for source, target in copies.items():
            new[target] = _hidden(target, "part")
            _copy_sparse(source, new[target], target)
        for target, text in (texts or {}).items():
            new[target] = _hidden(target, "part")
            with full_disk_told(target.parent):
                write_public(new[target], text)
        _replace(new)
    finally:
        for partial in new.values():
            partial.unlink(missing_ok=True)


def _replace(new: Mapping[Path, Path]) -> None:
    """Rename new files to their targets; restore the old files if that fails.

    Images are moved away first and put in place last. (Renaming over an existing file would also make
    ext4 flush the new one to disk (ext4(5), auto_da_alloc), which takes longer than the copy.)
    """
    targets = sorted(new, key=lambda target: target.suffix in _PUBLIC_SUFFIXES)
    old = {target: _hidden(target, "old") for target in targets}
    try:
        for target in targets:
            if target.exists():
                target.rename(old[target])
        for target in reversed(targets):
            new[target].rename(target)
    except BaseException:
        for target in reversed(targets):
            if old[target].exists():
                old[target].rename(target)
            elif not new[target].exists():
                target.unlink(missing_ok=True)
        raise
    finally:
        for path in old.values():
            path.unlink(missing_ok=True)


def _hidden(target: Path, suffix: str) -> Path:
    """Return the path of a temporary file beside a target, without what a killed process left there."""
    path = target.with_name(f".{target.name}.{suffix}")
    path.unlink(missing_ok=True)
    return path


def _copy_sparse(source: Path, partial: Path, target: Path) -> None:
    """Copy a file with its holes to `partial`; share blocks if the filesystem supports reflinks.

    Only the owner may read the copy of an image or a root filesystem. Errors name the `target`.
    """
    mode = _PUBLIC if target.suffix in _PUBLIC_SUFFIXES else _SECRET
    partial.touch(mode=mode)  # `cp` does not change the mode of an existing file
    with full_disk_told(target.parent):
        _copy(source, partial, target)


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
