# SPDX-License-Identifier: MIT
"""Client that runs notebooks on a board's Jupyter server, as a browser does."""

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
"""Time limit of a cell: loading a PL design takes minutes on an emulated board."""


class NotebookError(RuntimeError):
    """A cell ended with an error; the message is its traceback."""


class Notebooks:
    """Client of the Jupyter server at `url`, logged in with its `password`."""

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
        """Upload a notebook, run it and remove it; return the output of each cell.

        Raises:
            NotebookError: a cell ended with an error.
            requests.HTTPError: the server refused a request, for example for a wrong password.
        """
        path = f"{name}.ipynb"
        content = {"type": "notebook", "content": _notebook(cells)}
        self._request("PUT", f"contents/{quote(path)}", content)
        try:
            with self._kernel(path) as channels:
                return [_run(channels, cell) for cell in cells]
        finally:
            self._delete(f"contents/{quote(path)}")

    def _wait(self) -> None:
        """Request the login page until the server, which may still be starting, answers."""
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
        """Start a kernel for a notebook in a new session, and yield its channels."""
        session = self._request(
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

    def _delete(self, path: str) -> None:
        """Delete a resource; ignore refusals, which would hide an earlier error."""
        self._session.delete(f"{self._url}/api/{path}", timeout=_REQUEST_SECONDS)

    def _request(self, method: str, path: str, body: object = None) -> Any:
        answer = self._session.request(
            method, f"{self._url}/api/{path}", json=body, timeout=_REQUEST_SECONDS
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None


def _notebook(cells: Sequence[str]) -> dict[str, object]:
    """Return a notebook with these cells (nbformat 4.4, which has no cell IDs)."""
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
    """Run code in a kernel and return its standard output (Jupyter messaging protocol 5.3)."""
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
