# SPDX-License-Identifier: MIT
"""A small archive, made and signed here, for the real apt to read."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from builder.apt.archive import Archive
from builder.spec.distribution import Distribution
from builder.spec.models import Architecture
from builder.spec.resolve import NamedDistribution
from builder.store.checksum import sha256

AMD64, ARMHF, ARM64 = Architecture.AMD64, Architecture.ARMHF, Architecture.ARM64
ARCHITECTURES = [item.value for item in (AMD64, ARMHF, ARM64)]
DAY = 24 * 3600
EPOCH = 1_700_000_000
TOOLS = ("gpg", "gpgconf", "apt-get", "apt-cache", "dpkg-deb")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
SUITES = ("one", "one-updates", "one-security")

needs_tools = pytest.mark.skipif(bool(MISSING), reason=f"not on this machine: {MISSING}")


@dataclass(frozen=True)
class Key:
    """A throw-away key: it signs release files, and `public` is its keyring."""

    home: Path
    public: Path

    def sign(self, release: Path, signed: Path) -> None:
        self.gpg("--clearsign", "--output", str(signed), str(release))

    def gpg(self, *arguments: str) -> None:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--quiet"]
        subprocess.run([*command, *arguments], check=True, capture_output=True)


def new_key(home: Path) -> Key:
    home.chmod(0o700)
    key = Key(home, home / "public.gpg")
    quick = ("--passphrase", "", "--quick-generate-key", "Test <test@invalid>", "ed25519", "sign")
    key.gpg(*quick)
    key.gpg("--output", str(key.public), "--export")
    return key


@dataclass
class Repository:
    """An archive in the layout of Debian's, with as much in it as the builder looks at."""

    root: Path
    key: Key
    packages: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"file://{self.root}"

    def package(
        self, name: str, version: str, *, depends: str = "", files: Mapping[str, str] | None = None
    ) -> Path:
        """Add a binary package to the next pockets; return its .deb."""
        tree = self.root / "work"
        (tree / "DEBIAN").mkdir(parents=True)
        for place, text in (files or {}).items():
            (tree / place).parent.mkdir(parents=True, exist_ok=True)
            (tree / place).write_text(text)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
        control += f"Depends: {depends}\n" if depends else ""
        control += "Maintainer: Test <test@invalid>\nDescription: test\n"
        (tree / "DEBIAN/control").write_text(control)
        path = self.root / f"pool/{name}_{version.rpartition(':')[2]}_all.deb"
        path.parent.mkdir(exist_ok=True)
        command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(path)]
        subprocess.run(command, check=True, capture_output=True)
        shutil.rmtree(tree)
        self.packages.append(
            f"{control}Filename: pool/{path.name}\nSize: {path.stat().st_size}\n"
            f"SHA256: {sha256(path)}\n"
        )
        return path

    def source(self, name: str, version: str) -> list[Path]:
        """Add a source package to the next pockets; return its files."""
        folder = self.root / "pool"
        folder.mkdir(exist_ok=True)
        files = [folder / f"{name}_{version}{end}" for end in (".dsc", ".tar.gz")]
        for path in files:
            path.write_text(f"{path.name}\n")

        def sums(algorithm: str) -> str:
            return "".join(
                f" {hashlib.new(algorithm, path.read_bytes()).hexdigest()} "
                f"{path.stat().st_size} {path.name}\n"
                for path in files
            )

        self.sources.append(
            f"Package: {name}\nBinary: {name}\nVersion: {version}\nFormat: 3.0 (native)\n"
            f"Maintainer: Test <test@invalid>\nArchitecture: any\nDirectory: pool\n"
            f"Files:\n{sums('md5')}Checksums-Sha256:\n{sums('sha256')}"
        )
        return files

    def pocket(
        self, suite: str, *, epoch: int = EPOCH, key: Key | None = None, until: int | None = None
    ) -> Path:
        """Write and sign the indexes of a suite, valid until then; return its directory."""
        folder = self.root / "dists" / suite
        shutil.rmtree(folder, ignore_errors=True)
        indexes = {
            **{f"main/binary-{name}/Packages": self.packages for name in ARCHITECTURES},
            "main/source/Sources": self.sources,
        }
        lines = []
        for name, paragraphs in indexes.items():
            path = folder / name
            path.parent.mkdir(parents=True)
            path.write_text("\n".join(paragraphs))
            lines.append(f" {sha256(path)} {path.stat().st_size} {name}\n")
        dates = f"Date: {_date(epoch)}\n"
        dates += f"Valid-Until: {_date(until)}\n" if until else ""
        (folder / "Release").write_text(
            f"Origin: Test\nSuite: {suite}\nCodename: {suite}\n{dates}"
            f"Architectures: {' '.join(ARCHITECTURES)}\nComponents: main\nSHA256:\n{''.join(lines)}"
        )
        (key or self.key).sign(folder / "Release", folder / "InRelease")
        (folder / "Release").unlink()
        return folder


def _date(epoch: int) -> str:
    return format_datetime(datetime.fromtimestamp(epoch, timezone.utc), usegmt=True)


def copy_of(repository: Repository, root: Path) -> Repository:
    """Copy an archive to where nothing is yet, to be changed."""
    shutil.copytree(repository.root, root)
    return Repository(root, repository.key, list(repository.packages), list(repository.sources))


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files, and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        pass


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer by HTTP on this machine; the value is the host with its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        # Also after a failed test: the server's loop spins on a closed socket, and pytest never ends.
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def spoil_index(repository: Repository, suite: str) -> None:
    """Make a pocket as one looks while its mirror is being updated."""
    path = repository.root / f"dists/{suite}/main/binary-armhf/Packages"
    path.write_text(path.read_text() + "\n")


def damage_index(archive: Archive, suite: str) -> Path:
    """Change a byte of a suite's packages in the store; return the file."""
    (path,) = archive.lists.glob(f"*_dists_{suite}_main_binary-*_Packages*")
    flip(path)
    return path


def flip(path: Path, at: int = -1) -> None:
    """Change a byte of a file; its size and its times stay."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def distribution(
    url: str, keyring: Path, *, name: str = "one", **changes: object
) -> NamedDistribution:
    values = {
        "summary": name,
        "family": "ubuntu",
        "suite": "one",
        "version": "1",
        "components": ["main"],
        "pockets": [{"suite": suite} for suite in SUITES[:2]]
        + [{"suite": SUITES[2], "archive": "security"}],
        "mirrors": {"main": url, "security": url},
        "keyring": str(keyring),
        "keyring-package": "test-keyring",
        "python": "3.10",
        "architectures": ["armhf"],
        "sources": {"linux": "linux-source", "u-boot": "u-boot", "trusted-firmware": "tf-a"},
    }
    model = Distribution.model_validate({**values, **changes})
    return NamedDistribution(name=name, model=model, mirrors={})
