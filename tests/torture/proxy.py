# SPDX-License-Identifier: MIT
"""An HTTP proxy that keeps what it fetched, and does harm on its way to the client if it shall."""

from __future__ import annotations

import hashlib
import json
import random
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from builder.store.files import write_atomically

KINDS = ("refused", "busy", "cut", "short", "stalled", "flipped")
"""Harm: no answer, status 503, a body that ends too early, one that is shorter and says so, one that
does not go on, one with another byte."""

_PASSED = ("Content-Type", "Last-Modified", "ETag", "Location")
_SECONDS = 60
_CHUNK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Harm that is done to a share of the answers; equal seeds do the same to the same requests."""

    seed: str
    rate: float
    kinds: Sequence[str] = KINDS
    stall: float = 30.0


class Proxy(ThreadingHTTPServer):
    """The proxy, at `address`; what it has fetched is kept in `folder`. `faults` may be changed."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        folder.mkdir(parents=True, exist_ok=True)
        self.faults: Faults | None = None
        self.done: Counter[str] = Counter()
        self._folder = folder
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._asked: Counter[str] = Counter()

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that lead programs to this proxy, and to no other."""
        address = f"http://127.0.0.1:{self.server_address[1]}"
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        return dict.fromkeys(names, address) | {"no_proxy": "", "NO_PROXY": ""}

    def choose(self, url: str) -> tuple[str | None, random.Random]:
        """Choose the harm for a request, which may be none."""
        with self._lock:
            self._asked[url] += 1
            faults = self.faults
            if not faults:
                return None, random.Random()  # noqa: S311
            rng = random.Random(f"{faults.seed} {url} {self._asked[url]}")  # noqa: S311
            harm = rng.choice(faults.kinds) if rng.random() < faults.rate else None
            self.done[harm or "passed"] += 1
            return harm, rng

    def begin(self, faults: Faults | None) -> None:
        """Do this harm from now on."""
        with self._lock:
            self.faults = faults
            self.done.clear()
            self._asked.clear()

    def fetched(self, url: str) -> tuple[int, Mapping[str, str], Path]:
        """Return the status, headers and body's file of a URL, which is fetched once.

        Raises:
            requests.RequestException: it cannot be had.
        """
        place = self._folder / hashlib.sha256(url.encode()).hexdigest()
        note = place.with_suffix(".json")
        with self._lock:
            lock = self._locks.setdefault(url, threading.Lock())
        with lock:
            if not note.exists():
                self._fetch(url, place, note)
            said: dict[str, Any] = json.loads(note.read_text())
        return said["status"], said["headers"], place

    def _fetch(self, url: str, place: Path, note: Path) -> None:
        asked = {"Accept-Encoding": "identity"}
        with requests.get(
            url, headers=asked, stream=True, timeout=_SECONDS, allow_redirects=False
        ) as answer:
            with place.open("wb") as file:
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
            headers = {name: answer.headers[name] for name in _PASSED if name in answer.headers}
            if answer.status_code < 500:
                said = {"url": url, "status": answer.status_code, "headers": headers}
                write_atomically(note, json.dumps(said))
            else:
                answer.raise_for_status()


@contextmanager
def serving(folder: Path) -> Iterator[Proxy]:
    """Run a proxy."""
    with Proxy(folder) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), name="proxy")
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy
    timeout = 2 * _SECONDS

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        harm, rng = self.server.choose(self.path)
        if harm == "refused":
            self.close_connection = True
        elif harm == "busy":
            self._answer(503, {}, b"")
        else:
            try:
                status, headers, file = self.server.fetched(self.path)
            except (requests.RequestException, OSError):
                self._answer(502, {}, b"")
                return
            with suppress(OSError):  # the client may have hung up
                self._body(status, headers, file.read_bytes(), harm, rng)

    def _body(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        harm: str | None,
        rng: random.Random,
    ) -> None:
        place = rng.randrange(len(body)) if body else 0
        if harm == "flipped" and body:
            body = body[:place] + bytes([body[place] ^ (1 << rng.randrange(8))]) + body[place + 1 :]
        elif harm == "short":
            body = body[:place]
        stops = place if harm in ("cut", "stalled") else len(body)
        self._answer(status, headers, body, stops=stops)
        if stops < len(body):
            self.close_connection = True
            faults = self.server.faults
            if harm == "stalled" and faults:
                self.wfile.flush()
                time.sleep(faults.stall)

    def _answer(
        self, status: int, headers: Mapping[str, str], body: bytes, *, stops: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:stops])

    def do_CONNECT(self) -> None:
        """Pass a connection on that is encrypted; harm is done to connections, not to bytes."""
        self.close_connection = True
        harm, rng = self.server.choose(self.path)
        if harm == "busy":
            self.send_error(503)
            return
        host, _, port = self.path.rpartition(":")
        if harm == "refused":
            return
        with suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), 20) as far:
            self.send_response(200)
            self.end_headers()
            most = rng.randrange(1 << 20) if harm else None
            self._pass_on(far, most)
            faults = self.server.faults
            if harm == "stalled" and faults:
                time.sleep(faults.stall)

    def _pass_on(self, far: socket.socket, most: int | None) -> None:
        passed = 0
        other = {far: self.connection, self.connection: far}
        while most is None or passed < most:
            ready, _, _ = select.select([*other], [], [], _SECONDS)
            if not ready:
                return
            for end in ready:
                data = end.recv(_CHUNK)
                if not data:
                    return
                other[end].sendall(data)
                passed += len(data)
