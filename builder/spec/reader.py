# SPDX-License-Identifier: MIT
"""Reader of the specification's YAML files, which collects all validation problems."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from builder.errors import UserError
from builder.spec.distribution import Distribution
from builder.spec.document import Document, KeyPath, Problem, ProblemsError, merged, read
from builder.spec.local import LocalSettings
from builder.spec.models import FORMAT, Board, Model
from builder.spec.profile import Profile
from builder.spec.recipe import Recipe
from builder.spec.texts import FileName

AnyModel = TypeVar("AnyModel", bound=Model)

# Pydantic's error types, with messages in the terms of a YAML file.
_WORDS = {
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "string_type": "must be a text; put it in quotes",
    "dict_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a number",
    "int_parsing": "must be a number",
}


_MOST_PROBLEMS = 100
"""Maximum number of problems that are reported for a file."""

MOST_BASES = 20
"""Maximum length of a chain of boards, or profiles, that extend each other."""

_LONGEST_VALUE = 80


@dataclass(frozen=True, kw_only=True)
class SpecTree:
    """The tree of specification files: its root, and directories with boards outside it."""

    root: Path
    boards_dirs: tuple[Path, ...] = ()

    def board_files(self) -> dict[str, Path]:
        """Return the `board.yaml` of each board by name; outside boards override the tree's."""
        return _files(self.root / "boards", "board.yaml") | self.outer_board_files()

    def outer_board_files(self) -> dict[str, Path]:
        """Return the `board.yaml` of each board outside the tree, by name."""
        found: dict[str, Path] = {}
        for folder in self.boards_dirs:
            found |= _files(folder, "board.yaml")
        return found

    def recipe_files(self, boards: Sequence[Path] = ()) -> dict[str, Path]:
        """Return the `recipe.yaml` of each recipe by name.

        Recipes of directories outside the tree override the tree's; those of boards override both.
        """
        found: dict[str, Path] = {}
        for folder in (self.root, *self.boards_dirs, *boards):
            found |= _files(folder / "recipes", "recipe.yaml")
        return found

    def profile_files(self, boards: Sequence[Path] = ()) -> dict[str, Path]:
        """Return the file of each profile by name, with the precedence of `recipe_files`."""
        found: dict[str, Path] = {}
        for folder in (self.root, *self.boards_dirs, *boards):
            found |= {path.stem: path for path in sorted((folder / "profiles").glob("*.yaml"))}
        return found

    def distribution_files(self) -> dict[str, Path]:
        """Return the file of each distribution by name."""
        return {path.stem: path for path in sorted((self.root / "distributions").glob("*.yaml"))}

    @property
    def local_file(self) -> Path:
        """The user's settings, which need not exist."""
        return self.root / "local.yaml"


def _files(folder: Path, name: str) -> dict[str, Path]:
    """Return the files with a name in the subdirectories of a folder, by subdirectory name."""
    return {path.parent.name: path for path in sorted(folder.glob(f"*/{name}"))}


class SpecError(UserError):
    """There are problems in the files of the specification."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = len(problems)
        super().__init__(
            f"{count} problem{'s' if count > 1 else ''} in the specification",
            details=[shown(problem) for problem in problems],
        )
        self.problems = tuple(problems)


class Reader:
    """Reader of files, each read once, with a list of all problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._documents: dict[Path, Document] = {}

    def board(self, path: Path, files: Mapping[str, Path]) -> Board | None:
        """Read a `board.yaml`, merged into those that it extends; None if there are problems.

        `files` are the boards that it may extend, by name.
        """
        document = self._extended(path, files, ())
        if document is None:
            return None
        self._documents[path] = document
        board = self._validated(document, Board)
        return _located(board, (), document) if board and document.whole else None

    def recipe(self, path: Path) -> Recipe | None:
        """Read a `recipe.yaml`; None if it has problems."""
        return self.load(path, Recipe)

    def profile(self, path: Path) -> Profile | None:
        """Read a profile; None if it has problems."""
        return self.load(path, Profile)

    def distribution(self, path: Path) -> Distribution | None:
        """Read a distribution; None if it has problems."""
        return self.load(path, Distribution)

    def local(self, path: Path) -> LocalSettings | None:
        """Read the user's settings; None if they have problems, empty if the file is missing."""
        return self.load(path, LocalSettings) if path.exists() else LocalSettings()

    def add_problem(self, path: Path, where: KeyPath, what: str) -> None:
        """Add a problem at a key of a file that was read."""
        self.problems.append(self.document(path).problem(where, what))

    def document(self, path: Path) -> Document:
        """Return the document of a file; an empty one if the file was not read."""
        return self._documents.get(path) or Document(path=path, data={}, places={})

    def raise_problems(self) -> None:
        """Raise all problems as one error, if there are any.

        Raises:
            SpecError: its details have one line per problem.
        """
        if self.problems:
            raise SpecError(sorted({*self.problems}))

    def load(self, path: Path, model: type[AnyModel]) -> AnyModel | None:
        """Read a file as a model; None if it has problems."""
        document = self._read(path)
        return self._validated(document, model) if document else None

    def _read(self, path: Path) -> Document | None:
        try:
            document = self._documents[path] = read(path)
        except ProblemsError as error:
            self.problems += error.problems
            return None
        return document

    def _validated(self, document: Document, model: type[AnyModel]) -> AnyModel | None:
        try:
            return model.model_validate(document.data)
        except ValidationError as error:
            self.problems += _problems(document, error, model)
            return None

    def _is_of_this_format(self, document: Document) -> bool:
        """Return whether a board's file has the current format; add a problem if not."""
        written = document.data.get("format", FORMAT)
        if written == FORMAT or not isinstance(written, int):
            return True  # the model's validation reports other types than numbers
        folder = document.path.parent
        what = (
            f"is {written}, older than the {FORMAT} that this builder reads: run "
            f"`build.py upgrade {folder}`"
            if 0 < written < FORMAT
            else f"is {written}, which this builder does not know: it reads {FORMAT}"
        )
        self.add_problem(document.path, ("format",), what)
        return False

    def _extended(
        self, path: Path, files: Mapping[str, Path], trail: tuple[Path, ...]
    ) -> Document | None:
        """Read a board's document and merge it into that of the board that it extends.

        `trail` is the chain of boards that led here, each of which extends the next.
        """
        document = self._read(path)
        if document and not self._is_of_this_format(document):
            return None
        name = document.data.get("extends") if document else None
        if document is None or name is None:
            return document
        trail = (*trail, path)
        base = None
        if isinstance(name, str):  # the model's validation reports other types
            file = files.get(name)
            if file is None:
                self.add_problem(
                    path, ("extends",), f"there is no board {name}{closest(name, files)}"
                )
            elif len(trail) > MOST_BASES:
                self.add_problem(
                    path,
                    ("extends",),
                    f"is in a chain of more than {MOST_BASES} boards that extend each other",
                )
            elif file in trail:
                circle = [each.parent.name for each in (*trail[trail.index(file) :], file)]
                self.add_problem(path, ("extends",), f"goes in a circle: {' -> '.join(circle)}")
            else:
                base = self._extended(file, files, trail)
        return merged(base.without("board"), document) if base else replace(document, whole=False)


def shown(problem: Problem) -> str:
    """Return a problem as one line, with its path relative to the current directory if below it."""
    text = str(problem)
    return text.removeprefix(f"{Path.cwd()}/")


def closest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean ...?)" if a known name is similar, otherwise the list of known names.

    Names with other digits are other models or versions, no misspellings: Pynq-Z1 and Pynq-Z2.
    """
    names = sorted(known)
    alike = [each for each in names if re.findall(r"\d", each) == re.findall(r"\d", name)]
    near = difflib.get_close_matches(name, alike, n=1)
    if near:
        return f" (did you mean {near[0]}?)"
    return f" (there are: {', '.join(names) or 'none'})"


def _located(value: Any, where: KeyPath, document: Document) -> Any:
    """Return a value with absolute paths for file names from a base, which are relative to it."""
    if isinstance(value, FileName):
        path = document.place(where).path
        return value if path == document.path else str(path.parent.absolute() / value)
    if isinstance(value, tuple):
        return tuple(_located(item, (*where, index), document) for index, item in enumerate(value))
    if isinstance(value, Model):
        fields = {
            name: _located(getattr(value, name), (*where, field.alias or name), document)
            for name, field in type(value).model_fields.items()
        }
        return value.model_copy(update=fields)
    return value


def _problems(document: Document, error: ValidationError, model: type[Model]) -> list[Problem]:
    """Convert pydantic's errors to problems with lines and actionable messages."""
    found: dict[KeyPath, list[str]] = {}
    errors = error.errors(include_url=False)
    for item in errors[:_MOST_PROBLEMS]:
        where: KeyPath = item["loc"]
        if item["type"] == "missing":
            if not document.whole:
                continue  # it may be in the base that could not be read
            what = "is missing"
        elif _adds_to_nothing(item["type"], where, model):
            what = "can only add a list to a list of the board that is extended"
        elif item["type"] == "extra_forbidden":
            what = "is not a known key" + closest(str(where[-1]), _keys(document, model, where))
        else:
            # Pydantic adds the branches of a union to the location; they are no keys of the file.
            while where and where not in document.places:
                where = where[:-1]
            what = _WORDS.get(item["type"]) or item["msg"].removeprefix("Value error, ")
            what = what[:1].lower() + what[1:]
            if item["type"] != "value_error" and _is_scalar(item["input"]):
                what += f", not {_brief(item['input'])}"
        reasons = found.setdefault(where, [])
        if what not in reasons:
            reasons.append(what)
    if len(errors) > _MOST_PROBLEMS:
        found[()] = [f"has {len(errors) - _MOST_PROBLEMS} more problems"]
    return [document.problem(where, ", or ".join(reasons)) for where, reasons in found.items()]


def _adds_to_nothing(kind: str, where: KeyPath, model: type[Model]) -> bool:
    """Return whether an unknown key is a `KEY+` of a board."""
    return kind == "extra_forbidden" and str(where[-1]).endswith("+") and model is Board


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float | bool) or value is None


def _keys(document: Document, model: type[Model], where: KeyPath) -> list[str]:
    """Return the keys of a model that the file lacks, in the mapping of an unknown key."""
    schema = _schema(model)
    node: Any = schema
    for part in where[:-1]:
        node = _resolve(schema, node)
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
    properties = _resolve(schema, node).get("properties", {})
    file = document.place(where).path
    given = {each for each, place in document.places.items() if place.path == file}
    return [key for key in properties if (*where[:-1], key) not in given]


@lru_cache
def _schema(model: type[Model]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)


def _resolve(schema: dict[str, Any], node: Any) -> dict[str, Any]:
    """Resolve references and optional types of a JSON Schema to the object's schema."""
    while isinstance(node, dict):
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        elif "anyOf" in node:
            node = node["anyOf"][0]
        else:
            return node
    return {}
