# SPDX-License-Identifier: MIT
"""Keys of steps and plans: cached steps, steps to build, and the reasons."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from builder.apt.archive import Archive
from builder.errors import UserError
from builder.plan import step_key
from builder.plan.board_steps import board_steps
from builder.plan.merge import merge_plans
from builder.plan.plan import Planned, lines, make_plan
from builder.plan.rootfs_steps import root_layers
from builder.plan.step_key import key, reason
from builder.rootfs.board_view import BoardView
from builder.rootfs.native.programs import NativePrograms
from builder.spec.models import Architecture
from builder.spec.reader import SpecTree
from builder.spec.resolve import resolve
from builder.steps.step import Job, Step
from builder.store.store import Entry, Store
from tests.fixtures.product import ROOT


class FakeStep(Step):
    """A step with the inputs that a test chooses."""

    packages = ("bash", "no-such-package")

    def __init__(
        self,
        name: str,
        *,
        parents: Mapping[str, Step] | None = None,
        values: Mapping[str, object] | None = None,
        paths: Sequence[Path] = (),
        secrets: Sequence[str] = (),
        output: str = "",
    ) -> None:
        super().__init__(name, scope="board", parents=parents)
        self.output = output
        self.values = dict(values or {})
        self.paths = list(paths)
        self.secrets = secrets

    def settings(self) -> Mapping[str, object]:
        return self.values

    def files(self) -> Sequence[Path]:
        return self.paths

    def run(self, job: Job) -> None:
        pytest.fail(f"planning runs nothing, but {job} was")


def components(step: Step, *, secret: bytes = b"secret") -> dict[str, str]:
    return step_key.components(step, secret=secret)


def keep(store: Store, item: Planned, inputs: Mapping[str, Entry]) -> Entry:
    """Put a planned step's entry into the store, as a build would."""
    assert isinstance(item.step, FakeStep)
    parts = item.components(inputs)
    with store.building(key(parts)):
        files = store.draft(key(parts))
        (files / "output").write_text(item.step.output or str(parts))
        entry = store.commit(key(parts), step=item.step.name, components=parts, seconds=1)
    store.remember(item.step.scope, item.step.name, parts)
    return entry


def kept(store: Store, item: Planned) -> Entry:
    """Return the entry of a cached step."""
    assert item.key
    entry = store.get(item.key)
    assert entry
    return entry


def build(store: Store, *targets: Step) -> set[str]:
    """Build steps; return the names of those that were not cached."""
    entries: dict[Step, Entry] = {}
    made = set()
    for item in make_plan(targets, store):
        if item.reason is None:
            entries[item.step] = kept(store, item)
        elif item.needed:
            inputs = {name: entries[parent] for name, parent in item.step.parents.items()}
            found = store.get(key(item.components(inputs)))
            entries[item.step] = found or keep(store, item, inputs)
            if not found:
                made.add(item.step.name)
    return made


def said(store: Store, *targets: Step) -> dict[str, str]:
    return dict(lines(make_plan(targets, store)))


# Keys


def test_a_key_depends_on_the_content_of_files_not_on_times(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    step = FakeStep("s", paths=[path])
    before = key(components(step))
    os.utime(path, (1, 1))
    path.chmod(0o600)
    assert key(components(step)) == before
    path.write_text("y")
    assert key(components(step)) != before
    path.write_text("x")
    assert key(components(step)) == before


def test_a_key_is_32_hexadecimal_digits_whatever_the_order() -> None:
    assert key({"a": "1", "b": "2"}) == key({"b": "2", "a": "1"})
    assert len(key({})) == 32
    assert int(key({}), 16)


def make(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (lambda _, root: make(root / "files/one", "new"), "{}/files/one changed"),
        (lambda _, root: make(root / "files/new", ""), "{}/files/new is new"),
        (lambda _, root: (root / "files/one").unlink(), "{}/files/one was removed"),
        (lambda _, root: make(root / "files/sub/two", "new"), "{}/files/sub/two changed"),
        (lambda step, _: step.values.update(x=2), "x: 1 -> 2"),
        (lambda step, _: step.values.update(x="a"), 'x: 1 -> "a"'),
        (lambda step, _: step.values.pop("x"), "x: 1 -> none"),
        (lambda step, _: step.values.update(y=[1, True]), "y: none -> [1, true]"),
        (lambda step, _: step.values.update(x="a" * 300), "x: 1 -> ..."),
        (lambda step, _: step.values.update(long="b" * 300), "long changed"),
        (lambda step, _: step.values.update(password="new"), "password changed"),
    ],
)
def test_each_change_gives_another_key_and_its_reason(
    tmp_path: Path, change: Callable[[FakeStep, Path], object], because: str
) -> None:
    make(tmp_path / "files/one", "1")
    make(tmp_path / "files/sub/two", "2")
    values = {"x": 1, "long": "a" * 300, "password": "old"}
    step = FakeStep("s", paths=[tmp_path / "files"], values=values, secrets=["password"])
    old = components(step)
    change(step, tmp_path)
    new = components(step)
    assert key(new) != key(old)
    assert reason(new, old) == because.format(tmp_path.name)


@pytest.mark.parametrize(
    ("old", "new", "because"),
    [
        (None, {"setting x": "1"}, "never built"),
        ({"setting x": "1"}, {"setting x": "1"}, "no longer in the store"),
        ({"input kernel": "1"}, {"input kernel": "2"}, "kernel changed"),
        ({"tool gcc": "1"}, {"tool gcc": "2"}, "gcc: 1 -> 2"),
        ({"tool gcc": "1"}, {"tool gcc": "not installed"}, "gcc: 1 -> not installed"),
        ({"code b.s": "1"}, {"code b.s": "2"}, "the builder's code changed (b.s)"),
        # What the user did comes before what follows from it, and that before what nobody did.
        (
            {"file f": "1", "setting x": "1", "input k": "1", "tool t": "1", "code c": "1"},
            {"file f": "2", "setting x": "2", "input k": "2", "tool t": "2", "code c": "2"},
            "f changed",
        ),
        (
            {"setting x": "1", "input k": "1", "tool t": "1", "code c": "1"},
            {"setting x": "2", "input k": "2", "tool t": "2", "code c": "2"},
            "x: 1 -> 2",
        ),
        (
            {"input k": "1", "tool t": "1", "code c": "1"},
            {"input k": "2", "tool t": "2", "code c": "2"},
            "k changed",
        ),
        ({"tool t": "1", "code c": "1"}, {"tool t": "2", "code c": "2"}, "t: 1 -> 2"),
    ],
)
def test_there_is_one_reason(old: dict[str, str] | None, new: dict[str, str], because: str) -> None:
    assert reason(new, old) == because


def test_a_missing_file_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^there is no file {tmp_path}/none$"):
        components(FakeStep("s", paths=[tmp_path / "none"]))


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/zero").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "folder", tmp_path / "pipe"):
        with pytest.raises(UserError, match="there is no file"):
            components(FakeStep("s", paths=[path]))


def test_the_kernels_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "proc").symlink_to("/proc")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/self").symlink_to("/proc/self")
    for path in (tmp_path / "proc", tmp_path / "folder", tmp_path / "proc/kmsg"):
        with pytest.raises(UserError, match="leads to /proc"):
            components(FakeStep("s", paths=[path]))


def test_links_that_multiply_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel follows 40 links in a path, and counts them twice if it has to begin again.
    for level in range(15):
        (tmp_path / f"{level}").mkdir()
        for side in "ab":
            (tmp_path / f"{level}/{side}").symlink_to(f"../{level + 1}")
    (tmp_path / "15").mkdir()
    monkeypatch.setattr(step_key, "_MOST_FILES", 1000)
    with pytest.raises(UserError, match=r"more than 1000 files$"):
        components(FakeStep("s", paths=[tmp_path / "0"]))


def test_secrets_are_hidden() -> None:
    step = FakeStep("s", values={"password": "hunter2", "user": "me"}, secrets=["password"])
    parts = components(step)
    assert "hunter2" not in str(parts)
    assert parts["setting user"] == '"me"'
    other = components(step, secret=b"another store's")
    changed = {name for name in parts if parts[name] != other[name]}
    assert changed == {"setting password"}, "nobody can try passwords on it"


def test_tools_count_with_their_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_key, "_versions", lambda: {"bash": "5.2-1"})
    parts = components(FakeStep("s"))
    assert parts["tool bash"] == "5.2-1"
    assert parts["tool no-such-package"] == "not installed"


def test_parents_count_with_the_content_of_their_output() -> None:
    parts = components(FakeStep("s"))
    assert step_key.with_inputs(parts, {"kernel": "abc"}) == {**parts, "input kernel": "abc"}


def test_pycache_does_not_count(tmp_path: Path) -> None:
    make(tmp_path / "file", "x")
    step = FakeStep("s", paths=[tmp_path])
    before = components(step)
    make(tmp_path / "__pycache__/file.pyc", "x")
    assert components(step) == before


def test_files_far_down_a_directory_out_of_the_tree_all_count(tmp_path: Path) -> None:
    make(tmp_path / "files/one/a/b/c", "x")
    make(tmp_path / "files/two/a/b/c", "x")
    step = FakeStep("s", paths=[tmp_path / "files"])
    before = key(components(step))
    make(tmp_path / "files/one/a/b/c", "y")
    assert key(components(step)) != before


def test_equal_content_elsewhere_gives_an_equal_key(tmp_path: Path) -> None:
    keys = set()
    for place in ("here", "there"):
        make(tmp_path / place / "boards/B/files/x", "x")
        keys.add(key(components(FakeStep("s", paths=[tmp_path / place / "boards/B/files"]))))
    assert len(keys) == 1


# The code of steps


def step_of(module: str) -> FakeStep:
    """Return a step whose class is defined in a module."""
    own: type[FakeStep] = type("Own", (FakeStep,), {"__module__": module})
    return own("s")


def modules(module: str) -> set[str]:
    parts = components(step_of(module))
    return {name.removeprefix("code ") for name in parts if name.startswith("code ")}


@pytest.mark.parametrize(
    ("module", "has", "has_not"),
    [
        (
            "builder.bsp.mainline.kernel",
            {"builder.bsp.mainline.kbuild", "builder.bsp.soc", "builder.steps.layer_archive"},
            {
                *(
                    "builder.bsp.mainline.u_boot",
                    "builder.formats.boot_bin",
                    "builder.bsp.start_up",
                ),
                *("builder.image.image", "builder.rootfs.layers"),
            },
        ),
        (
            "builder.bsp.mainline.u_boot",
            {"builder.bsp.ps7.table", "builder.bsp.start_up", "builder.steps.step"},
            {"builder.bsp.mainline.kernel", "builder.formats.boot_bin"},
        ),
        (
            "builder.bsp.mainline.devicetree",
            {"builder.qemu_devicetree.derive", "builder.qemu_devicetree.machine"},
            {"builder.bsp.ps7.table"},
        ),
        (
            "builder.rootfs.recipe",
            {"builder.rootfs.files", "builder.rootfs.layers", "builder.rootfs.bootstrap"},
            {"builder.image.image", "builder.bsp.soc"},
        ),
    ],
)
def test_the_code_of_a_step_is_its_module_and_the_helpers_that_it_imports(
    module: str, has: set[str], has_not: set[str]
) -> None:
    found = modules(module)
    assert has <= found
    assert not has_not & found
    floors = ("builder.engine", "builder.store", "builder.report", "builder.spec", "builder.plan")
    assert not [name for name in found if name.startswith(floors)], "these only say where"


def test_only_modules_count_as_code() -> None:
    for name in modules("builder.rootfs.recipe"):
        assert importlib.util.find_spec(name), name


@pytest.mark.parametrize("step", ["u_boot", "kernel"])
def test_long_steps_do_not_depend_on_the_code_for_emulation(step: str) -> None:
    found = modules(f"builder.bsp.mainline.{step}")
    assert "builder.bsp.soc" in found
    assert not [name for name in found if name.startswith("builder.qemu_devicetree")]


def test_a_changed_helper_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    step = step_of("builder.bsp.mainline.boot_bin")
    before = components(step)

    def changed(module: str) -> str:
        return "new" if module == "builder.formats.boot_bin" else before[f"code {module}"]

    monkeypatch.setattr(step_key, "_module_hash", changed)
    after = components(step)
    assert reason(after, before) == "the builder's code changed (builder.formats.boot_bin)"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("def f(x):\n    return x + 1\n", True),
        ("# why\ndef f(x):  # so\n    return (x\n        + 1)\n", True),
        ('"""What."""\ndef f(x):\n    """That."""\n    return x + 1\n', True),
        ("if TYPE_CHECKING:\n    import a\ndef f(x):\n    return x + 1\n", True),
        ("def f(x):\n    return x + 2\n", False),
        ("def f(y):\n    return y + 1\n", False),
        ("Y = 1\ndef f(x):\n    return x + 1\n", False),
    ],
)
def test_comments_and_docstrings_do_not_change_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, *, same: bool
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for number, code in enumerate(["def f(x):\n    return x + 1\n", text]):
        name = f"step_{number}_{tmp_path.name}"
        make(tmp_path / f"{name}.py", code)
        found.append(components(step_of(name))[f"code {name}"])
    assert (found[0] == found[1]) is same


# The plan


NEVER = "build: never built"


def chain() -> tuple[FakeStep, FakeStep, FakeStep]:
    bottom = FakeStep("bottom", values={"x": 1})
    middle = FakeStep("middle", parents={"bottom": bottom})
    return bottom, middle, FakeStep("top", parents={"middle": middle, "bottom": bottom})


def test_parents_come_first_and_each_step_once(store: Store) -> None:
    bottom, middle, top = chain()
    plan = make_plan([top, middle], store)
    assert [item.step for item in plan] == [bottom, middle, top]


def test_a_step_that_was_never_built_is_built(store: Store) -> None:
    *_, top = chain()
    assert said(store, top) == dict.fromkeys(("bottom", "middle", "top"), "build: never built")


def test_a_built_step_is_cached(store: Store) -> None:
    *_, top = chain()
    build(store, top)
    assert said(store, top) == dict.fromkeys(("bottom", "middle", "top"), "cached")
    assert all(item.cached for item in make_plan([top], store))


def optional_steps(store: Store, check: FakeStep, *targets: Step) -> dict[str, str]:
    return dict(lines(make_plan(targets, store, optional=[check])))


def test_an_optional_step_is_built_with_its_parents(store: Store) -> None:
    _, middle, top = chain()
    data = FakeStep("data", parents={"middle": middle})
    check = FakeStep("check", parents={"middle": middle, "data": data})
    found = optional_steps(store, check, top)
    assert found["data"] == found["check"] == "build: never built"


def test_an_optional_step_is_built_on_cached_parents(store: Store) -> None:
    _, middle, top = chain()
    build(store, top)
    found = optional_steps(store, FakeStep("check", parents={"middle": middle}), top)
    assert found == {**dict.fromkeys(("bottom", "middle", "top"), "cached"), "check": NEVER}


def test_parents_are_not_rebuilt_for_an_optional_step(store: Store) -> None:
    bottom, middle, top = chain()
    build(store, top)
    evict(store, bottom, middle)
    data = FakeStep("data", parents={"middle": middle})
    check = FakeStep("check", parents={"data": data, "top": top})
    assert optional_steps(store, check, top) == {
        **dict.fromkeys(("bottom", "middle", "data", "check"), "not needed"),
        "top": "cached",
    }


def test_children_of_a_changed_step_depend_on_its_output(store: Store) -> None:
    bottom, _, top = chain()
    build(store, top)
    bottom.values["x"] = 2
    assert said(store, top) == {
        "bottom": "build: x: 1 -> 2",
        "middle": "build if bottom comes out different",
        "top": "build if middle or bottom comes out different",
    }
    certain = {item.step.name: item.certain for item in make_plan([top], store)}
    assert certain == {"bottom": True, "middle": False, "top": False}


def test_an_unchanged_output_does_not_rebuild_children(store: Store) -> None:
    bottom, _, top = chain()
    bottom.output = "the same"
    build(store, top)
    bottom.values["x"] = 2
    assert build(store, top) == {"bottom"}
    assert set(said(store, top).values()) == {"cached"}


def test_a_changed_output_rebuilds_its_children_only(store: Store) -> None:
    bottom, middle, top = chain()
    middle.output = "the same"
    del top.parents["bottom"]
    build(store, top)
    bottom.values["x"] = 2
    assert build(store, top) == {"bottom", "middle"}
    assert set(said(store, top).values()) == {"cached"}


def test_an_output_of_an_earlier_build_is_recognized(store: Store) -> None:
    bottom, _, top = chain()
    bottom.output = "one"
    build(store, top)
    bottom.output = "two"
    bottom.values["x"] = 2
    assert build(store, top) == {"bottom", "middle", "top"}
    bottom.output = "one"
    bottom.values["x"] = 3
    assert build(store, top) == {"bottom"}


def test_a_new_parent_is_a_reason_of_its_own(store: Store) -> None:
    _, middle, _ = chain()
    build(store, middle)
    middle.parents["new"] = FakeStep("new")
    assert said(store, middle)["middle"] == "build: new changed"


def test_children_of_an_output_without_record_depend_on_it(store: Store) -> None:
    bottom, middle, _ = chain()
    build(store, middle)
    evict(store, bottom)
    for path in (store.root / "outputs").iterdir():
        path.unlink()
    assert said(store, middle) == {
        "bottom": "build: no longer in the store",
        "middle": "build if bottom comes out different",
    }
    assert build(store, middle) == {"bottom"}


def test_the_reason_of_a_step_precedes_that_of_its_parents(store: Store) -> None:
    bottom, middle, top = chain()
    build(store, top)
    bottom.values["x"] = 2
    middle.values["y"] = 1
    assert said(store, top)["middle"] == "build: y: none -> 1"


def test_a_step_that_is_not_needed_is_not_rebuilt(store: Store) -> None:
    bottom, middle, top = chain()
    build(store, top)
    evict(store, bottom, middle)
    assert said(store, top) == {"bottom": "not needed", "middle": "not needed", "top": "cached"}
    assert all(item.cached for item in make_plan([top], store))


def test_missing_parents_of_a_built_step_are_rebuilt(store: Store) -> None:
    bottom, middle, top = chain()
    build(store, top)
    evict(store, bottom, middle)
    top.values["y"] = 1
    assert said(store, top) == {
        "bottom": "build: no longer in the store",
        "middle": "build: no longer in the store",
        "top": "build: y: none -> 1",
    }


def test_reverting_a_change_finds_the_cached_output(store: Store) -> None:
    bottom, _, top = chain()
    build(store, top)
    bottom.values["x"] = 2
    build(store, top)
    bottom.values["x"] = 1
    assert set(said(store, top).values()) == {"cached"}


def test_a_target_is_needed_even_if_its_children_are_cached(store: Store) -> None:
    bottom, _, top = chain()
    build(store, top)
    evict(store, bottom)
    assert said(store, top)["bottom"] == "not needed"
    assert said(store, top, bottom)["bottom"] == "build: no longer in the store"


def test_targets_may_come_from_anything_that_can_be_iterated(store: Store) -> None:
    *_, top = chain()
    parents = top.parents.values()
    assert all(item.needed for item in make_plan(parents, store))
    assert all(item.needed for item in make_plan(iter([top]), store))


# Damage


def spoil(store: Store, *steps: Step) -> None:
    """Damage the entries of steps by an additional file."""
    for item in make_plan(steps, store):
        if item.step in steps:
            (kept(store, item).files / "alien").touch()


DAMAGED = "build: damaged in the store: files/alien does not belong there"


def test_a_damaged_target_is_rebuilt_and_removed_from_the_store(store: Store) -> None:
    *_, top = chain()
    build(store, top)
    spoil(store, top)
    assert said(store, top) == {"bottom": "cached", "middle": "cached", "top": DAMAGED}
    assert len(store.keys()) == 2
    assert said(store, top)["top"] == "build: no longer in the store"


def test_only_outputs_that_a_build_reads_are_verified(store: Store) -> None:
    bottom, middle, top = chain()
    build(store, top)
    spoil(store, bottom, middle)
    assert set(said(store, top).values()) == {"cached"}
    top.values["y"] = 1
    assert said(store, top) == {"bottom": DAMAGED, "middle": DAMAGED, "top": "build: y: none -> 1"}


def test_parents_of_a_damaged_step_are_needed(store: Store) -> None:
    bottom, middle, top = chain()
    build(store, top)
    evict(store, bottom)
    spoil(store, middle)
    top.values["y"] = 1
    found = said(store, top)
    assert found["bottom"] == "build: no longer in the store"
    assert found["middle"] == DAMAGED


def test_cached_shown_steps_are_verified(store: Store) -> None:
    bottom, middle, top = chain()
    build(store, top)
    spoil(store, middle)
    plan = make_plan([top], store, shown=[bottom, middle])
    assert dict(lines(plan)) == {"bottom": "cached", "middle": DAMAGED, "top": "cached"}
    plan = make_plan([top], store, shown=[bottom, middle])
    assert dict(lines(plan))["middle"] == "not needed"


def test_a_damaged_optional_step_is_rebuilt_on_cached_parents(store: Store) -> None:
    _, middle, top = chain()
    check = FakeStep("check", parents={"middle": middle})
    build(store, top, check)
    spoil(store, check)
    assert optional_steps(store, check, top)["check"] == DAMAGED


def test_parents_are_not_rebuilt_for_a_damaged_optional_step(store: Store) -> None:
    _, middle, top = chain()
    check = FakeStep("check", parents={"middle": middle})
    build(store, top, check)
    spoil(store, check)
    evict(store, middle)
    assert optional_steps(store, check, top) == {
        "bottom": "cached",
        "middle": "not needed",
        "check": "not needed",
        "top": "cached",
    }


def test_parents_of_an_optional_step_are_verified(store: Store) -> None:
    _, middle, top = chain()
    build(store, top)
    spoil(store, middle)
    found = optional_steps(store, FakeStep("check", parents={"middle": middle}), top)
    assert (found["middle"], found["check"]) == (DAMAGED, NEVER)


def test_a_damaged_description_is_the_reason(store: Store) -> None:
    *_, top = chain()
    build(store, top)
    (item,) = (item for item in make_plan([top], store) if item.step is top)
    path = kept(store, item).path / "entry.json"
    path.write_text("{")
    assert said(store, top)["top"].startswith(f"build: damaged in the store: {path} cannot be read")


def test_a_damaged_record_of_the_last_build_is_the_reason(store: Store) -> None:
    *_, top = chain()
    build(store, top)
    top.values["y"] = 1
    path = store.root / "last/board/top.json"
    path.write_text("{")
    assert said(store, top)["top"].startswith(
        f"build: the record of its last build is unusable: {path} cannot be read"
    )


def evict(store: Store, *steps: Step) -> None:
    for item in make_plan(steps, store):
        if item.step in steps:
            entry = kept(store, item)
            entry.path.rename(store.root / "scratch" / entry.key)


# Several boards


def tower(board: str, *, kernel: str = "common") -> FakeStep:
    """Return the image step of a board whose kernel other boards may share."""
    below = FakeStep("kernel", values={"kernel": kernel})
    return FakeStep("image", parents={"kernel": below}, values={"board": board})


def joint(store: Store, **targets: Step) -> list[Planned]:
    return merge_plans({board: make_plan([target], store) for board, target in targets.items()})


def test_equal_steps_of_boards_become_one(store: Store) -> None:
    one, two = tower("One"), tower("Two")
    kernel, *images = joint(store, One=one, Two=two)
    assert kernel.step is one.parents["kernel"]
    assert kernel.merged_steps == (two.parents["kernel"],)
    assert [item.step for item in images] == [one, two]
    assert [item.label for item in (kernel, *images)] == [
        "kernel (One, Two)",
        "image (One)",
        "image (Two)",
    ]


def test_parents_come_first_in_a_merged_plan(store: Store) -> None:
    one, two = tower("One"), tower("Two")
    top = FakeStep("top", parents={"image": two, "own": FakeStep("own", values={"x": 1})})
    names = [item.label for item in joint(store, One=one, Two=top)]
    assert names == ["kernel (One, Two)", "image (One)", "image (Two)", "own (Two)", "top (Two)"]


def test_labels_distinguish_steps_of_the_same_name(store: Store) -> None:
    boards: dict[str, Step] = {name: tower(name) for name in "ABCDE"}
    boards |= {name: tower(name, kernel="another") for name in "FGHIJ"}
    labels = [item.label for item in joint(store, **boards)]
    assert labels[0] == "kernel (A and 4 more)"
    assert "kernel (F and 4 more)" in labels
    assert len(labels) == len({*labels}) == 12


def test_labels_for_a_single_board_do_not_name_it(store: Store) -> None:
    assert [item.label for item in joint(store, One=tower("One"))] == ["kernel", "image"]


def test_a_step_is_needed_if_one_board_needs_it(store: Store) -> None:
    one, two = tower("One"), tower("Two")
    build(store, one)
    evict(store, one.parents["kernel"])
    (alone, _) = joint(store, One=one)
    assert alone.cached
    for boards in ({"One": one, "Two": two}, {"Two": two, "One": one}):
        kernel, *_ = joint(store, **boards)
        assert not kernel.cached


@pytest.mark.parametrize("names", ["One Two", "Two One"])
def test_damage_found_by_one_board_rebuilds_the_step_for_all(store: Store, names: str) -> None:
    boards: dict[str, Step] = {name: tower(name) for name in names.split()}
    one = boards["One"]
    build(store, one)
    spoil(store, one.parents["kernel"])
    kernel, *_ = joint(store, **boards)
    assert not kernel.cached
    assert f"build: {kernel.reason}" == DAMAGED


def test_steps_with_different_names_are_not_merged(store: Store) -> None:
    one = FakeStep("image", parents={"a": FakeStep("a"), "b": FakeStep("b")})
    assert len({item.identity for item in joint(store, One=one)}) == 2
    assert [item.step.name for item in joint(store, One=one)] == ["a", "b", "image"]


# A board's steps


def test_a_distribution_without_a_lock_file_is_refused_with_a_hint(
    tmp_path: Path,
) -> None:
    spec = resolve(SpecTree(root=ROOT), "Pynq-Z2", distro="ubuntu-jammy")
    archive = Archive(tmp_path, spec.distributions[0], spec.architecture)
    missing = r"^recipe jupyter has no lock file for ubuntu-jammy on armhf: recipes/jupyter/.* is missing$"
    with pytest.raises(UserError, match=missing) as caught:
        board_steps(spec, archive)
    assert caught.value.hint == "choose another distribution with --distro or create the lock file"


def test_all_layers_use_native_programs_if_available(tmp_path: Path) -> None:
    spec = resolve(SpecTree(root=ROOT), "Pynq-Z2", distro="debian-bookworm")
    archive, native = (
        Archive(tmp_path, spec.distributions[0], architecture)
        for architecture in (spec.architecture, Architecture.AMD64)
    )

    view = BoardView(name="board", board=spec.board)

    def layers(native: Archive | None) -> list[Step]:
        return root_layers(spec.recipes, archive, view, native=native)

    emulated, helped = layers(None), layers(native)
    assert [step.name for step in helped] == [step.name for step in emulated]
    assert not any("native-programs" in step.parents for step in emulated)
    (programs,) = {step.parents["native-programs"] for step in helped}
    assert isinstance(programs, NativePrograms)
    assert (programs.archive, programs.target) == (native, archive)
