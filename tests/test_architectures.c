/* Random architectures: a seeded generator writes networks, and the exact engine, the executor and wide finite networks
 * must agree on each. LIMN_ARCHITECTURES=200 in the environment makes it 200 of them in place of 30. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 3, FEATURES = 6, WIDTH = 1024, SEEDS = 8, ENTRIES = ROWS * ROWS, MOST = 12, NETS = 30 };

/* ---- the generator ---- */
static uint64_t generator_seed;
static char story[1000]; /* what was generated, for messages */

typedef struct {
    uint64_t at;
    nn_net *net;
    ad_axis n;
    ad_var pool[MOST]; /* vectors over n */
    nn_weight weights[MOST];
    int n_pool, n_weights;
} maker;

static double unit(maker *m)
{
    double u;
    ad_uniform(generator_seed, ad_stream("architecture"), m->at++, 1, &u);
    return u;
}

static int below(maker *m, int n)
{
    return (int)(unit(m) * n);
}

static void tell(const char *what, const char *name, int a, int b)
{
    size_t length = strlen(story);
    if (*name)
        snprintf(story + length, sizeof story - length, " %s", name);
    else
        snprintf(story + length, sizeof story - length, b < 0 ? " %s(%d)" : " %s(%d,%d)", what, a, b);
}

static ad_var any(maker *m, int *which)
{
    *which = below(m, m->n_pool);
    return m->pool[*which];
}

static ad_var activation(maker *m, ad_var x, bool bounded)
{
    static const ad_op all[] = { AD_TANH, AD_ERF, AD_SIN, AD_SIGMOID, AD_RELU, AD_GELU, AD_ABS, AD_SWISH, AD_COS };
    ad_op op = all[below(m, bounded ? 4 : 9)];
    tell("", ad_op_name(op), 0, 0);
    return ad_unary_at(AD_HERE, op, x, 0);
}

static void push(maker *m, ad_var x)
{
    m->pool[m->n_pool++] = x;
}

static nn_weight weight(maker *m)
{
    nn_weight w = nn_make_weight(m->net, nn_name(m->net, "w%d", m->n_weights), m->n, m->n, 0.8 + 0.6 * unit(m));
    m->weights[m->n_weights++] = w;
    return w;
}

/* One more vector: a new matrix, an old one again, an old one's transpose, a residual sum, a product of gates, or a
 * vector divided by its size. */
static void grow(maker *m)
{
    int a, b, kind = below(m, 10);
    ad_var x = any(m, &a), y = any(m, &b);
    if (kind < 4 || m->n_weights == 0) {
        tell("new", "", a, -1);
        push(m, nn_apply(weight(m), activation(m, x, false)));
    } else if (kind < 6) {
        int k = below(m, m->n_weights);
        tell("again", "", k, a);
        push(m, nn_apply(m->weights[k], activation(m, x, false)));
    } else if (kind < 7) {
        int k = below(m, m->n_weights);
        tell("transpose", "", k, a);
        push(m, nn_apply_t(m->weights[k], activation(m, x, true)));
    } else if (kind < 8) {
        tell("sum", "", a, b);
        push(m, ad_scale(ad_add(x, y), 0.7));
    } else if (kind < 9) {
        tell("product", "", a, b);
        push(m, ad_mul(activation(m, x, true), activation(m, y, true)));
    } else {
        tell("normalised", "", a, -1);
        ad_var size = ad_mean(ad_add(ad_square(x), ad_square(ad_tanh(x))), ad_shape_of(m->n));
        push(m, ad_mul(x, ad_expand(ad_rsqrt(ad_unary_at(AD_HERE, AD_EXP, ad_scale(size, 0.2), 0)), *ad_shape_get(x))));
    }
}

static ad_var generate(nn_net *net, ad_var x)
{
    maker m = { .net = net, .n = nn_width(net, "n") };
    story[0] = 0;
    push(&m, nn_dense_with(net, "first", x, m.n, .sigma_w = 1.2, .bias = true, .sigma_b = 0.3));
    for (int steps = 2 + below(&m, 5); steps > 0; steps--)
        grow(&m);
    ad_var last = activation(&m, m.pool[m.n_pool - 1], false);
    if (below(&m, 3) == 0) {
        int a;
        last = ad_add(last, activation(&m, any(&m, &a), false));
        tell("skip", "", a, -1);
    }
    return nn_readout(net, "readout", last);
}

/* ---- the comparison ---- */
typedef struct {
    double mean[ENTRIES], error[ENTRIES];
} measured;

static void measure(const nn_net *net, tp_which which, const double *x, measured *out)
{
    double squares[ENTRIES] = { 0 }, one[ENTRIES];
    ad_error error = { 0 };
    *out = (measured){ 0 };
    for (int seed = 1; seed <= SEEDS; seed++) {
        nn_model *model = nn_at(net, WIDTH, (uint64_t)seed, AD_FLOAT, 2, &error);
        cr_assert(model && !(which == TP_NTK ? nn_ntk : nn_nngp)(model, x, ROWS, NULL, 0, NN_MEAN, one, &error), "%s",
                  error.text);
        for (int k = 0; k < ENTRIES; k++) {
            double before = one[k] - out->mean[k];
            out->mean[k] += before / seed;
            squares[k] += before * (one[k] - out->mean[k]);
        }
        nn_model_free(model);
    }
    for (int k = 0; k < ENTRIES; k++)
        out->error[k] = sqrt(squares[k] / (SEEDS * (SEEDS - 1)));
}

static double apart(const double *a, const double *b)
{
    double off = 0, size = 0;
    for (int k = 0; k < ENTRIES; k++) {
        off += (a[k] - b[k]) * (a[k] - b[k]);
        size += b[k] * b[k];
    }
    return sqrt(off / size);
}

typedef struct {
    int nets, exact, general, entries;
    double squares; /* of the finite networks' distances in their errors */
} tally;

/* Entry by entry: the distance from the mean over 8 networks, less a bias of 4/n of the diagonal, in its standard error is
 * at most a Student variable of 7 degrees of freedom; beyond 12 with probability 6.3e-6. With 6 entries, 2 kernels and 30
 * networks that is one false alarm in 440 changes of seed, in 66 for 200 networks. The executor's mean of 8 runs is allowed
 * 12 of its standard errors from the exact value for the same reason. */
static void compare(nn_net *net, tp_program *program, tp_which which, const double *x, tally *t)
{
    ad_error error = { 0 };
    tp_limit_spec spec = { .engine = TP_ENGINE_SAMPLE, .threads = 2 };
    tp_checks checks;
    tp_kernel sampled, exact;
    measured finite;
    cr_assert_eq(tp_limit(program, which, x, ROWS, NULL, 0, &spec, &sampled, &error), 0, "%s:%s", story, error.text);
    const double *s = sampled.terms[0].values;
    cr_expect_eq(sampled.terms[0].power, 0, "%s", story);
    if (tp_check(program, &checks, &error) == 0) {
        spec.engine = TP_ENGINE_EXACT;
        if (tp_limit(program, which, x, ROWS, NULL, 0, &spec, &exact, &error) == 0) {
            double off = apart(s, exact.terms[0].values);
            t->exact++;
            cr_expect(off < 12 * sampled.error, "net %d%s: %s: exact and sampled are %g apart, said %g",
                      (int)generator_seed, story, which == TP_NTK ? "NTK" : "NNGP", off, sampled.error);
            tp_kernel_free(&exact);
        }
    } else
        t->general++;
    measure(net, which, x, &finite);
    for (int k = 0; k < ENTRIES; k++) {
        double bias = 4.0 / WIDTH * sqrt(s[k / ROWS * (ROWS + 1)] * s[k % ROWS * (ROWS + 1)]);
        double far = fmax(0, fabs(finite.mean[k] - s[k]) - bias) / hypot(finite.error[k], sampled.deviations[k]);
        t->squares += far * far;
        t->entries++;
        cr_expect(far < 12, "net %d%s: %s, entry %d: %g at width %d, %g in the limit, errors %g and %g", (int)generator_seed,
                  story, which == TP_NTK ? "NTK" : "NNGP", k, finite.mean[k], WIDTH, s[k], finite.error[k],
                  sampled.deviations[k]);
    }
    tp_kernel_free(&sampled);
}

Test(architectures, exact_sampled_and_finite_agree, .timeout = 3000)
{
    const char *wanted = getenv("LIMN_ARCHITECTURES");
    int nets = wanted ? atoi(wanted) : NETS;
    double x[ROWS * FEATURES];
    tally t = { 0 };
    ad_normal(1, 9, 0, ROWS * FEATURES, x);
    for (int k = 1; k <= nets; k++) {
        ad_error error = { 0 };
        generator_seed = (uint64_t)k;
        nn_net *net = nn_trace(generate, &(nn_spec){ .features = FEATURES }, &error);
        cr_assert(net, "%s", error.text);
        tp_program *program = tp_translate(net, &error);
        cr_assert(program, "net %d%s: %s", k, story, error.text);
        compare(net, program, TP_NTK, x, &t);
        compare(net, program, TP_NNGP, x, &t);
        t.nets++;
        tp_free(program);
        nn_net_free(net);
    }
    double mean = t.squares / t.entries;
    fprintf(stderr, "%d networks: %d of %d kernels exact, %d by the general rule; mean square distance of finite networks "
            "%.2f\n", t.nets, t.exact, 2 * t.nets, t.general, mean);
    /* The mean of squared Student variables of 7 degrees is 1.4; entries of one kernel are correlated. */
    cr_expect_lt(mean, 3, "%g", mean);
    cr_expect(t.exact > nets / 4 && t.general > 0);
}
