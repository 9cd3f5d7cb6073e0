# SPDX-License-Identifier: MIT
"""YAML files with the line of each key."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from builder.spec.document import Document, ProblemsError, merged, read

TEXT = """\
# a comment
board: X

partitions:
  boot: 100M
  root: {label: root,
    free: 512M}
recipes:
  - one
  - two
files:
  - {from: a, to: /b}
  - from: c
    to: /d
"""


@pytest.fixture
def document(tmp_path: Path) -> Document:
    path = tmp_path / "x.yaml"
    path.write_text(TEXT)
    return read(path)


def complaints(path: Path) -> list[str]:
    with pytest.raises(ProblemsError) as caught:
        read(path)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("where", "line"),
    [
        (("board",), 2),
        (("partitions",), 4),
        (("partitions", "boot"), 5),
        (("partitions", "root", "label"), 6),
        (("partitions", "root", "free"), 7),
        (("recipes", 1), 10),
        (("files", 0, "to"), 12),
        (("files", 1, "to"), 14),
    ],
)
def test_every_key_and_item_has_its_line(
    document: Document, where: tuple[str | int, ...], line: int
) -> None:
    assert document.places[where] == (document.path, line, where)
    assert document.problem(where, "wrong").line == line


@pytest.mark.parametrize(
    ("where", "line"),
    [
        (("partitions", "root", "size"), 6),
        (("partitions", "swap", "size"), 4),
        (("recipes", 7), 8),
        (("summary",), 1),
        ((), 1),
    ],
)
def test_a_missing_key_has_the_line_of_its_parent(
    document: Document, where: tuple[str | int, ...], line: int
) -> None:
    assert document.problem(where, "is missing").line == line


def test_a_problem_prints_as_path_line_key_and_what(document: Document) -> None:
    problem = document.problem(("files", 1, "to"), "must be absolute")
    assert str(problem) == f"{document.path}:14: files.1.to: must be absolute"
    assert str(document.problem((), "is odd")) == f"{document.path}:1: is odd"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "a: is also on line 1"),
        ("a:\n  b: {c: 1}\n  b: 2\n", 3, "a.b: is also on line 2"),
        ("l:\n- x: 1\n  y: 1\n  x: 2\n", 4, "l.0.x: is also on line 2"),
        ("a: [1\nb: 2\n", 2, "not YAML: "),
        ("a: 1\n\tb: 2\n", 2, "not YAML: "),
        ("a: 1\n---\nb: 2\n", 2, "not YAML: "),
        ("a: *nowhere\n", 1, "not YAML: "),
        ("a: \0\n", 1, "not YAML: "),
        ("- a\n- b\n", 1, "must be a mapping of keys"),
        ("just words\n", 1, "must be a mapping of keys"),
        ("", 1, "must be a mapping of keys"),
    ],
)
def test_a_file_must_be_a_mapping_with_unique_keys(
    tmp_path: Path, text: str, line: int, what: str
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    (complaint,) = complaints(path)
    assert complaint.startswith(f"{path}:{line}: {what}")


def test_all_duplicate_keys_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\na: 2\nb: 1\nb: 2\n")
    assert complaints(path) == [
        f"{path}:2: a: is also on line 1",
        f"{path}:4: b: is also on line 3",
    ]


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: \xff\n")
    (complaint,) = complaints(path)
    assert complaint == f"{path}:1: is not UTF-8 text: invalid start byte"


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    assert complaints(tmp_path / "none.yaml") == [
        f"{tmp_path}/none.yaml:1: cannot be read: No such file or directory"
    ]
    assert complaints(tmp_path) == [f"{tmp_path}:1: is a directory"]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("b: 1\na: !secret x\n", 2, "not YAML: could not determine a constructor for the tag"),
        ("b: 1\n? [x, y]\n: 1\n", 2, "not YAML: found unhashable key"),
        ("b: 1\na: 2022-99-99\n", 2, "not YAML: month must be in 1..12"),
        ("b: 1\na: !!timestamp soon\n", 2, "not YAML: 'soon' is not a timestamp"),
        ("b: 1\na: !!int ''\n", 2, "not YAML: '' is not an int"),
        ("b: 1\na: !!bool often\n", 2, "not YAML: 'often' is not a bool"),
        ("b: 1\na: !!float ''\n", 2, "not YAML: '' is not a float"),
        ("b: 1\na: &x [*x]\n", 2, "an anchor contains itself"),
        ("b: &x {c: {d: *x}}\n", 1, "an anchor contains itself"),
    ],
)
def test_invalid_yaml_is_a_problem(tmp_path: Path, text: str, line: int, what: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    (complaint,) = complaints(path)
    assert complaint.startswith(f"{path}:{line}: {what}")


def test_anchors_may_be_used(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: &x [1, 2]\nb: *x\nc: {<<: {d: 1}}\n")
    assert read(path).data == {"a": [1, 2], "b": [1, 2], "c": {"d": 1}}


BILLION = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{level}: &a{level}\n  <<: [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 9)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 200))


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (BILLION, 5, "has more than 20000 values with aliases expanded"),
        (MERGED, 9, "has more than 20000 values"),
        (CHAIN, 31, "is nested more than 32 deep"),
        ("a:\n  " + "[" * 100_000, 2, "is nested more than 32 deep"),
        ("a:\n  " + "{b: " * 100_000, 2, "is nested more than 32 deep"),
        ("a: 1\n" + "- " * 100_000, 2, "not YAML"),
        ("a:\n" + "- x\n" * 30_000, 20_001, "has more than 20000 values"),
        (f"a: 1\nb: {'9' * 100}\n", 2, "is too long for a number; put a text in quotes"),
        (f"a: 1\nb: 0x{'f' * 100_000}\n", 2, "is too long for a number"),
        (f"a: 1\nb: 1{':59' * 1000}\n", 2, "is too long for a number"),
        (f"a: {'x' * (1 << 20)}\n", 1, "is larger than the limit of 1 MiB"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_exceeded_limits_are_refused_at_their_line(
    tmp_path: Path, text: str, line: int, what: str
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    (complaint,) = complaints(path)
    assert complaint.startswith(f"{path}:{line}: {what}")


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "full").symlink_to("/dev/full")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "full"):
        assert complaints(tmp_path / name) == [f"{tmp_path / name}:1: is not a plain file"]
    (complaint,) = complaints(tmp_path / "loop")
    assert "cannot be read: Too many levels" in complaint
    (complaint,) = complaints(tmp_path / ("x" * 300))
    assert complaint.endswith("cannot be read: File name too long")


# Merged documents


def test_merging_many_keys_takes_no_longer_than_reading_them(tmp_path: Path) -> None:
    text = "".join(f"k{number}: {{a: 1}}\n" for number in range(4_000))
    began = time.process_time()
    merged = overlaid(tmp_path, text, text)
    assert len(merged.places) == 8_000
    assert time.process_time() - began < 5


def overlaid(folder: Path, base: str, variant: str) -> Document:
    """Merge a variant's document into its base's, both given as text."""
    paths = folder / "base.yaml", folder / "variant.yaml"
    for path, text in zip(paths, (base, variant), strict=True):
        path.write_text(text)
    return merged(*map(read, paths))


@pytest.mark.parametrize(
    ("base", "variant", "merged"),
    [
        ("a: 1\nb: 2", "b: 3", {"a": 1, "b": 3}),
        ("a: {b: {c: 1, d: 2}}", "a: {b: {c: 3}, e: 4}", {"a": {"b": {"c": 3, "d": 2}, "e": 4}}),
        ("a: [1, 2]", "a: [3]", {"a": [3]}),
        ("a: {b: 1}", "a: [1]", {"a": [1]}),
        ("a: [1]", "a: {b: 1}", {"a": {"b": 1}}),
        ("a: {b: 1}", "a:", {"a": None}),
        ("a:", "a: {b: 1}", {"a": {"b": 1}}),
        # Lists that are appended.
        ("a: [1, 2]", "a+: [3, 4]", {"a": [1, 2, 3, 4]}),
        ("a: {b: [1]}", "a: {b+: [2]}", {"a": {"b": [1, 2]}}),
        ("a: [[1]]", "a+: [[2], {c: 3}]", {"a": [[1], [2], {"c": 3}]}),
        ("b: 1", "a+: [1]", {"a": [1], "b": 1}),
        ("a:", "a+: [1]", {"a": [1]}),
        ("b: 1", "a: {b: {c+: [1]}}", {"a": {"b": {"c": [1]}}, "b": 1}),
        # Other values of `KEY+` stay unchanged, and are refused by the model.
        ("a: 1", "a+: [1]", {"a": 1, "a+": [1]}),
        ("a: {b: 1}", "a+: [1]", {"a": {"b": 1}, "a+": [1]}),
        ("a: [1]", "a+: 2", {"a": [1], "a+": 2}),
        ("a: [1]", "a: [2]\na+: [3]", {"a": [2], "a+": [3]}),
        ("c++: {x: 1}", "c++: {y: 2}", {"c++": {"x": 1, "y": 2}}),
    ],
)
def test_a_variant_is_merged_with_its_base(
    tmp_path: Path, base: str, variant: str, merged: object
) -> None:
    assert overlaid(tmp_path, f"{base}\n", f"{variant}\n").data == merged


@pytest.mark.parametrize(
    ("where", "file", "line", "key"),
    [
        (("kept",), "base", 1, "kept"),
        (("replaced",), "variant", 2, "replaced"),
        (("replaced", 0), "variant", 2, "replaced.0"),
        (("replaced", 1), "variant", 2, "replaced.1"),  # the base's has more items
        (("mapping",), "variant", 3, "mapping"),
        (("mapping", "kept"), "base", 4, "mapping.kept"),
        (("mapping", "replaced"), "variant", 4, "mapping.replaced"),
        (("mapping", "replaced", "gone"), "variant", 4, "mapping.replaced.gone"),
        (("mapping", "missing"), "variant", 3, "mapping.missing"),
        (("list",), "base", 6, "list"),
        (("list", 0, "x"), "base", 7, "list.0.x"),
        (("list", 1), "variant", 6, "list+.0"),
        (("list", 2, "x"), "variant", 7, "list+.1.x"),
        (("new",), "variant", 8, "new+"),
        (("new", 0), "variant", 8, "new+.0"),
        (("missing",), "variant", 1, "missing"),
    ],
)
def test_merged_values_keep_their_location(
    tmp_path: Path, where: tuple[str | int, ...], file: str, line: int, key: str
) -> None:
    base = """\
kept: 1
replaced: [1, 2]
mapping:
  kept: 1
  replaced: {gone: 1}
list:
  - x: 1
"""
    variant = """\
# the variant
replaced: [3]
mapping:
  replaced: 2
list+:
  - 5
  - x: 1
new+: [1]
"""
    document = overlaid(tmp_path, base, variant)
    problem = document.problem(where, "wrong")
    assert str(problem) == f"{tmp_path}/{file}.yaml:{line}: {key}: wrong"


def test_three_documents_are_merged(tmp_path: Path) -> None:
    lower = overlaid(tmp_path, "a: [1]\nb: 1\n", "a+: [2]\n")
    path = tmp_path / "top.yaml"
    path.write_text("a+: [3]\nb: 2\n")
    top = merged(lower, read(path))
    assert top.data == {"a": [1, 2, 3], "b": 2}
    assert [top.place(("a", index)).path.name for index in range(3)] == [
        "base.yaml",
        "variant.yaml",
        "top.yaml",
    ]
    assert top.bases == (tmp_path / "base.yaml", tmp_path / "variant.yaml")
    assert lower.data == {"a": [1, 2], "b": 1}, "the lower ones stay as they are"


def test_a_key_can_be_removed(document: Document) -> None:
    smaller = document.without("partitions")
    assert set(smaller.data) == {"board", "recipes", "files"}
    assert {where[0] for where in smaller.places} == {"board", "recipes", "files"}
