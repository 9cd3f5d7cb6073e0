# SPDX-License-Identifier: MIT
"""The report page: its content, and that it neither loads resources nor contains markup of its data."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from builder.publish.report_page import Report, render, timeline

STEPS: list[dict[str, Any]] = [
    {"name": "linux-source", "fingerprint": "0", "kept": True, "seconds": 4.0}
    | {"started": 1.0, "ended": 5.0},
    {"name": "kernel", "fingerprint": "1", "kept": False, "reason": "never built"}
    | {"seconds": 100.0, "started": 1000.0, "ended": 1100.0},
    {"name": "recipe:jupyter", "fingerprint": "2", "kept": False, "reason": "port: 1 -> 2"}
    | {"seconds": 25.0, "started": 1050.0, "ended": 1075.0},
    {"name": "image", "fingerprint": "3", "kept": False, "reason": "kernel is built"}
    | {"seconds": 100.0, "started": 1100.0, "ended": 1200.0},
    {"name": "u-boot-source", "fingerprint": "4", "kept": True},
]
MANIFEST: dict[str, Any] = {
    "board": "X",
    "image": {"file": "X.img", "sha256": "aa11", "size": 300 << 20, "root-size": 200 << 20},
    "distribution": {
        "name": "debian-bookworm",
        "architecture": "armhf",
        "release-files": {"bookworm": "11"},
        "left-out": {"bookworm-security": "the mirror does not answer"},
        "as-of": 86400,
    },
    "spec": {"board": "X", "profile": "pynq"},
    "recipes": {"jupyter": {"port": 9090, "password": "(secret)"}, "base": {}},
    "packages": [
        {"package": "bash", "architecture": "armhf", "version": "5.2", "size": 7 << 20},
        {"package": "libc6", "architecture": "armhf", "version": "2.36", "size": 14 << 20},
    ],
    "python-packages": [{"package": "jupyterlab", "version": "4.6", "file": "x.whl"}],
    "sources": [
        {"package": "u-boot", "version": "2023.01", "sha256": {"u.dsc": "00"}},
        {"url": "mirror/x.tar.gz", "sha256": "22"},
    ],
    "contents": {
        "partitions": {"boot": 100 << 20, "root": 200 << 20},
        "boot files": {"image.ub": 5 << 20, "BOOT.BIN": 1 << 20},
        "layers": {"bootstrap": 100 << 20, "recipe:jupyter": 20 << 20, "kernel": 30 << 20},
    },
    "notes": ["No first stage."],
    "steps": STEPS,
}
TEST: dict[str, Any] = {
    "board": "X",
    "distribution": "debian-bookworm",
    "image": "aa11",
    "boot": {"U-Boot": 2.0, "kernel": 10.0, "ssh": 50.0},
    "passed": 1,
    "skipped": 1,
    "failed": 1,
    "seconds": 90.0,
    "checks": [
        {"check": "recipes/a/test_a.py::t", "label": "Good", "outcome": "passed", "seconds": 1.0},
        {"check": "recipes/b/test_b.py::t", "label": "Bad", "outcome": "failed", "seconds": 1.0}
        | {"why": "assert 1 == 2"},
        {"check": "recipes/b/test_b.py::u", "label": "Absent", "outcome": "skipped"}
        | {"seconds": 0.0, "why": "there is no Chromium"},
    ],
}
PICTURE = b"\x89PNG picture"
WHOLE = Report(
    manifest=MANIFEST,
    previous={**MANIFEST, "packages": [{"package": "bash", "version": "5.1"}]},
    test=TEST,
    selftest={"passed": 1, "failed": 0, "skipped": 1, "checks": TEST["checks"][:1]},
    emulation=["the PHY has another address"],
    console="U-Boot 2023.01\nLinux version 6.1\n",
    screenshot=PICTURE,
)


class Page(HTMLParser):
    """A page's elements, and its text."""

    void = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in ("td", "dt"):
            self.text += " "

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def words(self) -> str:
        return " ".join(self.text.split())


def test_the_page_shows_all_data() -> None:
    text = Page(render(WHOLE)).words()
    for expected in (
        "debian-bookworm, armhf, profile pynq, 300 MiB, built 1970-01-01 00:20 UTC",
        "1 of 3 checks failed",
        "No first stage.",
        "Built without the packages of bookworm-security: the mirror does not answer",
        "packages as of 1970-01-02 00:00 UTC",
        "aa11",
        "1 passed, 1 failed, 1 skipped",
        "1 passed, 0 failed, 1 not run",
        "U-Boot 2.0 s",
        "assert 1 == 2",
        "there is no Chromium",
        "the PHY has another address",
        "3 steps in 3 min 20 s",
        "port: 1 -> 2",
        "libc6 14 MiB",
        "port 9090",
        "password (secret)",
        "jupyterlab 4.6",
        "mirror/x.tar.gz",
        "Linux version 6.1",
    ):
        assert expected in text


def test_the_page_loads_no_resources() -> None:
    page = Page(render(WHOLE))
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/png;base64,"))
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?:", render(WHOLE))
    policies = [each for tag, each in page.elements if "http-equiv" in each and tag == "meta"]
    assert policies[0]["content"] == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    )


def everywhere(value: Any, text: str) -> Any:
    """Put a text into all texts and names of JSON data that are not told apart by the page."""
    fixed = {"passed", "failed", "skipped"}
    if isinstance(value, str):
        return value if value in fixed else value + text
    if isinstance(value, dict):
        named = ("recipes", "packages", "layers", "boot files", "boot")
        return {
            key: {name + text: everywhere(each, text) for name, each in inner.items()}
            if key in named and isinstance(inner, dict) and "name" not in inner
            else everywhere(inner, text)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [everywhere(each, text) for each in value]
    return value


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "\"><img src=x onerror='a'>", "{{ 7 * 7 }}"]
)
def test_markup_in_data_is_escaped(text: str) -> None:
    changed = {
        name: everywhere(copy.deepcopy(value), text)
        for name, value in vars(WHOLE).items()
        if name != "screenshot"
    }
    ours, theirs = Page(render(WHOLE)), Page(render(Report(**changed, screenshot=PICTURE)))
    tags = [tag for tag, _ in ours.elements]
    assert {tag for tag, _ in theirs.elements} <= set(tags)
    assert not [each for _, each in theirs.elements if "onerror" in each or each.get("src") == "x"]
    assert f"bash{text}" in theirs.text
    assert f"kernel{text}" in theirs.text


def test_a_package_named_script_is_a_name() -> None:
    packages = [{"package": "<script>", "version": "1", "size": 1}]
    html = render(Report(manifest={**MANIFEST, "packages": packages}))
    assert "&lt;script&gt;" in html
    assert "<script" not in html


def test_secrets_do_not_appear() -> None:
    test = copy.deepcopy(TEST)
    test["checks"][1]["why"] = "assert 'hunter2&' in page"
    report = replace(WHOLE, test=test, console="login: hunter2&\n", secrets=["hunter2&", "a"])
    html = render(report)
    assert "hunter2" not in html
    assert "assert &#39;(secret)&#39; in page" in html
    # What is as short as this stands in every other word.
    assert "Bad" in Page(html).text


@pytest.mark.parametrize(
    ("change", "seen", "unseen"),
    [
        (lambda r: replace(r, test=None, console="", screenshot=None), "not tested", "Checks"),
        (
            lambda r: replace(r, test={**TEST, "image": "bb"}),
            "run on another image",
            "of 3 checks failed",
        ),
        (lambda r: replace(r, previous=None), "Image", "Differences from"),
        (lambda r: replace(r, test={**TEST, "failed": 0}), "1 check passed", "checks failed"),
        (
            lambda r: replace(r, manifest={**MANIFEST, "steps": [STEPS[0]]}),
            "No step was built",
            "steps in",
        ),
    ],
)
def test_missing_data_is_left_out(
    change: Callable[[Report], Report], seen: str, unseen: str
) -> None:
    text = Page(render(change(WHOLE))).words()
    assert seen in text
    assert unseen not in text


def test_manifests_of_older_releases_have_a_page_too() -> None:
    older = {
        "board": "X",
        "image": {"file": "X.img", "sha256": "aa", "size": 1, "root-size": 1},
        "distribution": {"name": "debian-bookworm", "architecture": "armhf"},
        "recipes": {},
        "packages": [{"package": "bash", "version": "5"}],
        "steps": [{"name": "kernel", "fingerprint": "k", "seconds": 1.0}],
    }
    old_test = {key: value for key, value in TEST.items() if key not in ("image", "skipped")}
    text = Page(render(Report(manifest=older, test=old_test))).words()
    assert "bash 5" in text
    assert "run on another image" in text


def test_a_timeline_shows_parallel_steps() -> None:
    found = timeline(STEPS)
    assert found
    assert [(bar.name, bar.start, bar.length, bar.kind) for bar in found.bars] == [
        ("kernel", 0, 50, "boot"),
        ("recipe:jupyter", 25, 12.5, "root"),
        ("image", 50, 50, "image"),
    ]
    assert [(tick.value, tick.start) for tick in found.ticks] == [
        ("0:00", 0),
        ("0:30", 15),
        ("1:00", 30),
        ("1:30", 45),
        ("2:00", 60),
        ("2:30", 75),
        ("3:00", 90),
    ]
    assert found.kept == [("linux-source", "4.0 s")]


def test_the_note_of_a_step_has_its_compiler_cache_use() -> None:
    step = {**STEPS[0], "kept": False, "started": 1, "reason": "a.cfg changed", "objects": 9}
    found = timeline([{**step, "objects-from-cache": 7}])
    assert found
    assert found.bars[0].note == "a.cfg changed; 7 of 9 objects from the cache"


def test_the_parts_of_the_card_add_up_to_100_percent() -> None:
    html = render(WHOLE)
    stack = html.split('id="bytes"')[1].split("</div>")[0]
    lengths = [float(each) for each in re.findall(r"width:([\d.]+)%", stack)]
    assert len(lengths) == 5
    assert sum(lengths) == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize(
    ("facts", "pill", "said"),
    [
        (
            {"deselected": 135, "expression": "ssh"},
            "partial",
            "1 check passed, 135 not run (-k ssh)",
        ),
        ({"deselected": 9, "quick": True}, "partial", "1 check passed, 9 not run (--quick)"),
        ({"quick": True}, "partial", "1 check passed, others not run (--quick)"),
        ({"deselected": 0, "quick": True}, "passed", "1 check passed"),
        ({}, "passed", "1 check passed"),
    ],
)
def test_a_test_of_some_checks_is_shown_as_partial(
    facts: dict[str, Any], pill: str, said: str
) -> None:
    test = {**TEST, "failed": 0, "checks": TEST["checks"][:1], **facts}
    page = render(replace(WHOLE, test=test))
    assert f'<span class="pill {pill}">{said}</span>' in page
