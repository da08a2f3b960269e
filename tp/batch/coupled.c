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

/* Two uses of one parameter's rows, summed over data along different axes or read one by one: they share draws,
 * whatever they look like (THEORY section 9), and only the same kind of use has its covariance here. */
static bool shares_rows(const tp_gvar *a, const tp_gvar *b)
{
    return a->param == b->param && a->argument != TP_OF_VECTOR && b->argument != TP_OF_VECTOR &&
           (a->argument != b->argument || a->position != b->position);
}

/* K or Theta of two G-vars, sums, functions or families, or a function's mean: what is known by key, or is found, in
 * whatever depth. -1: with an error, or while one of its parts is to be found first. */
static int solve_block(tp_algebra *algebra, const void *key);
static int block_of(tp_coupled *c, tp_block_key key, tp_block *block)
{
    int id = tp_memo_solve(&c->families.algebra, &key, sizeof key, solve_block);
    if (id >= 0)
        *block = c->blocks[id];
    return id < 0 ? -1 : 0;
}

/* Is the covariance of two G-vars 0, whatever they are applied to? */
static bool are_unrelated(const tp_gvar *a, const tp_gvar *b)
{
    return a->param != b->param || a->position != b->position || a->argument != b->argument ||
           memcmp(&a->where, &b->where, sizeof a->where) != 0;
}

/* The covariance of two G-vars of one use of a parameter, `passed` that of their arguments. */
static int gvar_values(tp_coupled *c, const tp_block_key *key, const tp_gvar *a, const tp_gvar *b,
                       const tp_block *passed, double *out)
{
    size_t count = c->rows[key->p] * c->rows[key->q];
    bool centred = key->at[2];
    if (!passed->zero) {
        memcpy(out, passed->values, count * sizeof *out);
        if (centred)
            tp_block_mix(c->rows[key->p], c->rows[key->q], 1, -1, 1, -1, out);
    } else if (a->argument == TP_OF_DATA && key->kind == TP_VALUE) {
        return tp_data_gram(c, a, b, key->p, key->q, centred, out);
    } else if (key->kind == TP_VALUE) {
        for (size_t i = 0; i < count; i++)
            out[i] = 1;
    }
    return 0;
}

static int gvar_block(tp_coupled *c, const tp_block_key *key, tp_block *out)
{
    const tp_gvar *a = tp_gvar_at(&c->families.algebra, key->at[0]), *b = tp_gvar_at(&c->families.algebra, key->at[1]);
    tp_block value = { .zero = true }, passed = { .zero = true };
    double factor = 0;
    if (shares_rows(a, b))
        return tp_family_refuse(&c->families, a->param,
                                "it meets data here and is read by rows there: no exact rule where samples meet");
    if (are_unrelated(a, b))
        return 0;
    if (key->kind == TP_TANGENT && gradient_factor(c, a, &factor))
        return -1;
    if (a->argument == TP_OF_INDEX && key->at[2])
        return 0;
    if (key->kind == TP_TANGENT &&
        block_of(c, (tp_block_key){ TP_OF_GVARS, TP_VALUE, { key->at[0], key->at[1], key->at[2] }, key->p, key->q },
                 &value))
        return -1;
    if (a->argument == TP_OF_VECTOR &&
        block_of(c, (tp_block_key){ TP_OF_FAMILIES, key->kind, { a->node, b->node }, key->p, key->q }, &passed))
        return -1;
    if (value.zero && passed.zero && (key->kind == TP_TANGENT || a->argument == TP_OF_VECTOR))
        return 0;
    if (tp_block_open(c, out, key->p, key->q) || gvar_values(c, key, a, b, &passed, out->values))
        return -1;
    for (size_t i = 0; i < c->rows[key->p] * c->rows[key->q] && !value.zero; i++)
        out->values[i] += factor * value.values[i];
    return 0;
}

/* A matrix that is summed up: its parts are in `part`, (rows, columns), each in its turn. */
typedef struct {
    double *part, *total;
    bool zero;
} block_sum;

static int begin_sum(tp_coupled *c, const tp_block_key *key, block_sum *sum)
{
    size_t count = c->rows[key->p] * c->rows[key->q];
    *sum = (block_sum){ .part = ad_alloc(2 * count + 1, sizeof *sum->part, "a covariance", c->error), .zero = true };
    sum->total = sum->part ? sum->part + count : NULL;
    return sum->part ? 0 : -1;
}

static void add_part(const tp_coupled *c, const tp_block_key *key, double factor, block_sum *sum)
{
    cblas_daxpy((int)(c->rows[key->p] * c->rows[key->q]), factor, sum->part, 1, sum->total, 1);
    sum->zero = false;
}

static int end_sum(tp_coupled *c, const tp_block_key *key, int status, block_sum *sum, tp_block *out)
{
    if (!status && !sum->zero && !(status = tp_block_open(c, out, key->p, key->q)))
        memcpy(out->values, sum->total, c->rows[key->p] * c->rows[key->q] * sizeof *sum->total);
    ad_free(sum->part);
    return status;
}

static int sum_block(tp_coupled *c, const tp_block_key *key, tp_block *out)
{
    size_t m = c->rows[key->p], n = c->rows[key->q];
    const tp_batch_lin *u = tp_batch_lin_at(&c->families, key->at[0]), *v = tp_batch_lin_at(&c->families, key->at[1]);
    block_sum sum;
    int status = begin_sum(c, key, &sum);
    for (int i = 0; i < u->n && !status; i++)
        for (int k = 0; k < v->n && !status; k++) {
            const tp_batch_part *a = &u->parts[i], *b = &v->parts[k];
            tp_block of;
            bool centred =
                fabs(a->own + a->mean) <= tiny * fabs(a->own) && fabs(b->own + b->mean) <= tiny * fabs(b->own);
            status = block_of(
                c, (tp_block_key){ TP_OF_GVARS, key->kind, { a->gvar, b->gvar, centred }, key->p, key->q }, &of);
            if (status || of.zero)
                continue;
            memcpy(sum.part, of.values, m * n * sizeof *sum.part);
            if (centred)
                cblas_dscal((int)(m * n), a->own * b->own, sum.part, 1);
            else
                tp_block_mix(m, n, a->own, a->mean, b->own, b->mean, sum.part);
            add_part(c, key, 1, &sum);
        }
    return end_sum(c, key, status, &sum, out);
}

/* ---- functions ---- */
static int take_sum(tp_coupled *c, int kind, int lin, int lin2, int p, int q, tp_block *out)
{
    return block_of(c, (tp_block_key){ TP_OF_SUMS, kind, { lin, lin2 }, p, q }, out);
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
static int plain_functions(tp_coupled *c, int kind, tp_base_function f, tp_base_function g, int p, int q, tp_block *out)
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
static int normal_functions(tp_coupled *c, int kind, tp_base_function f, tp_base_function g, int p, int q,
                            tp_block *out)
{
    tp_covariances cov = { .tangent = { .zero = true } }, both = cov;
    bool joint = kind == TP_VALUE && c->last == 1 && f.base == g.base;
    if (take_sum(c, TP_VALUE, lin_of(c, f), lin_of(c, g), p, q, &cov.between) ||
        (kind == TP_TANGENT && take_sum(c, kind, lin_of(c, f), lin_of(c, g), p, q, &cov.tangent)) ||
        take_own(c, f, g, p, q, &cov))
        return -1;
    if (joint &&
        (take_sum(c, TP_VALUE, lin_of(c, f), lin_of(c, g), 0, 1, &both.between) || take_own(c, f, g, 0, 1, &both)))
        return -1;
    return tp_normal_block(c, kind, f, g, p, q, &cov, joint ? &both : NULL, out);
}

/* The mean of f over the law of one sample: (rows of p). */
static int take_mean(tp_coupled *c, tp_base_function f, int p, tp_block *out)
{
    return block_of(c, (tp_block_key){ TP_OF_MEANS, TP_VALUE, { f.base, f.fn }, p, p }, out);
}

static int mean_block(tp_coupled *c, const tp_block_key *key, tp_block *out)
{
    tp_base_function f = { key->at[0], key->at[1] };
    tp_block own;
    if (tp_function_odd(c, f))
        return 0;
    return take_sum(c, TP_VALUE, lin_of(c, f), lin_of(c, f), key->p, key->p, &own) ||
                   tp_mean_block(c, f, key->p, &own, out)
               ? -1
               : 0;
}

/* A function of one sample and a normalised one, or two normalised ones, that do not depend on each other. */
static int independent_functions(tp_coupled *c, tp_base_function f, tp_base_function g, int p, int q, tp_block *out)
{
    tp_block first, second;
    if (take_mean(c, f, p, &first) || take_mean(c, g, q, &second))
        return -1;
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

static int function_block(tp_coupled *c, const tp_block_key *key, tp_block *out)
{
    tp_base_function f = { key->at[0], key->at[1] }, g = { key->at[2], key->at[3] };
    tp_block between;
    int p = key->p, q = key->q;
    if (!is_normal(c, f) && !is_normal(c, g))
        return plain_functions(c, key->kind, f, g, p, q, out);
    if (take_sum(c, key->kind, lin_of(c, f), lin_of(c, g), p, q, &between))
        return -1;
    if (between.zero)
        return key->kind == TP_TANGENT ? 0 : independent_functions(c, f, g, p, q, out);
    return is_normal(c, f) && is_normal(c, g) ? normal_functions(c, key->kind, f, g, p, q, out) : refuse_mixed(c, f);
}

/* ---- families ---- */
/* A term as a function of a base; not of the constant 1. */
static int as_function(tp_coupled *c, const tp_family_term *t, tp_base_function *f)
{
    *f = (tp_base_function){ t->of, t->fn };
    if (t->kind == TP_TERM_GVAR)
        *f = (tp_base_function){ tp_base_make(&c->families, TP_BASE_SUM, tp_batch_lin_of(&c->families, t->of), 0, 0),
                                 c->families.algebra.variable };
    return t->kind != TP_TERM_ONE && f->base < 0 ? -1 : 0;
}

/* out = E s t, or its tangent. *zero: out is not written. */
static int term_block(tp_coupled *c, const tp_block_key *key, const tp_family_term *s, const tp_family_term *t,
                      double *out, bool *zero)
{
    size_t m = c->rows[key->p], n = c->rows[key->q];
    bool learned = s->learned >= 0 && s->learned == t->learned;
    bool first = s->kind != TP_TERM_ONE, second = t->kind != TP_TERM_ONE;
    int kind = learned ? (int)TP_VALUE : key->kind;
    tp_base_function f, g;
    tp_block of;
    *zero = true;
    if (s->learned != t->learned || (key->kind == TP_VALUE && s->learned >= 0))
        return 0;
    if (as_function(c, s, &f) || as_function(c, t, &g))
        return -1;
    if (first && second) {
        if (block_of(c, (tp_block_key){ TP_OF_FUNCTIONS, kind, { f.base, f.fn, g.base, g.fn }, key->p, key->q }, &of))
            return -1;
        if (!of.zero)
            memcpy(out, of.values, m * n * sizeof *out);
        *zero = of.zero;
        return 0;
    }
    if (kind == TP_TANGENT)
        return 0;
    if (first || second) {
        if (take_mean(c, first ? f : g, first ? key->p : key->q, &of))
            return -1;
        *zero = of.zero;
        for (size_t i = 0; !of.zero && i < m * n; i++)
            out[i] = of.values[first ? i / n : i % n];
        return 0;
    }
    *zero = false;
    for (size_t i = 0; i < m * n; i++)
        out[i] = 1;
    return 0;
}

static int family_block(tp_coupled *c, const tp_block_key *key, tp_block *out)
{
    size_t m = c->rows[key->p], n = c->rows[key->q];
    const tp_family *a = tp_family_at(&c->families, key->at[0]), *b = tp_family_at(&c->families, key->at[1]);
    block_sum sum;
    int status = begin_sum(c, key, &sum);
    for (int s = 0; s < a->n && !status; s++)
        for (int t = 0; t < b->n && !status; t++) {
            bool zero;
            const tp_family_term *x = &a->terms[s], *y = &b->terms[t];
            status = term_block(c, key, x, y, sum.part, &zero);
            if (status || zero)
                continue;
            tp_block_mix(m, n, !x->mean, x->mean, !y->mean, y->mean, sum.part);
            add_part(c, key, x->c * y->c * pow((double)m, x->batch) * pow((double)n, y->batch), &sum);
        }
    return end_sum(c, key, status, &sum, out);
}

/* ---- any of them ---- */
static int solve_block(tp_algebra *algebra, const void *key)
{
    static int (*const rules[])(tp_coupled *, const tp_block_key *, tp_block *) = {
        [TP_OF_GVARS] = gvar_block,         [TP_OF_SUMS] = sum_block,   [TP_OF_FAMILIES] = family_block,
        [TP_OF_FUNCTIONS] = function_block, [TP_OF_MEANS] = mean_block,
    };
    tp_coupled *c = (tp_coupled *)algebra; /* its first member's first */
    tp_block block = { .zero = true };
    return rules[((const tp_block_key *)key)->of](c, key, &block) ? -1 : tp_block_keep(c, &block);
}

/* ---- a limit ---- */
static void close_coupled(tp_coupled *c)
{
    for (int i = 0; i < c->n_layers; i++)
        tp_batchnorm_free(c->layers[i]);
    ad_free(c->layers);
    ad_free(c->blocks);
    tp_table_free(&c->layer_keys);
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
        status = tp_table_new(&c->layer_keys, c->families.algebra.arena, error);
    int f = status ? -1 : tp_family_of(&c->families, node, tp_point_of(&c->families.algebra, node, NULL));
    tp_block block = { .zero = true };
    int kind = which == TP_NTK ? TP_TANGENT : TP_VALUE;
    if (f < 0 || check_output(c, f, node) ||
        block_of(c, (tp_block_key){ TP_OF_FAMILIES, kind, { f, f }, 0, c->last }, &block))
        status = -1;
    size_t count = c->rows[0] * c->rows[c->last];
    if (!block.zero)
        memcpy(out, block.values, count * sizeof *out);
    else
        memset(out, 0, count * sizeof *out);
    if (!status)
        status = tp_had_memory(&c->families.algebra);
    bool refused = c->families.algebra.refused;
    close_coupled(c);
    if (status && !error->text[0])
        ad_fail(error, "out of memory for the kernels of a batch");
    return !status ? 0 : refused ? TP_NO_RULE : -1;
}

static void describe(const tp_coupled *c, tp_kernel *kernel, int runs)
{
    int length = snprintf(kernel->method, sizeof kernel->method, "exact rules over the batch, Laplace integrals");
    if (c->sampled)
        length = snprintf(kernel->method, sizeof kernel->method,
                          "exact rules over the batch; after batch normalisation the radius is integrated, the sphere "
                          "sampled: %d runs of %zu directions",
                          runs, c->samples);
    char small[160];
    snprintf(
        small, sizeof small,
        "; the centred batch has rank %d: n to infinity at this epsilon, and epsilon = 0 has another limit, or none",
        c->least_rank);
    const char *order =
        c->stops   ? "; nothing goes back through a layer at epsilon = 0 whose centred batch has rank 1: n to infinity "
                     "at epsilon = 0, while epsilon to 0 after n to infinity diverges"
        : c->small ? small
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
    int status = one ? 0 : -1, minimum = spec->runs > 1 ? spec->runs : RUNS;
    int maximum = (spec->tolerance > 0 || spec->runs < 2) && minimum < MAX_RUNS ? MAX_RUNS : minimum;
    const tp_coupled blank = *c;
    *runs = 0;
    while (!status &&
           (*runs == 0 || (c->sampled && (*runs < minimum || (*runs < maximum && kernel->error > c->wanted))))) {
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
                     .wanted = spec->tolerance > 0 ? spec->tolerance : usual_tolerance,
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
