/* tiles.c: a limit's kernel tile by tile, in memory or in a file that a run which was ended goes on with. */
#include "examples/limn/base/base.h"

#include <cblas.h>
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

/* The program as it is printed: it tells networks apart that agree at a few inputs, as zeros. */
static int mix_program(const tp_program *program, uint64_t *sum, ad_error *error)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    int status = stream ? tp_print(program, stream, TP_PAPER, error) : -1;
    if (!stream || (fclose(stream) != 0 && !status))
        status = ad_fail(error, "out of memory for the program's text");
    if (!status)
        *sum = mix(*sum, text, size);
    free(text);
    return status;
}

/* Rows from the first to the last, at even distances, and behind them the largest one. */
static double *witnesses(const tiles_job *j, size_t *count, ad_error *error)
{
    const limit_question *q = &j->ask;
    size_t n = q->rows < WITNESSES ? q->rows : WITNESSES, features = j->features, bytes = features * sizeof *q->x;
    double *x = ad_alloc((n + 1) * features, sizeof *x, "inputs", error), most = -1;
    for (size_t k = 0; x && k < n; k++)
        memcpy(x + k * features, q->x + (n > 1 ? k * (q->rows - 1) / (n - 1) : 0) * features, bytes);
    for (size_t row = 0; x && row < q->rows; row++) {
        const double *at = q->x + row * features;
        double square = cblas_ddot((blasint)features, at, 1, at, 1);
        if (square > most)
            memcpy(x + n * features, at, bytes);
        most = square > most ? square : most;
    }
    *count = n + 1;
    return x;
}

/* A number that differs for other inputs, networks, parameters and numbers: of the inputs, the program, and of what the
 * kernel is at some of them. */
static int stamp_of(const tiles_job *j, uint64_t *stamp, ad_error *error)
{
    const limit_question *q = &j->ask;
    tp_kernel kernel = { 0 };
    limit_question some = *q;
    uint64_t sum = mix(0xCBF29CE484222325u, q->x, q->rows * j->features * sizeof *q->x);
    double *x = witnesses(j, &some.rows, error);
    some.x = x;
    some.x2 = NULL;
    some.spec.progress = NULL;
    int status = !x || mix_program(j->program, &sum, error) || limit_find(j->o, j->program, &some, &kernel, NULL, error)
                     ? -1
                     : 0;
    if (q->x2)
        sum = mix(sum, q->x2, q->rows2 * j->features * sizeof *q->x2);
    for (int k = 0; k < kernel.n_terms && !status; k++)
        sum = mix(sum, kernel.terms[k].values, some.rows * some.rows * sizeof(double));
    *stamp = mix(sum, &q->which, sizeof q->which);
    tp_kernel_free(&kernel);
    ad_free(x);
    return status;
}

int tiles_forecast(const tiles_job *j, double *seconds, ad_error *error)
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
    *t = (tiles){ .count = count };
    bool spread = tp_n_ranks() > 1 && !j->is_used, mine = tp_rank() == 0;
    if (mine && place(j, t, count, error))
        return -1;
    if (t->notes && j->is_used && j->is_used(t->notes)) {
        snprintf(t->told.method, sizeof t->told.method, "exact rules");
        for (size_t k = 0; k < count; k++)
            t->told.error = t->marks[k].error > t->told.error ? t->marks[k].error : t->told.error;
        return 0;
    }
    if (mine && tiles_forecast(j, &seconds, error))
        return -1;
    seconds /= spread ? tp_n_ranks() : 1;
    if (bytes >= LARGE)
        fprintf(stderr, "%s: %s: %.3g GB %s%s%s, about %.2g min\n", j->o->command, j->what, bytes / 1e9,
                j->path ? "in " : "of memory", j->path ? j->path : "", j->path ? ".partial" : "", seconds / 60);
    tp_tiles all = {
        .values = t->values, .single = j->single, .training = q.training, .marks = t->marks, .spread = spread
    };
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

void tiles_free(tiles *t)
{
    bool any = false;
    for (size_t k = 0; k < t->count && t->map && !any; k++)
        any = t->marks[k].sum != 0;
    ds_npy_map_close(t->map, any);
    if (!t->map)
        ad_free(t->marks);
    ad_free(t->memory);
    *t = (tiles){ 0 };
}
