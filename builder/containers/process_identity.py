# SPDX-License-Identifier: MIT
"""Owners of containers: processes that can be told apart from all others, and may be gone."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process.

    A daemon may serve several users, machines and containers, and numbers of processes are used
    again: so a number alone tells nothing.

    boot: the kernel's identifier of its start (random(4)).
    namespace: the inode of the process's PID namespace; 0 if that cannot be known.
    started: when the process started, in clock ticks since the boot (`starttime` in proc(5)).
    """

    user: int
    boot: str
    namespace: int
    process: int
    started: int

    @property
    def label(self) -> str:
        """The text of a container's label."""
        return json.dumps(asdict(self))

    def is_gone(self) -> bool:
        """Return whether it was certainly of this user, of this machine, and runs no more."""
        here = this_process()
        near = (here.user, here.boot, here.namespace) == (self.user, self.boot, self.namespace)
        if not near or not here.namespace or self.process <= 0:
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
    """Return what tells this process apart."""
    # Of another namespace's /proc the numbers would be those of other processes.
    own = os.readlink("/proc/self") == str(os.getpid())  # noqa: PTH115 - a number, no path
    return Owner(
        user=os.getuid(),
        boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        namespace=Path("/proc/self/ns/pid").stat().st_ino if own else 0,
        process=os.getpid(),
        started=(_started(os.getpid()) or 0) if own else 0,
    )


def read_label(label: str) -> Owner | None:
    """Return the process that a label names; None if it names none."""
    try:
        return Owner(**json.loads(label))
    except (ValueError, TypeError):
        return None


def _started(process: int) -> int | None:
    """Return when a process started; None if that cannot be known (proc(5), `hidepid`)."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field, the program's name in parentheses, may hold anything.
    _, _, rest = text.rpartition(") ")
    return int(rest.split()[19])
