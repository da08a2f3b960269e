/* memory.c: errors, allocations and the hooks that make them fail. */
#include "autodiff/base/base.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

double ad_seconds(void)
{
    struct timespec now = { 0 };
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* One line, whatever names and texts from outside are in it. */
static void make_line(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c; c++)
        *c = *c < ' ' || *c == 127 ? ' ' : *c;
}

int(ad_fail)(ad_error *error, const char *format, ...)
{
    if (error && !error->text[0]) {
        va_list args;
        va_start(args, format);
        ad_vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
        make_line(error->text);
    }
    return -1;
}

bool ad_given(const void *what, const char *name, ad_error *error)
{
    if (!what)
        ad_fail(error, "%s is missing (NULL)", name);
    return what;
}

static atomic_long allocations, failed, hooks[AD_HOOKS];

bool ad_hook_strikes(ad_hook hook)
{
    return atomic_load(&hooks[hook]) > 0 && atomic_fetch_sub(&hooks[hook], 1) == 1;
}

long ad_allocations(void)
{
    return atomic_load(&allocations);
}

long ad_allocations_failed(void)
{
    return atomic_load(&failed);
}

void ad_hook_allocation(long k)
{
    atomic_store(&hooks[AD_HOOK_ALLOCATION], k);
}

void ad_hook_write(long k)
{
    atomic_store(&hooks[AD_HOOK_WRITE], k);
}

void ad_hook_read(long k)
{
    atomic_store(&hooks[AD_HOOK_READ], k);
}

/* More than any machine's addresses reach: an allocator need not be asked. */
static const size_t most_bytes = (size_t)1 << (sizeof(size_t) > 4 ? 46 : 31);

/* Large blocks in pages of 2 MB where the system has them: the first touch of a kernel costs less. */
static void *take(size_t bytes)
{
    const size_t page = (size_t)1 << 21, large = page;
    size_t align = bytes < large ? 64 : page;
    void *memory = aligned_alloc(align, (bytes + align) / align * align);
#ifdef MADV_HUGEPAGE
    if (memory && align == page)
        madvise(memory, bytes / page * page, MADV_HUGEPAGE);
#endif
    return memory;
}

void *ad_reserve(size_t count, size_t size, const char *what, ad_error *error)
{
    atomic_fetch_add(&allocations, 1);
    size_t bytes = 0;
    void *memory = NULL;
    if (!ad_hook_strikes(AD_HOOK_ALLOCATION) && !__builtin_mul_overflow(count, size, &bytes) && bytes < most_bytes)
        memory = take(bytes);
    if (!memory) {
        atomic_fetch_add(&failed, 1);
        ad_fail(error, "out of memory: %zu x %zu bytes for %s", count, size, what);
    }
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
