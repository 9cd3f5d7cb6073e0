# SPDX-License-Identifier: MIT
"""Comparison of two builds by their manifests alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

Manifest: TypeAlias = Mapping[str, Any]
"""The content of a `manifest.json`, of this release of the builder or an older one."""


def is_manifest(value: object) -> TypeGuard[Manifest]:
    """Return whether JSON data is a manifest: it names the image's checksum, and its board if known."""
    return (
        isinstance(value, dict)
        and "board" in value
        and isinstance(value.get("image"), dict)
        and isinstance(value["image"].get("sha256"), str)
    )


Value: TypeAlias = str | int
"""A version, a parameter as JSON, a checksum; or a number of bytes."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that differs; what was not there before, or is not there any more, is None."""

    name: str
    before: Value | None
    after: Value | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Differences between two builds, each sequence in the order of names.

    image: checksum, and sizes in bytes.
    settings: distribution, and keys of `board.yaml` (`partitions.boot`) and parameters of recipes
        (`recipes.jupyter.port`) as JSON. Of secrets nothing is known.
    packages, python_packages: versions.
    sources: versions, or checksums of what has no version.
    contents: bytes on the card by what they are for, where both manifests tell.
    steps: fingerprints. A step of another fingerprint was built with other inputs.
    """

    image: Sequence[Change]
    settings: Sequence[Change]
    packages: Sequence[Change]
    python_packages: Sequence[Change]
    sources: Sequence[Change]
    contents: Sequence[Change]
    steps: Sequence[Change]

    @property
    def same_image(self) -> bool:
        """Whether the two images are the same, bit for bit."""
        return not any(change.name == "sha256" for change in self.image)


def compare(before: Manifest, after: Manifest) -> Comparison:
    """Return what differs between two builds, of one board or of two."""
    return Comparison(
        image=_changes(
            _numbers_and_texts(before.get("image")), _numbers_and_texts(after.get("image"))
        ),
        settings=_changes(_settings(before), _settings(after)),
        packages=_changes(_packages(before), _packages(after)),
        python_packages=_changes(_python_packages(before), _python_packages(after)),
        sources=_changes(_sources(before), _sources(after)),
        contents=_contents(before, after),
        steps=_changes(_steps(before), _steps(after)),
    )


def _changes(before: Mapping[str, Value], after: Mapping[str, Value]) -> list[Change]:
    return [
        Change(name=name, before=before.get(name), after=after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _numbers_and_texts(values: Mapping[str, Any] | None) -> dict[str, Value]:
    return {name: value for name, value in (values or {}).items() if isinstance(value, (str, int))}


def _settings(manifest: Manifest) -> dict[str, Value]:
    distribution = _numbers_and_texts(manifest.get("distribution"))
    releases = (manifest.get("distribution") or {}).get("release-files") or {}
    return {
        **{f"distribution.{name}": value for name, value in distribution.items()},
        **{f"distribution.{name}": value for name, value in releases.items()},
        **dict(_flat(manifest.get("spec") or {}, "")),
        **dict(_flat(manifest.get("recipes") or {}, "recipes.")),
    }


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested mappings, each as JSON under its dotted name."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value, sort_keys=True)


def _packages(manifest: Manifest) -> dict[str, Value]:
    return {each["package"]: each["version"] for each in manifest.get("packages") or ()}


def _python_packages(manifest: Manifest) -> dict[str, Value]:
    # File names of wheels and of source distributions spell a name in several ways (PEP 503).
    return {
        re.sub(r"[-_.]+", "-", each["package"]).lower(): each["version"]
        for each in manifest.get("python-packages") or ()
    }


def _sources(manifest: Manifest) -> dict[str, Value]:
    return dict(_named_sources(manifest.get("sources") or ()))


def _named_sources(sources: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Value]]:
    for source in sources:
        if "package" in source:
            yield source["package"], source["version"]
        elif "petalinux" in source:
            yield "PetaLinux", source["petalinux"]
        else:
            # What has no version is named by where it comes from.
            kinds = ("url", "sdist", "boot-files", "petalinux-bsp")
            name = next((source[kind] for kind in kinds if kind in source), None)
            if name:
                yield str(name), str(source.get("sha256", ""))


def _contents(before: Manifest, after: Manifest) -> list[Change]:
    if "contents" not in before or "contents" not in after:
        return []
    return _changes(_sizes(before), _sizes(after))


def _sizes(manifest: Manifest) -> dict[str, Value]:
    return {
        f"{kind}: {name}": count
        for kind, parts in manifest["contents"].items()
        for name, count in parts.items()
    }


def _steps(manifest: Manifest) -> dict[str, Value]:
    return {step["name"]: step["fingerprint"] for step in manifest.get("steps") or ()}
