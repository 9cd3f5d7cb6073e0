# SPDX-License-Identifier: MIT
"""The kernel: image, modules and headers for the root filesystem, includes for device trees."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from builder.bsp.soc import Family
from builder.engine.workspace import Workspace
from builder.errors import StepError, UserError
from builder.steps.layers import LAYER, pack
from builder.steps.step import Job, Shell, Step

NEED = 4 << 30
"""Bytes that the kernel's sources and objects take."""

# What a module is compiled with on the board, as Debian's scripts/package/builddeb picks it.
_HEADERS = r"""
mkdir -p "$(dirname "$TARGET")"
cd "$SOURCE"
{
    find . -maxdepth 1 \( -name 'Makefile*' -o -name 'Kconfig*' -o -name 'Kbuild*' \)
    find "arch/$ARCH" -maxdepth 1 -type f
    find "arch/$ARCH" \( -name 'Kbuild*' -o -name 'Makefile*' -o -name Kconfig \) -type f
    find "arch/$ARCH" -path '*/include/*' -type f
    find include scripts -type f -o -type l
} | sort -u > "$TARGET.list"
mkdir -p "$TARGET"
tar --create --files-from="$TARGET.list" | tar --extract --directory="$TARGET"
cd "$OBJECTS"
rm -f scripts/*.o scripts/*/*.o scripts/*/.*.cmd scripts/.*.cmd
{
    find "arch/$ARCH/include" include scripts -type f
    echo .config
} | tar --create --files-from=- | tar --extract --directory="$TARGET"
"""


class Kernel(Step):
    """Linux, configured from `allnoconfig`, the family's base and the fragments.

    Output: the kernel's image, `kernel-release`, `config`, `dts/` (for device trees), and a
    layer with modules and headers.
    """

    packages = (
        *("bc", "bison", "flex", "cpio", "kmod", "libssl-dev", "gcc", "make"),
        "gcc-arm-linux-gnueabihf",
    )

    def __init__(
        self,
        family: Family,
        *,
        source: Step,
        fragments: Sequence[Path],
        board_fragments: Sequence[Path],
        scope: str,
    ) -> None:
        super().__init__("kernel", scope=scope, parents={"linux-source": source})
        self.family = family
        self.fragments = [*fragments, *board_fragments]

    def settings(self) -> Mapping[str, object]:
        return {"soc": self.family.soc.value, "local version": self._local_version}

    def files(self) -> Sequence[Path]:
        return self.fragments

    def run(self, job: Job) -> None:
        with job.workspace("kernel", need=NEED) as workspace:
            environment = self._prepare(job, workspace)
            self._make(job, workspace, environment, self.family.kernel_image, "modules")
            self._collect(job, workspace, environment)

    @contextmanager
    def shell(self, job: Job) -> Iterator[Shell]:
        with job.workspace("kernel", need=NEED) as workspace:
            environment = self._prepare(job, workspace)
            yield Shell(
                workspace=workspace,
                argv=["bash", "-i"],
                cwd=workspace.directory / "build",
                environment=environment,
                about="the configured kernel; `make zImage modules` builds it",
            )

    @property
    def _local_version(self) -> str:
        return f"-{self.family.soc.value}"

    def _prepare(self, job: Job, workspace: Workspace) -> dict[str, str]:
        """Unpack and configure; return the environment of make."""
        work = workspace.directory
        unpack(job, workspace, job.input("linux-source"), work / "source")
        run = job.run
        epoch = run(workspace, "stat", "-c", "%Y", work / "source/Makefile").strip()
        environment = {
            "ARCH": self.family.kernel_arch,
            "CROSS_COMPILE": self.family.cross_compile,
            "LOCALVERSION": self._local_version,
            "KBUILD_BUILD_TIMESTAMP": f"@{epoch}",
            "KBUILD_BUILD_USER": "builder",
            "KBUILD_BUILD_HOST": "builder",
            "SOURCE_DATE_EPOCH": epoch,
        }
        run(workspace, "mkdir", work / "build")
        self._configure(job, workspace, environment)
        return environment

    def _configure(self, job: Job, workspace: Workspace, environment: Mapping[str, str]) -> None:
        work = workspace.directory
        self._make(job, workspace, environment, "allnoconfig", source=True)
        job.run(
            workspace,
            *(work / "source/scripts/kconfig/merge_config.sh", "-m", "-O", work / "build"),
            *(work / "build/.config", *self.fragments),
            environment=environment,
            cwd=work / "build",
        )
        self._make(job, workspace, environment, "olddefconfig")
        config = workspace.outside(work / "build/.config").read_text()
        lost = unmet(config, self.fragments)
        if lost:
            raise UserError(
                f"{len(lost)} kernel options do not hold in the final configuration",
                hint="an option needs others that are off, or does not exist in this kernel",
                details=lost,
            )

    def _make(
        self,
        job: Job,
        workspace: Workspace,
        environment: Mapping[str, str],
        *targets: str,
        source: bool = False,
    ) -> None:
        work = workspace.directory
        where = ["-C", str(work / "source"), f"O={work / 'build'}"] if source else []
        job.run(
            workspace,
            *("make", "--no-print-directory", f"-j{job.tools.jobs}", *where),
            # A check for those who write kernel code, which costs a shell for each object.
            "cmd_check_local_export=",
            *targets,
            environment=environment,
            cwd=work / "build",
        )

    def _collect(self, job: Job, workspace: Workspace, environment: dict[str, str]) -> None:
        work, run = workspace.directory, job.run
        build, source, stage = work / "build", work / "source", work / "stage"
        image = build / f"arch/{self.family.kernel_arch}/boot/{self.family.kernel_image}"
        run(workspace, "cp", image, build / ".config", job.output)
        run(workspace, "mv", job.output / ".config", job.output / "config")
        release = workspace.outside(build / "include/config/kernel.release").read_text().strip()
        (job.output / "kernel-release").write_text(f"{release}\n")
        self._make(
            job,
            workspace,
            environment | {"INSTALL_MOD_PATH": str(stage / "usr"), "INSTALL_MOD_STRIP": "1"},
            "modules_install",
        )
        modules = stage / f"usr/lib/modules/{release}"
        run(workspace, "rm", "-f", modules / "build", modules / "source")
        headers = f"usr/src/linux-headers-{release}"
        run(workspace, "ln", "-s", f"/{headers}", modules / "build")
        self._headers(job, workspace, environment, stage / headers)
        epoch = int(environment["SOURCE_DATE_EPOCH"])
        pack(workspace, stage, job.output / LAYER, epoch=epoch, log=job.log)
        self._device_trees(job, workspace, source)

    def _device_trees(self, job: Job, workspace: Workspace, source: Path) -> None:
        """Copy what boards' device trees include: the SoC's tree, and the bindings' names."""
        target = job.output / "dts"
        # Since 6.5 the trees lie in a directory for each maker.
        found = workspace.run(
            ["find", source / f"arch/{self.family.kernel_arch}/boot/dts", "-name", self.family.dtsi]
        ).split()
        if not found:
            raise StepError(f"these kernel sources have no {self.family.dtsi}")
        job.run(
            workspace,
            *("sh", "-c", 'mkdir "$1" && cp -r "$0"/zynq*.dtsi "$2" "$1"'),
            *(Path(found[0]).parent, target, source / "include/dt-bindings"),
        )

    def _headers(
        self, job: Job, workspace: Workspace, environment: dict[str, str], target: Path
    ) -> None:
        """Put the kernel's headers where modules find them, with build tools for the board.

        The tools are compiled a second time, by the cross compiler: the board is to run them.
        They are linked statically, since the build runs some of them, under qemu-user.
        """
        work = workspace.directory
        objects = work / "headers"
        job.run(workspace, "mkdir", objects)
        job.run(workspace, "cp", work / "build/.config", objects)
        job.run(
            workspace,
            *("make", "--no-print-directory", f"-j{job.tools.jobs}", "-C", work / "source"),
            *(f"O={objects}", f"HOSTCC={self.family.cross_compile}gcc", "HOSTLDFLAGS=-static"),
            "modules_prepare",
            environment=environment,
        )
        job.run(
            workspace,
            *("sh", "-eu", "-c", _HEADERS),
            environment={
                "SOURCE": str(work / "source"),
                "OBJECTS": str(objects),
                "TARGET": str(target),
                "ARCH": self.family.kernel_arch,
            },
        )
        job.run(workspace, "rm", "-f", f"{target}.list")
        job.run(workspace, "cp", work / "build/Module.symvers", target)


def unpack(job: Job, workspace: Workspace, package: Path, target: Path) -> None:
    """Unpack sources: a tarball, or a .deb with one inside, without its top directory."""
    work = workspace.directory
    archives = sorted(package.iterdir())
    if archives[0].suffix == ".deb":
        inside = work / "package"
        job.run(workspace, "dpkg-deb", "--extract", archives[0], inside)
        found = workspace.outside(inside).glob("usr/src/*.tar.*")
        archives = [inside / "usr/src" / path.name for path in found]
    job.run(workspace, "mkdir", target)
    job.run(
        workspace,
        *("tar", "--extract", "--strip-components=1", "--no-same-owner"),
        *("--directory", target, "--file", archives[0]),
    )


def unmet(config: str, fragments: Sequence[Path]) -> list[str]:
    """Return a line for each option of the fragments that does not hold in a .config."""
    actual = dict(_options(config))
    wanted: dict[str, tuple[str, str]] = {}
    for fragment in fragments:
        for number, line in enumerate(fragment.read_text().splitlines(), 1):
            for name, value in _options(line):
                wanted[name] = (value, f"{fragment}:{number}")  # the last one wins, as in merging
    return [
        f"{where}: {name}={value} became {actual.get(name, 'n')}"
        for name, (value, where) in wanted.items()
        if actual.get(name, "n") != value
    ]


def _options(text: str) -> list[tuple[str, str]]:
    return [
        (set_name or unset_name, value or "n")
        for set_name, value, unset_name in re.findall(
            r"^(?:(CONFIG_\w+)=(.*)|# (CONFIG_\w+) is not set)$", text, re.MULTILINE
        )
    ]
