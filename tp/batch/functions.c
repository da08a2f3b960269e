/* functions.c: expectations of functions over batches: V and T* of one sample alone by gauss.h, after batch
 * normalisation by Laplace integrals (homogeneous functions) or over spheres (any other). */
#include "tp/batch/coupled.h"

#include "autodiff/base/base.h"
#include "tp/batch/sphere.h"
#include "tp/gauss/gauss.h"

#include <math.h>
#include <string.h>

static tp_base base_of(const tp_coupled *c, tp_base_function f)
{
    return *tp_base_at(&c->families, f.base);
}

bool tp_function_odd(const tp_coupled *c, tp_base_function f)
{
    return tp_fn_parity(&c->families.algebra, f.fn) == -1;
}

static const double rounding = 0x1p-53;

/* ---- E f(u_a) g(u_c) ---- */
/* *most: the largest difference so far, relative to E |f g|. */
static int by_quadrature(tp_coupled *c, const tp_univariate *f, const tp_univariate *g, double q1, double q2,
                         double q12, double *most, double *out)
{
    double difference, size;
    size_t work;
    int status = tp_quadrature_sized(f, g, q1, q2, q12, out, &difference, &size, &work, c->error);
    c->work += work;
    if (!status && c->work > tp_most_work(c->rows[0] * c->rows[c->last]))
        status = tp_too_much_work(tp_most_work(c->rows[0] * c->rows[c->last]), c->error);
    if (status == TP_TOO_LONG)
        c->families.algebra.refused = true;
    if (status)
        return -1;
    *most = fmax(*most, size > 0 ? difference / size : 0);
    return 0;
}

static int by_mehler(tp_coupled *c, const tp_univariate *f, const tp_univariate *g, size_t m, size_t n,
                     const double *q1, const double *q2, const double *q12, double *most, double *out)
{
    tp_mehler *a = tp_mehler_new(f, m, q1, c->tolerance, 0, c->error);
    tp_mehler *b = a ? tp_mehler_new(g, n, q2, c->tolerance, 0, c->error) : NULL;
    int status = b ? 0 : -1;
    if (!status) {
        double limit = 10 * fmax(c->tolerance, 1e-13), size = a->tails[0] * b->tails[0];
        *most = fmax(*most, a->difference + b->difference + fmax(c->tolerance, 1e-13));
        tp_mehler_tile(a, b, 0, m, 0, n, q12, n, out, n);
        for (size_t i = 0; i < m * n && !status; i++)
            if (tp_mehler_bound(a, b, i / n, i % n, q12[i]) > limit * size)
                status = by_quadrature(c, f, g, q1[i / n], q2[i % n], q12[i], most, &out[i]);
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
    if (tp_univariate_of(&c->families.algebra, fn, &f) || tp_univariate_of(&c->families.algebra, fn2, &g))
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
    double most = 8 * rounding;
    if (!closed && f.n_kinks == 0 && g.n_kinks == 0)
        status = by_mehler(c, &f, &g, m, n, q1, q2, q12, &most, out);
    else if (!closed)
        for (size_t i = 0; i < m * n && !status; i++)
            status = by_quadrature(c, &f, &g, q1[i / n], q2[i % n], q12[i], &most, &out[i]);
    c->difference += most;
    ad_free(wide);
    return status;
}

/* The diagonal of a covariance over one batch, of n samples. */
static void variances(const tp_block *own, size_t n, double *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = own->zero ? 0 : own->values[i * n + i];
}

/* Is E f(u) g(u') the covariance itself? */
static bool are_variables(const tp_coupled *c, tp_base_function f, tp_base_function g)
{
    return f.fn == c->families.algebra.variable && g.fn == f.fn;
}

bool tp_plain_takes_variances(const tp_coupled *c, tp_base_function f, tp_base_function g, const tp_block *between)
{
    return !are_variables(c, f, g) && !(between->zero && (tp_function_odd(c, f) || tp_function_odd(c, g)));
}

/* Covariances that were sampled apart from their variances may pass these: they are brought back, and how far, relative
 * to the variances, is an error. Of what bends or jumps it counts by the angle that it makes, its root. */
static void bound_covariances(tp_coupled *c, bool smooth, size_t m, size_t n, const double *q1, const double *q2,
                              double *q12)
{
    double most = 0;
    for (size_t i = 0; i < m * n && c->sampled; i++) {
        double size = sqrt(q1[i / n] * q2[i % n]);
        if (!(fabs(q12[i]) > size))
            continue;
        most = fmax(most, fabs(q12[i]) / size - 1);
        q12[i] = copysign(size, q12[i]);
    }
    c->difference += smooth ? most : sqrt(most);
}

int tp_plain_block(tp_coupled *c, tp_base_function f, tp_base_function g, int p, int q, const tp_covariances *cov,
                   tp_block *out)
{
    size_t m = c->rows[p], n = c->rows[q];
    bool zero = cov->between.zero;
    if (zero && !tp_plain_takes_variances(c, f, g, &cov->between))
        return 0;
    if (tp_block_open(c, out, p, q))
        return -1;
    if (are_variables(c, f, g)) {
        memcpy(out->values, cov->between.values, m * n * sizeof(double));
        return 0;
    }
    double *memory = ad_alloc(m + n + m * n, sizeof *memory, "variances", c->error);
    if (!memory)
        return -1;
    variances(&cov->first, m, memory);
    variances(&cov->second, n, memory + m);
    if (!zero)
        memcpy(memory + m + n, cov->between.values, m * n * sizeof *memory);
    bool smooth = tp_fn_smooth(&c->families.algebra, f.fn) && tp_fn_smooth(&c->families.algebra, g.fn);
    bound_covariances(c, smooth, m, n, memory, memory + m, memory + m + n);
    int status = expectations(c, f.fn, g.fn, m, n, memory, memory + m, memory + m + n, out->values);
    ad_free(memory);
    return status;
}

/* ---- after batch normalisation ---- */
static void eval_block(const void *given, size_t n, const double *x, double *y)
{
    const tp_univariate *u = given;
    u->eval(u, n, x, y);
}

/* What eval_block is given for a function; in pieces where it takes many steps, made once. */
static const tp_univariate *evaluated(tp_coupled *c, int fn)
{
    tp_algebra *algebra = &c->families.algebra;
    void *functions = c->functions;
    for (; c->n_functions <= fn; c->n_functions++) {
        if (!ad_arena_grow(algebra->arena, &functions, c->n_functions, &c->functions_capacity, sizeof *c->functions)) {
            ad_fail(c->error, "out of memory for a function");
            return NULL;
        }
        c->functions = functions;
        c->functions[c->n_functions] = NULL;
    }
    if (c->functions[fn])
        return c->functions[fn];
    tp_univariate *u = ad_arena_alloc(algebra->arena, 1, sizeof *u);
    if (!u)
        ad_fail(c->error, "out of memory for a function");
    if (!u || tp_univariate_tree(algebra, fn, u))
        return NULL;
    if (tp_fn_smooth(algebra, fn) && !tp_fn_at(algebra, fn)->scalars && tp_in_pieces(u, algebra->arena, c->error))
        return NULL;
    return c->functions[fn] = u;
}

static bool is_homogeneous(const tp_coupled *c, int fn)
{
    return fabs(tp_fn_degree(&c->families.algebra, fn) - 1) < 1e-12;
}

/* A homogeneous function's slopes, or those nearest to any other. */
static int slopes_of(tp_coupled *c, int fn, tp_slopes *slopes)
{
    double x[3] = { 1, -1, 0 }, y[3];
    if (!is_homogeneous(c, fn)) {
        const tp_univariate *f = evaluated(c, fn);
        if (f)
            *slopes = tp_nearest_slopes(&(tp_block_function){ eval_block, f });
        return f ? 0 : -1;
    }
    int slope = tp_fn_derivative(&c->families.algebra, fn);
    if (slope < 0 || tp_fn_prepare(&c->families.algebra, fn) || tp_fn_prepare(&c->families.algebra, slope))
        return -1;
    tp_fn_eval(&c->families.algebra, fn, NULL, 2, x, y);
    tp_fn_eval(&c->families.algebra, slope, NULL, 1, x + 2, y + 2);
    *slopes = (tp_slopes){ y[0], -y[1], y[2] };
    return 0;
}

/* The layer of two normalised sums; spec->phi are set by the caller. One batch, if both are the same. */
static int layer_spec(tp_coupled *c, tp_base_function f, tp_base_function g, int p, int q, const tp_covariances *cov,
                      tp_batchnorm_spec *spec)
{
    bool one = f.base == g.base && p == q;
    const tp_block *blocks[3] = { &cov->first, &cov->second, &cov->between };
    const double **k[3] = { &spec->k11, &spec->k22, &spec->k12 };
    spec->rows = c->rows[p];
    spec->epsilon = base_of(c, f).epsilon;
    spec->backward = c->tangent && p == 0 && q == c->last;
    for (int i = 0; i < (one ? 1 : 3); i++) {
        tp_block zeros = { .zero = true };
        if (blocks[i]->zero && tp_block_open(c, &zeros, i == 1 ? q : p, i == 0 ? p : q))
            return -1;
        *k[i] = blocks[i]->zero ? zeros.values : blocks[i]->values;
    }
    if (!one) {
        spec->rows2 = c->rows[q];
        spec->epsilon2 = base_of(c, g).epsilon;
    }
    return 0;
}

static void note_heavy(tp_coupled *c, const tp_batchnorm *layer)
{
    size_t rank;
    int own = tp_batchnorm_rank(layer);
    if (own < 3 && (!c->small || own < c->least_rank))
        c->least_rank = own;
    c->small = c->small || own < 3;
    if (tp_batchnorm_heavy(layer, &rank)) {
        c->heavy_rank = c->heavy && c->heavy_rank < rank ? c->heavy_rank : rank;
        c->heavy = true;
    }
}

/* The layer of two homogeneous functions, which a function is or has nearest to it: V and T share its quadrature. */
static tp_batchnorm *layer_of(tp_coupled *c, tp_base_function f, tp_base_function g, int p, int q,
                              const tp_covariances *cov, tp_batchnorm_spec *spec)
{
    const int key[] = { f.base, f.fn, g.base, g.fn, p, q };
    if (slopes_of(c, f.fn, &spec->phi) || slopes_of(c, g.fn, &spec->phi2) || layer_spec(c, f, g, p, q, cov, spec))
        return NULL;
    int id = tp_intern(&c->layer_keys, key, sizeof key);
    if (id >= 0 && id < c->n_layers)
        return c->layers[id];
    void *layers = c->layers;
    bool there = ad_grow(&layers, c->n_layers, &c->layers_capacity, sizeof *c->layers, "layers", c->error);
    c->layers = layers;
    if (id < 0 || !there) {
        tp_family_no_memory(&c->families);
        return NULL;
    }
    tp_batchnorm *layer = c->layers[c->n_layers++] = tp_batchnorm_new(spec, c->error);
    if (layer)
        c->difference += tp_batchnorm_difference(layer) + tp_batchnorm_rounding(layer);
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
    c->difference += difference + tp_batchnorm_rounding(layer);
    return 0;
}

/* The functions, and the directions by which they are to be sampled; theta: T* is wanted. */
static int sphere_spec(tp_coupled *c, const tp_batchnorm_spec *layer, int fn, int fn2, const double *theta,
                       tp_sphere_spec *spec)
{
    *spec =
        (tp_sphere_spec){ .layer = *layer,
                          .theta = theta,
                          .samples = c->samples,
                          .most_off = c->wanted / 4,
                          .smooth = tp_fn_smooth(&c->families.algebra, fn) && tp_fn_smooth(&c->families.algebra, fn2) };
    int fns[2] = { fn, fn2 };
    for (int i = 0; i < 2; i++) {
        int slope = theta ? tp_fn_derivative(&c->families.algebra, fns[i]) : fns[i];
        const tp_univariate *f = evaluated(c, fns[i]);
        const tp_univariate *df = f && slope >= 0 ? evaluated(c, slope) : NULL;
        if (!df)
            return -1;
        spec->f[i] = (tp_block_function){ eval_block, f };
        spec->slope[i] = (tp_block_function){ eval_block, df };
    }
    return 0;
}

/* What the functions have beyond the homogeneous ones, added to out (rows, columns). Without a seed, another one each
 * time. */
static int sphere_part(tp_coupled *c, tp_sphere_spec *spec, size_t rows, size_t columns, double *out)
{
    size_t count = rows * columns;
    double *value = ad_alloc(count, sizeof *value, "a kernel", c->error);
    bool sampled = true, in_all = false;
    double off = 0, part = 0, whole = 0;
    if (!spec->seed)
        spec->seed = c->seed + 31 * (uint64_t)++c->n_spheres;
    int status = value ? tp_sphere(spec, value, &in_all, &off, &sampled, c->error) : -1;
    for (size_t i = 0; i < count && !status; i++) {
        out[i] = in_all ? value[i] : out[i] + value[i];
        part = fmax(part, fabs(value[i]));
        whole = fmax(whole, fabs(out[i]));
    }
    c->difference += whole > 0 ? off * part / whole : 0;
    c->sampled = c->sampled || sampled;
    ad_free(value);
    return status;
}

/* Batches that are not sampled apart, and each with itself: by the directions of both, the same for all functions of
 * their sum. */
static int take_both(tp_coupled *c, tp_base_function f, tp_base_function g, int p, int q, const tp_covariances *joint,
                     tp_sphere_spec *spec)
{
    enum { OTHERS = 1 << 20 };
    bool apart;
    tp_sphere_spec both = *spec;
    if (layer_spec(c, f, g, 0, 1, joint, &both.layer))
        return -1;
    both.layer.backward = false;
    if (tp_spheres_apart(&both, &apart, c->error))
        return -1;
    if (apart)
        return 0;
    both.own = p == q ? p + 1 : 0;
    both.seed = c->seed + 31 * (uint64_t)(OTHERS + f.base);
    *spec = both;
    return 0;
}

int tp_normal_block(tp_coupled *c, int kind, tp_base_function f, tp_base_function g, int p, int q,
                    const tp_covariances *cov, const tp_covariances *joint, tp_block *out)
{
    const double *tangent = kind == TP_TANGENT ? cov->tangent.values : NULL;
    if (tp_block_open(c, out, p, q))
        return -1;
    tp_batchnorm_spec of_both = { .backward = false };
    const tp_batchnorm *layer = layer_of(c, f, g, p, q, cov, &of_both);
    c->stops = c->stops || (layer && tangent && tp_batchnorm_stops(layer));
    if (layer && tangent && tp_batchnorm_stops(layer))
        return 0;
    if (!layer || laplace_part(c, layer, tangent, c->rows[p] * c->rows[q], out->values))
        return -1;
    if (is_homogeneous(c, f.fn) && is_homogeneous(c, g.fn))
        return 0;
    tp_sphere_spec spec;
    return sphere_spec(c, &of_both, f.fn, g.fn, tangent, &spec) || (joint && take_both(c, f, g, p, q, joint, &spec)) ||
                   sphere_part(c, &spec, c->rows[p], c->rows[q], out->values)
               ? -1
               : 0;
}

/* ---- means ---- */
static int plain_mean(tp_coupled *c, int fn, int unit, size_t n, const tp_block *own, double *scratch, double *out)
{
    double zero = 0;
    variances(own, n, scratch);
    return expectations(c, fn, unit, n, 1, scratch, &zero, scratch + n, out);
}

/* Against 1, which has no homogeneous function near it. scratch: (n, n). */
static int normal_mean(tp_coupled *c, tp_base_function f, int unit, int p, const tp_block *own, double *scratch,
                       double *out)
{
    size_t n = c->rows[p];
    tp_batchnorm_spec spec = { .backward = false };
    tp_covariances cov = { *own, *own, *own, { .zero = true } };
    const tp_batchnorm *layer = layer_of(c, f, f, p, p, &cov, &spec);
    if (!layer)
        return -1;
    tp_batchnorm_mean(layer, out);
    if (is_homogeneous(c, f.fn))
        return 0;
    spec.phi2 = (tp_slopes){ 0, 0, 0 };
    memset(scratch, 0, n * n * sizeof *scratch);
    tp_sphere_spec sphere;
    int status = sphere_spec(c, &spec, f.fn, unit, NULL, &sphere) || sphere_part(c, &sphere, n, n, scratch) ? -1 : 0;
    for (size_t i = 0; i < n; i++)
        out[i] = scratch[i * n];
    return status;
}

int tp_mean_block(tp_coupled *c, tp_base_function f, int p, const tp_block *own, tp_block *out)
{
    size_t n = c->rows[p];
    int unit = tp_fn_number(&c->families.algebra, 1);
    double *scratch = ad_alloc(2 * n + n * n, sizeof *scratch, "a mean", c->error);
    int status = scratch && unit >= 0 && !tp_block_open(c, out, p, p) ? 0 : -1;
    if (!status)
        status = base_of(c, f).kind == TP_BASE_SUM ? plain_mean(c, f.fn, unit, n, own, scratch, out->values)
                                                   : normal_mean(c, f, unit, p, own, scratch, out->values);
    ad_free(scratch);
    return status;
}
