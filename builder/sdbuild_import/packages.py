# SPDX-License-Identifier: MIT
"""Packages of sdbuild: ours in their place, or recipes that use them as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from builder.sdbuild_import.draft import Draft, text_of
from builder.sdbuild_import.facts import packages, scripts
from builder.sdbuild_import.report import Outcome
from builder.sdbuild_import.specification import Specification
from builder.spec.legacy import SCRIPTS

_FOLDER = "packages"

# What a script calls its board's directory, and a path below it.
_BOARD_PATH = re.compile(
    r"(?:\$\{?PYNQ_BOARDDIR\}?|\$\{?BOARDDIR\}?/\$\{?PYNQ_BOARD\}?|\$\{?PACKAGE_PATH\}?/\.\."
    r"|\$\{?(?:script_dir|SCRIPT_DIR|DIR)\}?/\.\./\.\.)/([\w.+/-]+)"
)


def convert_packages(draft: Draft, specification: Specification) -> list[str]:
    """Bring a board's packages over; return the recipes that its image is to have."""
    recipes: list[str] = []
    own = _own(draft)
    for word in specification.packages:
        if word.text in own:
            recipe = _bring(draft, word.text, own[word.text], named=True)
            outcome, what = Outcome.AS_IT_IS, f"recipe {recipe}"
            if recipe:
                recipes.append(recipe)
            else:
                outcome, what = Outcome.LEFT, "it has no scripts, so sdbuild does nothing"
            what = f"{word.text}: the board's own package, {what}"
            draft.report.add(specification.file, outcome, what, line=word.line)
        else:
            recipes += _ours(draft, specification, word.text, word.line)
    named = {word.text for word in specification.packages}
    for name, folder in own.items():
        if name not in named:
            _bring(draft, name, folder, named=False)
    return [*dict.fromkeys(recipes)]


def _own(draft: Draft) -> dict[str, Path]:
    """Return the board's own packages; files among them that are in none are left."""
    folder = draft.source / _FOLDER
    names = {path.relative_to(folder).parts for path in draft.below(_FOLDER)}
    return {parts[0]: folder / parts[0] for parts in sorted(names) if len(parts) > 1}


def _ours(draft: Draft, specification: Specification, name: str, line: int) -> Sequence[str]:
    package = packages().get(name)
    say = draft.report.add
    file = specification.file
    if package is None:
        say(
            file,
            Outcome.PERSON,
            f"{name}: neither a package of the board's nor one of sdbuild's that is known here; "
            f"write a recipe, or bring {_FOLDER}/{name}",
            line=line,
        )
        return ()
    if package.person:
        say(file, Outcome.PERSON, f"{name}: {package.person}", line=line)
        return ()
    by = f"by {', '.join(package.recipes)}: " if package.recipes else "no recipe: "
    say(file, Outcome.CONVERTED, f"{name}: {by}{package.what}", line=line)
    return package.recipes


def _bring(draft: Draft, name: str, folder: Path, *, named: bool) -> str | None:
    """Copy a package into a recipe, and say what its scripts need.

    Returns:
        The recipe's name; None if the package has no scripts.
    """
    # A board's recipe with the name of one of the tree's would take its place, in profiles too.
    recipe = f"{name}-package" if name in draft.tree.recipe_files() else name
    files = [path for path in draft.files if path.is_relative_to(folder)]
    if not any(folder / script in files for script in SCRIPTS):
        for path in files:
            what = f"its package has none of {', '.join(SCRIPTS)}; a recipe can install it"
            draft.report.add(path, Outcome.PERSON, what)
        return None
    wanted: dict[str, None] = {}
    for path in files:
        if not draft.copy(path, f"recipes/{recipe}/{name}/{path.relative_to(folder)}"):
            continue
        if path.name == "Makefile" and path.parent == folder:
            draft.report.add(path, Outcome.LEFT, "sdbuild does not read those of boards' packages")
        else:
            what = "" if named else "; STAGE4_PACKAGES does not name it, and so no board"
            draft.report.add(path, Outcome.AS_IT_IS, f"recipe {recipe}{what}")
        if path.parent == folder and path.name in SCRIPTS:
            wanted |= dict.fromkeys(_look(draft, path))
    legacy: dict[str, object] = {"package": name}
    if wanted:
        legacy["board-files"] = [*wanted]
    text = yaml.safe_dump(
        {
            "summary": f"sdbuild's package {name}, as it is",
            "board-specific": True,
            "legacy": legacy,
        },
        sort_keys=False,
    )
    draft.write(f"recipes/{recipe}/recipe.yaml", text)
    return recipe


@dataclass(frozen=True, kw_only=True)
class _Line:
    number: int
    text: str


def _lines(script: Path) -> Iterator[_Line]:
    for number, text in enumerate(text_of(script).splitlines(), 1):
        code = re.sub(r"(?:^|\s)#.*", "", text)
        if code.strip():
            yield _Line(number=number, text=code)


def _look(draft: Draft, script: Path) -> Iterator[str]:
    """Report what in a script does not work here; yield the files of the board that it reads."""
    known = scripts()
    for line in _lines(script):
        for pattern in known.network:
            if match := pattern.search(line.text):
                draft.report.add(
                    script,
                    Outcome.PERSON,
                    f"`{' '.join(match[0].split())}` wants the network, which scripts do not have: "
                    "name what it fetches in recipe.yaml (apt, pip, downloads), or say there "
                    "legacy.network: true",
                    line=line.number,
                )
                break
        for remark in known.remarks:
            if remark.pattern.search(line.text):
                draft.report.add(script, Outcome.PERSON, remark.what, line=line.number)
        for match in _BOARD_PATH.finditer(line.text):
            yield from _board_file(draft, script, line, match[1].rstrip("/"))


def _board_file(draft: Draft, script: Path, line: _Line, name: str) -> Iterator[str]:
    """Copy what a script reads of its board; yield its name."""
    path = draft.source / name
    if name.startswith(_FOLDER) or ".." in Path(name).parts:
        draft.report.add(
            script, Outcome.PERSON, f"reads {name}: put it into the package", line=line.number
        )
    elif not path.exists():
        draft.report.add(
            script, Outcome.PERSON, f"reads {name} of the board: it is not there", line=line.number
        )
    else:
        files = [each for each in draft.files if each == path or each.is_relative_to(path)]
        for each in files:
            if draft.copy(each, str(each.relative_to(draft.source))):
                draft.report.add(each, Outcome.AS_IT_IS, f"read by {script.parent.name}")
        yield name
