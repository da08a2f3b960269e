/* arena.c: arenas, and arrays that grow in one or without. */
#include "autodiff/base/base.h"

#include <string.h>

typedef struct block {
    struct block *next;
    size_t used, size;
    _Alignas(16) unsigned char data[];
} block;

/* Each block is four times the last, as what an arena holds is not known beforehand. */
enum { MINIMUM_BLOCK = 1 << 15, MAXIMUM_BLOCK = 1 << 22 };

struct ad_arena {
    block *blocks;
    size_t used, most; /* bytes that were asked for; most: 0, no limit */
    bool full;
};

ad_arena *ad_arena_new(ad_error *error)
{
    return ad_alloc(1, sizeof(ad_arena), "an arena", error);
}

void ad_arena_limit(ad_arena *arena, size_t bytes)
{
    arena->most = bytes;
}

bool ad_arena_is_full(const ad_arena *arena)
{
    return arena->full;
}

void *ad_arena_alloc(ad_arena *arena, size_t count, size_t size)
{
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 4)
        return NULL;
    bytes = (bytes + 15) / 16 * 16;
    if (arena->most && bytes > arena->most - arena->used) {
        arena->full = true;
        return NULL;
    }
    block *b = arena->blocks;
    if (!b || b->size - b->used < bytes) {
        size_t whole = b ? 4 * (sizeof *b + b->size) : MINIMUM_BLOCK;
        size_t capacity = (whole < MAXIMUM_BLOCK ? whole : MAXIMUM_BLOCK) - sizeof *b;
        capacity = capacity > bytes ? capacity : bytes;
        b = ad_reserve(1, sizeof *b + capacity, "an arena's block", NULL);
        if (!b)
            return NULL;
        *b = (block){ .next = arena->blocks, .size = capacity };
        arena->blocks = b;
    }
    void *memory = b->data + b->used;
    b->used += bytes;
    arena->used += bytes;
    return memset(memory, 0, bytes);
}

char *ad_arena_vtext(ad_arena *arena, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = ad_vsnprintf(NULL, 0, format, args);
    char *text = ad_arena_alloc(arena, (size_t)length + 1, 1);
    if (text)
        ad_vsnprintf(text, (size_t)length + 1, format, again);
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

enum { FIRST_CAPACITY = 16 };

bool ad_grow(void **array, int used, int *capacity, size_t size, const char *what, ad_error *error)
{
    if (used < *capacity)
        return true;
    int wanted = *capacity ? 2 * *capacity : FIRST_CAPACITY;
    void *larger = ad_alloc((size_t)wanted, size, what, error);
    if (!larger)
        return false;
    if (used)
        memcpy(larger, *array, (size_t)used * size);
    ad_free(*array);
    *array = larger;
    *capacity = wanted;
    return true;
}

bool ad_arena_grow(ad_arena *arena, void **array, int used, int *capacity, size_t size)
{
    if (used < *capacity)
        return true;
    int wanted = *capacity ? 2 * *capacity : FIRST_CAPACITY;
    void *larger = ad_arena_alloc(arena, (size_t)wanted, size);
    if (!larger)
        return false;
    if (used)
        memcpy(larger, *array, (size_t)used * size);
    *array = larger;
    *capacity = wanted;
    return true;
}
