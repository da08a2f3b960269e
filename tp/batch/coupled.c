/* coupled.c: the recursion over whole batches: G-vars, sums, functions and families, each a matrix, down to the data;
 * and the limit that it gives, with several runs where directions are sampled. */
#include "tp/batch/coupled.h"
#include "tp/batch/batch.h"
#include "tp/batch/terms.h"

#include "autodiff/base/base.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { SAMPLES = 8192, RUNS = 8, MAX_RUNS = 64 };
static const double usual_tolerance = 1e-3; /* of sampled kernels, if no number of runs is asked for */
static const double tiny = 1e-12;

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

/* K or Theta of two families; NULL with an error. */
static const tp_block *family_block(tp_coupled *, tp_block_kind, int i, int j, int p, int q);

/* Two uses of one parameter's rows, summed over data along different axes or read one by one: they share draws,
 * whatever they look like (THEORY section 9), and only the same kind of use has its covariance here. */
static bool shares_rows(const tp_gvar *a, const tp_gvar *b)
{
    return a->param == b->param && a->argument != TP_OF_VECTOR && b->argument != TP_OF_VECTOR &&
           (a->argument != b->argument || a->position != b->position);
}

static const tp_block *gvar_block(tp_coupled *c, tp_block_kind kind, int g, int h, int p, int q, bool centred)
{
    bool made;
    const int key[] = { TP_OF_GVARS, (int)kind, g, h, p, q, centred };
    tp_block *block = tp_block_of(c, key, sizeof key / sizeof *key, &made);
    const tp_gvar *a = tp_gvar_at(&c->families.algebra, g), *b = tp_gvar_at(&c->families.algebra, h);
    if (block && shares_rows(a, b)) {
        tp_family_refuse(&c->families, a->param,
                         "it meets data here and is read by rows there: no exact rule where samples meet");
        return NULL;
    }
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
    if (a->argument == TP_OF_VECTOR && !(passed = family_block(c, kind, a->node, b->node, p, q)))
        return NULL;
    tp_block passed_copy = passed ? *passed : (tp_block){ .zero = true };
    if (value_copy.zero && passed_copy.zero && (kind == TP_TANGENT || a->argument == TP_OF_VECTOR))
        return &c->blocks[id];
    if (tp_block_open(c, &made_block, p, q))
        return NULL;
    if (!passed_copy.zero) {
        memcpy(made_block.values, passed_copy.values, count * sizeof(double));
        if (centred)
            tp_block_mix(c->rows[p], c->rows[q], 1, -1, 1, -1, made_block.values);
    } else if (a->argument == TP_OF_DATA && kind == TP_VALUE) {
        if (tp_data_gram(c, a, b, p, q, centred, made_block.values))
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

static const tp_block *sum_block(tp_coupled *c, tp_block_kind kind, int lin, int lin2, int p, int q)
{
    bool made;
    const int key[] = { TP_OF_SUMS, (int)kind, lin, lin2, p, q };
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
                tp_block_mix(m, n, a->own, a->mean, b->own, b->mean, part);
            cblas_daxpy((int)(m * n), 1, part, 1, sum.values, 1);
        }
    ad_free(part);
    if (status || (!sum.zero && !sum.values))
        return NULL;
    c->blocks[id] = sum;
    return &c->blocks[id];
}

/* ---- functions ---- */
static int take_sum(tp_coupled *c, tp_block_kind kind, int lin, int lin2, int p, int q, tp_block *out)
{
    const tp_block *block = sum_block(c, kind, lin, lin2, p, q);
    if (block)
        *out = *block;
    return block ? 0 : -1;
}

static int lin_of(const tp_coupled *c, tp_base_function f)
{
    return tp_base_at(&c->families, f.base)->lin;
}

static bool is_normal(const tp_coupled *c, tp_base_function f)
{
    return tp_base_at(&c->families, f.base)->kind == TP_BASE_NORMAL;
}

/* The covariances of either sum over its own batch. */
static int take_own(tp_coupled *c, tp_base_function f, tp_base_function g, int p, int q, tp_covariances *cov)
{
    int lin = lin_of(c, f), lin2 = lin_of(c, g);
    return take_sum(c, TP_VALUE, lin, lin, p, p, &cov->first) || take_sum(c, TP_VALUE, lin2, lin2, q, q, &cov->second)
               ? -1
               : 0;
}

/* Functions of one sample each. */
static int plain_functions(tp_coupled *c, tp_block_kind kind, tp_base_function f, tp_base_function g, int p, int q,
                           tp_block *out)
{
    tp_algebra *algebra = &c->families.algebra;
    tp_covariances cov = { .between = { .zero = true } };
    if (take_sum(c, TP_VALUE, lin_of(c, f), lin_of(c, g), p, q, &cov.between))
        return -1;
    if (kind == TP_TANGENT) {
        if (take_sum(c, kind, lin_of(c, f), lin_of(c, g), p, q, &cov.tangent))
            return -1;
        if (cov.tangent.zero)
            return 0;
        f.fn = tp_fn_derivative(algebra, f.fn);
        g.fn = f.fn < 0 ? -1 : tp_fn_derivative(algebra, g.fn);
        if (g.fn < 0)
            return -1;
    }
    if ((tp_plain_takes_variances(c, f, g, &cov.between) && take_own(c, f, g, p, q, &cov)) ||
        tp_plain_block(c, f, g, p, q, &cov, out))
        return -1;
    for (size_t i = 0; i < c->rows[p] * c->rows[q] && kind == TP_TANGENT && !out->zero; i++)
        out->values[i] *= cov.tangent.values[i];
    return 0;
}

/* Functions of two normalised sums that depend on each other. */
static int normal_functions(tp_coupled *c, tp_block_kind kind, tp_base_function f, tp_base_function g, int p, int q,
                            tp_block *out)
{
    tp_covariances cov = { .tangent = { .zero = true } };
    if (take_sum(c, TP_VALUE, lin_of(c, f), lin_of(c, g), p, q, &cov.between) ||
        (kind == TP_TANGENT && take_sum(c, kind, lin_of(c, f), lin_of(c, g), p, q, &cov.tangent)) ||
        take_own(c, f, g, p, q, &cov))
        return -1;
    return tp_normal_block(c, kind, f, g, p, q, &cov, out);
}

/* The mean of f over the law of one sample: (rows of p). NULL with an error. */
static const tp_block *function_mean(tp_coupled *c, tp_base_function f, int p)
{
    bool made;
    const int key[] = { TP_OF_MEANS, f.base, f.fn, p };
    tp_block *block = tp_block_of(c, key, sizeof key / sizeof *key, &made), own, mean = { .zero = true };
    if (!block || !made || tp_function_odd(c, f))
        return block;
    int id = (int)(block - c->blocks);
    if (take_sum(c, TP_VALUE, lin_of(c, f), lin_of(c, f), p, p, &own) || tp_mean_block(c, f, p, &own, &mean))
        return NULL;
    c->blocks[id] = mean;
    return &c->blocks[id];
}

/* A function of one sample and a normalised one, or two normalised ones, that do not depend on each other. */
static int independent_functions(tp_coupled *c, tp_base_function f, tp_base_function g, int p, int q, tp_block *out)
{
    const tp_block *a = function_mean(c, f, p);
    tp_block first = a ? *a : (tp_block){ .zero = true };
    const tp_block *b = a ? function_mean(c, g, q) : NULL;
    if (!b)
        return -1;
    tp_block second = *b;
    if (first.zero || second.zero)
        return 0;
    if (tp_block_open(c, out, p, q))
        return -1;
    for (size_t i = 0; i < c->rows[p]; i++)
        for (size_t k = 0; k < c->rows[q]; k++)
            out->values[i * c->rows[q] + k] = first.values[i] * second.values[k];
    return 0;
}

static int refuse_mixed(tp_coupled *c, tp_base_function f)
{
    const tp_batch_lin *u = tp_batch_lin_at(&c->families, lin_of(c, f));
    int param = tp_gvar_at(&c->families.algebra, u->parts[0].gvar)->param;
    return tp_family_refuse(&c->families, param,
                            "a function of its product and one of that product normalised over the "
                            "batch meet: no exact rule");
}

static int compute_functions(tp_coupled *c, tp_block_kind kind, tp_base_function f, tp_base_function g, int p, int q,
                             tp_block *out)
{
    if (!is_normal(c, f) && !is_normal(c, g))
        return plain_functions(c, kind, f, g, p, q, out);
    const tp_block *between = sum_block(c, kind, lin_of(c, f), lin_of(c, g), p, q);
    if (!between)
        return -1;
    if (between->zero)
        return kind == TP_TANGENT ? 0 : independent_functions(c, f, g, p, q, out);
    return is_normal(c, f) && is_normal(c, g) ? normal_functions(c, kind, f, g, p, q, out) : refuse_mixed(c, f);
}

static const tp_block *function_block(tp_coupled *c, tp_block_kind kind, tp_base_function f, tp_base_function g, int p,
                                      int q)
{
    bool made;
    const int key[] = { TP_OF_FUNCTIONS, (int)kind, f.base, f.fn, g.base, g.fn, p, q };
    tp_block *block = tp_block_of(c, key, sizeof key / sizeof *key, &made), result = { .zero = true };
    if (!block || !made || f.base < 0 || g.base < 0)
        return f.base < 0 || g.base < 0 ? NULL : block;
    int id = (int)(block - c->blocks);
    if (compute_functions(c, kind, f, g, p, q, &result))
        return NULL;
    c->blocks[id] = result;
    return &c->blocks[id];
}

/* ---- families ---- */
/* A term as a function of a base; false for the constant 1. */
static bool as_function(tp_coupled *c, const tp_family_term *t, tp_base_function *f)
{
    *f = (tp_base_function){ t->of, t->fn };
    if (t->kind == TP_TERM_GVAR)
        *f = (tp_base_function){ tp_base_make(&c->families, TP_BASE_SUM, tp_batch_lin_of(&c->families, t->of), 0, 0),
                                 c->families.algebra.variable };
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
    tp_base_function f, g;
    bool first = as_function(c, s, &f), second = as_function(c, t, &g);
    const tp_block *of = NULL;
    if (first && second) {
        of = function_block(c, kind, f, g, p, q);
        if (of && !of->zero)
            memcpy(out, of->values, m * n * sizeof *out);
        *zero = of && of->zero;
        return of ? 0 : -1;
    }
    if (kind == TP_TANGENT)
        return 0;
    if (first || second) {
        of = first ? function_mean(c, f, p) : function_mean(c, g, q);
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

static const tp_block *family_block(tp_coupled *c, tp_block_kind kind, int i, int j, int p, int q)
{
    bool made;
    const int key[] = { TP_OF_FAMILIES, (int)kind, i, j, p, q };
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
            tp_block_mix(m, n, !x->mean, x->mean, !y->mean, y->mean, part);
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
        block = family_block(c, which == TP_NTK ? TP_TANGENT : TP_VALUE, f, f, 0, c->last);
    size_t count = c->rows[0] * c->rows[c->last];
    if (block && !block->zero)
        memcpy(out, block->values, count * sizeof *out);
    else
        memset(out, 0, count * sizeof *out);
    bool refused = c->families.algebra.refused;
    close_coupled(c);
    if (!block && !error->text[0])
        ad_fail(error, "out of memory for the kernels of a batch");
    return block ? 0 : refused ? TP_NO_RULE : -1;
}

static void describe(const tp_coupled *c, tp_kernel *kernel, int runs)
{
    int length = snprintf(kernel->method, sizeof kernel->method, "exact rules over the batch, Laplace integrals");
    if (c->sampled)
        length = snprintf(kernel->method, sizeof kernel->method,
                          "exact rules over the batch; after batch normalisation the radius is integrated, the sphere "
                          "sampled: %d runs of %zu directions",
                          runs, c->samples);
    const char *order =
        c->stops   ? "; nothing goes back through a layer at epsilon = 0 whose centred batch has rank 1: n to infinity "
                     "at epsilon = 0, while epsilon to 0 after n to infinity diverges"
        : c->small ? "; the centred batch has rank 1 or 2: n to infinity at this epsilon, and epsilon = 0 has another "
                     "limit, or none"
                   : "";
    if (length > 0 && (size_t)length < sizeof kernel->method)
        length += snprintf(kernel->method + length, sizeof kernel->method - (size_t)length, "%s", order);
    if (c->heavy && length > 0 && (size_t)length < sizeof kernel->method)
        snprintf(
            kernel->method + length, sizeof kernel->method - (size_t)length,
            "; at epsilon = 0 and rank %zu of the centred batch a finite network's NTK has infinite variance (finite "
            "from rank 5)",
            c->heavy_rank);
}

/* One evaluation where all is integrated; where directions are sampled, runs until their mean stands. */
static int run_all(tp_coupled *c, const tp_program *program, tp_kernel_kind which, const tp_limit_spec *spec,
                   tp_kernel *kernel, int *runs)
{
    size_t count = kernel->rows * kernel->rows2;
    double *one = ad_alloc(count, sizeof *one, "a limit kernel", c->error), *mean = kernel->terms[0].values;
    double wanted = spec->tolerance > 0 ? spec->tolerance : usual_tolerance;
    int status = one ? 0 : -1, minimum = spec->runs > 1 ? spec->runs : RUNS;
    int maximum = (spec->tolerance > 0 || spec->runs < 2) && minimum < MAX_RUNS ? MAX_RUNS : minimum;
    const tp_coupled blank = *c;
    *runs = 0;
    while (!status &&
           (*runs == 0 || (c->sampled && (*runs < minimum || (*runs < maximum && kernel->error > wanted))))) {
        *c = blank;
        c->seed += 7919 * (uint64_t)++ * runs;
        status = solve(c, program, which, one, c->error);
        if (!status && c->sampled && !kernel->deviations &&
            !(kernel->deviations = ad_alloc(count, sizeof *one, "a limit kernel", c->error)))
            status = -1;
        if (!status)
            ad_add_run(one, 1, count, *runs, mean, kernel->deviations);
        kernel->error = c->difference;
        if (c->sampled && !status)
            kernel->error += ad_runs_error(mean, kernel->deviations, count, *runs);
    }
    if (kernel->deviations && !status)
        ad_standard_errors(kernel->deviations, count, *runs);
    ad_free(one);
    return status;
}

int tp_limit_coupled(const tp_program *program, tp_kernel_kind which, const double *x, size_t rows, const double *x2,
                     size_t rows2, const tp_limit_spec *spec, tp_kernel *kernel, ad_error *error)
{
    size_t columns = x2 ? rows2 : rows, features = nn_features(program->net);
    int threads = ad_threads(spec->threads, error), runs, status;
    if (!threads)
        return -1;
    if (x2 && rows2 == rows && memcmp(x2, x, rows * features * sizeof *x) == 0)
        x2 = NULL; /* one batch, to the last bit */
    tp_coupled c = { .x = { x, x2 ? x2 : x },
                     .rows = { rows, columns },
                     .last = x2 != NULL,
                     .tangent = which == TP_NTK,
                     .tolerance = spec->tolerance,
                     .error = error,
                     .samples = spec->samples ? spec->samples : SAMPLES,
                     .seed = spec->seed };
    *kernel = (tp_kernel){ .rows = rows, .rows2 = columns, .n_terms = 1 };
    kernel->terms[0].values = ad_alloc(rows * columns, sizeof(double), "a limit kernel", error);
    threads = ad_blas_begin(threads);
    status = kernel->terms[0].values ? run_all(&c, program, which, spec, kernel, &runs) : -1;
    ad_blas_end(threads);
    if (!status)
        describe(&c, kernel, runs);
    return status;
}
