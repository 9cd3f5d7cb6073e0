# SPDX-License-Identifier: MIT
"""An image of a used card contains no identity of that card."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.image.identity import remove_identity
from builder.untrusted.tree import ForeignTree

USED = (
    *("etc/ssh/ssh_host_ed25519_key", "etc/ssh/ssh_host_ed25519_key.pub"),
    *("var/lib/systemd/random-seed", "var/lib/systemd/credential.secret"),
    *("root/.bash_history", "home/xilinx/.python_history", "var/log/journal/abc/system.journal"),
    *("home/xilinx/.ipython/profile_default/history.sqlite",),
    "home/xilinx/.local/share/jupyter/runtime/jupyter_cookie_secret",
)
KEPT = ("etc/ssh/sshd_config", "home/xilinx/.ssh/authorized_keys", "home/xilinx/work.ipynb")


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x\n")


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """The files of a used card."""
    write(tmp_path, *USED, *KEPT, "etc/machine-id", "usr/local/sbin/ssh-host-keys")
    return tmp_path


def test_the_identity_of_the_card_is_removed_and_reported(used: Path) -> None:
    (said,) = remove_identity(ForeignTree(used))
    assert said.startswith("removing the identity of the card: /etc/machine-id, /etc/ssh/ssh_")
    assert not [name for name in USED if (used / name).exists()]
    assert all((used / name).exists() for name in KEPT)
    assert (used / "etc/machine-id").read_bytes() == b"", "systemd makes a new one"


def test_a_system_that_creates_no_host_keys_keeps_them_and_this_is_reported(used: Path) -> None:
    (used / "usr/local/sbin/ssh-host-keys").unlink()
    kept, removed = remove_identity(ForeignTree(used))
    assert kept.startswith("keeping the host keys of the ssh server")
    assert "ssh_host" not in removed
    assert (used / "etc/ssh/ssh_host_ed25519_key").exists()


def test_of_a_card_that_has_not_run_nothing_is_changed(tmp_path: Path) -> None:
    write(tmp_path, *KEPT)
    (tmp_path / "etc/machine-id").touch()
    before = (tmp_path / "etc/machine-id").stat()
    assert [*remove_identity(ForeignTree(tmp_path))] == []
    assert (tmp_path / "etc/machine-id").stat() == before


def test_links_lead_to_nothing_outside(used: Path, tmp_path: Path) -> None:
    outside = tmp_path.parent / "history-outside"
    outside.mkdir()
    (outside / ".bash_history").write_text("mine")
    (used / "home/guest").symlink_to(outside)
    [*remove_identity(ForeignTree(used))]
    assert (outside / ".bash_history").read_text() == "mine"
