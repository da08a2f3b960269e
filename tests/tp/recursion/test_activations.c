/* Every coordinatewise function that a network can be written with has an exact limit: a network of two hidden layers
 * against the recursion done by hand, whose expectations are integrated directly in polar coordinates. */
#include "limn.h"
#include "tests/support/reference.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { ROWS = 3, NODES = 48, RINGS = 40 };
static const double sigma_w = 0.9, sigma_b = 0.3, pi = 3.14159265358979323846;

/* ---- the functions, as written by hand ---- */
#define FN(name, value, slope)                                                                                         \
    static double name##_f(double x)                                                                                   \
    {                                                                                                                  \
        return value;                                                                                                  \
    }                                                                                                                  \
    static double name##_g(double x)                                                                                   \
    {                                                                                                                  \
        return slope;                                                                                                  \
    }
static double sig(double x)
{
    return 1 / (1 + exp(-x));
}
static double bell(double x)
{
    return exp(-x * x / 2) / sqrt(2 * pi);
}
static double identity_f(double x)
{
    return x;
}
static double identity_g(double x)
{
    (void)x;
    return 1;
}
FN(relu, x > 0 ? x : 0, x > 0)
FN(leaky, x > 0 ? x : 0.01 * x, x > 0 ? 1 : 0.01)
FN(abs, fabs(x), x > 0 ? 1 : -1)
FN(step, x > 0, 0 * x)
FN(sign, x > 0 ? 1 : -1, 0 * x)
FN(square, x *x, 2 * x)
FN(sin, sin(x), cos(x))
FN(cos, cos(x), -sin(x))
FN(tanh, tanh(x), 1 - tanh(x) * tanh(x))
FN(sigmoid, sig(x), sig(x) * (1 - sig(x)))
FN(erf, erf(x), 2 / sqrt(pi) * exp(-x * x))
FN(gelu, x *erfc(-x / sqrt(2)) / 2, erfc(-x / sqrt(2)) / 2 + x * bell(x))
FN(softplus, log1p(exp(x)), sig(x))
FN(swish, x *sig(x), sig(x) + x * sig(x) * (1 - sig(x)))
FN(gate, tanh(x) * sig(1.7 * x), (1 - tanh(x) * tanh(x)) * sig(1.7 * x) + 1.7 * tanh(x) * sig(1.7 * x) * sig(-1.7 * x))
FN(nested, tanh(x + sin(x)), (1 - pow(tanh(x + sin(x)), 2)) * (1 + cos(x)))
FN(one_sided, x < 0 ? -0.5 * x * x * x : 0, x < 0 ? -1.5 * x * x : 0)
FN(signed_square, x *fabs(x) + (x > 0), 2 * fabs(x))

/* ---- a network of the same functions ---- */
static ad_var apply(nn_net *net, const char *name, ad_var h)
{
    if (strcmp(name, "gate") == 0)
        return ad_mul(ad_tanh(h), ad_sigmoid(ad_scale(h, 1.7)));
    if (strcmp(name, "nested") == 0)
        return ad_tanh(ad_add(h, ad_sin(h)));
    if (strcmp(name, "one_sided") == 0)
        return ad_mul(ad_mul(h, h), ad_relu(ad_scale(h, -0.5)));
    if (strcmp(name, "signed_square") == 0)
        return ad_add(ad_mul(h, ad_abs(h)), ad_step(h));
    return nn_activation(net, name, h);
}

static ad_var network(nn_net *net, ad_var x)
{
    const char *phi = nn_setting_text(net, "phi", "");
    ad_axis n = nn_width(net, "n");
    for (int layer = 1; layer <= 2; layer++)
        x = apply(net, phi,
                  nn_dense_with(net, nn_name(net, "dense%d", layer), x, n, .sigma_w = sigma_w, .bias = true,
                                .sigma_b = sigma_b));
    return nn_readout_with(net, "readout", x, .sigma_w = sigma_w);
}

/* ---- E f(u) f(v) for covariance (a, b; c): u = sqrt(a) r cos t, v = sqrt(b) r cos(t - t0), cos t0 = c / sqrt(a b);
 * Gauss-Legendre over t between the angles at which u or v changes sign, and over rings of r. ---- */
static double nodes[NODES], weights[NODES];
static void legendre(void) /* on [0, 1] */
{
    for (int i = 0; i < NODES; i++) {
        double x = cos(pi * (i + 0.75) / (NODES + 0.5)), slope = 1;
        for (int step = 0; step < 50; step++) {
            double p = 1, before = 0;
            for (int k = 0; k < NODES; k++) {
                double next = ((2 * k + 1) * x * p - k * before) / (k + 1);
                before = p;
                p = next;
            }
            slope = NODES * (x * p - before) / (x * x - 1);
            x -= p / slope;
        }
        nodes[i] = (1 + x) / 2;
        weights[i] = 1 / ((1 - x * x) * slope * slope);
    }
}

static double expectation(double (*f)(double), double a, double b, double c)
{
    double t0 = acos(fmin(1, c / sqrt(a * b))), total = 0;
    double angles[] = { -pi / 2, t0 - pi / 2, pi / 2, t0 + pi / 2, 3 * pi / 2 };
    for (int piece = 0; piece < 4; piece++)
        for (int i = 0; i < NODES; i++) {
            double width = angles[piece + 1] - angles[piece], t = angles[piece] + width * nodes[i], ring = 0;
            double u = sqrt(a) * cos(t), v = sqrt(b) * cos(t - t0);
            for (int k = 0; k < RINGS; k++)
                for (int m = 0; m < NODES; m++) {
                    double r = 12.0 * (k + nodes[m]) / RINGS;
                    ring += weights[m] * 12.0 / RINGS * r * exp(-r * r / 2) * f(u * r) * f(v * r);
                }
            total += weights[i] * width * ring / (2 * pi);
        }
    return total;
}

/* Tensor Programs II, section 3: K <- sigma_w^2 E f f + sigma_b^2, and the NTK over omega with sigma in the
 * deviation. */
static void by_hand(double (*f)(double), double (*g)(double), const double *x, double *nngp, double *ntk)
{
    double k[ROWS][ROWS], theta[ROWS][ROWS], s2 = sigma_w * sigma_w, b2 = sigma_b * sigma_b;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < ROWS; j++) {
            double dot = 0;
            for (int d = 0; d < 10; d++)
                dot += x[10 * i + d] * x[10 * j + d] / 10;
            k[i][j] = s2 * dot + b2;
            theta[i][j] = dot + 1;
        }
    for (int layer = 1; layer <= 2; layer++) {
        double last[ROWS][ROWS];
        memcpy(last, k, sizeof k);
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < ROWS; j++) {
                double v = expectation(f, last[i][i], last[j][j], last[i][j]);
                double slope = expectation(g, last[i][i], last[j][j], last[i][j]);
                k[i][j] = s2 * v + (layer < 2 ? b2 : 0);
                theta[i][j] = s2 * slope * theta[i][j] + v + (layer < 2 ? 1 : 0);
            }
    }
    memcpy(nngp, k, sizeof k);
    memcpy(ntk, theta, sizeof theta);
}

static void compare(const char *name, const tp_kernel *kernel, const double *expected)
{
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < ROWS; j++) {
            double scale = sqrt(fabs(expected[i * ROWS + i] * expected[j * ROWS + j]));
            cr_expect_float_eq(kernel->terms[0].values[i * ROWS + j], expected[i * ROWS + j], 1e-11 * scale,
                               "%s (%d, %d): %.15g, by hand %.15g; %s", name, i, j,
                               kernel->terms[0].values[i * ROWS + j], expected[i * ROWS + j], kernel->method);
        }
}

Test(activations, all_have_an_exact_limit)
{
#define ROW(name)                                                                                                      \
    {                                                                                                                  \
#name, name##_f, name##_g                                                                                      \
    }
    static const struct {
        const char *name;
        double (*f)(double), (*g)(double);
    } rows[] = { ROW(identity), ROW(relu), ROW(leaky),  ROW(abs),       ROW(step),         ROW(sign), ROW(square),
                 ROW(sin),      ROW(cos),  ROW(tanh),   ROW(sigmoid),   ROW(erf),          ROW(gelu), ROW(softplus),
                 ROW(swish),    ROW(gate), ROW(nested), ROW(one_sided), ROW(signed_square) };
    double x[ROWS * 10];
    legendre();
    for (int i = 0; i < ROWS; i++)
        for (int d = 0; d < 10; d++)
            x[10 * i + d] = sin(1 + 3 * i + 0.7 * d * (i + 1));
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        char phi[40];
        snprintf(phi, sizeof phi, "phi=%s", rows[r].name);
        const char *settings[] = { phi, NULL };
        ad_error error = { 0 };
        nn_net *net = nn_trace(network, &(nn_spec){ .features = 10, .settings = settings }, &error);
        cr_assert(net, "%s", error.text);
        tp_program *program = tp_translate(net, &error);
        cr_assert(program, "%s", error.text);
        double nngp[ROWS * ROWS], ntk[ROWS * ROWS];
        by_hand(rows[r].f, rows[r].g, x, nngp, ntk);
        for (int which = 0; which < 2; which++) {
            tp_kernel kernel;
            int status = tp_limit(program, which ? TP_NTK : TP_NNGP, x, ROWS, NULL, 0,
                                  &(tp_limit_spec){ .engine = TP_ENGINE_EXACT }, &kernel, &error);
            cr_assert_eq(status, 0, "%s: %s", rows[r].name, error.text);
            compare(rows[r].name, &kernel, which ? ntk : nngp);
            tp_kernel_free(&kernel);
        }
        tp_program_free(program);
        nn_net_free(net);
    }
}
