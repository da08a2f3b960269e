/* batched.c: a kernel whose samples meet, seed by seed.
 *
 * A seed is one output of one sample. Its adjoints run through the whole batch, so that those of all seeds at once grow
 * with the square of the batch. Here a run takes as many seeds as fit, and a store keeps of each what its products
 * need: the gradients of a parameter, or, where K is less work, the adjoints themselves. Two stores are multiplied,
 * Gram by Gram, and the next ones take their place. In the mean over outputs an output meets itself alone, and has its
 * own stores; else all outputs of all samples are one list.
 *
 * With G stores a list, a symmetric kernel fills 1 + G (G - 1) / 2 of them: the last one beside a store becomes the
 * next first. */
#include "nn/kernel/kernel.h"

#include <math.h>
#include <string.h>

enum {
    WHOLE_BYTES = 512 << 20, /* of the panels of all seeds at once */
    RUN_BYTES = 256 << 20,   /* of a run's plan */
    STORE_BYTES = 1 << 30,   /* of a store; there are two */
    SQUARE_BYTES = 64 << 20, /* of the product of two stores, and of adjoints times K */
    MAX_RUN = 64             /* seeds */
};

static size_t limit(size_t own, size_t preset)
{
    return own ? own : preset;
}

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

bool nn_too_many_seeds(const nn_call *c, size_t rows)
{
    double bytes = 0;
    for (int i = 0; i < c->n_panels; i++)
        bytes += (double)nn_size_of(c, &c->panels[i].order, rows) * (double)nn_bytes(c->model->type);
    return bytes * (c->symmetric && rows >= c->rows ? 1 : 2) > (double)limit(c->model->limits.whole, WHOLE_BYTES);
}

static size_t param_size(const nn_call *c, const nn_use *u)
{
    return nn_size_of(c, ad_shape_get(c->model->net->params[u->param]), 1);
}

/* ---- the layout ---- */
/* The bytes of a plan of so many seeds, 0 with an error. */
static size_t plan_bytes(nn_call *c, size_t seeds, ad_error *error)
{
    c->seeds = seeds;
    ad_plan_free(c->plan->plan);
    c->plan->plan = NULL;
    if (nn_prepare(c, error) != 0)
        return 0;
    return c->plan->plan ? ad_plan_bytes(c->plan->plan) + 1 : 1;
}

/* How many seeds a run takes: from what one and two of them take. */
static int choose_run(nn_call *c, size_t list, ad_error *error)
{
    const nn_kernel_limits *own = &c->model->limits;
    size_t one = plan_bytes(c, 1, error), two = one ? plan_bytes(c, 2, error) : 0, most = limit(own->run, RUN_BYTES);
    if (!two)
        return -1;
    size_t more = two > one ? two - one : 1;
    c->run = nn_smaller(nn_smaller(one < most ? 1 + (most - one) / more : 1, MAX_RUN), list);
    return plan_bytes(c, c->run, error) ? 0 : -1;
}

/* Places for all buffers; only counted where `work` is NULL. */
static size_t place(nn_call *c, char *work)
{
    size_t bytes = nn_bytes(c->model->type), total = 0, applied = 0, turns = 0, scratch = 0;
    bool formed = false;
    for (int i = 0; i < c->n_panels; i++)
        for (int side = 0; side < 2; side++) {
            nn_panel *p = &c->panels[i];
            c->seeds = p->kept ? c->store : c->run;
            p->data[side] = work ? work + total : NULL;
            total += rounded(nn_size_of(c, &p->order, c->max_rows) * bytes);
        }
    for (int i = 0; i < c->n_uses; i = nn_uses_end(c, i)) {
        nn_use *u = &c->uses[i];
        size_t size = param_size(c, u);
        if (u->met) {
            for (int k = i; k < nn_uses_end(c, i); k++) {
                size_t n = nn_size_of(c, &c->uses[k].sum, c->max_rows);
                turns = n > turns ? n : turns;
            }
            applied = u->n_rest > applied ? u->n_rest : applied;
            continue;
        }
        formed = true;
        scratch = size > scratch ? size : scratch;
        for (int side = 0; side < 2; side++) {
            u->store[side] = work ? work + total : NULL;
            total += rounded(c->store * size * bytes);
        }
    }
    applied *= turns * bytes; /* of one seed */
    c->applied_rows = applied ? nn_smaller(c->store, SQUARE_BYTES / applied + 1) : 0;
    struct {
        char **piece;
        size_t bytes;
    } pieces[] = { { &c->seed, c->run * c->max_rows * c->outputs * bytes },
                   { &c->product, c->store * c->store * bytes },
                   { &c->scratch, formed ? scratch * bytes : 0 },
                   { &c->met, turns * turns * bytes },
                   { &c->applied, c->applied_rows * applied } };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        *pieces[i].piece = work && pieces[i].bytes ? work + total : NULL;
        total += rounded(pieces[i].bytes);
    }
    return total;
}

int nn_seeds_lay_out(nn_call *c, ad_error *error)
{
    size_t bytes = nn_bytes(c->model->type), list = c->max_rows * (c->mean ? 1 : c->outputs), one = 0;
    c->n_panels = c->n_terms = c->n_uses = 0; /* those of all seeds at once */
    if (!(c->tangent = nn_tangent_of(c->model->net, c->variant, c->of, true, error)))
        return -1;
    c->by_seeds = true;
    c->tile = c->max_rows;
    c->seeds = 1;
    if (nn_find_terms(c, error) != 0)
        return -1;
    for (int i = 0; i < c->n_uses; i++)
        if (c->uses[i].met)
            c->panels[c->uses[i].d].kept = true;
    for (int i = 0; i < c->n_panels; i++)
        one += c->panels[i].kept ? nn_size_of(c, &c->panels[i].order, c->max_rows) * bytes : 0;
    for (int i = 0; i < c->n_uses; i = nn_uses_end(c, i))
        one += c->uses[i].met ? 0 : param_size(c, &c->uses[i]) * bytes;
    size_t square = (size_t)sqrt((double)SQUARE_BYTES / (double)bytes);
    c->store = nn_smaller(nn_smaller(limit(c->model->limits.store, STORE_BYTES) / (one + 1) + 1, square), list);
    if (choose_run(c, c->store, error) != 0 || nn_make_work(c, place(c, NULL), error) != 0)
        return -1;
    place(c, c->kernel->work);
    ad_bind(c->plan->plan, c->tangent->seed, c->seed);
    return 0;
}

/* ---- one store ---- */
/* A piece of a list of seeds: of output `output` in the mean, else of all. */
typedef struct {
    const double *x;
    size_t rows; /* of the batch */
    size_t output, first, count;
} piece;

static size_t output_of(const nn_call *c, const piece *p, size_t k)
{
    return c->mean ? p->output : (p->first + k) / p->rows;
}

static size_t sample_of(const nn_call *c, const piece *p, size_t k)
{
    return c->mean ? p->first + k : (p->first + k) % p->rows;
}

static void set_seeds(nn_call *c, const piece *p, size_t first)
{
    size_t bytes = nn_bytes(c->model->type);
    memset(c->seed, 0, c->seeds * p->rows * c->outputs * bytes);
    for (size_t s = 0; s < c->seeds; s++) {
        size_t at = (s * p->rows + sample_of(c, p, first + s)) * c->outputs + output_of(c, p, first + s);
        if (c->model->type == AD_FLOAT)
            ((float *)(void *)c->seed)[at] = 1;
        else
            ((double *)(void *)c->seed)[at] = 1;
    }
}

static int fill_store(nn_call *c, int side, const piece *p, ad_error *error)
{
    size_t bytes = nn_bytes(c->model->type);
    for (size_t first = 0; first < p->count; first += c->run) {
        c->seeds = nn_smaller(c->run, p->count - first);
        set_seeds(c, p, first);
        if (nn_run(c, c->symmetric ? 0 : side, p->x, 0, p->rows, error) != 0)
            return -1;
        for (int i = 0; i < c->n_panels; i++) {
            const nn_panel *panel = &c->panels[i];
            size_t of_one = nn_size_of(c, &panel->order, p->rows) / (panel->sampled ? c->seeds : 1) * bytes;
            nn_fill_panel(c, panel, p->rows, panel->data[side] + (panel->kept ? first * of_one : 0));
        }
        int blas_threads = ad_blas_begin(c->model->threads);
        for (int i = 0; i < c->n_uses; i = nn_uses_end(c, i)) {
            const nn_use *u = &c->uses[i];
            if (u->met)
                continue;
            size_t size = param_size(c, u) * bytes;
            for (int k = i; k < nn_uses_end(c, i); k++) {
                const nn_use *one = &c->uses[k];
                nn_form(c, one, nn_summed(c, one, p->rows), c->seeds, c->panels[one->d].data[side],
                        one->y == NN_NO_PANEL ? NULL : c->panels[one->y].data[side], (nn_cut){ 0, 1, 1 },
                        u->store[side] + first * size, k > i);
            }
        }
        ad_blas_end(blas_threads);
    }
    return 0;
}

/* ---- two stores ---- */
/* product += weight <d, K d'> over all pairs of uses of one parameter; of a store with itself, of its upper triangle in
 * so many steps. */
enum { STEPS = 8 };

static void add_met(nn_call *c, int begin, const piece *p, const piece *p2, int other)
{
    size_t bytes = nn_bytes(c->model->type), rest = c->uses[begin].n_rest;
    int n = nn_uses_end(c, begin) - begin;
    for (int k = 0; k < n * n; k++) {
        const nn_use *a = &c->uses[begin + k / n], *b = &c->uses[begin + k % n];
        size_t turns = nn_size_of(c, &a->sum, p->rows), turns2 = nn_size_of(c, &b->sum, p2->rows);
        nn_meet(c, a, turns, c->panels[a->y].data[0], b, turns2, c->panels[b->y].data[other]);
        for (size_t first = 0, count; first < p->count; first += count) {
            size_t least = other ? 0 : first, step = other ? p->count : (p->count + STEPS - 1) / STEPS;
            count = nn_smaller(nn_smaller(c->applied_rows, step), p->count - first);
            nn_apply_met(c, count, turns, turns2, rest, c->panels[a->d].data[0] + first * turns * rest * bytes);
            nn_gram_into(c, count, p2->count - least, turns2 * rest, c->weights[a->param], c->applied,
                         c->panels[b->d].data[other] + least * turns2 * rest * bytes, 1,
                         c->product + (first * p2->count + least) * bytes, p2->count, false);
        }
    }
}

/* product (p->count, p2->count); of a store with itself, its upper triangle. */
static void multiply(nn_call *c, const piece *p, const piece *p2, int other)
{
    int blas_threads = ad_blas_begin(c->model->threads);
    memset(c->product, 0, p->count * p2->count * nn_bytes(c->model->type));
    for (int i = 0; i < c->n_uses; i = nn_uses_end(c, i)) {
        const nn_use *u = &c->uses[i];
        if (u->met)
            add_met(c, i, p, p2, other);
        else
            nn_gram(c, p->count, p2->count, param_size(c, u), c->weights[u->param], u->store[0], u->store[other], 1,
                    c->product, other == 0);
    }
    ad_blas_end(blas_threads);
}

/* Adds the product to the result, (N, M, O, O) or (N, M). */
static void write_out(const nn_call *c, const piece *p, const piece *p2, int other, double *out)
{
    size_t outs = c->outs;
    for (size_t a = 0; a < p->count; a++)
        for (size_t b = other ? 0 : a; b < p2->count; b++) {
            double value = nn_value(c->product, a * p2->count + b, c->model->type) / (c->mean ? (double)c->outputs : 1);
            size_t i = sample_of(c, p, a), j = sample_of(c, p2, b);
            size_t o = c->mean ? 0 : output_of(c, p, a), q = c->mean ? 0 : output_of(c, p2, b);
            out[((i * p2->rows + j) * outs + o) * outs + q] += value;
            if (c->symmetric && (i != j || o != q))
                out[((j * p->rows + i) * outs + q) * outs + o] += value;
        }
}

/* ---- all of them ---- */
static void swap_sides(nn_call *c)
{
    for (int i = 0; i < c->n_panels; i++) {
        char *kept = c->panels[i].data[0];
        c->panels[i].data[0] = c->panels[i].data[1];
        c->panels[i].data[1] = kept;
    }
    for (int i = 0; i < c->n_uses; i++) {
        char *kept = c->uses[i].store[0];
        c->uses[i].store[0] = c->uses[i].store[1];
        c->uses[i].store[1] = kept;
    }
}

/* What the whole is made of: numbers of seeds, and of pairs of them. */
typedef struct {
    double seeds, pairs;
} tally;

/* One list against another; counts instead, where `count` is not NULL. */
static int compute_list(nn_call *c, piece p, piece p2, size_t list, size_t list2, double *out, tally *count,
                        ad_error *error)
{
    size_t held = list; /* the first seed of the store of side 1 */
    for (p.first = 0; p.first < list; p.first += c->store) {
        p.count = nn_smaller(c->store, list - p.first);
        if (c->symmetric && held == p.first && p.first > 0) {
            if (!count)
                swap_sides(c);
        } else if (count) {
            count->seeds += (double)p.count;
        } else if (fill_store(c, 0, &p, error) != 0) {
            return -1;
        }
        size_t least = c->symmetric ? p.first : 0, stores = (list2 - least + c->store - 1) / c->store;
        for (size_t k = stores; k-- > 0;) {
            p2.first = least + k * c->store;
            p2.count = nn_smaller(c->store, list2 - p2.first);
            int other = c->symmetric && k == 0 ? 0 : 1;
            if (other)
                held = p2.first;
            if (count) {
                count->seeds += other ? (double)p2.count : 0;
                count->pairs += (double)p.count * (double)p2.count / (other ? 1 : 2);
                continue;
            }
            if (other && fill_store(c, 1, &p2, error) != 0)
                return -1;
            multiply(c, &p, &p2, other);
            write_out(c, &p, &p2, other, out);
        }
    }
    return 0;
}

/* Seconds of the whole, from a run after the first one and a product of stores, whatever they hold. */
static int estimate(nn_call *c, const piece *p, const tally *all, double *seconds, ad_error *error)
{
    enum { SEEDS = 8, PAIRS = 128 };
    piece some = *p;
    double start = 0;
    for (int turn = 0; turn < 2; turn++) {
        some.count = turn ? nn_smaller(c->run, SEEDS) : 1;
        start = ad_seconds();
        if (fill_store(c, 0, &some, error) != 0)
            return -1;
    }
    *seconds = (ad_seconds() - start) / (double)some.count * all->seeds;
    some.count = nn_smaller(c->store, PAIRS);
    start = ad_seconds();
    multiply(c, &some, &some, 0);
    *seconds += (ad_seconds() - start) / ((double)some.count * (double)(some.count + 1) / 2) * all->pairs;
    return 0;
}

int nn_seeds_compute(nn_call *c, const double *x, size_t rows, const double *x2, size_t rows2, double *out,
                     double *seconds, ad_error *error)
{
    size_t columns = c->symmetric ? rows : rows2, lists = c->mean ? c->outputs : 1, per = c->mean ? 1 : c->outputs;
    tally all = { 0 };
    piece p = { .x = x, .rows = rows }, p2 = { .x = c->symmetric ? x : x2, .rows = columns };
    if (out)
        memset(out, 0, rows * columns * c->outs * c->outs * sizeof *out);
    for (size_t o = 0; o < lists; o++) {
        p.output = p2.output = o;
        if (compute_list(c, p, p2, rows * per, columns * per, out, out ? NULL : &all, error) != 0)
            return -1;
    }
    return out ? 0 : estimate(c, &p, &all, seconds, error);
}
