# SPDX-License-Identifier: MIT
"""What the tests of the provider share: a board, the double of PetaLinux, and who runs containers."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

from builder.bsp.petalinux.petalinux import boot_artifacts
from builder.bsp.provider import BootArtifacts
from builder.containers.containers import Container, ImageRecipe, Mount
from builder.errors import CommandError
from builder.plan.plan import Planned, make_plan
from builder.plan.step_key import key
from builder.sandbox.process import Processes, run
from builder.spec.models import Provider, Soc
from builder.spec.reader import Tree
from builder.spec.resolve import ImageSpec, PetaLinuxUse, resolve
from builder.steps.layer_archive import LAYER
from builder.steps.step import Job, Step
from builder.store.store import Entry, Store
from tests.petalinux.double import make_installer, make_xsa
from tests.unit.command_line import TREE, FakeArchive
from tests.unit.support import Files, Here
from tests.unit.vendor import BANNER, RELEASE, image_arm64, tree, zimage

BASH, PYTHON = "2022.1", "2024.1"
DTSI = "recipes-bsp/device-tree/files/system-user.dtsi"
PACKED = {"petalinux-boot", "prebuilt", "boot-files"}
"""The steps after those of components, but modules beside the kernel's."""
MODULES = "petalinux-modules"

BOARD = """\
board: B
summary: a board
soc: {soc}
memory: 512M
console: ttyPS0,115200
root-device: /dev/mmcblk0p2
bsp:
  provider: petalinux
  {bsp}
distro: [one]
profile: p
"""

# In place of libarchive's: for packages as the double's rpm.py writes them.
_BSDTAR = """\
#!/usr/bin/env python3
import gzip, io, sys, tarfile
assert sys.argv[1] == "-czf"
with tarfile.open(sys.argv[2], "w:gz") as out:
    for word in sys.argv[3:]:
        data = open(word[1:], "rb").read()
        assert word[0] == "@" and data[:4] == bytes.fromhex("edabeedb")
        data = gzip.decompress(data[96 + 2 * 16:])  # behind the lead and two empty headers
        at = 0
        while True:
            fields = [int(data[at + 6 + 8 * n:at + 14 + 8 * n], 16) for n in range(13)]
            mode, size, length = fields[1], fields[6], fields[11]
            name = data[at + 110:at + 110 + length - 1].decode()
            start = at + (110 + length + 3 & ~3)
            at = start + (size + 3 & ~3)
            if name == "TRAILER!!!":
                break
            member = tarfile.TarInfo(name)
            member.mode = mode & 0o777
            if mode & 0o170000 == 0o100000:
                member.size = size
                out.addfile(member, io.BytesIO(data[start:start + size]))
"""


class OnThisMachine:
    """Runs the commands of containers on this machine, with mounted paths in the place of theirs."""

    def __init__(self, root: Path) -> None:
        self.recipes: list[ImageRecipe] = []
        self.offline = False
        self.commands: list[Container] = []
        self.programs = root / "programs"
        self.programs.mkdir()
        shim = self.programs / "bsdtar"
        shim.write_text(_BSDTAR)
        shim.chmod(0o755)
        self.environment: dict[str, str] = {}
        self.uid = os.getuid()

    @property
    def user(self) -> str:
        return f"{self.uid}:{os.getgid() if self.uid == os.getuid() else self.uid}"

    def image(
        self,
        recipe: ImageRecipe,
        *,
        processes: Processes,
        log: IO[str],
        say: Callable[[str], object],
        offline: bool = False,
    ) -> str:
        del processes, log, say
        assert offline == self.offline
        self.recipes.append(recipe)
        return recipe.name

    def run(
        self,
        container: Container,
        *,
        processes: Processes,
        log: IO[str] | None = None,
        on_line: Callable[[str], object] | None = None,
    ) -> str:
        self.commands.append(container)
        there = _replacer({str(each.target): str(each.source) for each in container.mounts})
        back = _replacer({str(each.source): str(each.target) for each in container.mounts})
        work = container.mounts[0].source
        _rewrite(work, there)
        before = {mount.source: _state(mount) for mount in container.mounts if mount.read_only}
        path = f"{self.programs}:{container.environment['PATH']}"
        environment = {name: there(value) for name, value in container.environment.items()}
        try:
            said = run(
                [*self._become(), *(there(word) for word in container.argv)],
                processes=processes,
                environment=environment
                | {"PATH": path, "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
                | self.environment,
                cwd=Path(there(str(container.cwd))),
                log=log,
                on_line=lambda line: on_line(back(line)) if on_line else None,
            )
        except CommandError as error:
            raise CommandError(
                error.message,
                replay=back(error.replay),
                status=error.status,
                details=[back(line) for line in error.details],
            ) from error
        finally:
            _rewrite(work, back)
            for mount in container.mounts:
                assert not mount.read_only or _state(mount) == before[mount.source], mount
        return back(said)

    def _become(self) -> list[str]:
        if self.uid == os.getuid():
            return []
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--"]

    def said(self) -> list[str]:
        """Return the commands of PetaLinux that were run."""
        lines = (" ".join(each.argv) for each in self.commands)
        before = "bash -c source /petalinux/installed/tool/settings.sh; exec "
        return [line.removeprefix(before) for line in lines if line.startswith(before)]


def _rewrite(work: Path, change: Callable[[str], str]) -> None:
    """Change the paths in the files that have some."""
    settings = "project/project-spec"
    for pattern in ("*.bif", f"{settings}/configs/config", f"{settings}/*/conf/petalinuxbsp.conf"):
        for path in work.glob(pattern):
            path.write_text(change(path.read_text()))


def _replacer(paths: Mapping[str, str]) -> Callable[[str], str]:
    # The longest first, and each place once: a path put in may hold another that is to be replaced.
    names = sorted(paths, key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])" for name in names))
    return lambda text: pattern.sub(lambda found: paths[found[0]], text)


def _state(mount: Mount) -> list[tuple[str, int, int]]:
    """Return what shows that somebody wrote into a mount: names, sizes and times of its files."""
    if not mount.source.is_dir():
        status = mount.source.lstat()
        return [(str(mount.source), status.st_size, status.st_mtime_ns)]
    found = []
    folders = [str(mount.source)]
    while folders:
        for entry in os.scandir(folders.pop()):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            else:
                status = entry.stat(follow_symlinks=False)
                found.append((entry.path, status.st_size, status.st_mtime_ns))
    return sorted(found)


class _Tools(Here):
    def __init__(self, directory: Path, containers: OnThisMachine, processes: Processes) -> None:
        super().__init__(directory)
        self.top = directory
        self.containers = containers
        self.processes = processes

    @contextmanager
    def workspace(self, name: str, *, need: int, network: bool = False) -> Iterator[Here]:
        self.directory = self.top
        with super().workspace(name, need=need, network=network) as opened:
            yield opened
        shutil.rmtree(self.top / name)


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a build came to: the plan, and what each step gave."""

    plan: Sequence[Planned]
    entries: Mapping[str, Path]
    logs: Mapping[str, str]

    @property
    def made(self) -> set[str]:
        """The names of the steps that were not kept."""
        return {*self.logs}

    def reason(self, step: str) -> str | None:
        return next(item.reason for item in self.plan if item.step.name == step)


def artifacts(folder: Path, soc: Soc) -> Path:
    """Write what the double gives for built: as much of it as is looked into."""
    modules = folder / f"modules/lib/modules/{RELEASE}"
    modules.mkdir(parents=True)
    (modules / "modules.dep").write_text("")
    (modules / "some.ko").write_bytes(b"\x7fELF")
    for name in ("Makefile", "scripts/basic/fixdep.c"):
        path = folder / "kernel-devsrc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    chosen = 'bootargs = "console=ttyPS0,115200 earlycon root=/dev/sda1 ro";'
    names = {Soc.ZYNQ: "xlnx,zynq-7000", Soc.ZYNQMP: "xlnx,zynqmp"}
    dtb = tree(folder, chosen=chosen, compatible=names[soc])
    (folder / "system.dtb").write_bytes(dtb)
    (folder / "zImage").write_bytes(zimage(BANNER))
    (folder / "Image").write_bytes(image_arm64())
    return folder


def layer(folder: Path) -> dict[str, bytes]:
    """Return the files of a step's layer."""
    plain = subprocess.run(["zstd", "-dcq", folder / LAYER], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        return {
            member.name.removeprefix("./"): file.read()
            for member in archive
            if member.isfile() and (file := archive.extractfile(member))
        }


class Bench:
    """A board B, whose boot files PetaLinux builds: good until a test spoils it.

    With `like`, all that the other one has been given and has built is there already.
    """

    def __init__(self, root: Path, *, like: Bench | None = None) -> None:
        self.root = root
        if like:
            shutil.copytree(like.root, root, dirs_exist_ok=True, symlinks=True)
            shutil.rmtree(root / "programs")
        self.tree = root / "tree"
        self.board = self.tree / "boards/B"
        self.soc = Soc.ZYNQ
        self.name = "B"
        self.use = PetaLinuxUse(accepted=True)
        self.store = Store(root / "store")
        self.logs = root / "logs"
        self.logs.mkdir(exist_ok=True)
        self.containers = OnThisMachine(root)
        self.processes = Processes()
        self.files: Files
        if like:
            self.files = copy(like.files)
            self.files.root, self.files.tree = self.tree, Tree(root=self.tree)
            self.use = like.use
            return
        self.files = Files(self.tree)
        for name in ("docker/petalinux", "petalinux_bsp"):
            shutil.copytree(TREE.root / name, self.tree / name)
        one = self.tree / "distributions/one.yaml"
        one.write_text(one.read_text().replace("[armhf]", "[armhf, arm64]"))
        self.files.write("local.yaml", "petalinux: {base: one}\n")
        self.describe("hardware: {xsa: hw.xsa}")

    def layer(self, name: str, text: str) -> None:
        """Write a file of the board's own layer."""
        self.files.write(f"boards/B/petalinux_bsp/meta-user/{name}", text)

    def describe(self, bsp: str, soc: Soc = Soc.ZYNQ) -> None:
        self.soc = soc
        self.files.board(BOARD.format(soc=soc.value, bsp=bsp))
        make_xsa(self.board / "hw.xsa", {Soc.ZYNQ: "zynq", Soc.ZYNQMP: "zynqMP"}[soc])

    def artifacts(self) -> Path:
        return artifacts(self.root / "artifacts", self.soc)

    def installer(self, release: str = PYTHON) -> Path:
        folder = self.root / "given"
        path = make_installer(release, folder, artifacts=self.artifacts(), any_host=True)
        self.use = replace(self.use, installer=path)
        return path

    def spec(self, provider: Provider | None = None) -> ImageSpec:
        return resolve(self.files.tree, self.name, petalinux=self.use, provider=provider)

    def steps(self) -> BootArtifacts:
        return boot_artifacts(self.spec(), FakeArchive())

    def plan(self, *, modules_alone: bool = False) -> list[Planned]:
        steps = self.steps()
        rest = [] if modules_alone else [steps.boot_files, steps.kernel_layer]
        return make_plan([*steps.more_layers, *rest], self.store)

    def build(self, *, modules_alone: bool = False) -> Built:
        """Make what is not kept."""
        plan = self.plan(modules_alone=modules_alone)
        entries: dict[Step, Entry] = {}
        logs: dict[str, str] = {}
        for item in plan:
            inputs = {name: entries[parent] for name, parent in item.step.parents.items()}
            entry = self.store.get(key(item.components(inputs)))
            if entry is None:
                path = self.logs / f"{item.step.name}.log"
                with path.open("w") as log:
                    entry = self._made(item, inputs, log)
                logs[item.step.name] = path.read_text()
            entries[item.step] = entry
        return Built(
            plan=plan,
            entries={step.name: entry.files for step, entry in entries.items()},
            logs=logs,
        )

    def _made(self, item: Planned, inputs: Mapping[str, Entry], log: IO[str]) -> Entry:
        step, components = item.step, item.components(inputs)
        work = self.root / "work"
        work.mkdir(exist_ok=True)
        with self.store.building(key(components)):
            job = Job(
                inputs=inputs,
                output=self.store.draft(key(components)),
                log=log,
                store=self.store,
                tools=cast(Any, _Tools(work, self.containers, self.processes)),
                on_line=lambda _: None,
            )
            step.run(job)
            entry = self.store.commit(
                key(components), step=step.name, components=components, seconds=0
            )
            self.store.remember(step.scope, step.name, components)
        assert not list((self.store.root / "scratch").iterdir()), "nothing is left"
        return entry
