# SPDX-License-Identifier: MIT
"""One HTTP request. Its answer is read in a thread of its own, so that nobody has to wait for it.

Time-outs of sockets bound each read, but neither the lookup of a name nor headers that come byte by
byte. Whoever gives up leaves the thread behind; it ends at its next read, or with the program.
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
"""How soon a thread whose pieces nobody takes finds out that nobody will."""


class ResponseError(Exception):
    """An answer did not come, or is no good. `passing`: another try may be luckier."""

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


@dataclass(frozen=True, kw_only=True)
class Head:
    """How an answer begins. `url` is where it came from, after all redirects."""

    url: str
    status: int
    reason: str
    headers: Mapping[str, str]


class Response:
    """The answer to a request, which begins at once; `silence` is how many seconds a read may take."""

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
        """Return the head, then the body in pieces, then `b""`; None if nothing comes in time.

        The body is as it was sent, whatever encoding (RFC 9110, 8.4) the server says that it has.

        Raises:
            Trouble: the answer ends, or does not begin.
        """
        try:
            item = self._items.get(timeout=max(seconds, 0))
        except Empty:
            return None
        if isinstance(item, Exception):
            raise item
        return item

    def wake(self) -> None:
        """Have `next` return at once."""
        with suppress(Full):  # then it does not wait
            self._items.put_nowait(None)

    def give_up(self) -> None:
        """Take no more of the answer."""
        self._given_up.set()

    def _run(self) -> None:
        try:
            self._read()
        except requests.exceptions.SSLError as error:
            self._give(ResponseError(_told(error), passing=False))
        except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
            self._give(ResponseError(_told(error), passing=True))
        except (OSError, ValueError) as error:  # requests' others; what a redirect may lead to
            self._give(ResponseError(str(error), passing=False))
        except Exception as error:  # noqa: BLE001 - raised where the answer is waited for
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
            more = self._give(head)
            while more:
                piece: bytes = response.raw.read1(_PIECE, decode_content=False)
                more = self._give(piece) and bool(piece)

    def _final(self, session: _Session) -> requests.Response:
        """Return the answer to which redirects lead."""
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
        raise ResponseError(f"more than {_MOST_REDIRECTS} redirects", passing=False)

    def _give(self, item: Head | bytes | Exception) -> bool:
        """Hand something over; return whether it is wanted."""
        while not self._given_up.is_set():
            with suppress(Full):
                self._items.put(item, timeout=_GIVEN_UP_SECONDS)
                return True
        return False


class _Session(requests.Session):
    """A session that follows no redirects: requests reads their bodies, without end, into memory."""

    def get_redirect_target(
        self,
        resp: requests.Response,  # noqa: ARG002 - requests' own name
    ) -> str | None:
        return None

    def redirect(self, response: requests.Response) -> str | None:
        """Return where a response redirects to, if it does."""
        return super().get_redirect_target(response)


def _told(error: object) -> str:
    """Return what an error says that is wrapped in others, without the object that it was met in."""
    while isinstance(error, Exception):
        inner = error.args[0] if error.args else type(error).__name__
        error = getattr(error, "reason", None) or inner
    said = str(error)
    return said.partition("): ")[2] or said
