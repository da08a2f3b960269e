/* tiled.c: a limit kernel tile by tile, in memory that may be a mapped file, where what is there is not found again. */
#include "autodiff/base/base.h"
#include "tp/program/program.h"

#include <math.h>
#include <string.h>

enum { SIDE = 2048, TURNED = 32 };

typedef struct {
    tp_program *program;
    tp_kernel_kind which;
    const double *x, *x2; /* x2 NULL: one set */
    size_t rows, rows2, features, side, down, across;
    tp_tiles *tiles;
    const tp_limit_spec *spec;
    double done, all; /* entries */
} job;

/* What a tile holds: its first row and column, and how many. */
typedef struct {
    size_t row, column, rows, columns;
} place;

static place place_of(const job *j, size_t down, size_t across)
{
    place p = { .row = down * j->side, .column = across * j->side };
    p.rows = j->rows - p.row < j->side ? j->rows - p.row : j->side;
    p.columns = j->rows2 - p.column < j->side ? j->rows2 - p.column : j->side;
    return p;
}

static size_t number_size(const job *j)
{
    return j->tiles->single ? sizeof(float) : sizeof(double);
}

static unsigned char *at(const job *j, size_t row, size_t column)
{
    return (unsigned char *)j->tiles->values + (row * j->rows2 + column) * number_size(j);
}

/* A sum that changes with every number of the tile and its place; never 0. */
static uint64_t sum_of(const job *j, const place *p)
{
    uint64_t sum = 0x9E3779B97F4A7C15u;
    size_t bytes = p->columns * number_size(j);
    for (size_t i = 0; i < p->rows; i++) {
        const unsigned char *row = at(j, p->row + i, p->column);
        for (size_t k = 0; k < bytes; k += sizeof sum) {
            uint64_t word = 0;
            memcpy(&word, row + k, bytes - k < sizeof word ? bytes - k : sizeof word);
            sum = (sum ^ word) * 0xBF58476D1CE4E5B9u;
            sum ^= sum >> 29;
        }
    }
    return sum ? sum : 1;
}

/* The numbers of tile `from` to where the tile of its columns and rows is. */
static void mirror(const job *j, const place *from)
{
    size_t size = number_size(j);
    for (size_t r = 0; r < from->rows; r += TURNED)
        for (size_t c = 0; c < from->columns; c += TURNED)
            for (size_t k = c; k < from->columns && k < c + TURNED; k++)
                for (size_t i = r; i < from->rows && i < r + TURNED; i++)
                    memcpy(at(j, from->column + k, from->row + i), at(j, from->row + i, from->column + k), size);
}

typedef struct {
    const job *j;
    double share;
} telling;

static void tell(double share, void *context)
{
    const telling *t = context;
    t->j->spec->progress((t->j->done + share * t->share) / t->j->all, t->j->spec->context);
}

static int find(const job *j, const place *p, tp_kernel *kernel, ad_error *error)
{
    tp_limit_spec spec = *j->spec;
    telling context = { j, (double)p->rows * (double)p->columns };
    const double *x = j->x + p->row * j->features, *y = (j->x2 ? j->x2 : j->x) + p->column * j->features;
    bool own = !j->x2 && p->row == p->column;
    spec.engine = TP_ENGINE_EXACT;
    spec.progress = spec.progress ? tell : NULL;
    spec.context = &context;
    spec.floats = j->tiles->single ? (float *)(void *)at(j, p->row, p->column) : NULL;
    spec.stride = j->rows2;
    int status = (j->tiles->training
                      ? tp_training_kernel(j->program, x, p->rows, own ? NULL : y, p->columns, &spec, kernel, error)
                      : tp_limit(j->program, j->which, x, p->rows, own ? NULL : y, p->columns, &spec, kernel, error));
    if (status || j->tiles->single)
        return status;
    bool one = kernel->n_terms == 1 && !(fabs(kernel->terms[0].power) > 0);
    for (size_t i = 0; i < p->rows && one; i++)
        memcpy(at(j, p->row + i, p->column), kernel->terms[0].values + i * p->columns, p->columns * sizeof(double));
    return one ? 0
               : ad_fail(error,
                         "limit: the kernel is a sum of powers of n, or grows with n: tiles are of one term, n^0");
}

/* The tile, and the one that mirrors it, if they are not there. */
static int solve(job *j, size_t down, size_t across, tp_kernel *told, ad_error *error)
{
    place p = place_of(j, down, across), q = place_of(j, j->x2 ? down : across, j->x2 ? across : down);
    tp_tile_mark *mark = &j->tiles->marks[down * j->across + across];
    tp_tile_mark *other = &j->tiles->marks[j->x2 ? down * j->across + across : across * j->across + down];
    tp_kernel kernel = { 0 };
    bool there = mark->sum && other->sum && mark->sum == sum_of(j, &p) && other->sum == sum_of(j, &q);
    if (!there) {
        mark->sum = other->sum = 0;
        if (find(j, &p, &kernel, error)) {
            tp_kernel_free(&kernel);
            return -1;
        }
        if (other != mark)
            mirror(j, &p);
        mark->error = other->error = kernel.error;
        other->sum = sum_of(j, &q);
        mark->sum = sum_of(j, &p);
    }
    j->tiles->kept += there;
    j->done += (double)p.rows * (double)p.columns;
    if (!told->method[0])
        snprintf(told->method, sizeof told->method, "%s", there ? "exact rules" : kernel.method);
    told->error = fmax(told->error, mark->error);
    tp_kernel_free(&kernel);
    if (j->spec->progress)
        j->spec->progress(j->done / j->all, j->spec->context);
    return 0;
}

size_t tp_tiles_count(size_t rows, size_t rows2, size_t side)
{
    side = side ? side : SIDE;
    return ((rows + side - 1) / side) * ((rows2 + side - 1) / side);
}

int tp_limit_tiles(tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                   size_t rows2, const tp_limit_spec *given, tp_tiles *tiles, tp_kernel *told, ad_error *error)
{
    const tp_limit_spec preset = { 0 };
    memset(told, 0, sizeof *told);
    if (!program)
        return ad_fail(error, "limit: no program (NULL)");
    size_t side = tiles->side ? tiles->side : SIDE;
    job j = { .program = program,
              .which = which,
              .x = x,
              .x2 = x2,
              .rows = rows,
              .rows2 = x2 ? rows2 : rows,
              .features = nn_features(program->net),
              .side = side,
              .tiles = tiles,
              .spec = given ? given : &preset };
    if (!rows || !j.rows2)
        return ad_fail(error, "limit: %s inputs have no rows", rows ? "the second" : "the first");
    if (program->coupled)
        return ad_fail(error, "limit: where samples meet, as in batch normalisation, a kernel is one of its whole "
                              "batch, and has no tiles");
    j.down = (rows + side - 1) / side;
    j.across = (j.rows2 + side - 1) / side;
    j.all = x2 ? (double)rows * (double)rows2 : 0;
    for (size_t d = 0; d < j.down && !x2; d++)
        for (size_t a = d; a < j.across; a++) {
            place p = place_of(&j, d, a);
            j.all += (double)p.rows * (double)p.columns;
        }
    tiles->kept = 0;
    int status = 0;
    for (size_t d = 0; d < j.down && !status; d++)
        for (size_t a = x2 ? 0 : d; a < j.across && !status; a++)
            status = solve(&j, d, a, told, error);
    told->rows = rows;
    told->rows2 = j.rows2;
    told->n_terms = 1;
    return status;
}
