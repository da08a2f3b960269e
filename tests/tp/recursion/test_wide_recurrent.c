/* Recurrent limits against finite networks of width 4096, and how fast the deviation falls. */
#include "limn.h"
#include "tests/support/reference.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { ROWS = 2, STEPS = 3, FEATURES = 3, ENTRIES = 3, SEEDS = 8, WIDTHS = 6, WIDEST = 4096 };

static const char *const cells[] = { "cell=vanilla", "cell=gru", "cell=lstm" };

/* The three entries of the symmetric kernel of one network. */
static void kernel_of(const nn_net *net, size_t width, uint64_t seed, const double *x, double *k)
{
    ad_error error = { 0 };
    double all[ROWS * ROWS];
    nn_model *model = nn_model_new(net, width, seed, AD_FLOAT, 1, &error);
    cr_assert(model && nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, all, &error) == 0, "%s", error.text);
    k[0] = all[0];
    k[1] = all[1];
    k[2] = all[3];
    nn_model_free(model);
}

/* At the largest width the mean over 8 seeds is within 7.5 of its standard errors, those of a limit by samples added,
 * of each of 9 entries: P(|t| > 7.5) = 1.4e-4 at 7 degrees of freedom, 9 times that is below the 2.7e-3 of three
 * standard errors. log |deviation| of each network (root mean square over the entries) is fitted against log width; the
 * slope
 * -1/2 is within 4 standard errors of the fit, 3e-4 at 46 degrees of freedom, and these are small enough for no slope
 * at all to be more than 3 of them away. */
Test(wide_recurrent, limits_agree_at_width_4096_and_deviations_fall_like_the_root)
{
    double *x = reference_sequences(ROWS, STEPS, FEATURES);
    for (int cell = 0; cell < 3; cell++) {
        ad_error error = { 0 };
        const char *settings[] = { cells[cell], "sigma_b=0.3", "sigma_w=1.2", NULL };
        nn_spec spec = { .shape = { STEPS, FEATURES }, .settings = settings };
        nn_net *net = nn_trace(nn_builtin("rnn"), &spec, &error);
        tp_program *program = net ? tp_translate(net, &error) : NULL;
        cr_assert(program, "%s", error.text);
        tp_kernel limit;
        cr_assert_eq(tp_limit(program, TP_NTK, x, ROWS, NULL, 0, &(tp_limit_spec){ .samples = 16384 }, &limit, &error),
                     0, "%s", error.text);
        const double *values = limit.terms[0].values, truth[ENTRIES] = { values[0], values[1], values[3] };
        double at[WIDTHS * SEEDS], log_off[WIDTHS * SEEDS], mean[ENTRIES] = { 0 }, variance[ENTRIES] = { 0 };
        for (int w = 0, i = 0; w < WIDTHS; w++)
            for (int seed = 1; seed <= SEEDS; seed++, i++) {
                size_t width = (size_t)WIDEST >> (WIDTHS - 1 - w);
                double k[ENTRIES], square = 0;
                kernel_of(net, width, (uint64_t)(SEEDS * w + seed), x, k); /* no two networks share draws */
                for (int e = 0; e < ENTRIES; e++) {
                    double off = k[e] - mean[e];
                    square += pow(k[e] / truth[e] - 1, 2) / ENTRIES;
                    mean[e] += width == WIDEST ? off / seed : 0;
                    variance[e] += width == WIDEST ? off * (k[e] - mean[e]) / (SEEDS - 1) : 0;
                }
                at[i] = log((double)width);
                log_off[i] = log(square) / 2;
            }
        for (int e = 0; e < ENTRIES; e++) {
            double told = limit.deviations ? limit.deviations[e == 0 ? 0 : e == 1 ? 1 : 3] : 0;
            double off = fabs(mean[e] - truth[e]) / hypot(sqrt(variance[e] / SEEDS), told);
            cr_log_info("%s, entry %d: %.5g, networks %.5g, %.2g standard errors", cells[cell], e, truth[e], mean[e],
                        off);
            cr_expect_lt(off, 7.5, "%s, entry %d: %g standard errors", cells[cell], e, off);
        }
        double x_mean = 0, y_mean = 0, xx = 0, xy = 0, rest = 0;
        int n = WIDTHS * SEEDS;
        for (int i = 0; i < n; i++) {
            x_mean += at[i] / n;
            y_mean += log_off[i] / n;
        }
        for (int i = 0; i < n; i++) {
            xx += (at[i] - x_mean) * (at[i] - x_mean);
            xy += (at[i] - x_mean) * (log_off[i] - y_mean);
        }
        for (int i = 0; i < n; i++)
            rest += pow(log_off[i] - y_mean - xy / xx * (at[i] - x_mean), 2) / (n - 2);
        double slope = xy / xx, spread = sqrt(rest / xx);
        cr_log_info("%s: the deviation falls like n^%.3f, 95 %% interval %.3f to %.3f", cells[cell], slope,
                    slope - 2.01 * spread, slope + 2.01 * spread);
        cr_expect_lt(fabs(slope + 0.5), 4 * spread, "%s: slope %g +- %g", cells[cell], slope, spread);
        cr_expect_lt(spread, 0.12, "%s: %g", cells[cell], spread);
        tp_kernel_free(&limit);
        tp_program_free(program);
        nn_net_free(net);
    }
    free(x);
}
