# SPDX-License-Identifier: MIT
"""The tests that do harm to builds see what a bad builder does, and nothing in a good one."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.fixtures.product import ROOT
from tests.torture.figures import Figures, table
from tests.torture.flips import damage
from tests.torture.ground import Build, Ended
from tests.torture.proxy import KINDS, Faults, Proxy, serving
from tests.torture.traces import Entries, Images, mounts, rests

BUILDER = """
import hashlib, json, os, shutil, subprocess, sys, time

words, fault = sys.argv[2:], sys.argv[1]
given = {word: words[place + 1] for place, word in enumerate(words[:-1]) if word.startswith("--")}
store, output, board = given["--store"], f'{given["--output"]}/{given["--board"]}', given["--board"]
content = given.get("--set", "plain")
if fault == "wrong":
    content += str(time.time_ns())
if fault == "leaves":
    subprocess.Popen(["sleep", "5"], start_new_session=True, stdout=subprocess.DEVNULL)
if fault == "traceback" and os.path.exists(f"{output}/{board}.img"):
    raise OSError("no space left on device")
os.makedirs(output, exist_ok=True)
shutil.rmtree(f"{store}/drafts", ignore_errors=True)
for step in ("kernel", "image"):
    key = hashlib.sha256(f"{step}{given.get('--set')}".encode()).hexdigest()[:32]
    entry = f"{store}/entries/{key}"
    draft = f"{store}/drafts/{key}"
    if not os.path.exists(f"{entry}/entry.json"):
        os.makedirs(f"{draft}/files")
        time.sleep(0.05)
        open(f"{draft}/files/{board}.img", "w").write(content)
        described = {"step": step, "seconds": 0.05, "components": {}}
        open(f"{draft}/entry.json", "w").write(json.dumps(described))
        os.rename(draft, entry)
data = open(f"{entry}/files/{board}.img", "rb").read()
for name, text in ((f"{board}.img", data), (f"{board}.img.sha256", None)):
    text = f"{hashlib.sha256(data).hexdigest()}  {name}".encode() if text is None else text
    if fault != "no checksum" or name.endswith(".img"):
        open(f"{output}/.{name}.part", "wb").write(text)
        os.rename(f"{output}/.{name}.part", f"{output}/{name}")
"""

DRIVER = """
import json, sys
from pathlib import Path
from tests.torture import kills
from tests.torture.figures import Figures
from tests.torture.ground import Broken, Ground
from tests.torture.traces import adopt_orphans

place, fault = Path(sys.argv[1]), sys.argv[2]
adopt_orphans()
(place / "store/drafts").mkdir(parents=True)
builder = [sys.executable, "-I", "-S", str(place / "builder.py"), fault]
ground = Ground(
    command=builder, board="Board", words=[], store=place / "store", output=place / "output",
    settle=0.3,
)
figures = Figures(part="kills", seed=4, most=3, minutes=1)
try:
    ground.prepare(None)
    kills.run(ground, figures)
except Broken as error:
    figures.wrong("not finished", [str(error)])
print(json.dumps(figures.as_json()))
"""


def tortured(place: Path, fault: str) -> dict[str, Any]:
    """Return the figures of kills of a builder that is no more than a script."""
    (place / "builder.py").write_text(BUILDER)
    # In a process of its own: it adopts orphans, and takes all children for a build's.
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(place), fault],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_good_builder_has_no_problems(tmp_path: Path) -> None:
    found = tortured(tmp_path, "none")
    assert found["problems"] == []
    assert found["rounds"] == 3


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("wrong", "wrong image"),
        ("no checksum", "has no checksum file"),
        ("leaves", "still running"),
        ("traceback", "OSError: no space left"),
    ],
)
def test_a_bad_builder_is_found_out(tmp_path: Path, fault: str, problem: str) -> None:
    found = tortured(tmp_path, fault)
    assert any(problem in text for text in found["problems"]), found["problems"]


def entry(store: Path, key: str, content: str) -> Path:
    files = store / "entries" / key / "files"
    files.mkdir(parents=True)
    (files / "file").write_text(content)
    (files.parent / "entry.json").write_text(json.dumps({"step": "image", "components": {}}))
    return files.parent


def test_half_an_entry_and_one_of_other_content_are_found(tmp_path: Path) -> None:
    whole, half = entry(tmp_path, "a", "one"), entry(tmp_path, "b", "two")
    entries = Entries(tmp_path)
    assert entries.problems() == []
    (half / "entry.json").unlink()
    assert entries.problems() == ["half an entry: b has ['files']"]
    (whole / "files/file").write_text("another")
    assert entries.damaged() == ["a"]
    whole.rename(tmp_path / "old")
    entry(tmp_path, "a", "another")
    assert entries.problems() == ["another content under the same key: image, a"]


def test_an_image_needs_a_checksum_that_fits(tmp_path: Path) -> None:
    image = tmp_path / "Board/Board.img"
    image.parent.mkdir()
    image.write_text("image")
    images = Images()
    note = image.with_name("Board.img.sha256")
    assert images.problems(tmp_path) == ["output: Board.img has no checksum file"]
    note.write_text(f"{images.sum(image)}  Board.img\n")
    assert images.problems(tmp_path) == []
    image.unlink()
    image.write_text("another image")
    assert images.problems(tmp_path) == ["output: Board.img.sha256 is of another image"]


@pytest.mark.parametrize(
    "name",
    [
        "store/drafts/a",
        "store/scratch/a",
        "store/last/b/tmp0a1b2c3_",
        "output/Board/.Board.img.part",
    ],
)
def test_rests_of_a_finished_build_are_found(tmp_path: Path, name: str) -> None:
    places = (tmp_path / "store", tmp_path / "output")
    assert rests(*places) == []
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).touch()
    assert rests(*places) == [f"left after a finished build: {tmp_path / name}"]


def test_mounts_are_found_below_a_directory_but_not_at_it() -> None:
    assert "/proc" in mounts([Path("/")])
    assert "/proc" not in mounts([Path("/proc")])


@pytest.mark.parametrize(
    ("status", "said", "told"),
    [
        (3, "start image\nerror: step image failed: no space\nlog: x\n", True),
        (1, "error: no space\n", False),
        (3, "no space\n", False),
        (3, "Traceback (most recent call last):\nerror: no space\n", False),
        (None, "error: no space\n", False),
    ],
)
def test_a_failure_is_told_in_one_sentence(status: int | None, said: str, told: bool) -> None:  # noqa: FBT001
    assert Ended(status=status, said=said, seconds=1).told is told


def test_equal_seeds_make_equal_choices() -> None:
    runs = [
        [each.random() for each in Figures(part="kills", seed=7, most=3, minutes=1).each()]
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len({*runs[0]}) == 3
    other = Figures(part="kills", seed=8, most=3, minutes=1)
    assert [each.random() for each in other.each()] != runs[0]


def test_figures_are_a_table() -> None:
    figures = Figures(part="kills", seed=7, most=3, minutes=1)
    figures.count("right image", 2)
    figures.wrong("a round", ["wrong image"])
    assert table([figures]).splitlines()[-1] == "| kills | 7 | 0 | 0 | 2 right image | 1 |"


BODY = bytes(range(256)) * 20


class Mirror(BaseHTTPRequestHandler):
    """A mirror that has one file under all names."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def mirror() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/file"
        server.shutdown()
        thread.join()


def asked(proxy: Proxy, url: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": proxy.environment["http_proxy"]}
        return session.get(url, timeout=10)


def harm_seen(proxy: Proxy, url: str) -> str:
    """Return what a client sees of the proxy's harm."""
    try:
        answer = asked(proxy, url)
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        return "cut" if http.client.IncompleteRead.__name__ in str(error) else "refused"
    if answer.status_code != 200:
        return "busy"
    if answer.content == BODY:
        return "none"
    return "short" if BODY.startswith(answer.content) else "flipped"


def test_a_proxy_does_the_harm_it_is_told_to(tmp_path: Path) -> None:
    with mirror() as url, serving(tmp_path / "proxy") as proxy:
        for kind in KINDS:
            proxy.begin(Faults(seed="1", rate=1, kinds=[kind], stall=0.01))
            assert harm_seen(proxy, url) == {"stalled": "cut"}.get(kind, kind)
            assert proxy.done == {kind: 1}
        proxy.begin(Faults(seed="1", rate=0))
        assert harm_seen(proxy, url) == "none"


def test_a_proxy_keeps_what_it_fetched(tmp_path: Path) -> None:
    with serving(tmp_path / "proxy") as proxy:
        with mirror() as url:
            assert asked(proxy, url).content == BODY
        assert asked(proxy, url).content == BODY
        assert asked(proxy, f"{url}-other").status_code == 502


def test_encrypted_connections_are_passed_on(tmp_path: Path) -> None:
    with mirror() as url, serving(tmp_path / "proxy") as proxy:
        host, _, port = url.removeprefix("http://").removesuffix("/file").partition(":")
        near = http.client.HTTPConnection("127.0.0.1", proxy.server_address[1], timeout=10)
        near.set_tunnel(host, int(port))
        near.request("GET", "/file")
        assert near.getresponse().read() == BODY
        near.close()


@pytest.mark.parametrize("kind", ["flipped", "cut"])
def test_damage_is_one_bit_or_a_cut(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(BODY)
    damage(file, kind, random.Random(1))  # noqa: S311
    found = file.read_bytes()
    if kind == "cut":
        assert found != BODY
        assert BODY.startswith(found)
    else:
        changed = [(one ^ other).bit_count() for one, other in zip(BODY, found, strict=True)]
        assert sum(changed) == 1


def test_a_build_is_killed_when_the_tests_are_told_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = Build(["sleep", "60"], (tmp_path / "said").open("w+"))

    def interrupted(seconds: float | None = None) -> int:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(build.process, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build.ended()
    assert not build.running
