# SPDX-License-Identifier: MIT
"""The browser of checks: what is asked for is waited for; without one, it is said what brings it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.machine import browser as chromium
from builder.machine.browser import Browser, lacking, started

ROOT = Path(__file__).resolve().parents[2]

PAGE = """
<title>A page</title>
<p id="late" hidden>here</p>
<form onsubmit="said.textContent = field.value; return false"><input id="field"></form>
<p id="said"></p>
<button onclick="this.textContent = 'clicked'">one</button>
<button onclick="this.textContent = 'clicked'">two</button>
<script>setTimeout(() => { late.hidden = false }, 300)</script>
"""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser that shows the page."""
    if problem := lacking():
        pytest.skip(problem)
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    with started() as running:
        running.open(page.as_uri())
        running.see("#field")
        yield running


def test_a_page_is_used_as_a_person_would(browser: Browser, tmp_path: Path) -> None:
    assert browser.see("#late", "here").text == "here"
    browser.enter("#field", "words")
    browser.see("#said", "words")
    browser.click("button", "two")
    assert browser.ask("return [...document.querySelectorAll('button')].map(b => b.innerText)") == [
        "one",
        "clicked",
    ]
    browser.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    browser.longest = 0.5
    with pytest.raises(TimeoutError, match=r"0\.5 s in vain for: #said other"):
        browser.see("#said", "other")


def test_what_comes_over_the_page_is_clicked_away(browser: Browser) -> None:
    browser.ask("""
        const over = document.body.appendChild(document.createElement("div"))
        over.style = "position: fixed; inset: 0"
        over.innerHTML = "<button class='ok' hidden></button><button class='ok'>OK</button>"
        over.onclick = event => { if (event.target.className == "ok") over.remove() }
    """)
    browser.longest = 1
    with pytest.raises(TimeoutError, match="a click on button one"):
        browser.click("button", "one")
    browser.longest = 60
    browser.dismiss(".ok")
    browser.click("button", "one")
    browser.see("button", "clicked")


@pytest.mark.parametrize(
    ("programs", "says"),
    [
        ([], "there is no Chromium on this machine: apt-get install chromium-driver"),
        (["chromium"], "there is no chromedriver on this machine: apt-get install chromium-driver"),
        (["chromedriver"], "there is no Chromium on this machine"),
        (["chromium", "chromedriver"], None),
        (["google-chrome", "chromedriver"], None),
    ],
)
def test_it_is_said_what_brings_a_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: list[str], says: str | None
) -> None:
    for name in programs:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = lacking()
    assert found is None if says is None else found and found.startswith(says)


def test_a_check_without_a_browser_is_skipped_and_says_so(tmp_path: Path) -> None:
    check = tmp_path / "test_it.py"
    check.write_text("def test_it(browser): pass\n")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", "/dev/null", "-p", "no:cacheprovider"),
            *("-p", chromium.__name__, "-q", "-rs", "-W", "error", str(check)),
        ],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 skipped" in done.stdout
    assert "apt-get install chromium-driver" in done.stdout
