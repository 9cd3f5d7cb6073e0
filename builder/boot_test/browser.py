# SPDX-License-Identifier: MIT
"""A real browser for checks of web pages, and the pytest plugin that gives it to them.

It is Chromium without a window, driven by Selenium. Checks need neither: they use `Browser`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver import ChromeOptions, Remote
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from builder.engine.requirements import BROWSER
from builder.errors import HostError
from builder.sandbox.process import Processes

Result = TypeVar("Result")

LONGEST = 900
"""Seconds that anything on a page may take: an emulated board has one slow processor."""

WIDTH, HEIGHT = 1280, 2400
"""Of the window, in pixels. So high, since pages do not draw what is out of sight."""

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_DRIVER = "chromedriver"
_PORT = re.compile(r"started successfully on port (\d+)\D")
_POLL_SECONDS = 0.1
_OPTIONS = (
    "--headless=new",
    # Its sandbox refuses root, and containers without capabilities. All that it opens is the board.
    "--no-sandbox",
    # By a pipe to its driver: it ends when that ends, even if that is killed.
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # Nothing but the board is asked for anything.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A container's /dev/shm is too small for it.
    "--disable-dev-shm-usage",
    f"--window-size={WIDTH},{HEIGHT}",
)
# A page that is still being made may change between looking at it and clicking.
_PASSING = (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
)


class Browser:
    """A browser's one page. Whatever is asked for is waited for; CSS selectors say what is meant."""

    def __init__(self, driver: Remote, longest: float = LONGEST) -> None:
        self.driver = driver
        self.longest = longest
        self._dismissed: list[str] = []

    def open(self, url: str) -> None:
        """Go to a page, without waiting for it."""
        self.driver.get(url)

    def dismiss(self, selector: str) -> None:
        """From now on click away what may come at any time, a dialog over all, while waiting."""
        self._dismissed.append(selector)

    def until(self, condition: Callable[[], Result], what: str) -> Result:
        """Wait until a condition is true, for `longest` seconds, and return what it returns.

        Raises:
            TimeoutError: it does not come true: `what` was waited for in vain.
        """
        wait = WebDriverWait(self.driver, self.longest, ignored_exceptions=_PASSING)

        def comes_true(driver: Remote) -> Result:
            for selector in self._dismissed:
                for element in driver.find_elements(By.CSS_SELECTOR, selector):
                    if element.is_displayed():
                        element.click()
            return condition()

        try:
            return wait.until(comes_true)
        except TimeoutException:
            raise TimeoutError(f"the browser waited {self.longest} s in vain for: {what}") from None

    def see(self, selector: str, text: str | None = None) -> WebElement:
        """Return the first element that is to be seen, with just this text if one is given."""

        def seen() -> WebElement | None:
            for element in self.driver.find_elements(By.CSS_SELECTOR, selector):
                if element.is_displayed() and text in (None, element.text.strip()):
                    return element
            return None

        found = self.until(seen, f"{selector} {text or ''}")
        assert found is not None
        return found

    def click(self, selector: str, text: str | None = None) -> None:
        """Click on an element."""

        def clicked() -> bool:
            self.see(selector, text).click()
            return True

        self.until(clicked, f"a click on {selector} {text or ''}")

    def enter(self, selector: str, text: str) -> None:
        """Write text into a field and press Enter."""
        self.see(selector).send_keys(text, Keys.ENTER)

    def ask(self, script: str) -> Any:
        """Return what JavaScript returns that runs in the page."""
        return self.driver.execute_script(script)

    def picture(self, file: Path) -> None:
        """Write what is to be seen into a PNG file."""
        self.driver.save_screenshot(str(file))


def lacking() -> str | None:
    """Say what this machine lacks for a browser, and what brings it; None if nothing."""
    if not any(map(shutil.which, _BROWSERS)):
        missing = "Chromium"
    elif not shutil.which(_DRIVER):
        missing = _DRIVER
    else:
        return None
    return f"there is no {missing} on this machine: apt-get install {BROWSER}"


@contextmanager
def started() -> Iterator[Browser]:
    """Give a browser that knows nothing of earlier ones; it ends with the context."""
    options = ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, _BROWSERS)))
    # Opening a page returns at once; whoever opened it waits for what is to be seen on it.
    options.page_load_strategy = "none"
    for option in _OPTIONS:
        options.add_argument(option)
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as folder:
        options.add_argument(f"--user-data-dir={folder}/profile")
        with _driving(Path(folder)) as url:
            driver = Remote(url, options=options)
            try:
                yield Browser(driver)
            finally:
                driver.quit()


@contextmanager
def _driving(work: Path) -> Iterator[str]:
    """Run the program that drives browsers, and give its URL. It ends with this process.

    Raises:
        HostError: it does not start.
    """
    output = work / "driver.log"
    with (
        output.open("w") as log,
        Processes().running(
            [_DRIVER, "--port=0"],
            environment=os.environ,
            stdout=log,
            stderr=subprocess.DEVNULL,
        ) as process,
    ):
        while not (found := _PORT.search(output.read_text())):
            if process.poll() is not None:
                raise HostError(
                    f"{_DRIVER} ended with status {process.returncode}",
                    details=output.read_text().splitlines(),
                )
            time.sleep(_POLL_SECONDS)
        yield f"http://127.0.0.1:{found[1]}"


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A browser on this machine; the check is skipped where there is none."""
    problem = lacking()
    if problem:
        pytest.skip(problem)
    with started() as running:
        yield running
