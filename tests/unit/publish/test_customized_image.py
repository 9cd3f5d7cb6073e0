# SPDX-License-Identifier: MIT
"""Publication of customized images."""

from __future__ import annotations

import json
from pathlib import Path

from builder.image.custom_image import IMAGE
from builder.plan.customization import Request
from builder.plan.plan import Planned
from builder.publish.customized_image import CustomOutput, base_manifest, publish_custom
from builder.rootfs.wheels import Wheels
from builder.spec.extra import extra_recipes
from builder.spec.models import Architecture
from builder.store.store import Store
from tests.fixtures.command_line import TREE
from tests.unit.plan.test_customization import Steps, facts


def test_a_manifest_must_have_the_checksum_of_the_image(tmp_path: Path) -> None:
    image = tmp_path / "card.img.xz"
    assert base_manifest(image, facts()) is None
    for text in ("", "{}", json.dumps({"image": {"sha256": "2" * 64}})):
        (tmp_path / "manifest.json").write_text(text)
        assert base_manifest(image, facts()) is None
    (tmp_path / "card.img.json").write_text(
        json.dumps({"image": {"sha256": "0" * 64}, "board": "B"})
    )
    assert base_manifest(image, facts()) == {"image": {"sha256": "0" * 64}, "board": "B"}


def test_the_manifest_inherits_from_that_of_the_base_image(store: Store, tmp_path: Path) -> None:
    found = Steps()()
    with store.building("k"):
        made = store.draft("k")
        for name in (IMAGE, f"{IMAGE}.bmap"):
            (made / name).touch()
        (made / "image.json").write_text('{"sha256": "2"}')
        image = store.commit("k", step="image", components={}, seconds=1)
    with store.building("w"):
        (store.draft("w") / "numpy-2.0-py3-none-any.whl").touch()
        wheels = store.commit("w", step="wheels", components={}, seconds=1)
    (tmp_path / "lock").touch()
    step = Wheels(
        "wheels:x", tmp_path / "lock", python="3.11", architecture=Architecture.ARMHF, scope="x"
    )
    output = CustomOutput(directory=tmp_path, board="Pynq-Z2", path=tmp_path / "new.img")
    old = {"package": "numpy", "version": "1.0", "file": "numpy-1.0-py3-none-any.whl"}
    publish_custom(
        output,
        found,
        Request(recipes=extra_recipes(TREE, [], present={})),
        plan=[Planned(step=step, identity="w", key="w", parts={}, reason="", needed=True)],
        entries={found.image: image, step: wheels},
        before={
            "contents": {"partitions": {"root": 1}},
            "python-packages": [old],
            "sources": [{"url": "u"}],
        },
    )
    manifest = json.loads(output.manifest.read_text())
    assert "contents" not in manifest
    assert manifest["sources"] == [{"url": "u"}]
    assert [each["version"] for each in manifest["python-packages"]] == ["2.0"]
