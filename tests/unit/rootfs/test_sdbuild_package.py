# SPDX-License-Identifier: MIT
"""Packages of sdbuild in recipes: what is checked, what a step depends on, how scripts run."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pytest

from builder.apt.archive import Archive
from builder.containers.containers import Containers
from builder.errors import CommandError
from builder.plan.rootfs_steps import root_layers
from builder.rootfs.board_view import BoardView
from builder.rootfs.layers import LayerStack, MountedRoot
from builder.rootfs.recipe import RecipeLayer
from builder.rootfs.sdbuild_package import FetchingSdbuildPackageLayer, SdbuildPackageLayer
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PrivateWorkspace, Workspace
from builder.spec.recipe import Recipe
from builder.spec.resolve import ResolvedRecipe
from builder.steps.step import Job, Shared
from builder.store.store import Store
from tests.fixtures.command_line import FakeArchive
from tests.fixtures.jobs import BOARD
from tests.fixtures.specs import Files

# What is checked


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "legacy: {package: nowhere}",
            "2: legacy.package: none of pre.sh, qemu.sh, post.sh is in ",
        ),
        ("legacy: {package: empty}", "2: legacy.package: none of pre.sh, qemu.sh, post.sh is in "),
        ("legacy: {package: ../p}", "2: legacy.package: must be a path below the directory of"),
        ("legacy: {}", "2: legacy.package: is missing"),
        ("legacy: {package: p, network: perhaps}", "2: legacy.network: must be true or false"),
        (
            "legacy:\n  package: p\n  board-files: [nothing]\nboard-specific: true",
            "4: legacy.board-files.0: there is no file ",
        ),
        (
            "legacy: {package: p, board-files: [profiles]}",
            "2: legacy.board-files: needs `board-specific: true`",
        ),
    ],
)
def test_a_package_that_cannot_be_used_is_named_with_line_and_key(
    files: Files, text: str, problem: str
) -> None:
    files.write("recipes/a/p/pre.sh", "")
    files.write("recipes/a/empty/setup.sh", "")
    files.recipe("a", text + "\n")
    found = files.problems()
    assert any(line.startswith(f"recipes/a/recipe.yaml:{problem}") for line in found), found


@pytest.mark.parametrize("script", ["pre.sh", "qemu.sh", "post.sh"])
def test_one_script_makes_a_package(files: Files, script: str) -> None:
    files.write(f"recipes/a/p/{script}", "")
    files.recipe("a", "legacy: {package: p}\n")
    (recipe,) = files.resolve().recipes
    assert recipe.model.legacy
    assert not recipe.model.legacy.network


# What a step depends on


class Package:
    """A recipe with a package, in the directory of a board."""

    def __init__(self, board: Path, **legacy: Any) -> None:
        self.board = board
        self.directory = board / "recipes/wilc"
        self.keys: dict[str, Any] = {"board-specific": True}
        self.legacy = {"package": "wilc3000", **legacy}
        self.write("conf", "x")

    def write(self, name: str, text: str) -> Path:
        path = self.directory / "wilc3000" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def step(self, archive: Archive) -> RecipeLayer:
        model = Recipe.model_validate({"summary": "x", "legacy": self.legacy, **self.keys})
        recipe = ResolvedRecipe(
            name="wilc", directory=self.directory, model=model, parameters={}, origins={}
        )
        (_, step) = root_layers([recipe], archive, BoardView(name="B", board=BOARD), native=None)
        assert isinstance(step, RecipeLayer)
        return step


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return Package(tmp_path / "boards/B")


@pytest.fixture
def archive() -> Archive:
    return FakeArchive()


def test_a_step_reads_the_whole_package_and_the_files_of_the_board(
    package: Package, archive: Archive
) -> None:
    package.legacy["board-files"] = ["base/base.bit"]
    read = {str(path.relative_to(package.board)) for path in package.step(archive).files()}
    assert read == {"recipes/wilc/recipe.yaml", "recipes/wilc/wilc3000", "base/base.bit"}


def test_only_a_package_with_the_network_is_one_that_offline_refuses(
    package: Package, archive: Archive
) -> None:
    without = package.step(archive)
    assert type(without) is SdbuildPackageLayer
    assert not without.fetches
    package.legacy["network"] = True
    fetching = package.step(archive)
    assert type(fetching) is FetchingSdbuildPackageLayer
    assert fetching.fetches


# How scripts run


class MachineStack(LayerStack):
    """A stack whose tree is a copy of this machine: the build's own programs are the target's."""

    @contextmanager
    def mounted(self, *_: object, **__: object) -> Iterator[MountedRoot]:
        base = self.workspace.directory
        tree, upper, work = (base / name for name in ("tree", "upper", "work"))
        run = self.workspace.run
        run(["mount", "-t", "tmpfs", "all", base])
        run(["mkdir", tree, upper, work])
        options = f"lowerdir=/,upperdir={upper},workdir={work}"
        run(["mount", "-t", "overlay", "-o", options, "overlay", tree])
        yield MountedRoot(path=tree, changes=upper, workspace=self.workspace)

    def save(self, root: MountedRoot, output: Path, **_: object) -> None:
        run = self.workspace.run
        run(["cp", "-a", "--no-preserve=xattr", f"{root.changes}/.", output])


class Tools:
    """What jobs share: the stack, and no container."""

    jobs = 1
    compiler_cache = None
    containers = cast(Containers, None)

    def __init__(self, stack: LayerStack, processes: Processes) -> None:
        self.stack = stack
        self.processes = processes

    def shared(self, create: Callable[[Workspace], Shared]) -> Shared:
        assert create is LayerStack
        return cast(Shared, self.stack)

    def workspace(
        self, name: str, *, need: int, network: bool = False
    ) -> AbstractContextManager[Workspace]:
        raise NotImplementedError(name, need, network)


class Run:
    """What a step has made: the changed files, and its log."""

    def __init__(self, tree: Path, log: str) -> None:
        self.tree = tree
        self.log = log

    def text(self, name: str) -> str:
        return (self.tree / name).read_text()

    def variables(self, name: str) -> Mapping[str, str]:
        return dict(line.split("=", 1) for line in self.text(name).splitlines())


class Runner:
    """Runs a package's scripts on copies of this machine."""

    def __init__(
        self, package: Package, archive: Archive, store: Store, processes: Processes
    ) -> None:
        self.package = package
        self.archive = archive
        self.store = store
        self.processes = processes
        self.log: IO[str] = io.StringIO()

    def __call__(self) -> Run:
        scratch, output = (self.package.board.parent / name for name in ("scratch", "output"))
        scratch.mkdir()
        output.mkdir()
        with PrivateWorkspace(scratch, processes=self.processes) as workspace:
            job = Job(
                inputs={"bootstrap": cast(Any, None)},
                output=output,
                log=self.log,
                store=self.store,
                tools=Tools(MachineStack(workspace), self.processes),
                on_line=lambda _: None,
            )
            self.package.step(self.archive).run(job)
        assert isinstance(self.log, io.StringIO)
        return Run(output, self.log.getvalue())


@pytest.fixture
def run(
    package: Package, archive: Archive, store: Store, processes: Processes, needs_root: None
) -> Runner:
    return Runner(package, archive, store, processes)


PRE = """\
#!/bin/bash
set -e
target=$1
script_dir="$( cd "$( dirname "${BASH_SOURCE[0]}" )" && pwd )"
sudo mkdir -p $target/opt/wilc
pwd | sudo tee $target/opt/wilc/cwd
/usr/bin/sudo -E cp $script_dir/conf $target/opt/wilc/conf
env | sudo tee $target/opt/wilc/pre
sudo -u root touch /usr/local/bin/the-machine-is-left-alone
echo pre | sudo tee -a $target/opt/wilc/order
"""
QEMU = """\
set -e
env > /opt/wilc/qemu
echo "qemu $(pwd) $0" >> /opt/wilc/order
touch /run/not-kept
"""
POST = """\
test ! -e $1/qemu.sh || exit 1
echo post >> $1/opt/wilc/order
"""


def test_the_three_scripts_run_in_order_where_sdbuild_runs_them(
    run: Runner, package: Package
) -> None:
    for name, text in (("pre.sh", PRE), ("qemu.sh", QEMU), ("post.sh", POST)):
        package.write(name, text).chmod(0o644)
    done = run()
    assert done.text("opt/wilc/order").splitlines() == ["pre", "qemu / qemu.sh", "post"]
    assert done.text("opt/wilc/conf") == "x"
    assert done.text("opt/wilc/cwd") == "/pynq/sdbuild\n"
    changed = {path.relative_to(done.tree).parts[0] for path in done.tree.iterdir()}
    assert changed == {"opt"}, "nothing else is in the layer"
    assert not Path("/usr/local/bin/the-machine-is-left-alone").exists()
    assert not Path("/pynq").exists()


def test_a_link_in_the_image_leads_no_script_out_of_it(
    run: Runner, package: Package, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("of this machine")
    package.write("pre.sh", f'ln -s "{victim}" "$1/qemu.sh"\n')
    package.write("qemu.sh", "touch /done\n")
    assert run().text("done") == ""
    assert victim.read_text() == "of this machine"


@pytest.mark.parametrize(
    ("specific", "board"), [(True, "B"), (False, "Unknown")], ids=["of a board", "of all"]
)
def test_scripts_have_sdbuilds_variables_and_none_of_the_callers(
    run: Runner,
    package: Package,
    monkeypatch: pytest.MonkeyPatch,
    specific: bool,  # noqa: FBT001
    board: str,
) -> None:
    place = f"/pynq/boards/{board}"
    monkeypatch.setenv("PYNQ_SDIST", "/caller's")
    package.keys = {"board-specific": specific}
    package.write("pre.sh", PRE)
    package.write("qemu.sh", QEMU)
    done = run()
    for name in ("pre", "qemu"):
        variables = done.variables(f"opt/wilc/{name}")
        wanted = {
            "ARCH": "arm",
            "BOARDDIR": "/pynq/boards",
            "BUILD_ROOT": "/pynq/sdbuild/build",
            "CFLAGS": "",
            "FPGA_MANAGER": "1",
            "PACKAGE_PATH": f"{place}/packages",
            "PYNQ_BOARD": board,
            "PYNQ_BOARDDIR": place,
            "QEMU_EXE": "/usr/bin/qemu-arm-static",
            "ROOTDIR": "/pynq/sdbuild",
        }
        assert {key: variables.get(key) for key in wanted} == wanted
        assert "PYNQ_SDIST" not in variables


def test_scripts_find_the_named_files_of_their_board_and_no_others(
    run: Runner, package: Package
) -> None:
    for name in ("base/base.bit", "notebooks/a.ipynb"):
        (package.board / name).parent.mkdir()
        (package.board / name).write_text(name)
    package.legacy["board-files"] = ["base"]
    package.write("pre.sh", 'cd $PYNQ_BOARDDIR; find . -type f | sort > "$1/found"\n')
    assert run().text("found").splitlines() == [
        "./base/base.bit",
        "./packages/wilc3000/conf",
        "./packages/wilc3000/pre.sh",
    ]


def interfaces() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


@pytest.mark.parametrize("network", [False, True])
def test_scripts_have_the_network_only_if_they_are_given_it(
    run: Runner,
    package: Package,
    network: bool,  # noqa: FBT001
) -> None:
    package.legacy["network"] = network
    text = 'sed 1,2d /proc/self/net/dev | cut -d: -f1 > "${1-}/interfaces.%s"\n'
    package.write("pre.sh", text % "pre" + 'cp /etc/resolv.conf "$1/resolv.pre" || :\n')
    package.write("qemu.sh", text % "qemu" + "cp /etc/resolv.conf /resolv.qemu || :\n")
    before = interfaces()
    done = run()
    after = interfaces()  # containers come and go meanwhile
    for name in ("pre", "qemu"):
        found = set(done.text(f"interfaces.{name}").split())
        if network:
            assert before & after <= found <= before | after
        else:
            assert found == {"lo"}
        if network:
            assert done.text(f"resolv.{name}") == Path("/etc/resolv.conf").read_text()
    kept: Sequence[Path] = [*done.tree.glob("etc/resolv*"), *done.tree.glob("run/*")]
    assert not kept, "what names are asked for is not the image's"


@pytest.mark.parametrize("script", ["pre.sh", "qemu.sh", "post.sh"])
@pytest.mark.parametrize(
    ("line", "hint"),
    [("echo Could not resolve host: x >&2", "`network: true` under `legacy`"), ("echo no", None)],
)
def test_a_script_that_fails_is_named_and_a_want_of_the_network_is_told(
    run: Runner, package: Package, script: str, line: str, hint: str | None
) -> None:
    package.write(script, f"{line}\nexit 7\n")
    with pytest.raises(CommandError) as caught:
        run()
    message = f"{script} of sdbuild package wilc3000 ended with status 7"
    assert caught.value.message == message
    assert caught.value.exit_code == 3
    assert (hint in (caught.value.hint or "")) if hint else caught.value.hint is None


def test_sudo_is_for_root_alone(run: Runner, package: Package) -> None:
    package.write("pre.sh", 'set -e\nA=1 sudo -E B=2 env > "$1/both"\nsudo -u xilinx id\n')
    with pytest.raises(CommandError) as caught:
        run()
    assert any("the only user is root, not xilinx" in line for line in caught.value.details)
