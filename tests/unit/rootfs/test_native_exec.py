# SPDX-License-Identifier: MIT
"""exec.c: replacement of programs by native ones.

The host's programs stand for the target's; the replacements ("twins") identify themselves.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.rootfs.native import programs
from builder.spec.models import Architecture

SOURCE = Path(programs.__file__).with_name("exec.c")
AMD64, ARM64, ARMHF = Architecture.AMD64, Architecture.ARM64, Architecture.ARMHF

needs_compiler = pytest.mark.skipif(
    shutil.which("gcc") is None or platform.libc_ver()[0] != "glibc", reason="needs gcc, glibc"
)

# Prints its identity and arguments; ends with the given status.
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

# Starts a file by the function in the first argument; prints the error, if any.
# Functions with an environment pass WORD=given.
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
    char **words = argv + 3, *given[100], **nothing = NULL;
    volatile int error = 0; /* the child's, too, after vfork */
    int n = 0;
    pid_t pid;
    struct utsname names;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, "elsewhere");
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
    } else if (IS(posix_spawn_elsewhere)) {
        error = posix_spawn(&pid, file, &actions, NULL, words, given);
    } else if (IS(posix_spawnp_elsewhere)) {
        error = posix_spawnp(&pid, file, &actions, NULL, words, given);
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
        else if (IS(execve_without_arguments))
            execve(file, nothing, given);
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

# Starts a file in a thread with a small stack, by the function that the first word names, with as
# many arguments as the third one says; meanwhile no memory may be allocated but by glibc's dlsym.
SMALL = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
extern void *__libc_malloc(size_t);
static _Thread_local int forbidden;
static char **arguments, **words;
void *malloc(size_t size)
{
    if (forbidden)
        _exit(99);
    return __libc_malloc(size);
}
static void *start(void *nothing)
{
    pid_t pid;
    int status;
    if (strcmp(arguments[1], "posix_spawn") == 0) {
        if (posix_spawn(&pid, arguments[2], NULL, NULL, words, environ) == 0)
            waitpid(pid, &status, 0);
        return nothing;
    }
    forbidden = 1;
    if (strcmp(arguments[1], "execve") == 0)
        execve(arguments[2], words, environ);
    else
        execvp(arguments[2], words);
    forbidden = 0;
    puts(strerrorname_np(errno));
    return nothing;
}
int main(int argc, char *argv[])
{
    size_t count = argc == 5 ? strtoul(argv[3], NULL, 10) : 0, stack = strtoul(argv[4], NULL, 10);
    pthread_attr_t attributes;
    pthread_t thread;
    arguments = argv;
    words = calloc(count + 2, sizeof *words);
    words[0] = "name";
    for (size_t i = 1; i <= count; i++)
        words[i] = "x";
    pthread_attr_init(&attributes);
    if (stack < (size_t)sysconf(_SC_THREAD_STACK_MIN))
        stack = sysconf(_SC_THREAD_STACK_MIN);
    pthread_attr_setstacksize(&attributes, stack);
    if (pthread_create(&thread, &attributes, start, NULL) != 0)
        return 98;
    pthread_join(thread, NULL);
    return 0;
}
"""

PLAIN = ["execve", "execv", "execl", "execle", "posix_spawn", "vfork"]
SEARCHING = ["execvp", "execvpe", "execlp", "posix_spawnp"]
GIVING = {"execve", "execle", "execvpe", "posix_spawn", "posix_spawnp", "vfork"}


SECONDS = 60
"""Timeout of a program in seconds."""


@dataclass(frozen=True)
class Tools:
    """The compiled library, and the programs that tests start."""

    base: Path

    @property
    def programs(self) -> Path:
        return self.base / "programs"

    @property
    def perl(self) -> Path:
        """While this directory exists, Perl must be the target's."""
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
    compile_c(SMALL, made.base / "small", *strict, "-pthread")
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
        """Add a twin for the program at a path."""
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
            timeout=SECONDS,
        )

    def call(
        self,
        function: str,
        file: str | Path,
        *argv: str,
        path: str = "/usr/bin:/bin",
        native: bool = True,
    ) -> str:
        """Start a file by a function; return its output or the error's name."""
        words = (function, file, *argv)
        done = self.run(self.tools.base / "driver", *words, path=path, native=native, WORD="own")
        assert done.stderr == ""
        return done.stdout.removesuffix("\n")

    def same(self, function: str, file: str | Path, *argv: str, path: str = "/usr/bin:/bin") -> str:
        """Return the result of `call`; except for twins it must be the same without the library."""
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
    broken[18:20] = b"\xff\xff"  # of an unknown machine
    place.real("broken/tool").write_bytes(broken)
    folders = (f"{place.path}/{name}" for name in path.split(":"))
    full = ":".join(folder.replace("long", "x" * 5000) for folder in folders)
    if said == "ENOEXEC" and function != "posix_spawnp":
        return  # the shell's own message
    done = place.same(function, "tool", "t", "a", "b", path=full)
    if function == "posix_spawnp":  # glibc searches if the first file found has no twin
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
        "#!{}",  # no end of line
        "#!{} " + "x" * 300 + "\n",  # longer than the kernel reads
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
    """Functions that search PATH start it by /bin/sh, except posix_spawnp."""
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


# subprocess uses vfork(): the arguments of a script are assembled on the parent's stack.
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
    """dash uses vfork(), searches PATH itself and runs text without an interpreter itself."""
    place.real("bin/tool", twin=True)
    place.script("bin/text", 'echo "text $1"\n')
    lines = "tool a; tool b | cat; (exec tool c); env tool d; text e; none || echo $?"
    done = place.run("dash", "-c", lines, path=f"{place.path}/bin:/usr/bin:/bin")
    assert done.stdout.splitlines() == [
        *("twin:tool:a:", "twin:tool:b:", "twin:tool:c:", "twin:tool:d:", "text e", "127"),
    ]


@needs_compiler
@pytest.mark.parametrize("path", ["./tool", "./script", "{}/script"])
def test_a_path_from_another_directory_is_left_to_glibc(place: Place, path: str) -> None:
    """posix_spawn changes the child's directory: in the parent, the path is another file."""
    for name in ("tool", "bin/inter"):
        place.real(name, twin=True)
        place.real(f"elsewhere/{name}")
    for name in ("script", "elsewhere/script"):
        place.script(name, "#!bin/inter\n")
    said = place.same("posix_spawn_elsewhere", path.format(place.path), "t")
    assert said.startswith("real:")


@needs_compiler
@pytest.mark.parametrize("path", [":/usr/bin", "bin:/usr/bin", "{}/none::/usr/bin"])
def test_a_search_from_another_directory_is_left_to_glibc(place: Place, path: str) -> None:
    for name in ("tool", "bin/tool"):
        place.real(name, twin=True)
        place.real(f"elsewhere/{name}")
    said = place.same("posix_spawnp_elsewhere", "tool", "t", path=path.format(place.path))
    assert said.startswith("real:")


@needs_compiler
def test_a_whole_path_is_the_same_in_another_directory(place: Place) -> None:
    program = place.real("bin/tool", twin=True)
    script = place.script("bin/script", f"#!{program}\n")
    (place.path / "elsewhere").mkdir()
    for file in (program, script):
        assert place.same("posix_spawn_elsewhere", file, "t").startswith("twin:")
    for path in (str(program.parent), f"{program.parent}:bin"):
        said = place.same("posix_spawnp_elsewhere", "tool", "t", path=path)
        assert said.startswith("twin:")


@needs_compiler
@pytest.mark.parametrize("name", ["tool", "script", "text", "python3"])
def test_there_may_be_no_arguments_at_all(place: Place, name: str) -> None:
    for program in ("tool", "python3"):
        place.real(program, twin=True)
    place.script("script", f"#!{place.path}/tool\n")
    place.script("text", "exit 1\n")
    place.same("execve_without_arguments", f"./{name}")


@needs_compiler
@pytest.mark.parametrize("function", ["execve", "execvp", "posix_spawn"])
@pytest.mark.parametrize("name", ["tool", "script"])
def test_a_small_stack_is_enough(place: Place, function: str, name: str) -> None:
    program = place.real("tool", twin=True)
    place.script("script", f"#!{program}\n")
    done = place.run(place.tools.base / "small", function, f"{place.path}/{name}", "3", "16384")
    assert (done.returncode, done.stdout.split(":")[0]) == (0, "twin")


@needs_compiler
@pytest.mark.parametrize("function", ["execve", "execvp", "posix_spawn"])
@pytest.mark.parametrize(
    ("name", "count", "who"),
    [("tool", 100_000, "twin"), ("script", 100_000, "real"), ("script", 500, "twin")],
)
def test_many_arguments_need_no_large_stack(
    place: Place, function: str, name: str, count: int, who: str
) -> None:
    """The arguments of a script are assembled on the stack, or by the kernel."""
    program = place.real("tool", twin=True)
    place.script("script", f"#!{program}\n")
    words = (function, f"{place.path}/{name}", str(count), str(128 << 10))
    done = place.run(place.tools.base / "small", *words)
    assert (done.returncode, done.stdout.split(":")[0]) == (0, who)
    assert done.stdout.count(":x") == count


@needs_compiler
@pytest.mark.parametrize("function", ["execve", "execvp"])
def test_no_memory_is_allocated(place: Place, function: str) -> None:
    """Code between vfork(2) and execve(2) must not allocate memory, even for long paths."""
    program = place.real("tool", twin=True)
    (place.path / "link").symlink_to(f"{place.path}/{'./' * 900}tool")
    script = place.script("script", f"#!{program}\n")
    for file in (place.path / "link", f"{place.path}/{'./' * 1200}tool", script):
        done = place.run(place.tools.base / "small", function, file, "3", str(1 << 20))
        assert (done.returncode, done.stdout.split(":")[0]) == (0, "twin")


@needs_compiler
def test_a_file_with_a_long_path_has_no_twin(place: Place) -> None:
    path = "/".join("d" * 100 for _ in range(6))
    assert place.same("execve", place.real(f"{path}/tool", twin=True), "t") == "real:t:given"
    place.real("other", twin=True)
    (place.path / path / "link").symlink_to(place.path / "other")
    assert place.same("execve", f"{path}/link", "t") == "twin:t:given"


@needs_compiler
@pytest.mark.parametrize("function", [*PLAIN, *SEARCHING])
def test_what_is_no_regular_file_is_not_opened(place: Place, function: str) -> None:
    os.mkfifo(place.path / "pipe", 0o755)
    place.twin(place.path / "pipe")
    place.script("script", f"#!{place.path}/pipe\n")
    for name in ("./pipe", "./script"):
        assert place.same(function, name, "t", "a", "b") == "EACCES"
