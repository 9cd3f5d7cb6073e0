# SPDX-License-Identifier: MIT
"""Removal of a used card's identity from an image that other cards are made from."""

from __future__ import annotations

from collections.abc import Iterator

from builder.untrusted.tree import ForeignTree

MACHINE_ID = "/etc/machine-id"
"""Empty, systemd writes a new one at the next boot (machine-id(5))."""

_MAKES_KEYS = "/usr/local/sbin/ssh-host-keys"
"""Recipe ssh's program that makes ssh host keys which are missing."""

_HOST_KEYS = "/etc/ssh/ssh_host_*"

_PATTERNS = (
    "/var/lib/dbus/machine-id",
    *("/var/lib/systemd/random-seed", "/var/lib/systemd/credential.secret"),
    *("/var/log/journal/*", "/var/lib/dhcp/*.leases", "/var/lib/NetworkManager/*"),
    *(
        f"{home}/{name}"
        for home in ("/root", "/home/*")
        for name in (
            *(".*_history", ".lesshst", ".viminfo", ".wget-hsts", ".cache/*"),
            *(".ipython/profile_*/history.sqlite*", ".local/share/jupyter/runtime/*"),
        )
    ),
)
"""Files that one card alone may have: identities, seeds, logs, what somebody typed."""


def forget(tree: ForeignTree) -> Iterator[str]:
    """Remove what makes a card one of its kind; yield what is to be said about it.

    Keys of its ssh server are kept by a system that would not make new ones.
    """
    found = [path for pattern in _PATTERNS for path in tree.glob(pattern)]
    keys = [*tree.glob(_HOST_KEYS)]
    if tree.exists(_MAKES_KEYS):
        found += keys
    elif keys:
        yield (
            "kept: the keys of the ssh server, since this system would not make new ones: all cards "
            "with the image have the same. `ssh-keygen -A`, after removing them, makes new ones"
        )
    for path in found:
        tree.remove(path)
    if tree.exists(MACHINE_ID) and tree.read(MACHINE_ID).strip(b"\n"):
        tree.write(MACHINE_ID, b"", mode=0o444)
        found.append(MACHINE_ID)
    if found:
        yield f"removed, since it belongs to one card: {', '.join(sorted(found))}"
