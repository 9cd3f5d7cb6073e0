# SPDX-License-Identifier: MIT
"""Images: their tags and their bases."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest
from docker.errors import APIError, ImageNotFound

from builder.containers.containers import ImageRecipe
from builder.containers.images import make_image, tag_of
from builder.errors import CommandError, HostError, Interrupted, UserError
from builder.sandbox.process import Processes


@pytest.fixture
def recipe(tmp_path: Path) -> ImageRecipe:
    folder = tmp_path / "tool"
    (folder / "more").mkdir(parents=True)
    (folder / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    (folder / "more/file").write_text("x")
    (tmp_path / "list.txt").write_text("one\n")
    return ImageRecipe(
        name="tool",
        base="debian:test",
        suite="test",
        sources="deb http://x test main\n",
        folder=folder,
        files={"packages.txt": tmp_path / "list.txt"},
        arguments={"A": "1"},
    )


class Daemon:
    """A Docker daemon: `here` are its images, `answers` the output of builds."""

    def __init__(self, *here: str) -> None:
        self.here = {*here}
        self.registry: set[str] = set()
        self.refused: dict[str, str] = {}
        self.answers: list[dict[str, Any]] = [{"stream": "Step 1/2\n"}, {"stream": "done\n"}]
        self.built: dict[str, Any] = {}
        self.labels: dict[str, dict[str, str]] = {}
        self.context: dict[str, bytes] = {}
        self.imported: list[str] = []
        self.images = self
        self.api = self
        self.hooks: dict[str, list[object]] = {"response": []}

    def get(self, tag: str) -> SimpleNamespace:
        if tag not in self.here:
            raise ImageNotFound(tag)
        digests = {"RepoDigests": ["debian@sha256:d"] if tag in self.registry else []}
        return SimpleNamespace(id=f"sha256:{tag}", attrs=digests, labels=self.labels.get(tag, {}))

    def pull(self, image: str, *, stream: bool, decode: bool) -> list[dict[str, str]]:
        assert stream
        assert decode
        if image in self.refused:
            return [{"status": "Pulling"}, {"error": self.refused[image]}]
        if image not in self.registry:
            raise APIError("500", explanation="no such host")
        self.here.add(image)
        return [{"status": "Pulling"}]

    def import_image_from_file(self, path: str, repository: str, tag: str) -> None:
        self.imported.append(f"{repository}:{tag}")
        self.here.add(f"{repository}:{tag}")
        assert Path(path).read_text() == "a tree\n"

    def build(self, **given: Any) -> list[dict[str, Any]]:
        self.built = given
        self.here.add(given["tag"])
        self.labels[given["tag"]] = given["labels"]
        with tarfile.open(fileobj=given["fileobj"]) as context:
            for member in context:
                file = context.extractfile(member)
                self.context[member.name] = file.read() if file else b""
        return self.answers


def make(
    daemon: Daemon,
    recipe: ImageRecipe,
    said: list[str] | None = None,
    processes: Processes | None = None,
    *,
    offline: bool = False,
    log: io.StringIO | None = None,
) -> str:
    return make_image(
        cast(docker.DockerClient, daemon),
        recipe,
        processes=processes or Processes(),
        log=log or io.StringIO(),
        say=(said if said is not None else []).append,
        offline=offline,
    )


def test_an_image_is_made_once(recipe: ImageRecipe) -> None:
    daemon = Daemon("debian:test")
    said: list[str] = []
    tag = make(daemon, recipe, said)
    assert tag == tag_of(recipe) == daemon.built["tag"]
    assert said == [f"making the image {tag}", "Step 1/2", "done"]
    assert daemon.context.keys() == {"Dockerfile", "more/file", "packages.txt"}
    assert daemon.built["buildargs"]["BASE"] == "debian:test"
    assert daemon.built["buildargs"]["A"] == "1"
    again = Daemon(tag)
    assert make(again, recipe) == tag
    assert not again.built


def test_offline_a_missing_image_is_an_error(recipe: ImageRecipe) -> None:
    daemon = Daemon("debian:test")
    with pytest.raises(UserError, match=f"--offline, but the image {tag_of(recipe)}") as caught:
        make(daemon, recipe, offline=True)
    assert caught.value.exit_code == 2
    assert "docker load" in str(caught.value.hint)
    assert not daemon.built
    assert make(Daemon(tag_of(recipe)), recipe, offline=True) == tag_of(recipe)


def test_the_tag_depends_on_all_inputs(recipe: ImageRecipe, tmp_path: Path) -> None:
    tags = {tag_of(recipe)}
    for changed in (
        replace(recipe, base="debian:other"),
        replace(recipe, sources="deb http://y test main\n"),
        replace(recipe, arguments={"A": "2"}),
        replace(recipe, files={}),
    ):
        tags.add(tag_of(changed))
    for path in (recipe.folder / "Dockerfile", recipe.folder / "more/file", tmp_path / "list.txt"):
        path.write_text(path.read_text() + "# changed\n")
        tags.add(tag_of(recipe))
    assert len(tags) == 8


def test_the_base_comes_from_a_registry(recipe: ImageRecipe) -> None:
    daemon = Daemon()
    daemon.registry.add("debian:test")
    make(daemon, recipe)
    assert daemon.built["buildargs"]["BASE"] == "debian:test"
    assert not daemon.imported


def test_the_base_is_in_a_label_and_in_the_log(recipe: ImageRecipe) -> None:
    daemon = Daemon()
    daemon.registry.add("debian:test")
    first, second = io.StringIO(), io.StringIO()
    tag = make(daemon, recipe, log=first)
    base = "debian:test, sha256:debian:test, digest sha256:d"
    assert daemon.labels[tag] == {"zynq-sd-builder": "tool", "zynq-sd-builder.base": base}
    # The base's name stands for another image now.
    daemon.here.remove("debian:test")
    assert make(daemon, recipe, log=second) == tag
    wanted = f"the image {tag} is sha256:{tag}, based on {base}"
    assert first.getvalue().splitlines()[-1] == wanted
    assert second.getvalue().splitlines() == [wanted]


def test_a_base_that_is_named_by_its_digest_is_that_one(recipe: ImageRecipe) -> None:
    pinned = replace(recipe, base=f"debian@sha256:{'d' * 64}")
    daemon = Daemon()
    daemon.registry.add(pinned.base)
    make(daemon, pinned)
    assert daemon.built["buildargs"]["BASE"] == pinned.base


def test_a_pull_that_fails_half_way_gives_no_base(
    recipe: ImageRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.containers.images.shutil.which", lambda _: None)
    daemon = Daemon()
    daemon.refused["debian:test"] = "unexpected EOF"
    with pytest.raises(HostError, match="cannot be pulled from its registry") as caught:
        make(daemon, recipe)
    assert caught.value.details == ("unexpected EOF",)


def fake_mmdebstrap(folder: Path) -> Path:
    program = folder / "mmdebstrap"
    program.write_text('#!/bin/sh\ngrep -q "^deb http://x test main" && echo "a tree" > "$3"\n')
    program.chmod(0o755)
    return program


def test_without_a_registry_the_base_is_made_of_packages(
    recipe: ImageRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = fake_mmdebstrap(tmp_path)
    monkeypatch.setattr("builder.containers.images.shutil.which", lambda _: str(program))
    monkeypatch.setattr("builder.sandbox.process.SEARCH_PATH", f"{tmp_path}:/usr/bin:/bin")
    daemon = Daemon()
    make(daemon, recipe)
    (made,) = daemon.imported
    assert made.startswith("zynq-sd-builder/base:test-")
    assert daemon.built["buildargs"]["BASE"] == made
    second = Daemon(made)
    make(second, recipe)
    assert not second.imported, "it existed"


def test_making_a_base_of_packages_can_be_stopped(
    recipe: ImageRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = fake_mmdebstrap(tmp_path)
    begun = tmp_path / "begun"
    program.write_text(f"#!/bin/sh\ntouch {begun}\nexec sleep 600\n")
    monkeypatch.setattr("builder.containers.images.shutil.which", lambda _: str(program))
    monkeypatch.setattr("builder.sandbox.process.SEARCH_PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("builder.containers.images.os.geteuid", lambda: 1)
    processes = Processes()

    def stop() -> None:
        while not begun.exists():
            time.sleep(0.02)
        processes.stop()

    threading.Thread(target=stop, daemon=True).start()
    daemon = Daemon()
    with pytest.raises(Interrupted):
        make(daemon, recipe, processes=processes)
    assert not daemon.imported
    assert not daemon.built


def test_mounts_of_mmdebstrap_disappear_with_it(
    recipe: ImageRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs_root: None
) -> None:
    program = fake_mmdebstrap(tmp_path)
    text = program.read_text()
    told = tmp_path / "told"
    leave = f"mkdir $TMPDIR/proc; mount -t tmpfs left $TMPDIR/proc; echo $TMPDIR > {told}\n"
    program.write_text(text.replace("\n", f"\n{leave}", 1))
    monkeypatch.setattr("builder.containers.images.shutil.which", lambda _: str(program))
    monkeypatch.setattr("builder.sandbox.process.SEARCH_PATH", f"{tmp_path}:/usr/bin:/bin")
    make(Daemon(), recipe)
    folder = Path(told.read_text().strip())
    assert str(folder) not in Path("/proc/self/mounts").read_text()
    assert not folder.exists()


def test_without_registry_and_mmdebstrap_the_error_names_mmdebstrap(
    recipe: ImageRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.containers.images.shutil.which", lambda _: None)
    with pytest.raises(HostError, match="debian:test cannot be pulled from its registry") as caught:
        make(Daemon(), recipe)
    assert "mmdebstrap" in str(caught.value.hint)
    assert caught.value.details == ("no such host",)


def test_without_a_keyring_the_error_names_it(
    recipe: ImageRecipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("builder.containers.images.shutil.which", lambda _: "/usr/bin/mmdebstrap")
    unknown = replace(recipe, sources="", problem="no keyring here", remedy="apt-get install it")
    with pytest.raises(HostError, match=r"registry, and .* packages: no keyring here$") as caught:
        make(Daemon(), unknown)
    assert caught.value.exit_code == 4
    assert str(caught.value.hint).endswith(", or apt-get install it")
    gone = replace(recipe, sources=f"deb [signed-by={tmp_path}/gone.gpg] http://x test main\n")
    with pytest.raises(HostError, match=f"the keyring {tmp_path}/gone.gpg of its packages is not"):
        make(Daemon(), gone)


def test_a_failure_of_mmdebstrap_is_an_error_of_the_machine(
    recipe: ImageRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = fake_mmdebstrap(tmp_path)
    program.write_text("#!/bin/sh\necho E: no route\nexit 100\n")
    monkeypatch.setattr("builder.containers.images.shutil.which", lambda _: str(program))
    monkeypatch.setattr("builder.sandbox.process.SEARCH_PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("builder.containers.images.os.geteuid", lambda: 1)
    with pytest.raises(HostError, match="packages: mmdebstrap ended with status 100") as caught:
        make(Daemon(), recipe)
    assert caught.value.details == ("no such host", "E: no route")


def test_a_failed_build_shows_its_last_lines(recipe: ImageRecipe) -> None:
    daemon = Daemon("debian:test")
    daemon.answers = [{"stream": "E: no package\n"}, {"error": "returned a non-zero code: 100"}]
    with pytest.raises(CommandError, match="zynq-sd-builder/tool cannot be built") as caught:
        make(daemon, recipe)
    assert caught.value.details == ("E: no package",)
