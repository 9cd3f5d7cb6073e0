# SPDX-License-Identifier: MIT
"""Check of the user's device tree by dtc, if it is installed; a marker makes any tree wrong.

Only the syntax is checked: the generated tree that it extends does not exist, so labels
and nodes cannot be looked up. Files with macros (`#include`, `#define`) are not checked with dtc.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.petalinux.tool.project import Project

MARKER = "DOUBLE-SYNTAX-ERROR"
_FATAL = "FATAL ERROR: Unable to parse input tree"
_TAG = re.compile(r"/(dts-v1|plugin)/\s*;")
_INCLUDE = re.compile(r"^[ \t]*/include/.*$", re.MULTILINE)


def faults(project: Project, *, forced: bool) -> tuple[str, ...]:
    """Return the end of dtc's log if the tree has errors."""
    if forced:
        return ("Error: system-user.dtsi:12.3-4 syntax error", _FATAL)
    for path in sorted((project.meta_user / "recipes-bsp/device-tree").rglob("*.dts*")):
        text = path.read_text(encoding="utf-8")
        if MARKER in text:
            line = text.count("\n", 0, text.index(MARKER)) + 1
            return (f"Error: {path.name}:{line}.1-{len(MARKER) + 1} syntax error", _FATAL)
        if found := _dtc(path.name, text):
            return found
    return ()


def _dtc(name: str, text: str) -> tuple[str, ...]:
    dtc = shutil.which("dtc")
    if dtc is None or re.search(r"^\s*#\s*(include|define|if)", text, re.MULTILINE):
        return ()
    body = _TAG.sub("", _INCLUDE.sub("", text))
    done = subprocess.run(
        [dtc, "-q", "-I", "dts", "-O", "dtb", "-o", "/dev/null", "-"],
        input=f"/dts-v1/; /plugin/; {body}\n/ {{ }};\n",
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stderr.splitlines():
        if "syntax error" in line or "lexical error" in line:
            where = re.sub(r"^Error: .*?:", f"Error: {Path(name).name}:", line)
            return (where, _FATAL)
    return ()
