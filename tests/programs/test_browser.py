# SPDX-License-Identifier: MIT
"""The browser of checks: what is asked for is waited for; without one, it is said what brings it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Remote

from builder.boot_test import browser as chromium
from builder.boot_test.browser import Browser, lacking, started
from builder.errors import HostError

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


@pytest.fixture(scope="module")
def driver() -> Iterator[Remote]:
    """A browser's driver: it takes a second to start."""
    if problem := lacking():
        pytest.skip(problem)
    with started() as running:
        yield running.driver


@pytest.fixture
def browser(driver: Remote, tmp_path: Path) -> Browser:
    """A browser that shows the page."""
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    found = Browser(driver)
    found.open(page.as_uri())
    found.see("#field")
    return found


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
    with pytest.raises(TimeoutError, match=r"not on the page after 0\.5 s: #said other"):
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


DRIVER = f"""#!{sys.executable}
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

class Driver(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps({{"value": {{"sessionId": "1", "capabilities": {{}}}}}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

server = HTTPServer(("127.0.0.1", 0), Driver)
print(f"ChromeDriver was started successfully on port {{server.server_port}}.", flush=True)
server.serve_forever()
"""
USER = """
from builder.boot_test.browser import started
with started():
    print("started", flush=True)
    input()
"""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory for Chromium's sockets: their paths may have 107 bytes, and pytest's are longer."""
    with tempfile.TemporaryDirectory(prefix="browser-", dir="/tmp") as name:
        yield Path(name)


@pytest.mark.parametrize("real", [False, True])
def test_nothing_of_it_outlives_its_user(short_path: Path, *, real: bool) -> None:
    path = os.environ["PATH"]
    if not real:
        path = f"{short_path}:{path}"
        for name, text in {"chromium": "#!/bin/sh", "chromedriver": DRIVER}.items():
            (short_path / name).write_text(text)
            (short_path / name).chmod(0o755)
    elif problem := lacking():
        pytest.skip(problem)

    def running() -> list[str]:
        """All processes with our directory for temporary files."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"TMPDIR={short_path}\0".encode() in (process / "environ").read_bytes():
                    found.append((process / "comm").read_text().strip())
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue
        return found

    with subprocess.Popen(
        [sys.executable, "-c", USER],
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "TMPDIR": str(short_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as user:
        assert user.stdout
        assert user.stdout.readline() == "started\n"
        assert "chromedriver" in running()
        assert any(name in ("chromium", "chrome") for name in running()) == real
        user.kill()
    deadline = time.monotonic() + 30
    while running():
        assert time.monotonic() < deadline, running()
        time.sleep(0.1)


def test_a_driver_that_does_not_start_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("chromium", "chromedriver"):
        (tmp_path / name).write_text("#!/bin/sh\necho no such port\nexit 3\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(HostError, match="chromedriver ended with status 3") as caught, started():
        pass
    assert caught.value.details == ("no such port",)


@pytest.mark.parametrize(
    ("programs", "says"),
    [
        ([], "Chromium is not installed: apt-get install chromium-driver"),
        (["chromium"], "chromedriver is not installed: apt-get install chromium-driver"),
        (["chromedriver"], "Chromium is not installed"),
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
