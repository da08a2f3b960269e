/* tiles.c: a limit's kernel tile by tile, in memory or in a file that a run which was ended goes on with. */
#include "examples/limn/base/base.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE = 256, WITNESSES = 4 }; /* rows that tell the time, and that tell one kernel from another */

static uint64_t mix(uint64_t sum, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; i++)
        sum = (sum ^ at[i]) * 0x100000001B3u;
    return sum ^ sum >> 31;
}

/* A number that differs for other inputs, networks, parameters and numbers: of the inputs, and of what the kernel is at
 * the first of them. */
static int stamp_of(const tiles_job *j, uint64_t *stamp, ad_error *error)
{
    const limit_question *q = &j->ask;
    tp_kernel kernel = { 0 };
    limit_question first = *q;
    first.x2 = NULL;
    first.rows = q->rows < WITNESSES ? q->rows : WITNESSES;
    first.spec.progress = NULL;
    if (limit_find(j->o, j->program, &first, &kernel, NULL, error))
        return -1;
    uint64_t sum = mix(0xCBF29CE484222325u, q->x, q->rows * j->features * sizeof *q->x);
    if (q->x2)
        sum = mix(sum, q->x2, q->rows2 * j->features * sizeof *q->x2);
    for (int k = 0; k < kernel.n_terms; k++)
        sum = mix(sum, kernel.terms[k].values, first.rows * first.rows * sizeof(double));
    *stamp = mix(sum, &q->which, sizeof q->which);
    tp_kernel_free(&kernel);
    return 0;
}

/* Seconds of the whole, by a piece of it. */
static int forecast(const tiles_job *j, double *seconds, ad_error *error)
{
    const limit_question *q = &j->ask;
    size_t columns = q->x2 ? q->rows2 : q->rows;
    limit_question piece = *q;
    tp_kernel kernel = { 0 };
    piece.rows = q->rows < PIECE ? q->rows : PIECE;
    piece.rows2 = columns < PIECE ? columns : PIECE;
    piece.x2 = q->x2 ? q->x2 : q->x + (q->rows - piece.rows) * j->features;
    piece.spec.progress = NULL;
    double best = 0;
    for (int round = 0; round < 2; round++) { /* what is done once counts once */
        double start = ad_seconds();
        float *floats = ad_alloc(piece.rows * piece.rows2, sizeof *floats, "a piece", error);
        piece.spec.floats = j->single ? floats : NULL;
        if (!floats || limit_find(j->o, j->program, &piece, &kernel, NULL, error)) {
            ad_free(floats);
            return -1;
        }
        tp_kernel_free(&kernel);
        ad_free(floats);
        best = ad_seconds() - start;
    }
    double pairs = (double)q->rows * (double)columns * (q->x2 ? 1 : 0.5);
    *seconds = best * pairs / ((double)piece.rows * (double)piece.rows2);
    return 0;
}

static int place(const tiles_job *j, tiles *t, size_t count, ad_error *error)
{
    const limit_question *q = &j->ask;
    size_t shape[2] = { q->rows, q->x2 ? q->rows2 : q->rows }, numbers = shape[0] * shape[1];
    size_t marks = count * sizeof(tp_tile_mark);
    uint64_t stamp = 0;
    if (!j->path) {
        t->memory = ad_reserve(numbers, j->single ? sizeof(float) : sizeof(double), "a kernel", error);
        t->marks = ad_alloc(count, sizeof *t->marks, "a kernel", error);
        t->values = t->memory;
        return t->memory && t->marks ? 0 : -1;
    }
    if (stamp_of(j, &stamp, error))
        return -1;
    t->map = ds_npy_map_open(j->path, shape, 2, j->single, marks + j->notes, stamp, error);
    if (!t->map)
        return -1;
    t->values = ds_npy_map_numbers(t->map);
    t->marks = ds_npy_map_notes(t->map);
    t->notes = (unsigned char *)ds_npy_map_notes(t->map) + marks;
    return 0;
}

int tiles_find(const tiles_job *j, tiles *t, ad_error *error)
{
    limit_question q = j->ask;
    size_t columns = q.x2 ? q.rows2 : q.rows, count = tp_tiles_count(q.rows, columns, 0);
    double bytes = (double)q.rows * (double)columns * (j->single ? sizeof(float) : sizeof(double)), seconds = 0;
    *t = (tiles){ 0 };
    if (place(j, t, count, error))
        return -1;
    if (t->notes && j->is_used && j->is_used(t->notes)) {
        snprintf(t->told.method, sizeof t->told.method, "exact rules");
        for (size_t k = 0; k < count; k++)
            t->told.error = t->marks[k].error > t->told.error ? t->marks[k].error : t->told.error;
        return 0;
    }
    if (forecast(j, &seconds, error))
        return -1;
    if (bytes >= LARGE)
        fprintf(stderr, "%s: %s: %.3g GB %s%s%s, about %.2g min\n", j->o->command, j->what, bytes / 1e9,
                j->path ? "in " : "of memory", j->path ? j->path : "", j->path ? ".partial" : "", seconds / 60);
    tp_tiles all = { .values = t->values, .single = j->single, .training = q.training, .marks = t->marks };
    q.spec.progress = progress_tell;
    progress_begin(j->o, j->what);
    int status = tp_limit_tiles(j->program, q.which, q.x, q.rows, q.x2, q.rows2, &q.spec, &all, &t->told, error);
    progress_end();
    if (!status && all.kept)
        fprintf(stderr, "%s: %s: %zu tiles were there\n", j->o->command, j->what, all.kept);
    return status;
}

int tiles_judge(const tiles_job *j, const tiles *t, tp_opinion *opinion, ad_error *error)
{
    limit_question q = j->ask;
    tp_kernel found = t->told;
    if (j->o->no_check)
        return 0;
    found.terms[0].values = j->single ? NULL : t->values;
    q.spec.floats = j->single ? t->values : NULL;
    q.spec.stride = 0;
    return limit_judge(j->program, &q, &found, 1, opinion, error);
}

void tiles_free(tiles *t, bool keep)
{
    ds_npy_map_close(t->map, keep);
    if (!t->map)
        ad_free(t->marks);
    ad_free(t->memory);
    *t = (tiles){ 0 };
}
