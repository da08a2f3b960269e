/* Functions of functions of one vector, 7 to 64 deep: by rules of Gauss and Legendre that are written here, and those
 * that bend or jump at 0 alone against the one leaky ReLU, step or sign that they are. */
#include "limn.h"
#include "tp/gauss/gauss.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { ROWS = 2, FEATURES = 3 };
static const double inputs[ROWS * FEATURES] = { 1, 1, 1, 0.5, -0.7, 1.1 };

/* ---- limits ---- */
/* K (ROWS, ROWS), of one term and as exact as is asked; its stated error. */
static double exact(nn_function function, tp_kernel_kind kind, const double *x, double least, double *out)
{
    ad_error error = { 0 };
    tp_kernel k;
    nn_net *net = nn_trace(function, &(nn_spec){ .features = FEATURES }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    cr_assert_eq(tp_limit(program, kind, x, ROWS, NULL, 0, &(tp_limit_spec){ .engine = TP_ENGINE_EXACT }, &k, &error),
                 0, "%s", error.text);
    cr_assert_eq(k.n_terms, 1);
    cr_expect(k.error <= least, "%s: an error of %g", k.method, k.error);
    memcpy(out, k.terms[0].values, ROWS * ROWS * sizeof *out);
    double stated = k.error;
    tp_kernel_free(&k);
    tp_program_free(program);
    nn_net_free(net);
    return stated;
}

/* ---- averages of a function and itself ---- */
typedef struct {
    const char *name;
    double (*value)(double), (*slope)(double);
    long times;
    bool two; /* the rule here resolves both dimensions */
} nest;

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}
static double gelu(double x)
{
    return x * erfc(-x * sqrt(0.5)) / 2;
}
static double gelu_slope(double x)
{
    return erfc(-x * sqrt(0.5)) / 2 + x * exp(-x * x / 2) / sqrt(2 * acos(-1));
}
static double swish(double x)
{
    return x * sigmoid(x);
}
static double swish_slope(double x)
{
    return sigmoid(x) * (1 + x * sigmoid(-x));
}
static double erf_slope(double x)
{
    return 2 / sqrt(acos(-1)) * exp(-x * x);
}
static double mish(double x)
{
    return x * tanh(log1p(exp(x)));
}
static double mish_slope(double x)
{
    double t = tanh(log1p(exp(x)));
    return t + x * (1 - t * t) * sigmoid(x);
}
static double elu(double x)
{
    return x > 0 ? x : expm1(x);
}
static double elu_slope(double x)
{
    return x > 0 ? 1 : exp(x);
}
static double selu(double x)
{
    return 1.0507009873554804934 * (x > 0 ? x : 1.6732632423543772848 * expm1(x));
}
static double selu_slope(double x)
{
    return 1.0507009873554804934 * (x > 0 ? 1 : 1.6732632423543772848 * exp(x));
}
static const nest *now;
static ad_var averages(nn_net *net, ad_var x)
{
    ad_var h = nn_dense(net, "dense", x, nn_width(net, "n"));
    for (long k = 0; k < now->times; k++)
        h = ad_scale(ad_add(h, nn_activation(net, now->name, h)), 0.5);
    return nn_readout(net, "readout", h);
}

static void follow(double x, double *value, double *slope)
{
    *slope = 1;
    for (long k = 0; k < now->times; k++) {
        *slope *= (1 + now->slope(x)) / 2;
        x = (x + now->value(x)) / 2;
    }
    *value = x;
}

/* Panels from -9 to 9, halved towards 0 where the function bends; the nodes, at most MOST of them. */
enum { ORDER = 16, MOST = 4000 };
static size_t place(double middle, double width, double *x, double *w)
{
    double ends[400], node[ORDER], weight[ORDER];
    int side_panels = (int)(9 / width) + 1;
    int n = 0;
    size_t count = 0;
    tp_legendre(ORDER, node, weight);
    for (int k = -side_panels; k <= side_panels; k++)
        ends[n++] = middle + width * k;
    for (int k = 1; k <= 12; k++)
        for (int side = -1; side <= 1; side += 2) {
            double at = middle + side * ldexp(width, -k);
            int i = n++;
            for (; ends[i - 1] > at; i--)
                ends[i] = ends[i - 1];
            ends[i] = at;
        }
    for (int k = 0; k + 1 < n; k++)
        for (int i = 0; i < ORDER && ends[k + 1] > -9 && ends[k] < 9; i++, count++) {
            double half = (ends[k + 1] - ends[k]) / 2;
            x[count] = ends[k] + half * (1 + node[i]);
            w[count] = half * weight[i] * exp(-x[count] * x[count] / 2) / sqrt(2 * acos(-1));
        }
    return count;
}

/* E f f' and E of the slopes' product, of variances q1 and q2 and covariance q. */
static void moments(double q1, double q2, double q, double *value, double *slope)
{
    static double u[MOST], wu[MOST], v[MOST], wv[MOST];
    const double of_one = 0.15, of_two = 0.3;
    double root = sqrt(q1), along = q / root, across = sqrt(fmax(0, q2 - along * along));
    bool two = across > 1e-6 * root;
    size_t n = place(0, two ? of_two : of_one, u, wu);
    *value = *slope = 0;
    for (size_t i = 0; i < n; i++) {
        double f, df, g, dg, sum = 0, slopes = 0;
        follow(root * u[i], &f, &df);
        size_t m = two ? place(-along * u[i] / across, of_two, v, wv) : 0;
        for (size_t k = 0; k < m; k++) {
            follow(along * u[i] + across * v[k], &g, &dg);
            sum += wv[k] * g;
            slopes += wv[k] * dg;
        }
        *value += wu[i] * f * (m ? sum : f);
        *slope += wu[i] * df * (m ? slopes : df);
    }
}

Test(nested, averages_of_a_function_and_itself)
{
    static const nest all[] = { { "gelu", gelu, gelu_slope, 7, true },      { "gelu", gelu, gelu_slope, 64, false },
                                { "swish", swish, swish_slope, 64, false }, { "mish", mish, mish_slope, 20, false },
                                { "erf", erf, erf_slope, 64, false },       { "elu", elu, elu_slope, 7, true },
                                { "elu", elu, elu_slope, 64, true },        { "selu", selu, selu_slope, 7, true } };
    double q[ROWS][ROWS] = { { 0 } };
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < ROWS; j++)
            for (int m = 0; m < FEATURES; m++)
                q[i][j] += inputs[i * FEATURES + m] * inputs[j * FEATURES + m] / FEATURES;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        double nngp[ROWS * ROWS], ntk[ROWS * ROWS], value[3], slope[3];
        now = &all[k];
        exact(averages, TP_NNGP, inputs, 1e-11, nngp);
        exact(averages, TP_NTK, inputs, 1e-11, ntk);
        moments(q[0][0], q[0][0], q[0][0], &value[0], &slope[0]);
        if (now->two)
            moments(q[0][0], q[1][1], q[0][1], &value[1], &slope[1]);
        moments(q[1][1], q[1][1], q[1][1], &value[2], &slope[2]);
        for (int i = 0; i < 3; i += now->two ? 1 : 2) {
            int at = i < 2 ? i : 3;
            double size = sqrt(value[0] * value[2]), all_size = size + sqrt(q[0][0] * q[1][1] * slope[0] * slope[2]);
            cr_expect(fabs(nngp[at] - value[i]) < 1e-10 * size, "%ld times %s: K[%d] = %.15g, not %.15g", now->times,
                      now->name, at, nngp[at], value[i]);
            double wanted = value[i] + q[i / 2][(i + 1) / 2] * slope[i];
            cr_expect(fabs(ntk[at] - wanted) < 1e-10 * all_size, "%ld times %s: Theta[%d] = %.15g, not %.15g",
                      now->times, now->name, at, ntk[at], wanted);
        }
    }
}

/* Near 0 the average of h and tanh h, twenty times, is h: errors are relative, however small the inputs are. */
Test(nested, of_small_inputs)
{
    static const nest twenty = { "tanh", NULL, NULL, 20, false };
    now = &twenty;
    for (double scale = 1e-8; scale > 1e-30; scale *= 1e-5) {
        double x[ROWS * FEATURES], k[ROWS * ROWS], q[ROWS * ROWS] = { 0 };
        for (int i = 0; i < ROWS * FEATURES; i++)
            x[i] = scale * inputs[i];
        exact(averages, TP_NNGP, x, 1e-12, k);
        for (int i = 0; i < ROWS * ROWS; i++)
            for (int m = 0; m < FEATURES; m++)
                q[i] += x[i / ROWS * FEATURES + m] * x[i % ROWS * FEATURES + m] / FEATURES;
        for (int i = 0; i < ROWS * ROWS; i++)
            cr_expect(fabs(k[i] - q[i]) < 1e-13 * sqrt(q[0] * q[3]), "scale %g: %.17g, not %.17g", scale, k[i], q[i]);
    }
}

/* ---- what bends or jumps at 0 alone ---- */
static ad_var first(nn_net *net, ad_var x)
{
    return nn_dense(net, "dense", x, nn_width(net, "n"));
}
static ad_var last(nn_net *net, ad_var h)
{
    return nn_readout(net, "readout", h);
}

static ad_var half_relus(nn_net *net, ad_var x)
{
    ad_var h = first(net, x);
    for (int k = 0; k < 64; k++)
        h = ad_scale(ad_add(h, ad_relu(h)), 0.5);
    return last(net, h);
}
static ad_var half_relus_at_once(nn_net *net, ad_var x)
{
    return last(net, ad_leaky(first(net, x), ldexp(1, -64)));
}

/* 0.7 h above 0 and -0.26 |h| below, and from then on by 0.7 and a leaky ReLU's slope of 0.2. */
static ad_var bends(nn_net *net, ad_var x)
{
    ad_var h = first(net, x);
    for (int k = 0; k < 3; k++)
        h = ad_leaky(ad_sub(h, ad_scale(ad_abs(h), 0.3)), 0.2);
    return last(net, h);
}
static ad_var bends_at_once(nn_net *net, ad_var x)
{
    return last(net, ad_scale(ad_leaky(first(net, x), pow(0.2 * 1.3 / 0.7, 3)), pow(0.7, 3)));
}

static ad_var of_negative(nn_net *net, ad_var x)
{
    ad_var h = first(net, x), both = ad_add(ad_relu(h), ad_scale(ad_relu(ad_neg(h)), 3));
    return last(net, ad_relu(ad_sub(both, ad_scale(ad_abs(h), 0.5))));
}
static ad_var of_negative_at_once(nn_net *net, ad_var x)
{
    ad_var h = first(net, x);
    return last(net, ad_add(ad_scale(ad_relu(h), 0.5), ad_scale(ad_relu(ad_neg(h)), 2.5)));
}

static ad_var signs(nn_net *net, ad_var x)
{
    ad_var h = first(net, x), s = ad_sign(ad_add(h, ad_relu(h)));
    return last(net, ad_mul(ad_tanh(s), ad_mul(ad_step(ad_leaky(h, 0.1)), ad_abs(ad_leaky(h, 0.5)))));
}
static ad_var signs_at_once(nn_net *net, ad_var x)
{
    return last(net, ad_scale(ad_relu(first(net, x)), tanh(1)));
}

/* sqrt(h^2) and a root of squares are |h|. */
static ad_var roots(nn_net *net, ad_var x)
{
    ad_var h = first(net, x);
    return last(net, ad_leaky(ad_add(h, ad_scale(ad_sqrt(ad_square(h)), 0.5)), 0.4));
}
static ad_var roots_at_once(nn_net *net, ad_var x)
{
    return last(net, ad_scale(ad_leaky(first(net, x), 0.4 * 0.5 / 1.5), 1.5));
}

Test(nested, what_bends_or_jumps_at_0_alone)
{
    static const struct {
        const char *name;
        nn_function long_way, at_once;
        bool at_zero; /* has a derivative there */
    } pairs[] = { { "half relus", half_relus, half_relus_at_once, true },
                  { "bends", bends, bends_at_once, true },
                  { "of a negative", of_negative, of_negative_at_once, true },
                  { "signs", signs, signs_at_once, true },
                  { "roots", roots, roots_at_once, false } };
    /* and a row that is 0, where functions have their own values */
    static const double zero[ROWS * FEATURES] = { 1, 1, 1, 0, 0, 0 };
    /* and two that are alike but for their last digits */
    static const double near[ROWS * FEATURES] = { 1, 1, 1, 1, 1, 1 + 1e-9 };
    const double *rows[] = { inputs, zero, near };
    for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++)
        for (int r = 0; r < 3; r += pairs[p].at_zero ? 1 : 2)
            for (int kind = TP_NTK; kind <= TP_NNGP; kind++) {
                double a[ROWS * ROWS], b[ROWS * ROWS], error = 2e-14;
                double stated = exact(pairs[p].long_way, (tp_kernel_kind)kind, rows[r], 1e-6, a) +
                                exact(pairs[p].at_once, (tp_kernel_kind)kind, rows[r], 1e-6, b);
                error = rows[r] == near ? fmax(error, stated) : error;
                for (int i = 0; i < ROWS * ROWS; i++)
                    cr_expect(fabs(a[i] - b[i]) <= error * fabs(b[0]), "%s, rows %d, kind %d: [%d] = %.17g, not %.17g",
                              pairs[p].name, r, kind, i, a[i], b[i]);
            }
}
