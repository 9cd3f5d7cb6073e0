# SPDX-License-Identifier: MIT
"""Notebooks on a board's Jupyter server, run as a browser has them run."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import quote

import requests
import websocket

_START_SECONDS = 600
_REQUEST_SECONDS = 120
_CELL_SECONDS = 900
"""A design is loaded and described in minutes on an emulated board."""


class NotebookError(RuntimeError):
    """A cell ended with an error; the message is what it said."""


class Notebooks:
    """The notebooks of a server at `url`, for who knows its `password`."""

    def __init__(self, url: str, password: str) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._wait()
        token = self._session.cookies["_xsrf"]
        self._session.headers["X-XSRFToken"] = token
        self._session.post(
            f"{self._url}/login",
            data={"password": password, "_xsrf": token},
            timeout=_REQUEST_SECONDS,
            allow_redirects=False,
        )

    def run(self, name: str, cells: Sequence[str]) -> list[str]:
        """Put a notebook on the server, run it and remove it; return what each cell printed.

        Raises:
            NotebookError: a cell ended with an error.
            requests.HTTPError: the server refused, as it does without the right password.
        """
        path = f"{name}.ipynb"
        self._ask("PUT", f"contents/{quote(path)}", {"type": "notebook", "content": _made(cells)})
        try:
            with self._kernel(path) as channels:
                return [_run(channels, cell) for cell in cells]
        finally:
            self._delete(f"contents/{quote(path)}")

    def _wait(self) -> None:
        """Ask for the page to log in until the server, which may just be starting, gives it."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                answer = self._session.get(f"{self._url}/login", timeout=_REQUEST_SECONDS)
                answer.raise_for_status()
            except (requests.ConnectionError, requests.Timeout):
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
            else:
                return

    @contextmanager
    def _kernel(self, path: str) -> Iterator[websocket.WebSocket]:
        """Open the channels of a fresh kernel of a notebook's, in a session of its own."""
        session = self._ask(
            "POST",
            "sessions",
            {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}},
        )
        cookies = "; ".join(f"{each.name}={each.value}" for each in self._session.cookies)
        try:
            with closing(
                websocket.create_connection(
                    f"ws{self._url.removeprefix('http')}/api/kernels/{session['kernel']['id']}"
                    "/channels",
                    timeout=_CELL_SECONDS,
                    cookie=cookies,
                )
            ) as channels:
                yield channels
        finally:
            self._delete(f"sessions/{session['id']}")

    def _delete(self, what: str) -> None:
        """Tidy up. That this is refused must not hide what went wrong before."""
        self._session.delete(f"{self._url}/api/{what}", timeout=_REQUEST_SECONDS)

    def _ask(self, method: str, what: str, body: object = None) -> Any:
        answer = self._session.request(
            method, f"{self._url}/api/{what}", json=body, timeout=_REQUEST_SECONDS
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None


def _made(cells: Sequence[str]) -> dict[str, object]:
    """Return a notebook of these cells (nbformat 4.4, which has no identities of cells)."""
    plain: dict[str, object] = {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
    }
    return {
        "nbformat": 4,
        "nbformat_minor": 4,
        "metadata": {},
        "cells": [{**plain, "source": cell} for cell in cells],
    }


def _run(channels: websocket.WebSocket, code: str) -> str:
    """Run code in a kernel and return what it printed (Jupyter's messages, version 5.3)."""
    request = uuid.uuid4().hex
    header = {"msg_id": request, "msg_type": "execute_request", "version": "5.3"}
    header |= {"session": uuid.uuid4().hex, "username": "checks", "date": "2000-01-01T00:00:00Z"}
    content = {"code": code, "silent": False, "allow_stdin": False}
    message = {"channel": "shell", "header": header, "content": content}
    channels.send(json.dumps({**message, "parent_header": {}, "metadata": {}}))
    printed = ""
    while True:
        answer = json.loads(channels.recv())
        if answer["parent_header"].get("msg_id") != request:
            continue
        content = answer["content"]
        if answer["msg_type"] == "error":
            raise NotebookError("\n".join(content["traceback"]))
        if answer["msg_type"] == "stream" and content["name"] == "stdout":
            printed += content["text"]
        if answer["msg_type"] == "status" and content["execution_state"] == "idle":
            return printed
