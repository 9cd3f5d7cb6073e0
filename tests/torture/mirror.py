# SPDX-License-Identifier: MIT
"""A mirror that drops, stalls, cuts and falsifies: an error or the right image, never another one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from tests.torture.figures import Figures
from tests.torture.ground import VARIANTS, Ground
from tests.torture.proxy import KINDS, Faults, serving

_RATES = (0.01, 0.03, 0.1, 0.3)
_UPDATES = 0.5
_LEFT_OUT = "WITHOUT the packages of"
"""What a build says that goes without a part of the archive, which gives another image."""


def run(ground: Ground, figures: Figures) -> None:
    """Build through a proxy that does harm, then through an honest one."""
    folder = ground.store.with_name(f"{ground.store.name}.proxy")
    with serving(folder) as proxy:
        # All that comes through the proxy stays as it is from now on.
        _forget(ground)
        ground.take_images("--update", environment=proxy.environment)
        for each in figures.each():
            variant = each.choice([*VARIANTS])
            faults = Faults(
                seed=f"{figures.seed} {figures.rounds}",
                rate=each.choice(_RATES),
                kinds=each.sample(KINDS, each.randint(1, len(KINDS))),
            )
            update = ["--update"] if each.random() < _UPDATES else []
            _forget(ground)
            ground.spoil(each)
            proxy.begin(faults)
            ended = ground.start(variant, *update, environment=proxy.environment).ended()
            verdict = ground.verdict(ended, variant)
            if verdict == "wrong image" and _LEFT_OUT in ended.said:
                verdict = "image without a part of the archive, which is said"
            figures.count(verdict)
            for harm, number in proxy.done.items():
                figures.count(f"answers {harm}", number)
            how = f"{faults.rate:.0%} of answers {'/'.join(faults.kinds)}, {' '.join(update)}"
            if verdict not in ("right image", "error told") and "which is said" not in verdict:
                figures.wrong(how, [f"{verdict}: {ended.end}"])
            figures.wrong(how, ground.problems())
            proxy.begin(None)
            figures.wrong(f"{how}; then honest", _honest(ground, variant, proxy.environment))
    shutil.rmtree(folder)


def _honest(ground: Ground, variant: str, environment: Mapping[str, str]) -> list[str]:
    ended = ground.start(variant, "--update", environment=environment).ended()
    verdict = ground.verdict(ended, variant)
    return [] if verdict == "right image" else [f"{verdict}: {ended.end}"]


def _forget(ground: Ground) -> None:
    """Remove what came from the network and what was made of it first."""
    ground.remove("bootstrap", "native-programs")
    shutil.rmtree(ground.store / "archives/packages", ignore_errors=True)
