# SPDX-License-Identifier: MIT
"""Test double of bitbake, with the messages of the real one.

Wording: bitbake's sources (cooker.py, monitordisk.py, utils.py, data_smart.py) and public build
logs. Cached between runs: stamps in TMPDIR, and an "sstate" of one file per fingerprint, in
`build/sstate-cache` or where SSTATE_DIR of petalinuxbsp.conf points.
"""

from __future__ import annotations

import locale
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.petalinux.tool import devicetree, images, kconfig, modules, recipes
from tests.petalinux.tool.project import Project
from tests.petalinux.tool.recipes import Recipe
from tests.petalinux.tool.talk import Stop

FAILURES = ("checksum", "compile", "dts", "fetch", "inotify", "locale", "no-space", "setscene")
_PLACES = ("DOUBLE_FAIL", "project-spec/meta-user/DOUBLE_FAIL")


@dataclass(frozen=True)
class Failed(Exception):
    """Failure of a task, with its message and the end of its log."""

    recipe: Recipe
    task: str
    message: str
    log: tuple[str, ...] = ()


def wanted_failure(project: Project) -> tuple[str, str]:
    """Return the task that is to fail, and its recipe if set (`compile@u-boot-xlnx`)."""
    text = os.environ.get("DOUBLE_FAIL", "")
    for place in _PLACES:
        path = project.root / place
        if not text and path.is_file():
            text = path.read_text(encoding="utf-8").strip()
    kind, _, recipe = text.partition("@")
    if kind and kind not in FAILURES:
        raise project.tool.talk.stop(f"the double knows no failure {kind!r}", code=70)
    return kind, recipe


def wanted_delay(project: Project) -> float:
    """Return the simulated duration of a compilation in seconds."""
    path = project.meta_user / "conf/DOUBLE_DELAY"
    given = path.read_text(encoding="utf-8") if path.is_file() else "0"
    return float(os.environ.get("DOUBLE_DELAY", given))


def check_host(project: Project) -> None:
    """Run the checks before parsing."""
    tool = project.tool
    kind, _ = wanted_failure(project)
    if kind == "locale" or sys.getfilesystemencoding() != "utf-8":
        sys.stderr.write(
            "Please use a locale setting which supports UTF-8 (such as LANG=en_US.UTF-8).\n"
            "Python can't change the filesystem locale after loading so we need a UTF-8 when "
            "Python starts or things won't work.\n"
        )
        raise Stop(1)
    if not tool.strict:
        return
    try:
        locale.setlocale(locale.LC_CTYPE, ("en_US", "UTF-8"))
    except locale.Error:
        sys.stderr.write("Please make sure locale 'en_US.UTF-8' is available on your system\n")
        raise Stop(1) from None
    if os.geteuid() == 0:
        tool.talk.raw(
            "ERROR:  OE-core's config sanity checker detected a potential misconfiguration.\n"
            "    Either fix the cause of this error or at your own risk disable the checker (see "
            "sanity.conf).\n    Following is the list of potential problems / advisories:\n\n"
            "    Do not use Bitbake as root."
        )
        raise Stop(1)


class Bitbake:
    """One run of bitbake in a project."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.talk = project.tool.talk
        self.failure, self.failing = wanted_failure(project)
        self.stamps = project.temporary() / "stamps" / project.machine
        self.errors = 0

    def run(self, names: Sequence[Recipe], *, force: bool = False, task: str = "") -> None:
        """Build recipes with their dependencies, or stop."""
        check_host(self.project)
        self._begin()
        order = self._order(names)
        prints = {recipe.name: recipes.fingerprint(self.project, recipe) for recipe in order}
        todo = [r for r in order if not self._stamped(r, prints[r.name])]
        if force:
            todo += [recipe for recipe in names if recipe not in todo]
        found = [r for r in todo if self._in_sstate(prints[r.name]) and not (force and r in names)]
        missed = [recipe for recipe in todo if recipe not in found]
        self._summary(order, todo, found)
        total = sum(recipe.tasks for recipe in order)
        try:
            self._monitor()
            for recipe in found:
                self._done(recipe, prints[recipe.name])
            for recipe in missed:
                self._tasks(recipe, before=self._before(order, recipe), total=total, last=task)
                self._done(recipe, prints[recipe.name])
        except Failed as failed:
            raise self._report(failed, order, missed) from None
        rerun = sum(recipe.tasks for recipe in missed)
        self.talk.raw(
            f"NOTE: Tasks Summary: Attempted {total} tasks of which {total - rerun} didn't need "
            "to be rerun and all succeeded."
        )

    def clean(self, recipe: Recipe, task: str) -> None:
        """Run cleansstate and similar tasks: remove the stamp and the recipe's images."""
        check_host(self.project)
        (self.stamps / f"{recipe.name}-{recipe.version}").unlink(missing_ok=True)
        if task in ("cleansstate", "cleanall", "distclean", "mrproper"):
            self._sstate(recipes.fingerprint(self.project, recipe)).unlink(missing_ok=True)
        images.remove(self.project, recipe.name)
        self.talk.raw("NOTE: Executing Tasks")
        self.talk.raw(
            "NOTE: Tasks Summary: Attempted 2 tasks of which 0 didn't need to be rerun and all "
            "succeeded."
        )

    def _begin(self) -> None:
        talk = self.talk
        if self.failure == "inotify":
            for line in (
                "No space left on device or exceeds fs.inotify.max_user_watches?",
                "To check max_user_watches: sysctl -n fs.inotify.max_user_watches.",
                "To modify max_user_watches: sysctl -n -w fs.inotify.max_user_watches=<value>.",
                "Root privilege is required to modify max_user_watches.",
            ):
                talk.raw(f"ERROR: {line}")
            raise Stop(1)
        talk.raw("NOTE: Started PRServer with DBfile: build/cache/prserv.sqlite3")
        talk.raw("Loading cache: 100% |#####################| Time: 0:00:00")
        if faults := list(recipes.complaints(self.project)):
            for fault in faults:
                talk.raw(f"ERROR: {fault}")
            talk.raw(
                f"\nSummary: There were {len(faults)} ERROR messages shown, returning a non-zero "
                "exit code."
            )
            raise Stop(1)
        talk.raw("Parsing recipes: 100% |#####################| Time: 0:00:01")
        talk.raw("NOTE: Resolving any missing task queue dependencies")

    def _order(self, names: Sequence[Recipe]) -> list[Recipe]:
        order: list[Recipe] = []

        def add(recipe: Recipe) -> None:
            for name in recipe.after:
                add(recipes.RECIPES[name])
            if recipe not in order:
                order.append(recipe)

        for recipe in names:
            add(recipe)
        return order

    @staticmethod
    def _before(order: Sequence[Recipe], recipe: Recipe) -> int:
        return sum(other.tasks for other in order[: order.index(recipe)])

    def _stamped(self, recipe: Recipe, fingerprint: str) -> bool:
        stamp = self.stamps / f"{recipe.name}-{recipe.version}"
        if not stamp.is_file() or stamp.read_text(encoding="utf-8") != fingerprint:
            return False
        return images.deployed(self.project, recipe.name)

    def _sstate(self, fingerprint: str) -> Path:
        conf = self.project.meta_user / "conf/petalinuxbsp.conf"
        text = conf.read_text(encoding="utf-8") if conf.is_file() else ""
        found = re.search(r'^\s*SSTATE_DIR\s*[?:]*=\s*"([^"]+)"', text, re.MULTILINE)
        place = Path(found[1]) if found else self.project.build / "sstate-cache"
        return place / fingerprint[:2] / f"sstate:{fingerprint}"

    def _feeds(self) -> Iterator[Path]:
        values = kconfig.read(self.project.config)
        for name in (
            "CONFIG_YOCTO_LOCAL_SSTATE_FEEDS_URL",
            "CONFIG_YOCTO_NETWORK_SSTATE_FEEDS_URL",
        ):
            url = kconfig.text(values, name)
            path = re.sub("^file://", "", url)
            if path.startswith("/"):
                yield Path(path)

    def _in_sstate(self, fingerprint: str) -> bool:
        own = self._sstate(fingerprint)
        below = own.relative_to(own.parents[1])
        return any(path.is_file() for path in (own, *(feed / below for feed in self._feeds())))

    def _summary(
        self, order: Sequence[Recipe], todo: Sequence[Recipe], hits: Sequence[Recipe]
    ) -> None:
        wanted, found, current = (sum(r.tasks for r in some) for some in (todo, hits, order))
        current -= wanted
        match = 100 * found // wanted if wanted else 0
        complete = 100 * (found + current) // (wanted + current) if wanted + current else 100
        mirrors = "Found" if self.project.tool.series == "honister" else "Local"
        middle = f"{mirrors} {found}" + ("" if mirrors == "Found" else " Mirrors 0")
        self.talk.raw("Initialising tasks: 100% |#####################| Time: 0:00:00")
        self.talk.raw(
            f"Sstate summary: Wanted {wanted} {middle} Missed {wanted - found} Current {current} "
            f"({match}% match, {complete}% complete)"
        )
        self.talk.raw("NOTE: Executing Tasks")

    def _monitor(self) -> None:
        """Monitor the disk as bitbake does for BB_DISKMON_DIRS."""
        if self.failure == "no-space":
            temporary = self.project.temporary()
            self.talk.raw(
                f"WARNING: The free space of {temporary} (/dev/sda1) is running low (0.998GB left)"
            )
            self.talk.raw(
                "ERROR: No new tasks can be executed since the disk space monitor action is "
                '"STOPTASKS"!'
            )
            self.talk.raw(
                "NOTE: Tasks Summary: Attempted 0 tasks of which 0 didn't need to be "
                "rerun and all succeeded."
            )
            self.talk.raw(
                "\nSummary: There was 1 WARNING message shown.\n"
                "Summary: There was 1 ERROR message shown, returning a non-zero exit code."
            )
            raise Stop(1)

    def _tasks(self, recipe: Recipe, *, before: int, total: int, last: str) -> None:
        steps = ("fetch", "unpack", "patch", "configure", "compile", "install", "deploy")
        for number, step in enumerate(steps):
            at = before + 1 + number * max(1, recipe.tasks // len(steps))
            self.talk.raw(f"NOTE: Running task {at} of {total} ({_path(recipe)}:do_{step})")
            self.talk.raw(f"NOTE: recipe {recipe.name}-{recipe.version}: task do_{step}: Started")
            self._try(recipe, step)
            self.talk.raw(f"NOTE: recipe {recipe.name}-{recipe.version}: task do_{step}: Succeeded")
            if last == step:
                break

    def _try(self, recipe: Recipe, step: str) -> None:
        if step == "fetch":
            self._fetch(recipe)
        elif step == "compile":
            time.sleep(wanted_delay(self.project))
            if recipe.name == "device-tree":
                if faults := devicetree.faults(self.project, forced=self.failure == "dts"):
                    raise Failed(recipe, "compile", "Execution of run.do_compile failed", faults)
            elif self._fails("compile", recipe, "linux-xlnx"):
                log = ("drivers/foo.c:1:1: error: the double was told to fail", "make: *** Error 2")
                raise Failed(recipe, "compile", "oe_runmake failed", log)

    def _fails(self, kind: str, recipe: Recipe, by_default: str) -> bool:
        return self.failure == kind and recipe.name == (self.failing or by_default)

    def _fetch(self, recipe: Recipe) -> None:
        if absent := recipes.absent_files(self.project, recipe):
            raise Failed(
                recipe,
                "fetch",
                f"Fetcher failure for URL: 'file://{absent[0]}'. Unable to fetch URL from any source.",
            )
        source = f"git://github.com/Xilinx/{recipe.name}.git"
        if self._fails("checksum", recipe, "u-boot-xlnx"):
            raise Failed(
                recipe,
                "fetch",
                f"Bitbake Fetcher Error: ChecksumError('Checksum mismatch!', '{source}')",
                (
                    "File: 'downloads/source.tar.gz' has sha256 checksum '00' when '11' was expected",
                ),
            )
        values = kconfig.read(self.project.config)
        mirror = kconfig.text(values, "CONFIG_PRE_MIRROR_URL")
        local = mirror.startswith("file://") and any(Path(mirror[7:]).glob("*"))
        if "CONFIG_YOCTO_BB_NO_NETWORK" in values and not local:
            raise Failed(
                recipe,
                "fetch",
                "Network access disabled through BB_NO_NETWORK (or set indirectly due to use of "
                f"BB_FETCH_PREMIRRORONLY) but access requested with command git ls-remote {source}",
            )
        if self._fails("fetch", recipe, "linux-xlnx"):
            raise Failed(
                recipe,
                "fetch",
                f"Fetcher failure for URL: '{source}'. Unable to fetch URL from any source.",
            )

    def _done(self, recipe: Recipe, fingerprint: str) -> None:
        images.deploy(self.project, recipe.name, fingerprint)
        release = images.kernel_release(self.project)
        if recipe.name == "linux-xlnx":
            modules.deploy_kernels(self.project, release)
        if recipe.module:
            try:
                modules.deploy(self.project, recipe, release)
            except modules.NotShipped as error:
                raise Failed(
                    recipe,
                    "package",
                    f"QA Issue: {recipe.name}: Files/directories were installed but not shipped in "
                    "any package:\n" + "".join(f"  {name}\n" for name in error.files),
                ) from None
        for path in (self._sstate(fingerprint), self.stamps / f"{recipe.name}-{recipe.version}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(fingerprint, encoding="utf-8")

    def _report(self, failed: Failed, order: Sequence[Recipe], missed: Sequence[Recipe]) -> Stop:
        """Print the failure as bitbake does."""
        recipe, talk = failed.recipe, self.talk
        work = self.project.temporary() / "work" / self.project.machine / recipe.name
        log = work / recipe.version / "temp" / f"log.do_{failed.task}.{os.getpid()}"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(f"{line}\n" for line in failed.log), encoding="utf-8")
        talk.raw(f"ERROR: {recipe.name}-{recipe.version} do_{failed.task}: {failed.message}")
        talk.raw(f"ERROR: Logfile of failure stored in: {log}")
        if failed.log:
            talk.raw("Log data follows:")
        for line in failed.log:
            talk.raw(f"| {line}")
        talk.raw(f"ERROR: Task ({_path(recipe)}:do_{failed.task}) failed with exit code '1'")
        total = self._before(order, recipe) + 1
        rerun = sum(other.tasks for other in missed if order.index(other) < order.index(recipe)) + 1
        talk.raw(
            f"NOTE: Tasks Summary: Attempted {total} tasks of which {total - rerun} didn't need "
            "to be rerun and 1 failed."
        )
        talk.raw(f"\nSummary: 1 task failed:\n  {_path(recipe)}:do_{failed.task}")
        talk.raw("Summary: There was 1 ERROR message shown, returning a non-zero exit code.")
        return Stop(1)


def _path(recipe: Recipe) -> str:
    return f"components/yocto/layers/meta-xilinx/{recipe.name}/{recipe.name}.bb"
