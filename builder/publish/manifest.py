# SPDX-License-Identifier: MIT
"""The manifest: what is in an image, what it was made of, and when."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.bsp.petalinux.base import noted
from builder.bsp.petalinux.project import PetaLinuxProject
from builder.bsp.petalinux.tool import PetaLinuxTool
from builder.bsp.prebuilt.prebuilt import Prebuilt
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
from builder.containers.redaction import without_passwords
from builder.plan.board_steps import BoardSteps
from builder.plan.plan import Planned
from builder.rootfs.python_index import IndexSource
from builder.rootfs.wheels import Wheels
from builder.sandbox.compiler_cache import CacheUse
from builder.scheduler.scheduler import Outcome
from builder.spec.legacy import fetches
from builder.steps.layer_archive import LAYER
from builder.steps.sources import PackageSource, UrlSource
from builder.steps.step import Step
from builder.store.store import Entry

_CHUNK = 1 << 20


def manifest(steps: BoardSteps, plan: Sequence[Planned], outcome: Outcome) -> dict[str, Any]:
    """Return what is known of a board's image that was just made, as JSON holds it."""
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
        # Without the parameters, some of which are secret: they are in `recipes`.
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
    """Return what is known of a step; of one that was not needed there is no entry.

    Times are in seconds since 1970, of the build that made the entry: this one, if it was not kept.
    """
    fingerprint = entry.key if entry else item.key
    described: dict[str, Any] = {
        "name": item.step.name,
        "fingerprint": fingerprint,
        "kept": not made,
    }
    if made:
        described["reason"] = item.reason
    if entry:
        described["seconds"] = round(entry.seconds, 1)
        described["started"] = round(entry.ended - entry.seconds, 1)
        described["ended"] = round(entry.ended, 1)
    return described


def _compiled(use: CacheUse | None) -> dict[str, int]:
    """Return how many objects a step compiled, and how many of them the compiler cache had."""
    return {"objects": use.compilations, "objects-from-cache": use.hits} if use else {}


def _contents(
    steps: BoardSteps, image: Mapping[str, Any], entries: Mapping[Step, Entry]
) -> dict[str, dict[str, int]]:
    """Return where the bytes of a card go: its partitions, boot files, layers of the root.

    A layer counts as the archive that it is, unpacked. Nothing is known of the files of a step that
    has gone from the store, as those may on which only what is kept stands.
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
    """Return the sizes of the files on the boot partition."""
    if made is None:
        return {}
    card = made.files / "fat"
    return {
        path.relative_to(card).as_posix(): path.stat().st_size
        for path in sorted(card.rglob("*"))
        if path.is_file()
    }


def _unpacked_size(files: Path) -> int:
    """Return the bytes of a layer's archive, which zstd packed."""
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
    """Return what the user is to know of a card.

    The provider says it: at once, and with the boot files if it has them. Findings of the checks and
    recipes that fetch what nobody checks are named too.
    """
    made = entries.get(steps.boot.boot_files)
    late = made.files / NOTES if made else None
    fetching = [recipe.name for recipe in steps.spec.recipes if fetches(recipe.model)]
    return [
        *steps.boot.notes,
        *(json.loads(late.read_text()) if late and late.exists() else ()),
        *(
            f"{steps.spec.name}: scripts of recipe {name} had the network (legacy.network): what "
            "they fetched was not checked, and this image cannot be made again as it is"
            for name in fetching
        ),
        *dict.fromkeys(_other_bases(steps.boot.boot_files, entries)),
        *_told(steps, entries),
    ]


def _told(steps: BoardSteps, entries: Mapping[Step, Entry]) -> Iterator[str]:
    """Yield what is to be told of the findings of those checks that were made."""
    spec, found = steps.spec, _findings(steps, entries)
    accepted = spec.board.accepted_findings
    for line in describe_findings(found, accepted):
        yield f"{spec.name}: {line}"
    if not all(step in entries for step in steps.checks):
        return
    # Without checks of the provider's nobody looked for what these find.
    not_made = () if steps.boot.checks else (linux.CHECK, schema.CHECK)
    for index, what in unused(found, accepted, not_made=not_made):
        # The entry may be in the file of a board that this one extends.
        yield f"{spec.name}: {spec.document.problem(('accepted-findings', index), what)}"


def _findings(steps: BoardSteps, entries: Mapping[Step, Entry]) -> list[Finding]:
    """Return what the checks found that were made."""
    made = [entries[step] for step in steps.checks if step in entries]
    return [each for entry in made for each in read_findings(entry.files / FINDINGS)]


def python_packages(plan: Sequence[Planned], entries: Mapping[Step, Entry]) -> list[dict[str, str]]:
    """Return the wheels that a plan's steps fetched."""
    found: list[dict[str, str]] = []
    for item in plan:
        entry = entries.get(item.step)
        if isinstance(item.step, Wheels) and entry:
            for path in sorted(entry.files.glob("*.whl")):
                name, version = path.name.split("-")[:2]
                found.append({"package": name, "version": version, "file": path.name})
    return found


def _other_bases(step: Step, entries: Mapping[Step, Entry]) -> Iterator[str]:
    """Say where PetaLinux runs that a step needs, if it is not the distribution best for it."""
    entry = entries.get(step)
    if isinstance(step, PetaLinuxTool) and entry:
        chosen = noted(entry.files)
        if chosen and chosen.why:
            yield chosen.message(step.release.version)
    for parent in step.parents.values():
        yield from _other_bases(parent, entries)


def sources(
    plan: Sequence[Planned], entries: Mapping[Step, Entry] | None = None
) -> list[dict[str, Any]]:
    """Return what a plan's steps take from outside, with versions and checksums.

    Of PetaLinux, the distribution and the image that it runs in, where `entries` tell.
    """
    found: list[dict[str, Any]] = []
    for item in plan:
        step = item.step
        if isinstance(step, PackageSource):
            files = {file.name: file.sha256 for file in step.package.files}
            found.append(
                {"package": step.package.name, "version": step.package.version, "sha256": files}
            )
        elif isinstance(step, UrlSource):
            url = without_passwords(step.download.url)
            found.append({"url": url, "sha256": step.download.sha256})
        elif isinstance(step, IndexSource):
            found.append({"sdist": step.file, "sha256": step.checksum})
        elif isinstance(step, Prebuilt) and step.content:
            found.append({"boot-files": Path(str(step.supplied)).name, "sha256": step.content})
        elif isinstance(step, PetaLinuxTool):
            given = {"petalinux": step.release.version, "sha256": step.installer.sha256}
            made = (entries or {}).get(step)
            chosen = noted(made.files) if made else None
            if chosen:
                given |= {"base": chosen.distribution, "image": chosen.image}
            found.append(given)
        elif isinstance(step, PetaLinuxProject) and step.bsp_sha256:
            found.append({"petalinux-bsp": step.bsp_name, "sha256": step.bsp_sha256})
    return found
