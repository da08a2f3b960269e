/* changes.c: what steps of training add to an operator: outer products, kept as pairs of vectors. */
#include "tp/executor/draws.h"
#include "tp/executor/sampler.h"

#include <cblas.h>
#include <string.h>

int tp_changes_apply(const tp_revealed *f, int o, bool transposed, size_t rows, const double *x, double *to,
                     ad_error *error)
{
    const tp_changes *c = &f->changes[o];
    const tp_rows *from = transposed ? &c->out : &c->in, *into = transposed ? &c->in : &c->out;
    size_t n = (size_t)from->n;
    if (n == 0)
        return 0;
    double *part = ad_alloc(rows * n, sizeof *part, "coefficients", error);
    if (!part)
        return -1;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)n, (int)from->length, 1, x, (int)from->length,
                from->data, (int)from->length, 0, part, (int)n);
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < n; k++)
            part[i * n + k] *= f->weight[k];
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)into->length, (int)n, 1, part, (int)n,
                into->data, (int)into->length, 1, to, (int)into->length);
    ad_free(part);
    return 0;
}

/* Room for the coefficients of `more` pairs, which are 0. */
static int grow_weights(tp_revealed *f, int more, ad_error *error)
{
    int total = f->n_changes + more;
    if (total <= f->capacity)
        return 0;
    int capacity = total > 2 * f->capacity ? total : 2 * f->capacity;
    double *weight = ad_alloc((size_t)capacity, sizeof *weight, "coefficients", error);
    double *velocity = ad_alloc((size_t)capacity, sizeof *velocity, "coefficients", error);
    if (!weight || !velocity) {
        ad_free(weight);
        ad_free(velocity);
        return -1;
    }
    if (f->n_changes) {
        memcpy(weight, f->weight, (size_t)f->n_changes * sizeof *weight);
        memcpy(velocity, f->velocity, (size_t)f->n_changes * sizeof *velocity);
    }
    ad_free(f->weight);
    ad_free(f->velocity);
    f->weight = weight;
    f->velocity = velocity;
    f->capacity = capacity;
    return 0;
}

static bool is_zero(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (x[i] > 0 || x[i] < 0)
            return false;
    return true;
}

static int append(tp_rows *rows, const double *x, ad_error *error)
{
    double *to = tp_rows_grow(rows, 1, error);
    if (!to)
        return -1;
    memcpy(to, x, rows->length * sizeof *to);
    rows->n++;
    return 0;
}

int tp_changes_add(tp_revealed *f, size_t count, const double *in, const double *out, ad_error *error)
{
    size_t in_size = f->changes->in.length, out_size = f->changes->out.length, n = (size_t)f->n_operators;
    for (size_t i = 0; i < count; i++) {
        if (is_zero(in + i * n * in_size, n * in_size) || is_zero(out + i * out_size, out_size))
            continue;
        if (grow_weights(f, 1, error))
            return -1;
        for (size_t o = 0; o < n; o++)
            if (append(&f->changes[o].in, in + (i * n + o) * in_size, error) ||
                append(&f->changes[o].out, out + i * out_size, error))
                return -1;
        f->weight[f->n_changes] = f->velocity[f->n_changes] = 0;
        f->n_changes++;
    }
    return 0;
}

int tp_changes_state(tp_revealed *f, tp_state *state, ad_error *error)
{
    uint64_t n = (uint64_t)f->n_changes;
    if (tp_state_counts(state, &n, 1, "changes.%d.count", f->param) ||
        tp_state_numbers(state, &f->keep, 1, "changes.%d.keep", f->param) ||
        tp_state_numbers(state, &f->keep_velocity, 1, "changes.%d.keep_velocity", f->param))
        return -1;
    for (int o = 0; o < f->n_operators; o++)
        if (tp_state_rows(state, &f->changes[o].in, "changes.%d.%d.in", f->param, o) ||
            tp_state_rows(state, &f->changes[o].out, "changes.%d.%d.out", f->param, o))
            return -1;
    if (tp_state_reads(state)) {
        for (int o = 0; o < f->n_operators; o++)
            if ((uint64_t)f->changes[o].in.n != n || (uint64_t)f->changes[o].out.n != n)
                return ad_fail(error, "a checkpoint: changes.%d has not as many vectors as it says", f->param);
        f->n_changes = 0;
        if (grow_weights(f, (int)n, error))
            return -1;
        f->n_changes = (int)n;
    }
    return tp_state_numbers(state, f->weight, (size_t)n, "changes.%d.weight", f->param) ||
                   tp_state_numbers(state, f->velocity, (size_t)n, "changes.%d.velocity", f->param)
               ? -1
               : 0;
}

void tp_changes_forget(tp_revealed *f)
{
    for (int o = 0; f->changes && o < f->n_operators; o++)
        f->changes[o].in.n = f->changes[o].out.n = 0;
    f->n_changes = 0;
    f->keep = 1;
    f->keep_velocity = 0;
}

void tp_changes_free(tp_revealed *f)
{
    for (int o = 0; f->changes && o < f->n_operators; o++) {
        ad_free(f->changes[o].in.data);
        ad_free(f->changes[o].out.data);
    }
    ad_free(f->weight);
    ad_free(f->velocity);
}
