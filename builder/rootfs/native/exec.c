/* SPDX-License-Identifier: MIT
 *
 * Lets programs in a foreign root filesystem start native programs instead of emulated ones.
 *
 * LD_PRELOAD loads this library into all programs there: those of the target, which qemu-user runs,
 * and those of the host. It is compiled for both architectures.
 *
 * PROGRAMS is a directory with native programs at their paths in the target, such as /usr/bin/dash.
 * A program is replaced if its path in the target, with all symbolic links resolved, is an ELF file
 * of the target and PROGRAMS has a native program at the same path. Programs that the target lacks,
 * the choice among alternatives (links), and scripts at a program's path are not affected.
 *
 * Interpreters that load modules depend on more than their path: python_is_safe and perl_is_safe.
 *
 * The code runs between vfork(2) and execve(2), and on small stacks of threads: it does not
 * allocate memory, does not use streams, and uses little stack.
 */

#define _FILE_OFFSET_BITS 64
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef PROGRAMS /* directory of native programs, in the target */
#error "PROGRAMS is not defined"
#endif
#ifndef TARGET_MACHINE /* e_machine of the target's ELF files, elf(5) */
#error "TARGET_MACHINE is not defined"
#endif
#ifndef TARGET_UNAME /* the target's machine name in uname(2) */
#error "TARGET_UNAME is not defined"
#endif
#ifndef TARGET_PERL /* directory of the target's compiled Perl modules */
#error "TARGET_PERL is not defined"
#endif

#define HEAD 256       /* bytes of a file that the kernel examines (BINPRM_BUF_SIZE) */
#define LONGEST 512    /* bytes of a path; programs with longer ones are not replaced */
#define MOST_WORDS 512 /* arguments of a script; scripts with more are not replaced */

extern char **environ;

/* The file to start and its arguments, after a possible replacement; `native` is a scratch path. */
struct start {
    const char *file;
    char *const *argv;
    char native[sizeof PROGRAMS + LONGEST];
};

/* Returns the part of `native` that is the program's path in the target. */
static char *real_path(struct start *start)
{
    return start->native + strlen(PROGRAMS);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool one_of(const char *word, const char *const list[], size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, list[i]) == 0)
            return true;
    return false;
}

#define ONE_OF(word, list) one_of(word, list, sizeof list / sizeof *list)

/* Returns whether a native Python gives the same result as the target's. Python's compiler of byte
 * code does so on all machines, as do the scripts that call it and the queries that they make. Any
 * other use may load compiled modules, which have to be the target's. */
static bool python_is_safe(char *const argv[])
{
    static const char *const modules[] = {"py_compile", "compileall"};
    static const char *const scripts[] = {"py3compile", "py3clean", "py_compile.py",
                                          "compileall.py"};
    static const char *const commands[] = {
        "import imp; print(imp.get_magic())",
        "import imp; print(imp.get_tag())",
        "import importlib.util; print(importlib.util.MAGIC_NUMBER)",
        "import sys; print(sys.implementation.cache_tag)",
    };
    size_t i = 1;
    if (!argv[0])
        return false;
    while (argv[i] && argv[i][0] == '-' && argv[i][1] &&
           strspn(argv[i] + 1, "BEIOSbqsu") == strlen(argv[i] + 1))
        i++;
    if (!argv[i])
        return false;
    if (strcmp(argv[i], "-m") == 0)
        return argv[i + 1] && ONE_OF(argv[i + 1], modules);
    if (strcmp(argv[i], "-c") == 0)
        return argv[i + 1] && ONE_OF(argv[i + 1], commands);
    return starts_with(argv[i], "/usr/") && ONE_OF(base_name(argv[i]), scripts);
}

/* Returns whether a native Perl gives the same result as the target's. It has Perl's own compiled
 * modules; as soon as packages install others, the target's Perl is needed. */
static bool perl_is_safe(void)
{
    return access(TARGET_PERL, F_OK) != 0;
}

/* Writes the path of an open file; the empty string if it has LONGEST bytes or more. */
static void write_path(int descriptor, char path[LONGEST])
{
    char link[32] = "/proc/self/fd/", *end = link + strlen(link);
    int scale = 1;
    while (descriptor / scale >= 10)
        scale *= 10;
    for (; scale; scale /= 10)
        *end++ = (char)('0' + descriptor / scale % 10);
    ssize_t length = readlink(link, path, LONGEST);
    path[length > 0 && length < LONGEST ? length : 0] = '\0';
}

/* Reads the first bytes of a file and writes its path with all symbolic links resolved (realpath(3)
 * may allocate memory). Returns the number of bytes, or -1 if the file is not regular: opening a
 * FIFO would block. */
static ssize_t read_head(const char *file, unsigned char head[HEAD], char path[LONGEST])
{
    struct stat status;
    if (stat(file, &status) != 0 || !S_ISREG(status.st_mode))
        return -1;
    int descriptor = open(file, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return -1;
    ssize_t length = read(descriptor, head, HEAD - 1);
    write_path(descriptor, path);
    close(descriptor);
    return length;
}

/* Returns whether a native program may replace the file whose first `length` bytes are `head`. */
static bool is_replaceable(struct start *start, const unsigned char head[HEAD], ssize_t length,
                           char *const argv[])
{
    const char *name = base_name(start->native);
    if (*real_path(start) != '/')
        return false;
    if (length < (ssize_t)sizeof(Elf32_Ehdr) || memcmp(head, ELFMAG, SELFMAG) != 0 ||
        (head[18] | head[19] << 8) != TARGET_MACHINE)
        return false;
    if (access(start->native, X_OK) != 0)
        return false;
    if (starts_with(name, "python"))
        return python_is_safe(argv);
    if (starts_with(name, "perl"))
        return perl_is_safe();
    return true;
}

/* Splits the first line of a script into interpreter and at most one argument, like execve(2). */
static bool split_script(char line[HEAD], ssize_t length, char **interpreter, char **argument)
{
    if (length < 3 || line[0] != '#' || line[1] != '!')
        return false;
    line[length] = '\0';
    char *end = strchr(line, '\n');
    if (!end) /* longer than the kernel reads: leave it to the kernel */
        return false;
    while (end > line + 2 && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    *end = '\0';
    char *word = line + 2 + strspn(line + 2, " \t");
    if (!*word)
        return false;
    *interpreter = word;
    word += strcspn(word, " \t");
    *argument = NULL;
    if (*word) {
        *word++ = '\0';
        word += strspn(word, " \t");
        *argument = *word ? word : NULL;
    }
    return true;
}

static size_t count_words(char *const argv[])
{
    size_t count = 0;
    while (argv[count])
        count++;
    return count;
}

/* Writes the interpreter's arguments for a script: its path and the arguments after argv[0]. */
static void follow_up(char *words[], const char *file, char *const argv[])
{
    *words++ = (char *)file;
    if (argv[0])
        while (*++argv)
            *words++ = *argv;
    *words = NULL;
}

typedef int action(struct start *start, void *context);

/* A request to start a file. `moves`: it will start in another current directory, so that relative
 * paths cannot be resolved now. */
struct request {
    const char *file;
    char *const *argv;
    bool moves;
    action *act;
    void *context;
};

static bool is_known(const struct request *request, const char *file)
{
    return *file == '/' || !request->moves;
}

/* Starts a script with its native interpreter; without one, the kernel starts the script with the
 * target's interpreter. */
static int start_script(const struct request *request, struct start *start, char *const argv[],
                        char *interpreter, char *argument)
{
    unsigned char head[HEAD];
    char *words[count_words(argv) + 4];
    int error = errno;
    words[0] = interpreter;
    words[1] = argument;
    follow_up(words + (argument ? 2 : 1), request->file, argv);
    ssize_t length = read_head(interpreter, head, real_path(start));
    if (is_replaceable(start, head, length, words)) {
        start->file = start->native;
        start->argv = words;
    }
    errno = error;
    return request->act(start, request->context); /* while `words` lives */
}

/* Determines the file to start and starts it. Not inlined: execve(2) is declared with non-NULL
 * arguments, which Linux does not require; the compiler would remove the checks for NULL. */
__attribute__((noipa)) static int resolve(const struct request *request)
{
    static char *const none[] = {NULL};
    struct start start = {.file = request->file, .argv = request->argv, .native = PROGRAMS};
    char *const *argv = request->argv ? request->argv : none;
    char head[HEAD], *interpreter, *argument;
    int error = errno;
    ssize_t length = -1;

    if (is_known(request, request->file) && access(request->file, X_OK) == 0)
        length = read_head(request->file, (unsigned char *)head, real_path(&start));
    bool native = is_replaceable(&start, (unsigned char *)head, length, argv);
    errno = error;
    if (native)
        start.file = start.native;
    else if (split_script(head, length, &interpreter, &argument) &&
             is_known(request, interpreter) && count_words(argv) <= MOST_WORDS)
        return start_script(request, &start, argv, interpreter, argument);
    return request->act(&start, request->context);
}

static int do_execve(struct start *start, void *context)
{
    return (int)syscall(SYS_execve, start->file, start->argv, (char *const *)context);
}

int execve(const char *file, char *const argv[], char *const envp[])
{
    struct request request = {file, argv, false, do_execve, (void *)envp};
    return resolve(&request);
}

int execv(const char *file, char *const argv[])
{
    return execve(file, argv, environ);
}

/* Starts a file; the shell runs one whose format the kernel does not know. */
static void start_or_interpret(const char *file, char *const argv[], char *const envp[])
{
    execve(file, argv, envp);
    if (errno != ENOEXEC)
        return;
    char *words[count_words(argv) + 3];
    words[0] = "/bin/sh";
    follow_up(words + 1, file, argv);
    execve(words[0], words, envp);
}

static const char *search_path(void)
{
    const char *path = getenv("PATH");
    return path ? path : "/bin:/usr/bin";
}

/* Returns the bytes of the longest path of `file` in the directories of PATH, at most PATH_MAX;
 * longer paths are skipped. */
static size_t room_for(const char *file)
{
    size_t most = 0;
    for (const char *at = search_path(), *end; at; at = *end ? end + 1 : NULL) {
        end = strchrnul(at, ':');
        if ((size_t)(end - at) > most)
            most = (size_t)(end - at);
    }
    most += strlen(file) + 2;
    return most < PATH_MAX ? most : PATH_MAX;
}

/* Writes the path of `file` in the directory at `*at`, a part of PATH, and advances `*at` to the
 * next directory or NULL. Returns whether the path fits. */
static bool next_place(const char **at, const char *file, char full[], size_t room)
{
    const char *end = strchrnul(*at, ':'), *start = *at;
    size_t length = (size_t)(end - start), name = strlen(file);
    *at = *end ? end + 1 : NULL;
    if (length + 1 + name >= room)
        return false;
    memcpy(full, start, length);
    if (length)
        full[length++] = '/';
    memcpy(full + length, file, name + 1);
    return true;
}

/* Tries `file` in each directory of PATH; skips the same errors as glibc. */
int execvpe(const char *file, char *const argv[], char *const envp[])
{
    size_t room = room_for(file);
    char full[room];
    bool denied = false;
    errno = ENOENT;
    if (!*file)
        return -1;
    if (strchr(file, '/')) {
        start_or_interpret(file, argv, envp);
        return -1;
    }
    for (const char *at = search_path(); at;) {
        if (!next_place(&at, file, full, room))
            continue;
        start_or_interpret(full, argv, envp);
        if (errno == EACCES)
            denied = true;
        else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV &&
                 errno != ETIMEDOUT)
            return -1;
    }
    if (denied)
        errno = EACCES;
    return -1;
}

int execvp(const char *file, char *const argv[])
{
    return execvpe(file, argv, environ);
}

/* Collects the arguments of execl() and similar functions into `argv`; `rest` is at what follows.
 * */
#define COLLECT(first, rest)                                                                    \
    va_list counted;                                                                            \
    size_t count = 1;                                                                           \
    va_start(rest, first);                                                                      \
    va_copy(counted, rest);                                                                     \
    while (va_arg(counted, char *))                                                             \
        count++;                                                                                \
    va_end(counted);                                                                            \
    char *argv[count + 1];                                                                      \
    argv[0] = (char *)first;                                                                    \
    for (size_t i = 1; i <= count; i++)                                                         \
        argv[i] = va_arg(rest, char *)

int execl(const char *file, const char *first, ...)
{
    va_list rest;
    COLLECT(first, rest);
    va_end(rest);
    return execv(file, argv);
}

int execlp(const char *file, const char *first, ...)
{
    va_list rest;
    COLLECT(first, rest);
    va_end(rest);
    return execvp(file, argv);
}

int execle(const char *file, const char *first, ...)
{
    va_list rest;
    COLLECT(first, rest);
    char *const *envp = va_arg(rest, char *const *);
    va_end(rest);
    return execve(file, argv, envp);
}

/* Arguments of posix_spawn() and posix_spawnp(); `name`: the name to search in PATH, or NULL. */
struct spawn {
    pid_t *pid;
    const posix_spawn_file_actions_t *actions;
    const posix_spawnattr_t *attributes;
    char *const *envp;
    const char *name;
};

/* Spawns the native program; without one, glibc does all the work. */
static int do_spawn(struct start *start, void *context)
{
    int (*real)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                const posix_spawnattr_t *, char *const[], char *const[]);
    struct spawn *spawn = context;
    bool search = spawn->name && start->file != start->native;
    *(void **)&real = dlsym(RTLD_NEXT, search ? "posix_spawnp" : "posix_spawn");
    return real(spawn->pid, search ? spawn->name : start->file, spawn->actions,
                spawn->attributes, start->argv, spawn->envp);
}

int posix_spawn(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    struct spawn spawn = {pid, actions, attributes, envp, NULL};
    struct request request = {file, argv, actions != NULL, do_spawn, &spawn};
    return resolve(&request);
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    struct spawn spawn = {pid, actions, attributes, envp, file};
    struct request request = {file, argv, actions != NULL, do_spawn, &spawn};
    if (strchr(file, '/'))
        return posix_spawn(pid, file, actions, attributes, argv, envp);
    size_t room = room_for(file);
    char full[room];
    for (const char *at = search_path(); at && is_known(&request, at);)
        if (next_place(&at, file, full, room) && access(full, X_OK) == 0) {
            request.file = full;
            return resolve(&request);
        }
    struct start unchanged = {.file = file, .argv = argv};
    return do_spawn(&unchanged, &spawn);
}

/* glibc starts the shell of system(3) and popen(3) by an internal function that cannot be replaced;
 * these calls are rare, and the shell is emulated. */

/* Native programs must see the target's architecture. */
int uname(struct utsname *name)
{
    int result = (int)syscall(SYS_uname, name);
    if (result == 0)
        strcpy(name->machine, TARGET_UNAME);
    return result;
}
