# SPDX-License-Identifier: MIT
"""Removal of a card's identity from an image that is written to other cards."""

from __future__ import annotations

from collections.abc import Iterator

from builder.untrusted.tree import ForeignTree

MACHINE_ID = "/etc/machine-id"
"""If this file is empty, systemd writes a new ID at the next boot (machine-id(5))."""

_MAKES_KEYS = "/usr/local/sbin/ssh-host-keys"
"""The program of recipe `ssh` that creates missing host keys."""

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
"""Files that must not be copied to other cards: identities, seeds, logs, histories."""


def remove_identity(tree: ForeignTree) -> Iterator[str]:
    """Remove the identity of a card from a tree; yield messages for the user.

    The host keys of the ssh server are removed only if the system creates missing ones.
    """
    found = [path for pattern in _PATTERNS for path in tree.glob(pattern)]
    keys = [*tree.glob(_HOST_KEYS)]
    if tree.exists(_MAKES_KEYS):
        found += keys
    elif keys:
        yield (
            "keeping the host keys of the ssh server, since this system does not create new ones: "
            "all cards with this image share them. On the board, delete them and run "
            "`ssh-keygen -A`"
        )
    for path in found:
        tree.remove(path)
    if tree.exists(MACHINE_ID) and tree.read(MACHINE_ID).strip(b"\n"):
        tree.write(MACHINE_ID, b"", mode=0o444)
        found.append(MACHINE_ID)
    if found:
        yield f"removing the identity of the card: {', '.join(sorted(found))}"
