/* state.c: a computation's state as named arrays in a .safetensors file, by one walk over what it is made of: the same
 * calls write it and read it, so that neither can forget what the other has. */
#include "tp/executor/draws.h"

#include "nn/safetensors/safetensors.h"

#include <limits.h>
#include <stdarg.h>
#include <string.h>

static const char format[] = "limn training at n = infinity";

struct tp_state {
    ad_error *error;
    ad_arena *arena;
    nn_tensors *file; /* NULL: it is written */
    const char *path;
    nn_tensor *tensors;
    nn_pair *pairs;
    size_t n, capacity, n_pairs, pair_capacity;
};

tp_state *tp_state_new(ad_error *error)
{
    tp_state *state = ad_alloc(1, sizeof *state, "a checkpoint", error);
    if (!state)
        return NULL;
    state->error = error;
    if ((state->arena = ad_arena_new(error)))
        return state;
    ad_free(state);
    return NULL;
}

tp_state *tp_state_read(const char *path, ad_error *error)
{
    tp_state *state = tp_state_new(error);
    if (!state)
        return NULL;
    state->path = ad_arena_text(state->arena, "%s", path);
    state->file = nn_tensors_read(path, error);
    const char *own = state->file ? nn_tensors_metadata(state->file, "format") : NULL;
    if (state->file && state->path && own && strcmp(own, format) == 0)
        return state;
    if (state->file)
        ad_fail(error, "%s: no checkpoint of a training at n = infinity", path);
    tp_state_free(state);
    return NULL;
}

void tp_state_free(tp_state *state)
{
    if (!state)
        return;
    nn_tensors_free(state->file);
    ad_free(state->tensors);
    ad_free(state->pairs);
    ad_arena_free(state->arena);
    ad_free(state);
}

bool tp_state_reads(const tp_state *state)
{
    return state->file != NULL;
}

/* Room for one more of `size` bytes. */
static int grow(void **items, size_t n, size_t *capacity, size_t size, ad_error *error)
{
    if (n < *capacity)
        return 0;
    size_t larger = *capacity ? 2 * *capacity : 64;
    void *to = ad_alloc(larger, size, "a checkpoint", error);
    if (!to)
        return -1;
    if (n)
        memcpy(to, *items, n * size);
    ad_free(*items);
    *items = to;
    *capacity = larger;
    return 0;
}

static int add_pair(tp_state *s, const char *key, const char *value)
{
    if (grow((void **)&s->pairs, s->n_pairs, &s->pair_capacity, sizeof *s->pairs, s->error))
        return -1;
    s->pairs[s->n_pairs] = (nn_pair){ ad_arena_text(s->arena, "%s", key), ad_arena_text(s->arena, "%s", value) };
    if (!s->pairs[s->n_pairs].key || !s->pairs[s->n_pairs].value)
        return ad_fail(s->error, "out of memory for a checkpoint");
    s->n_pairs++;
    return 0;
}

int tp_state_mark(tp_state *s, const char *key, const char *value)
{
    if (!s->file)
        return add_pair(s, key, value);
    const char *was = nn_tensors_metadata(s->file, key);
    if (was && strcmp(was, value) == 0)
        return 0;
    return ad_fail(s->error, "%s: cannot resume: %s was %.80s, now it is %.80s", s->path, key, was ? was : "not given",
                   value);
}

/* Writes an array of eight-byte numbers, or finds it: *found is its place in the file, NULL where it is written. -1
 * where the file has none of this name, type and length of rows. */
static int pass(tp_state *s, const char *name, nn_dtype type, void *data, size_t rows, size_t length,
                const nn_tensor **found)
{
    *found = NULL;
    if (!name)
        return ad_fail(s->error, "out of memory for a checkpoint");
    if (s->file) {
        *found = nn_tensors_find(s->file, name);
        if (*found && (*found)->dtype == type && (*found)->rank == 2 && (*found)->shape[1] == length)
            return 0;
        return ad_fail(s->error, "%s: %s is missing or misshapen", s->path, name);
    }
    if (grow((void **)&s->tensors, s->n, &s->capacity, sizeof *s->tensors, s->error))
        return -1;
    s->tensors[s->n++] = (nn_tensor){ .name = name, .dtype = type, .rank = 2, .shape = { rows, length }, .data = data };
    return 0;
}

static int pass_fixed(tp_state *s, const char *name, nn_dtype type, void *data, size_t count)
{
    const nn_tensor *found;
    if (count == 0)
        return 0;
    if (pass(s, name, type, data, 1, count, &found))
        return -1;
    if (found && found->shape[0] != 1)
        return ad_fail(s->error, "%s: %s is misshapen", s->path, name);
    if (found)
        memcpy(data, found->data, count * sizeof(double));
    return 0;
}

#define NAME_OF(to, s, name)                                                                                           \
    va_list to##_args;                                                                                                 \
    char to##_text[200];                                                                                               \
    va_start(to##_args, name);                                                                                         \
    ad_vsnprintf(to##_text, sizeof to##_text, name, to##_args);                                                        \
    va_end(to##_args);                                                                                                 \
    const char *to = ad_arena_text((s)->arena, "%s", to##_text)

int tp_state_numbers(tp_state *s, double *data, size_t count, const char *name, ...)
{
    NAME_OF(own, s, name);
    return pass_fixed(s, own, NN_F64, data, count);
}

int tp_state_counts(tp_state *s, uint64_t *data, size_t count, const char *name, ...)
{
    NAME_OF(own, s, name);
    if (s->file)
        return pass_fixed(s, own, NN_U64, data, count);
    uint64_t *copy = ad_arena_alloc(s->arena, count, sizeof *copy);
    if (!copy)
        return ad_fail(s->error, "out of memory for a checkpoint");
    memcpy(copy, data, count * sizeof *copy);
    return pass_fixed(s, own, NN_U64, copy, count);
}

int tp_state_rows(tp_state *s, tp_rows *rows, const char *name, ...)
{
    NAME_OF(own, s, name);
    const nn_tensor *found;
    if (!s->file && rows->n == 0)
        return 0;
    if (s->file && own && !nn_tensors_find(s->file, own)) { /* there were none */
        rows->n = 0;
        return 0;
    }
    if (pass(s, own, NN_F64, rows->data, (size_t)rows->n, rows->length, &found))
        return -1;
    if (!found)
        return 0;
    if (found->shape[0] > INT_MAX / 4)
        return ad_fail(s->error, "%s: %s has %zu rows", s->path, own, found->shape[0]);
    rows->n = 0;
    double *to = tp_rows_grow(rows, (int)found->shape[0], s->error);
    if (!to)
        return -1;
    memcpy(to, found->data, found->count * sizeof *to);
    rows->n = (int)found->shape[0];
    return 0;
}

int tp_state_write(tp_state *s, const char *path)
{
    if (add_pair(s, "format", format))
        return -1;
    return nn_tensors_write(path, s->tensors, s->n, s->pairs, s->n_pairs, s->error);
}
