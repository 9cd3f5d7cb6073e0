# SPDX-License-Identifier: MIT
"""A small package index with wheels made here, for the real uv to read."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from packaging.utils import canonicalize_name


class Index:
    """An index in the layout of PEP 503: a directory for each project, with its wheels."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def wheel(
        self, name: str, version: str, *needs: str, tag: str = "py3-none-any", python: str = ">=3.8"
    ) -> Path:
        """Add a wheel that needs others; return its file."""
        folder = self.root / "simple" / canonicalize_name(name)
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{name.replace('-', '_')}-{version}"
        path = folder / f"{stem}-{tag}.whl"
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        metadata += f"Requires-Python: {python}\n"
        metadata += "".join(f"Requires-Dist: {need}\n" for need in needs)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{stem}.dist-info/METADATA", metadata)
            archive.writestr(
                f"{stem}.dist-info/WHEEL",
                f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
            )
            archive.writestr(f"{stem}.dist-info/RECORD", "")
        return path


def shown(lines: str) -> Sequence[str]:
    """Return the packages of a lock file as `name==version`."""
    return [line.partition(" ")[0] for line in lines.splitlines() if not line.startswith("#")]
