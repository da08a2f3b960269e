/* Where samples meet, what does not depend on each other: a normalised branch beside a plain one and a constant, held
 * against a batch of three, whose normalised vectors run around a circle; and what has no rule, refused by name. */
#include "limn.h"
#include "tests/support/reference.h"

#include <criterion/criterion.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 10, ROWS = 3, MANY = 6, ANGLES = 1 << 16 };
enum { NORMALISED = 1, PLAIN = 2, ONE = 4 };

/* ---- networks ---- */
/* phi(normalised W x) + psi(V x) + 1, of which `parts` says what is there. */
static ad_var branches(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    long parts = nn_setting_int(net, "parts", 7, 1, 7);
    ad_var sum = ad_constant(nn_graph(net), parts & ONE ? 1 : 0, (ad_shape){ 0 });
    if (parts & NORMALISED) {
        double epsilon = nn_setting_real(net, "eps", 0);
        ad_var z =
            nn_batchnorm_with(net, "norm", nn_dense(net, "w", x, n), .epsilon = epsilon, .exact = !(epsilon > 0));
        sum = ad_add(nn_activation(net, nn_setting_text(net, "phi", "relu"), z), sum);
    }
    if (parts & PLAIN)
        sum = ad_add(nn_activation(net, nn_setting_text(net, "psi", "relu"), nn_dense(net, "v", x, n)), sum);
    return nn_readout(net, "readout", sum);
}

static tp_program *translate(nn_function function, const char *const *settings, nn_net **net)
{
    ad_error error = { 0 };
    *net = nn_trace(function, &(nn_spec){ .features = FEATURES, .settings = settings }, &error);
    tp_program *program = *net ? tp_translate(*net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    return program;
}

/* The kernel by the exact engine; how far it says that it may be off, of the largest entry. */
static double limit_of(nn_function function, const char *const *settings, tp_kernel_kind which, const double *x,
                       size_t rows, double *out)
{
    nn_net *net;
    ad_error error = { 0 };
    tp_kernel kernel;
    tp_program *program = translate(function, settings, &net);
    cr_assert_eq(
        tp_limit(program, which, x, rows, NULL, 0, &(tp_limit_spec){ .engine = TP_ENGINE_EXACT }, &kernel, &error), 0,
        "%s: %s", settings[0], error.text);
    memcpy(out, kernel.terms[0].values, rows * rows * sizeof *out);
    double off = kernel.error;
    tp_kernel_free(&kernel);
    tp_program_free(program);
    nn_net_free(net);
    return off;
}

/* ---- truth ---- */
static double relu(double x)
{
    return x > 0 ? x : 0;
}

/* Normalised with epsilon 0, a Gaussian vector over three samples is sqrt(3) times the direction of L g, g normal in
 * the plane of its two eigenvectors: the angle of g is uniform. m: the means of phi, k: those of its products. */
static void circle(const double *gram, double (*phi)(double), double m[ROWS], double k[ROWS * ROWS])
{
    double centred[ROWS * ROWS], values[ROWS];
    memset(m, 0, ROWS * sizeof *m);
    memset(k, 0, ROWS * ROWS * sizeof *k);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < ROWS; j++) {
            double row = 0, column = 0, all = 0;
            for (int a = 0; a < ROWS; a++) {
                row += gram[i * ROWS + a] / ROWS;
                column += gram[a * ROWS + j] / ROWS;
                for (int b = 0; b < ROWS; b++)
                    all += gram[a * ROWS + b] / (ROWS * ROWS);
            }
            centred[i * ROWS + j] = gram[i * ROWS + j] - row - column + all;
        }
    cr_assert_eq(LAPACKE_dsyev(LAPACK_ROW_MAJOR, 'V', 'U', ROWS, centred, ROWS, values), 0);
    for (int t = 0; t < ANGLES; t++) {
        double angle = 2 * M_PI * (t + 0.5) / ANGLES, u[ROWS], z[ROWS], size = 0;
        for (int i = 0; i < ROWS; i++) {
            u[i] = sqrt(values[1]) * cos(angle) * centred[i * ROWS + 1] +
                   sqrt(values[2]) * sin(angle) * centred[i * ROWS + 2];
            size += u[i] * u[i];
        }
        for (int i = 0; i < ROWS; i++) {
            z[i] = phi(u[i] * sqrt(ROWS / size));
            m[i] += z[i] / ANGLES;
        }
        for (int i = 0; i < ROWS * ROWS; i++)
            k[i] += z[i / ROWS] * z[i % ROWS] / ANGLES;
    }
}

/* Mean and products of psi of a Gaussian of covariance `gram`: ReLU's arc-cosine kernel (Cho and Saul 2009, (6)), and
 * those of cos and sin by their Fourier transforms. */
static void plain(const char *psi, const double *gram, double m[ROWS], double k[ROWS * ROWS])
{
    for (int i = 0; i < ROWS * ROWS; i++) {
        int a = i / ROWS, b = i % ROWS;
        double q1 = gram[a * ROWS + a], q2 = gram[b * ROWS + b], q = gram[i], root = sqrt(q1 * q2);
        double angle = acos(fmin(1, q / root));
        m[a] = strcmp(psi, "relu") == 0 ? sqrt(q1 / (2 * M_PI)) : strcmp(psi, "cos") == 0 ? exp(-q1 / 2) : 0;
        k[i] = strcmp(psi, "relu") == 0  ? root / (2 * M_PI) * (sin(angle) + (M_PI - angle) * cos(angle))
               : strcmp(psi, "cos") == 0 ? exp(-(q1 + q2) / 2) * cosh(q)
                                         : exp(-(q1 + q2) / 2) * sinh(q);
    }
}

/* phi and psi have covariance 0, so that E (phi + psi + 1)(phi' + psi' + 1) needs no more than their own means. What is
 * sampled, over 8 runs, is within 8 of its standard errors: beyond them once in 11,000 times. */
Test(apart, branches_and_a_constant)
{
    static const struct {
        const char *name;
        double (*f)(double);
    } phis[] = { { "relu", relu }, { "cos", cos }, { "tanh", tanh } };
    static const char *const psis[] = { "relu", "cos", "sin" };
    double *x = reference_inputs(ROWS, FEATURES), gram[ROWS * ROWS] = { 0 };
    for (int i = 0; i < ROWS * ROWS; i++)
        for (int f = 0; f < FEATURES; f++)
            gram[i] += x[i / ROWS * FEATURES + f] * x[i % ROWS * FEATURES + f] / FEATURES;
    for (int p = 0; p < 9; p++) {
        double m[2][ROWS], k[2][ROWS * ROWS];
        circle(gram, phis[p / 3].f, m[0], k[0]);
        plain(psis[p % 3], gram, m[1], k[1]);
        for (int parts = 1; parts < 8; parts++) {
            double got[ROWS * ROWS], worst = 0, size = 0;
            char own[4][40];
            if (parts == ONE)
                continue;
            snprintf(own[0], sizeof own[0], "parts=%d", parts);
            snprintf(own[1], sizeof own[1], "phi=%s", phis[p / 3].name);
            snprintf(own[2], sizeof own[2], "psi=%s", psis[p % 3]);
            const char *settings[] = { own[0], parts & NORMALISED ? own[1] : own[2],
                                       parts & NORMALISED && parts & PLAIN ? own[2] : NULL, NULL };
            double off = limit_of(branches, settings, TP_NNGP, x, ROWS, got), one = parts & ONE ? 1 : 0;
            for (int i = 0; i < ROWS * ROWS; i++) {
                double a = one, b = one, sum = 0;
                for (int part = 0; part < 2; part++)
                    if (parts & (part ? PLAIN : NORMALISED)) {
                        sum += k[part][i] - m[part][i / ROWS] * m[part][i % ROWS];
                        a += m[part][i / ROWS];
                        b += m[part][i % ROWS];
                    }
                worst = fmax(worst, fabs(got[i] - sum - a * b));
                size = fmax(size, fabs(sum + a * b));
            }
            cr_expect(worst <= (8 * off + 1e-9) * size, "%s %s %s: off by %g, says %g", own[0], own[1], own[2],
                      worst / size, off);
            cr_expect(off < 1e-3, "%s %s %s: %g", own[0], own[1], own[2], off);
        }
    }
    free(x);
}

/* No gradient goes between the branches: what the NTK has beyond the kernel of the readout adds up. */
Test(apart, tangents_add_up)
{
    static const char *const settings[][5] = { { "parts=7", "eps=0.1", "phi=relu", "psi=relu", NULL },
                                               { "parts=1", "eps=0.1", "phi=relu", NULL },
                                               { "parts=2", "psi=relu", NULL } };
    double *x = reference_inputs(MANY, FEATURES), ntk[3][MANY * MANY], nngp[3][MANY * MANY];
    for (int k = 0; k < 3; k++) {
        limit_of(branches, settings[k], TP_NTK, x, MANY, ntk[k]);
        limit_of(branches, settings[k], TP_NNGP, x, MANY, nngp[k]);
    }
    for (int i = 0; i < MANY * MANY; i++) {
        double parts = ntk[1][i] - nngp[1][i] + ntk[2][i] - nngp[2][i];
        cr_expect(fabs(ntk[0][i] - nngp[0][i] - parts) < 1e-9 * ntk[0][0], "%d: %g", i, ntk[0][i] - nngp[0][i] - parts);
        cr_expect(fabs(parts) > 1e-3);
    }
    free(x);
}

/* ---- the same network, written otherwise ---- */
/* A vector that starts at a constant. */
static ad_var learned(nn_net *net, const char *name, ad_axis n, double mean)
{
    return ad_param(nn_graph(net), name, ad_shape_of(n), (ad_init){ .multiplier = 1, .rate = 1, .mean = mean });
}

/* relu(z), and that times what starts at 1, in some ways. */
static ad_var ways(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_graph *graph = nn_graph(net);
    const char *way = nn_setting_text(net, "way", "bare");
    bool bias = strcmp(way, "bias") == 0;
    ad_var u = nn_dense_with(net, "u", x, n, .bias = bias, .sigma_b = bias);
    ad_var z = nn_batchnorm_with(net, "norm", u, .epsilon = 0.1), h = ad_relu(z);
    if (strcmp(way, "signs") == 0)
        h = ad_neg(ad_relu(ad_neg(ad_neg(z))));
    else if (strcmp(way, "halves") == 0)
        h = ad_scale(ad_div(h, ad_constant(graph, 4, ad_shape_of(n))), 4);
    else if (strcmp(way, "constants") == 0)
        h = ad_mul(ad_exp(ad_constant(graph, 0, ad_shape_of(n))), h);
    else if (strcmp(way, "one") == 0)
        h = ad_mul(h, learned(net, "one", n, 1));
    else if (strcmp(way, "two") == 0)
        h = ad_mul(ad_mul(learned(net, "two", n, 1), h), learned(net, "one", n, 1));
    else if (strcmp(way, "product") == 0)
        h = ad_mul(ad_mul(learned(net, "two", n, 1), learned(net, "one", n, 1)), h);
    else if (strcmp(way, "exp") == 0)
        h = ad_mul(ad_exp(learned(net, "one", n, 0)), h);
    return nn_readout(net, "readout", h);
}

/* A factor that starts at 1 adds to the NTK, once each; a bias before the normalisation is seen by none. */
Test(apart, written_otherwise)
{
    static const struct {
        const char *way;
        int factors; /* that are learned */
    } rows[] = { { "way=bare", 0 }, { "way=one", 1 }, { "way=signs", 0 },   { "way=halves", 0 }, { "way=constants", 0 },
                 { "way=bias", 0 }, { "way=two", 2 }, { "way=product", 2 }, { "way=exp", 1 } };
    double *x = reference_inputs(MANY, FEATURES), ntk[2][MANY * MANY], nngp[MANY * MANY], k[MANY * MANY];
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        limit_of(ways, (const char *[]){ rows[r].way, NULL }, TP_NNGP, x, MANY, r ? k : nngp);
        for (int i = 0; i < MANY * MANY && r; i++)
            cr_expect(fabs(k[i] - nngp[i]) < 1e-12 * nngp[0], "%s: %g for %g", rows[r].way, k[i], nngp[i]);
        limit_of(ways, (const char *[]){ rows[r].way, NULL }, TP_NTK, x, MANY, r < 2 ? ntk[r] : k);
        for (int i = 0; i < MANY * MANY && r > 1; i++) {
            double truth = ntk[0][i] + rows[r].factors * (ntk[1][i] - ntk[0][i]);
            cr_expect(fabs(k[i] - truth) < 1e-12 * ntk[0][0], "%s: %g for %g", rows[r].way, k[i], truth);
        }
    }
    for (int i = 0; i < MANY * MANY; i++) /* the factor's own part is the kernel of relu(z) */
        cr_expect(fabs(ntk[1][i] - ntk[0][i] - nngp[i]) < 1e-12 * ntk[0][0]);
    free(x);
}

/* ---- a user's function ---- */
static void value_of_sine(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = sin(x[i]);
}

static void slope_of_sine(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = cos(x[i]);
}

/* The sine of the table, or one that a user wrote. */
static ad_var sines(nn_net *net, ad_var x)
{
    static const ad_function own = { .name = "own", .count = 2, .derivatives = { value_of_sine, slope_of_sine } };
    bool users = nn_setting_int(net, "way", 0, 0, 1) == 1;
    ad_var z = nn_batchnorm_with(net, "norm", nn_dense(net, "u", x, nn_width(net, "n")), .epsilon = 0.1);
    return nn_readout(net, "readout", users ? ad_custom(&own, z) : ad_sin(z));
}

Test(apart, functions_of_a_user)
{
    double *x = reference_inputs(MANY, FEATURES), k[2][MANY * MANY], off[2];
    for (int which = 0; which < 2; which++) {
        for (int way = 0; way < 2; way++)
            off[way] = limit_of(sines, (const char *[]){ way ? "way=1" : "way=0", NULL }, which ? TP_NTK : TP_NNGP, x,
                                MANY, k[way]);
        for (int i = 0; i < MANY * MANY; i++)
            cr_expect(fabs(k[1][i] - k[0][i]) < 8 * hypot(off[0], off[1]) * k[0][0], "%d: %g for %g", i, k[1][i],
                      k[0][i]);
        cr_expect(off[0] < 1e-2 && off[1] < 1e-2, "%g, %g", off[0], off[1]);
    }
    free(x);
}

/* ---- what has no rule ---- */
typedef struct {
    const char *settings, *says;
} refusal;

/* A network a rule: everything but what `what` names has one. */
static ad_var odd(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), m = nn_width_ratio(net, "m", 1);
    const char *what = nn_setting_text(net, "what", "");
    ad_graph *graph = nn_graph(net);
    ad_var u = nn_dense(net, "u", x, n), v = nn_dense(net, "v", x, n), z = nn_batchnorm(net, "norm", u), h = z;
    if (strcmp(what, "product") == 0)
        h = ad_mul(z, ad_relu(v));
    else if (strcmp(what, "quotient") == 0)
        h = ad_div(z, ad_add(ad_square(v), ad_constant(graph, 1, (ad_shape){ 0 })));
    else if (strcmp(what, "several") == 0)
        h = ad_relu(ad_add(z, v));
    else if (strcmp(what, "mixed") == 0)
        h = ad_add(ad_relu(z), ad_relu(u));
    else if (strcmp(what, "average") == 0)
        h = ad_sub(z, ad_mean(ad_relu(z), ad_shape_of(n)));
    else if (strcmp(what, "zeros") == 0)
        h = ad_contract(ad_relu(z), ad_param(graph, "w", ad_shape_of(n, m), (ad_init){ .multiplier = 1, .rate = 1 }),
                        ad_shape_of(n));
    else if (strcmp(what, "gate") == 0)
        h = ad_mul(ad_mul(z, learned(net, "gate", n, 0)), ad_relu(z));
    else if (strcmp(what, "blend") == 0)
        h = ad_relu(ad_add(z, ad_mul(ad_relu(v), learned(net, "blend", n, 0))));
    else if (strcmp(what, "data") == 0)
        h = ad_mul(z, ad_mean(x, ad_shape_of(ad_shape_get(x)->axes[1])));
    else if (strcmp(what, "grows") == 0)
        h = ad_scale_by(z, 1, n, 0.5);
    return nn_readout(net, "readout", h);
}

Test(apart, refused_by_name)
{
    static const refusal rows[] = {
        { "what=product", "a product of two vectors has no exact rule where samples meet" },
        { "what=quotient", "a quotient has no exact rule where samples meet" },
        { "what=several", "a function of several vectors that samples meet in" },
        { "what=mixed", "a function of its product and one of that product normalised over the batch meet" },
        { "what=average", "an average over the width has no exact rule where samples meet" },
        { "what=zeros", "a weight that does not start at random, of mean zero" },
        { "what=gate", "the gradient of a parameter that starts at a constant has no exact rule here" },
        { "what=blend", "the gradient of a parameter that starts at a constant has no exact rule here" },
        { "what=data", "data is multiplied or added coordinate by coordinate" },
        { "what=grows", "outputs that grow or vanish with the width" },
    };
    double *x = reference_inputs(MANY, FEATURES);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        nn_net *net;
        ad_error error = { 0 };
        tp_kernel kernel;
        tp_program *program = translate(odd, (const char *[]){ rows[k].settings, NULL }, &net);
        cr_expect_eq(
            tp_limit(program, TP_NTK, x, MANY, NULL, 0, &(tp_limit_spec){ .engine = TP_ENGINE_EXACT }, &kernel, &error),
            -1, "%s", rows[k].settings);
        cr_expect(strstr(error.text, rows[k].says), "%s: %s", rows[k].settings, error.text);
        tp_program_free(program);
        nn_net_free(net);
    }
    free(x);
}

/* In the standard parametrization the gradients of wide matrices grow. */
Test(apart, scales_without_a_limit)
{
    double *x = reference_inputs(MANY, FEATURES);
    ad_error error = { 0 };
    tp_kernel kernel;
    nn_net *net = nn_trace(ways, &(nn_spec){ .features = FEATURES, .parametrization = NN_STANDARD }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    cr_expect_eq(
        tp_limit(program, TP_NTK, x, MANY, NULL, 0, &(tp_limit_spec){ .engine = TP_ENGINE_EXACT }, &kernel, &error),
        -1);
    cr_expect(strstr(error.text, "in this scale its part of the NTK goes with a power of n of its own"), "%s",
              error.text);
    tp_program_free(program);
    nn_net_free(net);
    free(x);
}
