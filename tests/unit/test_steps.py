# SPDX-License-Identifier: MIT
"""The steps' own arithmetic: templates, packages, kernel options, downloads, partitions."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pytest

from builder.archive.archive import Archive
from builder.bsp.mainline.kernel import unmet
from builder.engine.containers import Containers
from builder.engine.process import Processes
from builder.engine.workspace import PrivateWorkspace, Workspace
from builder.errors import StepError, UserError
from builder.plan.rootfs import BoardView, root_layers
from builder.spec.distribution import Distribution
from builder.spec.models import Architecture, Board, Download, Partitions
from builder.spec.overlays import find_design
from builder.spec.recipe import Recipe
from builder.spec.resolve import NamedDistribution, ResolvedRecipe
from builder.steps.bootstrap import installed
from builder.steps.image import BOOT_OFFSET, MIB, SECTOR, Compressed, Image, fat_geometry
from builder.steps.layers import LayerStack, Root
from builder.steps.native.tree import NativeTree
from builder.steps.recipe import RecipeLayer, _Renderer
from builder.steps.sources import UrlSource, sha256
from builder.steps.step import Job
from builder.steps.wheels import Wheels
from builder.store.store import Entry, Store

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class PlainStack(LayerStack):
    """Stands in for a stack of layers: a plain directory is the tree."""

    def __init__(self, root: Root) -> None:
        super().__init__(root.workspace)
        self.root = root

    @contextmanager
    def mounted(
        self,
        layers: Sequence[Entry],
        *,
        native: NativeTree | None = None,
        log: IO[str] | None = None,
    ) -> Iterator[Root]:
        del layers, native, log
        yield self.root


class PlainTools:
    """What jobs share, without an engine and without containers."""

    jobs = 1
    containers = cast(Containers, None)

    def __init__(self, store: Store, processes: Processes, root: Root | None = None) -> None:
        self.processes = processes
        self.root = root
        self._store = store

    @contextmanager
    def workspace(self, name: str, *, need: int, network: bool = False) -> Iterator[Workspace]:
        del need
        with (
            self._store.scratch(name) as directory,
            PrivateWorkspace(directory, processes=self.processes, network=network) as workspace,
        ):
            yield workspace

    def layers(self) -> LayerStack:
        assert self.root
        return PlainStack(self.root)


MakeJob = Callable[..., Job]


@pytest.fixture
def make_job(store: Store, processes: Processes, tmp_path: Path) -> MakeJob:
    def make(output: str = "output", root: Root | None = None, **inputs: Path) -> Job:
        folder = tmp_path / output
        folder.mkdir()
        return Job(
            inputs={
                name: Entry(key=name, step=name, path=path, seconds=0, size=0)
                for name, path in inputs.items()
            },
            output=folder,
            log=io.StringIO(),
            store=store,
            tools=PlainTools(store, processes, root),
            on_line=lambda _: None,
        )

    return make


@pytest.fixture
def job(make_job: MakeJob) -> Job:
    return make_job()


# Packages of the image

STATUS = """\
Package: zlib1g
Status: install ok installed
Architecture: armhf
Source: zlib
Version: 1:1.2.11
Installed-Size: 152
Description: compression
 Version: 9 is only a line of the description

Package: gone
Status: deinstall ok config-files
Architecture: armhf
Version: 1

Package: adduser
Essential: no
Status: install ok installed
Architecture: all
Version: 3.118

"""


def test_installed_packages_are_read_in_order() -> None:
    assert installed(STATUS) == [
        {"package": "adduser", "architecture": "all", "version": "3.118", "size": 0},
        {
            "package": "zlib1g",
            "architecture": "armhf",
            "source": "zlib",
            "version": "1:1.2.11",
            "size": 152 * 1024,
        },
    ]
    assert installed("") == []


# Kernel options

CONFIG = """\
# Automatically generated file; DO NOT EDIT.
CONFIG_A=y
CONFIG_B=m
# CONFIG_C is not set
CONFIG_D="text"
CONFIG_E=0x10
"""


@pytest.mark.parametrize(
    ("fragments", "lost"),
    [
        ([""], []),
        (["CONFIG_A=y\nCONFIG_B=m\n"], []),
        (["# CONFIG_C is not set\n"], []),
        (["# CONFIG_NOWHERE is not set\n"], []),
        (['CONFIG_D="text"\nCONFIG_E=0x10\n'], []),
        (["# a comment\n\nCONFIG_A=y\n"], []),
        (["CONFIG_C=y\n"], ["0.cfg:1: CONFIG_C=y became n"]),
        (["\n\nCONFIG_B=y\n"], ["0.cfg:3: CONFIG_B=y became m"]),
        (["CONFIG_NEW=m\n"], ["0.cfg:1: CONFIG_NEW=m became n"]),
        (["# CONFIG_A is not set\n"], ["0.cfg:1: CONFIG_A=n became y"]),
        (['CONFIG_D="other"\n'], ['0.cfg:1: CONFIG_D="other" became "text"']),
        # What a later fragment asks for is what is asked for.
        (["CONFIG_A=m\n", "CONFIG_A=y\n"], []),
        (["CONFIG_A=y\n", "CONFIG_A=m\n"], ["1.cfg:1: CONFIG_A=m became y"]),
        (
            ["CONFIG_C=y\n", "CONFIG_B=y\n"],
            ["0.cfg:1: CONFIG_C=y became n", "1.cfg:1: CONFIG_B=y became m"],
        ),
    ],
)
def test_options_that_did_not_hold_are_named_with_their_line(
    tmp_path: Path, fragments: list[str], lost: list[str]
) -> None:
    paths = []
    for number, text in enumerate(fragments):
        path = tmp_path / f"{number}.cfg"
        path.write_text(text)
        paths.append(path)
    assert [line.removeprefix(f"{tmp_path}/") for line in unmet(CONFIG, paths)] == lost


# Downloads


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_sha256_is_that_of_coreutils(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    told = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout
    assert sha256(path) == told.split()[0]


def url_source(url: str, checksum: str = EMPTY) -> UrlSource:
    return UrlSource("source", Download(url=url, sha256=checksum), scope="s")


def test_a_download_is_kept_if_it_is_what_was_asked_for(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "linux.tar"
    path.write_text("")
    url_source(f"file://{path}").run(job)
    assert [item.name for item in job.output.iterdir()] == ["linux.tar"]


def test_another_content_is_refused_with_both_hashes(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "linux.tar"
    path.write_text("evil")
    with pytest.raises(StepError, match="has another SHA-256 than the specification") as caught:
        url_source(f"file://{path}").run(job)
    assert caught.value.details == (f"wanted {EMPTY}", f"found  {sha256(path)}")


@pytest.mark.parametrize("url", ["file:///nowhere/x.tar", "http://127.0.0.1:9/x.tar"])
def test_a_download_that_fails_is_an_expected_error(
    job: Job, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(StepError) as caught:
        url_source(url).run(job)
    assert url in caught.value.message


def test_a_download_from_another_place_is_the_same() -> None:
    one, two = (url_source(f"http://{host}.invalid/x.tar") for host in ("one", "two"))
    assert one.settings() == two.settings()
    assert one.settings() != url_source("http://one.invalid/x.tar", "0" * 64).settings()


# Recipes

DISTRIBUTION = NamedDistribution(
    name="jammy",
    mirrors={},
    model=Distribution.model_validate(
        {
            "summary": "s",
            "family": "ubuntu",
            "suite": "jammy",
            "version": "22.04",
            "components": ["main"],
            "pockets": [{"suite": "jammy"}],
            "mirrors": {"main": "http://x.invalid"},
            "keyring": "x.gpg",
            "keyring-package": "x",
            "python": "3.10",
            "architectures": ["armhf"],
            "sources": {"linux": "linux", "u-boot": "u-boot", "trusted-firmware": "tf-a"},
        }
    ),
)
BOARD = Board.model_validate(
    {
        "board": "B",
        "summary": "a board",
        "soc": "zynq",
        "memory": "512M",
        "console": "ttyPS0,115200",
        "root-device": "/dev/mmcblk0p2",
        "devicetree": "b.dts",
        "distro": ["jammy"],
    }
)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    root = tmp_path / "archive"
    root.mkdir()
    (root / "release.json").write_text(json.dumps({"epoch": 1_700_000_000}))
    return Archive(root, DISTRIBUTION, Architecture.ARMHF)


def resolved(
    folder: Path, name: str, parameters: dict[str, Any], *, secret: str = "", **keys: Any
) -> ResolvedRecipe:
    directory = folder / name
    directory.mkdir(exist_ok=True)
    declared = {
        key: {"default": value, "summary": key, "secret": key == secret}
        for key, value in parameters.items()
    }
    model = Recipe.model_validate({"summary": name, "parameters": declared, **keys}, by_name=True)
    return ResolvedRecipe(name=name, directory=directory, model=model, parameters=parameters)


Layer = Callable[..., RecipeLayer]


@pytest.fixture
def layer(tmp_path: Path, archive: Archive) -> Layer:
    def make(recipe: ResolvedRecipe, *required: ResolvedRecipe) -> RecipeLayer:
        return RecipeLayer(
            recipe,
            required=required,
            below=[],
            wheels=None,
            downloads=(),
            native=None,
            archive=archive,
            board=BOARD,
            scope="jammy-armhf",
        )

    return make


def test_a_host_script_finds_the_downloads_of_its_recipe(
    tmp_path: Path, archive: Archive, make_job: MakeJob, processes: Processes, needs_root: None
) -> None:
    recipe = resolved(
        tmp_path,
        "driver",
        {},
        downloads=[{"url": "http://x.invalid/driver.tar?v=2", "sha256": EMPTY}],
        scripts={"host": "host.sh"},
    )
    (recipe.directory / "host.sh").write_text('cp "$DOWNLOADS/driver.tar" "$ROOT/driver"\n')
    (_, step) = root_layers([recipe], archive, BoardView(name="B", board=BOARD), native=None)
    assert isinstance(step, RecipeLayer)
    (name,) = step.downloads
    assert isinstance(step.parents[name], UrlSource)
    tree, scratch, fetched = (tmp_path / each for each in ("tree", "scratch", "fetched"))
    for folder in (tree, scratch, fetched / "files"):
        folder.mkdir(parents=True)
    (fetched / "files/driver.tar").write_text("driver")
    with PrivateWorkspace(scratch, processes=processes) as workspace:
        root = Root(path=tree, changes=tree, workspace=workspace)
        step._scripts(make_job(**{name: fetched}), root, [])  # noqa: SLF001 - without a chroot
    assert (tree / "driver").read_text() == "driver"


def test_a_host_script_of_a_board_finds_its_designs_and_notebooks(
    tmp_path: Path, archive: Archive, make_job: MakeJob, processes: Processes, needs_root: None
) -> None:
    base, notebooks = tmp_path / "board/base", tmp_path / "board/notebooks"
    for name in ("base.bit", "parts/__init__.py", "base.tcl", "notebooks/led.ipynb"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(name)
    notebooks.mkdir()
    recipe = resolved(tmp_path, "designs", {}, board_specific=True, scripts={"host": "host.sh"})
    (recipe.directory / "host.sh").write_text(
        'cp -r "$OVERLAYS" "$ROOT/got"; echo "$BOARD $NOTEBOOKS" > "$ROOT/names"\n'
    )
    view = BoardView(name="B", board=BOARD, overlays=[find_design(base)], notebooks=notebooks)
    (_, step) = root_layers([recipe], archive, view, native=None)
    assert isinstance(step, RecipeLayer)
    assert {base / "base.bit", notebooks} < {*step.files()}
    assert base / "base.tcl" not in step.files()
    tree, scratch = tmp_path / "tree", tmp_path / "scratch"
    for folder in (tree, scratch):
        folder.mkdir()
    with PrivateWorkspace(scratch, processes=processes) as workspace:
        root = Root(path=tree, changes=tree, workspace=workspace)
        step._scripts(make_job(), root, [])  # noqa: SLF001 - without a chroot
    got = tree / "got/base"
    assert sorted(str(path.relative_to(got)) for path in got.rglob("*") if path.is_file()) == [
        "base.bit",
        "notebooks/led.ipynb",
        "parts/__init__.py",
    ]
    assert (tree / "names").read_text() == f"B {notebooks}\n"


def renderer(step: RecipeLayer) -> _Renderer:
    return _Renderer(step._names())  # noqa: SLF001 - what a job renders with


def test_a_recipe_depends_on_its_parameters_and_on_those_that_it_requires(
    tmp_path: Path, layer: Layer
) -> None:
    own = resolved(tmp_path, "jupyter", {"port": 9090})
    users = resolved(tmp_path, "users", {"user": "me", "password": "x"}, secret="password")
    step = layer(own, users)
    settings = step.settings()
    assert settings["parameter jupyter.port"] == 9090
    assert settings["parameter users.user"] == "me"
    assert step.secrets == ["parameter users.password"]
    assert "board" not in settings
    assert step.name == "recipe:jupyter"


def test_only_a_recipe_that_sees_the_board_depends_on_it(tmp_path: Path, layer: Layer) -> None:
    recipe = resolved(tmp_path, "led", {}, board_specific=True)
    board: Any = layer(recipe).settings()["board"]
    assert board["board"] == "B"


def test_a_recipe_depends_on_all_its_files(tmp_path: Path, layer: Layer) -> None:
    recipe = resolved(
        tmp_path,
        "r",
        {},
        files=[{"from": "files/tree", "to": "/x"}],
        templates=[{"from": "x.j2", "to": "/y"}],
        scripts={"target": "t.sh", "host": "h.sh"},
    )
    names = [str(path.relative_to(recipe.directory)) for path in layer(recipe).files()]
    assert names == ["recipe.yaml", "files/tree", "x.j2", "t.sh", "h.sh"]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{ port }}", "9090"),
        ("{{ log_file }}", "/var/log"),
        ("/home/{{ recipes.users.user }}", "/home/me"),
        ("{{ recipes.time_zone.name }}", "UTC"),
        ("{{ distribution.suite }}-{{ distribution.architecture }}", "jammy-armhf"),
        ("{{ distribution.name }} {{ distribution.family }} {{ distribution.version }}", None),
        ("{% for word in words %}[{{ word }}]{% endfor %}", "[a][b]"),
        ("{% if truth %}yes{% endif %}", "yes"),
        ("line\n", "line\n"),
        ("<&>", "<&>"),
    ],
)
def test_templates_see_parameters_required_recipes_and_the_distribution(
    tmp_path: Path, layer: Layer, template: str, text: str | None
) -> None:
    own = resolved(
        tmp_path,
        "jupyter",
        {"port": 9090, "log-file": "/var/log", "words": ["a", "b"], "truth": True},
    )
    users = resolved(tmp_path, "users", {"user": "me"})
    zone = resolved(tmp_path, "time-zone", {"name": "UTC"})
    wanted = "jammy ubuntu 22.04" if text is None else text
    assert renderer(layer(own, users, zone)).text(template) == wanted


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ prot }}", "'prot' is undefined"),
        ("{{ recipes.ssh.port }}", "has no attribute 'ssh'"),
        ("{{ recipes.users.name }}", "has no attribute 'name'"),
        ("{{ board.board }}", "'board' is undefined"),
        ("one\n{% if %}", "{}:2: "),
        pytest.param(
            *("{{ port + 'x' }}", "unsupported operand"),
        ),
    ],
)
def test_a_mistake_in_a_template_is_the_users_error_with_its_file(
    tmp_path: Path, layer: Layer, template: str, message: str
) -> None:
    own = resolved(tmp_path, "jupyter", {"port": 9090})
    users = resolved(tmp_path, "users", {"user": "me"})
    path = tmp_path / "x.j2"
    path.write_text(template)
    with pytest.raises(UserError) as caught:
        renderer(layer(own, users)).file(path)
    assert caught.value.message.startswith(str(path))
    assert message.format(path) in caught.value.message


def test_a_recipe_that_sees_the_board_has_it_in_templates(tmp_path: Path, layer: Layer) -> None:
    recipe = resolved(tmp_path, "led", {}, board_specific=True)
    assert renderer(layer(recipe)).text("{{ board.board }}") == "B"


def test_wheels_depend_on_lock_python_and_architecture(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    wheels = Wheels("wheels:x", lock, python="3.10", architecture=Architecture.ARMHF, scope="s")
    assert wheels.files() == [lock]
    assert wheels.settings() == {"python": "3.10", "architecture": "armhf"}


# The image

PROGRAMS = ("sfdisk", "mkfs.vfat", "mcopy", "mdir", "mke2fs", "dumpe2fs", "debugfs", "bmaptool")
needs_programs = pytest.mark.skipif(
    any(shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None for name in PROGRAMS),
    reason=f"needs {', '.join(PROGRAMS)}",
)


class Card:
    """Builds small images of a root filesystem with a few files."""

    def __init__(self, base: Path, workspace: Workspace, make_job: MakeJob) -> None:
        self.base = base
        self.make_job = make_job
        self.tree = base / "tree"
        self.root = Root(path=self.tree, changes=self.tree, workspace=workspace)
        (self.tree / "etc").mkdir(parents=True)
        (self.tree / "etc/hostname").write_text("pynq\n")
        (self.tree / "etc/link").symlink_to("hostname")
        (self.tree / "boot").mkdir()
        fat = base / "boot/files/fat"
        fat.mkdir(parents=True)
        (fat / "BOOT.BIN").write_bytes(b"boot" * 1000)
        (base / "boot/files/kernel-release").write_text("5.15.0-zynq\n")

        self.age()

    def age(self) -> None:
        """Make the tree anew, as unpacking a layer does."""
        old = self.tree.rename(self.base / "old")
        shutil.copytree(old, self.tree, symlinks=True)
        shutil.rmtree(old)
        for path in (self.tree, *self.tree.rglob("*")):
            os.utime(path, (time.time(), 1_600_000_000), follow_symlinks=False)

    def build(self, partitions: dict[str, object], *, output: str = "output") -> Path:
        step = Image(
            "B",
            Partitions.model_validate(partitions),
            layers=[],
            boot_files=url_source("http://x.invalid/boot"),
            board_file=self.base / "board.yaml",
            epoch=1_700_000_000,
        )
        job = self.make_job(output, self.root, **{"boot-files": self.base / "boot"})
        step.run(job)
        return job.output / "B.img"


@pytest.fixture
def card(
    tmp_path: Path, processes: Processes, make_job: MakeJob, needs_root: None
) -> Iterator[Card]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with PrivateWorkspace(scratch, processes=processes) as workspace:
        yield Card(tmp_path, workspace, make_job)


def told(*argv: object) -> str:
    words = [str(word) for word in argv]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    return subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout


SMALL: dict[str, object] = {"boot": "16M", "root": {"free": "8M"}}


@needs_programs
def test_the_image_has_two_partitions_with_their_filesystems(card: Card) -> None:
    image = card.build(SMALL)
    table = json.loads(told("sfdisk", "--json", image))["partitiontable"]
    assert table["label"] == "dos"
    boot, root = table["partitions"]
    assert (boot["start"], boot["size"]) == (BOOT_OFFSET // SECTOR, 16 * MIB // SECTOR)
    assert (boot["type"], boot["bootable"]) == ("c", True)
    assert root["start"] == boot["start"] + boot["size"]
    assert root["type"] == "83"
    assert (root["start"] + root["size"]) * SECTOR == image.stat().st_size
    assert root["start"] * SECTOR % MIB == 0
    offset = root["start"] * SECTOR
    listing = told("debugfs", "-R", "ls -p /etc", f"{image}?offset={offset}")
    assert {line.split("/")[5] for line in listing.splitlines() if line} >= {"hostname", "link"}
    header = told("dumpe2fs", "-h", f"{image}?offset={offset}")
    blocks = next(line for line in header.splitlines() if line.startswith("Block count:"))
    assert int(blocks.split()[-1]) * 4096 == root["size"] * SECTOR
    files = told("mdir", "-b", "-i", f"{image}@@{BOOT_OFFSET}", "::/").split()
    assert sorted(files) == ["::/BOOT.BIN", "::/REVISION"]


@needs_programs
def test_what_recipes_put_into_boot_is_on_the_boot_partition_alone(card: Card) -> None:
    (card.tree / "boot/folder").mkdir()
    (card.tree / "boot/boot.py").write_text("of a recipe")
    (card.tree / "boot/folder/file").touch()
    (card.tree / "boot/BOOT.BIN").write_text("gives way to the board's")
    image = card.build(SMALL)
    fat = f"{image}@@{BOOT_OFFSET}"
    assert told("mtype", "-i", fat, "::/boot.py") == "of a recipe"
    assert told("mdir", "-b", "-i", fat, "::/folder").split() == ["::/folder/file"]
    assert told("mtype", "-i", fat, "::/BOOT.BIN") == "boot" * 1000
    assert [*(card.tree / "boot").iterdir()] == []
    assert (card.tree / "boot").stat().st_mtime == 1_700_000_000
    assert card.tree.stat().st_mtime == 1_600_000_000, "or two builds would differ"


@needs_programs
def test_checksum_block_map_and_facts_are_those_of_the_image(card: Card) -> None:
    image = card.build(SMALL)
    assert Path(f"{image}.sha256").read_text() == f"{sha256(image)}  B.img\n"
    facts = json.loads((image.parent / "image.json").read_text())
    assert facts["sha256"] == sha256(image)
    assert facts["size"] == image.stat().st_size
    assert f"<ImageSize> {image.stat().st_size} </ImageSize>" in Path(f"{image}.bmap").read_text()


@needs_programs
def test_the_same_content_gives_the_same_image(card: Card) -> None:
    first = card.build(SMALL)
    (card.base / "boot/files/fat/BOOT.BIN").touch()
    card.age()  # other inodes, other times of change: only the times of the content stay
    assert sha256(card.build(SMALL, output="again")) == sha256(first)


@needs_programs
@pytest.mark.parametrize(
    ("partitions", "message"),
    [
        ({"root": {"size": "1M"}}, "partitions.root.size: 1M is too small: the content takes "),
        ({"boot": "8M"}, "partitions.boot: 8M is too small: the boot files take 11M"),
    ],
)
def test_a_partition_that_is_too_small_is_the_users_error(
    card: Card, partitions: dict[str, object], message: str
) -> None:
    (card.base / "boot/files/fat/image.ub").write_bytes(bytes(9 * MIB))
    with pytest.raises(UserError) as caught:
        card.build({**SMALL, **partitions})
    assert caught.value.message.startswith(f"{card.base}/board.yaml: {message}")


@pytest.mark.usefixtures("needs_root")
@pytest.mark.parametrize(("kind", "program"), [("xz", "xz"), ("zst", "zstd")])
def test_the_compressed_image_unpacks_to_the_image(
    make_job: MakeJob, tmp_path: Path, kind: str, program: str
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    image = tmp_path / "image/files/B.img"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"content" * 1000)
    job = make_job(image=tmp_path / "image")
    Compressed(url_source("http://x.invalid/x"), "B", kind).run(job)
    packed = job.output / f"B.img.{kind}"
    unpacked = subprocess.run([program, "-dc", packed], capture_output=True, check=True).stdout
    assert unpacked == image.read_bytes()
    assert Path(f"{packed}.sha256").read_text() == f"{sha256(packed)}  {packed.name}\n"


@pytest.mark.parametrize(
    ("mebibytes", "kind", "sectors"),
    [(8, "16", 1), (63, "16", 2), (64, "32", 1), (100, "32", 1), (256, "32", 1), (512, "32", 2)],
)
def test_clusters_fit_the_kind_of_fat(mebibytes: int, kind: str, sectors: int) -> None:
    assert fat_geometry(mebibytes << 20) == ["-F", kind, "-s", str(sectors)]
    clusters = (mebibytes << 20) // 512 // sectors
    assert (clusters >= 65525 + 1024) == (kind == "32")
