# SPDX-License-Identifier: MIT
"""Compilers and build tools on the board."""

import pytest
from testinfra.host import Host

PROGRAMS = {
    "gcc -x c": 'int puts(const char *); int main(void) { return puts("made here") < 0; }',
    "g++ -x c++": '#include <iostream>\nint main() { std::cout << "made here" << std::endl; }',
    "gfortran -x f95": "program p\nwrite(*, '(a)') 'made here'\nend program",
}


@pytest.mark.parametrize("compiler", PROGRAMS)
def test_a_program_is_compiled_and_runs(host: Host, compiler: str) -> None:
    """A program that was compiled on the board runs on it."""
    script = f"d=$(mktemp -d) && printf '%s' \"$1\" | {compiler} - -o $d/made && $d/made; rm -rf $d"
    assert host.check_output("sh -c %s sh %s", script, PROGRAMS[compiler]) == "made here"


@pytest.mark.parametrize(
    "program",
    ["autoconf", "cmake", "dtc", "gdb", "git", "make", "node", "pandoc", "swig", "valgrind"],
)
def test_tools_run(host: Host, program: str) -> None:
    """The tools print their version."""
    option = "-version" if program == "swig" else "--version"
    assert host.run(f"{program} {option}").rc == 0
