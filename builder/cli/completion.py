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
    SETTINGS,
    Verbs,
)

# Prints `RECIPE.PARAMETER VALUE` for the default of each parameter, and both values of booleans.
# recipe.yaml files have one key of `parameters` per line, so a YAML parser is not needed.
_PARAMETERS = r"""awk '
    FNR == 1 { parts = split(FILENAME, path, "/"); recipe = path[parts - 1]; inside = 0 }
    /^[^ #]/ { inside = /^parameters:/ }
    inside && /^  [a-z]/ { name = $1; sub(/:.*/, "", name); print recipe "." name }
    inside && match($0, /default: *[^,}# ]+/) {
        value = substr($0, RSTART, RLENGTH); sub(/default: */, "", value); gsub(/["\[\]]/, "", value)
        print recipe "." name, value
        if (value == "false") print recipe "." name, "true"
        if (value == "true") print recipe "." name, "false"
    }
' /dev/null"""

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

_builder_parameters() {{
    local files
    mapfile -t files < <(_builder_files 'recipes/*/recipe.yaml' '*/recipes/*/recipe.yaml')
    {_PARAMETERS} "${{files[@]}}"
}}

{SETTINGS["bash"]}() {{
    compgen -W "$(_builder_parameters | sed 's| .*||; s|$|=|' | sort -u)" -- "$1"
}}

{PROFILES["bash"]}() {{
    compgen -W "$(_builder_stems 'profiles/*.yaml')" -- "$1"
}}

{DISTRIBUTIONS["bash"]}() {{
    compgen -W "$(_builder_stems 'distributions/*.yaml')" -- "$1"
}}
"""

# Appended to shtab's script: without a command, options are those of `build`. Bash splits words at
# `=`, so shtab does not see that the value of `--set` continues after it.
_BASH_END = """
_builder_values() {
    local at=$COMP_CWORD word=${COMP_WORDS[COMP_CWORD]} name line
    if [ "$word" = = ]; then word=; else at=$((at - 1)); fi
    if [[ $at -lt 3 || ${COMP_WORDS[at]} != = || ${COMP_WORDS[at - 2]} != --set ]]; then return 1; fi
    name=${COMP_WORDS[at - 1]}
    COMPREPLY=()
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
        compgen -W "$(_builder_parameters | sed -n "s|^${name//./\\.} ||p")" -- "$word"
    )
}

_builder_complete() {
    if _builder_values; then return; fi
    if [[ ${COMP_WORDS[1]-} == -* ]]; then
        COMP_WORDS=("${COMP_WORDS[0]}" build "${COMP_WORDS[@]:1}")
        ((COMP_CWORD += 1))
    fi
    _shtab_build_py "$@"
    if [[ ${COMPREPLY[0]-} == *= ]]; then compopt -o nospace 2> /dev/null || :; fi
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

{SETTINGS["zsh"]}() {{
    local reply
    local -a rows
    _builder_folders
    rows=("${{(@f)$({_PARAMETERS} $^reply/recipes/*/recipe.yaml(N) $^reply/*/recipes/*/recipe.yaml(N))}}")
    if compset -P 1 '*='; then
        rows=(${{(M)rows:#${{${{IPREFIX%=}}##*=}} *}})
        compadd -- ${{rows#* }}
    else
        compadd -S = -- ${{(u)rows%% *}}
    fi
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
