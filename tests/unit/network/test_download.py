# SPDX-License-Identifier: MIT
"""Downloads from servers with various faults."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import Interrupted, StepError
from builder.network.download import DownloadError, Fetched, Limits, TooLargeError, fetch
from builder.sandbox.process import Processes
from tests.fixtures.archive import QuietHandler, serving

CONTENT = bytes(range(256)) * 1000
HALF = len(CONTENT) // 2
ENOUGH = 20
"""Seconds after which a test fails; none takes a hundredth of that."""

Answering = Callable[["Handler"], None]


class Handler(QuietHandler):
    """Handler that answers requests with the functions in `script`, the last one repeatedly."""

    protocol_version = "HTTP/1.1"
    script: list[Answering]
    asked: list[dict[str, str]]
    over: threading.Event

    def do_GET(self) -> None:  # noqa: N802 - its name
        self.asked.append({name.lower(): value for name, value in self.headers.items()})
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.close_connection = True
        with suppress(BrokenPipeError, ConnectionResetError):  # nobody listens any more
            answer(self)

    def head(self, status: int = 200, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


class Server:
    """A server with a script, which records requests."""

    def __init__(self, host: str, handler: type[Handler], processes: Processes) -> None:
        self.url = f"http://{host}/file.tar"
        self.handler = handler
        self.processes = processes
        self.said: list[str] = []
        self.limits = Limits(waits=(0, 0), seconds=ENOUGH, silence=ENOUGH)
        self.file = io.BytesIO()

    def __call__(self, *script: Answering, **limits: object) -> Fetched:
        """Download from it."""
        self.handler.script = [*script]
        return fetch(
            self.url,
            self.file,
            processes=self.processes,
            limits=replace(self.limits, **limits),  # type: ignore[arg-type]
            say=self.said.append,
        )

    @property
    def asked(self) -> list[dict[str, str]]:
        return self.handler.asked


@pytest.fixture
def server(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Own(Handler):
        script: list[Answering] = []  # noqa: RUF012 - replaced by each download
        asked: list[dict[str, str]] = []  # noqa: RUF012 - of this class alone
        over = threading.Event()

    with serving(Own) as host:
        yield Server(host, Own, processes)
        Own.over.set()


def whole(handler: Handler) -> None:
    handler.head(Content_Length=len(CONTENT), ETag='"1"')
    handler.wfile.write(CONTENT)


def broken(handler: Handler) -> None:
    """Announce the size, and send half of the body."""
    handler.head(Content_Length=len(CONTENT), ETag='"1"')
    handler.wfile.write(CONTENT[:HALF])


def rest(handler: Handler) -> None:
    """Send the requested range, as servers with support for ranges do."""
    start = int(handler.asked[-1]["range"].removeprefix("bytes=").rstrip("-"))
    assert handler.asked[-1]["if-range"] == '"1"'
    handler.head(
        206,
        Content_Range=f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}",
        Content_Length=len(CONTENT) - start,
        ETag='"1"',
    )
    handler.wfile.write(CONTENT[start:])


def answers(status: int, **headers: object) -> Answering:
    return lambda handler: handler.head(status, Content_Length=0, **headers)


def silent(handler: Handler) -> None:
    handler.over.wait(ENOUGH)


def test_a_file_comes_as_it_is_with_its_checksum(server: Server) -> None:
    got = server(whole)
    assert server.file.getvalue() == CONTENT
    assert got == Fetched(
        url=server.url, size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest()
    )
    assert len(server.asked) == 1
    assert not server.said


def test_the_checksum_alone_needs_no_file(server: Server) -> None:
    server.handler.script = [broken, rest]
    got = fetch(server.url, processes=server.processes, limits=server.limits)
    assert got.sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_nothing_is_unpacked_whatever_the_server_calls_it(server: Server) -> None:
    packed = gzip.compress(CONTENT)

    def encoded(handler: Handler) -> None:
        handler.head(Content_Length=len(packed), Content_Encoding="gzip")
        handler.wfile.write(packed)

    server(encoded)
    assert server.file.getvalue() == packed
    assert server.asked[0]["accept-encoding"] == "identity"


def chunks(*, end: bytes) -> Answering:
    def answer(handler: Handler) -> None:
        handler.head(Transfer_Encoding="chunked")
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(CONTENT), CONTENT) + end)

    return answer


def test_a_body_in_chunks(server: Server) -> None:
    server(chunks(end=b""), chunks(end=b"0\r\n\r\n"))
    assert server.file.getvalue() == CONTENT
    assert len(server.asked) == 2, "the first response has no end"


# Limits


def endless(handler: Handler) -> None:
    handler.head()
    while not handler.over.is_set():
        handler.wfile.write(bytes(1 << 16))


def too_long(handler: Handler) -> None:
    handler.head(Content_Length=1 << 40)
    handler.over.wait(ENOUGH)


@pytest.mark.parametrize("answer", [endless, too_long])
def test_a_file_above_the_limit_is_refused(server: Server, answer: Answering) -> None:
    with pytest.raises(
        TooLargeError, match=r"file\.tar cannot be downloaded: it is larger than 1M$"
    ):
        server(answer, size=1 << 20)
    assert len(server.file.getvalue()) <= 1 << 20
    assert len(server.asked) == 1


@pytest.mark.parametrize("told", ["9" * 5000, "-1", "many", "\u0661"])
def test_a_size_that_is_no_number_counts_for_nothing(server: Server, told: str) -> None:
    def strange(handler: Handler) -> None:
        handler.wfile.write(f"HTTP/1.1 200 OK\r\nContent-Length: {told}\r\n\r\n".encode())
        handler.wfile.write(CONTENT)

    with suppress(DownloadError):  # urllib3 may miss the rest
        server(strange, waits=())
    assert server.file.getvalue() == CONTENT


def test_a_file_of_exactly_the_limit_is_accepted(server: Server) -> None:
    assert server(whole, size=len(CONTENT)).size == len(CONTENT)


def trickle(handler: Handler) -> None:
    handler.head(Content_Length=1000)
    while not handler.over.wait(0.005):
        handler.wfile.write(b"x")


def trickle_of_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while not handler.over.wait(0.005):
        handler.wfile.write(b"x")


@pytest.mark.parametrize("answer", [trickle, trickle_of_headers, silent])
def test_a_slow_download_ends(server: Server, answer: Answering) -> None:
    with pytest.raises(DownloadError, match=r"less than 10000 bytes per second came for 0\.05 s"):
        server(answer, rate=10000, window=0.05)
    assert len(server.said) == 2, "three attempts"


class Stepwise(io.BytesIO):
    """A file that receives a byte every 40 seconds, with a clock of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.taken = threading.Semaphore(0)

    def clock(self) -> float:
        return self.time

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.time += 40
        self.taken.release()
        return super().write(data)

    def give(self, handler: Handler) -> None:
        handler.head(Content_Length=20)
        for _ in range(20):
            handler.wfile.write(b"x")
            if not self.taken.acquire(timeout=ENOUGH):
                return


@pytest.mark.parametrize(("rate", "enough"), [(1 / 60, True), (3 / 60, False)])
def test_the_rate_is_an_average(
    server: Server, monkeypatch: pytest.MonkeyPatch, rate: float, *, enough: bool
) -> None:
    steps = Stepwise()
    monkeypatch.setattr("builder.network.download.monotonic", steps.clock)
    server.file = steps
    if enough:
        assert server(steps.give, rate=rate, window=60, seconds=10000).size == 20
    else:
        with pytest.raises(DownloadError, match="less than"):
            server(steps.give, rate=rate, window=60, seconds=10000, waits=())


def test_all_together_takes_no_longer_than_the_limit(server: Server) -> None:
    with pytest.raises(DownloadError, match=r"it takes longer than 0\.1 s$"):
        server(trickle, seconds=0.1)


def test_silence_is_bounded(server: Server) -> None:
    with pytest.raises(DownloadError, match="Read timed out"):
        server(silent, silence=0.02)
    assert len(server.said) == 2


@pytest.mark.parametrize("answer", [silent, trickle, endless])
def test_a_download_stops_immediately(server: Server, answer: Answering) -> None:
    def stopping(handler: Handler) -> None:
        threading.Timer(0.02, server.processes.stop).start()
        answer(handler)

    begun = time.monotonic()
    with pytest.raises(Interrupted):
        server(stopping)
    assert time.monotonic() - begun < ENOUGH / 2


def test_a_wait_for_the_next_try_stops_at_once(server: Server) -> None:
    def stop(line: str) -> None:
        assert "503 Service Unavailable; the next try is in 20 s" in line
        server.processes.stop()

    server.handler.script = [answers(503)]
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        fetch(server.url, processes=server.processes, limits=Limits(waits=(ENOUGH,)), say=stop)
    assert time.monotonic() - begun < ENOUGH / 2
    with pytest.raises(Interrupted):
        server(whole)


# Attempts


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_temporary_failures_lead_to_another_attempt(server: Server, status: int) -> None:
    server(answers(status), answers(status), whole)
    assert server.file.getvalue() == CONTENT
    assert len(server.asked) == 3
    assert [f": {status} " in line for line in server.said] == [True, True]


def test_the_third_failure_is_the_last(server: Server) -> None:
    with pytest.raises(
        DownloadError, match=r"file\.tar cannot be downloaded: 503 Service Unavailable$"
    ):
        server(answers(503))
    assert len(server.asked) == 3


def test_waits_are_the_given_ones(server: Server) -> None:
    begun = time.monotonic()
    server(answers(503), answers(503), whole, waits=(0.02, 0.04))
    assert time.monotonic() - begun >= 0.06
    assert "the next try is in 0.02 s" in server.said[0]


@pytest.mark.parametrize("status", [204, 206, 400, 401, 403, 404, 410, 416, 451])
def test_permanent_failures_lead_to_no_other_attempt(server: Server, status: int) -> None:
    with pytest.raises(DownloadError, match=rf"cannot be downloaded: {status} "):
        server(answers(status))
    assert len(server.asked) == 1


def hangs_up(handler: Handler) -> None:
    handler.connection.close()


def test_a_connection_that_breaks_is_tried_again(server: Server) -> None:
    server(hangs_up, whole)
    assert server.file.getvalue() == CONTENT


def test_no_connection_is_a_plain_error(server: Server) -> None:
    with pytest.raises(DownloadError, match=r"x cannot be downloaded: .*Connection refused$"):
        fetch("http://127.0.0.1:9/x", processes=server.processes, limits=server.limits)


def test_redirects_are_followed(server: Server) -> None:
    got = server(answers(302, Location="/other"), whole)
    assert got.url.endswith("/other")
    assert server.file.getvalue() == CONTENT


@pytest.mark.parametrize(
    ("location", "message"),
    [("/again", "more than 10 redirects"), ("file:///etc/passwd", "No connection adapters")],
)
def test_redirects_lead_somewhere(server: Server, location: str, message: str) -> None:
    with pytest.raises(DownloadError, match=message):
        server(answers(302, Location=location))
    assert len(server.asked) <= 11


def test_the_body_of_a_redirect_is_not_read(server: Server) -> None:
    sent = 0

    def redirect(handler: Handler) -> None:
        nonlocal sent
        handler.head(302, Location="/other")
        for _ in range(2000):
            sent += handler.wfile.write(bytes(1 << 16))

    server(redirect, whole)
    assert server.file.getvalue() == CONTENT
    assert sent < 64 << 20, "the buffers of sockets"


# Resuming


def test_a_body_that_breaks_off_is_continued(server: Server) -> None:
    server(broken, rest)
    assert server.file.getvalue() == CONTENT
    assert server.asked[1]["range"] == f"bytes={HALF}-"
    assert "range" not in server.asked[0]


def test_it_is_continued_by_its_date_where_there_is_no_tag(server: Server) -> None:
    date = "Mon, 30 Nov 2026 00:00:00 GMT"

    def dated(handler: Handler) -> None:
        handler.head(Content_Length=len(CONTENT), ETag='W/"weak"', Last_Modified=date)
        handler.wfile.write(CONTENT[:HALF])

    def continued(handler: Handler) -> None:
        assert handler.asked[-1]["if-range"] == date
        told = f"bytes {HALF}-{len(CONTENT) - 1}/*"
        handler.head(206, Content_Range=told, Last_Modified=date)
        handler.wfile.write(CONTENT[HALF:])

    server(dated, continued)
    assert server.file.getvalue() == CONTENT


def test_without_ranges_all_comes_again(server: Server) -> None:
    server(broken, whole)
    assert server.file.getvalue() == CONTENT


def test_without_a_version_nothing_is_continued(server: Server) -> None:
    def unversioned(handler: Handler) -> None:
        handler.head(Content_Length=len(CONTENT))
        handler.wfile.write(CONTENT[:HALF])

    server(unversioned, whole)
    assert server.file.getvalue() == CONTENT
    assert "range" not in server.asked[1]


def test_another_file_is_not_continued(server: Server) -> None:
    new = CONTENT[::-1]

    def changed(handler: Handler) -> None:
        handler.head(Content_Length=len(new), ETag='"2"')
        handler.wfile.write(new)

    server(broken, changed)
    assert server.file.getvalue() == new


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {"Content_Range": f"bytes {HALF}-{len(CONTENT) - 1}/{len(CONTENT)}", "ETag": '"2"'}),
        (206, {"Content_Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}", "ETag": '"1"'}),
        (206, {"ETag": '"1"'}),
        (416, {}),
    ],
)
def test_a_range_that_does_not_fit_leads_to_a_whole_download(
    server: Server, status: int, headers: dict[str, object]
) -> None:
    server(broken, answers(status, **headers), whole)
    assert server.file.getvalue() == CONTENT
    assert "range" not in server.asked[2]


# Local files


def test_a_local_file_is_copied(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT * 10)
    into = io.BytesIO()
    got = fetch(f"file://{path}", into, processes=processes)
    assert into.getvalue() == CONTENT * 10
    assert got.sha256 == hashlib.sha256(CONTENT * 10).hexdigest()
    with pytest.raises(TooLargeError):
        fetch(f"file://{path}", processes=processes, limits=Limits(size=len(CONTENT)))
    processes.stop()
    with pytest.raises(Interrupted):
        fetch(f"file://{path}", processes=processes)


def test_only_regular_files_are_copied(processes: Processes, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in ("/dev/zero", tmp_path, tmp_path / "pipe", tmp_path / "link"):
        with pytest.raises(DownloadError, match=r"cannot be downloaded: it is not a regular file$"):
            fetch(f"file://{path}", processes=processes)


class Full(io.BytesIO):
    """A file on a full disk."""

    def write(self, data: object) -> int:
        del data
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_an_expected_error(server: Server) -> None:
    server.file = Full()
    with pytest.raises(StepError, match=r"^a download cannot be written: No space left on device$"):
        server(whole)
    assert len(server.asked) == 1
