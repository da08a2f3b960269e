/* readouts.c: readouts at the start of training at n = infinity.
 *
 * A readout of mean 0 is independent of all that it reads: averages with it tend to 0, as S^(-1/2) on samples, and are
 * made 0. Its draws are laid aside until a pass has shown what it reads; then they are made orthogonal to that and to
 * all that the basis has, among it what matrices have seen, and join the basis. Were they there from the start, what a
 * matrix sees of a vector that the readout reads, too (a skip to the outputs), would be kept less its part along the
 * readout, and nothing would be left of a readout that is orthogonal to both. */
#include "tp/executor/learner.h"

#include "autodiff/base/base.h"

#include <math.h>
#include <string.h>

/* Does node `to` depend on node `from`? */
static int depends(const tp_sampler *s, int from, int to)
{
    bool *marked = ad_alloc((size_t)to + 1, sizeof *marked, "a program's dependences", s->error);
    if (!marked)
        return -1;
    marked[from] = from <= to;
    for (int id = from + 1; id <= to; id++)
        for (int k = 0; k < ad_node_of(s->graph, id)->n_in; k++)
            marked[id] |= ad_node_of(s->graph, id)->in[k] >= from && marked[ad_node_of(s->graph, id)->in[k]];
    int found = to >= from && marked[to];
    ad_free(marked);
    return found;
}

/* Does it only average a vector over the width, one that does not depend on the parameter? 1, 0, -1 with an error. */
static int only_averages(const tp_sampler *s, const ad_site *site, ad_axis width)
{
    const ad_shape *own = ad_shape_get(site->param);
    int met = 0;
    for (int i = 0; i < own->rank; i++)
        met += ad_has(&site->over, own->axes[i]);
    if (!site->y.graph || met != 1 || !ad_has(&site->over, width))
        return 0;
    int circle = depends(s, site->param.id, site->y.id);
    return circle < 0 ? -1 : !circle;
}

static ad_axis width_of(const tp_sampler *s, int param)
{
    const ad_shape *shape = &ad_node_of(s->graph, param)->shape;
    for (int i = 0; i < shape->rank; i++)
        if (ad_axis_kind(s->graph, shape->axes[i]) == AD_WIDTH)
            return shape->axes[i];
    return (ad_axis){ 0 };
}

/* 1, 0, -1 with an error. */
static int is_readout(const tp_sampler *s, int param)
{
    const ad_node *node = ad_node_of(s->graph, param);
    int found = 0, is = 1;
    if (!s->values[param] || s->revealed_of[param] >= 0 || tp_count_widths(s->graph, &node->shape) != 1 ||
        fabs(node->init->mean) > 0 || !(tp_sampler_deviation(s, node->init) > 0))
        return 0;
    for (int i = 0; i < s->program->n_sites + s->program->n_readouts && is > 0; i++)
        if (s->program->sites[i].param.id == param) {
            found++;
            is = only_averages(s, &s->program->sites[i], width_of(s, param));
        }
    return found ? is : 0;
}

/* The space of a parameter's draws, and how many these are. */
static tp_space *space_of(tp_sampler *s, int param, int *count)
{
    size_t size = tp_sampler_size(s, width_of(s, param));
    *count = (int)(ad_elements(s->graph, &ad_node_of(s->graph, param)->shape, &s->sizes) / size);
    return tp_sampler_space(s, tp_meeting_out(param), size);
}

/* `count` rows of the basis from number `at` on leave it. */
static void remove_rows(tp_sampler *s, tp_space *space, int at, int count)
{
    size_t length = space->basis.length, after = (size_t)(space->basis.n - at - count);
    memmove(tp_row(&space->basis, at), space->basis.data + (size_t)(at + count) * length,
            after * length * sizeof(double));
    space->basis.n -= count;
    for (int id = 0; id < s->program->n_nodes; id++)
        if (s->values[id] && s->drawn_at[id] > at && s->revealed_of[id] < 0 &&
            tp_sampler_space(s, tp_meeting_out(id), length) == space)
            s->drawn_at[id] -= count;
}

int tp_readouts_lay_aside(tp_learner *l)
{
    tp_sampler *s = &l->s;
    int n = nn_n_params(s->program->net);
    if (!l->aside && !(l->aside = ad_arena_alloc(s->arena, (size_t)n + 1, sizeof *l->aside)))
        return ad_fail(s->error, "out of memory for %d parameters", n);
    for (int k = 0; k < n; k++) {
        int param = nn_param(s->program->net, k).id, is = is_readout(s, param), count;
        if (is < 0)
            return -1;
        tp_space *space = is ? space_of(s, param, &count) : NULL;
        if (is && !space)
            return -1;
        if (is)
            remove_rows(s, space, s->drawn_at[param], count);
        l->aside[k] = is;
    }
    return 0;
}

typedef struct {
    tp_sampler *s;
    tp_rows met;
} reading;

/* What a readout is averaged with. */
static int take_met(void *context, const ad_site *site, const ad_shape *over, size_t count, const double *y,
                    const double *delta)
{
    reading *r = context;
    (void)site, (void)over, (void)delta;
    double *to = tp_rows_grow(&r->met, (int)count, r->s->error);
    if (!to)
        return -1;
    memcpy(to, y, count * r->met.length * sizeof *to);
    r->met.n += (int)count;
    return 0;
}

/* Between a parameter's values and rows of draws: d is entry d / inner, of the axes before the width, and d % inner. */
static void copy_draws(const tp_sampler *s, int param, double *rows, int count, bool to_rows)
{
    const ad_node *node = ad_node_of(s->graph, param);
    ad_axis width = width_of(s, param);
    size_t size = tp_sampler_size(s, width), inner = tp_sampler_stride(s, &node->shape, width);
    double deviation = tp_sampler_deviation(s, node->init);
    for (size_t d = 0; d < (size_t)count; d++)
        for (size_t k = 0; k < size; k++) {
            double *value = &s->values[param][d / inner * inner * size + k * inner + d % inner];
            if (to_rows)
                rows[d * size + k] = *value / deviation;
            else
                *value = deviation * rows[d * size + k];
        }
}

/* Makes the draws orthogonal to the basis and to what is met, of length 1. */
static int turn_draws(const tp_space *space, double *draws, int count, const tp_rows *met, ad_error *error)
{
    size_t length = space->basis.length;
    double weight = 1 / (double)length;
    tp_rows others = { .length = length };
    int n = space->basis.n, status = -1;
    if (!tp_rows_grow(&others, n + met->n + count, error))
        return -1;
    memcpy(others.data, space->basis.data, (size_t)n * length * sizeof *draws);
    others.n = n;
    if (met->n)
        memcpy(tp_row(&others, n), met->data, (size_t)met->n * length * sizeof *draws);
    if (tp_orthonormalise(met->n, tp_row(&others, n), &others, weight, 1e-8, NULL, 0, error))
        goto done;
    int before = others.n;
    memcpy(tp_row(&others, before), draws, (size_t)count * length * sizeof *draws);
    if (tp_orthonormalise(count, tp_row(&others, before), &others, weight, 1e-3, NULL, 0, error))
        goto done;
    if (others.n != before + count) {
        ad_fail(error, "%zu samples are too few: nothing is left of a readout that is orthogonal to %d vectors", length,
                before);
        goto done;
    }
    memcpy(draws, tp_row(&others, before), (size_t)count * length * sizeof *draws);
    status = 0;
done:
    ad_free(others.data);
    return status;
}

/* Rows join the basis, before what a pass has shown since the mark. */
static int insert_rows(tp_learner *l, tp_space *space, const double *rows, int count)
{
    tp_rows *basis = &space->basis;
    size_t length = basis->length;
    int at = basis->n;
    if (!tp_rows_grow(basis, count, l->s.error))
        return -1;
    for (int k = 0; k < l->n_marks; k++)
        if (l->marks[k].count == &basis->n) {
            at = l->marks[k].kept;
            l->marks[k].kept += count;
        }
    double *to = basis->data + (size_t)at * length;
    memmove(to + (size_t)count * length, to, (size_t)(basis->n - at) * length * sizeof *to);
    memcpy(to, rows, (size_t)count * length * sizeof *to);
    basis->n += count;
    return 0;
}

static int centre_readout(tp_learner *l, int param)
{
    tp_sampler *s = &l->s;
    int count;
    tp_space *space = space_of(s, param, &count);
    if (!space)
        return -1;
    reading r = { .s = s, .met.length = space->basis.length };
    double *draws = tp_sampler_numbers(s, (size_t)count * r.met.length, "a readout's draws");
    int status = draws ? tp_sampler_pairs(s, param, take_met, &r) : -1;
    if (!status) {
        copy_draws(s, param, draws, count, true);
        status = turn_draws(space, draws, count, &r.met, s->error) || insert_rows(l, space, draws, count) ? -1 : 0;
    }
    if (!status)
        copy_draws(s, param, draws, count, false);
    ad_free(draws);
    ad_free(r.met.data);
    return status;
}

int tp_learner_centre(tp_learner *l, ad_error *error)
{
    tp_sampler *s = &l->s;
    int status = 0, before = ad_blas_begin(s->threads);
    s->error = error;
    l->current = false;
    for (int k = 0; k < nn_n_params(s->program->net) && !status; k++)
        if (l->aside[k]) {
            l->aside[k] = false;
            status = centre_readout(l, nn_param(s->program->net, k).id);
        }
    ad_blas_end(before);
    return status;
}
