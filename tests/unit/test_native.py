# SPDX-License-Identifier: MIT
"""Native execution: which program is started in place of another, and which never.

The host's own programs play the target's; a twin says that it is one.
"""

from __future__ import annotations

import json
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.archive.archive import Archive
from builder.engine.host import host_architecture
from builder.engine.process import Processes
from builder.engine.requirements import PACKAGES
from builder.engine.workspace import Workspace
from builder.spec.models import Architecture
from builder.spec.reader import Tree
from builder.spec.resolve import NamedDistribution, resolve
from builder.steps.layers import LayerStack
from builder.steps.native import programs
from builder.steps.native.programs import NativePrograms, Rules, relocated
from builder.steps.native.tree import MACHINES, NativeTree
from builder.steps.pack import LAYER, pack
from builder.store.store import Entry

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(programs.__file__).with_name("exec.c")
AMD64, ARM64, ARMHF = Architecture.AMD64, Architecture.ARM64, Architecture.ARMHF

# exec.c

needs_compiler = pytest.mark.skipif(
    shutil.which("gcc") is None or platform.libc_ver()[0] != "glibc", reason="needs gcc, glibc"
)

# Says who it is and how it was called, and ends as it was told.
PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char *argv[])
{
    printf("%s", WHO);
    for (int i = 0; i < argc; i++)
        printf(":%s", argv[i]);
    printf(":%s\n", getenv("WORD") ? getenv("WORD") : "");
    return getenv("STATUS") ? atoi(getenv("STATUS")) : 0;
}
"""

# Starts a file by the function that the first word names; says the error, if there is one.
# Functions that take an environment give WORD=given in it.
DRIVER = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static int ended(pid_t pid)
{
    int status;
    if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
        return 126;
    return WEXITSTATUS(status);
}
int main(int argc, char *argv[])
{
    const char *call = argv[1], *file = argv[2];
    char **words = argv + 3, *given[100];
    volatile int error = 0; /* the child's, too, after vfork */
    int n = 0;
    pid_t pid;
    struct utsname names;
    for (char **item = environ; *item && n < 90; item++)
        if (strncmp(*item, "WORD=", 5) != 0)
            given[n++] = *item;
    given[n++] = "WORD=given";
    given[n] = NULL;
#define IS(name) (strcmp(call, #name) == 0)
    if (IS(uname)) {
        if (uname(&names) == 0)
            printf("%s %s\n", names.sysname, names.machine);
        return 0;
    } else if (IS(posix_spawn)) {
        error = posix_spawn(&pid, file, NULL, NULL, words, given);
    } else if (IS(posix_spawnp)) {
        error = posix_spawnp(&pid, file, NULL, NULL, words, given);
    } else if (IS(vfork)) {
        pid = vfork();
        if (pid == 0) {
            execve(file, words, given);
            error = errno;
            _exit(125);
        }
    } else {
        if (IS(execve))
            execve(file, words, given);
        else if (IS(execv))
            execv(file, words);
        else if (IS(execvp))
            execvp(file, words);
        else if (IS(execvpe))
            execvpe(file, words, given);
        else if (argc != 6)
            return 124;
        else if (IS(execl))
            execl(file, words[0], words[1], words[2], (char *)NULL);
        else if (IS(execlp))
            execlp(file, words[0], words[1], words[2], (char *)NULL);
        else if (IS(execle))
            execle(file, words[0], words[1], words[2], (char *)NULL, given);
        else
            return 124;
        error = errno;
    }
    if (!error)
        return ended(pid);
    puts(strerrorname_np(error));
    return 0;
}
"""

PLAIN = ["execve", "execv", "execl", "execle", "posix_spawn", "vfork"]
SEARCHING = ["execvp", "execvpe", "execlp", "posix_spawnp"]
GIVING = {"execve", "execle", "execvpe", "posix_spawn", "posix_spawnp", "vfork"}


@dataclass(frozen=True)
class Tools:
    """What was compiled: the library, and the programs that tests start."""

    base: Path

    @property
    def programs(self) -> Path:
        return self.base / "programs"

    @property
    def perl(self) -> Path:
        """While this is there, Perl must be the target's."""
        return self.base / "perl5"


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    made = Tools(tmp_path_factory.mktemp("native").resolve())
    strict = ["-std=gnu11", "-Wall", "-Wextra", "-Werror"]
    for who in ("real", "twin"):
        compile_c(PROGRAM, made.base / who, *strict, f'-DWHO="{who}"')
    machine = (made.base / "real").read_bytes()[18:20]
    values = {
        "PROGRAMS": f'"{made.programs}"',
        "TARGET_MACHINE": str(int.from_bytes(machine, sys.byteorder)),
        "TARGET_UNAME": '"armv7l"',
        "TARGET_PERL": f'"{made.perl}"',
    }
    library = [*strict, "-O2", "-shared", "-fPIC", *(f"-D{k}={v}" for k, v in values.items())]
    compile_c(SOURCE.read_text(), made.base / "exec.so", *library)
    compile_c(DRIVER, made.base / "driver", *strict)
    return made


def compile_c(source: str, output: Path, *options: str) -> None:
    command = ["gcc", *options, "-o", str(output), "-x", "c", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Place:
    """A directory with programs, some of which have a twin."""

    def __init__(self, tools: Tools, path: Path) -> None:
        self.tools = tools
        self.path = path.resolve()
        self.twins: list[Path] = []

    def real(self, name: str, *, twin: bool = False) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.tools.base / "real", path)
        if twin:
            self.twin(path)
        return path

    def twin(self, path: Path) -> None:
        """Give a twin to whatever is at a path."""
        twin = self.tools.programs / path.relative_to("/")
        twin.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.tools.base / "twin", twin)
        self.twins.append(twin)

    def script(self, name: str, text: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def run(
        self,
        *command: str | Path,
        path: str = "/usr/bin:/bin",
        native: bool = True,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": path, "LC_ALL": "C", **environment}
        if native:
            environment["LD_PRELOAD"] = str(self.tools.base / "exec.so")
        return subprocess.run(
            list(map(str, command)),
            cwd=self.path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def call(
        self,
        function: str,
        file: str | Path,
        *argv: str,
        path: str = "/usr/bin:/bin",
        native: bool = True,
    ) -> str:
        """Return what a file says that is started by a function, or the error's name."""
        words = (function, file, *argv)
        done = self.run(self.tools.base / "driver", *words, path=path, native=native, WORD="own")
        assert done.stderr == ""
        return done.stdout.removesuffix("\n")

    def same(self, function: str, file: str | Path, *argv: str, path: str = "/usr/bin:/bin") -> str:
        """Return what `call` does, which must be as without the library, but for the twin."""
        plain, done = (
            self.call(function, file, *argv, path=path, native=native) for native in (False, True)
        )
        assert done.replace("twin:", "real:") == plain
        return done


@pytest.fixture
def place(tools: Tools, tmp_path: Path) -> Iterator[Place]:
    made = Place(tools, tmp_path)
    yield made
    for twin in made.twins:
        twin.unlink()


@needs_compiler
@pytest.mark.parametrize("function", [*PLAIN, *SEARCHING])
def test_a_twin_is_started_if_there_is_one(place: Place, function: str) -> None:
    word = "given" if function in GIVING else "own"
    for who in ("real", "twin"):
        program = place.real(f"bin/{who}", twin=who == "twin")
        said = place.same(function, program, "its name", "one", "two words")
        assert said == f"{who}:its name:one:two words:{word}"


@needs_compiler
@pytest.mark.parametrize("function", SEARCHING)
def test_programs_are_searched_for_as_ever(place: Place, function: str) -> None:
    place.real("one/tool")
    place.real("two/tool", twin=True)
    one, two = (str(place.path / name) for name in ("one", "two"))
    for path, who in {one: "real", two: "twin", f"{one}:{two}": "real"}.items():
        assert place.same(function, "tool", "t", "a", "b", path=path).startswith(f"{who}:t:a:b:")


@needs_compiler
@pytest.mark.parametrize("function", SEARCHING)
@pytest.mark.parametrize("path", ["", ":{}/none", "{}/none:", "{}/none::{}/empty"])
def test_an_empty_part_of_path_is_the_current_directory(
    place: Place, function: str, path: str
) -> None:
    place.real("tool", twin=True)
    said = place.same(function, "tool", "t", "a", "b", path=path.replace("{}", str(place.path)))
    assert said.startswith("twin:t:a:b:")


@needs_compiler
@pytest.mark.parametrize("function", SEARCHING)
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("none:file:denied:folder:good", "twin:"),
        ("denied", "EACCES"),
        ("denied:none", "EACCES"),
        ("folder:none", "EACCES"),
        ("none:folder", "EACCES"),
        ("none", "ENOENT"),
        ("file:none", "ENOENT"),
        ("none:file", "ENOTDIR"),
        ("lost:good", "twin:"),
        ("broken:good", "ENOEXEC"),
        ("long:good", "twin:"),
    ],
)
def test_what_cannot_be_started_is_passed_over_and_the_error_is_the_same(
    place: Place, function: str, path: str, said: str
) -> None:
    place.real("good/tool", twin=True)
    place.real("denied/tool", twin=True).chmod(0o644)
    (place.path / "folder/tool").mkdir(parents=True)
    (place.path / "file").write_text("")
    place.script("lost/tool", "#!/nowhere/interpreter\n")
    broken = bytearray((place.tools.base / "real").read_bytes())
    broken[18:20] = b"\xff\xff"  # of no machine
    place.real("broken/tool").write_bytes(broken)
    folders = (f"{place.path}/{name}" for name in path.split(":"))
    full = ":".join(folder.replace("long", "x" * 5000) for folder in folders)
    if said == "ENOEXEC" and function != "posix_spawnp":
        return  # a shell's own words
    done = place.same(function, "tool", "t", "a", "b", path=full)
    if function == "posix_spawnp":  # glibc searches if the first that is found has no twin
        done = done.replace("real:", "twin:")
    assert done.startswith(said)


@needs_compiler
@pytest.mark.parametrize("function", SEARCHING)
@pytest.mark.parametrize("name", ["", "x" * 300])
def test_a_name_that_cannot_be_is_the_same_error(place: Place, function: str, name: str) -> None:
    assert place.same(function, name, "t", "a", "b", path=str(place.path)).startswith("E")


@needs_compiler
@pytest.mark.parametrize("function", [*PLAIN, *SEARCHING])
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("./none", "ENOENT"),
        ("./dangling", "ENOENT"),
        ("./loop", "ELOOP"),
        ("./folder", "EACCES"),
        ("./denied", "EACCES"),
        ("./denied/below", "ENOTDIR"),
        ("./lost", "ENOENT"),
    ],
)
def test_a_file_that_cannot_be_started_is_the_same_error(
    place: Place, function: str, name: str, error: str
) -> None:
    place.real("denied", twin=True).chmod(0o644)
    (place.path / "folder").mkdir()
    (place.path / "dangling").symlink_to("none")
    (place.path / "loop").symlink_to("loop")
    place.script("lost", "#!/nowhere/interpreter\n")
    assert place.same(function, name, "t", "a", "b") == error


@needs_compiler
def test_links_are_followed_to_the_end(place: Place) -> None:
    for name in ("mawk", "gawk", "dash"):
        place.real(f"usr/bin/{name}", twin=name != "gawk")
    (place.path / "bin").symlink_to("usr/bin")
    (place.path / "etc").mkdir()
    (place.path / "bin/awk").symlink_to("../../etc/awk")
    (place.path / "etc/awk").symlink_to(place.path / "usr/bin/mawk")
    place.twin(place.path / "bin/awk")
    assert place.same("execv", "bin/awk", "awk") == "twin:awk:own"
    (place.path / "etc/awk").unlink()
    (place.path / "etc/awk").symlink_to("../bin/gawk")
    assert place.same("execv", "bin/awk", "awk") == "real:awk:own", "another alternative"


@needs_compiler
def test_a_twin_alone_is_not_enough(place: Place) -> None:
    place.twin(place.path / "none")
    assert place.same("execv", "./none", "t") == "ENOENT"


@needs_compiler
def test_what_is_no_program_of_the_target_is_not_replaced(place: Place) -> None:
    place.twin(place.script("bin/tool", "#!/bin/sh\necho script\n"))
    assert place.same("execv", "bin/tool", "t") == "script"
    for at, spoilt in {0: b"text", 18: b"\xff\xff"}.items():
        foreign = bytearray((place.tools.base / "real").read_bytes())
        foreign[at : at + len(spoilt)] = spoilt
        place.real(f"bin/foreign-{at}", twin=True).write_bytes(foreign)
        assert place.same("execv", f"bin/foreign-{at}", "t") == "ENOEXEC"


@needs_compiler
@pytest.mark.parametrize("twin", [False, True])
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("#!{}", ""),
        ("#! {} ", ""),
        ("#!\t{}\t", ""),
        ("#!{} -e", ":-e"),
        ("#!{}  -e -u  'x y' ", ":-e -u  'x y'"),
        ("#!{}\t-x\t-y\t", ":-x\t-y"),
        ("#!{} " + "x" * 50, ":" + "x" * 50),
    ],
)
@pytest.mark.parametrize("function", ["execv", "execlp", "posix_spawn"])
def test_a_script_is_run_by_its_interpreter(
    place: Place, function: str, line: str, words: str, *, twin: bool
) -> None:
    interpreter = place.real("bin/inter", twin=twin)
    script = place.script("script", f"{line.format(interpreter)}\nwords of the script\n")
    word = "given" if function in GIVING else "own"
    for file in (str(script), "./script"):
        who = "twin" if twin else "real"
        said = place.same(function, file, "ignored", "a", "b c")
        assert said == f"{who}:{interpreter}{words}:{file}:a:b c:{word}"


@needs_compiler
@pytest.mark.parametrize(
    "text",
    [
        "#!{}",  # no line's end
        "#!{} " + "x" * 300 + "\n",  # longer than what the kernel reads
        "#!{} \0 x\n",
        "#!" + " " * 252 + "\n",
        "#!" + " " * 300 + "{}\n",
        "#!\n",
        "#! \t \n",
        "#",
        "",
    ],
)
def test_odd_first_lines_are_left_to_the_kernel(place: Place, text: str) -> None:
    interpreter = place.real("bin/inter", twin=True)
    script = place.script("script", text.replace("{}", str(interpreter)))
    place.same("execv", script, "t", "a")


@needs_compiler
def test_a_script_for_a_script_is_left_to_the_kernel(place: Place) -> None:
    inner = place.script("inner", f"#!{place.real('bin/inter', twin=True)} -i\n")
    outer = place.script("outer", f"#!{inner} -o\n")
    said = place.same("execv", outer, "t", "a")
    assert said == f"real:{place.path}/bin/inter:-i:{inner}:-o:{outer}:a:own"


@needs_compiler
def test_an_interpreter_may_be_a_link_and_relative(place: Place) -> None:
    place.real("bin/dash", twin=True)
    (place.path / "bin/sh").symlink_to("dash")
    place.script("script", "#!bin/sh -e\n")
    assert place.same("execv", "./script", "t", "a") == "twin:bin/sh:-e:./script:a:own"


@needs_compiler
@pytest.mark.parametrize("function", [*PLAIN, *SEARCHING])
def test_text_without_an_interpreter_is_for_the_shell_as_ever(place: Place, function: str) -> None:
    """Functions that search hand it to /bin/sh, but for posix_spawnp."""
    place.script("text", 'echo "text:$0:$*"\n')
    ours = function in SEARCHING and function != "posix_spawnp"
    expected = "text:./text:a b" if ours else "ENOEXEC"
    assert place.same(function, "./text", "ignored", "a", "b") == expected


@needs_compiler
def test_text_without_an_interpreter_is_found_by_path_and_run_by_the_twin(place: Place) -> None:
    script = place.script("bin/text", 'echo "text:$0:$*"\n')
    path = str(script.parent)
    assert place.same("execvp", "text", "ignored", "a", "b", path=path) == f"text:{script}:a b"
    assert place.same("execvp", "text", path=path) == f"text:{script}:"
    shell = Path("/bin/sh").resolve()
    place.twin(shell)
    assert place.call("execvp", "text", "ignored", "a", path=path) == f"twin:/bin/sh:{script}:a:own"


@needs_compiler
@pytest.mark.parametrize(
    ("arguments", "who"),
    [
        (["-m", "py_compile", "-"], "twin"),
        (["-m", "compileall", "-q", "/usr/lib"], "twin"),
        (["-c", "import imp; print(imp.get_magic())"], "twin"),
        (["-c", "import sys; print(sys.implementation.cache_tag)"], "twin"),
        (["-E", "-S", "/usr/lib/python3.11/py_compile.py", "x.py"], "twin"),
        (["-ES", "-OO", "/usr/lib/python3.11/compileall.py"], "twin"),
        (["/usr/bin/py3compile", "-p", "x"], "twin"),
        ([], "real"),
        (["-"], "real"),
        (["-E"], "real"),
        (["-m"], "real"),
        (["-c"], "real"),
        (["-m", "pip"], "real"),
        (["-c", "import ctypes"], "real"),
        (["-c", "import imp; print(imp.get_magic()); import numpy"], "real"),
        (["script.py"], "real"),
        (["py_compile.py"], "real"),
        (["/home/me/py_compile.py"], "real"),
        (["/usr/bin/pip", "-m", "py_compile"], "real"),
        (["-W", "ignore", "-m", "py_compile"], "real"),
        (["-i", "-m", "py_compile"], "real"),
        (["--version"], "real"),
    ],
)
@pytest.mark.parametrize("function", ["execv", "execvp"])
def test_python_compiles_byte_code_and_nothing_else(
    place: Place, function: str, arguments: list[str], who: str
) -> None:
    python = place.real("bin/python3.11", twin=True)
    (place.path / "bin/python3").symlink_to("python3.11")
    file = "python3" if function == "execvp" else "bin/python3"
    said = place.same(function, file, "python3", *arguments, path=str(python.parent))
    assert said == ":".join([who, "python3", *arguments, "own"])


@needs_compiler
def test_scripts_of_python_are_known_by_their_whole_path(place: Place) -> None:
    python = place.real("bin/python3", twin=True)
    script = place.script("usr/bin/py3compile", f"#!{python} -E\n")
    assert place.same("execv", script, "t") == f"real:{python}:-E:{script}:own"


@needs_compiler
def test_perl_is_the_targets_once_it_has_compiled_modules(place: Place) -> None:
    place.real("bin/perl", twin=True)
    script = place.script("script", f"#!{place.path}/bin/perl\n")
    for who in ("twin", "real"):
        assert place.same("execv", "bin/perl", "perl", "-e", "1") == f"{who}:perl:-e:1:own"
        assert place.same("execv", script, "t").startswith(f"{who}:")
        if who == "twin":
            place.tools.perl.mkdir()
    place.tools.perl.rmdir()


@needs_compiler
@pytest.mark.parametrize("twin", [False, True])
@pytest.mark.parametrize("function", [*PLAIN, *SEARCHING])
def test_the_exit_status_passes_through(place: Place, function: str, *, twin: bool) -> None:
    program = place.real("tool", twin=twin)
    done = place.run(place.tools.base / "driver", function, program, "t", "a", "b", STATUS="7")
    assert done.returncode == 7


@needs_compiler
def test_uname_says_the_targets_processor(place: Place) -> None:
    assert place.call("uname", "") == "Linux armv7l"


# subprocess vforks; a script's arguments are then put together on the parent's stack.
PYTHON = """
import os, subprocess, sys
program, script = sys.argv[1:]
print(subprocess.run([program, "a"], capture_output=True, text=True).stdout, end="")
print(subprocess.run([script, "a"], capture_output=True, text=True).stdout, end="")
print(subprocess.run(["x", "a"], executable="tool", env=dict(os.environ, PATH=os.getcwd()),
                     capture_output=True, text=True).stdout, end="", flush=True)
pid = os.posix_spawn(program, ["x", "b"], os.environ)
os.waitpid(pid, 0)
os.execvp(program, ["x", "c"])
"""


@needs_compiler
def test_pythons_own_ways_to_start_programs_are_seen(place: Place) -> None:
    program = place.real("tool", twin=True)
    script = place.script("script", f"#!{program} -e\n")
    done = place.run(sys.executable, "-I", "-S", "-c", PYTHON, program, script)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"twin:{program}:a:",
        f"twin:{program}:-e:{script}:a:",
        "twin:x:a:",
        "twin:x:b:",
        "twin:x:c:",
    ]


@needs_compiler
@pytest.mark.skipif(shutil.which("dash") is None, reason="needs dash")
def test_a_real_shell_starts_twins(place: Place) -> None:
    """dash vforks, searches by itself and runs text without an interpreter by itself."""
    place.real("bin/tool", twin=True)
    place.script("bin/text", 'echo "text $1"\n')
    lines = "tool a; tool b | cat; (exec tool c); env tool d; text e; none || echo $?"
    done = place.run("dash", "-c", lines, path=f"{place.path}/bin:/usr/bin:/bin")
    assert done.stdout.splitlines() == [
        *("twin:tool:a:", "twin:tool:b:", "twin:tool:c:", "twin:tool:d:", "text e", "127"),
    ]


# Which programs

NAMES = ("x86_64", "x86-64", "amd64")


def rules(**reviewed: str) -> Rules:
    return Rules(packages=[], reviewed=reviewed, never={"uname": "reports it"})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", None),
        (b"nothing of that kind\0x86 64\0", None),
        (b"\0x86_64\0", "x86_64"),
        (b"\0runs on x86-64 alone\0", "runs on x86-64 alone"),
        (b"\xffgcc-amd64.conf\n", "gcc-amd64.conf"),
        (b"amd64", "amd64"),
        (b"fine\0/etc/amd64\0", "/etc/amd64"),
        (b"\0/lib/x86_64-linux-gnu/libc.so.6\0", None),
        (b"\0/lib64/ld-linux-x86-64.so.2\0", None),
        (b"\0/usr/lib/x86_64-linux-gnu/perl5\0", None),
        (b"\0ld-linux-x86-64.so.2\0", None),
        (b'\0{"type":"deb","os":"debian","architecture":"amd64"}\0', None),
        (b"\0/usr/lib/x86_64-linux-gnu\0x86_64\0", "x86_64"),
        (b"\0see /usr/lib/x86_64-linux-gnu\0", "see /usr/lib/x86_64-linux-gnu"),
        (b"\0" + b"a" * 100 + b"amd64\0", "a" * 60),
    ],
)
def test_a_program_that_names_the_machine_is_refused(text: bytes, found: str | None) -> None:
    why = f"names the architecture: {found}" if found else None
    assert rules().objection("tool", b"\x7fELF\0" + text, NAMES) == why
    assert rules(tool="looked at").objection("tool", text, NAMES) is None


def test_what_is_never_to_run_does_not_run() -> None:
    assert rules().objection("uname", b"", NAMES) == "reports it"
    assert rules(uname="looked at").objection("uname", b"", NAMES) == "reports it"


@pytest.mark.parametrize("python", ["3.10", "3.13"])
def test_the_rules_are_for_one_version_of_python(python: str) -> None:
    read = Rules.read(python)
    assert f"python{python}-minimal" in read.packages
    assert f"python{python}" in read.reviewed
    assert "{" not in json.dumps([*read.packages, *read.reviewed, *read.never])


def test_every_rule_has_its_reason_and_its_place() -> None:
    read = Rules.read("3.11")
    for given in (read.reviewed, read.never):
        assert all(str(why or "").strip() for why in given.values())
    assert not {*read.reviewed} & {*read.never}
    assert list(read.packages) == sorted({*read.packages})
    assert list(read.never) == sorted(read.never)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"x\0/lib64/ld.so.2\0y", b"x\0/usr/ld.so.2\0\0\0y"),
        (b"/lib64/ld.so.2\0/lib64/ld.so.2\0", b"/usr/ld.so.2\0\0\0/lib64/ld.so.2\0"),
        (b"/lib64/ld.so.21\0", None),
        (b"/lib/ld.so.2\0", None),
        (b"", None),
    ],
)
def test_a_program_looks_for_its_loader_where_the_link_is(
    before: bytes, after: bytes | None
) -> None:
    moved = relocated(before, "/lib64/ld.so.2", "/usr/ld.so.2")
    assert moved == (before if after is None else after)
    assert len(moved) == len(before)


@pytest.mark.skipif(host_architecture() is None, reason="a machine that is not known")
def test_a_program_of_this_machine_is_moved(tmp_path: Path) -> None:
    """The name of the loader that is looked for stands in it, and the link's is not longer."""
    architecture = host_architecture()
    assert architecture
    tree = NativeTree(files=tmp_path, architecture=architecture)
    own = MACHINES[architecture].loader
    program = Path("/bin/sh").read_bytes()
    moved = relocated(program, own, tree.loader)
    assert len(moved) == len(program)
    assert f"{tree.loader}\0".encode() in moved
    assert f"{own}\0".encode() not in moved


@pytest.mark.parametrize(
    ("version", "source"),
    [("1.0-1", "1.0-1"), ("1.0-1+b12", "1.0-1"), ("1:2+b1-1", "1:2+b1-1"), ("2+b", "2+b")],
)
def test_a_rebuild_on_one_architecture_is_the_same_version(version: str, source: str) -> None:
    assert programs._source_version(version) == source  # noqa: SLF001


# The tree


@pytest.mark.parametrize("architecture", Architecture)
def test_all_is_in_the_directory_of_the_architectures_libraries(
    architecture: Architecture,
) -> None:
    """But for the link to the loader, whose name must fit where the loader's was."""
    tree = NativeTree(files=Path("/x"), architecture=architecture)
    machine = MACHINES[architecture]
    assert tree.libraries == f"/usr/lib/{machine.triplet}"
    assert tree.entrance.startswith(f"{tree.libraries}/")
    assert len(tree.loader) <= len(machine.loader)
    target = Path(tree.loader).parent / tree.link
    assert target == Path(tree.libraries) / Path(machine.loader).name


def test_it_is_attached_read_only_whatever_its_place_is_called() -> None:
    tree = NativeTree(files=Path("/a store/it's"), architecture=AMD64)
    libraries = "/usr/lib/x86_64-linux-gnu"
    words = [shlex.split(line) for line in tree.attach().split(" && ")]
    assert words == [
        ["mkdir", "-p", f"$1{libraries}"],
        ["mount", "--bind", f"/a store/it's{libraries}", f"$1{libraries}"],
        ["mount", "-o", "remount,bind,ro", f"$1{libraries}"],
        ["ln", "-s", tree.link, f"$1{tree.loader}"],
    ]
    assert "$1" not in tree.attach().replace('"$1', "")
    assert "$1" not in tree.detach().replace('"$1', "")


@pytest.mark.usefixtures("needs_root")
def test_what_was_attached_leaves_no_trace(tmp_path: Path, processes: Processes) -> None:
    tree = NativeTree(files=tmp_path / "it's in the store", architecture=AMD64)
    libraries = tree.files / tree.libraries.lstrip("/")
    libraries.mkdir(parents=True)
    (libraries / "ld-linux-x86-64.so.2").write_text("loader")
    root = tmp_path / "a root"
    (root / "usr/lib/arm-linux-gnueabihf").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    before = sorted(root.rglob("*"))
    with Workspace(tmp_path, processes=processes) as workspace:
        workspace.run(["sh", "-eu", "-c", tree.attach(), "hook", root])
        assert workspace.run(["cat", f"{root}{tree.loader}"]) == "loader"
        clear = workspace.run(["sh", "-c", f'rm -f "$1{tree.libraries}"/* 2>&1; :', "hook", root])
        assert "Read-only file system" in clear
        workspace.run(["sh", "-eu", "-c", tree.detach(), "hook", root])
        assert str(root) not in workspace.run(["cat", "/proc/self/mounts"])
    assert sorted(root.rglob("*")) == before
    assert [path.name for path in libraries.iterdir()] == ["ld-linux-x86-64.so.2"]


@pytest.mark.usefixtures("needs_root")
def test_it_lies_below_a_stack_of_layers_and_is_in_none(
    tmp_path: Path, processes: Processes
) -> None:
    tree = NativeTree(files=tmp_path / "in the store", architecture=AMD64)
    (tree.files / tree.libraries.lstrip("/")).mkdir(parents=True)
    (tree.files / tree.libraries.lstrip("/") / "ld-linux-x86-64.so.2").write_text("loader")
    (tree.files / tree.loader.lstrip("/")).symlink_to(tree.link)
    entry = Entry(key="lowest-layer", step="s", path=tmp_path / "entry", seconds=0, size=0)
    entry.files.mkdir(parents=True)
    content = tmp_path / "content"
    (content / "usr/lib").mkdir(parents=True)
    (content / "usr").chmod(0o700)
    (tmp_path / "work").mkdir()
    (tmp_path / "output").mkdir()
    with Workspace(tmp_path / "work", processes=processes, tmpfs_bytes=1 << 20) as workspace:
        pack(workspace, content, entry.files / LAYER, epoch=0)
        stack = LayerStack(workspace)
        with stack.mounted([entry], native=tree) as root:
            assert workspace.run(["cat", f"{root.path}{tree.loader}"]) == "loader"
            assert workspace.run(["stat", "-c", "%a", root.path / "usr"]) == "700\n", "the target's"
            workspace.run(["touch", root.path / "usr/lib/new"])
            stack.save(root, tmp_path / "output", epoch=0)
        with stack.mounted([entry]) as root:
            assert workspace.run(["ls", root.path / "usr/lib"]) == ""
    command = ["tar", "--zstd", "-tf", str(tmp_path / "output" / LAYER)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert listed.split() == ["./", "./usr/", "./usr/lib/", "./usr/lib/new"]


# The step


@pytest.fixture
def distribution() -> NamedDistribution:
    return resolve(Tree(root=ROOT), "Pynq-Z2", distro="debian-bookworm").distributions[0]


def archives(
    folder: Path, distribution: NamedDistribution, here: Architecture, there: Architecture
) -> list[Archive]:
    made = []
    for number, architecture in enumerate((here, there)):
        root = folder / str(number)
        root.mkdir(parents=True, exist_ok=True)
        (root / "release.json").write_text(json.dumps({"pockets": {"x": str(number)}}))
        made.append(Archive(root, distribution, architecture))
    return made


@pytest.mark.parametrize(
    ("here", "there", "compiler"),
    [
        (AMD64, ARMHF, "gcc-arm-linux-gnueabihf"),
        (AMD64, ARM64, "gcc-aarch64-linux-gnu"),
        (ARM64, ARMHF, "gcc-arm-linux-gnueabihf"),
    ],
)
def test_its_compilers_are_on_the_list_of_host_packages(
    tmp_path: Path,
    distribution: NamedDistribution,
    here: Architecture,
    there: Architecture,
    compiler: str,
) -> None:
    step = NativePrograms(*archives(tmp_path, distribution, here, there), scope="s")
    assert compiler in step.packages
    listed = {line.split()[0] for line in PACKAGES.read_text().splitlines() if line}
    assert {*step.packages} <= listed


def test_it_depends_on_both_archives_and_on_python(
    tmp_path: Path, distribution: NamedDistribution
) -> None:
    def settings(folder: str, **changes: object) -> Mapping[str, object]:
        model = distribution.model.model_copy(update=changes)
        named = NamedDistribution(name=distribution.name, model=model, mirrors={})
        return NativePrograms(
            *archives(tmp_path / folder, named, AMD64, ARMHF), scope="s"
        ).settings()

    first = settings("one")
    assert first == settings("two")
    assert first != settings("one", python="9.9")
    for number in range(2):
        path = tmp_path / f"two/{number}/release.json"
        text = path.read_text()
        path.write_text(text.replace('"x": "', '"x": "new '))
        named = archives_as_they_are(tmp_path / "two", distribution)
        assert NativePrograms(*named, scope="s").settings() != first
        path.write_text(text)


def archives_as_they_are(folder: Path, distribution: NamedDistribution) -> list[Archive]:
    pairs = enumerate((AMD64, ARMHF))
    return [Archive(folder / str(number), distribution, each) for number, each in pairs]


# The entrance


@pytest.fixture(params=[("env", "dash"), ("env",), ("dash",), ()], ids=str)
def entrance(
    tmp_path: Path, distribution: NamedDistribution, request: pytest.FixtureRequest
) -> Path:
    """The directory of the programs that begin native execution, with and without twins of ours."""
    step = NativePrograms(*archives(tmp_path, distribution, AMD64, ARMHF), scope="s")
    tree = NativeTree(files=tmp_path, architecture=AMD64)
    base = tmp_path / "native"
    (base / "programs/usr/bin").mkdir(parents=True)
    for name in request.param:
        (base / "programs/usr/bin" / name).symlink_to(f"/usr/bin/{name}")
    folder = base / "entrance"
    step._write_entrance(folder, tree)  # noqa: SLF001 - what the step leaves there
    script = folder / "enter"
    script.write_text(script.read_text().replace(f"{tree.libraries}/native", str(base)))
    return folder


def enter(
    entrance: Path, name: str, *words: str, path: str = "/usr/bin:/bin"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [entrance / name, *words],
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


needs_dash = pytest.mark.skipif(not Path("/usr/bin/dash").exists(), reason="needs dash")


@needs_dash
def test_entering_loads_the_library_of_each_architecture(entrance: Path) -> None:
    done = enter(entrance, "enter", "printenv", "LD_PRELOAD", "HOSTTYPE", "MACHTYPE")
    assert done.stdout.splitlines() == [
        f"{entrance.parent}/$LIB/exec.so",
        "arm",
        "arm-unknown-linux-gnueabihf",
    ]


@needs_dash
@pytest.mark.parametrize("rest", ["/usr/bin:/bin", "/opt/with blank:/usr/bin:/bin"])
def test_who_has_entered_does_not_enter_again(entrance: Path, rest: str) -> None:
    for path in (rest, f"{entrance}:{rest}"):
        assert enter(entrance, "enter", "printenv", "PATH", path=path).stdout == f"{rest}\n"


@needs_dash
def test_dpkg_and_env_enter_by_their_names(entrance: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "dpkg").write_text('#!/bin/sh\nprintf "[%s]" "$0" "$@" "$LD_PRELOAD"\nexit 5\n')
    (folder / "dpkg").chmod(0o755)
    path = f"{entrance}:{folder}:/usr/bin:/bin"
    library = f"{entrance.parent}/$LIB/exec.so"
    done = enter(entrance, "dpkg", "-i", "a b", "$x", path=path)
    assert done.stdout == f"[{folder}/dpkg][-i][a b][$x][{library}]"
    assert done.returncode == 5
    done = enter(entrance, "env", "A=b c", "dpkg", "1", path=path)
    assert done.stdout == f"[{folder}/dpkg][1][{library}]"
    assert enter(entrance, "env", "A=b c", "printenv", "A", path=path).stdout == "b c\n"


@needs_dash
def test_a_command_that_is_not_there_is_said(entrance: Path) -> None:
    assert enter(entrance, "enter", "no-such-program").returncode == 127


# This machine


@pytest.mark.parametrize(
    ("said", "architecture"), [*((each.value, each) for each in Architecture), ("riscv64", None)]
)
def test_the_machines_architecture_is_what_dpkg_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, architecture: Architecture | None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert host_architecture() is None, "without dpkg"
    (tmp_path / "dpkg").write_text(f'#!/bin/sh\n[ "$*" = --print-architecture ] && echo {said}\n')
    (tmp_path / "dpkg").chmod(0o755)
    assert host_architecture() is architecture
