#include "tp/batch/coupled.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { SAMPLES = 8192, RUNS = 8, MOST_RUNS = 64, NO_RULE = -2 };
static const double usual_tolerance = 1e-3; /* of sampled kernels, if no number of runs is asked for */
enum { OF_GVARS, OF_SUMS, OF_FAMILIES };
static const double tiny = 1e-12;

/* ---- blocks ---- */
tp_block *tp_block_of(tp_coupled *c, const int *key, size_t n, bool *made)
{
    int before = c->keys.n, id = tp_intern(&c->keys, key, n * sizeof *key);
    if (id >= c->room) {
        int room = c->room ? 2 * c->room : 256;
        tp_block *larger = ad_alloc((size_t)room, sizeof *larger, "blocks", c->error);
        if (!larger)
            return NULL;
        if (c->room)
            memcpy(larger, c->blocks, (size_t)c->room * sizeof *larger);
        ad_free(c->blocks);
        c->blocks = larger;
        c->room = room;
    }
    if (id < 0) {
        ad_fail(c->error, "out of memory for the kernels of a batch");
        return NULL;
    }
    *made = id >= before;
    if (*made)
        c->blocks[id] = (tp_block){ .zero = true };
    return &c->blocks[id];
}

int tp_block_open(tp_coupled *c, tp_block *block, int p, int q)
{
    block->values = ad_arena_alloc(c->families.algebra.arena, c->rows[p] * c->rows[q] + 1, sizeof(double));
    block->zero = false;
    return block->values ? 0 : ad_fail(c->error, "out of memory for the kernels of a batch");
}

/* own x + mean (its mean) over the rows' batch, and over the columns'. */
static void mix(size_t m, size_t n, double own, double mean, double own2, double mean2, double *x)
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
    const ad_shape *shape = ad_shape_get(node);
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
    size_t stride = 1, offset = 0, row_stride = 0, k_stride = 0;
    for (int i = shape->rank - 1; i >= 0; i--) {
        ad_axis axis = shape->axes[i];
        if (ad_same(axis, g->axis))
            k_stride = stride;
        else if (ad_axis_kind(graph, axis) == AD_BATCH)
            row_stride = stride;
        else
            offset += (size_t)tp_point_index(&g->from, axis) * stride;
        stride *= ad_axis_size(graph, axis, &spec.capacity);
    }
    for (size_t k = 0; k < *size && rows; k++) {
        double mean = 0;
        for (size_t i = 0; i < c->rows[p]; i++)
            mean += (rows[i * *size + k] = values[offset + i * row_stride + k * k_stride]) / (double)c->rows[p];
        for (size_t i = 0; i < c->rows[p] && centred; i++)
            rows[i * *size + k] -= mean;
    }
    ad_plan_free(plan);
    return rows;
}

static int data_gram(tp_coupled *c, const tp_gvar *g, const tp_gvar *h, int p, int q, bool centred, double *out)
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

/* ---- G-vars ---- */
/* 1 / (deviation of omega)^2: what the gradient of omega itself adds, relative to the covariance. */
static int gradient_factor(tp_coupled *c, const tp_gvar *g, double *factor)
{
    const ad_init *init = ad_node_of(c->families.algebra.graph, g->param)->init;
    double power, size = tp_axis_factor(&c->families.algebra, init->axis, &power);
    double p = init->axis.id ? init->deviation_power : 0;
    *factor = pow(init->deviation * pow(size, p), -2);
    if (fabs(power * p) > tiny)
        return tp_family_refuse(&c->families, g->param,
                                "in this scale its part of the NTK goes with a power of n of its "
                                "own: no exact rule where samples meet");
    return 0;
}

static const tp_block *gvar_block(tp_coupled *c, tp_block_kind kind, int g, int h, int p, int q, bool centred)
{
    bool made;
    const int key[] = { OF_GVARS, (int)kind, g, h, p, q, centred };
    tp_block *block = tp_block_of(c, key, sizeof key / sizeof *key, &made);
    const tp_gvar *a = tp_gvar_at(&c->families.algebra, g), *b = tp_gvar_at(&c->families.algebra, h);
    if (!block || !made || a->param != b->param || a->position != b->position || a->argument != b->argument ||
        memcmp(&a->where, &b->where, sizeof a->where) != 0)
        return block;
    int id = (int)(block - c->blocks);
    size_t count = c->rows[p] * c->rows[q];
    tp_block made_block = { .zero = true };
    double factor = 0;
    if (kind == TP_TANGENT && gradient_factor(c, a, &factor))
        return NULL;
    if (a->argument != TP_OF_VECTOR && centred && a->argument == TP_OF_INDEX)
        return block;
    const tp_block *value = NULL, *passed = NULL;
    if (kind == TP_TANGENT && !(value = gvar_block(c, TP_VALUE, g, h, p, q, centred)))
        return NULL;
    tp_block value_copy = value ? *value : (tp_block){ .zero = true };
    if (a->argument == TP_OF_VECTOR && !(passed = tp_family_block(c, kind, a->node, b->node, p, q)))
        return NULL;
    tp_block passed_copy = passed ? *passed : (tp_block){ .zero = true };
    if (value_copy.zero && passed_copy.zero && (kind == TP_TANGENT || a->argument == TP_OF_VECTOR))
        return &c->blocks[id];
    if (tp_block_open(c, &made_block, p, q))
        return NULL;
    if (!passed_copy.zero) {
        memcpy(made_block.values, passed_copy.values, count * sizeof(double));
        if (centred)
            mix(c->rows[p], c->rows[q], 1, -1, 1, -1, made_block.values);
    } else if (a->argument == TP_OF_DATA && kind == TP_VALUE) {
        if (data_gram(c, a, b, p, q, centred, made_block.values))
            return NULL;
    } else if (kind == TP_VALUE) {
        for (size_t i = 0; i < count; i++)
            made_block.values[i] = 1;
    }
    for (size_t i = 0; i < count && !value_copy.zero; i++)
        made_block.values[i] += factor * value_copy.values[i];
    c->blocks[id] = made_block;
    return &c->blocks[id];
}

const tp_block *tp_sum_block(tp_coupled *c, tp_block_kind kind, int lin, int lin2, int p, int q)
{
    bool made;
    const int key[] = { OF_SUMS, (int)kind, lin, lin2, p, q };
    tp_block *block = tp_block_of(c, key, sizeof key / sizeof *key, &made), sum = { .zero = true };
    if (!block || !made)
        return block;
    int id = (int)(block - c->blocks);
    size_t m = c->rows[p], n = c->rows[q];
    const tp_batch_lin *u = tp_batch_lin_at(&c->families, lin), *v = tp_batch_lin_at(&c->families, lin2);
    double *part = ad_alloc(m * n + 1, sizeof *part, "a covariance", c->error);
    int status = part ? 0 : -1;
    for (int i = 0; i < u->n && !status; i++)
        for (int k = 0; k < v->n && !status; k++) {
            const tp_batch_part *a = &u->parts[i], *b = &v->parts[k];
            bool centred =
                fabs(a->own + a->mean) <= tiny * fabs(a->own) && fabs(b->own + b->mean) <= tiny * fabs(b->own);
            const tp_block *of = gvar_block(c, kind, a->gvar, b->gvar, p, q, centred);
            status = of ? 0 : -1;
            if (status || of->zero || (sum.zero && tp_block_open(c, &sum, p, q)))
                continue;
            memcpy(part, of->values, m * n * sizeof *part);
            if (centred)
                cblas_dscal((int)(m * n), a->own * b->own, part, 1);
            else
                mix(m, n, a->own, a->mean, b->own, b->mean, part);
            cblas_daxpy((int)(m * n), 1, part, 1, sum.values, 1);
        }
    ad_free(part);
    if (status || (!sum.zero && !sum.values))
        return NULL;
    c->blocks[id] = sum;
    return &c->blocks[id];
}

/* ---- families ---- */
/* A term as a function of a base; false for the constant 1. */
static bool as_function(tp_coupled *c, const tp_family_term *t, int *base, int *fn)
{
    *base = t->of;
    *fn = t->fn;
    if (t->kind == TP_TERM_GVAR) {
        tp_base sum = { TP_BASE_SUM, tp_batch_lin_of(&c->families, t->of), 0, 0 };
        *base = tp_intern(&c->families.bases, &sum, sizeof sum);
        *fn = c->families.algebra.variable;
    }
    return t->kind != TP_TERM_ONE;
}

/* out = E s t, or its tangent. *zero: out is not written. */
static int term_block(tp_coupled *c, tp_block_kind kind, const tp_family_term *s, const tp_family_term *t, int p, int q,
                      double *out, bool *zero)
{
    size_t m = c->rows[p], n = c->rows[q];
    bool learned = s->learned >= 0 && s->learned == t->learned;
    *zero = true;
    if (s->learned != t->learned || (kind == TP_VALUE && s->learned >= 0))
        return 0;
    if (learned)
        kind = TP_VALUE;
    int base, fn, base2, fn2;
    bool first = as_function(c, s, &base, &fn), second = as_function(c, t, &base2, &fn2);
    const tp_block *of = NULL;
    if (first && second) {
        of = tp_function_block(c, kind, base, fn, base2, fn2, p, q);
        if (of && !of->zero)
            memcpy(out, of->values, m * n * sizeof *out);
        *zero = of && of->zero;
        return of ? 0 : -1;
    }
    if (kind == TP_TANGENT)
        return 0;
    if (first || second) {
        of = first ? tp_function_mean(c, base, fn, p) : tp_function_mean(c, base2, fn2, q);
        *zero = of && of->zero;
        for (size_t i = 0; of && !of->zero && i < m * n; i++)
            out[i] = of->values[first ? i / n : i % n];
        return of ? 0 : -1;
    }
    *zero = false;
    for (size_t i = 0; i < m * n; i++)
        out[i] = 1;
    return 0;
}

const tp_block *tp_family_block(tp_coupled *c, tp_block_kind kind, int i, int j, int p, int q)
{
    bool made;
    const int key[] = { OF_FAMILIES, (int)kind, i, j, p, q };
    tp_block *block = tp_block_of(c, key, sizeof key / sizeof *key, &made), sum = { .zero = true };
    if (!block || !made)
        return block;
    int id = (int)(block - c->blocks), status = 0;
    size_t m = c->rows[p], n = c->rows[q];
    const tp_family *a = tp_family_at(&c->families, i), *b = tp_family_at(&c->families, j);
    double *part = ad_alloc(m * n + 1, sizeof *part, "a kernel", c->error);
    status = part ? 0 : -1;
    for (int s = 0; s < a->n && !status; s++)
        for (int t = 0; t < b->n && !status; t++) {
            bool zero;
            const tp_family_term *x = &a->terms[s], *y = &b->terms[t];
            status = term_block(c, kind, x, y, p, q, part, &zero);
            if (status || zero || (sum.zero && tp_block_open(c, &sum, p, q)))
                continue;
            mix(m, n, !x->mean, x->mean, !y->mean, y->mean, part);
            cblas_daxpy((int)(m * n), x->c * y->c * pow((double)m, x->batch) * pow((double)n, y->batch), part, 1,
                        sum.values, 1);
        }
    ad_free(part);
    if (status || (!sum.zero && !sum.values))
        return NULL;
    c->blocks[id] = sum;
    return &c->blocks[id];
}

/* ---- a limit ---- */
static void close_coupled(tp_coupled *c)
{
    for (int i = 0; i < c->n_layers; i++)
        tp_batchnorm_free(c->layers[i].layer);
    ad_free(c->layers);
    ad_free(c->blocks);
    tp_table_free(&c->keys);
    tp_families_free(&c->families);
}

static int check_output(tp_coupled *c, int f, int node)
{
    const tp_family *family = tp_family_at(&c->families, f);
    for (int i = 0; i < family->n; i++)
        if (fabs(family->terms[i].power) > tiny)
            return tp_family_refuse(&c->families, node,
                                    "outputs that grow or vanish with the width have no exact rule "
                                    "where samples meet");
    return 0;
}

/* One evaluation: the kernel, (rows, columns). */
static int solve(tp_coupled *c, const tp_program *program, tp_kernel_kind which, double *out, ad_error *error)
{
    int node = program->output.id, status = tp_families_new(&c->families, program, error);
    if (!status)
        status = tp_table_new(&c->keys, c->families.algebra.arena, error);
    int f = status ? -1 : tp_family_of(&c->families, node, tp_point_of(&c->families.algebra, node, NULL));
    const tp_block *block = NULL;
    if (f >= 0 && !check_output(c, f, node))
        block = tp_family_block(c, which == TP_NTK ? TP_TANGENT : TP_VALUE, f, f, 0, c->last);
    size_t count = c->rows[0] * c->rows[c->last];
    if (block && !block->zero)
        memcpy(out, block->values, count * sizeof *out);
    else
        memset(out, 0, count * sizeof *out);
    bool refused = c->families.refused;
    close_coupled(c);
    if (!block && !error->text[0])
        ad_fail(error, "out of memory for the kernels of a batch");
    return block ? 0 : refused ? NO_RULE : -1;
}

static void describe(const tp_coupled *c, tp_kernel *kernel, int runs)
{
    int length = snprintf(kernel->method, sizeof kernel->method, "exact rules over the batch, Laplace integrals");
    if (c->sampled)
        length = snprintf(kernel->method, sizeof kernel->method,
                          "exact rules over the batch; after batch normalisation the radius is integrated, the sphere "
                          "sampled: %d runs of %zu directions",
                          runs, c->samples);
    if (c->heavy && length > 0 && (size_t)length < sizeof kernel->method)
        snprintf(
            kernel->method + length, sizeof kernel->method - (size_t)length,
            "; at epsilon = 0 and rank %zu of the centred batch a finite network's NTK has infinite variance (finite "
            "from rank 5)",
            c->heavy_rank);
}

int tp_limit_coupled(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                     size_t rows2, const tp_limit_spec *spec, tp_kernel *kernel, ad_error *error)
{
    size_t columns = x2 ? rows2 : rows, count = rows * columns;
    tp_coupled c = { .n_layers = 0 };
    double *one = ad_alloc(count, sizeof *one, "a limit kernel", error);
    *kernel = (tp_kernel){ .rows = rows, .rows2 = columns, .n_terms = 1 };
    kernel->terms[0].values = one ? ad_alloc(count, sizeof *one, "a limit kernel", error) : NULL;
    double *mean = kernel->terms[0].values, *squares = NULL, uncertain = 0, size = 0;
    int status = mean ? 0 : -1, runs = 0, least = spec->runs > 1 ? spec->runs : RUNS;
    double wanted = spec->tolerance > 0 ? spec->tolerance : usual_tolerance;
    int most = (spec->tolerance > 0 || spec->runs < 2) && least < MOST_RUNS ? MOST_RUNS : least;
    do {
        c = (tp_coupled){ .x = { x, x2 ? x2 : x },
                          .rows = { rows, columns },
                          .last = x2 != NULL,
                          .tangent = which == TP_NTK,
                          .tolerance = spec->tolerance,
                          .error = error,
                          .samples = spec->samples ? spec->samples : SAMPLES,
                          .seed = spec->seed + 7919 * (uint64_t)++runs };
        status = status ? status : solve(&c, program, which, one, error);
        if (!status && c.sampled && !squares)
            status = (squares = ad_alloc(count, sizeof *squares, "a limit kernel", error)) ? 0 : -1;
        uncertain = size = 0;
        for (size_t i = 0; i < count && !status; i++) { /* Welford's sums */
            double before = one[i] - mean[i];
            mean[i] += before / runs;
            if (squares)
                squares[i] += before * (one[i] - mean[i]);
            uncertain += squares ? squares[i] / ((double)runs * (runs > 1 ? runs - 1 : 1)) : 0;
            size += mean[i] * mean[i];
        }
        kernel->error = c.sampled ? sqrt(uncertain / (size > 0 ? size : 1)) : c.difference;
    } while (!status && c.sampled && (runs < least || (runs < most && kernel->error > wanted)));
    for (size_t i = 0; i < count && squares && !status; i++)
        squares[i] = sqrt(squares[i] / ((double)runs * (runs - 1)));
    kernel->deviations = squares;
    describe(&c, kernel, runs);
    ad_free(one);
    if (status)
        tp_kernel_free(kernel);
    return status;
}
