/* sampled_kernel.c: the kernel of a program that was run on samples, from the sites of its backward pass. */
#include "tp/executor/sampler.h"

#include "autodiff/base/base.h"
#include "autodiff/trace/trace.h"

#include <cblas.h>
#include <string.h>

/* The axis of the kernel's samples: where they meet, a site's own samples are summed over like any of its axes. */
static ad_axis row_axis(const tp_sampler *s)
{
    return s->program->coupled ? s->program->sample : nn_batch(s->program->net);
}

/* The axes of a site beyond the kernel's samples, the seed and the parameter's: time, positions. */
static ad_shape free_axes(const tp_sampler *s, const ad_site *site)
{
    ad_shape axes = { 0 };
    const ad_shape *shapes[2] = { ad_shape_get(site->delta), ad_shape_get(site->y.graph ? site->y : site->delta) };
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < shapes[k]->rank; i++) {
            ad_axis axis = shapes[k]->axes[i];
            if (!ad_has(ad_shape_get(site->param), axis) && !ad_has(&axes, axis) && !ad_same(axis, s->program->seed) &&
                !ad_same(axis, row_axis(s)))
                axes.axes[axes.rank++] = axis;
        }
    return axes;
}

/* A factor of a site, y or delta, as (points of its free axes, samples, the parameter's axes `over`), row-major; *copy,
 * to be freed, where it does not lie like this already. */
static const double *factor_rows(const tp_sampler *s, ad_var x, const ad_shape *free, const ad_shape *over,
                                 size_t *length, double **copy)
{
    ad_axis batch = row_axis(s);
    const ad_shape *shape = ad_shape_get(x);
    tp_loops l = { 0 };
    size_t total = tp_sampler_size(s, batch);
    *length = 1;
    for (int i = 0; i < over->rank; i++)
        *length *= tp_sampler_size(s, over->axes[i]);
    for (int i = 0; i < free->rank; i++)
        total *= tp_sampler_size(s, free->axes[i]);
    size_t left = total * *length;
    for (int i = 0; i < free->rank; i++) {
        left /= tp_sampler_size(s, free->axes[i]);
        tp_loops_add(&l, tp_sampler_size(s, free->axes[i]), tp_sampler_stride(s, shape, free->axes[i]), left);
    }
    tp_loops_add(&l, tp_sampler_size(s, batch), tp_sampler_stride(s, shape, batch), *length);
    left = *length;
    for (int i = 0; i < over->rank; i++) {
        left /= tp_sampler_size(s, over->axes[i]);
        tp_loops_add(&l, tp_sampler_size(s, over->axes[i]), tp_sampler_stride(s, shape, over->axes[i]), left);
    }
    if (tp_loops_alike(&l))
        return s->values[x.id];
    *copy = tp_sampler_numbers(s, total * *length, "the sites of a kernel");
    if (*copy)
        tp_loops_copy(&l, s->values[x.id], *copy);
    return *copy;
}

/* A site's two factors: rows over the axes that met y, and over the rest. NULL y: 1. */
typedef struct {
    const double *y, *delta;
    double *copy_y, *copy_delta;
    ad_shape over, rest;
    size_t y_length, delta_length, points;
} factors;

static int take_factors(const tp_sampler *s, const ad_site *site, factors *f)
{
    const ad_shape *w = ad_shape_get(site->param);
    ad_shape free = free_axes(s, site);
    *f = (factors){ .points = 1 };
    for (int i = 0; i < w->rank; i++) {
        bool meets = site->y.graph && ad_has(&site->over, w->axes[i]);
        ad_shape *to = meets ? &f->over : &f->rest;
        to->axes[to->rank++] = w->axes[i];
        if (site->y.graph && !meets && ad_has(ad_shape_get(site->y), w->axes[i]))
            return tp_sampler_refuse(s, site->delta.id,
                                     "a parameter that stays aligned with its argument has no sampled kernel");
    }
    for (int i = 0; i < free.rank; i++)
        f->points *= tp_sampler_size(s, free.axes[i]);
    f->delta = factor_rows(s, site->delta, &free, &f->rest, &f->delta_length, &f->copy_delta);
    if (site->y.graph)
        f->y = factor_rows(s, site->y, &free, &f->over, &f->y_length, &f->copy_y);
    return f->delta && (f->y || !site->y.graph) ? 0 : -1;
}

typedef struct {
    size_t first, rows, second, rows2; /* the rows that are the first and the second inputs, */
    size_t total, total2;              /* of so many in their passes */
    double *gram[2];
} kernel_frame;

static void gram(const kernel_frame *k, int which, const double *a, const double *b, size_t length, size_t p, size_t q)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)k->rows, (int)k->rows2, (int)length, 1,
                a + (p * k->total + k->first) * length, (int)length, b + (q * k->total2 + k->second) * length,
                (int)length, 0, k->gram[which], (int)k->rows2);
}

/* weight <delta, delta'> <y, y'> of two sites of one parameter; where one uses W and the other its transpose, y meets
 * delta'. */
static int add_pair(const tp_sampler *s, const kernel_frame *k, const ad_site *site, const factors *a, const factors *b,
                    double weight, double *out)
{
    bool alike = ad_shape_same(&a->over, &b->over), crossed = ad_shape_same(&a->over, &b->rest) && a->y && b->y;
    if (!alike && !crossed)
        return tp_sampler_refuse(s, site->delta.id,
                                 "two uses of a parameter over different axes have no sampled kernel");
    const double *b_delta = alike ? b->delta : b->y, *b_y = alike ? b->y : b->delta;
    double pairs = (double)(a->points * b->points) * (double)(k->rows * k->rows2);
    if (tp_count_work(s, pairs * (double)(a->delta_length + (a->y ? a->y_length : 0))))
        return -1;
    for (size_t p = 0; p < a->points; p++)
        for (size_t q = 0; q < b->points; q++) {
            gram(k, 0, a->delta, b_delta, a->delta_length, p, q);
            if (a->y)
                gram(k, 1, a->y, b_y, a->y_length, p, q);
            for (size_t i = 0; i < k->rows * k->rows2; i++)
                out[i] += weight * k->gram[0][i] * (a->y ? k->gram[1][i] : 1);
        }
    return 0;
}

/* ---- gradients entry by entry ---- */
static int count_widths(const tp_sampler *s, const ad_shape *shape)
{
    int count = 0;
    for (int i = 0; i < shape->rank; i++)
        count += ad_axis_kind(s->graph, shape->axes[i]) == AD_WIDTH;
    return count;
}

/* The axes of a parameter that a site's y is not summed over. */
static ad_shape rest_of(const ad_site *site)
{
    const ad_shape *w = ad_shape_get(site->param);
    return site->y.graph ? ad_shape_minus(w, &site->over) : *w;
}

/* Is the kernel between two sites <delta, delta'> <y, y'>, or that of a matrix and its transpose? */
static bool has_factors(const ad_site *a, const ad_site *b)
{
    ad_shape rest = rest_of(a), of_b = rest_of(b);
    bool crossed = a->y.graph && b->y.graph && ad_shape_same(&a->over, &of_b);
    return ad_shape_same(&rest, &of_b) || crossed;
}

/* Does the gradient of a parameter with one width at most go entry by entry: where its uses differ in what they sum
 * over, stay aligned with it, or are summed over a width that it has not? */
static bool goes_by_entries(const tp_sampler *s, int param)
{
    const tp_program *program = s->program;
    const ad_site *first = NULL;
    bool by_entries = false;
    for (int i = 0; i < program->n_sites; i++) {
        const ad_site *site = &program->sites[i];
        if (site->param.id != param)
            continue;
        ad_shape rest = rest_of(site), free = free_axes(s, site);
        ad_shape aligned = site->y.graph ? ad_shape_meet(&rest, ad_shape_get(site->y)) : (ad_shape){ 0 };
        first = first ? first : site;
        by_entries |= !has_factors(first, site) || aligned.rank > 0 || count_widths(s, &free) > 0;
    }
    return by_entries && count_widths(s, ad_shape_get((ad_var){ (ad_graph *)s->graph, param })) < 2;
}

/* Loops over a site's free axes, its rows and the parameter's width; strides of y, of delta and of the gradient. */
typedef struct {
    int rank;
    size_t size[AD_MAX_RANK + 2], y[AD_MAX_RANK + 2], delta[AD_MAX_RANK + 2], to[AD_MAX_RANK + 2];
} gradient_loops;

static void add_loop(const tp_sampler *s, gradient_loops *l, const ad_site *site, ad_axis axis, size_t to)
{
    l->size[l->rank] = tp_sampler_size(s, axis);
    l->y[l->rank] = site->y.graph ? tp_sampler_stride(s, ad_shape_get(site->y), axis) : 0;
    l->delta[l->rank] = tp_sampler_stride(s, ad_shape_get(site->delta), axis);
    l->to[l->rank++] = to;
}

static double turns(const gradient_loops *l)
{
    double turns = 1;
    for (int i = 0; i < l->rank; i++)
        turns *= (double)l->size[i];
    return turns;
}

static void add_products(const gradient_loops *l, const double *y, const double *delta, double *to)
{
    size_t at[AD_MAX_RANK + 2] = { 0 }, of_y = 0, of_delta = 0, of_to = 0;
    int last = l->rank - 1, axis;
    do {
        for (size_t i = 0; i < l->size[last]; i++)
            to[of_to + i * l->to[last]] += (y ? y[of_y + i * l->y[last]] : 1) * delta[of_delta + i * l->delta[last]];
        for (axis = last - 1; axis >= 0; axis--) {
            of_y += l->y[axis];
            of_delta += l->delta[axis];
            of_to += l->to[axis];
            if (++at[axis] < l->size[axis])
                break;
            of_y -= l->y[axis] * at[axis];
            of_delta -= l->delta[axis] * at[axis];
            of_to -= l->to[axis] * at[axis];
            at[axis] = 0;
        }
    } while (axis >= 0);
}

/* The gradients (rows, width) of a parameter at entry number `entry` of its fixed axes. */
static int gradient_at(const tp_sampler *s, int param, size_t entry, size_t length, double *to)
{
    const tp_program *program = s->program;
    for (int i = 0; i < program->n_sites; i++) {
        const ad_site *site = &program->sites[i];
        if (site->param.id != param)
            continue;
        const ad_shape *w = ad_shape_get(site->param);
        ad_shape free = free_axes(s, site);
        gradient_loops l = { 0 };
        size_t of_y = 0, of_delta = 0, left = entry;
        for (int k = 0; k < free.rank; k++)
            add_loop(s, &l, site, free.axes[k], 0);
        add_loop(s, &l, site, row_axis(s), length);
        for (int k = w->rank - 1; k >= 0; k--) {
            size_t size = tp_sampler_size(s, w->axes[k]);
            if (ad_axis_kind(s->graph, w->axes[k]) == AD_WIDTH) {
                add_loop(s, &l, site, w->axes[k], 1);
                continue;
            }
            of_y += left % size * (site->y.graph ? tp_sampler_stride(s, ad_shape_get(site->y), w->axes[k]) : 0);
            of_delta += left % size * tp_sampler_stride(s, ad_shape_get(site->delta), w->axes[k]);
            left /= size;
        }
        if (tp_count_work(s, turns(&l)))
            return -1;
        add_products(&l, site->y.graph ? s->values[site->y.id] + of_y : NULL, s->values[site->delta.id] + of_delta, to);
    }
    return 0;
}

/* weight times the inner products of a parameter's gradients. */
static int add_by_entries(tp_sampler *s, const kernel_frame *k, int param, double weight, double *out)
{
    const ad_shape *w = ad_shape_get((ad_var){ (ad_graph *)s->graph, param });
    size_t length = 1, entries = 1;
    for (int i = 0; i < w->rank; i++) {
        bool wide = ad_axis_kind(s->graph, w->axes[i]) == AD_WIDTH;
        *(wide ? &length : &entries) *= tp_sampler_size(s, w->axes[i]);
    }
    double *first = tp_sampler_numbers(s, k->total * length, "a gradient"), *second = first;
    if (first && s->n_passes > 1)
        second = tp_sampler_numbers(s, k->total2 * length, "a gradient");
    int status = first && second ? 0 : -1;
    for (size_t e = 0; e < entries && !status; e++) {
        for (int pass = 0; pass < s->n_passes && !status; pass++) {
            double *to = pass ? second : first;
            tp_sampler_enter(s, pass);
            memset(to, 0, (pass ? k->total2 : k->total) * length * sizeof *to);
            status = gradient_at(s, param, e, length, to);
        }
        status = status ? status : tp_count_work(s, (double)(k->rows * k->rows2) * (double)length);
        if (!status)
            gram(k, 0, first, second, length, 0, 0);
        for (size_t i = 0; i < k->rows * k->rows2 && !status; i++)
            out[i] += weight * k->gram[0][i];
    }
    if (second != first)
        ad_free(second);
    ad_free(first);
    return status;
}

/* The factors of sites of one parameter, in one pass. */
static int take_all(tp_sampler *s, int pass, const int *sites, int n, factors *all)
{
    tp_sampler_enter(s, pass);
    for (int i = 0; i < n; i++)
        if (take_factors(s, &s->program->sites[sites[i]], &all[i]))
            return -1;
    return 0;
}

/* weight times the products of all pairs of these sites of one parameter; `all` has room for twice as many. */
static int add_pairs(tp_sampler *s, const kernel_frame *k, const int *sites, int n, factors *all, double weight,
                     double *out)
{
    factors *second = all + (s->n_passes > 1 ? n : 0);
    int status = 0;
    memset(all, 0, 2 * (size_t)n * sizeof *all);
    for (int pass = 0; pass < s->n_passes && !status; pass++)
        status = take_all(s, pass, sites, n, pass ? second : all);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n && !status; j++)
            status = add_pair(s, k, &s->program->sites[sites[i]], &all[i], &second[j], weight, out);
    for (int i = 0; i < 2 * n; i++) {
        ad_free(all[i].copy_y);
        ad_free(all[i].copy_delta);
    }
    return status;
}

/* Numbers of sites, in their order, next to others of the same parameter; those of node `id` start at first[id]. */
static void sort_sites(const tp_program *program, int *first, int *sorted)
{
    for (int i = 0; i < program->n_sites; i++)
        first[program->sites[i].param.id + 1]++;
    for (int id = 0; id < program->n_nodes; id++)
        first[id + 1] += first[id];
    for (int i = 0; i < program->n_sites; i++)
        sorted[first[program->sites[i].param.id]++] = i;
    for (int id = program->n_nodes; id > 0; id--)
        first[id] = first[id - 1];
    first[0] = 0;
}

/* By the weights of all parameters, and after them that of the program's probe, if it has one. */
static int sum_weighted(tp_sampler *s, const double *weights, const kernel_frame *k, double *out)
{
    const tp_program *program = s->program;
    const nn_net *net = program->net;
    size_t n = (size_t)program->n_sites;
    int n_params = nn_n_params(net), probed = program->probe >= 0;
    factors *all = ad_alloc(2 * n + 1, sizeof *all, "sites", s->error);
    int *first = ad_arena_alloc(s->arena, (size_t)program->n_nodes + 2, sizeof *first);
    int *sorted = ad_arena_alloc(s->arena, n + 1, sizeof *sorted);
    int status = all ? 0 : -1;
    if (!status && (!first || !sorted))
        status = ad_fail(s->error, "out of memory for %zu sites", n);
    if (!status)
        sort_sites(program, first, sorted);
    for (int p = 0; p < n_params + probed && !status; p++) {
        int param = p < n_params ? nn_param(net, p).id : program->probe;
        if (!(weights[p] > 0))
            continue;
        status = goes_by_entries(s, param)
                     ? add_by_entries(s, k, param, weights[p], out)
                     : add_pairs(s, k, sorted + first[param], first[param + 1] - first[param], all, weights[p], out);
    }
    ad_free(all);
    return status ? -1 : 0;
}

static int sum_sites(tp_sampler *s, tp_kernel_kind which, const kernel_frame *k, double *out)
{
    const tp_program *program = s->program;
    int n_params = nn_n_params(program->net), probed = program->probe >= 0, status = 0;
    double *weights = tp_sampler_numbers(s, (size_t)n_params + 1, "weights");
    if (!weights)
        return -1;
    for (int p = 0; p <= n_params; p++)
        weights[p] = which == TP_NTK || (probed && p == n_params) ? 1 : 0; /* omega of a probe is N(0, 1) */
    if (which == TP_NNGP && !probed)
        status = nn_readout_variances(program->net, &s->sizes, weights, s->error);
    if (!status)
        status = sum_weighted(s, weights, k, out);
    ad_free(weights);
    return status ? -1 : 0;
}

int tp_sampler_kernel(tp_sampler *s, const double *weights, double *out)
{
    size_t rows = s->passes[0].rows;
    kernel_frame k = { .rows = rows, .rows2 = rows, .total = rows, .total2 = rows };
    for (int i = 0; i < 2; i++)
        k.gram[i] = tp_sampler_numbers(s, rows * rows, "a kernel");
    memset(out, 0, rows * rows * sizeof *out);
    int status = k.gram[0] && k.gram[1] ? sum_weighted(s, weights, &k, out) : -1;
    ad_free(k.gram[0]);
    ad_free(k.gram[1]);
    return status;
}

int tp_sampler_pairs(tp_sampler *s, int param, tp_pairs_told each, void *context)
{
    int status = 0;
    for (int i = 0; i < s->program->n_sites + s->program->n_readouts && !status; i++) {
        const ad_site *site = &s->program->sites[i];
        factors f;
        if (site->param.id != param)
            continue;
        status = take_factors(s, site, &f);
        if (!status)
            status = each(context, site, &f.over, f.points * s->passes[0].rows, f.y, f.delta);
        ad_free(f.copy_y);
        ad_free(f.copy_delta);
    }
    return status;
}

int tp_sample_once(const tp_program *program, tp_kernel_kind which, const tp_sampling *spec, const double *x,
                   size_t rows, const double *x2, size_t rows2, double *out, ad_error *error)
{
    size_t features = nn_features(program->net), columns = x2 ? rows2 : rows;
    int held = ad_threads(spec->threads, error);
    if (!held)
        return -1;
    tp_sampler s = { .program = program,
                     .graph = program->graph,
                     .error = error,
                     .seed = spec->seed,
                     .independent = spec->independent,
                     .work = spec->work,
                     .simple = spec->simple,
                     .n_passes = spec->output != spec->output2 || (x2 && program->meets) ? 2 : 1,
                     .threads = held,
                     .sizes = { .n = spec->samples, .n_batches = 1 } };
    kernel_frame k = { .rows = rows, .rows2 = columns, .total = rows, .total2 = columns };
    s.sizes.batches[0].axis = nn_batch(program->net);
    s.passes[0].x = x;
    s.passes[1].x = x2 ? x2 : x;
    s.passes[0].rows = rows;
    s.passes[1].rows = columns;
    s.passes[0].output = spec->output;
    s.passes[1].output = spec->output2;
    double *both = NULL;
    int status = 0, before = ad_blas_begin(held);
    if (program->coupled)
        s.sizes.batches[s.sizes.n_batches++].axis = program->sample;
    if (x2 && s.n_passes == 1) { /* both as one batch */
        k.second = rows;
        k.total = k.total2 = s.passes[0].rows = rows + rows2;
        s.passes[0].x = both = tp_sampler_numbers(&s, (rows + rows2) * features, "inputs");
        status = both ? 0 : -1;
        if (both) {
            memcpy(both, x, rows * features * sizeof *x);
            memcpy(both + rows * features, x2, rows2 * features * sizeof *x2);
        }
    }
    double floor = spec->floor, largest;
    if (!status)
        status = tp_sampler_open(&s);
    if (!status)
        status = tp_find_vanishing(program, which, &floor, s.left_out, &largest, error);
    if (!status)
        status = tp_sampler_run(&s);
    for (int i = 0; i < 2; i++)
        k.gram[i] = tp_sampler_numbers(&s, rows * columns, "a kernel");
    memset(out, 0, rows * columns * sizeof *out);
    if (!status)
        status = k.gram[0] && k.gram[1] ? sum_sites(&s, which, &k, out) : -1;
    ad_free(k.gram[0]);
    ad_free(k.gram[1]);
    ad_free(both);
    tp_sampler_close(&s);
    ad_blas_end(before);
    return status;
}
