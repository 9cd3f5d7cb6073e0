# SPDX-License-Identifier: MIT
"""Boots an image that was made out of another one, and checks what was added."""

from __future__ import annotations

import json
from pathlib import Path

from builder.plan.publish import Output
from tests.support import BOARD, ROOT, build_py


def test_a_customized_image_boots_with_what_was_added(
    outputs: dict[str, Output], tmp_path: Path
) -> None:
    done = build_py(
        *("customize", str(outputs[BOARD].image), "-o", str(tmp_path / "zebra.img")),
        *("--recipe", "sensors", "--set", "hostname.name=zebra", "--progress", "plain"),
        *("--test", "-k", "sensors or hostname or users"),
    )
    assert done.returncode == 0, done.stdout
    report = json.loads((ROOT / "output/customized/zebra/test-report.json").read_text())
    files = {check["check"].partition("::")[0].rpartition("/")[2] for check in report["checks"]}
    assert {"test_sensors.py", "test_hostname.py", "test_users.py"} <= files
    assert report["failed"] == 0
