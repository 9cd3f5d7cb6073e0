# SPDX-License-Identifier: MIT
"""Images of containers, built on demand and tagged with a hash over their inputs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import docker
from docker.errors import APIError, DockerException, ImageNotFound

from builder.containers.containers import ImageRecipe
from builder.containers.docker_stream import Event, event_stream
from builder.errors import CommandError, HostError, UserError
from builder.sandbox.process import PASSED_ON, Processes, clean_environment, run
from builder.sandbox.workspace import PlainWorkspace, PrivateWorkspace, Workspace

NAME = "zynq-sd-builder"
"""The name of the builder's images, and the label of its containers."""

_BASE = f"{NAME}.base"
"""Label of an image with its base."""

_TAIL_LINES = 25
_KEYRING = re.compile(r"signed-by=([^\]\s]+)")


def fingerprint(recipe: ImageRecipe) -> str:
    """Return a hash over an image's inputs: 12 hexadecimal digits."""
    parts = {
        "base": [recipe.base, recipe.suite, recipe.sources],
        "arguments": dict(recipe.arguments),
        "files": {name: _digest(path) for name, path in _files(recipe)},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def tag_of(recipe: ImageRecipe) -> str:
    """Return the tag of a recipe's image in the Docker daemon."""
    return f"{NAME}/{recipe.name}:{fingerprint(recipe)}"


def make_image(
    client: docker.DockerClient,
    recipe: ImageRecipe,
    *,
    processes: Processes,
    log: IO[str],
    say: Callable[[str], object],
    offline: bool = False,
) -> str:
    """Return the tag of a recipe's image, and build it first if it does not exist.

    The image's ID and its base are written to the log.

    Raises:
        UserError: the image does not exist, and there is no network (`offline`).
        HostError: its base is not available.
        CommandError: it cannot be built.
        Interrupted: `processes` were stopped; the daemon stops the work, too.
    """
    tag = tag_of(recipe)
    if _exists(client, tag):
        log.write(f"{_described(client, tag)}\n")
        return tag
    if offline:
        raise UserError(
            f"--offline, but the image {tag} has not been made yet",
            hint="run the command once with the network; `docker save` and `docker load` bring an "
            "image to a machine without one",
        )
    say(f"making the image {tag}")
    base = _base(client, recipe, processes=processes, log=log, say=say)
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-") as folder:
        if recipe.python_packages:
            say("fetching the Python packages of the image")
            _fetch_wheels(recipe, Path(folder), processes=processes, log=log)
        context = _context(recipe, Path(folder))
        _build(client, recipe, tag, base, context=context, processes=processes, log=log, say=say)
    log.write(f"{_described(client, tag)}\n")
    return tag


def _described(client: docker.DockerClient, tag: str) -> str:
    """Return a line on the image of a tag: its ID and its base."""
    image = client.images.get(tag)
    base = image.labels.get(_BASE, "an unknown base")
    return f"the image {tag} is {image.id}, based on {base}"


def _named(client: docker.DockerClient, base: str) -> str:
    """Return the name and ID of a base, and its digest in a registry if it has one."""
    image = client.images.get(base)
    digests = [each.rpartition("@")[2] for each in image.attrs.get("RepoDigests") or ()]
    return ", ".join([base, str(image.id), *(f"digest {each}" for each in digests)])


def _exists(client: docker.DockerClient, tag: str) -> bool:
    try:
        client.images.get(tag)
    except ImageNotFound:
        return False
    return True


def _base(
    client: docker.DockerClient,
    recipe: ImageRecipe,
    *,
    processes: Processes,
    log: IO[str],
    say: Callable[[str], object],
) -> str:
    """Return a base image: an existing one, a registry's, or one made of packages."""
    if _exists(client, recipe.base):
        return recipe.base
    made = f"{NAME}/base:{recipe.suite}-{_hash(recipe.sources)[:12]}"
    if _exists(client, made):
        return made
    say(f"pulling {recipe.base}")
    refusal = _pull(client, recipe.base, processes=processes)
    if refusal is None:
        return recipe.base
    log.write(f"{recipe.base} cannot be pulled: {refusal}\n")
    _check_packages(recipe, refusal)
    say(f"making {made}, because no registry has {recipe.base}")
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-") as folder:
        tree = Path(folder) / "base.tar"
        with _mmdebstrap_workspace(Path(folder), processes) as (workspace, environment):
            try:
                workspace.run(
                    ["mmdebstrap", "--variant=minbase", recipe.suite, str(tree), "-"],
                    environment=environment,
                    cwd=Path("/"),
                    stdin=recipe.sources,
                    log=log,
                )
            except CommandError as error:
                raise _no_base(
                    recipe,
                    f"and cannot be made of packages: {error.message}",
                    "check the network's access to its package archives",
                    [refusal, *error.details],
                ) from error
        repository, _, tag = made.rpartition(":")

        def load() -> list[Event]:
            client.api.import_image_from_file(str(tree), repository=repository, tag=tag)
            return []

        with event_stream(client.api, load, processes) as events:
            list(events)
    return made


def _check_packages(recipe: ImageRecipe, refusal: str) -> None:
    """Check that a base can be made of packages, after no registry had it.

    Raises:
        HostError: this machine lacks a requirement for that.
    """
    if not recipe.sources:
        why = f"and cannot be made of packages: {recipe.problem}"
        raise _no_base(recipe, why, recipe.remedy, [refusal])
    # The sources may have been written in a container with other keyrings.
    for keyring in _KEYRING.findall(recipe.sources):
        if not Path(keyring).is_file():
            why = f"and the keyring {keyring} of its packages is not on this machine"
            raise _no_base(recipe, why, "install the keyring's package", [refusal])
    if not shutil.which("mmdebstrap"):
        remedy = "install mmdebstrap, which makes the base from packages"
        raise _no_base(recipe, "", remedy, [refusal])


def _no_base(recipe: ImageRecipe, why: str, remedy: str, details: Sequence[str]) -> HostError:
    problem = f"the image {recipe.base} cannot be pulled from its registry"
    hint = "give the Docker daemon access to the registry"
    return HostError(
        f"{problem}, {why}" if why else problem,
        hint=f"{hint}, or {remedy}" if remedy else hint,
        details=details,
    )


def _pull(client: docker.DockerClient, image: str, *, processes: Processes) -> str | None:
    """Pull an image, and return the reason if that fails."""

    def pull() -> Iterator[Event]:
        yield from client.api.pull(image, stream=True, decode=True)

    try:
        with event_stream(client.api, pull, processes) as events:
            return next((str(each["error"]) for each in events if "error" in each), None)
    except DockerException as error:
        return str(getattr(error, "explanation", None) or error)


@contextmanager
def _mmdebstrap_workspace(
    folder: Path, processes: Processes
) -> Iterator[tuple[Workspace, Mapping[str, str]]]:
    """Yield a workspace for mmdebstrap, and additions to its environment.

    mmdebstrap mounts /proc, /sys and more into the tree that it makes. For users other than root it
    makes namespaces itself, in which it cannot enter a directory that only the user may enter. As
    root it mounts in the machine's own namespace, where mounts would remain if it were killed.
    """
    if os.geteuid():
        yield PlainWorkspace(folder, processes=processes), {}
    else:
        with PrivateWorkspace(folder, processes=processes, network=True) as workspace:
            yield workspace, {"TMPDIR": str(folder)}


def _fetch_wheels(recipe: ImageRecipe, folder: Path, *, processes: Processes, log: IO[str]) -> None:
    """Download an image's Python packages, with the configuration of the caller's own pip."""
    assert recipe.python_packages
    lock, python = recipe.python_packages
    platforms = [f"manylinux_2_{minor}_{platform.machine()}" for minor in (17, 28)]
    platforms.append(f"manylinux2014_{platform.machine()}")
    run(
        [
            *(sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"),
            *("--require-hashes", "--requirement", str(recipe.files[lock])),
            *("--only-binary=:all:", "--python-version", python, "--implementation", "cp"),
            *(f"--platform={each}" for each in platforms),
            *("--dest", str(folder / "wheels")),
        ],
        processes=processes,
        environment=clean_environment(),
        log=log,
    )


def _context(recipe: ImageRecipe, added: Path) -> IO[bytes]:
    """Return the build context: a tar archive with the files that the Dockerfile can copy."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, path in (*_files(recipe), *_below(added)):
            archive.add(path, name)
    buffer.seek(0)
    return buffer


def _build(
    client: docker.DockerClient,
    recipe: ImageRecipe,
    tag: str,
    base: str,
    *,
    context: IO[bytes],
    processes: Processes,
    log: IO[str],
    say: Callable[[str], object],
) -> None:
    proxies = {name: value for name, value in clean_environment().items() if name in PASSED_ON}
    lines: list[str] = []

    named = _named(client, base)

    def build() -> Iterator[Event]:
        return client.api.build(
            fileobj=context,
            custom_context=True,
            tag=tag,
            buildargs={**proxies, **recipe.arguments, "BASE": base},
            labels={NAME: recipe.name, _BASE: named},
            rm=True,
            forcerm=True,
            decode=True,
        )

    try:
        with event_stream(client.api, build, processes) as events:
            for event in events:
                lines += _lines_of(event)
                for line in _lines_of(event):
                    log.write(f"{line}\n")
                    say(line)
                if "error" in event:
                    raise _failure(recipe, str(event["error"]), lines)
    except APIError as error:
        raise _failure(recipe, str(error.explanation or error), lines) from error


def _lines_of(event: Event) -> list[str]:
    return [line for line in str(event.get("stream", "")).splitlines() if line.strip()]


def _failure(recipe: ImageRecipe, reason: str, lines: list[str]) -> CommandError:
    return CommandError(
        f"the image {NAME}/{recipe.name} cannot be built: {reason}",
        replay=f"docker build {recipe.folder}",
        status=1,
        details=lines[-_TAIL_LINES:],
    )


def _files(recipe: ImageRecipe) -> Iterator[tuple[str, Path]]:
    yield from _below(recipe.folder)
    yield from sorted(recipe.files.items())


def _below(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
