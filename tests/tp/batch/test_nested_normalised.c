/* Functions of functions after batch normalisation: one function, however its terms are written. */
#include "limn.h"

#include <criterion/criterion.h>
#include <math.h>
#include <time.h>

enum { ROWS = 5, FEATURES = 8, TIMES = 12 };

static void halves(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++) {
        double h = x[i];
        for (int k = 0; k < TIMES; k++)
            h = (h + tanh(h)) / 2;
        y[i] = h;
    }
}

static void halves_slope(size_t n, const double *x, double *y)
{
    for (size_t i = 0; i < n; i++) {
        double h = x[i], slope = 1;
        for (int k = 0; k < TIMES; k++) {
            double t = tanh(h);
            slope *= 1 - t * t / 2;
            h = (h + t) / 2;
        }
        y[i] = slope;
    }
}

static const ad_function whole = { .name = "halves", .count = 2, .derivatives = { halves, halves_slope } };

static ad_var by_terms(nn_net *net, ad_var x)
{
    ad_var h = nn_batchnorm(net, "norm", nn_dense(net, "in", x, nn_width(net, "n")));
    for (int k = 0; k < TIMES; k++)
        h = ad_scale(ad_add(h, ad_tanh(h)), 0.5);
    return nn_readout(net, "out", h);
}

static ad_var at_once(nn_net *net, ad_var x)
{
    ad_var h = nn_batchnorm(net, "norm", nn_dense(net, "in", x, nn_width(net, "n")));
    return nn_readout(net, "out", ad_custom(&whole, h));
}

/* Returns the processor's seconds. */
static double solve(nn_function function, tp_kernel_kind which, tp_kernel *kernel)
{
    ad_error error = { 0 };
    double x[ROWS * FEATURES];
    for (int i = 0; i < ROWS * FEATURES; i++)
        x[i] = sin(1 + 2.3 * i * i) + 0.2 * i / (ROWS * FEATURES);
    nn_net *net = nn_trace(function, &(nn_spec){ .features = FEATURES }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    cr_assert(program, "%s", error.text);
    clock_t start = clock();
    tp_limit_spec spec = { .engine = TP_ENGINE_EXACT, .samples = 1024, .runs = 8 };
    cr_assert(!tp_limit(program, which, x, ROWS, NULL, 0, &spec, kernel, &error), "%s", error.text);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    tp_program_free(program);
    nn_net_free(net);
    return seconds;
}

/* Terms would make pairs: 91 of 13 terms. */
Test(nested_normalised, terms_are_one_function, .timeout = 300)
{
    for (int k = 0; k < 2; k++) {
        tp_kernel terms = { 0 }, once = { 0 };
        double off = 0, size = 0;
        double seconds = solve(by_terms, k ? TP_NTK : TP_NNGP, &terms);
        double one = solve(at_once, k ? TP_NTK : TP_NNGP, &once);
        for (int i = 0; i < ROWS * ROWS; i++) {
            off = fmax(off, fabs(terms.terms[0].values[i] - once.terms[0].values[i]));
            size = fmax(size, fabs(once.terms[0].values[i]));
        }
        cr_expect(off <= 4 * (terms.error + once.error) * size && once.error < 0.01,
                  "%s: off by %g of %g, stated %g, %g", k ? "NTK" : "NNGP", off, size, terms.error, once.error);
        cr_expect(seconds < 20 * one + 1, "%s: %g s, at once %g s", k ? "NTK" : "NNGP", seconds, one);
        tp_kernel_free(&terms);
        tp_kernel_free(&once);
    }
}
