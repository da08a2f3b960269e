/* blocks.c: the matrices over the samples of two batches, kept by their keys, and those that data give. */
#include "tp/batch/coupled.h"

#include "autodiff/base/base.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

int tp_block_keep(tp_coupled *c, const tp_block *block)
{
    void *blocks = c->blocks;
    bool there = ad_grow(&blocks, c->n_blocks, &c->capacity, sizeof *block, "blocks", c->error);
    c->blocks = blocks;
    if (!there)
        return -1;
    c->blocks[c->n_blocks] = *block;
    return c->n_blocks++;
}

int tp_block_open(tp_coupled *c, tp_block *block, int p, int q)
{
    block->values = ad_arena_alloc(c->families.algebra.arena, c->rows[p] * c->rows[q] + 1, sizeof(double));
    block->zero = false;
    return block->values ? 0 : ad_fail(c->error, "out of memory for the kernels of a batch");
}

void tp_block_mix(size_t m, size_t n, double own, double mean, double own2, double mean2, double *x)
{
    for (size_t k = 0; k < n && fabs(mean) > 0; k++) {
        double average = 0;
        for (size_t i = 0; i < m; i++)
            average += x[i * n + k] / (double)m;
        for (size_t i = 0; i < m; i++)
            x[i * n + k] = own * x[i * n + k] + mean * average;
    }
    for (size_t i = 0; i < m; i++) {
        double average = 0;
        for (size_t k = 0; k < n && fabs(mean2) > 0; k++)
            average += x[i * n + k] / (double)n;
        for (size_t k = 0; k < n; k++)
            x[i * n + k] = (fabs(mean) > 0 ? 1 : own) * (own2 * x[i * n + k] + mean2 * average);
    }
}

/* ---- data ---- */
/* (rows, size) of one batch: a data node at the G-var's point, along its axis; means over the batch taken out. */
static double *data_rows(tp_coupled *c, const tp_gvar *g, int p, bool centred, size_t *size)
{
    const tp_program *program = c->families.algebra.program;
    ad_graph *graph = program->graph;
    ad_var node = { graph, g->node }, input = nn_input(program->net);
    ad_plan_spec spec = { .type = AD_DOUBLE, .capacity = { .n = 1, .n_batches = 1 } };
    spec.capacity.batches[0].axis = nn_batch(program->net);
    spec.capacity.batches[0].size = c->rows[p];
    *size = ad_axis_fixed(graph, g->axis);
    double *rows = ad_alloc(c->rows[p] * *size + 1, sizeof *rows, "inputs", c->error);
    ad_plan *plan = NULL;
    const double *values = c->x[p];
    if (rows && g->node != input.id) {
        plan = ad_plan_new(&node, 1, &spec, c->error);
        if (!plan || ad_bind(plan, input, c->x[p]) || ad_run(plan, &spec.capacity, c->error)) {
            ad_fail(c->error, "the program's data cannot be computed");
            ad_plan_free(plan);
            ad_free(rows);
            return NULL;
        }
        values = ad_output(plan, 0);
    }
    if (rows)
        tp_data_rows(graph, g->node, &g->from, g->axis, &spec.capacity, values, c->rows[p], *size, rows);
    for (size_t k = 0; k < *size && rows && centred; k++) {
        double mean = 0;
        for (size_t i = 0; i < c->rows[p]; i++)
            mean += rows[i * *size + k] / (double)c->rows[p];
        for (size_t i = 0; i < c->rows[p]; i++)
            rows[i * *size + k] -= mean;
    }
    ad_plan_free(plan);
    return rows;
}

int tp_data_gram(tp_coupled *c, const tp_gvar *g, const tp_gvar *h, int p, int q, bool centred, double *out)
{
    size_t size, size2;
    double *a = data_rows(c, g, p, centred, &size), *b = a ? data_rows(c, h, q, centred, &size2) : NULL;
    int status = b ? 0 : -1;
    if (!status)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)c->rows[p], (int)c->rows[q], (int)size, 1, a,
                    (int)size, b, (int)size, 0, out, (int)c->rows[q]);
    ad_free(a);
    ad_free(b);
    return status;
}
