# SPDX-License-Identifier: MIT
"""Programs of the build machine that run in a target's root filesystem in place of its own.

Installing packages is mostly work that has nothing to do with the processor: shell scripts,
unpacking, byte-compiling. Emulated it takes six times as long. So programs of the same release
and version are taken from the archive for the build machine's architecture, and shown to the
target below the directory of that architecture's libraries, which multiarch keeps free in all
others. exec.c is loaded into all programs in there and starts the twin of a program in its
place; programs.yaml says which ones.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath

from builder.apt.archive import Archive
from builder.rootfs.mmdebstrap import downloads, keep_downloads, options
from builder.rootfs.native.tree import ARCHITECTURE, ROOT, NativeTree
from builder.sandbox.workspace import Workspace
from builder.spec.yaml_text import load
from builder.steps.architectures import MACHINES
from builder.steps.step import ROOT_FILESYSTEM, Job, Step
from builder.untrusted.tree import ForeignTree

NEED = 1 << 30
"""Bytes that the unpacked packages take."""

_LARGEST = 1 << 28
"""Bytes of the largest program that is read."""

_SOURCE = Path(__file__).with_name("exec.c")
_RULES = Path(__file__).with_name("programs.yaml")


class NativePrograms(Step):
    """The programs, for one pair of architectures of one distribution."""

    fetches = True
    capabilities = ROOT_FILESYSTEM

    def __init__(self, archive: Archive, target: Archive, *, scope: str) -> None:
        super().__init__("native-programs", scope=scope)
        self.archive = archive
        self.target = target
        self._here, self._there = (MACHINES[item.architecture] for item in (archive, target))
        self.packages = (
            *("mmdebstrap", "gcc"),
            f"gcc-{self._there.triplet.replace('_', '-')}",
        )

    def settings(self) -> Mapping[str, object]:
        return {
            "distribution": self.archive.distribution.name,
            "architecture": self.archive.architecture.value,
            "target": self.target.architecture.value,
            "python": self.archive.distribution.model.python,
            "archive": dict(self.archive.pockets),
            "target's archive": dict(self.target.pockets),
        }

    def files(self) -> Sequence[Path]:
        return [_SOURCE, _RULES]

    def run(self, job: Job) -> None:
        tree = NativeTree(files=job.output / ROOT, architecture=self.archive.architecture)
        rules = Rules.read(self.archive.distribution.model.python)
        packages = self._same_versions(job, rules.packages)
        with job.workspace("native-programs", need=NEED, network=True) as workspace:
            unpacked = workspace.directory / "root"
            self._unpack(job, workspace, packages, unpacked)
            files = ForeignTree(workspace.outside(unpacked))
            owned = self._programs(job, workspace, packages, files)
            lost = self._without_libraries(workspace, unpacked, owned, tree)
            libraries = tree.files / tree.libraries.lstrip("/")
            job.run(workspace, "mkdir", "-p", libraries.parent)
            job.run(workspace, "cp", "-a", f"{unpacked}{tree.libraries}", libraries)
            native = libraries / "native"
            names = [each.architecture.value for each in (self.archive, self.target)]
            for path in owned:
                content = files.read(path, most=_LARGEST)
                if Path(path).name in rules.retargeted:
                    content = retargeted(content, *names)
                why = lost.get(path) or rules.objection(Path(path).name, content, self._here.names)
                if why:
                    job.log.write(f"emulated: /{path}: {why}\n")
                    continue
                copy = native / "programs" / path
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(relocated(content, self._here.loader, tree.loader))
                copy.chmod(0o755)
            for machine, prefix in ((self._here, ""), (self._there, self._there.cross_compile)):
                self._compile(
                    job, workspace, f"{prefix}gcc", native / "lib" / machine.triplet, tree
                )
        loader = tree.files / tree.loader.lstrip("/")
        loader.symlink_to(tree.link)
        self._write_entrance(native / "entrance", tree)
        (job.output / ARCHITECTURE).write_text(tree.architecture.value)
        (job.output / "packages.json").write_text(json.dumps(packages, indent=1))

    def _same_versions(self, job: Job, packages: Sequence[str]) -> dict[str, str]:
        """Return the packages that the archives have in the same version for both architectures.

        They are not always built for all at the same time.
        """
        here, there = (archive.versions(packages) for archive in (self.archive, self.target))
        same: dict[str, str] = {}
        for package in packages:
            versions = [_source_version(item.get(package, "none")) for item in (here, there)]
            if versions[0] == versions[1] != "none":
                same[package] = here[package]
            else:
                job.say(f"emulated: {package}: {versions[0]} here, {versions[1]} in the target")
        return same

    def _unpack(
        self, job: Job, workspace: Workspace, packages: Mapping[str, str], target: Path
    ) -> None:
        """Unpack the packages and what they depend on; nothing of them is run."""
        job.run(
            workspace,
            *("mmdebstrap", "--verbose", "--variant=extract", "--format=directory"),
            f"--include={','.join(packages)}",
            *options(self.archive, job.store, workspace.directory, say=job.say),
            f"--extract-hook={keep_downloads(self.archive, job.store, workspace.directory)}",
            *(self.archive.distribution.model.suite, target, "-"),
            environment={"TMPDIR": str(workspace.directory)},
            stdin=self.archive.binary_sources(),
        )

    def _programs(
        self, job: Job, workspace: Workspace, packages: Mapping[str, str], files: ForeignTree
    ) -> list[str]:
        """Return the ELF programs that the packages bring, as paths relative to the root."""
        found: set[str] = set()
        for package, version in packages.items():
            name = f"{package}_{version.replace(':', '%3a')}_{self.archive.architecture.value}.deb"
            deb = downloads(self.archive, job.store) / name
            listed = workspace.run(["sh", "-c", _LIST, deb])
            for line in listed.splitlines():
                path = files.inside(line.removeprefix("."), follow=False)
                if _is_program(files, path):
                    found.add(str(path))
        return sorted(found)

    def _without_libraries(
        self, workspace: Workspace, root: Path, programs: Sequence[str], tree: NativeTree
    ) -> dict[str, str]:
        """Return the programs that need libraries from elsewhere than the one directory."""
        script = 'cd "$0"; for p do echo "program $p"; chroot . "$LOADER" --list "/$p" 2>&1; done'
        listed = workspace.run(
            ["sh", "-c", f"{script}; true", root, *programs],
            environment={"LOADER": f"{tree.libraries}/{Path(tree.loader).name}"},
        )
        lost: dict[str, str] = {}
        program = ""
        seen = (f"{tree.libraries}/", f"{tree.libraries.removeprefix('/usr')}/")
        for line in listed.splitlines():
            if line.startswith("program "):
                program = line.removeprefix("program ")
            elif "=>" in line:
                found = line.split("=>")[1].split()[0]
                if not found.startswith(seen):
                    lost[program] = f"needs {line.split('=>')[0].strip()} from elsewhere"
            elif "(0x" not in line:
                lost[program] = line.strip()
        return lost

    def _compile(
        self, job: Job, workspace: Workspace, compiler: str, folder: Path, tree: NativeTree
    ) -> None:
        folder.mkdir(parents=True)
        values = {
            "PROGRAMS": f'"{tree.libraries}/native/programs"',
            "TARGET_MACHINE": self._there.elf,
            "TARGET_UNAME": f'"{self._there.uname}"',
            "TARGET_PERL": f'"/usr/lib/{self._there.triplet}/perl5"',
        }
        job.run(
            workspace,
            *(compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"),
            *(f"-D{name}={value}" for name, value in values.items()),
            *("-o", folder / "exec.so", _SOURCE),
        )

    def _write_entrance(self, folder: Path, tree: NativeTree) -> None:
        folder.mkdir()
        native = f"{tree.libraries}/native"
        # Of another version, the target's own are emulated, as ever.
        dash, env = (
            f"{native}/programs{path}" if (folder.parent / f"programs{path}").exists() else path
            for path in ("/usr/bin/dash", "/usr/bin/env")
        )
        script = folder / "enter"
        script.write_text(
            _ENTER.format(
                dash=dash,
                env=env,
                entrance=tree.entrance,
                # The loader of each architecture puts its own directory in for $LIB (ld.so(8)).
                preload=f"{native}/$LIB/exec.so",
                machine=self._there.bash[0],
                system=self._there.bash[1],
            )
        )
        script.chmod(0o755)
        for name in ("dpkg", "env"):
            (folder / name).symlink_to("enter")


_LIST = 'dpkg-deb --fsys-tarfile "$0" | tar --list --quoting-style=literal'

# bash takes what HOSTTYPE and MACHTYPE say for what it would say itself.
_ENTER = """\
#!{dash}
name="${{0##*/}}"
[ "$name" = enter ] || set -- "$name" "$@"
export PATH="${{PATH#{entrance}:}}" LD_PRELOAD='{preload}'
export HOSTTYPE={machine} MACHTYPE={system}
exec {env} "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """programs.yaml, for one version of Python."""

    packages: Sequence[str]
    retargeted: Mapping[str, str]
    reviewed: Mapping[str, str]
    never: Mapping[str, str]

    @classmethod
    def read(cls, python: str) -> Rules:
        """Read the file, with `python` ("3.11") in place of {python}."""
        read = load(_RULES.read_text().replace("{python}", python))
        return cls(**{field.name: read[field.name] for field in fields(cls)})

    def objection(self, name: str, content: bytes, machine: Sequence[str]) -> str | None:
        """Return why a program must not be run by the build machine, or None.

        Args:
            name: its file name.
            content: the file.
            machine: names of the build machine's architecture.
        """
        if name in self.never:
            return self.never[name]
        if name in self.reviewed:
            return None
        found = _names_in(content, machine)
        return f"names the architecture: {found}" if found else None


def _names_in(content: bytes, names: Sequence[str]) -> str | None:
    """Return the first text in a program that has one of the names in it.

    Not counted: paths in directories of libraries, the loader, and the note in which systemd
    and others say of which package they are, which is not for the program.
    """
    wanted = re.compile("|".join(map(re.escape, names)).encode())
    for match in re.finditer(rb"[\x20-\x7e]{4,}", content):
        text = match[0]
        if wanted.search(text) and not re.match(
            rb'(/usr)?/lib(64)?/|ld-linux|\{"type":"deb"', text
        ):
            return text[:60].decode()
    return None


def _is_program(files: ForeignTree, path: PurePosixPath) -> bool:
    """Return whether a file is an ELF program that runs with the rights of who starts it."""
    mode = files.status(path, follow=False).st_mode
    if not stat.S_ISREG(mode) or not mode & 0o111 or mode & (stat.S_ISUID | stat.S_ISGID):
        return False
    return files.read(path, most=_LARGEST).startswith(b"\x7fELF")


def relocated(program: bytes, loader: str, link: str) -> bytes:
    """Return a program that is loaded by `link`, which is not longer, in place of `loader`."""
    own = f"{loader}\0".encode()
    return program.replace(own, link.encode().ljust(len(own), b"\0"), 1)


def retargeted(program: bytes, here: str, there: str) -> bytes:
    """Return a program that takes the architecture `there` for its own, not `here`.

    Both are Debian's names. One of another length leaves no room, and the program as it was.
    """
    old, new = here.encode(), there.encode()
    return program.replace(old, new) if len(old) == len(new) else program


def _source_version(version: str) -> str:
    """Return a version without the mark of a rebuild on one architecture ("+b1")."""
    return re.sub(r"\+b\d+$", "", version)
