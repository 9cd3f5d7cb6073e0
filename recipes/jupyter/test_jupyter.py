# SPDX-License-Identifier: MIT
"""JupyterLab, used from another machine with the password."""

import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket
from testinfra.host import Host

Parameters = dict[str, dict[str, Any]]

KNOWN = "xilinx"
"""The default password."""

OWN = '{"PasswordIdentityProvider": {"hashed_password": "argon2:a hash"}}'
"""The file in the user's home that `jupyter server password` writes."""

START = 600
"""Time limit in seconds for the start of the server, and of a kernel."""
REQUEST = 120
"""Time limit in seconds for a response, or a message of a kernel."""
COMPUTE = 600
"""Time limit in seconds for a cell; NumPy's first import on an emulated board is slow."""


@pytest.fixture(scope="module")
def server(jupyter_url: str) -> str:
    """Return the base URL of the server once it answers."""
    url = jupyter_url.rstrip("/")
    deadline = time.monotonic() + START
    while True:
        try:
            requests.get(f"{url}/login", timeout=REQUEST).raise_for_status()
        except requests.RequestException:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
        else:
            return url


def log_in(url: str, password: str) -> requests.Session:
    """Submit the login form as a browser does."""
    session = requests.Session()
    session.get(f"{url}/login", timeout=REQUEST).raise_for_status()
    session.headers["X-XSRFToken"] = session.cookies["_xsrf"]
    session.post(
        f"{url}/login",
        data={"password": password, "_xsrf": session.cookies["_xsrf"]},
        timeout=REQUEST,
        allow_redirects=False,
    )
    return session


@pytest.fixture(scope="module")
def session(server: str, parameters: Parameters) -> Iterator[requests.Session]:
    """Yield a session that is logged in."""
    with log_in(server, parameters["jupyter"]["password"]) as session:
        yield session


@pytest.fixture(scope="module")
def kernel(server: str, session: requests.Session) -> Iterator[websocket.WebSocket]:
    """Yield the channels of a Python kernel."""
    answer = session.post(f"{server}/api/kernels", json={"name": "python3"}, timeout=REQUEST)
    answer.raise_for_status()
    path = f"/api/kernels/{answer.json()['id']}"
    # The server answers once the kernel does.
    channels = websocket.create_connection(
        f"ws{server.removeprefix('http')}{path}/channels",
        timeout=START,
        cookie="; ".join(f"{cookie.name}={cookie.value}" for cookie in session.cookies),
    )
    channels.settimeout(REQUEST)
    yield channels
    channels.close()
    session.delete(f"{server}{path}", timeout=REQUEST)


def execute(kernel: websocket.WebSocket, code: str) -> list[dict[str, Any]]:
    """Run code in a kernel and return all messages of the answer."""
    request = uuid.uuid4().hex
    header = {"msg_id": request, "msg_type": "execute_request", "version": "5.3"}
    header |= {"session": uuid.uuid4().hex, "username": "test", "date": "2000-01-01T00:00:00Z"}
    content = {"code": code, "silent": False, "allow_stdin": False}
    message = {"channel": "shell", "header": header, "content": content}
    kernel.send(json.dumps({**message, "parent_header": {}, "metadata": {}}))
    answers = []
    deadline = time.monotonic() + COMPUTE
    while time.monotonic() < deadline:
        try:
            answer = json.loads(kernel.recv())
        except websocket.WebSocketTimeoutException:
            continue
        if answer["parent_header"].get("msg_id") != request:
            continue
        answers.append(answer)
        if answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
            return answers
    raise TimeoutError(f"no end within {COMPUTE} s of: {code}")


def printed(answers: list[dict[str, Any]]) -> str:
    """Return the output of the code, or the error that ended it."""
    contents = [answer["content"] for answer in answers]
    return "".join(
        "\n".join(content["traceback"]) if "traceback" in content else content.get("text", "")
        for content in contents
    )


@pytest.mark.usefixtures("server")
def test_service(host: Host, parameters: Parameters) -> None:
    """The service runs as the board's user and answers on the configured port."""
    service = host.service("jupyter")
    assert service.is_enabled
    assert service.is_running
    user = parameters["users"]["user"]
    assert host.check_output("systemctl show --property=User --value jupyter") == user
    assert host.socket(f"tcp://0.0.0.0:{parameters['jupyter']['port']}").is_listening


def test_password(server: str, session: requests.Session) -> None:
    """The server refuses requests without the password or with a wrong one."""
    api = f"{server}/api/contents"
    assert requests.get(api, timeout=REQUEST).status_code == 403
    assert log_in(server, "wrong").get(api, timeout=REQUEST).status_code == 403
    assert session.get(api, timeout=REQUEST).status_code == 200


def test_password_is_not_in_plain(host: Host, parameters: Parameters) -> None:
    """The configuration has the password's argon2 hash, and only its user can read it."""
    file = host.file("/etc/jupyter/jupyter_server_config.json")
    assert file.user == parameters["users"]["user"]
    assert file.mode == 0o600
    config = json.loads(file.content_string)
    assert config["PasswordIdentityProvider"]["hashed_password"].startswith("argon2:$argon2id$")


def test_notice_of_the_default_password(host: Host, parameters: Parameters) -> None:
    """A login prints a notice as long as the password is the default one."""
    script = "/etc/update-motd.d/62-default-jupyter-password"
    folder = f"/home/{parameters['users']['user']}/.jupyter"
    notice = "The password of Jupyter is still the one that everybody knows"
    assert (notice in host.check_output(script)) == (parameters["jupyter"]["password"] == KNOWN)
    own = f"{folder}/jupyter_server_config.json"
    if host.file(own).exists:
        pytest.skip("the user has a configuration of his own")
    try:
        host.check_output("mkdir -p %s && printf %%s %s > %s", folder, OWN, own)
        assert host.check_output(script) == ""
    finally:
        host.check_output("rm %s && rmdir --ignore-fail-on-non-empty %s", own, folder)


def test_lab(server: str, session: requests.Session) -> None:
    """JupyterLab's page loads its program."""
    page = session.get(f"{server}/lab", timeout=REQUEST)
    assert page.status_code == 200
    assert "<title>JupyterLab</title>" in page.text
    program = page.text.split('<script defer="defer" src="')[1].split('"')[0]
    assert session.get(f"{server}{program}", timeout=REQUEST).status_code == 200


def test_it_stays_at_home(server: str, session: requests.Session) -> None:
    """JupyterLab does not check for news or updates."""
    settings = "lab/api/settings/@jupyterlab/apputils-extension:notification"
    found = session.get(f"{server}/{settings}", timeout=REQUEST).json()["schema"]["properties"]
    assert found["fetchNews"]["default"] == "false"
    assert found["checkForUpdates"]["default"] is False


def test_kernel_computes(kernel: websocket.WebSocket) -> None:
    """A kernel starts and computes with NumPy."""
    code = "import numpy as np; print(int(np.arange(1000).reshape(10, 100).sum()))"
    assert printed(execute(kernel, code)).strip() == "499500"


@pytest.mark.long("it draws a picture, and loads a design if there is one")
def test_welcome_notebook(
    server: str, session: requests.Session, kernel: websocket.WebSocket
) -> None:
    """Every cell of the welcome notebook runs, and the last one draws a plot."""
    answer = session.get(f"{server}/api/contents/Welcome.ipynb", timeout=REQUEST)
    answer.raise_for_status()
    cells = [cell for cell in answer.json()["content"]["cells"] if cell["cell_type"] == "code"]
    answers = execute(kernel, "%reset -f")  # other checks may have used this kernel
    for cell in cells:
        answers = execute(kernel, cell["source"])
        assert not [one for one in answers if one["msg_type"] == "error"], printed(answers)
    pictures = [one["content"] for one in answers if one["msg_type"] == "display_data"]
    assert any("image/png" in picture["data"] for picture in pictures)


CELLS = """
return [...document.querySelectorAll(".jp-Notebook .jp-CodeCell")].map(cell => ({
  prompt: cell.querySelector(".jp-InputPrompt").textContent.trim(),
  text: [...cell.querySelectorAll(".jp-OutputArea-output")].map(each => each.innerText).join(""),
  error: cell.innerText.includes("Traceback (most recent call last)"),
  pictures: [...cell.querySelectorAll(".jp-OutputArea-output img")].map(each => each.naturalWidth),
}))
"""
"""JavaScript that returns the output of a notebook's code cells, with sizes in pixels."""

READY = r"""
return [...document.querySelectorAll(".jp-StatusBar-TextItem")].some(
  each => /^(?!No Kernel).* \| Idle$/.test(each.textContent))
"""
"""JavaScript that returns whether the status bar shows a connected, idle kernel."""

BASE = "/usr/local/lib/python3.*/dist-packages/pynq/overlays/base/base.bit"
"""The PL design that the welcome notebook loads, if the image has it."""

TO_LAST_CELL = """
[...document.querySelectorAll(".jp-Notebook .jp-CodeCell")].at(-1).scrollIntoView(false)
"""


@pytest.fixture
def expected(host: Host, board: Any, parameters: Parameters, *, can_load: bool) -> list[str]:
    """Regular expressions for lines of the welcome notebook's output."""
    name = board.hardware if "board-identity" in parameters else "unknown"
    lines = [rf"^board +{re.escape(name)}$", r"^memory +\d+ MiB, "]
    if can_load and host.run(f"ls {BASE}").succeeded:
        lines.append(r"^design +\S+/base\.bit\nstate +operating$")
    return lines


@pytest.mark.long("it loads JupyterLab, starts a kernel, and loads a design if there is one")
@pytest.mark.only("outside", "a browser is no part of the image")
def test_in_a_browser(
    server: str,
    session: requests.Session,
    parameters: Parameters,
    browser: Any,
    *,
    output: Path,
    expected: list[str],
) -> None:
    """The welcome notebook runs in a browser after the login, and shows its results and plot."""
    answer = session.get(f"{server}/api/contents/Welcome.ipynb", timeout=REQUEST).json()
    count = sum(cell["cell_type"] == "code" for cell in answer["content"]["cells"])

    def ended() -> bool:
        cells = browser.ask(CELLS)
        done = [cell for cell in cells if re.fullmatch(r"\[\d+\]:", cell["prompt"])]
        return len(done) == count or any(cell["error"] for cell in cells)

    try:
        browser.open(f"{server}/lab/tree/Welcome.ipynb?reset")
        browser.enter("#password_input", parameters["jupyter"]["password"])
        # Cells that run before there is a kernel would each start one.
        browser.until(lambda: browser.ask(READY), "a kernel that waits for work")
        # The page shows a dialog when a slow board answers late.
        browser.dismiss(".jp-Dialog .jp-mod-accept")
        browser.click(".lm-MenuBar-itemLabel", "Run")
        browser.click(".lm-Menu-itemLabel", "Run All Cells")
        browser.until(ended, "the end of all cells")
        cells = browser.ask(CELLS)
        assert not [cell["text"] for cell in cells if cell["error"]]
        text = "\n".join(cell["text"] for cell in cells)
        assert not [one for one in expected if not re.search(one, text, re.MULTILINE)], text
        # Content outside of the window is not drawn.
        browser.ask(TO_LAST_CELL)
        (width,) = browser.until(lambda: browser.ask(CELLS)[-1]["pictures"], "the plot")
        assert width > 400
    finally:
        browser.picture(output / "screenshot.png")
        for each in session.get(f"{server}/api/sessions", timeout=REQUEST).json():
            session.delete(f"{server}/api/sessions/{each['id']}", timeout=REQUEST)
