#include "autodiff/base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

double ad_seconds(void)
{
    struct timespec now = { 0 };
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int ad_fail(ad_error *error, const char *format, ...)
{
    if (error && !error->text[0]) {
        va_list args;
        va_start(args, format);
        vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
    }
    return -1;
}

static atomic_long allocations, allocation_hook, write_hook, read_hook;

/* Counts a hook down; true on the call that must fail. */
static bool hook_strikes(atomic_long *hook)
{
    return atomic_load(hook) > 0 && atomic_fetch_sub(hook, 1) == 1;
}

long ad_allocations(void)
{
    return atomic_load(&allocations);
}

void ad_hook_allocation(long k)
{
    atomic_store(&allocation_hook, k);
}

void ad_hook_write(long k)
{
    atomic_store(&write_hook, k);
}

void ad_hook_read(long k)
{
    atomic_store(&read_hook, k);
}

/* More than any machine's addresses reach: an allocator need not be asked. */
static const size_t most_bytes = (size_t)1 << (sizeof(size_t) > 4 ? 46 : 31);

void *ad_reserve(size_t count, size_t size, const char *what, ad_error *error)
{
    atomic_fetch_add(&allocations, 1);
    size_t bytes = 0;
    void *memory = NULL;
    if (!hook_strikes(&allocation_hook) && !__builtin_mul_overflow(count, size, &bytes) && bytes < most_bytes)
        memory = aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (!memory)
        ad_fail(error, "out of memory: %zu x %zu bytes for %s", count, size, what);
    return memory;
}

void *ad_alloc(size_t count, size_t size, const char *what, ad_error *error)
{
    void *memory = ad_reserve(count, size, what, error);
    return memory ? memset(memory, 0, count * size) : NULL;
}

void ad_free(void *memory)
{
    free(memory);
}

typedef struct block {
    struct block *next;
    size_t used, size;
    _Alignas(16) unsigned char data[];
} block;

/* Each block is twice the last, as what an arena holds is not known beforehand. */
enum { LEAST_BLOCK = 1 << 15, MOST_BLOCK = 1 << 22 };

struct ad_arena {
    block *blocks;
};

ad_arena *ad_arena_new(ad_error *error)
{
    return ad_alloc(1, sizeof(ad_arena), "an arena", error);
}

void *ad_arena_alloc(ad_arena *arena, size_t count, size_t size)
{
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 4)
        return NULL;
    bytes = (bytes + 15) / 16 * 16;
    block *b = arena->blocks;
    if (!b || b->size - b->used < bytes) {
        size_t capacity = b ? 2 * b->size : LEAST_BLOCK;
        capacity = capacity < MOST_BLOCK ? capacity : MOST_BLOCK;
        capacity = capacity > bytes ? capacity : bytes;
        b = ad_reserve(1, sizeof *b + capacity, "an arena's block", NULL);
        if (!b)
            return NULL;
        *b = (block){ .next = arena->blocks, .size = capacity };
        arena->blocks = b;
    }
    void *memory = b->data + b->used;
    b->used += bytes;
    return memset(memory, 0, bytes);
}

char *ad_arena_vtext(ad_arena *arena, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    char *text = ad_arena_alloc(arena, (size_t)length + 1, 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

char *ad_arena_text(ad_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = ad_arena_vtext(arena, format, args);
    va_end(args);
    return text;
}

void ad_arena_free(ad_arena *arena)
{
    if (!arena)
        return;
    for (block *b = arena->blocks, *next; b; b = next) {
        next = b->next;
        ad_free(b);
    }
    ad_free(arena);
}

struct ad_file {
    FILE *stream;
    char *path, *temporary; /* temporary NULL: a stream */
};

ad_file *ad_file_create(const char *path, ad_error *error)
{
    size_t length = strlen(path) + 16;
    ad_file *file = ad_alloc(1, sizeof *file + 2 * length, "a file", error);
    if (!file)
        return NULL;
    file->path = (char *)(file + 1);
    file->temporary = file->path + length;
    snprintf(file->path, length, "%s", path);
    snprintf(file->temporary, length, "%s.tmpXXXXXX", path);
    int descriptor = mkstemp(file->temporary);
    if (descriptor < 0 || !(file->stream = fdopen(descriptor, "wb"))) {
        ad_fail(error, "%s: cannot write: %s", path, strerror(errno));
        if (descriptor >= 0) {
            close(descriptor);
            unlink(file->temporary);
        }
        ad_free(file);
        return NULL;
    }
    mode_t mask = umask(0); /* mkstemp gives 0600; the file gets what any new file would */
    umask(mask);
    fchmod(descriptor, 0666 & ~mask);
    return file;
}

int ad_file_write(ad_file *file, const void *data, size_t bytes, ad_error *error)
{
    if (hook_strikes(&write_hook)) {
        errno = ENOSPC;
        return ad_fail(error, "%s: cannot write: %s", file->path, strerror(errno));
    }
    struct stat before = { 0 };
    bool cut = !file->temporary && fstat(fileno(file->stream), &before) == 0 && S_ISREG(before.st_mode);
    if (fwrite(data, 1, bytes, file->stream) == bytes)
        return 0;
    int reason = errno;
    bool half = cut && ftruncate(fileno(file->stream), before.st_size) != 0;
    return ad_fail(error, "%s: cannot write: %s%s", file->path, strerror(reason), half ? "; its end is cut off" : "");
}

void ad_file_discard(ad_file *file)
{
    if (!file)
        return;
    if (file->stream)
        fclose(file->stream);
    if (file->temporary)
        unlink(file->temporary);
    ad_free(file);
}

ad_file *ad_file_stream(const char *path, bool append, ad_error *error)
{
    size_t length = strlen(path) + 1;
    ad_file *file = ad_alloc(1, sizeof *file + length, "a file", error);
    if (!file)
        return NULL;
    file->path = memcpy(file + 1, path, length);
    if (!(file->stream = fopen(path, append ? "ab" : "wb"))) {
        ad_fail(error, "%s: cannot write: %s", path, strerror(errno));
        ad_free(file);
        return NULL;
    }
    setvbuf(file->stream, NULL, _IONBF, 0); /* nothing is kept back that a later write would bring */
    return file;
}

int ad_file_sync(ad_file *file, ad_error *error)
{
    if (fsync(fileno(file->stream)) != 0 && errno != EINVAL && errno != EROFS) /* these two: a pipe or a terminal */
        return ad_fail(error, "%s: cannot write: %s", file->path, strerror(errno));
    return 0;
}

int ad_file_close(ad_file *file, ad_error *error)
{
    if (!file->temporary) {
        ad_file_discard(file);
        return 0;
    }
    errno = 0;
    bool whole = !hook_strikes(&write_hook) && !ferror(file->stream) && fflush(file->stream) == 0 &&
                 fsync(fileno(file->stream)) == 0;
    whole = fclose(file->stream) == 0 && whole;
    file->stream = NULL;
    if (!whole || rename(file->temporary, file->path) != 0) {
        ad_fail(error, "%s: cannot write: %s", file->path, strerror(errno ? errno : EIO));
        ad_file_discard(file);
        return -1;
    }
    ad_free(file);
    return 0;
}

char *ad_file_read(const char *path, size_t limit, size_t *bytes, ad_error *error)
{
    *bytes = 0;
    FILE *stream = fopen(path, "rb");
    if (!stream) {
        ad_fail(error, "%s: cannot read: %s", path, strerror(errno));
        return NULL;
    }
    char *data = NULL;
    bool failed = false;
    struct stat status;
    if (fstat(fileno(stream), &status) == 0 && S_ISDIR(status.st_mode)) {
        ad_fail(error, "%s: cannot read: it is a folder", path);
        fclose(stream);
        return NULL;
    }
    long length = fseek(stream, 0, SEEK_END) == 0 ? ftell(stream) : -1;
    if (length < 0 || fseek(stream, 0, SEEK_SET) != 0)
        ad_fail(error, "%s: cannot read: %s", path, strerror(errno));
    else if ((size_t)length > limit)
        ad_fail(error, "%s: %ld bytes, at most %zu are read", path, length, limit);
    else if ((data = ad_alloc((size_t)length + 1, 1, path, error)) &&
             ((failed = hook_strikes(&read_hook)) || fread(data, 1, (size_t)length, stream) != (size_t)length)) {
        ad_fail(error, "%s: cannot read: %s", path,
                failed           ? strerror(EIO)
                : ferror(stream) ? strerror(errno)
                                 : "it ends early");
        ad_free(data);
        data = NULL;
    }
    fclose(stream);
    if (data)
        *bytes = (size_t)length;
    return data;
}
