# SPDX-License-Identifier: MIT
"""The layer of a recipe: its inputs, its templates and its scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.apt.archive import Archive
from builder.errors import UserError
from builder.plan.rootfs_steps import root_layers
from builder.rootfs.board_view import BoardView
from builder.rootfs.layers import MountedRoot
from builder.rootfs.recipe import RecipeLayer, RecipeParents
from builder.rootfs.recipe_inputs import RecipeInputs
from builder.rootfs.target import Target
from builder.rootfs.templates import Renderer
from builder.rootfs.wheels import Wheels
from builder.sandbox.process import Processes
from builder.sandbox.workspace import PrivateWorkspace
from builder.spec.distribution import Distribution
from builder.spec.models import Architecture
from builder.spec.overlays import find_design
from builder.spec.recipe import Recipe
from builder.spec.resolve import NamedDistribution, ResolvedRecipe
from builder.steps.sources import UrlSource
from builder.steps.step import Job
from tests.fixtures.jobs import BOARD, EMPTY, MakeJob

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
            "keyring-package": "keyring",
            "python": "3.10",
            "architectures": ["armhf"],
            "sources": {"linux": "linux", "u-boot": "u-boot", "trusted-firmware": "tf-a"},
        }
    ),
)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    root = tmp_path / "archive"
    root.mkdir()
    record = {"pockets": {}, "left-out": {}, "epoch": 1_700_000_000, "sources": {}}
    (root / "release.json").write_text(json.dumps(record))
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
        view = BoardView(name="B", board=BOARD) if recipe.model.board_specific else None
        inputs = RecipeInputs(recipe=recipe, required=required, archive=archive, view=view)
        return RecipeLayer(inputs, RecipeParents(), scope="jammy-armhf")

    return make


def run_scripts(step: RecipeLayer, job: Job, root: MountedRoot) -> None:
    step.run_scripts(Target(job=job, root=root, inside=[], environment=step.environment()))


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
        root = MountedRoot(path=tree, changes=tree, workspace=workspace)
        run_scripts(step, make_job(**{name: fetched}), root)
    assert (tree / "driver").read_text() == "driver"


@pytest.mark.parametrize(("hardware", "name"), [(None, "B"), ("A", "A")])
def test_a_host_script_of_a_board_finds_its_designs_and_notebooks(
    tmp_path: Path,
    archive: Archive,
    make_job: MakeJob,
    processes: Processes,
    needs_root: None,
    *,
    hardware: str | None,
    name: str,
) -> None:
    base, notebooks = tmp_path / "board/base", tmp_path / "board/notebooks"
    for file in ("base.bit", "parts/__init__.py", "base.tcl", "notebooks/led.ipynb"):
        (base / file).parent.mkdir(parents=True, exist_ok=True)
        (base / file).write_text(file)
    notebooks.mkdir()
    recipe = resolved(tmp_path, "designs", {}, board_specific=True, scripts={"host": "host.sh"})
    (recipe.directory / "host.sh").write_text(
        'cp -r "$OVERLAYS" "$ROOT/got"; echo "$BOARD $NOTEBOOKS" > "$ROOT/names"\n'
    )
    view = BoardView(
        name="B",
        board=BOARD,
        overlays=[find_design(base)],
        notebooks=notebooks,
        hardware=hardware,
    )
    (_, step) = root_layers([recipe], archive, view, native=None)
    assert isinstance(step, RecipeLayer)
    assert {base / "base.bit", notebooks} < {*step.files()}
    assert base / "base.tcl" not in step.files()
    tree, scratch = tmp_path / "tree", tmp_path / "scratch"
    for folder in (tree, scratch):
        folder.mkdir()
    with PrivateWorkspace(scratch, processes=processes) as workspace:
        root = MountedRoot(path=tree, changes=tree, workspace=workspace)
        run_scripts(step, make_job(), root)
    got = tree / "got/base"
    assert sorted(str(path.relative_to(got)) for path in got.rglob("*") if path.is_file()) == [
        "base.bit",
        "notebooks/led.ipynb",
        "parts/__init__.py",
    ]
    assert (tree / "names").read_text() == f"{name} {notebooks}\n"


def renderer(step: RecipeLayer) -> Renderer:
    return Renderer(step.inputs.template_variables())


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
