# SPDX-License-Identifier: MIT
"""Import of sdbuild packages: replaced by recipes, or wrapped in recipes unchanged."""

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

# References to the board's directory in scripts, followed by a path below it.
_BOARD_PATH = re.compile(
    r"(?:\$\{?PYNQ_BOARDDIR\}?|\$\{?BOARDDIR\}?/\$\{?PYNQ_BOARD\}?|\$\{?PACKAGE_PATH\}?/\.\."
    r"|\$\{?(?:script_dir|SCRIPT_DIR|DIR)\}?/\.\./\.\.)/([\w.+/-]+)"
)


def convert_packages(draft: Draft, specification: Specification) -> list[str]:
    """Import a board's packages; return the recipes for its image."""
    recipes: list[str] = []
    own = _own(draft)
    for word in specification.packages:
        if word.text in own:
            recipe = _bring(draft, word.text, own[word.text], named=True)
            outcome, what = Outcome.AS_IT_IS, f"recipe {recipe}"
            if recipe:
                recipes.append(recipe)
            else:
                outcome, what = Outcome.LEFT, "it has no scripts, so sdbuild ignores it"
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
    """Return the board's own packages by name, without stray files."""
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
            f"{name}: neither a package of the board nor a known one of sdbuild; "
            f"write a recipe, or add {_FOLDER}/{name}",
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
    """Copy a package into a recipe, and report problems in its scripts.

    Returns:
        The recipe's name; None if the package has no scripts.
    """
    # A board's recipe would override the repository's recipe of the same name, also in profiles.
    recipe = f"{name}-package" if name in draft.tree.recipe_files() else name
    files = [path for path in draft.files if path.is_relative_to(folder)]
    if not any(folder / script in files for script in SCRIPTS):
        for path in files:
            what = f"its package has none of {', '.join(SCRIPTS)}; install it by a recipe"
            draft.report.add(path, Outcome.PERSON, what)
        return None
    wanted: dict[str, None] = {}
    for path in files:
        if not draft.copy(path, f"recipes/{recipe}/{name}/{path.relative_to(folder)}"):
            continue
        if path.name == "Makefile" and path.parent == folder:
            draft.report.add(path, Outcome.LEFT, "sdbuild ignores Makefiles of boards' packages")
        else:
            what = "" if named else "; not in STAGE4_PACKAGES, so the board does not use it"
            draft.report.add(path, Outcome.AS_IT_IS, f"recipe {recipe}{what}")
        if path.parent == folder and path.name in SCRIPTS:
            wanted |= dict.fromkeys(_look(draft, path))
    legacy: dict[str, object] = {"package": name}
    if wanted:
        legacy["board-files"] = [*wanted]
    text = yaml.safe_dump(
        {
            "summary": f"sdbuild's package {name}, unchanged",
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
    """Report lines of a script that do not work; yield the board's files that it reads."""
    known = scripts()
    for line in _lines(script):
        for pattern in known.network:
            if match := pattern.search(line.text):
                draft.report.add(
                    script,
                    Outcome.PERSON,
                    f"`{' '.join(match[0].split())}` needs the network, which scripts do not have: "
                    "list the downloads in recipe.yaml (apt, pip, downloads), or set "
                    "legacy.network: true there",
                    line=line.number,
                )
                break
        for remark in known.remarks:
            if remark.pattern.search(line.text):
                draft.report.add(script, Outcome.PERSON, remark.what, line=line.number)
        for match in _BOARD_PATH.finditer(line.text):
            yield from _board_file(draft, script, line, match[1].rstrip("/"))


def _board_file(draft: Draft, script: Path, line: _Line, name: str) -> Iterator[str]:
    """Copy a file of the board that a script reads; yield its name."""
    path = draft.source / name
    if name.startswith(_FOLDER) or ".." in Path(name).parts:
        draft.report.add(
            script, Outcome.PERSON, f"reads {name}: move it into the package", line=line.number
        )
    elif not path.exists():
        draft.report.add(
            script, Outcome.PERSON, f"reads {name} of the board: it is missing", line=line.number
        )
    else:
        files = [each for each in draft.files if each == path or each.is_relative_to(path)]
        for each in files:
            if draft.copy(each, str(each.relative_to(draft.source))):
                draft.report.add(each, Outcome.AS_IT_IS, f"read by {script.parent.name}")
        yield name
