# SPDX-License-Identifier: MIT
"""Native programs that replace emulated ones in a target's root filesystem.

Most of the work of installing packages does not depend on the processor: shell scripts, unpacking,
byte-compiling. Under emulation it takes six times as long. So the same versions of these programs
are taken from the archive for the host's architecture. In the target they are below the directory
of this architecture's libraries, which multiarch reserves on all other architectures. exec.c is
loaded into all programs and starts native programs in place of emulated ones; programs.yaml lists
them.
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
"""Bytes that the unpacked packages need."""

_LARGEST = 1 << 28
"""Limit of the size of a program in bytes."""

_SOURCE = Path(__file__).with_name("exec.c")
_RULES = Path(__file__).with_name("programs.yaml")


class NativePrograms(Step):
    """The native programs for one pair of architectures of one distribution."""

    fetches = True
    capabilities = ROOT_FILESYSTEM

    def __init__(self, archive: Archive, target: Archive, *, scope: str) -> None:
        super().__init__("native-programs", scope=scope)
        self.archive = archive
        self.target = target
        self._host, self._target_machine = (
            MACHINES[item.architecture] for item in (archive, target)
        )
        self.packages = (
            *("mmdebstrap", "gcc"),
            f"gcc-{self._target_machine.triplet.replace('_', '-')}",
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
            paths = self._programs(job, workspace, packages, files)
            unusable = self._without_libraries(workspace, unpacked, paths, tree)
            libraries = tree.files / tree.libraries.lstrip("/")
            job.run(workspace, "mkdir", "-p", libraries.parent)
            job.run(workspace, "cp", "-a", f"{unpacked}{tree.libraries}", libraries)
            native = libraries / "native"
            names = [each.architecture.value for each in (self.archive, self.target)]
            for path in paths:
                content = files.read(path, most=_LARGEST)
                if Path(path).name in rules.retargeted:
                    content = retargeted(content, *names)
                why = unusable.get(path) or rules.objection(
                    Path(path).name, content, self._host.names
                )
                if why:
                    job.log.write(f"emulated: /{path}: {why}\n")
                    continue
                copy = native / "programs" / path
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(relocated(content, self._host.loader, tree.loader))
                copy.chmod(0o755)
            for machine, prefix in (
                (self._host, ""),
                (self._target_machine, self._target_machine.cross_compile),
            ):
                self._compile(
                    job, workspace, f"{prefix}gcc", native / "lib" / machine.triplet, tree
                )
        loader = tree.files / tree.loader.lstrip("/")
        loader.symlink_to(tree.link)
        self._write_entrance(native / "entrance", tree)
        (job.output / ARCHITECTURE).write_text(tree.architecture.value)
        (job.output / "packages.json").write_text(json.dumps(packages, indent=1))

    def _same_versions(self, job: Job, packages: Sequence[str]) -> dict[str, str]:
        """Return the packages that have the same version for both architectures.

        Debian does not always build a package for all architectures at the same time.
        """
        here, there = (archive.versions(packages) for archive in (self.archive, self.target))
        same: dict[str, str] = {}
        for package in packages:
            versions = [_source_version(item.get(package, "none")) for item in (here, there)]
            if versions[0] == versions[1] != "none":
                same[package] = here[package]
            else:
                job.say(
                    f"emulated: {package}: version {versions[0]} on the host, {versions[1]} in the target"
                )
        return same

    def _unpack(
        self, job: Job, workspace: Workspace, packages: Mapping[str, str], target: Path
    ) -> None:
        """Unpack the packages and their dependencies without running their scripts."""
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
        """Return the ELF programs of the packages, as paths relative to the root."""
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
        """Return the programs that need libraries outside of `tree.libraries`, with the reason."""
        script = 'cd "$0"; for p do echo "program $p"; chroot . "$LOADER" --list "/$p" 2>&1; done'
        listed = workspace.run(
            ["sh", "-c", f"{script}; true", root, *programs],
            environment={"LOADER": f"{tree.libraries}/{Path(tree.loader).name}"},
        )
        unusable: dict[str, str] = {}
        program = ""
        seen = (f"{tree.libraries}/", f"{tree.libraries.removeprefix('/usr')}/")
        for line in listed.splitlines():
            if line.startswith("program "):
                program = line.removeprefix("program ")
            elif "=>" in line:
                found = line.split("=>")[1].split()[0]
                if not found.startswith(seen):
                    unusable[program] = (
                        f"needs {line.split('=>')[0].strip()} from another directory"
                    )
            elif "(0x" not in line:
                unusable[program] = line.strip()
        return unusable

    def _compile(
        self, job: Job, workspace: Workspace, compiler: str, folder: Path, tree: NativeTree
    ) -> None:
        folder.mkdir(parents=True)
        values = {
            "PROGRAMS": f'"{tree.libraries}/native/programs"',
            "TARGET_MACHINE": self._target_machine.elf,
            "TARGET_UNAME": f'"{self._target_machine.uname}"',
            "TARGET_PERL": f'"/usr/lib/{self._target_machine.triplet}/perl5"',
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
        # Emulate the target's own if their versions differ.
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
                # The loader of each architecture replaces $LIB by its own directory (ld.so(8)).
                preload=f"{native}/$LIB/exec.so",
                machine=self._target_machine.bash[0],
                system=self._target_machine.bash[1],
            )
        )
        script.chmod(0o755)
        for name in ("dpkg", "env"):
            (folder / name).symlink_to("enter")


_LIST = 'dpkg-deb --fsys-tarfile "$0" | tar --list --quoting-style=literal'

# The environment's HOSTTYPE and MACHTYPE override those of bash.
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
    """The content of programs.yaml, for one version of Python."""

    packages: Sequence[str]
    retargeted: Mapping[str, str]
    reviewed: Mapping[str, str]
    never: Mapping[str, str]

    @classmethod
    def read(cls, python: str) -> Rules:
        """Read the file; `python` ("3.11") replaces {python}."""
        read = load(_RULES.read_text().replace("{python}", python))
        return cls(**{field.name: read[field.name] for field in fields(cls)})

    def objection(self, name: str, content: bytes, machine: Sequence[str]) -> str | None:
        """Return the reason why a program must not run natively; None if it may.

        Args:
            name: file name of the program.
            content: content of the file.
            machine: names of the host's architecture.
        """
        if name in self.never:
            return self.never[name]
        if name in self.reviewed:
            return None
        found = _names_in(content, machine)
        return f"contains the architecture: {found}" if found else None


def _names_in(content: bytes, names: Sequence[str]) -> str | None:
    """Return the first text in a program that contains one of the names; None if there is none.

    Ignored: paths of libraries, the loader, and the ELF note with the name of the program's package
    (systemd and others), which the program does not use.
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
    """Return whether a file is an ELF program without set-id bits."""
    mode = files.status(path, follow=False).st_mode
    if not stat.S_ISREG(mode) or not mode & 0o111 or mode & (stat.S_ISUID | stat.S_ISGID):
        return False
    return files.read(path, most=_LARGEST).startswith(b"\x7fELF")


def relocated(program: bytes, loader: str, link: str) -> bytes:
    """Return a program with the interpreter `link` instead of `loader`; `link` is not longer."""
    own = f"{loader}\0".encode()
    return program.replace(own, link.encode().ljust(len(own), b"\0"), 1)


def retargeted(program: bytes, here: str, there: str) -> bytes:
    """Return a program with the architecture `here` replaced by `there`, Debian's names.

    If the names differ in length, the program is returned unchanged.
    """
    old, new = here.encode(), there.encode()
    return program.replace(old, new) if len(old) == len(new) else program


def _source_version(version: str) -> str:
    """Return a version without the mark of a rebuild on one architecture ("+b1")."""
    return re.sub(r"\+b\d+$", "", version)
