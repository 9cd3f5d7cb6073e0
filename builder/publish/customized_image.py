# SPDX-License-Identifier: MIT
"""Publication of a customized image with its checksum, block map and manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.image.base_image import BaseFacts
from builder.image.custom_image import IMAGE
from builder.plan.customization import CustomSteps, Request
from builder.plan.plan import Planned
from builder.publish.comparison import Manifest
from builder.publish.manifest import python_packages, sources
from builder.publish.output import Output, copy_files
from builder.steps.step import Step
from builder.store.checksum import sha256
from builder.store.store import Entry


@dataclass(frozen=True, kw_only=True)
class CustomOutput(Output):
    """The output of a customization: the image at `path`, and reports and logs in `directory`."""

    path: Path = field(kw_only=True)

    @property
    def image(self) -> Path:
        """The card image."""
        return self.path

    @property
    def manifest(self) -> Path:
        """The list of the image's content, as JSON."""
        return Path(f"{self.path}.json")


def base_manifest(path: Path, facts: BaseFacts) -> Manifest | None:
    """Return the manifest beside an image, if there is one that names the image's checksum."""
    plain = re.sub(r"\.(xz|zst|gz|bz2|zip)$", "", path.name)
    for file in (path.with_name(f"{plain}.json"), path.with_name("manifest.json")):
        try:
            found: Manifest = json.loads(file.read_text())
            if found["image"]["sha256"] == facts.sha256:
                return found
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue
    return None


def publish_custom(
    output: CustomOutput,
    steps: CustomSteps,
    request: Request,
    *,
    plan: Sequence[Planned],
    entries: Mapping[Step, Entry],
    before: Manifest | None,
) -> None:
    """Copy the image to its path, and write its checksum, block map and manifest beside it."""
    made = entries[steps.image].files
    facts = json.loads((made / "image.json").read_text())
    block_map, checksum = (Path(f"{output.image}.{suffix}") for suffix in ("bmap", "sha256"))
    image = {"file": output.image.name, **facts}
    manifest = _manifest(
        {"board": output.board, "image": image},
        steps,
        request,
        plan=plan,
        entries=entries,
        before=before or {},
    )
    copy_files(
        {made / IMAGE: output.image, made / f"{IMAGE}.bmap": block_map},
        {
            checksum: f"{facts['sha256']}  {output.image.name}\n",
            output.manifest: json.dumps(manifest, indent=1) + "\n",
        },
    )


def _manifest(
    image: Mapping[str, Any],
    steps: CustomSteps,
    request: Request,
    *,
    plan: Sequence[Planned],
    entries: Mapping[Step, Entry],
    before: Manifest,
) -> dict[str, Any]:
    """Return the manifest of the new image: that of the existing image (`before`) with the changes.

    `image` has the keys that identify the new image.
    """
    recipes = {recipe.name: recipe.public_parameters() for recipe in request.recipes.applied}
    packages = before.get("packages")
    if steps.packages:
        packages = json.loads((entries[steps.packages].files / "packages.json").read_text())
    base = {
        "file": steps.base.path.name,
        "sha256": steps.facts.sha256,
        "base": before.get("base"),
    }
    old_sources = before.get("sources") or ()
    wheels = (*(before.get("python-packages") or ()), *python_packages(plan, entries))
    # Python imports the newer one of two packages of the same name.
    newest = {each["package"]: each for each in wheels}
    return {
        # The sizes of the existing image's content do not apply to the new image.
        **{key: value for key, value in before.items() if key != "contents"},
        **image,
        "base": {key: value for key, value in base.items() if value},
        "distribution": {
            **before.get("distribution", {}),
            "name": steps.distribution.name,
            "architecture": steps.facts.architecture.value,
        },
        "recipes": {**before.get("recipes", {}), **recipes},
        "packages": packages
        or [{"package": name, "version": v} for name, v in steps.facts.packages.items()],
        "python-packages": [*newest.values()],
        "sources": [
            *old_sources,
            *(each for each in sources(plan, entries) if each not in old_sources),
        ],
        "applied": _applied(steps, request),
        "steps": [
            *before.get("steps", ()),
            *(_step(item, entries.get(item.step)) for item in plan),
        ],
    }


def _applied(steps: CustomSteps, request: Request) -> dict[str, Any]:
    """Return the changes to the existing image, with the checksums of the files."""
    return {
        "recipes": [recipe.name for recipe in request.recipes.applied],
        "packages": steps.packages.wanted if steps.packages else [],
        "overlays": {
            design.name: {str(file): sha256(design.directory / file) for file in design.files}
            for design in request.designs
        },
        "boot-files": {path.name: sha256(path) for path in request.boot_files},
    }


def _step(item: Planned, entry: Entry | None) -> dict[str, Any]:
    return {
        "name": item.step.name,
        "fingerprint": entry.key if entry else item.key,
        "seconds": round(entry.seconds, 1) if entry else None,
    }
