/* coupled_functions.c: expectations of functions over batches: V and T* of one sample alone by gauss.h, after batch
 * normalisation by Laplace integrals (homogeneous functions) or over spheres (any other). */
#include "tp/batch/coupled.h"
#include "tp/batch/sphere.h"
#include "tp/gauss/gauss.h"

#include <math.h>
#include <string.h>

enum { OF_FUNCTIONS = 16, OF_MEANS, OF_LAYERS, MOST_KINKS = 32 };

/* ---- functions ---- */
typedef struct {
    const tp_algebra *algebra;
    int fn;
} fn_context;

static void eval_univariate(const tp_univariate *u, size_t n, const double *x, double *y)
{
    const fn_context *context = u->context;
    tp_fn_eval(context->algebra, context->fn, NULL, n, x, y);
}

static void eval_block(const void *given, size_t n, const double *x, double *y)
{
    const fn_context *context = given;
    tp_fn_eval(context->algebra, context->fn, NULL, n, x, y);
}

static fn_context *context_of(tp_coupled *c, int fn)
{
    fn_context *context = ad_arena_alloc(c->families.algebra.arena, 1, sizeof *context);
    if (context)
        *context = (fn_context){ &c->families.algebra, fn };
    else
        ad_fail(c->error, "out of memory for a function");
    return context;
}

/* By its form if it is a row of the op table, else by evaluating it. */
static int univariate(tp_coupled *c, int fn, tp_univariate *u)
{
    const tp_algebra *algebra = &c->families.algebra;
    const tp_fn *f = tp_fn_at(algebra, fn);
    if (f->op == TP_VARIABLE)
        *u = tp_univariate_form(TP_ID, 0);
    else if (f->op == TP_NUMBER && !(fabs(f->p - 1) > 0))
        *u = tp_univariate_form(TP_ONE, 0);
    else if (f->op < AD_CUSTOM && f->a == algebra->variable)
        *u = tp_univariate_op((ad_op)f->op, f->p);
    else {
        fn_context *context = context_of(c, fn);
        double *kinks = context ? ad_arena_alloc(algebra->arena, MOST_KINKS, sizeof *kinks) : NULL;
        if (!kinks)
            return ad_fail(c->error, "out of memory for a function");
        int n = tp_fn_kinks(algebra, fn, NULL, kinks, MOST_KINKS);
        if (n > MOST_KINKS)
            return ad_fail(c->error, "a function with %d kinks; at most %d are integrated", n, MOST_KINKS);
        *u = (tp_univariate){ .form = TP_NUMERIC,
                              .eval = eval_univariate,
                              .context = context,
                              .kinks = kinks,
                              .n_kinks = n,
                              .parity = tp_fn_parity(algebra, fn) };
    }
    return 0;
}

/* ---- E f(u_a) g(u_c) ---- */
static int by_rule(tp_coupled *c, const tp_univariate *f, const tp_univariate *g, double q1, double q2, double q12,
                   double size, double *out)
{
    double difference;
    if (tp_quadrature(f, g, q1, q2, q12, out, &difference, c->error))
        return -1;
    c->difference = fmax(c->difference, size > 0 ? difference / size : 0);
    return 0;
}

static int by_series(tp_coupled *c, const tp_univariate *f, const tp_univariate *g, size_t m, size_t n,
                     const double *q1, const double *q2, const double *q12, double *out)
{
    tp_mehler *a = tp_mehler_new(f, m, q1, c->tolerance, 0, c->error);
    tp_mehler *b = a ? tp_mehler_new(g, n, q2, c->tolerance, 0, c->error) : NULL;
    int status = b ? 0 : -1;
    if (!status) {
        double limit = 10 * fmax(c->tolerance, 1e-13), size = a->tails[0] * b->tails[0];
        c->difference = fmax(c->difference, fmax(a->difference, b->difference));
        tp_mehler_tile(a, b, 0, m, 0, n, q12, n, out, n);
        for (size_t i = 0; i < m * n && !status; i++)
            if (tp_mehler_bound(a, b, i / n, i % n, q12[i]) > limit * size)
                status = by_rule(c, f, g, q1[i / n], q2[i % n], q12[i], size, &out[i]);
    }
    tp_mehler_free(a);
    tp_mehler_free(b);
    return status;
}

/* q1 (m), q2 (n), q12 (m, n). */
static int expectations(tp_coupled *c, int fn, int fn2, size_t m, size_t n, const double *q1, const double *q2,
                        const double *q12, double *out)
{
    tp_univariate f, g;
    if (univariate(c, fn, &f) || univariate(c, fn2, &g))
        return -1;
    double *wide = ad_alloc(2 * m * n + 1, sizeof *wide, "expectations", c->error);
    if (!wide)
        return -1;
    for (size_t i = 0; i < m * n; i++) {
        wide[i] = q1[i / n];
        wide[m * n + i] = q2[i % n];
    }
    bool closed = tp_closed(&f, &g, m * n, wide, wide + m * n, q12, NULL, out);
    int status = 0;
    if (!closed && f.n_kinks == 0 && g.n_kinks == 0)
        status = by_series(c, &f, &g, m, n, q1, q2, q12, out);
    else if (!closed)
        for (size_t i = 0; i < m * n && !status; i++)
            status = by_rule(c, &f, &g, q1[i / n], q2[i % n], q12[i], fabs(out[i]), &out[i]);
    ad_free(wide);
    return status;
}

/* The diagonal of a sum's covariance over one batch. */
static int variances(tp_coupled *c, int lin, int p, double *out)
{
    const tp_block *block = tp_sum_block(c, TP_VALUE, lin, lin, p, p);
    for (size_t i = 0; block && i < c->rows[p]; i++)
        out[i] = block->zero ? 0 : block->values[i * c->rows[p] + i];
    return block ? 0 : -1;
}

static int plain_block(tp_coupled *c, tp_block_kind kind, int lin, int fn, int lin2, int fn2, int p, int q,
                       tp_block *out)
{
    size_t m = c->rows[p], n = c->rows[q];
    const tp_block *cov = tp_sum_block(c, TP_VALUE, lin, lin2, p, q), *tangent = NULL;
    if (!cov)
        return -1;
    tp_block covariance = *cov;
    if (kind == TP_TANGENT) {
        if (!(tangent = tp_sum_block(c, TP_TANGENT, lin, lin2, p, q)))
            return -1;
        if (tangent->zero)
            return 0;
        tp_block passed = *tangent;
        fn = tp_fn_derivative(&c->families, fn);
        fn2 = fn < 0 ? -1 : tp_fn_derivative(&c->families, fn2);
        if (fn2 < 0 || plain_block(c, TP_VALUE, lin, fn, lin2, fn2, p, q, out))
            return -1;
        for (size_t i = 0; i < m * n && !out->zero; i++)
            out->values[i] *= passed.values[i];
        return 0;
    }
    int variable = c->families.algebra.variable;
    if (fn == variable && fn2 == variable) {
        *out = covariance;
        if (covariance.zero || tp_block_open(c, out, p, q))
            return covariance.zero ? 0 : -1;
        memcpy(out->values, covariance.values, m * n * sizeof(double));
        return 0;
    }
    bool odd = tp_fn_parity(&c->families.algebra, fn) == -1 || tp_fn_parity(&c->families.algebra, fn2) == -1;
    if (covariance.zero && odd)
        return 0;
    double *memory = ad_alloc(m + n + m * n, sizeof *memory, "variances", c->error);
    int status = memory && !tp_block_open(c, out, p, q) ? 0 : -1;
    if (!status && !covariance.zero)
        memcpy(memory + m + n, covariance.values, m * n * sizeof *memory);
    if (!status)
        status = variances(c, lin, p, memory) || variances(c, lin2, q, memory + m) ? -1 : 0;
    if (!status)
        status = expectations(c, fn, fn2, m, n, memory, memory + m, memory + m + n, out->values);
    ad_free(memory);
    return status;
}

/* ---- after batch normalisation ---- */
static bool is_homogeneous(const tp_coupled *c, int fn)
{
    return fabs(tp_fn_degree(&c->families, fn) - 1) < 1e-12;
}

/* A homogeneous function's slopes, or those nearest to any other. */
static int slopes_of(tp_coupled *c, int fn, tp_slopes *slopes)
{
    double x[3] = { 1, -1, 0 }, y[3];
    if (!is_homogeneous(c, fn)) {
        const fn_context *context = context_of(c, fn);
        if (context)
            *slopes = tp_nearest_slopes(&(tp_block_function){ eval_block, context });
        return context ? 0 : -1;
    }
    int slope = tp_fn_derivative(&c->families, fn);
    if (slope < 0)
        return -1;
    tp_fn_eval(&c->families.algebra, fn, NULL, 2, x, y);
    tp_fn_eval(&c->families.algebra, slope, NULL, 1, x + 2, y + 2);
    *slopes = (tp_slopes){ y[0], -y[1], y[2] };
    return 0;
}

/* The layer of two normalised sums; spec->phi are set by the caller. One batch, if both are the same. */
static int layer_spec(tp_coupled *c, int base, int base2, int p, int q, tp_batchnorm_spec *spec)
{
    tp_base a = *tp_base_at(&c->families, base), b = *tp_base_at(&c->families, base2);
    spec->rows = c->rows[p];
    spec->epsilon = a.epsilon;
    spec->backward = c->tangent && p == 0 && q == c->last;
    const double **k[3] = { &spec->k11, &spec->k22, &spec->k12 };
    bool one = base == base2 && p == q;
    for (int i = 0; i < (one ? 1 : 3); i++) {
        int first = i == 1 ? b.lin : a.lin, second = i == 0 ? a.lin : b.lin, from = i == 1 ? q : p, to = i == 0 ? p : q;
        tp_block zeros = { .zero = true };
        const tp_block *cov = tp_sum_block(c, TP_VALUE, first, second, from, to);
        if (!cov || (cov->zero && tp_block_open(c, &zeros, from, to)))
            return -1;
        *k[i] = cov->zero ? zeros.values : cov->values;
    }
    if (!one) {
        spec->rows2 = c->rows[q];
        spec->epsilon2 = b.epsilon;
    }
    return 0;
}

static void note_heavy(tp_coupled *c, const tp_batchnorm *layer)
{
    size_t rank;
    if (tp_batchnorm_heavy(layer, &rank)) {
        c->heavy_rank = c->heavy && c->heavy_rank < rank ? c->heavy_rank : rank;
        c->heavy = true;
    }
}

/* The layer of two homogeneous functions, which a function is or has nearest to it: V and T share its quadrature. */
static tp_batchnorm *layer_of(tp_coupled *c, int base, int fn, int base2, int fn2, int p, int q,
                              tp_batchnorm_spec *spec)
{
    bool made;
    const int key[] = { OF_LAYERS, base, fn, base2, fn2, p, q };
    const tp_block *block = tp_block_of(c, key, sizeof key / sizeof *key, &made);
    int id = block ? (int)(block - c->blocks) : -1;
    if (!block || slopes_of(c, fn, &spec->phi) || slopes_of(c, fn2, &spec->phi2) ||
        layer_spec(c, base, base2, p, q, spec))
        return NULL;
    for (int i = 0; i < c->n_layers && !made; i++)
        if (c->layers[i].key == id)
            return c->layers[i].layer;
    if (c->n_layers == c->layers_room) {
        int room = 2 * c->layers_room + 8;
        struct tp_layer_memo *larger = ad_alloc((size_t)room, sizeof *larger, "layers", c->error);
        if (!larger)
            return NULL;
        if (c->n_layers)
            memcpy(larger, c->layers, (size_t)c->n_layers * sizeof *larger);
        ad_free(c->layers);
        c->layers = larger;
        c->layers_room = room;
    }
    tp_batchnorm *layer = tp_batchnorm_new(spec, c->error);
    if (!layer)
        return NULL;
    c->layers[c->n_layers++] = (struct tp_layer_memo){ id, layer };
    c->difference = fmax(c->difference, tp_batchnorm_difference(layer));
    return layer;
}

static int laplace_part(tp_coupled *c, const tp_batchnorm *layer, const double *tangent, size_t count, double *out)
{
    double difference = 0;
    if (!tangent) {
        memcpy(out, tp_batchnorm_forward(layer), count * sizeof *out);
        return 0;
    }
    note_heavy(c, layer);
    if (tp_batchnorm_transpose(layer, tangent, out, &difference, c->error))
        return -1;
    c->difference = fmax(c->difference, difference);
    return 0;
}

/* What the functions have beyond the homogeneous ones, added to out. */
static int sphere_part(tp_coupled *c, const tp_batchnorm_spec *layer, int fn, int fn2, const double *tangent,
                       double *out)
{
    size_t rows2 = layer->rows2 ? layer->rows2 : layer->rows, count = layer->rows * rows2;
    tp_sphere_spec spec = {
        .layer = *layer, .theta = tangent, .samples = c->samples, .seed = c->seed + 31 * (uint64_t)++c->n_spheres
    };
    int fns[2] = { fn, fn2 };
    for (int i = 0; i < 2; i++) {
        int slope = tangent ? tp_fn_derivative(&c->families, fns[i]) : fns[i];
        const fn_context *f = i && fn2 == fn ? spec.f[0].context : context_of(c, fns[i]);
        const fn_context *df = f && slope >= 0 ? context_of(c, slope) : NULL;
        if (!df)
            return -1;
        spec.f[i] = (tp_block_function){ eval_block, f };
        spec.slope[i] = (tp_block_function){ eval_block, df };
    }
    double *value = ad_alloc(2 * count, sizeof *value, "a kernel", c->error), *passed = value ? value + count : NULL;
    int status = value ? tp_sphere(&spec, value, passed, c->error) : -1;
    for (size_t i = 0; i < count && !status; i++)
        out[i] += tangent ? passed[i] : value[i];
    c->sampled = true;
    ad_free(value);
    return status;
}

static int normal_block(tp_coupled *c, tp_block_kind kind, int base, int fn, int base2, int fn2, int p, int q,
                        tp_block *out)
{
    tp_base a = *tp_base_at(&c->families, base), b = *tp_base_at(&c->families, base2);
    const tp_block *of = tp_sum_block(c, TP_VALUE, a.lin, b.lin, p, q);
    if (!of)
        return -1;
    bool apart = of->zero;
    bool odd = tp_fn_parity(&c->families.algebra, fn) == -1 || tp_fn_parity(&c->families.algebra, fn2) == -1;
    if (kind == TP_TANGENT && !(of = tp_sum_block(c, TP_TANGENT, a.lin, b.lin, p, q)))
        return -1;
    if ((kind == TP_TANGENT && of->zero) || (kind == TP_VALUE && apart && odd))
        return 0;
    const double *tangent = kind == TP_TANGENT ? of->values : NULL;
    if (tp_block_open(c, out, p, q))
        return -1;
    tp_batchnorm_spec spec = { .backward = false };
    const tp_batchnorm *layer = layer_of(c, base, fn, base2, fn2, p, q, &spec);
    if (!layer || laplace_part(c, layer, tangent, c->rows[p] * c->rows[q], out->values))
        return -1;
    bool homogeneous = is_homogeneous(c, fn) && is_homogeneous(c, fn2);
    return homogeneous ? 0 : sphere_part(c, &spec, fn, fn2, tangent, out->values);
}

/* ---- any two ---- */
const tp_block *tp_function_mean(tp_coupled *c, int base, int fn, int p)
{
    bool made;
    const int key[] = { OF_MEANS, base, fn, p };
    tp_block *block = tp_block_of(c, key, sizeof key / sizeof *key, &made), mean = { .zero = true };
    if (!block || !made || tp_fn_parity(&c->families.algebra, fn) == -1)
        return block;
    int id = (int)(block - c->blocks), status = 0;
    size_t n = c->rows[p];
    tp_base of = *tp_base_at(&c->families, base);
    int unit = tp_fn_intern(&c->families.algebra, (tp_fn){ .op = TP_NUMBER, .p = 1 });
    double *memory = ad_alloc(2 * n + n * n, sizeof *memory, "a mean", c->error);
    if (!memory || unit < 0 || tp_block_open(c, &mean, p, p)) {
        ad_free(memory);
        return NULL;
    }
    if (of.kind == TP_BASE_SUM) {
        double zero = 0;
        for (size_t i = 0; i < n && !status; i++)
            status = i == 0 ? variances(c, of.lin, p, memory) : 0;
        status = status ? -1 : expectations(c, fn, unit, n, 1, memory, &zero, memory + 2 * n, mean.values);
    } else {
        tp_batchnorm_spec spec = { .backward = false };
        const tp_batchnorm *layer = layer_of(c, base, fn, base, fn, p, p, &spec);
        status = layer ? 0 : -1;
        if (layer)
            tp_batchnorm_mean(layer, mean.values);
        if (layer && !is_homogeneous(c, fn)) { /* against 1, which has no homogeneous function near it */
            spec.phi2 = (tp_slopes){ 0, 0, 0 };
            memset(memory + 2 * n, 0, n * n * sizeof *memory);
            status = sphere_part(c, &spec, fn, unit, NULL, memory + 2 * n);
            for (size_t i = 0; i < n; i++)
                mean.values[i] = memory[2 * n + i * n];
        }
    }
    ad_free(memory);
    c->blocks[id] = mean;
    return status ? NULL : &c->blocks[id];
}

static int lin_of(const tp_coupled *c, int base)
{
    return tp_base_at(&c->families, base)->lin;
}

/* A function of one sample and a normalised one, or two normalised ones, that do not depend on each other. */
static int means_block(tp_coupled *c, int base, int fn, int base2, int fn2, int p, int q, tp_block *out)
{
    const tp_block *a = tp_function_mean(c, base, fn, p);
    tp_block first = a ? *a : (tp_block){ .zero = true };
    const tp_block *b = a ? tp_function_mean(c, base2, fn2, q) : NULL;
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

static int refuse_mixed(tp_coupled *c, int base)
{
    const tp_batch_lin *u = tp_batch_lin_at(&c->families, lin_of(c, base));
    int param = tp_gvar_at(&c->families.algebra, u->parts[0].gvar)->param;
    return tp_family_refuse(&c->families, param,
                            "a function of its product and one of that product normalised over the "
                            "batch meet: no exact rule");
}

static int compute(tp_coupled *c, tp_block_kind kind, int base, int fn, int base2, int fn2, int p, int q, tp_block *out)
{
    bool normal = tp_base_at(&c->families, base)->kind == TP_BASE_NORMAL;
    bool normal2 = tp_base_at(&c->families, base2)->kind == TP_BASE_NORMAL;
    if (!normal && !normal2)
        return plain_block(c, kind, lin_of(c, base), fn, lin_of(c, base2), fn2, p, q, out);
    const tp_block *cov = tp_sum_block(c, kind, lin_of(c, base), lin_of(c, base2), p, q);
    if (!cov)
        return -1;
    if (cov->zero)
        return kind == TP_TANGENT ? 0 : means_block(c, base, fn, base2, fn2, p, q, out);
    return normal && normal2 ? normal_block(c, kind, base, fn, base2, fn2, p, q, out) : refuse_mixed(c, base);
}

const tp_block *tp_function_block(tp_coupled *c, tp_block_kind kind, int base, int fn, int base2, int fn2, int p, int q)
{
    bool made;
    const int key[] = { OF_FUNCTIONS, (int)kind, base, fn, base2, fn2, p, q };
    tp_block *block = tp_block_of(c, key, sizeof key / sizeof *key, &made), result = { .zero = true };
    if (!block || !made || base < 0 || base2 < 0)
        return base < 0 || base2 < 0 ? NULL : block;
    int id = (int)(block - c->blocks);
    if (compute(c, kind, base, fn, base2, fn2, p, q, &result))
        return NULL;
    c->blocks[id] = result;
    return &c->blocks[id];
}
