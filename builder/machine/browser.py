# SPDX-License-Identifier: MIT
"""A real browser for checks of web pages: Chromium without a window, driven by Selenium."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_DRIVER = "chromedriver"
_OPTIONS = (
    "--headless=new",
    # Its sandbox refuses root, and containers without capabilities. All that it opens is the board.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # Nothing but the board is asked for anything.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A container's /dev/shm is too small for it.
    "--disable-dev-shm-usage",
)


def lacking() -> str | None:
    """Say what this machine lacks for a browser, and what brings it; None if nothing."""
    if not any(map(shutil.which, _BROWSERS)):
        return "there is no Chromium on this machine: apt-get install chromium-driver"
    if not shutil.which(_DRIVER):
        return f"there is no {_DRIVER} on this machine: apt-get install chromium-driver"
    return None


@contextmanager
def browser(width: int = 1280, height: int = 2400) -> Iterator[Chrome]:
    """Give a browser that knows nothing of earlier ones; it ends with the context.

    Width and height of its window are in pixels. It is high, since pages may take what is out of
    sight out of their document, and pictures of it show what a person would have to scroll to.
    """
    options = ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, _BROWSERS)))
    # Opening a page returns at once; whoever opened it waits for what is to be seen on it.
    options.page_load_strategy = "none"
    for option in _OPTIONS:
        options.add_argument(option)
    options.add_argument(f"--window-size={width},{height}")
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
        options.add_argument(f"--user-data-dir={Path(profile)}")
        driver = Chrome(options, Service(shutil.which(_DRIVER)))
        try:
            yield driver
        finally:
            driver.quit()
