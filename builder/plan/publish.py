# SPDX-License-Identifier: MIT
"""The output directory: what a build gives its user, and the manifest that says what is in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.bsp.petalinux.project import PetaLinuxProject
from builder.bsp.petalinux.tool import PetaLinuxTool
from builder.bsp.prebuilt.prebuilt import Prebuilt
from builder.bsp.provider import NOTES
from builder.plan.board import BoardSteps
from builder.plan.joint import BoardPlan
from builder.plan.plan import Planned
from builder.plan.products import PRODUCTS
from builder.spec.legacy import fetches
from builder.steps.sources import PackageSource, UrlSource
from builder.steps.step import Step
from builder.steps.wheels import Wheels
from builder.store.store import Entry, write_atomically

_STAMP = ".published"


@dataclass(frozen=True, kw_only=True)
class Output:
    """A board's output directory."""

    directory: Path
    board: str

    @property
    def image(self) -> Path:
        """The card image."""
        return self.directory / f"{self.board}.img"

    @property
    def manifest(self) -> Path:
        """What is in the image, as JSON."""
        return self.directory / "manifest.json"

    @property
    def screenshot(self) -> Path:
        """What the last test saw in a browser."""
        return self.directory / "screenshot.png"

    @property
    def logs(self) -> Path:
        """A log for each step."""
        return self.directory / "logs"


@dataclass(frozen=True, kw_only=True)
class BoardResult:
    """What a build came to for one board.

    `complete` says whether its image is there, `fresh` whether it was not before. So many of its
    steps were `built` and `kept`; those that were built took `seconds` in sum, whichever boards
    they are for. `notes` are what the user is to know about the card, after each build. `products`
    are where by-products are, if these were asked for in place of the image.
    """

    output: Output
    complete: bool
    fresh: bool
    built: int
    kept: int
    seconds: float
    notes: Sequence[str] = ()
    products: Sequence[Path] = ()


def finish(output: Output, board: BoardPlan, entries: Mapping[Step, Entry]) -> BoardResult:
    """Publish a board whose image could be made, and say what came of it."""
    complete = all(step in entries for step in board.steps.targets)
    products: Sequence[Path] = ()
    if board.steps.product:
        products = _publish_product(output, board.steps, entries) if complete else ()
        fresh = complete
    else:
        fresh = complete and publish(output, board.steps, board.plan, entries)
    built = [entries[item.step] for item in board.plan if not item.kept and item.step in entries]
    return BoardResult(
        output=output,
        complete=complete,
        fresh=fresh,
        built=len(built),
        kept=sum(item.kept for item in board.plan),
        seconds=sum(entry.seconds for entry in built),
        notes=_notes(board.steps, entries),
        products=products,
    )


def _publish_product(
    output: Output, steps: BoardSteps, entries: Mapping[Step, Entry]
) -> Sequence[Path]:
    """Bring a by-product's files into the output directory; return where they are."""
    assert steps.only
    assert steps.product
    made, folder = entries[steps.product].files, PRODUCTS[steps.only].folder
    if folder:
        shutil.rmtree(output.directory / folder, ignore_errors=True)
        shutil.copytree(made, output.directory / folder)
        return [output.directory / folder]
    names = sorted(path.name for path in made.iterdir())
    for name in names:
        copy_sparse(made / name, output.directory / name)
    return [output.directory / name for name in names]


def publish(
    output: Output,
    steps: BoardSteps,
    plan: Sequence[Planned],
    entries: Mapping[Step, Entry],
) -> bool:
    """Bring the output directory up to date; return whether there was anything to do.

    Files are copied, not linked: what users do to them must not reach the store.
    """
    targets = [entries[step] for step in steps.targets]
    stamp = output.directory / _STAMP
    wanted = "\n".join(entry.key for entry in targets)
    files = [path for entry in targets for path in entry.files.iterdir()]
    complete = all((output.directory / path.name).exists() for path in files)
    if complete and output.manifest.exists() and stamp.exists() and stamp.read_text() == wanted:
        return False
    stamp.unlink(missing_ok=True)
    for path in files:
        copy_sparse(path, output.directory / path.name)
    boot = output.directory / "boot"
    shutil.rmtree(boot, ignore_errors=True)
    made = entries.get(steps.boot.boot_files)
    if made:
        shutil.copytree(made.files, boot)
    manifest = json.dumps(_manifest(steps, plan, entries), indent=1)
    write_atomically(output.manifest, f"{manifest}\n")
    output.manifest.chmod(0o644)
    stamp.write_text(wanted)
    return True


def give_to_caller(path: Path) -> None:
    """Make the user who called sudo the owner of a directory and all in it."""
    if "SUDO_UID" in os.environ and os.geteuid() == 0:
        user, group = int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"])
        for item in (path, *path.rglob("*")):
            os.chown(item, user, group, follow_symlinks=False)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file with its holes, and without copying where the filesystem can share blocks."""
    partial = target.with_name(f".{target.name}.part")
    subprocess.run(
        ["cp", "--sparse=auto", "--reflink=auto", "--", str(source), str(partial)], check=True
    )
    partial.rename(target)


def _manifest(
    steps: BoardSteps, plan: Sequence[Planned], entries: Mapping[Step, Entry]
) -> dict[str, Any]:
    image = json.loads((entries[steps.image].files / "image.json").read_text())
    spec, archive = steps.spec, steps.archive
    bootstrap = entries.get(steps.layers[0])
    packages = json.loads((bootstrap.files / "packages.json").read_text()) if bootstrap else None
    return {
        "board": spec.name,
        "image": {"file": f"{spec.name}.img", **image},
        "distribution": {
            "name": archive.distribution.name,
            "architecture": archive.architecture.value,
            "release-files": dict(archive.pockets),
            "left-out": archive.left_out,
            "as-of": archive.epoch,
        },
        # Without the parameters, some of which are secret: they are in `recipes`.
        "spec": spec.board.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude={"parameters"}
        ),
        "recipes": {
            recipe.name: {
                key: "(secret)" if recipe.model.parameters[key].secret else value
                for key, value in recipe.parameters.items()
            }
            for recipe in spec.recipes
        },
        "packages": packages,
        "python-packages": _python_packages(plan, entries),
        "sources": _sources(plan),
        "notes": _notes(steps, entries),
        "steps": [
            {
                "name": item.step.name,
                "fingerprint": item.key,
                "seconds": round(entries[item.step].seconds, 1) if item.step in entries else None,
            }
            for item in plan
        ],
    }


def _notes(steps: BoardSteps, entries: Mapping[Step, Entry]) -> list[str]:
    """Return what the user is to know of a card.

    The provider says it: at once, and with the boot files if it has them. Recipes that fetch what
    nobody checks are named too.
    """
    made = entries.get(steps.boot.boot_files)
    late = made.files / NOTES if made else None
    fetching = [recipe.name for recipe in steps.spec.recipes if fetches(recipe.model)]
    return [
        *steps.boot.notes,
        *(json.loads(late.read_text()) if late and late.exists() else ()),
        *(
            f"{steps.spec.name}: scripts of recipe {name} had the network (legacy.network): what "
            "they fetched was not checked, and this image cannot be made again as it is"
            for name in fetching
        ),
    ]


def _python_packages(
    plan: Sequence[Planned], entries: Mapping[Step, Entry]
) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for item in plan:
        entry = entries.get(item.step)
        if isinstance(item.step, Wheels) and entry:
            for path in sorted(entry.files.glob("*.whl")):
                name, version = path.name.split("-")[:2]
                found.append({"package": name, "version": version, "file": path.name})
    return found


def _sources(plan: Sequence[Planned]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for item in plan:
        step = item.step
        if isinstance(step, PackageSource):
            files = {file.name: file.sha256 for file in step.package.files}
            found.append(
                {"package": step.package.name, "version": step.package.version, "sha256": files}
            )
        elif isinstance(step, UrlSource):
            found.append({"url": step.download.url, "sha256": step.download.sha256})
        elif isinstance(step, Prebuilt) and step.content:
            found.append({"boot-files": Path(str(step.given)).name, "sha256": step.content})
        elif isinstance(step, PetaLinuxTool):
            found.append({"petalinux": step.release.version, "sha256": step.installer.sha256})
        elif isinstance(step, PetaLinuxProject) and step.bsp_sha256:
            found.append({"petalinux-bsp": step.bsp_name, "sha256": step.bsp_sha256})
    return found
