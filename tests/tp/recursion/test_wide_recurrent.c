/* Recurrent limits against finite networks of width 4096, and how fast the deviation falls. */
#include "limn.h"
#include "tests/support/reference.h"
#include "tests/support/trials.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { ROWS = 2, STEPS = 3, FEATURES = 3, ENTRIES = 3, SEEDS = 8, WIDTHS = 6, WIDEST = 4096 };
/* Networks by width, 128, 256, ... WIDEST: many where they cost little. */
static const int networks[WIDTHS] = { 64, 64, 32, 16, SEEDS, SEEDS };

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
 * standard errors.
 *
 * The mean square of the deviation over k networks is at most as spread as chi squared of k degrees of freedom (the
 * three entries of one network are one draw at worst), so that the logarithm of its root has a standard error of
 * 1/sqrt(2 k), and the slope by these weights one of 0.055. It is asked within 4 of -1/2: 6e-5 for each cell, and no
 * slope of -1/4 or -3/4 passes. */
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
        double at[WIDTHS], log_off[WIDTHS], errors[WIDTHS], mean[ENTRIES] = { 0 }, variance[ENTRIES] = { 0 };
        for (int w = 0, draw = 1; w < WIDTHS; w++) {
            size_t width = (size_t)WIDEST >> (WIDTHS - 1 - w);
            double square = 0;
            for (int i = 1; i <= networks[w]; i++, draw++) {
                double k[ENTRIES];
                kernel_of(net, width, (uint64_t)draw, x, k); /* no two networks share draws */
                for (int e = 0; e < ENTRIES; e++) {
                    double off = k[e] - mean[e];
                    square += pow(k[e] / truth[e] - 1, 2) / ENTRIES / networks[w];
                    mean[e] += width == WIDEST ? off / i : 0;
                    variance[e] += width == WIDEST ? off * (k[e] - mean[e]) / (SEEDS - 1) : 0;
                }
            }
            at[w] = log((double)width);
            log_off[w] = log(square) / 2;
            errors[w] = 1 / sqrt(2.0 * networks[w]);
        }
        for (int e = 0; e < ENTRIES; e++) {
            double told = limit.deviations ? limit.deviations[e == 0 ? 0 : e == 1 ? 1 : 3] : 0;
            double off = fabs(mean[e] - truth[e]) / hypot(sqrt(variance[e] / SEEDS), told);
            cr_log_info("%s, entry %d: %.5g, networks %.5g, %.2g standard errors", cells[cell], e, truth[e], mean[e],
                        off);
            cr_expect_lt(off, 7.5, "%s, entry %d: %g standard errors", cells[cell], e, off);
        }
        trial slope = trial_slope(WIDTHS, at, log_off, errors);
        cr_log_info("%s: the deviation falls like n^%.3f +- %.3f", cells[cell], slope.mean, slope.squares);
        cr_expect_lt(fabs(slope.mean + 0.5), 4 * slope.squares, "%s: slope %g +- %g", cells[cell], slope.mean,
                     slope.squares);
        tp_kernel_free(&limit);
        tp_program_free(program);
        nn_net_free(net);
    }
    free(x);
}
