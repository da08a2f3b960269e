/* The power of n that a kernel does not exceed, against exact kernels of random networks; and the powers of sampled
 * kernels whose tails are heavy. */
#include "limn.h"

/* a room's own header: the bound */
#include "tests/support/language.h"
#include "tp/program/program.h"

#include <criterion/criterion.h>
#include <math.h>

/* The largest power of the exact kernel of one row; NaN where there is none. */
static double power_of(tp_program *program, const double *x)
{
    ad_error error = { 0 };
    tp_kernel kernel = { 0 };
    double most = -INFINITY;
    if (tp_limit(program, TP_NTK, x, 1, NULL, 0, &(tp_limit_spec){ .engine = TP_ENGINE_EXACT }, &kernel, &error))
        return (double)NAN;
    for (int t = 0; t < kernel.n_terms; t++)
        most = fabs(kernel.terms[t].values[0]) > 0 ? fmax(most, kernel.terms[t].power) : most;
    tp_kernel_free(&kernel);
    return most;
}

Test(power_bound, is_not_exceeded, .timeout = 600)
{
    enum { SEEDS = 40 };
    double x[LANGUAGE_ROWS * LANGUAGE_FEATURES];
    int met = 0, exact = 0, powers = 0;
    language_inputs(x);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        ad_error error = { 0 };
        nn_net *net = language_trace(seed, LANGUAGE_PLAIN, &error);
        tp_program *program = net ? tp_translate(net, &error) : NULL;
        double power = program ? power_of(program, x) : (double)NAN;
        if (!isnan(power)) {
            double bound = tp_power_bound(program, TP_NTK);
            cr_expect(power <= bound + 1e-9, "%d: n^%g, bound %g: %s", (int)seed, power, bound, language_story());
            exact++;
            met += fabs(power - bound) < 1e-9;
            powers += fabs(power) > 1e-9;
        }
        tp_program_free(program);
        nn_net_free(net);
    }
    cr_expect(exact > SEEDS / 3 && 10 * met > 8 * exact && powers > 0, "%d of %d, %d powers", met, exact, powers);
}

static ad_var scaled(nn_net *net, ad_var in)
{
    ad_axis n = nn_width(net, "n");
    ad_var h = nn_dense(net, "first", in, n), g = nn_dense(net, "second", ad_tanh(h), n);
    return ad_scale_by(nn_readout(net, "readout", ad_mul(ad_tanh(h), ad_mul(g, ad_tanh(g)))), 1, n,
                       nn_setting_real(net, "power", 0));
}

/* Sampled kernels grow like what stands in front of them: n^(2 p). */
Test(power_bound, powers_of_samples_are_found)
{
    static const char *const given[] = { "power=-0.5", "power=0", "power=0.25", "power=1" };
    static const double power[] = { -1, 0, 0.5, 2 }, x[] = { 0.5, -1.2, 0.3, 0.9, 1.1, 0.2 };
    for (int k = 0; k < 4; k++) {
        ad_error error = { 0 };
        nn_net *net =
            nn_trace(scaled, &(nn_spec){ .features = 3, .settings = (const char *[]){ given[k], NULL } }, &error);
        tp_program *program = net ? tp_translate(net, &error) : NULL;
        tp_kernel kernel = { 0 };
        tp_limit_spec spec = { .engine = TP_ENGINE_SAMPLE, .samples = 1024 };
        cr_assert(program && !tp_limit(program, TP_NTK, x, 2, NULL, 0, &spec, &kernel, &error), "%s", error.text);
        cr_expect_float_eq(kernel.terms[0].power, power[k], 1e-9, "%s: n^%g", given[k], kernel.terms[0].power);
        cr_expect_float_eq(tp_power_bound(program, TP_NTK), power[k], 1e-9);
        tp_kernel_free(&kernel);
        tp_program_free(program);
        nn_net_free(net);
    }
}

/* Three rows and four have gradients with tails up to 1/eps, so that sample means grow with the samples: no power of n
 * is read into that. */
Test(power_bound, heavy_tails_are_no_power, .timeout = 600)
{
    enum { SEEDS = 6 };
    static const double x[] = { 0.5, -1.2, 0.3, 0.9, 1.1, 0.2, -0.7, 0.4, -0.3, 0.8, 0.6, -1.5, 0.2, 0.7, 1.4, -0.6 };
    int given = 0;
    for (int rows = 3; rows <= 4; rows++)
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            ad_error error = { 0 };
            const char *settings[] = { seed % 2 ? "phi=tanh" : "phi=relu", seed % 3 ? "depth=1" : "depth=2", NULL };
            nn_net *net = nn_trace(nn_builtin("batchnorm"), &(nn_spec){ .features = 4, .settings = settings }, &error);
            tp_program *program = net ? tp_translate(net, &error) : NULL;
            tp_kernel kernel = { 0 };
            tp_limit_spec spec = { .engine = TP_ENGINE_SAMPLE, .samples = 1024, .seed = 1000 * seed };
            cr_assert(program, "%s", error.text);
            if (tp_limit(program, TP_NTK, x, (size_t)rows, NULL, 0, &spec, &kernel, &error) == 0) {
                given++;
                cr_expect_float_eq(kernel.terms[0].power, 0, 1e-9, "n^%g, %s", kernel.terms[0].power, settings[0]);
            }
            tp_kernel_free(&kernel);
            tp_program_free(program);
            nn_net_free(net);
        }
    cr_expect_geq(given, SEEDS);
}
