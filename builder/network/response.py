# SPDX-License-Identifier: MIT
"""HTTP request whose response is read in a thread, so that its user can stop waiting at any time.

Socket time-outs limit each read, but neither name lookups nor headers that arrive byte by byte.
After `give_up` the thread ends at its next read, or with the program.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from urllib.parse import urljoin

import requests
import urllib3

_PIECE = 1 << 16
_PIECES_AHEAD = 8
_MOST_REDIRECTS = 10
_GIVEN_UP_SECONDS = 0.1
"""Interval at which a thread with undelivered pieces checks whether they are still wanted."""


class ResponseError(Exception):
    """A request failed. `temporary`: another attempt may succeed."""

    def __init__(self, message: str, *, temporary: bool) -> None:
        super().__init__(message)
        self.temporary = temporary


@dataclass(frozen=True, kw_only=True)
class Head:
    """Head of a response. `url` is its address after redirects."""

    url: str
    status: int
    reason: str
    headers: Mapping[str, str]


class Response:
    """Response to a request, which starts immediately; a read may take `silence` seconds."""

    def __init__(
        self, url: str, headers: Mapping[str, str], *, silence: float, method: str = "GET"
    ) -> None:
        self._url = url
        self._method = method
        self._headers = headers
        self._silence = silence
        self._items: Queue[Head | bytes | Exception | None] = Queue(_PIECES_AHEAD)
        self._given_up = threading.Event()
        threading.Thread(target=self._run, name="download", daemon=True).start()

    def next(self, seconds: float) -> Head | bytes | None:
        """Return the head, then the body in pieces, then `b""`; None if nothing arrives in time.

        The body is as sent; content encodings (RFC 9110, 8.4) are not decoded.

        Raises:
            ResponseError: the request failed, or the response broke off.
        """
        try:
            item = self._items.get(timeout=max(seconds, 0))
        except Empty:
            return None
        if isinstance(item, Exception):
            raise item
        return item

    def wake(self) -> None:
        """Make `next` return immediately."""
        with suppress(Full):  # then `next` does not wait
            self._items.put_nowait(None)

    def give_up(self) -> None:
        """Stop reading the response."""
        self._given_up.set()

    def _run(self) -> None:
        try:
            self._read()
        except requests.exceptions.SSLError as error:
            self._give(ResponseError(_reason(error), temporary=False))
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            self._give(ResponseError(_reason(error), temporary=True))
        except (OSError, ValueError) as error:  # requests' other errors; invalid redirects
            self._give(ResponseError(str(error), temporary=False))
        except Exception as error:  # noqa: BLE001 - raised by `next`
            self._give(error)

    def _read(self) -> None:
        with _Session() as session, self._final(session) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            head = Head(
                url=response.url,
                status=response.status_code,
                reason=response.reason or "",
                headers=headers,
            )
            wanted = self._give(head)
            while wanted:
                piece: bytes = response.raw.read1(_PIECE, decode_content=False)
                wanted = self._give(piece) and bool(piece)

    def _final(self, session: _Session) -> requests.Response:
        """Return the response after redirects."""
        url = self._url
        for _ in range(_MOST_REDIRECTS + 1):
            response = session.request(
                self._method, url, headers=self._headers, stream=True, timeout=self._silence
            )
            target = session.redirect(response)
            if target is None:
                return response
            response.close()
            url = urljoin(response.url, target)
        raise ResponseError(f"more than {_MOST_REDIRECTS} redirects", temporary=False)

    def _give(self, item: Head | bytes | Exception) -> bool:
        """Put an item into the queue; return False if the response is not read any more."""
        while not self._given_up.is_set():
            with suppress(Full):
                self._items.put(item, timeout=_GIVEN_UP_SECONDS)
                return True
        return False


class _Session(requests.Session):
    """Session that follows no redirects: requests reads their whole bodies into memory."""

    def get_redirect_target(
        self,
        resp: requests.Response,  # noqa: ARG002 - requests' own name
    ) -> str | None:
        return None

    def redirect(self, response: requests.Response) -> str | None:
        """Return the target of a redirect; None if the response is not one."""
        return super().get_redirect_target(response)


def _reason(error: object) -> str:
    """Return the message of the innermost error, without the representation of its object."""
    while isinstance(error, Exception):
        inner = error.args[0] if error.args else type(error).__name__
        error = getattr(error, "reason", None) or inner
    message = str(error)
    return message.partition("): ")[2] or message
