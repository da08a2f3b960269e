/* tiled.c: a limit kernel tile by tile, in memory that may be a mapped file, where what is there is not found again; by
 * several ranks, each of which takes tiles in turn; and one that stays where the ranks found it. */
#include "autodiff/base/base.h"
#include "tp/program/program.h"
#include "tp/ranks/ranks.h"

#include <math.h>
#include <string.h>

enum { SIDE = 2048, TURNED = 32 };

typedef struct {
    tp_program *program;
    tp_kernel_kind which;
    const double *x, *x2; /* x2 NULL: one set */
    size_t rows, rows2, features, side, down, across;
    tp_tiles *tiles; /* values and marks are rank 0's */
    bool training, single;
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
    return j->single ? sizeof(float) : sizeof(double);
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

/* The tile's numbers to `out`, whose rows are `stride` numbers apart. */
static int find(const job *j, const place *p, void *out, size_t stride, tp_kernel *kernel, ad_error *error)
{
    tp_limit_spec spec = *j->spec;
    telling context = { j, (double)p->rows * (double)p->columns };
    const double *x = j->x + p->row * j->features, *y = (j->x2 ? j->x2 : j->x) + p->column * j->features;
    bool own = !j->x2 && p->row == p->column;
    spec.engine = TP_ENGINE_EXACT;
    spec.progress = spec.progress ? tell : NULL;
    spec.context = &context;
    spec.floats = j->single ? out : NULL;
    spec.stride = stride;
    int status =
        (j->training ? tp_training_kernel(j->program, x, p->rows, own ? NULL : y, p->columns, &spec, kernel, error)
                     : tp_limit(j->program, j->which, x, p->rows, own ? NULL : y, p->columns, &spec, kernel, error));
    if (status || j->single)
        return status;
    bool one = kernel->n_terms == 1 && !(fabs(kernel->terms[0].power) > 0);
    for (size_t i = 0; i < p->rows && one; i++)
        memcpy((double *)out + i * stride, kernel->terms[0].values + i * p->columns, p->columns * sizeof(double));
    return one ? 0
               : ad_fail(error,
                         "limit: the kernel is a sum of powers of n, or grows with n: tiles are of one term, n^0");
}

/* A tile and the one that mirrors it, with their marks. */
typedef struct {
    place p, q;
    tp_tile_mark *mark, *other;
} pair;

static pair pair_of(const job *j, size_t down, size_t across)
{
    pair t = { place_of(j, down, across), place_of(j, j->x2 ? down : across, j->x2 ? across : down), NULL, NULL };
    t.mark = &j->tiles->marks[down * j->across + across];
    t.other = &j->tiles->marks[j->x2 ? down * j->across + across : across * j->across + down];
    return t;
}

static bool is_there(const job *j, const pair *t)
{
    return t->mark->sum && t->other->sum && t->mark->sum == sum_of(j, &t->p) && t->other->sum == sum_of(j, &t->q);
}

/* Numbers that are in their place get their mirror and their marks. */
static void finish(const job *j, const pair *t, double error)
{
    if (t->other != t->mark)
        mirror(j, &t->p);
    t->mark->error = t->other->error = error;
    t->other->sum = sum_of(j, &t->q);
    t->mark->sum = sum_of(j, &t->p);
}

/* One more tile, found or kept (method NULL), which nothing is told of: it took no time. */
static void count(job *j, const place *p, const char *method, double error, tp_kernel *told)
{
    j->done += (double)p->rows * (double)p->columns;
    if (!told->method[0])
        snprintf(told->method, sizeof told->method, "%s", method ? method : "exact rules");
    told->error = fmax(told->error, error);
    if (j->spec->progress && method)
        j->spec->progress(j->done / j->all, j->spec->context);
}

/* The tile, and the one that mirrors it, if they are not there. */
static int solve(job *j, size_t down, size_t across, tp_kernel *told, ad_error *error)
{
    pair t = pair_of(j, down, across);
    tp_kernel kernel = { 0 };
    bool there = is_there(j, &t);
    if (!there) {
        t.mark->sum = t.other->sum = 0;
        if (find(j, &t.p, at(j, t.p.row, t.p.column), j->rows2, &kernel, error)) {
            tp_kernel_free(&kernel);
            return -1;
        }
        finish(j, &t, kernel.error);
    }
    j->tiles->kept += there;
    count(j, &t.p, there ? NULL : kernel.method, t.mark->error, told);
    tp_kernel_free(&kernel);
    return 0;
}

/* ---- by ranks ---- */
/* Numbers of the tiles that rank 0 does not have, `down * across + across`, to all; how many. */
static size_t list_missing(job *j, size_t *missing, tp_kernel *told)
{
    size_t n = 0;
    for (size_t k = 0; k < j->down * j->across && tp_rank() == 0; k++) {
        if (!j->x2 && k / j->across > k % j->across)
            continue;
        pair t = pair_of(j, k / j->across, k % j->across);
        if (!is_there(j, &t)) {
            t.mark->sum = t.other->sum = 0;
            missing[n++] = k;
            continue;
        }
        j->tiles->kept++;
        count(j, &t.p, NULL, t.mark->error, told);
    }
    tp_ranks_broadcast(&n, sizeof n);
    tp_ranks_broadcast(missing, n * sizeof *missing);
    return n;
}

/* What a rank found of a tile, to rank 0 and there to its place. */
static void bring(job *j, size_t tile, int from, void *numbers, tp_kernel *kernel, tp_kernel *told)
{
    place p = place_of(j, tile / j->across, tile % j->across);
    size_t bytes = p.rows * p.columns * number_size(j);
    if (from != 0 && tp_rank() == from) {
        tp_ranks_send(numbers, bytes);
        tp_ranks_send(&kernel->error, sizeof kernel->error);
    }
    if (tp_rank() != 0)
        return;
    if (from != 0) {
        tp_ranks_receive(from, numbers, bytes);
        tp_ranks_receive(from, &kernel->error, sizeof kernel->error);
    }
    pair t = pair_of(j, tile / j->across, tile % j->across);
    for (size_t i = 0; i < p.rows; i++)
        memcpy(at(j, p.row + i, p.column), (char *)numbers + i * p.columns * number_size(j),
               p.columns * number_size(j));
    finish(j, &t, kernel->error);
    count(j, &p, kernel->method, kernel->error, told);
}

/* Round by round each rank finds a tile, and rank 0 takes them. */
static int solve_by_ranks(job *j, tp_kernel *told, ad_error *error)
{
    size_t ranks = (size_t)tp_n_ranks(), rank = (size_t)tp_rank(), tiles = j->down * j->across;
    size_t *missing = ad_alloc(tiles, sizeof *missing, "the tiles", error);
    void *numbers = ad_alloc(j->side * j->side, number_size(j), "a tile", error);
    int status = tp_ranks_agree(missing && numbers ? 0 : -1, error);
    size_t n = status ? 0 : list_missing(j, missing, told);
    for (size_t k = 0; k < n && !status; k += ranks) {
        tp_kernel kernel = { 0 };
        if (k + rank < n) {
            place p = place_of(j, missing[k + rank] / j->across, missing[k + rank] % j->across);
            status = find(j, &p, numbers, p.columns, &kernel, error);
        }
        status = tp_ranks_agree(status, error);
        for (size_t r = 0; r < ranks && k + r < n && !status; r++)
            bring(j, missing[k + r], (int)r, numbers, &kernel, told);
        tp_kernel_free(&kernel);
    }
    ad_free(missing);
    ad_free(numbers);
    return status;
}

size_t tp_tiles_count(size_t rows, size_t rows2, size_t side)
{
    side = side ? side : SIDE;
    return ((rows + side - 1) / side) * ((rows2 + side - 1) / side);
}

/* The job's sizes, checked. */
static int begin(job *j, size_t rows2, ad_error *error)
{
    static const tp_limit_spec preset = { 0 };
    if (!j->program)
        return ad_fail(error, "limit: no program (NULL)");
    j->spec = j->spec ? j->spec : &preset;
    j->rows2 = j->x2 ? rows2 : j->rows;
    j->features = nn_features(j->program->net);
    if (!j->rows || !j->rows2)
        return ad_fail(error, "limit: %s inputs have no rows", j->rows ? "the second" : "the first");
    if (j->program->meets)
        return ad_fail(error, "limit: where samples meet, as in batch normalisation, a kernel is one of its whole "
                              "batch, and has no tiles");
    j->down = (j->rows + j->side - 1) / j->side;
    j->across = (j->rows2 + j->side - 1) / j->side;
    j->all = j->x2 ? (double)j->rows * (double)j->rows2 : 0;
    for (size_t d = 0; d < j->down && !j->x2; d++)
        for (size_t a = d; a < j->across; a++) {
            place p = place_of(j, d, a);
            j->all += (double)p.rows * (double)p.columns;
        }
    return 0;
}

int tp_limit_tiles(tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                   size_t rows2, const tp_limit_spec *spec, tp_tiles *tiles, tp_kernel *told, ad_error *error)
{
    job j = { .program = program,
              .which = which,
              .x = x,
              .x2 = x2,
              .rows = rows,
              .side = tiles->side ? tiles->side : SIDE,
              .tiles = tiles,
              .training = tiles->training,
              .single = tiles->single,
              .spec = spec };
    bool spread = tiles->spread && tp_n_ranks() > 1;
    memset(told, 0, sizeof *told);
    int status = begin(&j, rows2, error);
    tiles->kept = 0;
    if (spread && !(status = tp_ranks_agree(status, error)))
        status = solve_by_ranks(&j, told, error);
    for (size_t d = 0; d < j.down && !status && !spread; d++)
        for (size_t a = x2 ? 0 : d; a < j.across && !status; a++)
            status = solve(&j, d, a, told, error);
    told->rows = rows;
    told->rows2 = j.rows2;
    told->n_terms = 1;
    return status;
}

/* ---- a kernel that stays with the ranks ---- */
/* This rank's blocks. Block (i, k) of the matrix, by columns, is tile (k, i) of the kernel, by rows; of one set those
 * on and below the diagonal are found. */
static int fill(job *j, tp_spread *s, tp_kernel *told, ad_error *error)
{
    for (size_t k = 0; k < s->local[1]; k += s->side)
        for (size_t i = 0; i < s->local[0]; i += s->side) {
            tp_kernel kernel = { 0 };
            place p = place_of(j, tp_spread_whole(s, 1, k) / j->side, tp_spread_whole(s, 0, i) / j->side);
            if (!j->x2 && p.column < p.row)
                continue;
            int status = find(j, &p, s->values + k * s->local[0] + i, s->local[0], &kernel, error);
            if (!status)
                count(j, &p, kernel.method, kernel.error, told);
            tp_kernel_free(&kernel);
            if (status)
                return -1;
        }
    return 0;
}

/* The largest error, and a method of a rank that had a block. */
static int tell_all(tp_kernel *told, ad_error *error)
{
    size_t size = sizeof told->method, ranks = (size_t)tp_n_ranks();
    double *errors = ad_alloc(ranks * (size + 1), sizeof *errors, "what ranks found", error);
    int status = tp_ranks_agree(errors ? 0 : -1, error);
    if (!status) {
        double *letters = errors + ranks + (size_t)tp_rank() * size;
        errors[tp_rank()] = told->error;
        for (size_t k = 0; k < size; k++)
            letters[k] = (double)told->method[k];
        tp_ranks_sum(errors, ranks * (size + 1));
        for (size_t r = ranks; r-- > 0;) {
            told->error = fmax(told->error, errors[r]);
            for (size_t k = 0; k < size && errors[ranks + r * size] > 0; k++)
                told->method[k] = (char)errors[ranks + r * size + k];
        }
    }
    ad_free(errors);
    return status;
}

tp_spread *tp_spread_limit(tp_program *program, tp_kernel_kind which, bool training, const double *x, size_t rows,
                           const double *x2, size_t rows2, const tp_limit_spec *spec, tp_kernel *told, ad_error *error)
{
    job j = { .program = program,
              .which = which,
              .x = x,
              .x2 = x2,
              .rows = rows,
              .side = tp_spread_side(x2 ? rows2 : rows),
              .training = training,
              .spec = spec };
    memset(told, 0, sizeof *told);
    if (tp_ranks_agree(begin(&j, rows2, error), error))
        return NULL;
    j.all /= tp_n_ranks();
    tp_spread *s = tp_spread_new(j.rows2, rows, j.side, error);
    if (!s)
        return NULL;
    int status = tp_ranks_agree(fill(&j, s, told, error), error);
    if (!status && !x2)
        tp_spread_clear(s);
    if (status || tell_all(told, error)) {
        tp_spread_free(s);
        return NULL;
    }
    told->rows = rows;
    told->rows2 = j.rows2;
    told->n_terms = 1;
    return s;
}
