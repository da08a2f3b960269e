/* faults.c: a library to be loaded before a program (LD_PRELOAD), in which the k-th call of a function fails, as on a
 * full disk, without memory, files or processes: LIMN_FAULT=rename:2. That it did is told by a file, $LIMN_STRUCK. In
 * the programs that such a one starts (a compiler, gnuplot) nothing fails: $LIMN_FAULTY names the one that is meant. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_long calls;
static long wanted;
static char function[32];

__attribute__((constructor)) static void begin(void)
{
    const char *fault = getenv("LIMN_FAULT"), *program = getenv("LIMN_FAULTY");
    const char *colon = fault ? strchr(fault, ':') : NULL;
    if (!colon || !program || strcmp(program, program_invocation_short_name) != 0)
        return;
    snprintf(function, sizeof function, "%.*s", (int)(colon - fault), fault);
    wanted = strtol(colon + 1, NULL, 10);
}

static bool strikes(const char *name, int why)
{
    if (!wanted || strcmp(name, function) != 0 || atomic_fetch_add(&calls, 1) + 1 != wanted)
        return false;
    const char *told = getenv("LIMN_STRUCK");
    if (told)
        mkdir(told, 0700); /* a folder: nothing here fails that */
    errno = why;
    return true;
}

/* RESULT NAME(ARGUMENTS), which on failure gives BAD with errno WHY. */
#define FAULT(RESULT, NAME, BAD, WHY, PARAMETERS, ARGUMENTS)                                                           \
    RESULT NAME PARAMETERS                                                                                             \
    {                                                                                                                  \
        static RESULT(*next) PARAMETERS;                                                                               \
        if (!next)                                                                                                     \
            *(void **)&next = dlsym(RTLD_NEXT, #NAME);                                                                 \
        return strikes(#NAME, WHY) ? BAD : next ARGUMENTS;                                                             \
    }

FAULT(FILE *, fopen, NULL, EMFILE, (const char *path, const char *mode), (path, mode))
FAULT(FILE *, fdopen, NULL, ENOMEM, (int descriptor, const char *mode), (descriptor, mode))
FAULT(FILE *, tmpfile, NULL, EROFS, (void), ())
FAULT(FILE *, open_memstream, NULL, ENOMEM, (char **text, size_t *size), (text, size))
FAULT(size_t, fread, 0, EIO, (void *to, size_t size, size_t count, FILE *from), (to, size, count, from))
FAULT(int, rename, -1, EXDEV, (const char *from, const char *to), (from, to))
FAULT(int, fsync, -1, EIO, (int descriptor), (descriptor))
FAULT(int, fflush, EOF, ENOSPC, (FILE * stream), (stream))
FAULT(int, fchmod, -1, EIO, (int descriptor, mode_t mode), (descriptor, mode))
FAULT(int, mkdir, -1, ENOSPC, (const char *path, mode_t mode), (path, mode))
FAULT(char *, mkdtemp, NULL, EROFS, (char *text), (text))
FAULT(char *, realpath, NULL, ENOMEM, (const char *path, char *to), (path, to))
FAULT(DIR *, opendir, NULL, EMFILE, (const char *path), (path))
FAULT(pid_t, fork, -1, EAGAIN, (void), ())
FAULT(void *, aligned_alloc, NULL, ENOMEM, (size_t alignment, size_t size), (alignment, size))
FAULT(int, posix_spawnp, EAGAIN, EAGAIN,
      (pid_t * child, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
       char *const arguments[], char *const environment[]),
      (child, file, actions, attributes, arguments, environment))

/* Of files: text in memory has no disk that is full, and progress may get lost. */
size_t fwrite(const void *from, size_t size, size_t count, FILE *to)
{
    static size_t (*next)(const void *, size_t, size_t, FILE *);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "fwrite");
    bool fails = to != stderr && fileno(to) >= 0 && strikes("fwrite", ENOSPC);
    if (fails)
        to->_flags |= 0x20; /* glibc's mark of a stream that failed: ferror sees it */
    return fails ? 0 : next(from, size, count, to);
}

int fclose(FILE *stream)
{
    static int (*next)(FILE *);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "fclose");
    bool fails = strikes("fclose", ENOSPC);
    int status = next(stream); /* it is closed all the same */
    errno = fails ? ENOSPC : errno;
    return fails ? EOF : status;
}

int open(const char *path, int flags, ...)
{
    static int (*next)(const char *, int, ...);
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "open");
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return strikes("open", EMFILE) ? -1 : next(path, flags, mode);
}
