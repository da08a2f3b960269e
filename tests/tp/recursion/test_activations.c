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
static double gate_of_mish(double x)
{
    return tanh(x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)));
}
FN(mish, x *gate_of_mish(x), gate_of_mish(x) + x * (1 - gate_of_mish(x) * gate_of_mish(x)) * sig(x))
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

/* The same for functions that break elsewhere: E f(v) given u is done by hand (`mean` of m + s z, z ~ N(0, 1)), and
 * long double Gauss-Legendre over u goes from break to break. */
typedef long double real;
typedef struct {
    double (*f)(double);
    real (*mean)(real m, real s);
    int n;
    double at[2];
} broken;

static real bell_l(real x)
{
    return expl(-x * x / 2) / sqrtl(2 * (real)pi);
}
static real below(real x)
{
    return erfcl(-x / sqrtl(2)) / 2;
}

static double broken_expectation(const broken *f, double a, double b, double c)
{
    enum { PANELS = 24 };
    real total = 0, spread = b - (real)c * c / a, slope = c / sqrtl(a), cuts[8] = { -12, 12 };
    bool line = spread < 1e-13L * b;
    int n = 2;
    for (int k = 0; k < f->n; k++) {
        cuts[n++] = f->at[k] / sqrtl(a);
        cuts[n++] = f->at[k] / slope;
    }
    for (int i = 1; i < n; i++)
        for (int k = i; k > 0 && cuts[k - 1] > cuts[k]; k--) {
            real swap = cuts[k];
            cuts[k] = cuts[k - 1];
            cuts[k - 1] = swap;
        }
    for (int piece = 0; piece + 1 < n; piece++)
        for (int panel = 0; panel < PANELS && cuts[piece] >= -12 && cuts[piece + 1] <= 12; panel++)
            for (int i = 0; i < NODES; i++) {
                real width = (cuts[piece + 1] - cuts[piece]) / PANELS, u = cuts[piece] + width * (panel + nodes[i]);
                real second = line ? (real)f->f((double)(slope * u)) : f->mean(slope * u, sqrtl(spread));
                total += weights[i] * width * bell_l(u) * f->f((double)(sqrtl(a) * u)) * second;
            }
    return (double)total;
}

/* ---- an activation and its derivative: as polar integrals, or as functions that break elsewhere ---- */
typedef struct {
    const char *name;
    double (*f)(double), (*g)(double);
    broken breaks[2]; /* of f and g; without f: none but at 0 */
} activation;

static double expected(const activation *of, int derivative, double a, double b, double c)
{
    return of->breaks[derivative].f ? broken_expectation(&of->breaks[derivative], a, b, c)
                                    : expectation(derivative ? of->g : of->f, a, b, c);
}

/* Tensor Programs II, section 3: K <- sigma_w^2 E f f + sigma_b^2, and the NTK over omega with sigma in the
 * deviation. */
static void by_hand(const activation *of, const double *x, double *nngp, double *ntk)
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
                double v = expected(of, 0, last[i][i], last[j][j], last[i][j]);
                double slope = expected(of, 1, last[i][i], last[j][j], last[i][j]);
                k[i][j] = s2 * v + (layer < 2 ? b2 : 0);
                theta[i][j] = s2 * slope * theta[i][j] + v + (layer < 2 ? 1 : 0);
            }
    }
    memcpy(nngp, k, sizeof k);
    memcpy(ntk, theta, sizeof theta);
}

static void compare(const char *name, const tp_kernel *kernel, const double *expected, double tolerance)
{
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < ROWS; j++) {
            double scale = sqrt(fabs(expected[i * ROWS + i] * expected[j * ROWS + j]));
            cr_expect_float_eq(kernel->terms[0].values[i * ROWS + j], expected[i * ROWS + j], tolerance * scale,
                               "%s (%d, %d): %.15g, by hand %.15g; %s", name, i, j,
                               kernel->terms[0].values[i * ROWS + j], expected[i * ROWS + j], kernel->method);
        }
}

static void make_inputs(double *x)
{
    for (int i = 0; i < ROWS; i++)
        for (int d = 0; d < 10; d++)
            x[10 * i + d] = sin(1 + 3 * i + 0.7 * d * (i + 1));
}

static nn_net *traced(const char *name)
{
    char phi[40];
    ad_error error = { 0 };
    snprintf(phi, sizeof phi, "phi=%s", name);
    const char *settings[] = { phi, NULL };
    nn_net *net = nn_trace(network, &(nn_spec){ .features = 10, .settings = settings }, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

/* Both kernels in the limit against those by hand. */
static void check_limit(const activation *of, double tolerance)
{
    double x[ROWS * 10], nngp[ROWS * ROWS], ntk[ROWS * ROWS];
    ad_error error = { 0 };
    make_inputs(x);
    legendre();
    nn_net *net = traced(of->name);
    tp_program *program = tp_translate(net, &error);
    cr_assert(program, "%s", error.text);
    by_hand(of, x, nngp, ntk);
    for (int which = 0; which < 2; which++) {
        tp_kernel kernel;
        int status = tp_limit(program, which ? TP_NTK : TP_NNGP, x, ROWS, NULL, 0,
                              &(tp_limit_spec){ .engine = TP_ENGINE_EXACT }, &kernel, &error);
        cr_assert_eq(status, 0, "%s: %s", of->name, error.text);
        compare(of->name, &kernel, which ? ntk : nngp, tolerance);
        tp_kernel_free(&kernel);
    }
    tp_program_free(program);
    nn_net_free(net);
}

Test(activations, all_have_an_exact_limit)
{
#define ROW(word)                                                                                                      \
    {                                                                                                                  \
        .name = #word, .f = word##_f, .g = word##_g                                                                    \
    }
    static const activation rows[] = { ROW(identity), ROW(relu),   ROW(leaky),     ROW(abs),           ROW(step),
                                       ROW(sign),     ROW(square), ROW(sin),       ROW(cos),           ROW(tanh),
                                       ROW(sigmoid),  ROW(erf),    ROW(gelu),      ROW(softplus),      ROW(swish),
                                       ROW(gate),     ROW(nested), ROW(one_sided), ROW(signed_square), ROW(mish) };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        check_limit(&rows[r], 1e-11);
}

/* ---- activations that break elsewhere than at 0, or only in their second derivative ---- */
FN(hard_tanh, fmax(-1, fmin(1, x)), fabs(x) < 1)
static real hard_tanh_mean(real m, real s)
{
    real low = (-1 - m) / s, high = (1 - m) / s;
    return below(-high) - below(low) + m * (below(high) - below(low)) + s * (bell_l(low) - bell_l(high));
}
static real hard_tanh_step_mean(real m, real s)
{
    return below((1 - m) / s) - below((-1 - m) / s);
}

FN(elu, x > 0 ? x : expm1(x), x > 0 ? 1 : exp(x))
static real exp_mean_below(real m, real s)
{
    return expl(m + s * s / 2) * below(-m / s - s);
}
static real elu_mean(real m, real s)
{
    return m * below(m / s) + s * bell_l(m / s) + exp_mean_below(m, s) - below(-m / s);
}
static real elu_grad_mean(real m, real s)
{
    return below(m / s) + exp_mean_below(m, s);
}

static const double selu_right = 1.05070098735548049342, selu_left = 1.75809934084737685994;
FN(selu, x > 0 ? selu_right * x : selu_left * expm1(x), x > 0 ? selu_right : selu_left * exp(x))
static real selu_mean(real m, real s)
{
    return selu_right * (m * below(m / s) + s * bell_l(m / s)) + selu_left * (exp_mean_below(m, s) - below(-m / s));
}
static real selu_grad_mean(real m, real s)
{
    return selu_right * below(m / s) + selu_left * exp_mean_below(m, s);
}

static const activation breaking[] = {
    { "selu", selu_f, selu_g, { { selu_f, selu_mean, 1, { 0 } }, { selu_g, selu_grad_mean, 1, { 0 } } } },
    { "elu", elu_f, elu_g, { { elu_f, elu_mean, 1, { 0 } }, { elu_g, elu_grad_mean, 1, { 0 } } } },
    { "hard_tanh",
      hard_tanh_f,
      hard_tanh_g,
      { { hard_tanh_f, hard_tanh_mean, 2, { -1, 1 } }, { hard_tanh_g, hard_tanh_step_mean, 2, { -1, 1 } } } },
};

Test(activations, with_breaks_elsewhere)
{
    for (size_t r = 0; r < sizeof breaking / sizeof *breaking; r++)
        check_limit(&breaking[r], 1e-12);
}

/* The mean of some wide networks is near the limit, in units of its own spread. */
Test(activations, with_breaks_elsewhere_at_a_width)
{
    enum { WIDTH = 512, SEEDS = 12 };
    double x[ROWS * 10], limit[ROWS * ROWS], nngp[ROWS * ROWS], one[ROWS * ROWS];
    make_inputs(x);
    legendre();
    for (size_t r = 0; r < sizeof breaking / sizeof *breaking; r++) {
        double sum[ROWS * ROWS] = { 0 }, squares[ROWS * ROWS] = { 0 };
        ad_error error = { 0 };
        nn_net *net = traced(breaking[r].name);
        by_hand(&breaking[r], x, nngp, limit);
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            nn_model *model = nn_model_new(net, WIDTH, seed, AD_FLOAT, 1, &error);
            cr_assert(model && nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, one, &error) == 0, "%s", error.text);
            for (int k = 0; k < ROWS * ROWS; k++) {
                sum[k] += one[k] / SEEDS;
                squares[k] += one[k] * one[k] / SEEDS;
            }
            nn_model_free(model);
        }
        for (int k = 0; k < ROWS * ROWS; k++) {
            double spread = sqrt(fmax(0, squares[k] - sum[k] * sum[k]) / (SEEDS - 1));
            cr_expect_float_eq(sum[k], limit[k], 5 * spread + 3.0 / WIDTH * fabs(limit[k]), "%s %d: %g, limit %g +- %g",
                               breaking[r].name, k, sum[k], limit[k], spread);
        }
        nn_net_free(net);
    }
}
