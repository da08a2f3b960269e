/* Critical lines and depth scales against closed forms, an independent quadrature, and networks' own decay. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static const double input[3] = { 1, -0.5, 0.75 };

static void cubes(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] / sqrt(1 + x[i] * x[i]);
}

static void cubes_slope(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++)
        y[i] = pow(1 + x[i] * x[i], -1.5);
}

static const ad_function own = { .name = "own", .count = 2, .derivatives = { cubes, cubes_slope } };

static ad_var of_my_own(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    for (int layer = 1; layer <= 3; layer++)
        x = ad_custom(&own, nn_dense_with(net, nn_name(net, "dense%d", layer), x, n, .sigma_w = 1.5, .bias = true,
                                          .sigma_b = 0.2));
    return nn_readout(net, "readout", x);
}

static tp_critical found(nn_function function, const char *const *settings)
{
    tp_critical c;
    ad_error error = { 0 };
    nn_spec spec = { .features = 3, .settings = settings, .name = "mlp" };
    nn_net *net = nn_trace(function ? function : nn_builtin("mlp"), &spec, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    cr_assert(program && tp_critical_find(program, input, &c, &error) == 0, "%s", error.text);
    tp_program_free(program);
    nn_net_free(net);
    return c;
}

static void same(double a, double b, double tolerance, const char *what)
{
    cr_assert(fabs(a - b) <= tolerance * fmax(1, fabs(b)), "%s: %.15g for %.15g", what, a, b);
}

/* E f(sqrt(q) z)^2 by the trapezoid rule. */
static double mean_square(double (*f)(double), double q)
{
    double sum = 0;
    for (int i = -4000; i <= 4000; i++) {
        double z = i * 0.0025;
        sum += 0.0025 * exp(-z * z / 2) / sqrt(2 * acos(-1)) * pow(f(sqrt(q) * z), 2);
    }
    return sum;
}

static double tanh_slope(double x)
{
    return 1 - tanh(x) * tanh(x);
}

static double own_value(double x)
{
    return x / sqrt(1 + x * x);
}

static double own_slope(double x)
{
    return pow(1 + x * x, -1.5);
}

/* Each point is a fixed point of slope 1, by the trapezoid rule. */
static void is_critical(const tp_critical *c, double (*f)(double), double (*slope)(double))
{
    cr_assert(c->n_line > 10);
    for (int k = 0; k < c->n_line; k++) {
        tp_critical_point p = c->line[k];
        double w = p.sigma_w * p.sigma_w;
        same(w * mean_square(slope, p.q), 1, 1e-9, "chi");
        same(w * mean_square(f, p.q) + p.sigma_b * p.sigma_b, p.q, 1e-9, "q*");
    }
}

Test(critical, lines)
{
    tp_critical c = found(NULL, (const char *const[]){ "phi=tanh", "sigma_b=0.3", NULL });
    same(c.line[0].sigma_b, 0, 0, "sigma_b");
    same(c.line[0].sigma_w, 1, 1e-12, "sigma_w of tanh");
    is_critical(&c, tanh, tanh_slope);
    bool any = false;
    for (int k = 0; k < c.n_line; k++)
        any = any || fabs(c.line[k].sigma_b - 0.3) < 1e-12;
    cr_assert(any);
    c = found(NULL, (const char *const[]){ "phi=erf", NULL });
    same(c.line[0].sigma_w, sqrt(acos(-1)) / 2, 1e-12, "sigma_w of erf");
    for (int k = 1; k < c.n_line; k++) { /* E erf'^2 = 4/pi / sqrt(1 + 4q), E erf^2 = 2/pi asin(2q / (1 + 2q)) */
        double q = c.line[k].q, w = pow(c.line[k].sigma_w, 2), pi = acos(-1);
        same(w * 4 / pi / sqrt(1 + 4 * q), 1, 1e-9, "chi of erf");
        same(w * 2 / pi * asin(2 * q / (1 + 2 * q)) + pow(c.line[k].sigma_b, 2), q, 1e-9, "q* of erf");
    }
    c = found(NULL, (const char *const[]){ "phi=relu", NULL });
    cr_assert(c.n_line == 1 && isnan(c.line[0].q) && c.line[0].sigma_b == 0);
    same(c.line[0].sigma_w, sqrt(2), 1e-12, "sigma_w of relu");
    same(c.chi, 1, 1e-12, "chi of relu");
    cr_assert(isinf(c.correlation_length));
    c = found(of_my_own, NULL);
    same(c.sigma_w, 1.5, 1e-12, "sigma_w");
    same(c.sigma_b, 0.2, 1e-12, "sigma_b");
    is_critical(&c, own_value, own_slope);
}

/* Where depth leads to no variance, and what bends or is 0 at 0: numbers by hand, or none. */
Test(critical, signals_that_vanish_or_grow)
{
    tp_critical c = found(NULL, (const char *const[]){ "phi=tanh", "sigma_w=0.9", NULL });
    cr_assert(c.q == 0 && isnan(c.correlation) && isnan(c.correlation_length));
    same(c.chi, 0.81, 1e-12, "chi of vanishing signals");
    same(c.variance_length, -1 / log(0.81), 1e-9, "xi_q of vanishing signals");
    c = found(NULL, (const char *const[]){ "phi=relu", "sigma_w=1", NULL });
    cr_assert(c.q == 0 && c.correlation == 1 && isinf(c.correlation_length));
    same(c.chi, 0.5, 1e-12, "chi of relu");
    const double left = 1.75809934084737685994, right = 1.05070098735548049342; /* selu's slopes at 0 */
    c = found(NULL, (const char *const[]){ "phi=selu", "sigma_w=0.5", NULL });
    same(c.chi, 0.25 * (left * left + right * right) / 2, 1e-8, "chi of selu");
    same(c.line[0].sigma_w, sqrt(2 / (left * left + right * right)), 1e-8, "sigma_w of selu");
    c = found(NULL, (const char *const[]){ "phi=selu", "sigma_w=2", NULL });
    cr_assert(isinf(c.q) && isnan(c.chi) && isnan(c.correlation) && isnan(c.correlation_length));
    c = found(NULL, (const char *const[]){ "phi=abs", "sigma_w=2", NULL });
    cr_assert(isinf(c.q) && isinf(c.correlation_length));
    same(c.chi, 4, 1e-12, "chi of abs");
    c = found(NULL, (const char *const[]){ "phi=exp", NULL }); /* E e^2h = e^2q, which leaves a double's range */
    cr_assert(isinf(c.q) && isnan(c.chi));
    for (int k = 0; k < c.n_line; k++) {
        same(c.line[k].q, 1 + pow(c.line[k].sigma_b, 2), 1e-9, "q* of exp");
        same(c.line[k].sigma_w, exp(-c.line[k].q), 1e-9, "sigma_w of exp");
    }
    c = found(NULL, (const char *const[]){ "phi=square", "sigma_w=0.1", NULL }); /* of slope 0 at 0 */
    cr_assert(c.q == 0 && c.chi == 0 && c.line[0].sigma_b > 0);
    for (int k = 0; k < c.n_line; k++) /* sigma_w^2 4q = 1, q = 3 sigma_w^2 q^2 + sigma_b^2 */
        same(c.line[k].q, 4 * pow(c.line[k].sigma_b, 2), 1e-9, "q* of the square");
}

/* |c_l - c*| of limit kernels falls by exp(-1 / xi_c) a layer. */
static void decays(const char *sigma_w, const char *sigma_b, bool chaotic)
{
    enum { DEPTH = 40 };
    const double x[6] = { 1, -0.5, 0.75, 0.9, -0.2, 0.4 };
    tp_critical c = found(NULL, (const char *const[]){ "phi=tanh", sigma_w, sigma_b, NULL });
    cr_assert((c.chi > 1) == chaotic && (c.correlation < 1) == chaotic, "chi %g c* %g", c.chi, c.correlation);
    double off[2];
    for (int k = 0; k < 2; k++) {
        char depth[20];
        snprintf(depth, sizeof depth, "depth=%d", DEPTH / 2 + k);
        const char *settings[] = { "phi=tanh", sigma_w, sigma_b, depth, NULL };
        nn_spec spec = { .features = 3, .settings = settings, .name = "mlp" };
        ad_error error = { 0 };
        tp_kernel kernel;
        nn_net *net = nn_trace(nn_builtin("mlp"), &spec, &error);
        tp_program *program = tp_translate(net, &error);
        cr_assert_eq(tp_limit(program, TP_NNGP, x, 2, NULL, 0, NULL, &kernel, &error), 0, "%s", error.text);
        const double *v = kernel.terms[0].values;
        same(v[0], c.q, 1e-4, "q*"); /* the readout has the layers' sigma_w and sigma_b */
        off[k] = fabs(v[1] / sqrt(v[0] * v[3]) - c.correlation);
        tp_kernel_free(&kernel);
        tp_program_free(program);
        nn_net_free(net);
    }
    same(log(off[0] / off[1]), 1 / c.correlation_length, 0.01, "the decay of a layer");
}

Test(critical, depth_scales_are_those_of_kernels)
{
    decays("sigma_w=1.2", "sigma_b=0.3", false);
    decays("sigma_w=2.5", "sigma_b=0.3", true);
}
