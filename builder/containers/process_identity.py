# SPDX-License-Identifier: MIT
"""Identity of the process that owns a container, to detect that the process has ended."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process.

    A process ID alone identifies nothing: a Docker daemon may serve several users, machines and
    containers, and process IDs are reused.

    user: its user ID.
    boot: the kernel's boot ID (random(4)).
    namespace: inode of the process's PID namespace; 0 if unknown.
    process: its process ID.
    started: its start in clock ticks since the boot (`starttime` in proc(5)).
    """

    user: int
    boot: str
    namespace: int
    process: int
    started: int

    @property
    def label(self) -> str:
        """Text for a container's label."""
        return json.dumps(asdict(self))

    def has_ended(self) -> bool:
        """Return whether it was a process of this user on this machine, and has ended."""
        here = this_process()
        same = (here.user, here.boot, here.namespace) == (self.user, self.boot, self.namespace)
        if not same or not here.namespace or self.process <= 0:
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        started = _started(self.process)
        return started is not None and started != self.started


def this_process() -> Owner:
    """Return the identity of this process."""
    # In the /proc of another PID namespace, the same ID may be another process.
    own = os.readlink("/proc/self") == str(os.getpid())  # noqa: PTH115 - an ID, no path
    return Owner(
        user=os.getuid(),
        boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        namespace=Path("/proc/self/ns/pid").stat().st_ino if own else 0,
        process=os.getpid(),
        started=(_started(os.getpid()) or 0) if own else 0,
    )


def read_label(label: str) -> Owner | None:
    """Return the process in a label; None if the label is not valid."""
    try:
        return Owner(**json.loads(label))
    except (ValueError, TypeError):
        return None


def _started(process: int) -> int | None:
    """Return the start of a process; None if it is hidden (`hidepid` in proc(5))."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field, the program's name in parentheses, may contain spaces and parentheses.
    _, _, rest = text.rpartition(") ")
    return int(rest.split()[19])
