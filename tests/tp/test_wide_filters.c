/* Networks with filters of 512 channels, draw by draw, against their limits. None of the draws share numbers.
 *
 * A mean over draws of width n lies b / n + O(1/n^2) off the limit. b is measured where that is cheap, on as many draws
 * of NARROW channels, and b / WIDE is taken off the mean at WIDE; its error, a third of the mean's, counts with it.
 *
 * Three statements, of networks whose limits are exact:
 *   a network's mean NTK, along the limit, is within 3 standard errors. That is Student's variable of draws - 1 degrees
 *   of freedom: of 17 right networks one would be further off with a chance of 0.12 (20 draws) or 0.05 (256). Seeds are
 *   fixed, so that it is or is not so for good;
 *   all entries of all kernels are within an error that one of them would exceed with a chance of 1 / 1000;
 *   the root mean square of distances falls as n^(-1/2): the networks' mean slope is within 3 of its standard errors,
 *   which their spread tells, and 0.02 for what is of higher order at NARROW.
 * Errors are below 0.1 / sqrt(draws), so that a limit that is off by 0.6 / sqrt(draws), 13 % or 4 %, is found. */
#include "tests/support/filters.h"
#include "tests/support/reference.h"
#include "tests/support/trials.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 2, ENTRIES = 6, NARROW = 64, MIDDLE = 180, WIDE = 512, WIDTHS = 3, LARGEST = 50 };
static const size_t widths[WIDTHS] = { NARROW, MIDDLE, WIDE };

/* Draws of a network at a width; LIMN_LONG: the long form. */
static int draws(void)
{
    return getenv("LIMN_LONG") ? 256 : 20;
}

/* The entries (0, 0), (0, 1), (1, 1) of the NNGP kernel and the NTK less the limit's, over roots of its diagonal. */
typedef struct {
    trial entry[ENTRIES], along, square; /* along: the NTK's part along the limit; square: of the NTK's distance */
} width_draws;

static void limits_of(nn_net *net, const double *x, double limit[ENTRIES])
{
    ad_error error = { 0 };
    tp_limit_spec spec = { .engine = TP_ENGINE_EXACT, .threads = 1 };
    tp_program *program = tp_translate(net, &error);
    for (int which = 0; which < 2; which++) {
        tp_kernel kernel = { 0 };
        cr_assert_eq(tp_limit(program, which ? TP_NTK : TP_NNGP, x, ROWS, NULL, 0, &spec, &kernel, &error), 0, "%s",
                     error.text);
        const double *k = kernel.terms[0].values;
        memcpy(limit + 3 * which, (double[]){ k[0], k[1], k[3] }, 3 * sizeof *limit);
        tp_kernel_free(&kernel);
    }
    tp_program_free(program);
}

static double entry_scale(const double limit[ENTRIES], int e)
{
    const double *k = limit + e / 3 * 3;
    return e % 3 == 1 ? sqrt(k[0] * k[2]) : k[e % 3];
}

/* <K, limit> / <limit, limit> of the NTKs' entries. */
static double part_along(const double *k, const double limit[ENTRIES])
{
    const double *l = limit + 3;
    return (k[0] * l[0] + 2 * k[1] * l[1] + k[2] * l[2]) / (l[0] * l[0] + 2 * l[1] * l[1] + l[2] * l[2]);
}

static void draw(nn_net *net, size_t width, uint64_t seed, const double *x, const double limit[ENTRIES],
                 width_draws *of)
{
    ad_error error = { 0 };
    double k[2][ROWS * ROWS], off[ENTRIES];
    nn_model *model = nn_model_new(net, width, seed, AD_FLOAT, 1, &error);
    cr_assert(model && nn_nngp(model, x, ROWS, NULL, 0, NN_MEAN, k[0], &error) == 0 &&
                  nn_ntk(model, x, ROWS, NULL, 0, NN_MEAN, k[1], &error) == 0,
              "%s", error.text);
    for (int e = 0; e < ENTRIES; e++) {
        off[e] = k[e / 3][e % 3 + (e % 3 == 2)] - limit[e];
        trial_add(&of->entry[e], off[e] / entry_scale(limit, e));
    }
    trial_add(&of->along, part_along(off + 3, limit));
    trial_add(&of->square, off[3] * off[3] + 2 * off[4] * off[4] + off[5] * off[5]);
    nn_model_free(model);
}

/* A mean at WIDE less b / WIDE, in `squares` its error. */
static trial without_bias(trial narrow, trial wide)
{
    double part = (double)NARROW / WIDE;
    return (trial){ wide.n, wide.mean - part * narrow.mean, hypot(error_of(wide), part * error_of(narrow)) };
}

/* The slope of the distances' root mean square; so many draws at each width have the same bias of the logarithm. */
static double slope_of(const width_draws of[WIDTHS])
{
    double x[WIDTHS], y[WIDTHS], errors[WIDTHS];
    for (int w = 0; w < WIDTHS; w++) {
        x[w] = log((double)widths[w]);
        y[w] = 0.5 * log(of[w].square.mean);
        errors[w] = 1;
    }
    return trial_slope(WIDTHS, x, y, errors).mean;
}

static size_t points_of(const filter_net *f)
{
    return (size_t)(f->rows * (f->columns ? f->columns : 1));
}

static void check_mean(const filter_net *f, const width_draws of[WIDTHS], int nets)
{
    trial along = without_bias(of[0].along, of[WIDTHS - 1].along);
    double most = ad_student(1e-3 / (nets * ENTRIES), along.n - 1);
    cr_expect(along.squares < 0.1 / sqrt(along.n), "%s: the error is %g", f->name, along.squares);
    cr_expect(fabs(along.mean) <= 3 * along.squares, "%s: %g +- %g", f->name, along.mean, along.squares);
    for (int e = 0; e < ENTRIES; e++) {
        trial entry = without_bias(of[0].entry[e], of[WIDTHS - 1].entry[e]);
        cr_expect(fabs(entry.mean) <= most * entry.squares, "%s, %s, %d: %g +- %g", f->name, e < 3 ? "NNGP" : "NTK",
                  e % 3, entry.mean, entry.squares);
    }
}

Test(wide_filters, come_to_the_limit, .timeout = 3000)
{
    int nets = 0;
    uint64_t seed = 0;
    trial slopes = { 0 };
    for (size_t k = 0; filter_net_at(k); k++)
        nets += points_of(filter_net_at(k)) <= LARGEST;
    for (size_t k = 0; filter_net_at(k); k++) {
        const filter_net *f = filter_net_at(k);
        if (points_of(f) > LARGEST)
            continue;
        ad_error error = { 0 };
        double limit[ENTRIES], *x = reference_inputs(ROWS, points_of(f) * (size_t)f->channels);
        nn_net *net = filter_net_trace(f, &error);
        cr_assert(net, "%s: %s", f->name, error.text);
        limits_of(net, x, limit);
        width_draws of[WIDTHS] = { 0 };
        for (int w = 0; w < WIDTHS; w++)
            for (int i = 0; i < draws(); i++)
                draw(net, widths[w], ++seed, x, limit, &of[w]);
        check_mean(f, of, nets);
        trial_add(&slopes, slope_of(of));
        nn_net_free(net);
        free(x);
    }
    cr_assert(nets > 10 && error_of(slopes) < 0.05, "%d networks, slope %g +- %g", nets, slopes.mean, error_of(slopes));
    cr_expect(distance(slopes, -0.5, 0.02) < 3, "slope %g +- %g", slopes.mean, error_of(slopes));
}
