# SPDX-License-Identifier: MIT
"""Downloads that are bounded in size and time, resume after failures and can be interrupted."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO

from builder.containers.redaction import without_passwords
from builder.errors import Interrupted, StepError
from builder.network.response import Head, Response, ResponseError
from builder.sandbox.process import Processes
from builder.spec.texts import format_size

_PIECE = 1 << 20
_LOCAL = "file://"
_NUMBER = "[0-9]{1,18}"


class DownloadError(StepError):
    """A download failed; `why` is the reason, without the URL."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"{without_passwords(url)} cannot be downloaded: {why}",
            hint="check the network and the URL",
        )
        self.why = why


class TooLargeError(DownloadError):
    """A file is larger than the limit."""


class _TooLarge(ResponseError):
    def __init__(self, limit: int) -> None:
        super().__init__(f"it is larger than {format_size(limit)}", temporary=False)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a download.

    size: most bytes of the file.
    seconds: duration of all attempts together.
    rate: least bytes per second, averaged over every `window` seconds.
    silence: seconds that a server may send nothing.
    waits: seconds before each further attempt.
    """

    size: int = 8 << 30
    seconds: float = 6 * 3600
    rate: float = 1 << 10
    window: float = 60
    silence: float = 30
    waits: Sequence[float] = (2, 10)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A downloaded file: its URL after redirects, its size in bytes, its SHA-256."""

    url: str
    size: int
    sha256: str


def fetch(
    url: str,
    into: IO[bytes] | None = None,
    *,
    processes: Processes,
    limits: Limits | None = None,
    headers: Mapping[str, str] | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Fetched:
    """Download a file by http, https or file, and write it to an open file if there is one.

    Temporary failures lead to a further attempt: no connection, a connection that breaks or is too
    slow, and the statuses 408, 429 and 5xx. The attempt resumes the previous one if the server has
    the same file still. The written file is complete only if this function returns.

    Args:
        url: address of the file.
        into: a seekable file.
        processes: the download stops when they do.
        limits: bounds of the download.
        headers: further headers of the request.
        say: called with a line before each further attempt.

    Raises:
        DownloadError: the download failed, or would exceed a limit (size: TooLargeError).
        StepError: the file cannot be written.
        Interrupted: `processes` were stopped.
    """
    received = _Received(into)
    limits = limits or Limits()
    try:
        if url.startswith(_LOCAL):
            _copy(Path(url.removeprefix(_LOCAL)), received, limits, processes)
            return received.fetched(url)
        download = _Download(url, received, limits, headers or {}, say)
        with processes.registered(download):
            return download.run()
    except _TooLarge as error:
        raise TooLargeError(url, str(error)) from error
    except ResponseError as error:
        raise DownloadError(url, str(error)) from error


class _Received:
    """The received part of a file: `size` bytes. `total` also counts discarded bytes."""

    def __init__(self, into: IO[bytes] | None) -> None:
        self._into = into
        self._sum = hashlib.sha256()
        self.size = 0
        self.total = 0

    def add(self, piece: bytes, limit: int) -> None:
        """Add a piece.

        Raises:
            ResponseError: the file is larger than `limit` bytes.
            StepError: the piece cannot be written.
        """
        self.size += len(piece)
        self.total += len(piece)
        if self.size > limit:
            raise _TooLarge(limit)
        self._sum.update(piece)
        if self._into:
            with _writing():
                self._into.write(piece)

    def restart(self) -> None:
        """Discard the received part."""
        self._sum = hashlib.sha256()
        self.size = 0
        if self._into:
            with _writing():
                self._into.seek(0)
                self._into.truncate()

    def fetched(self, url: str) -> Fetched:
        """Return the description of the file, which is complete.

        Raises:
            StepError: the file cannot be written.
        """
        if self._into:
            with _writing():
                self._into.flush()
        return Fetched(url=url, size=self.size, sha256=self._sum.hexdigest())


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StepError(f"a download cannot be written: {error.strerror}") from error


class _Download:
    """A download by http or https, with all its attempts."""

    def __init__(
        self,
        url: str,
        received: _Received,
        limits: Limits,
        headers: Mapping[str, str],
        say: Callable[[str], object],
    ) -> None:
        self._url = url
        self._received = received
        self._limits = limits
        self._headers = headers
        self._say = say
        self._stopped = threading.Event()
        self._response: Response | None = None
        self._version: str | None = None
        self._ends = monotonic() + limits.seconds
        self._window = (0.0, 0)

    def kill(self) -> None:
        """Stop the download."""
        self._stopped.set()
        if response := self._response:
            response.wake()

    def run(self) -> Fetched:
        """Download the file.

        Raises:
            ResponseError: the last attempt failed, or one failed permanently.
            Interrupted: the download was stopped.
        """
        for wait in self._limits.waits:
            try:
                return self._attempt()
            except ResponseError as error:
                if not error.temporary:
                    raise
                self._say(f"{without_passwords(self._url)}: {error}; the next try is in {wait} s")
            if self._stopped.wait(wait):
                raise Interrupted("interrupted")
        return self._attempt()

    def _attempt(self) -> Fetched:
        """Download the missing part."""
        response = Response(self._url, self._request(), silence=self._limits.silence)
        self._response = response
        self._begin_window()
        try:
            head = self._next(response)
            assert isinstance(head, Head), "the head comes first"
            size = self._begin(head)
            while (piece := self._next(response)) and isinstance(piece, bytes):
                self._received.add(piece, self._limits.size)
        finally:
            response.give_up()
        if size is not None and self._received.size != size:
            why = f"{self._received.size} of {size} bytes came"
            raise ResponseError(why, temporary=self._received.size < size)
        return self._received.fetched(head.url)

    def _request(self) -> dict[str, str]:
        """Return the headers of the request for the whole file, or for the missing part."""
        headers = {**self._headers, "Accept-Encoding": "identity"}
        if not self._version:
            self._received.restart()
        if self._received.size and self._version:
            headers |= {"Range": f"bytes={self._received.size}-", "If-Range": self._version}
        return headers

    def _begin(self, head: Head) -> int | None:
        """Check the head of a response, and return the size of the whole file if it is known.

        Raises:
            ResponseError: the response does not have the requested content.
        """
        received, version = self._received.size, _version(head)
        if head.status == 206 and received:
            match = re.match(
                rf"bytes {received}-\d+/({_NUMBER}|\*)$", head.headers.get("content-range", "")
            )
            if match and version == self._version:
                return None if match[1] == "*" else int(match[1])
        if head.status == 200:
            self._received.restart()
            self._version = version
            length = head.headers.get("content-length", "")
            # RFC 9112, 6.3: it has no meaning for a body in chunks.
            if "transfer-encoding" in head.headers or not re.fullmatch(_NUMBER, length):
                return None
            if int(length) > self._limits.size:
                raise _TooLarge(self._limits.size)
            return int(length)
        temporary = head.status in {408, 429} or head.status >= 500
        if received and head.status in {206, 416}:
            # The server has another file now, or other offsets: the whole file is requested.
            self._version, temporary = None, True
        raise ResponseError(f"{head.status} {head.reason}".strip(), temporary=temporary)

    def _next(self, response: Response) -> Head | bytes:
        """Return the next part of a response.

        Raises:
            ResponseError: the response failed, or takes too long.
            Interrupted: the download was stopped.
        """
        while not self._stopped.is_set():
            item = response.next(self._remaining())
            if item is not None:
                return item
        raise Interrupted("interrupted")

    def _remaining(self) -> float:
        """Return the seconds that remain for the next piece.

        Raises:
            ResponseError: none remain, or the download is too slow.
        """
        limits, now = self._limits, monotonic()
        if now >= self._ends:
            raise ResponseError(f"it takes longer than {limits.seconds:g} s", temporary=False)
        due, before = self._window
        if now >= due:
            if self._received.total - before < limits.rate * limits.window:
                slow = f"less than {limits.rate:g} bytes per second came for {limits.window:g} s"
                raise ResponseError(slow, temporary=True)
            due = self._begin_window()
        return min(due, self._ends) - now

    def _begin_window(self) -> float:
        """Start a window for the least rate, and return the time at which it ends."""
        self._window = (monotonic() + self._limits.window, self._received.total)
        return self._window[0]


def _version(head: Head) -> str | None:
    """Return the identifier of a file's version, if the server sends one.

    Only a strong validator proves that bytes are the same (RFC 9110, 8.8.1). Modification times
    have a resolution of a second, but the builder verifies a checksum, too.
    """
    tag = head.headers.get("etag", "")
    return tag if tag.startswith('"') else head.headers.get("last-modified")


def _copy(path: Path, received: _Received, limits: Limits, processes: Processes) -> None:
    """Copy a local file.

    Raises:
        ResponseError: it is not a regular file, or cannot be read.
        Interrupted: `processes` were stopped.
    """
    try:
        # Other kinds of files are not opened: for some devices, opening has effects.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ResponseError("it is not a regular file", temporary=False)
        # The path may lead to another file by now. Opening a pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ResponseError("it is not a regular file", temporary=False)
            while piece := file.read(_PIECE):
                if processes.stopped:
                    raise Interrupted("interrupted")
                received.add(piece, limits.size)
    except OSError as error:
        raise ResponseError(error.strerror or str(error), temporary=False) from error
