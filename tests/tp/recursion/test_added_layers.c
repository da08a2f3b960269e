/* What a kernel says of its error where layers are added, against recursions in 77 digits. */
#include "limn.h"
#include "tests/support/real.h"

#include <criterion/criterion.h>
#include <math.h>

static const tp_limit_spec exact = { .engine = TP_ENGINE_EXACT };
enum { MOST_ADDED = 64, ADDED_ROWS = 3, ADDED_FEATURES = 3 };
static long added;

static ad_var residual_layers(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "in", x, n);
    for (long k = 0; k < added; k++)
        h = ad_add(h, ad_scale(nn_dense(net, nn_name(net, "d%ld", k), ad_erf(h), n), 0.5));
    return nn_readout(net, "out", h);
}

/* q, q1 and q2 to those of the next layer, and the NTK: E erf erf' and E erf' erf'' in closed form (Williams, 1997). */
static real erf_mean(real q, real d1, real d2)
{
    real twice = real_add(q, q), square = real_mul(twice, twice);
    real root = real_sqrt(real_sub(real_mul(d1, d2), square));
    return real_mul(real_div(real_of(2), real_pi()), real_atan2(twice, root));
}

static void solve_residual(const double *x, const double *y, bool same, real *nngp, real *ntk)
{
    real q[3] = { real_of(0), real_of(0), real_of(0) };
    for (int k = 0; k < ADDED_FEATURES; k++) {
        real a = real_of(x[k]), b = real_of(y[k]);
        q[0] = real_add(q[0], real_mul(a, b));
        q[1] = real_add(q[1], real_mul(a, a));
        q[2] = real_add(q[2], real_mul(b, b));
    }
    for (int k = 0; k < 3; k++)
        q[k] = real_div(q[k], real_of(ADDED_FEATURES));
    *ntk = q[0];
    for (long layer = 0; layer < added; layer++) {
        real d[2], means[3], square = real_mul(real_add(q[0], q[0]), real_add(q[0], q[0]));
        for (int k = 0; k < 2; k++)
            d[k] = real_add(real_of(1), real_add(q[k + 1], q[k + 1]));
        real slope = real_div(real_div(real_of(4), real_pi()), real_sqrt(real_sub(real_mul(d[0], d[1]), square)));
        means[0] = erf_mean(q[0], d[0], d[1]);
        means[1] = erf_mean(q[1], d[0], d[0]);
        means[2] = erf_mean(q[2], d[1], d[1]);
        *ntk = real_add(*ntk, real_scale(0.25, real_add(means[0], real_mul(slope, *ntk))));
        for (int k = 0; k < 3; k++)
            q[k] = real_add(q[k], real_scale(0.25, means[k]));
    }
    *nngp = q[same ? 1 : 0];
    *ntk = real_add(*ntk, *nngp);
}

/* A layer's share of a variance is small, and so is what it adds to the error, of inputs on a line, too. */
Test(added_layers, add_up_their_errors)
{
    static const double sets[3][ADDED_ROWS * ADDED_FEATURES] = { { 1, 0.3, 0.2, 0.4, -0.8, 1, -0.7, 0.1, 1.3 },
                                                                 { 1, 0.3, 0.2, 1.5, 0.45, 0.3, 1, 0.3, 0.2001 },
                                                                 { 1e-4, 3e-4, 0, 30, 10, 0, -1, -3, 0 } };
    for (added = 8; added <= MOST_ADDED; added *= 8)
        for (int set = 0; set < 3; set++)
            for (int which = 0; which < 2; which++) {
                ad_error error = { 0 };
                const double *x = sets[set];
                nn_net *net = nn_trace(residual_layers, &(nn_spec){ .features = ADDED_FEATURES }, &error);
                tp_program *program = net ? tp_translate(net, &error) : NULL;
                tp_kernel kernel = { 0 };
                real truth[ADDED_ROWS][ADDED_ROWS];
                cr_assert(program, "%s", error.text);
                cr_assert(!tp_limit(program, which ? TP_NTK : TP_NNGP, x, ADDED_ROWS, NULL, 0, &exact, &kernel, &error),
                          "%ld layers, set %d: %s", added, set, error.text);
                for (int i = 0; i < ADDED_ROWS; i++)
                    for (int j = 0; j < ADDED_ROWS; j++) {
                        real of[2];
                        solve_residual(x + i * ADDED_FEATURES, x + j * ADDED_FEATURES, i == j, &of[0], &of[1]);
                        truth[i][j] = of[which];
                    }
                for (int i = 0; i < ADDED_ROWS; i++)
                    for (int j = 0; j < ADDED_ROWS; j++) {
                        double size = sqrt(real_double(truth[i][i])) * sqrt(real_double(truth[j][j]));
                        double value = kernel.terms[0].values[i * ADDED_ROWS + j];
                        double off = fabs(real_double(real_sub(real_of(value), truth[i][j]))) / size;
                        cr_expect(off <= kernel.error, "%ld layers, set %d, %s: off by %g, stated %g", added, set,
                                  which ? "NTK" : "NNGP", off, kernel.error);
                    }
                cr_expect(kernel.error < 1e-10, "%ld layers, set %d, %s: stated %g", added, set, which ? "NTK" : "NNGP",
                          kernel.error);
                tp_kernel_free(&kernel);
                tp_program_free(program);
                nn_net_free(net);
            }
}
