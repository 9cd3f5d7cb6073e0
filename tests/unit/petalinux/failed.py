# SPDX-License-Identifier: MIT
"""How commands of PetaLinux and tasks of bitbake fail, and how that has to be explained."""

from __future__ import annotations

import re

from builder.errors import BuildError, CommandError

WORK = "/p/build/tmp/work/zynq_generic-xilinx-linux-gnueabi"
LAYERS = "/p/components/yocto/layers"
ENDED = "petalinux-build ended with status 255"


def error(message: str = ENDED, *details: str) -> CommandError:
    return CommandError(message, replay="docker run ...", status=255, details=details)


def failed(recipe: str, task: str, *lines: str, data: str = "", native: str = "") -> str:
    """Return what bitbake says of a failed task; `data` is the end of its log."""
    version = f"{recipe}-2.0+gitAUTOINC+0123456789-r0"
    said = [f"ERROR: {version} do_{task}: {line}" for line in lines]
    said.append(f"ERROR: Logfile of failure stored in: {log(recipe, task)}")
    if data:
        said += ["Log data follows:", *(f"| {line}" for line in data.splitlines())]
    path = f"{native}{LAYERS}/meta/{recipe}/{recipe}_2.0.bb"
    said.append(f"NOTE: recipe {version}: task do_{task}: Failed")
    said.append(f"ERROR: Task ({path}:do_{task}) failed with exit code '1'")
    return "\n".join(["NOTE: Executing Tasks", *said, ""])


def log(recipe: str, task: str) -> str:
    return f"{WORK}/{recipe}/2.0+gitAUTOINC+0123456789-r0/temp/log.do_{task}.4711"


def check(found: BuildError, kind: type[BuildError], message: str, line: str, hint: str) -> None:
    assert type(found) is kind
    assert found.message == message
    assert re.search(line, found.details[0])
    assert hint in (found.hint or "")
