# SPDX-License-Identifier: MIT
"""From YAML files to an image's specification: rules, precedence, and all problems at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import UserError
from builder.spec.models import Architecture
from builder.spec.reader import Tree
from builder.spec.resolve import ResolvedRecipe, parse_setting, resolve
from tests.unit.support import BOARD, DISTRIBUTION, Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_the_smallest_tree_resolves_with_defaults(files: Files) -> None:
    spec = files.resolve()
    assert spec.name == "B"
    assert spec.architecture is Architecture.ARMHF
    assert spec.directory == files.root / "boards/B"
    assert spec.board.partitions.boot == 100 << 20
    assert spec.board.partitions.root.free == 512 << 20
    assert [distribution.name for distribution in spec.distributions] == ["one"]
    assert [recipe.name for recipe in spec.recipes] == ["a"]


def test_all_problems_of_all_files_come_at_once_with_their_places(files: Files) -> None:
    files.board(BOARD.replace("512M", "lots") + "recipes: [nowhere]\n")
    files.recipe("a", "required: [b]\n")
    # What depends on the board's file cannot be judged before that is good.
    assert files.problems() == [
        "boards/B/board.yaml:4: memory: must be a size like 512K, 100M or 1G"
    ]
    files.board(BOARD.replace("b.dts", "none.dts") + "recipes: [nowhere]\n")
    files.write("distributions/one.yaml", DISTRIBUTION.replace('"3.11"', '"2.7"'))
    files.write("local.yaml", "mirrors: {two: {main: http://x}}\n")
    assert files.problems() == [
        f"boards/B/board.yaml:7: devicetree: there is no file {files.root}/boards/B/none.dts",
        "boards/B/board.yaml:11: recipes.0: there is no recipe nowhere (there are: a)",
        "distributions/one.yaml:11: python: string should match pattern '^3\\.\\d+$', not '2.7'",
        "local.yaml:1: mirrors.two: there is no distribution two (there are: one)",
        "recipes/a/recipe.yaml:2: required: is not a known key (did you mean requires?)",
    ]


def test_problems_are_counted_in_the_message(files: Files) -> None:
    files.board(BOARD.replace("b.dts", "none.dts"))
    with pytest.raises(UserError, match=r"^1 problem in the specification$"):
        files.resolve()
    files.recipe("a", "apt: 7\n")
    with pytest.raises(UserError, match=r"^2 problems in the specification$"):
        files.resolve()


def test_paths_below_the_current_directory_are_short(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.board(BOARD.replace("memory: 512M\n", ""))
    monkeypatch.chdir(files.root)
    with pytest.raises(UserError) as caught:
        files.resolve()
    assert caught.value.details == ("boards/B/board.yaml:1: memory: is missing",)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("summary:", "sumary:", "2: sumary: is not a known key (did you mean summary?)"),
        ("root-device:", "root_device:", "6: root_device: is not a known key (did you mean root-"),
        ("soc: zynq", "soc: z80", "3: soc: input should be 'zynq' or 'zynqmp', not 'z80'"),
        ("memory: 512M", "memory: 512MB", "4: memory: must be a size like 512K, 100M or 1G"),
        ("memory: 512M", "memory: [512M]", "4: memory: must be a size like 512K, 100M or 1G"),
        ("115200", "fast", "5: console: string should match pattern"),
        ("b.dts", "/b.dts", "7: devicetree: must be a path below the directory of this file"),
        ("b.dts", "../b.dts", "7: devicetree: must be a path below the directory of this file"),
        ("b.dts", "c.dts", "7: devicetree: there is no file "),
        ("BOOT.BIN", "none", "8: bsp.boot-bin: there is no file "),
        ("{boot-bin: BOOT.BIN}", "{}", "8: bsp: the first stage needs `hardware` with its"),
        ("boot-bin:", "bootbin:", "8: bsp.bootbin: is not a known key (did you mean boot-bin?)"),
        ("boot-bin: ", "hardware: {xsa: x}, boot-bin: ", "8: bsp.hardware.xsa: there is no file"),
        ("boot-bin: ", "provider: vitis, boot-bin: ", "8: bsp.provider: input should be "),
        ("[one]", "[]", "9: distro: tuple should have at least 1 item"),
        ("[one]", "[oen]", "9: distro.0: there is no distribution oen (did you mean one?)"),
        ("[one]", "one", "9: distro: must be a list, not 'one'"),
        ("profile: p", "profile: q", "10: profile: there is no profile q (there are: p)"),
        ("profile: p", "board: B", "10: board: is also on line 1"),
        ("board: B", "board: C", "1: board: must be the directory's name, B"),
        ("profile: p", "emulate: {card: 3G}", "10: emulate.card: must be a power of two"),
        ("profile: p", "partitions: {boot: 1M}", "10: partitions.boot: input should be greater"),
        (
            "profile: p",
            "partitions:\n  root:\n    fre: 1M\n",
            "12: partitions.root.fre: is not a known key (did you mean free?)",
        ),
        (
            "profile: p",
            "bsp2: 1",
            "10: bsp2: is not a known key (there are: ",
        ),
        (
            "boot-bin: ",
            "linux: {url: 'http://x', sha256: abc}, boot-bin: ",
            "8: bsp.linux.sha256: string should match pattern",
        ),
    ],
)
def test_a_boards_mistake_is_named_with_line_key_and_what_would_be_right(
    files: Files, old: str, new: str, problem: str
) -> None:
    assert BOARD.count(old) == 1, "the table changes one place"
    files.board(BOARD.replace(old, new))
    matching = [line for line in files.problems() if problem in line]
    assert matching
    assert matching[0].startswith(f"boards/B/board.yaml:{problem}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("requires: [b]", "2: requires.0: there is no recipe b (there are: a)"),
        ("requires: [aa]", "2: requires.0: there is no recipe aa (did you mean a?)"),
        ("requires: [a]", "2: requires.0: goes in a circle: a -> a"),
        ("files:\n  - {from: x, to: /x}", "3: files.0.from: there is no file "),
        ("templates:\n  - {from: x.j2, to: /x}", "3: templates.0.from: there is no file "),
        ("files: [{from: recipe.yaml, to: x}]", "2: files.0.to: must be an absolute path in the "),
        ("files: [{from: recipe.yaml, to: /x/../y}]", "2: files.0.to: must be an absolute path "),
        ("scripts: {target: run.sh}", "2: scripts.target: there is no file "),
        pytest.param(
            *("scripts: {host: .}", "2: scripts.host: there is no file "),
        ),
        ("scripts: {inputs: [x]}", "2: scripts.inputs.0: there is no file "),
        (
            f"downloads: [{{url: 'http://x.invalid/a.tar', sha256: {'a' * 64}}}]",
            "2: downloads.0.url: only `scripts.host` can read it: there is none",
        ),
        (
            "scripts: {host: recipe.yaml}\ndownloads:\n"
            + "".join(
                f"  - {{url: 'http://{host}.invalid/a.tar?x', sha256: {'a' * 64}}}\n"
                for host in "xy"
            ),
            "5: downloads.1.url: has the same file name as another: a.tar",
        ),
        ("downloads: [{url: 'http://x.invalid/a.tar'}]", "2: downloads.0.sha256: is missing"),
        ("apt: {uubntu: [x]}", "2: apt.uubntu: is no target of packages (did you mean ubuntu?)"),
        ("pip: {amr64: x.txt}", "2: pip.amr64: is no target of packages (did you mean arm64?)"),
        ("pip:\n  arm64: /x.txt", "3: pip.arm64: must be a path below the directory of this file"),
        ("pip: [x.txt]", "2: pip: must be a mapping of keys"),
        ("scripts: {both: run.sh}", "2: scripts.both: is not a known key (there are: host, inputs"),
        ("services: {enabel: [x]}", "2: services.enabel: is not a known key (did you mean enable"),
        ("users: [{nam: x}]", "2: users.0.nam: is not a known key (did you mean name?)"),
        ("users: [{shell: /bin/sh}]", "2: users.0.name: is missing"),
        ("apt: [a b]", "2: apt: string should match pattern"),
        ("apt: {all: x}", "2: apt.all: must be a list, not 'x'"),
        ("parameters: {x: 1}", "2: parameters.x: must be a mapping of keys, not 1"),
        ("parameters:\n  x: {default: 1}", "3: parameters.x.summary: is missing"),
        ("parameters: {x: {default: 1.5, summary: x}}", "2: parameters.x.default: must be a text"),
        (
            "directories: [{path: /x, mode: 755}]",
            "2: directories.0.mode: must be a text; put it in quotes, not 755",
        ),
        ('directories: [{path: /x, mode: "888"}]', "2: directories.0.mode: string should match"),
    ],
)
def test_a_recipes_mistake_is_named_with_line_key_and_what_would_be_right(
    files: Files, text: str, problem: str
) -> None:
    files.recipe("a", text + "\n")
    found = files.problems()
    assert any(line.startswith(f"recipes/a/recipe.yaml:{problem}") for line in found), found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("recipes: [a, b]", "there is no recipe b (there are: a)"),
        ("recipes: []", "tuple should have at least 1 item"),
    ],
)
def test_a_profiles_mistake_is_named(files: Files, text: str, problem: str) -> None:
    files.write("profiles/p.yaml", f"summary: p\n{text}\n")
    (found,) = files.problems()
    assert found.startswith("profiles/p.yaml:2: recipes")
    assert problem in found


def test_a_distribution_without_the_boards_architecture_is_refused(files: Files) -> None:
    files.write("distributions/one.yaml", DISTRIBUTION.replace("armhf", "arm64"))
    assert files.problems() == ["boards/B/board.yaml:9: distro.0: one has no armhf packages"]


def test_a_pocket_of_an_unknown_archive_is_refused(files: Files) -> None:
    text = DISTRIBUTION.replace("{suite: one}", "{suite: one, archive: mian}")
    files.write("distributions/one.yaml", text)
    assert files.problems() == [
        "distributions/one.yaml:7: pockets.0.archive: mirrors has no mian (did you mean main?)"
    ]


def test_circular_requirements_are_shown_as_a_circle(files: Files) -> None:
    files.recipe("a", "requires: [b]\n")
    files.recipe("b", "requires:\n  - c\n")
    files.recipe("c", "requires: [d, b]\n")
    files.recipe("d")
    assert files.problems() == [
        "recipes/c/recipe.yaml:2: requires.1: goes in a circle: b -> c -> b"
    ]


def test_an_unknown_board_is_named_with_the_nearest(files: Files) -> None:
    files.board(BOARD.replace("board: B", "board: Pynq-Z2"), name="Pynq-Z2")
    with pytest.raises(UserError, match=r"^there is no board pynq-z2 \(did you mean Pynq-Z2\?\)$"):
        files.resolve(board="pynq-z2")


def test_an_optional_export_may_be_missing_if_there_is_another_first_stage(files: Files) -> None:
    export = "hardware: {xsa: base.xsa, optional: true}"
    files.board(BOARD.replace("{boot-bin: BOOT.BIN}", f"{{{export}, boot-bin: BOOT.BIN}}"))
    hardware = files.resolve().board.bsp.hardware
    assert hardware is not None
    assert hardware.xsa == "base.xsa"
    files.board(BOARD.replace("{boot-bin: BOOT.BIN}", f"{{{export}}}"))
    (problem,) = files.problems()
    assert problem.startswith("boards/B/board.yaml:8: bsp: the first stage needs `hardware` with")
    files.write("boards/B/base.xsa", "")
    files.resolve()


# Order of recipes


@pytest.mark.parametrize(
    ("recipes", "profile", "order"),
    [
        ({"a": "[]", "b": "[]"}, ["b", "a"], "b a"),
        ({"a": "[b]", "b": "[]"}, ["a", "b"], "b a"),
        ({"a": "[c, b]", "b": "[c]", "c": "[]"}, ["a"], "c b a"),
        ({"a": "[b]", "b": "[c]", "c": "[]"}, ["a", "a", "c"], "c b a"),
    ],
)
def test_recipes_come_after_what_they_require_and_once(
    files: Files, recipes: dict[str, str], profile: list[str], order: str
) -> None:
    for name, required in recipes.items():
        files.recipe(name, f"requires: {required}\n")
    files.profile(*profile)
    assert files.order() == order.split()


def test_recipes_that_see_the_board_come_last_with_what_stands_on_them(files: Files) -> None:
    files.recipe("a", "board-specific: true\n")
    files.recipe("b", "requires: [a]\n")
    files.recipe("c")
    files.recipe("d", "requires: [b, c]\n")
    files.recipe("e", "requires: [c]\n")
    files.profile("a", "b", "c", "d", "e")
    assert files.order() == ["c", "e", "a", "b", "d"]


def test_the_boards_recipes_come_after_the_profiles(files: Files) -> None:
    files.recipe("b")
    files.board(BOARD + "recipes: [b]\n")
    assert files.order() == ["a", "b"]


def test_a_boards_own_recipe_shadows_the_trees(files: Files) -> None:
    files.write("boards/B/recipes/a/recipe.yaml", "summary: own\n")
    (recipe,) = files.resolve().recipes
    assert recipe.model.summary == "own"
    assert recipe.directory == files.root / "boards/B/recipes/a"


# Boards out of the tree


def test_a_board_may_be_out_of_the_tree(files: Files) -> None:
    files.board(BOARD.replace("board: B", "board: Out"), name="Out", folder="elsewhere")
    tree = Tree(root=files.root, boards_dirs=(files.root / "elsewhere",))
    assert sorted(tree.board_files()) == ["B", "Out"]
    assert resolve(tree, "Out").directory == files.root / "elsewhere/Out"


def test_an_outer_directory_shadows_the_trees_board(files: Files) -> None:
    files.board(BOARD.replace("a board", "another"), folder="elsewhere")
    tree = Tree(root=files.root, boards_dirs=(files.root / "elsewhere",))
    assert resolve(tree, "B").board.summary == "another"


# Parameters

PARAMETERS = """\
parameters:
  text: {default: recipe, summary: s}
  number: {default: 1, summary: s}
  truth: {default: true, summary: s}
  words: {default: [x], summary: s}
"""


@pytest.mark.parametrize(
    ("layers", "value"),
    [
        ("", "recipe"),
        ("profile", "profile"),
        ("profile board", "board"),
        ("profile board local", "local"),
        ("profile board local set", "set"),
        ("profile set", "set"),
        ("board local", "local"),
        ("profile local", "local"),
    ],
)
def test_later_layers_of_parameters_win(files: Files, layers: str, value: str) -> None:
    files.recipe("a", PARAMETERS)
    text = "parameters: {{a: {{text: {}}}}}\n"
    if "profile" in layers:
        files.profile("a", text=text.format("profile"))
    if "board" in layers:
        files.board(BOARD + text.format("board"))
    if "local" in layers:
        files.write("local.yaml", text.format("local"))
    spec = files.resolve(settings=["a.text=set"] if "set" in layers else [])
    assert spec.parameters()["a"]["text"] == value
    assert spec.parameters()["a"]["number"] == 1, "the others keep their defaults"


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("a.text=x=y.z", "text", "x=y.z"),
        ("a.text=", "text", ""),
        ("a.text=5", "text", "5"),
        ("a.number=5", "number", 5),
        ("a.number=-5", "number", -5),
        ("a.truth=false", "truth", False),
        ("a.truth=True", "truth", True),
        ("a.words=p,q", "words", ["p", "q"]),
        ("a.words=", "words", []),
    ],
)
def test_a_setting_is_read_as_the_type_of_the_default(
    files: Files, setting: str, key: str, value: object
) -> None:
    files.recipe("a", PARAMETERS)
    assert files.resolve(settings=[setting]).parameters()["a"][key] == value


def test_the_last_setting_wins(files: Files) -> None:
    files.recipe("a", PARAMETERS)
    spec = files.resolve(settings=["a.number=2", "a.number=3"])
    assert spec.parameters()["a"]["number"] == 3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("a.number=five", "--set a.number: must be a number, not 'five'"),
        ("a.number=1.5", "--set a.number: must be a number, not '1.5'"),
        ("a.number=5-", "--set a.number: must be a number, not '5-'"),
        ("a.number=", "--set a.number: must be a number, not ''"),
        ("a.truth=yes", "--set a.truth: must be true or false, not 'yes'"),
        ("a.txt=x", "--set a.txt: recipe a has no parameter txt (did you mean text?)"),
        ("b.text=x", "--set b.text: the image has no recipe b (there are: a)"),
        ("number=5", "--set number=5: must be RECIPE.PARAMETER=VALUE"),
        ("a.number", "--set a.number: must be RECIPE.PARAMETER=VALUE"),
        (".number=5", "--set .number=5: must be RECIPE.PARAMETER=VALUE"),
        ("a.=5", "--set a.=5: must be RECIPE.PARAMETER=VALUE"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(files: Files, setting: str, message: str) -> None:
    files.recipe("a", PARAMETERS)
    with pytest.raises(UserError) as caught:
        files.resolve(settings=[setting])
    assert caught.value.message == message


@pytest.mark.parametrize("value", ["--5", "\N{SUPERSCRIPT TWO}"])
def test_a_number_that_only_looks_like_one_is_refused(files: Files, value: str) -> None:
    files.recipe("a", PARAMETERS)
    with pytest.raises(UserError, match="must be a number"):
        files.resolve(settings=[f"a.number={value}"])


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("a: {number: '5'}", "a.number: must be a number, not '5'"),
        ("a: {number: true}", "a.number: must be a number, not True"),
        ("a: {text: 5}", "a.text: must be a text, not 5"),
        ("a: {truth: 'no!'}", "a.truth: must be true or false, not 'no!'"),
        ("a: {words: x}", "a.words: must be a list of texts, not 'x'"),
        ("a: {wrods: [x]}", "a.wrods: recipe a has no parameter wrods (did you mean words?)"),
        ("b: {text: x}", "b.text: the image has no recipe b (there are: a)"),
    ],
)
def test_parameters_in_files_are_checked_at_their_line(files: Files, line: str, what: str) -> None:
    files.recipe("a", PARAMETERS)
    text = f"parameters:\n  {line}\n"
    files.board(BOARD + text)
    files.profile("a", text=text)
    files.write("local.yaml", text)
    assert files.problems() == [
        f"boards/B/board.yaml:12: parameters.{what}",
        f"local.yaml:2: parameters.{what}",
        f"profiles/p.yaml:4: parameters.{what}",
    ]


PATTERNS = """parameters:
  key: {default: '', summary: 8 characters, secret: true, pattern: '.{8}'}
  kind: {default: one, summary: one or two, pattern: one|two}
  list: {default: [], summary: small letters, pattern: '[a-z]+'}
"""


def test_a_default_that_does_not_match_is_for_somebody_to_set(files: Files) -> None:
    files.recipe("a", PATTERNS)
    assert files.problems() == [
        "boards/B/board.yaml:1: parameters.a.key: must be set: 8 characters"
    ]
    assert files.resolve(settings=["a.key=12345678"]).parameters()["a"]["key"] == "12345678"
    files.write("local.yaml", "parameters: {a: {key: '12345678', list: [x, yz], kind: two}}\n")
    assert files.resolve().parameters()["a"]["list"] == ["x", "yz"]


def test_a_value_that_does_not_match_is_refused_and_a_secret_one_not_repeated(files: Files) -> None:
    files.recipe("a", PATTERNS)
    files.write("local.yaml", "parameters:\n  a: {key: geheim, kind: three, list: [a, B]}\n")
    assert files.problems() == [
        "local.yaml:2: parameters.a.key: must match .{8} (8 characters)",
        "local.yaml:2: parameters.a.kind: must match one|two (one or two), not 'three'",
        "local.yaml:2: parameters.a.list: must match [a-z]+ (small letters), not 'B'",
    ]
    (files.root / "local.yaml").unlink()
    with pytest.raises(UserError) as caught:
        files.resolve(settings=["a.key=geheim"])
    assert caught.value.message == "--set a.key: must match .{8} (8 characters)"


def test_a_pattern_has_to_be_a_regular_expression(files: Files) -> None:
    files.recipe("a", "parameters: {p: {default: x, summary: s, pattern: '('}}\n")
    (found,) = files.problems()
    assert "recipes/a/recipe.yaml:2: parameters.p.pattern: " in found


def test_local_settings_may_be_for_recipes_of_other_images(files: Files) -> None:
    files.recipe("b", PARAMETERS)
    files.write("local.yaml", "parameters: {b: {text: x}}\n")
    assert "b" not in files.resolve().parameters()
    files.profile("a", "b")
    assert files.resolve().parameters()["b"]["text"] == "x"


def test_a_distribution_without_a_lock_file_is_unusable(files: Files) -> None:
    files.recipe("a", "pip: '{distribution}.txt'\n")
    spec = files.resolve()
    lock = files.root / "recipes/a/one.txt"
    problem = f"recipe a has no lock file for one on armhf: {lock} is missing"
    assert spec.unusable(spec.distributions[0]) == problem
    lock.touch()
    assert spec.unusable(spec.distributions[0]) is None


def test_parse_setting_splits_at_the_first_signs() -> None:
    assert parse_setting("users.user=a.b=c") == ("users", "user", "a.b=c")


# Distributions


def test_a_pinned_distribution_is_the_only_one(files: Files) -> None:
    files.write("distributions/two.yaml", DISTRIBUTION.replace("One", "Two"))
    assert [item.name for item in files.resolve(distro="two").distributions] == ["two"]
    with pytest.raises(UserError, match=r"^--distro tow: there is none \(did you mean two\?\)$"):
        files.resolve(distro="tow")


@pytest.mark.parametrize("archive", ["main", "main-amd64"])
def test_mirrors_of_local_settings_reach_their_distribution(files: Files, archive: str) -> None:
    """Also those for one architecture, which the distribution need not have."""
    files.write("local.yaml", f"mirrors: {{one: {{{archive}: http://near.invalid}}}}\n")
    (distribution,) = files.resolve().distributions
    assert distribution.mirrors == {archive: "http://near.invalid"}


def test_a_mirror_for_an_archive_that_there_is_not_is_refused(files: Files) -> None:
    files.write("local.yaml", "mirrors:\n  one: {mian: http://near.invalid}\n")
    (problem,) = files.problems()
    assert problem.startswith("local.yaml:2: mirrors.one.mian: ")
    assert "did you mean main?" in problem


@pytest.mark.parametrize(
    ("apt", "packages"),
    [
        ("[x, y]", "x y"),
        ("{all: [x], one: [y], two: [z]}", "x y"),
        ("{debian: [x], ubuntu: [y]}", "x"),
        ("{armhf: [x], arm64: [y]}", "x"),
        ("{armhf: [p], debian: [q], one: [r], all: [s]}", "s r q p"),
        ("[]", ""),
    ],
)
def test_packages_are_added_up_for_distribution_family_and_architecture(
    files: Files, apt: str, packages: str
) -> None:
    files.write("distributions/two.yaml", DISTRIBUTION)
    files.recipe("a", f"apt: {apt}\n")
    spec = files.resolve()
    (recipe,) = spec.recipes
    assert recipe.packages(spec.distributions[0], spec.architecture) == packages.split()


def test_the_lock_file_is_that_of_distribution_and_architecture(files: Files) -> None:
    def lock(recipe: ResolvedRecipe) -> Path | None:
        return recipe.lock_file(spec.distributions[0], spec.architecture)

    spec = files.resolve()
    assert lock(spec.recipes[0]) is None
    files.recipe("a", "pip: '{distribution}-{architecture}.txt'\n")
    spec = files.resolve()
    assert lock(spec.recipes[0]) == files.root / "recipes/a/one-armhf.txt"


@pytest.mark.parametrize(
    ("pip", "lock"),
    [
        ("{all: a}", "a"),
        ("{armhf: b, all: a}", "b"),
        ("{debian: c, armhf: b, all: a}", "c"),
        ("{one: d, debian: c, armhf: b, all: a}", "d"),
        ("{two: d, ubuntu: c, arm64: b}", None),
        ("{arm64: '{distribution}.txt', armhf: '{distribution}-{architecture}'}", "one-armhf"),
    ],
)
def test_of_several_lock_files_that_of_the_narrowest_target_is_taken(
    files: Files, pip: str, lock: str | None
) -> None:
    files.write("distributions/two.yaml", DISTRIBUTION)
    files.recipe("a", f"pip: {pip}\n")
    spec = files.resolve()
    (recipe,) = spec.recipes
    expected = files.root / "recipes/a" / lock if lock else None
    assert recipe.lock_file(spec.distributions[0], spec.architecture) == expected
    assert (spec.unusable(spec.distributions[0]) is None) == (lock is None)


@pytest.mark.parametrize("name", ["{distro}.txt", "{}.txt", "{distribution"])
@pytest.mark.parametrize(("form", "key"), [("'{}'", "pip"), ("{{one: '{}'}}", "pip.one")])
def test_a_placeholder_in_a_lock_files_name_that_is_unknown_is_a_problem(
    files: Files, name: str, form: str, key: str
) -> None:
    files.recipe("a", f"pip: {form.format(name)}\n")
    (problem,) = files.problems()
    assert problem.startswith(f"recipes/a/recipe.yaml:2: {key}: may hold ")


@pytest.mark.parametrize(
    "partitions",
    ["{boot: 67108865}", "{boot: 100000K}", "{root: {size: 1000K}}", "{root: {free: -5}}"],
)
def test_partitions_that_are_no_whole_number_of_mib_are_refused(
    files: Files, partitions: str
) -> None:
    # The table counts sectors and mke2fs blocks from rounded offsets: they would not agree.
    files.board(BOARD + f"partitions: {partitions}\n")
    (problem,) = files.problems()
    assert problem.startswith("boards/B/board.yaml:11: partitions.")


DESIGN = ("base.bit", "base.hwh", "base.py", "notebooks/first/led.ipynb", "parts/__init__.py")


def test_a_boards_designs_are_found_without_the_project_beside_them(files: Files) -> None:
    for name in (
        *DESIGN,
        "parts/a.h",
        "base.tcl",
        "base.runs/synth.bit",
        "parts/__pycache__/a.pyc",
    ):
        files.write(f"boards/B/designs/base/{name}", "")
    files.board(
        BOARD + "overlays:\n  - designs/base\n  - {directory: later, optional: true}\n"
        "boot-overlay: base\n"
    )
    spec = files.resolve()
    (design,) = spec.overlays
    assert design.name == "base"
    assert design.directory == files.root / "boards/B/designs/base"
    assert [str(path) for path in design.files] == [*DESIGN, "parts/a.h"]
    assert spec.board.boot_overlay == "base"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("overlays: [none]", "11: overlays.0: there is no directory "),
        ("overlays: [empty]", "11: overlays.0: there is no bitstream (*.bit) in "),
        ("overlays: [base, x/base]", "11: overlays.1: has the name of another, base: "),
        ("overlays: [{dir: base}]", "11: overlays.0.dir: is not a known key"),
        ("overlays: [/base]", "11: overlays.0: must be a path below the directory of this file"),
        ("notebooks: none", "11: notebooks: there is no directory "),
    ],
)
def test_a_design_that_is_not_there_is_named(files: Files, text: str, problem: str) -> None:
    for folder in ("base", "x/base"):
        files.write(f"boards/B/{folder}/base.bit", "")
    files.write("boards/B/empty/base.tcl", "")
    files.board(BOARD + text + "\n")
    assert [line for line in files.problems() if line.startswith(f"boards/B/board.yaml:{problem}")]


def test_a_variant_has_the_designs_of_the_board_that_it_extends(files: Files) -> None:
    files.write("boards/B/base/base.bit", "")
    files.write("boards/V/own/own.bit", "")
    files.board(BOARD + "overlays: [base]\n")
    files.variant("extends: B\noverlays+: [own]\n")
    found = files.resolve(board="V").overlays
    assert [design.directory for design in found] == [
        files.root / "boards/B/base",
        files.root / "boards/V/own",
    ]


def test_the_command_lines_profile_wins_over_the_boards(files: Files) -> None:
    files.recipe("b")
    files.write("profiles/q.yaml", "summary: q\nrecipes: [b]\n")
    spec = resolve(files.tree, "B", profile="q")
    assert [recipe.name for recipe in spec.recipes] == ["b"]
    with pytest.raises(UserError, match=r"^--profile r: there is none \(there are: p, q\)$"):
        resolve(files.tree, "B", profile="r")


def test_source_distributions_are_those_of_the_target(files: Files) -> None:
    one, two = "1" * 64, "2" * 64
    files.write("recipes/a/host.sh", "")
    files.recipe("a", f"scripts: {{host: host.sh}}\nsdists: {{a-1.tar.gz: {one!r}}}\n")
    (distribution,) = files.resolve().distributions
    armhf = Architecture.ARMHF
    assert files.resolve().recipes[0].sdists(distribution, armhf) == {"a-1.tar.gz": one}
    files.recipe(
        "a",
        f"""\
        scripts: {{host: host.sh}}
        sdists:
          all: {{a-1.tar.gz: "{one}"}}
          armhf: {{b-1.tar.gz: "{two}"}}
          arm64: {{c-1.tar.gz: "{two}"}}
        """,
    )
    found = files.resolve().recipes[0].sdists(distribution, armhf)
    assert found == {"a-1.tar.gz": one, "b-1.tar.gz": two}
    files.recipe("a", "sdists: {risc: {a-1.tar.gz: x}}\n")
    assert files.problems()
