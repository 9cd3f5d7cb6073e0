# SPDX-License-Identifier: MIT
"""The manifest of an image: its content, its sources, and the steps that built it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.bsp.provider import NOTES
from builder.bsp.tree_checks import linux, schema
from builder.bsp.tree_checks.findings import (
    FINDINGS,
    Finding,
    describe_findings,
    read_findings,
    reason,
    unused,
)
from builder.plan.board_steps import BoardSteps
from builder.plan.plan import Planned
from builder.rootfs.wheels import Wheels
from builder.sandbox.compiler_cache import CacheUse
from builder.scheduler.scheduler import Outcome
from builder.spec.legacy import fetches
from builder.steps.layer_archive import LAYER
from builder.steps.step import Step
from builder.store.store import Entry

_CHUNK = 1 << 20


def manifest(steps: BoardSteps, plan: Sequence[Planned], outcome: Outcome) -> dict[str, Any]:
    """Return the manifest of a board's image as JSON data, after the build with this outcome."""
    entries = outcome.entries
    image = json.loads((entries[steps.image].files / "image.json").read_text())
    spec, archive = steps.spec, steps.archive
    bootstrap = entries.get(steps.layers[0])
    packages = json.loads((bootstrap.files / "packages.json").read_text()) if bootstrap else None
    return {
        "board": spec.name,
        "image": {"file": f"{spec.name}.img", **image},
        "distribution": {
            "name": archive.distribution.name,
            "architecture": archive.architecture.value,
            "release-files": dict(archive.pockets),
            "left-out": archive.left_out,
            "outdated": archive.outdated,
            "as-of": archive.epoch,
        },
        # Parameters can be secret: `recipes` has the public ones.
        "spec": spec.board.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude={"parameters"}
        ),
        "recipes": {recipe.name: recipe.public_parameters() for recipe in spec.recipes},
        "packages": packages,
        "python-packages": python_packages(plan, entries),
        "sources": sources(plan, entries),
        "contents": _contents(steps, image, entries),
        "notes": notes(steps, entries),
        "findings": [
            {
                "name": each.name,
                "text": each.text,
                "accepted": reason(each, spec.board.accepted_findings),
            }
            for each in _findings(steps, entries)
        ],
        "steps": [
            _step(item, entries.get(item.step), made=item.step in outcome.made)
            | _compiled(outcome.cache_use.get(item.step))
            for item in plan
        ],
    }


def _step(item: Planned, entry: Entry | None, *, made: bool) -> dict[str, Any]:
    """Return the description of a step. A step that was not needed has no entry.

    Times are in seconds since the epoch; they are those of the build that made the entry, which is an
    earlier build if the step was cached.
    """
    description: dict[str, Any] = {
        "name": item.step.name,
        "fingerprint": entry.key if entry else item.key,
        "kept": not made,
    }
    if made:
        description["reason"] = item.reason
    if entry:
        description["seconds"] = round(entry.seconds, 1)
        description["started"] = round(entry.ended - entry.seconds, 1)
        description["ended"] = round(entry.ended, 1)
    return description


def _compiled(use: CacheUse | None) -> dict[str, int]:
    """Return the number of objects that a step compiled, and of those from the compiler cache."""
    return {"objects": use.compilations, "objects-from-cache": use.hits} if use else {}


def _contents(
    steps: BoardSteps, image: Mapping[str, Any], entries: Mapping[Step, Entry]
) -> dict[str, dict[str, int]]:
    """Return the sizes in bytes of a card's partitions, boot files and layers.

    The size of a layer is that of its uncompressed archive. Layers and boot files are left out if
    the store does not have them: an image can be cached longer than its parents.
    """
    layers = [*steps.layers, steps.boot.kernel_layer, *steps.boot.more_layers]
    return {
        "partitions": {
            "boot": steps.spec.board.partitions.boot,
            "root": image["root-size"],
        },
        "boot files": _boot_files(entries.get(steps.boot.boot_files)),
        "layers": {
            step.name: entries[step].known("unpacked-size", _unpacked_size)
            for step in layers
            if step in entries
        },
    }


def _boot_files(made: Entry | None) -> dict[str, int]:
    """Return the sizes in bytes of the files on the boot partition."""
    if made is None:
        return {}
    partition = made.files / "fat"
    return {
        path.relative_to(partition).as_posix(): path.stat().st_size
        for path in sorted(partition.rglob("*"))
        if path.is_file()
    }


def _unpacked_size(files: Path) -> int:
    """Return the size in bytes of a layer's archive, uncompressed."""
    count = 0
    with subprocess.Popen(
        ["zstd", "-q", "-dc", files / LAYER], stdout=subprocess.PIPE
    ) as unpacking:
        assert unpacking.stdout
        while chunk := unpacking.stdout.read(_CHUNK):
            count += len(chunk)
    if unpacking.returncode:
        raise subprocess.CalledProcessError(unpacking.returncode, unpacking.args)
    return count


def notes(steps: BoardSteps, entries: Mapping[Step, Entry]) -> list[str]:
    """Return the notes for the user of a card.

    They come from the BSP provider, from the steps of the boot files, from recipes whose scripts use
    the network, and from the findings of the checks.
    """
    boot_files = entries.get(steps.boot.boot_files)
    file = boot_files.files / NOTES if boot_files else None
    return [
        *steps.boot.notes,
        *(json.loads(file.read_text()) if file and file.exists() else ()),
        *(
            f"{steps.spec.name}: the scripts of recipe {recipe.name} used the network "
            "(legacy.network): their downloads were not verified, and the image cannot be reproduced"
            for recipe in steps.spec.recipes
            if fetches(recipe.model)
        ),
        *dict.fromkeys(_step_notes(steps.boot.boot_files, entries)),
        *_finding_notes(steps, entries),
    ]


def _finding_notes(steps: BoardSteps, entries: Mapping[Step, Entry]) -> Iterator[str]:
    """Yield notes on the findings of the checks that have run."""
    spec, found = steps.spec, _findings(steps, entries)
    accepted = spec.board.accepted_findings
    for line in describe_findings(found, accepted):
        yield f"{spec.name}: {line}"
    if not all(step in entries for step in steps.checks):
        return
    # If the provider has no checks, accepted findings of these are not unused.
    not_made = () if steps.boot.checks else (linux.CHECK, schema.CHECK)
    for index, problem in unused(found, accepted, not_made=not_made):
        # The document knows the file of the entry, which can be that of an extended board.
        yield f"{spec.name}: {spec.document.problem(('accepted-findings', index), problem)}"


def _findings(steps: BoardSteps, entries: Mapping[Step, Entry]) -> list[Finding]:
    """Return the findings of the checks that have run."""
    results = [entries[step] for step in steps.checks if step in entries]
    return [finding for entry in results for finding in read_findings(entry.files / FINDINGS)]


def python_packages(plan: Sequence[Planned], entries: Mapping[Step, Entry]) -> list[dict[str, str]]:
    """Return the wheels that the steps of a plan fetched."""
    found: list[dict[str, str]] = []
    for item in plan:
        entry = entries.get(item.step)
        if isinstance(item.step, Wheels) and entry:
            for path in sorted(entry.files.glob("*.whl")):
                name, version = path.name.split("-")[:2]
                found.append({"package": name, "version": version, "file": path.name})
    return found


def _step_notes(step: Step, entries: Mapping[Step, Entry]) -> Iterator[str]:
    """Yield the notes of a step and its ancestors, as far as their outputs are in the store."""
    entry = entries.get(step)
    if entry:
        yield from step.notes(entry.files)
    for parent in step.parents.values():
        yield from _step_notes(parent, entries)


def sources(
    plan: Sequence[Planned], entries: Mapping[Step, Entry] | None = None
) -> list[dict[str, Any]]:
    """Return the external sources of a plan's steps with versions and checksums."""
    found = []
    for item in plan:
        entry = (entries or {}).get(item.step)
        source = item.step.provenance(entry.files if entry else None)
        if source:
            found.append(dict(source))
    return found
