# SPDX-License-Identifier: MIT
"""Headless Chromium for checks of web pages, and the pytest fixture for it.

Selenium drives the browser. Checks only use `Browser`.
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
"""Time limit in seconds for a condition on a page: an emulated board has one slow processor."""

WIDTH, HEIGHT = 1280, 2400
"""Size of the window in pixels. Pages do not draw content outside of it, hence the height."""

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_DRIVER = "chromedriver"
_PORT = re.compile(r"started successfully on port (\d+)\D")
_POLL_SECONDS = 0.1
_OPTIONS = (
    "--headless=new",
    # Its sandbox does not work as root, or in containers without capabilities. The browser only
    # opens pages of the board.
    "--no-sandbox",
    # Connected to its driver by a pipe, the browser ends with the driver, even if that is killed.
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # No requests to other hosts than the board.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A container's /dev/shm is too small.
    "--disable-dev-shm-usage",
    f"--window-size={WIDTH},{HEIGHT}",
)
# While a page is still loading, elements may change between finding and clicking them.
_PASSING = (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
)


class Browser:
    """Page of a browser. Methods wait for the elements that their CSS selectors select."""

    def __init__(self, driver: Remote, longest: float = LONGEST) -> None:
        self.driver = driver
        self.longest = longest
        self._dismissed: list[str] = []

    def open(self, url: str) -> None:
        """Start loading a page, without waiting for it."""
        self.driver.get(url)

    def dismiss(self, selector: str) -> None:
        """Click elements of this selector whenever they appear, for example to close dialogs."""
        self._dismissed.append(selector)

    def until(self, condition: Callable[[], Result], what: str) -> Result:
        """Wait up to `longest` seconds until a condition is true; return its value.

        Args:
            condition: function without arguments.
            what: description of the condition, for the error message.

        Raises:
            TimeoutError: the condition did not become true.
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
            raise TimeoutError(f"not on the page after {self.longest} s: {what}") from None

    def see(self, selector: str, text: str | None = None) -> WebElement:
        """Return the first visible element, with exactly this text if one is given."""

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
        """Type text into a field and press Enter."""
        self.see(selector).send_keys(text, Keys.ENTER)

    def ask(self, script: str) -> Any:
        """Run JavaScript in the page and return its result."""
        return self.driver.execute_script(script)

    def picture(self, file: Path) -> None:
        """Write a screenshot to a PNG file."""
        self.driver.save_screenshot(str(file))


def lacking() -> str | None:
    """Return which program is missing for a browser and how to install it; None if none is."""
    if not any(map(shutil.which, _BROWSERS)):
        missing = "Chromium"
    elif not shutil.which(_DRIVER):
        missing = _DRIVER
    else:
        return None
    return f"{missing} is not installed: apt-get install {BROWSER}"


@contextmanager
def started() -> Iterator[Browser]:
    """Start a browser with a fresh profile; it ends with the context."""
    options = ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, _BROWSERS)))
    # Opening a page returns at once; callers wait for elements on it.
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
    """Run chromedriver and yield its URL. It ends with this process.

    Raises:
        HostError: chromedriver does not start.
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
    """A browser on the host; the check is skipped if none is installed."""
    problem = lacking()
    if problem:
        pytest.skip(problem)
    with started() as running:
        yield running
