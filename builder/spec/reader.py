# SPDX-License-Identifier: MIT
"""Reads the tree's YAML files into models and collects everything that is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from builder.errors import UserError
from builder.spec.document import Document, KeyPath, Problem, ProblemsError, read
from builder.spec.models import Board, Distribution, LocalSettings, Model, Profile, Recipe

AnyModel = TypeVar("AnyModel", bound=Model)

# What pydantic says of types, in the words of a YAML file.
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


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Where the files are: this tree's root, and directories with boards outside of it."""

    root: Path
    boards_dirs: tuple[Path, ...] = ()

    def board_files(self) -> dict[str, Path]:
        """Return the `board.yaml` of each board by name; outer directories shadow the tree."""
        found: dict[str, Path] = {}
        for folder in (self.root / "boards", *self.boards_dirs):
            found |= {path.parent.name: path for path in sorted(folder.glob("*/board.yaml"))}
        return found

    def recipe_files(self, board: Path | None = None) -> dict[str, Path]:
        """Return the `recipe.yaml` of each recipe by name; a board's own ones come first."""
        folders = [self.root / "recipes", *([board / "recipes"] if board else [])]
        found: dict[str, Path] = {}
        for folder in folders:
            found |= {path.parent.name: path for path in sorted(folder.glob("*/recipe.yaml"))}
        return found

    def profile_files(self) -> dict[str, Path]:
        """Return the file of each profile by name."""
        return {path.stem: path for path in sorted((self.root / "profiles").glob("*.yaml"))}

    def distribution_files(self) -> dict[str, Path]:
        """Return the file of each distribution by name."""
        return {path.stem: path for path in sorted((self.root / "distributions").glob("*.yaml"))}

    @property
    def local_file(self) -> Path:
        """The user's own settings, which need not exist."""
        return self.root / "local.yaml"


class Reader:
    """Reads files, each once, and keeps a list of all problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._documents: dict[Path, Document] = {}

    def board(self, path: Path) -> Board | None:
        """Read a `board.yaml`; None if it has problems."""
        return self._load(path, Board)

    def recipe(self, path: Path) -> Recipe | None:
        """Read a `recipe.yaml`; None if it has problems."""
        return self._load(path, Recipe)

    def profile(self, path: Path) -> Profile | None:
        """Read a profile; None if it has problems."""
        return self._load(path, Profile)

    def distribution(self, path: Path) -> Distribution | None:
        """Read a distribution; None if it has problems."""
        return self._load(path, Distribution)

    def local(self, path: Path) -> LocalSettings | None:
        """Read a user's settings; None if they have problems, empty if there are none."""
        return self._load(path, LocalSettings) if path.exists() else LocalSettings()

    def complain(self, path: Path, where: KeyPath, what: str) -> None:
        """Add a problem at a key of a file that was read."""
        document = self._documents.get(path) or Document(path=path, data={}, lines={})
        self.problems.append(document.problem(where, what))

    def raise_problems(self) -> None:
        """Raise all problems as one error, if there are any.

        Raises:
            UserError: its details are one line a problem.
        """
        if self.problems:
            unique = sorted({*self.problems})
            count = len(unique)
            raise UserError(
                f"{count} problem{'s' if count > 1 else ''} in the specification",
                details=[shown(problem) for problem in unique],
            )

    def _load(self, path: Path, model: type[AnyModel]) -> AnyModel | None:
        try:
            document = self._documents[path] = read(path)
            return model.model_validate(document.data)
        except ProblemsError as error:
            self.problems += error.problems
        except ValidationError as error:
            self.problems += _problems(document, error, model)
        return None


def shown(problem: Problem) -> str:
    """Return a problem as one line, its path as short as the current directory allows."""
    text = str(problem)
    return text.removeprefix(f"{Path.cwd()}/")


def closest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean ...?)" if a known name is near, else the list of known names."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f" (did you mean {near[0]}?)"
    return f" (there are: {', '.join(names) or 'none'})"


def _problems(document: Document, error: ValidationError, model: type[Model]) -> list[Problem]:
    """Turn pydantic's errors into problems with lines and words a user can act on."""
    found: dict[KeyPath, list[str]] = {}
    for item in error.errors(include_url=False):
        where: KeyPath = item["loc"]
        if item["type"] == "missing":
            what = "is missing"
        elif item["type"] == "extra_forbidden":
            what = "is not a known key" + closest(str(where[-1]), _keys(document, model, where))
        else:
            # Branches of a union are no keys of the file.
            while where and where not in document.lines:
                where = where[:-1]
            what = _WORDS.get(item["type"]) or item["msg"].removeprefix("Value error, ")
            what = what[:1].lower() + what[1:]
            if item["type"] != "value_error" and _is_scalar(item["input"]):
                what += f", not {item['input']!r}"
        reasons = found.setdefault(where, [])
        if what not in reasons:
            reasons.append(what)
    return [document.problem(where, ", or ".join(reasons)) for where, reasons in found.items()]


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float | bool) or value is None


def _keys(document: Document, model: type[Model], where: KeyPath) -> list[str]:
    """Return the keys that a model knows at the place of an unknown one."""
    schema = model.model_json_schema(by_alias=True)
    node: Any = schema
    for part in where[:-1]:
        node = _resolve(schema, node)
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
    properties = _resolve(schema, node).get("properties", {})
    return [key for key in properties if (*where[:-1], key) not in document.lines]


def _resolve(schema: dict[str, Any], node: Any) -> dict[str, Any]:
    """Follow references and optional wrappers of a JSON Schema to the object they mean."""
    while isinstance(node, dict):
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        elif "anyOf" in node:
            node = node["anyOf"][0]
        else:
            return node
    return {}
