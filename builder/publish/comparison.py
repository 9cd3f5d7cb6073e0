# SPDX-License-Identifier: MIT
"""Comparison of two builds by their manifests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeGuard

Manifest: TypeAlias = Mapping[str, Any]
"""The content of a `manifest.json` of this release of the builder or an earlier one."""


def is_manifest(value: object) -> TypeGuard[Manifest]:
    """Return whether JSON data is a manifest: it has the image's checksum and the key `board`."""
    return (
        isinstance(value, dict)
        and "board" in value
        and isinstance(value.get("image"), dict)
        and isinstance(value["image"].get("sha256"), str)
    )


Value: TypeAlias = str | int
"""A text (version, checksum, parameter as JSON) or a number of bytes."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A difference; `before` or `after` is None if that build does not have the item."""

    name: str
    before: Value | None
    after: Value | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Differences between two builds, each sequence sorted by names.

    image: Checksum; sizes in bytes.
    settings: Distribution; keys of `board.yaml` (`partitions.boot`) and parameters of recipes
        (`recipes.jupyter.port`) as JSON. Secrets are not compared.
    packages, python_packages: Versions.
    sources: Versions; checksums of sources without a version.
    contents: Sizes in bytes of the parts of the card, if both manifests have them.
    steps: Keys. Steps with different keys have different inputs.
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
        """Whether the two images are identical."""
        return not any(change.name == "sha256" for change in self.image)


def compare(before: Manifest, after: Manifest) -> Comparison:
    """Return the differences between two builds of the same board or of different boards."""
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
    """Yield the leaves of nested mappings: the dotted name and the value as JSON."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value, sort_keys=True)


def _packages(manifest: Manifest) -> dict[str, Value]:
    return {each["package"]: each["version"] for each in manifest.get("packages") or ()}


def _python_packages(manifest: Manifest) -> dict[str, Value]:
    # Wheels and source distributions spell the same name differently: normalize it (PEP 503).
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
            # A source without a version is named by its origin.
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
