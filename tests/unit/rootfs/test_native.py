# SPDX-License-Identifier: MIT
"""Native execution: the choice of programs, and their tree in a target."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from builder.apt.archive import Archive
from builder.engine.host import host_architecture
from builder.engine.requirements import PACKAGES
from builder.rootfs.layers import LayerStack
from builder.rootfs.native import programs
from builder.rootfs.native.programs import NativePrograms, Rules, relocated, retargeted
from builder.rootfs.native.tree import NativeTree
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PrivateWorkspace
from builder.spec.models import Architecture
from builder.spec.reader import SpecTree
from builder.spec.resolve import NamedDistribution, resolve
from builder.steps.architectures import MACHINES
from builder.steps.layer_archive import LAYER, pack
from builder.store.store import Entry
from tests.fixtures.product import ROOT

SOURCE = Path(programs.__file__).with_name("exec.c")
AMD64, ARM64, ARMHF = Architecture.AMD64, Architecture.ARM64, Architecture.ARMHF

# The choice of programs

NAMES = ("x86_64", "x86-64", "amd64")


def rules(**reviewed: str) -> Rules:
    return Rules(packages=[], retargeted={}, reviewed=reviewed, never={"uname": "reports it"})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", None),
        (b"nothing of that kind\0x86 64\0", None),
        (b"\0x86_64\0", "x86_64"),
        (b"\0runs on x86-64 alone\0", "runs on x86-64 alone"),
        (b"\xffgcc-amd64.conf\n", "gcc-amd64.conf"),
        (b"amd64", "amd64"),
        (b"fine\0/etc/amd64\0", "/etc/amd64"),
        (b"\0/lib/x86_64-linux-gnu/libc.so.6\0", None),
        (b"\0/lib64/ld-linux-x86-64.so.2\0", None),
        (b"\0/usr/lib/x86_64-linux-gnu/perl5\0", None),
        (b"\0ld-linux-x86-64.so.2\0", None),
        (b'\0{"type":"deb","os":"debian","architecture":"amd64"}\0', None),
        (b"\0/usr/lib/x86_64-linux-gnu\0x86_64\0", "x86_64"),
        (b"\0see /usr/lib/x86_64-linux-gnu\0", "see /usr/lib/x86_64-linux-gnu"),
        (b"\0" + b"a" * 100 + b"amd64\0", "a" * 60),
    ],
)
def test_a_program_that_names_the_machine_is_refused(text: bytes, found: str | None) -> None:
    why = f"contains the architecture: {found}" if found else None
    assert rules().objection("tool", b"\x7fELF\0" + text, NAMES) == why
    assert rules(tool="looked at").objection("tool", text, NAMES) is None


def test_what_is_never_to_run_does_not_run() -> None:
    assert rules().objection("uname", b"", NAMES) == "reports it"
    assert rules(uname="looked at").objection("uname", b"", NAMES) == "reports it"


@pytest.mark.parametrize("python", ["3.10", "3.13"])
def test_the_rules_are_for_one_version_of_python(python: str) -> None:
    read = Rules.read(python)
    assert f"python{python}-minimal" in read.packages
    assert f"python{python}" in read.reviewed
    assert "{" not in json.dumps([*read.packages, *read.reviewed, *read.never])


def test_every_rule_has_its_reason_and_its_place() -> None:
    read = Rules.read("3.11")
    kinds = (read.retargeted, read.reviewed, read.never)
    for given in kinds:
        assert all(str(why or "").strip() for why in given.values())
    assert len({*read.retargeted, *read.reviewed, *read.never}) == sum(map(len, kinds))
    assert list(read.packages) == sorted({*read.packages})
    assert list(read.never) == sorted(read.never)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"x\0/lib64/ld.so.2\0y", b"x\0/usr/ld.so.2\0\0\0y"),
        (b"/lib64/ld.so.2\0/lib64/ld.so.2\0", b"/usr/ld.so.2\0\0\0/lib64/ld.so.2\0"),
        (b"/lib64/ld.so.21\0", None),
        (b"/lib/ld.so.2\0", None),
        (b"", None),
    ],
)
def test_a_program_looks_for_its_loader_where_the_link_is(
    before: bytes, after: bytes | None
) -> None:
    moved = relocated(before, "/lib64/ld.so.2", "/usr/ld.so.2")
    assert moved == (before if after is None else after)
    assert len(moved) == len(before)


@pytest.mark.parametrize("there", [ARM64.value, ARMHF.value])
def test_a_program_is_given_the_targets_architecture_for_its_own(there: str) -> None:
    before = b"\x7fELF\0amd64\x001.21 (amd64)\0i386\0"
    after = retargeted(before, "amd64", there)
    assert after == before.replace(b"amd64", there.encode())
    assert rules().objection("dpkg", before, NAMES)
    assert rules().objection("dpkg", after, NAMES) is None


def test_a_name_of_another_length_has_no_room_in_a_program() -> None:
    before = b"\x7fELF\0amd64\0"
    assert retargeted(before, "amd64", "loong64") == before


@pytest.mark.skipif(host_architecture() is None, reason="a machine that is not known")
def test_a_program_of_this_machine_is_moved(tmp_path: Path) -> None:
    """The program contains the loader's name; the name of the link is not longer."""
    architecture = host_architecture()
    assert architecture
    tree = NativeTree(files=tmp_path, architecture=architecture)
    own = MACHINES[architecture].loader
    program = Path("/bin/sh").read_bytes()
    moved = relocated(program, own, tree.loader)
    assert len(moved) == len(program)
    assert f"{tree.loader}\0".encode() in moved
    assert f"{own}\0".encode() not in moved


@pytest.mark.parametrize(
    ("version", "source"),
    [("1.0-1", "1.0-1"), ("1.0-1+b12", "1.0-1"), ("1:2+b1-1", "1:2+b1-1"), ("2+b", "2+b")],
)
def test_a_rebuild_on_one_architecture_is_the_same_version(version: str, source: str) -> None:
    assert programs._source_version(version) == source  # noqa: SLF001


# The tree


@pytest.mark.parametrize("architecture", Architecture)
def test_all_is_in_the_directory_of_the_architectures_libraries(
    architecture: Architecture,
) -> None:
    """Except the link to the loader, whose name must fit into the space of the loader's."""
    tree = NativeTree(files=Path("/x"), architecture=architecture)
    machine = MACHINES[architecture]
    assert tree.libraries == f"/usr/lib/{machine.triplet}"
    assert tree.entrance.startswith(f"{tree.libraries}/")
    assert len(tree.loader) <= len(machine.loader)
    target = Path(tree.loader).parent / tree.link
    assert target == Path(tree.libraries) / Path(machine.loader).name


def test_it_is_attached_read_only_whatever_its_place_is_called() -> None:
    tree = NativeTree(files=Path("/a store/it's"), architecture=AMD64)
    libraries = "/usr/lib/x86_64-linux-gnu"
    words = [shlex.split(line) for line in tree.attach().split(" && ")]
    assert words == [
        ["mkdir", "-p", f"$1{libraries}"],
        ["mount", "--bind", f"/a store/it's{libraries}", f"$1{libraries}"],
        ["mount", "-o", "remount,bind,ro", f"$1{libraries}"],
        ["ln", "-s", tree.link, f"$1{tree.loader}"],
    ]
    assert "$1" not in tree.attach().replace('"$1', "")
    assert "$1" not in tree.detach().replace('"$1', "")


@pytest.mark.usefixtures("needs_root")
def test_what_was_attached_leaves_no_trace(tmp_path: Path, processes: Processes) -> None:
    tree = NativeTree(files=tmp_path / "it's in the store", architecture=AMD64)
    libraries = tree.files / tree.libraries.lstrip("/")
    libraries.mkdir(parents=True)
    (libraries / "ld-linux-x86-64.so.2").write_text("loader")
    root = tmp_path / "a root"
    (root / "usr/lib/arm-linux-gnueabihf").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    before = sorted(root.rglob("*"))
    with PrivateWorkspace(tmp_path, processes=processes) as workspace:
        workspace.run(["sh", "-eu", "-c", tree.attach(), "hook", root])
        assert workspace.run(["cat", f"{root}{tree.loader}"]) == "loader"
        clear = workspace.run(["sh", "-c", f'rm -f "$1{tree.libraries}"/* 2>&1; :', "hook", root])
        assert "Read-only file system" in clear
        workspace.run(["sh", "-eu", "-c", tree.detach(), "hook", root])
        assert str(root) not in workspace.run(["cat", "/proc/self/mounts"])
    assert sorted(root.rglob("*")) == before
    assert [path.name for path in libraries.iterdir()] == ["ld-linux-x86-64.so.2"]


@pytest.mark.usefixtures("needs_root")
def test_it_lies_below_a_stack_of_layers_and_is_in_none(
    tmp_path: Path, processes: Processes
) -> None:
    tree = NativeTree(files=tmp_path / "in the store", architecture=AMD64)
    (tree.files / tree.libraries.lstrip("/")).mkdir(parents=True)
    (tree.files / tree.libraries.lstrip("/") / "ld-linux-x86-64.so.2").write_text("loader")
    (tree.files / tree.loader.lstrip("/")).symlink_to(tree.link)
    entry = Entry(key="lowest-layer", step="s", path=tmp_path / "entry", seconds=0, size=0)
    entry.files.mkdir(parents=True)
    content = tmp_path / "content"
    (content / "usr/lib").mkdir(parents=True)
    (content / "usr").chmod(0o700)
    (tmp_path / "work").mkdir()
    (tmp_path / "output").mkdir()
    with PrivateWorkspace(tmp_path / "work", processes=processes, tmpfs_bytes=1 << 20) as workspace:
        pack(workspace, content, entry.files / LAYER, epoch=0)
        stack = LayerStack(workspace)
        with stack.mounted([entry], native=tree) as root:
            assert workspace.run(["cat", f"{root.path}{tree.loader}"]) == "loader"
            assert workspace.run(["stat", "-c", "%a", root.path / "usr"]) == "700\n", "the target's"
            workspace.run(["touch", root.path / "usr/lib/new"])
            stack.save(root, tmp_path / "output", epoch=0)
        with stack.mounted([entry]) as root:
            assert workspace.run(["ls", root.path / "usr/lib"]) == ""
    command = ["tar", "--zstd", "-tf", str(tmp_path / "output" / LAYER)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert listed.split() == ["./", "./usr/", "./usr/lib/", "./usr/lib/new"]


# The step


@pytest.fixture
def distribution() -> NamedDistribution:
    return resolve(SpecTree(root=ROOT), "Pynq-Z2", distro="debian-bookworm").distributions[0]


def archives(
    folder: Path, distribution: NamedDistribution, here: Architecture, there: Architecture
) -> list[Archive]:
    made = []
    for number, architecture in enumerate((here, there)):
        root = folder / str(number)
        root.mkdir(parents=True, exist_ok=True)
        record = {"pockets": {"x": str(number)}, "left-out": {}, "epoch": 0, "sources": {}}
        (root / "release.json").write_text(json.dumps(record))
        made.append(Archive(root, distribution, architecture))
    return made


@pytest.mark.parametrize(
    ("here", "there", "compiler"),
    [
        (AMD64, ARMHF, "gcc-arm-linux-gnueabihf"),
        (AMD64, ARM64, "gcc-aarch64-linux-gnu"),
        (ARM64, ARMHF, "gcc-arm-linux-gnueabihf"),
    ],
)
def test_its_compilers_are_on_the_list_of_host_packages(
    tmp_path: Path,
    distribution: NamedDistribution,
    here: Architecture,
    there: Architecture,
    compiler: str,
) -> None:
    step = NativePrograms(*archives(tmp_path, distribution, here, there), scope="s")
    assert compiler in step.packages
    listed = {line.split()[0] for line in PACKAGES.read_text().splitlines() if line}
    assert {*step.packages} <= listed


def test_it_depends_on_both_archives_and_on_python(
    tmp_path: Path, distribution: NamedDistribution
) -> None:
    def settings(folder: str, **changes: object) -> Mapping[str, object]:
        model = distribution.model.model_copy(update=changes)
        named = NamedDistribution(name=distribution.name, model=model, mirrors={})
        return NativePrograms(
            *archives(tmp_path / folder, named, AMD64, ARMHF), scope="s"
        ).settings()

    first = settings("one")
    assert first == settings("two")
    assert first != settings("one", python="9.9")
    for number in range(2):
        path = tmp_path / f"two/{number}/release.json"
        text = path.read_text()
        path.write_text(text.replace('"x": "', '"x": "new '))
        named = archives_as_they_are(tmp_path / "two", distribution)
        assert NativePrograms(*named, scope="s").settings() != first
        path.write_text(text)


def archives_as_they_are(folder: Path, distribution: NamedDistribution) -> list[Archive]:
    pairs = enumerate((AMD64, ARMHF))
    return [Archive(folder / str(number), distribution, each) for number, each in pairs]


# The entrance


@pytest.fixture(params=[("env", "dash"), ("env",), ("dash",), ()], ids=str)
def entrance(
    tmp_path: Path, distribution: NamedDistribution, request: pytest.FixtureRequest
) -> Path:
    """The directory of programs that start native execution, with and without native programs."""
    step = NativePrograms(*archives(tmp_path, distribution, AMD64, ARMHF), scope="s")
    tree = NativeTree(files=tmp_path, architecture=AMD64)
    base = tmp_path / "native"
    (base / "programs/usr/bin").mkdir(parents=True)
    for name in request.param:
        (base / "programs/usr/bin" / name).symlink_to(f"/usr/bin/{name}")
    folder = base / "entrance"
    step._write_entrance(folder, tree)  # noqa: SLF001 - what the step leaves there
    script = folder / "enter"
    script.write_text(script.read_text().replace(f"{tree.libraries}/native", str(base)))
    return folder


def enter(
    entrance: Path, name: str, *words: str, path: str = "/usr/bin:/bin"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [entrance / name, *words],
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


needs_dash = pytest.mark.skipif(not Path("/usr/bin/dash").exists(), reason="needs dash")


@needs_dash
def test_entering_loads_the_library_of_each_architecture(entrance: Path) -> None:
    done = enter(entrance, "enter", "printenv", "LD_PRELOAD", "HOSTTYPE", "MACHTYPE")
    assert done.stdout.splitlines() == [
        f"{entrance.parent}/$LIB/exec.so",
        "arm",
        "arm-unknown-linux-gnueabihf",
    ]


@needs_dash
@pytest.mark.parametrize("rest", ["/usr/bin:/bin", "/opt/with blank:/usr/bin:/bin"])
def test_who_has_entered_does_not_enter_again(entrance: Path, rest: str) -> None:
    for path in (rest, f"{entrance}:{rest}"):
        assert enter(entrance, "enter", "printenv", "PATH", path=path).stdout == f"{rest}\n"


@needs_dash
def test_dpkg_and_env_enter_by_their_names(entrance: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "dpkg").write_text('#!/bin/sh\nprintf "[%s]" "$0" "$@" "$LD_PRELOAD"\nexit 5\n')
    (folder / "dpkg").chmod(0o755)
    path = f"{entrance}:{folder}:/usr/bin:/bin"
    library = f"{entrance.parent}/$LIB/exec.so"
    done = enter(entrance, "dpkg", "-i", "a b", "$x", path=path)
    assert done.stdout == f"[{folder}/dpkg][-i][a b][$x][{library}]"
    assert done.returncode == 5
    done = enter(entrance, "env", "A=b c", "dpkg", "1", path=path)
    assert done.stdout == f"[{folder}/dpkg][1][{library}]"
    assert enter(entrance, "env", "A=b c", "printenv", "A", path=path).stdout == "b c\n"


@needs_dash
def test_a_command_that_is_not_there_is_said(entrance: Path) -> None:
    assert enter(entrance, "enter", "no-such-program").returncode == 127


# The host


@pytest.mark.parametrize(
    ("said", "architecture"), [*((each.value, each) for each in Architecture), ("riscv64", None)]
)
def test_the_machines_architecture_is_what_dpkg_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, architecture: Architecture | None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert host_architecture() is None, "without dpkg"
    (tmp_path / "dpkg").write_text(f'#!/bin/sh\n[ "$*" = --print-architecture ] && echo {said}\n')
    (tmp_path / "dpkg").chmod(0o755)
    assert host_architecture() is architecture
