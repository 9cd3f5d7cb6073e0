# SPDX-License-Identifier: MIT
"""The small archive for all tests of archives."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.apt import archive_fetcher
from builder.apt.archive import Archive
from tests.fixtures.archive import DAY, EPOCH, SUITES, Key, Repository, copy_of, new_key

APT_KEY = """\
#!/bin/sh
# In place of Debian's script, which starts 20 processes for each signature: the same check by gpgv.
# --quiet --readonly --keyring FILE verify --status-fd NUMBER SIGNATURE DATA
while [ "$1" != verify ]; do
    [ "$1" != --keyring ] || keyring=$2
    shift
done
shift
exec gpgv --homedir /nonexistent --ignore-time-conflict --keyring "$keyring" "$@"
"""


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Key, Key]]:
    pair = (new_key(tmp_path_factory.mktemp("k")), new_key(tmp_path_factory.mktemp("k")))
    yield pair
    for key in pair:
        subprocess.run(["gpgconf", "--homedir", str(key.home), "--kill", "all"], check=True)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, keys: tuple[Key, Key]) -> Repository:
    """An archive with three pockets, and a kernel and U-Boot in the first; not to be changed."""
    root = tmp_path_factory.mktemp("mirror_of")  # apt escapes an underscore in names of lists
    made = Repository(root, keys[0])
    made.package("linux-source", "5.15-1")
    made.source("u-boot", "2022.01-1")
    for age, suite in enumerate(reversed(SUITES)):
        made.pocket(suite, epoch=EPOCH - age * DAY)
    return made


@pytest.fixture
def repository(original: Repository, tmp_path: Path) -> Repository:
    """A copy of the archive that tests may damage."""
    return copy_of(original, tmp_path / "mirror_of")


@pytest.fixture
def quick_signatures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify signatures with fewer processes, for tests that are not about signatures."""
    script = tmp_path / "apt-key"
    script.write_text(APT_KEY)
    script.chmod(0o755)
    name = "_write_configuration"
    write = vars(archive_fetcher)[name]

    def and_script(archive: Archive) -> None:
        write(archive)
        with (archive.root / "apt.conf").open("a") as file:
            file.write(f'Dir::Bin::apt-key "{script}";\n')

    monkeypatch.setattr(archive_fetcher, name, and_script)


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let programs access this machine without its proxies."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
