# SPDX-License-Identifier: MIT
"""The report page of a board: one HTML file without external resources.

It is rendered from manifests, test reports, the log of the console and a screenshot. Parts that need
data which earlier releases of the builder did not write are left out.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from builder.publish.comparison import Change, Comparison, Manifest, Value, compare
from builder.report.console import duration, size
from builder.spec.recipe import SECRET

_TEMPLATE = "report_page.html.j2"
_MOST_PACKAGES = 25
"""Number of packages in the chart; the table lists all."""
_TICKS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
"""Intervals in seconds between the lines of a timeline; the smallest one that fits is used."""
_MOST_TICKS = 8
_LEAST_HIDDEN = 4
"""Minimum length of secrets that are redacted: shorter texts occur in too many words."""

_NOTHING: Manifest = {
    "contents": {},
    "notes": [],
    "packages": [],
    "python-packages": [],
    "sources": [],
    "spec": {},
    "steps": [],
}
"""Default values of optional keys of manifests."""

_KINDS: Mapping[str, Sequence[str]] = {
    "image": ("image",),
    "root": ("bootstrap", "native-programs", "recipe:", "wheels:", "download:", "checks"),
}
"""The colour group of a step by the prefix of its name; all other steps make boot files."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The content of a report page.

    manifest: The manifest of the image.
    previous: The manifest of the previous image, if there is one.
    test: The report of the last test.
    selftest: The report of the board's self-test in the last test.
    emulation: The differences between the emulated board and the board.
    console: The output of the serial console in the last test.
    screenshot: The screenshot of a browser in the last test, as PNG.
    secrets: Texts to redact in the test reports and the console output.
    """

    manifest: Manifest
    previous: Manifest | None = None
    test: Mapping[str, Any] | None = None
    selftest: Mapping[str, Any] | None = None
    emulation: Sequence[str] = ()
    console: str = ""
    screenshot: bytes | None = None
    secrets: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar of a chart; `start` and `length` are percentages of the chart's width."""

    name: str
    value: str
    start: float
    length: float
    kind: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The steps of a build in the order of time.

    took: The duration of the build.
    bars: The steps that the build made, in the order of their start.
    ticks: Lines at round times.
    kept: The names of cached steps and the duration of the build that made them.
    """

    took: str
    bars: Sequence[Bar]
    ticks: Sequence[Bar]
    kept: Sequence[tuple[str, str]]


def render(report: Report) -> str:
    """Return the report page as HTML."""
    manifest = {
        **_NOTHING,
        **{key: value for key, value in report.manifest.items() if value is not None},
    }
    contents: Mapping[str, Mapping[str, int]] = manifest["contents"]
    comparison = compare(report.previous, manifest) if report.previous else None
    hidden = [text for text in report.secrets if len(text) >= _LEAST_HIDDEN]
    test = _without({"skipped": 0, **report.test}, hidden) if report.test else None
    return _template().render(
        manifest=manifest,
        made=_date(max((step.get("ended", 0) for step in manifest["steps"]), default=0)),
        as_of=_date(manifest["distribution"].get("as-of") or 0),
        left_out=manifest["distribution"].get("left-out") or {},
        outdated=manifest["distribution"].get("outdated") or {},
        profile=manifest["spec"].get("profile"),
        timeline=timeline(manifest["steps"]),
        card=_card(contents),
        layers=_bars(contents.get("layers", {}).items()),
        boot_files=_bars(contents.get("boot files", {}).items()),
        largest=_largest(manifest["packages"]),
        comparison=comparison,
        sections=_sections(comparison) if comparison else (),
        test=test,
        not_run=not_run(test) if test else "",
        of_this_image=test is not None and test.get("image") == manifest["image"]["sha256"],
        stages=_stages(test["boot"]) if test else (),
        groups=_groups(test["checks"]) if test else (),
        selftest=_without(report.selftest, hidden),
        emulation=report.emulation,
        console=_without(report.console, hidden),
        screenshot=base64.b64encode(report.screenshot).decode() if report.screenshot else None,
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": size, "duration": duration, "value": _shown}
    return environment.get_template(_TEMPLATE)


def not_run(test: Mapping[str, Any]) -> str:
    """Return the number of checks that options of a test excluded, with these options, as text.

    The text is empty if no check was excluded. Reports of earlier releases do not have the number;
    the text then says "others".
    """
    expression, count = test.get("expression"), test.get("deselected")
    chosen = [f"-k {shlex.quote(expression)}"] if expression else []
    options = " ".join([*chosen, *(["--quick"] if test.get("quick") else [])])
    if count is None:
        return f"others not run ({options})" if options else ""
    return f"{count} not run ({options})" if count else ""


def timeline(steps: Iterable[Mapping[str, Any]]) -> Timeline | None:
    """Return the timeline of a manifest's steps; None if the manifest does not have their times."""
    timed = [step for step in steps if "started" in step]
    if not timed:
        return None
    made = sorted((step for step in timed if not step["kept"]), key=lambda step: step["started"])
    kept = [(step["name"], duration(step["seconds"])) for step in timed if step["kept"]]
    if not made:
        return Timeline(took="", bars=(), ticks=(), kept=kept)
    first = made[0]["started"]
    whole = max(step["ended"] for step in made) - first or 1
    every = next((tick for tick in _TICKS if whole / tick <= _MOST_TICKS), _TICKS[-1])
    return Timeline(
        took=duration(whole),
        bars=[
            Bar(
                name=step["name"],
                value=duration(step["seconds"]),
                start=_percent(step["started"] - first, whole),
                length=_percent(step["ended"] - step["started"], whole),
                kind=_kind(step["name"]),
                note=_note(step),
            )
            for step in made
        ],
        ticks=[
            Bar(name="", value=_clock(at), start=_percent(at, whole), length=0)
            for at in range(0, int(whole) + 1, every)
        ],
        kept=kept,
    )


def _note(step: Mapping[str, Any]) -> str:
    """Return the reason why a step was built, and its use of the compiler cache."""
    notes = [step.get("reason")]
    if step.get("objects"):
        notes.append(f"{step['objects-from-cache']} of {step['objects']} objects from the cache")
    return "; ".join(note for note in notes if note)


def _kind(step: str) -> str:
    return next((kind for kind, names in _KINDS.items() if step.startswith(tuple(names))), "boot")


def _clock(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02}"


def _bars(values: Iterable[tuple[str, int]], *, most: int | None = None) -> list[Bar]:
    """Return bars for sizes in bytes, the largest first and as long as the chart is wide."""
    ordered = sorted(values, key=lambda item: -item[1])
    largest = ordered[0][1] if ordered else 1
    return [
        Bar(name=name, value=size(count), start=0, length=_percent(count, largest or 1))
        for name, count in ordered[:most]
    ]


def _largest(packages: Sequence[Mapping[str, Any]]) -> list[Bar]:
    sizes = [(each["package"], each["size"]) for each in packages if "size" in each]
    return _bars(sizes, most=_MOST_PACKAGES)


def _card(contents: Mapping[str, Mapping[str, int]]) -> list[Bar]:
    """Return the parts of a card's content as adjacent bars."""
    if "partitions" not in contents:
        return []
    layers = contents["layers"]
    root = contents["partitions"]["root"]
    recipes = sum(count for name, count in layers.items() if name.startswith("recipe:"))
    apt = layers.get("bootstrap", 0)
    kernel = sum(layers.values()) - recipes - apt
    parts = {
        "boot": ("boot partition", contents["partitions"]["boot"]),
        "root": ("packages of the distribution", apt),
        "recipes": ("recipes, Python packages", recipes),
        "kernel": ("kernel modules, headers", kernel),
        "free": ("free space and filesystem metadata", max(0, root - apt - recipes - kernel)),
    }
    whole = sum(count for _, count in parts.values()) or 1
    bars: list[Bar] = []
    for kind, (name, count) in parts.items():
        start = bars[-1].start + bars[-1].length if bars else 0.0
        length = _percent(count, whole)
        bars.append(Bar(name=name, value=size(count), start=start, length=length, kind=kind))
    return bars


def _stages(stages: Mapping[str, float]) -> list[Bar]:
    """Return the stages of a boot: each lasts until the next one begins."""
    ends = [*stages.values()][1:]
    whole = max(stages.values(), default=0) or 1
    before = Bar(
        name="start of QEMU",
        value="",
        start=0,
        length=_percent(next(iter(stages.values()), 0), whole),
    )
    return [before] * bool(stages) + [
        Bar(
            name=name,
            value=f"{begin:.1f} s",
            start=_percent(begin, whole),
            length=_percent(end - begin, whole),
        )
        for (name, begin), end in zip(stages.items(), [*ends, whole], strict=False)
    ]


def _groups(results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the checks grouped by file, files with failures first."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for check in results:
        found.setdefault(check["check"].partition("::")[0], []).append(check)
    groups = [
        {
            "file": file,
            "checks": checks,
            "passed": sum(check["outcome"] == "passed" for check in checks),
            "failed": sum(check["outcome"] == "failed" for check in checks),
        }
        for file, checks in found.items()
    ]
    return sorted(groups, key=lambda group: not group["failed"])


def _sections(comparison: Comparison) -> list[tuple[str, Sequence[Change]]]:
    """Return the differences by title, without empty ones."""
    titles = {
        "Packages": comparison.packages,
        "Python packages": comparison.python_packages,
        "Sources": comparison.sources,
        "Settings": comparison.settings,
        "Bytes": comparison.contents,
        "Image": comparison.image,
    }
    return [(title, changes) for title, changes in titles.items() if changes]


def _shown(value: Value | None) -> str:
    """Return the text for a value of a comparison; numbers are bytes."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else f"{value:,} B".replace(",", " ")


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 2)


def _date(seconds: float) -> str:
    if not seconds:
        return ""
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _without(value: Any, hidden: Sequence[str]) -> Any:
    """Return JSON data in which the texts `hidden` are redacted."""
    if isinstance(value, str):
        for text in hidden:
            value = value.replace(text, SECRET)
        return value
    if isinstance(value, Mapping):
        return {key: _without(each, hidden) for key, each in value.items()}
    if isinstance(value, list):
        return [_without(each, hidden) for each in value]
    return value
