# SPDX-License-Identifier: MIT
"""The command `completion`: scripts with which shells complete the command line."""

from __future__ import annotations

import argparse
import sys
from functools import partial

import shtab

from builder.cli.context import Context
from builder.cli.options import (
    BOARDS,
    BOARDS_OR_FILES,
    DISTRIBUTIONS,
    PROFILES,
    RECIPES,
    Verbs,
)

# Names come from the tree that contains the completed program, and from --boards-dir.
_BASH = f"""
_builder_folders() {{
    local program=$(command -v -- "${{COMP_WORDS[0]}}") index word
    program=$(readlink -f -- "$program")
    printf '%s\\n' "${{program%/*}}" "${{program%/*}}/boards"
    for ((index = 1; index + 1 < ${{#COMP_WORDS[@]}}; index++)); do
        if [ "${{COMP_WORDS[index]}}" = --boards-dir ]; then
            word=${{COMP_WORDS[index + 1]}}
            if [ "$word" = = ]; then word=${{COMP_WORDS[index + 2]-}}; fi
            printf '%s\\n' "${{word/#\\~\\//$HOME/}}"
        fi
    done
}}

_builder_files() {{
    local folder pattern file
    while IFS= read -r folder; do
        for pattern; do
            for file in "$folder"/$pattern; do
                if [ -e "$file" ]; then printf '%s\\n' "$file"; fi
            done
        done
    done < <(_builder_folders)
}}

_builder_stems() {{
    _builder_files "$@" | sed 's|.*/||; s|\\.yaml$||'
}}

_builder_parents() {{
    _builder_files "$@" | sed 's|/[^/]*$||; s|.*/||'
}}

{BOARDS["bash"]}() {{
    compgen -W "$(_builder_parents '*/board.yaml')" -- "$1"
}}

{BOARDS_OR_FILES["bash"]}() {{
    {BOARDS["bash"]} "$1" || :
    compgen -f -- "$1"
}}

{RECIPES["bash"]}() {{
    compgen -W "$(_builder_parents 'recipes/*/recipe.yaml' '*/recipes/*/recipe.yaml')" -- "$1"
}}

{PROFILES["bash"]}() {{
    compgen -W "$(_builder_stems 'profiles/*.yaml')" -- "$1"
}}

{DISTRIBUTIONS["bash"]}() {{
    compgen -W "$(_builder_stems 'distributions/*.yaml')" -- "$1"
}}
"""

# Appended to shtab's script: without a command, options are those of `build`.
_BASH_END = """
_builder_complete() {
    if [[ ${COMP_WORDS[1]-} == -* ]]; then
        COMP_WORDS=("${COMP_WORDS[0]}" build "${COMP_WORDS[@]:1}")
        ((COMP_CWORD += 1))
    fi
    _shtab_build_py "$@"
}

complete -o bashdefault -F _builder_complete build.py
"""

_ZSH = f"""
_builder_folders() {{
    local program=${{${{(Q)words[1]}}:A:h}} index
    reply=($program $program/boards)
    for ((index = 2; index < $#words; index++)); do
        case $words[index] in
            --boards-dir) reply+=(${{~${{(Q)words[index + 1]}}}}) ;;
            --boards-dir=*) reply+=(${{~${{(Q)words[index]#*=}}}}) ;;
        esac
    done
}}

_builder_offer() {{
    local reply pattern
    _builder_folders
    for pattern; do
        compadd -- $^reply/${{~pattern}}
    done
}}

{BOARDS["zsh"]}() {{
    _builder_offer '*/board.yaml(N:h:t)'
}}

{BOARDS_OR_FILES["zsh"]}() {{
    {BOARDS["zsh"]}
    _files
}}

{RECIPES["zsh"]}() {{
    _builder_offer 'recipes/*/recipe.yaml(N:h:t)' '*/recipes/*/recipe.yaml(N:h:t)'
}}

{PROFILES["zsh"]}() {{
    _builder_offer 'profiles/*.yaml(N:t:r)'
}}

{DISTRIBUTIONS["zsh"]}() {{
    _builder_offer 'distributions/*.yaml(N:t:r)'
}}
"""

_WRAPPERS = {"bash": (_BASH, _BASH_END), "zsh": (_ZSH, "")}
"""Text before and after shtab's script, by shell."""


def completion(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    context: Context,
) -> int:
    """Print the completion script of a shell."""
    before, after = _WRAPPERS[arguments.shell]
    script = shtab.complete(parser, arguments.shell, preamble=before)
    sys.stdout.write(f"{script}\n{after}")
    return 0


def register(verbs: Verbs) -> None:
    """Register the command."""
    verb = verbs.add(
        "completion",
        partial(completion, verbs.parser),
        "print a completion script for a shell",
        group="general",
        examples=["completion bash", "completion zsh > ~/.zfunc/_build.py"],
    )
    verb.add_argument("shell", choices=sorted(_WRAPPERS), help="the shell")
