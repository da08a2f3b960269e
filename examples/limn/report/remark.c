/* remark.c: what theory says of the slopes, and what the measured values say where it does not agree. */
#include "examples/limn/report/report.h"

#include <math.h>
#include <string.h>

const struct report_claim report_claims[REPORT_CLAIMS] = {
    { INITIAL, "‖Θ₀−Θ∞‖/‖Θ∞‖", { "−1/2", "−1/2", "−1/2" }, { -0.6, -0.6, -0.6 }, { -0.4, -0.4, -0.4 } },
    { DRIFT,
      "‖Θₜ−Θ₀‖/‖Θ₀‖",
      { "−1, as the activations are smooth", "−3/4 to −1, as an activation has kinks", "0, as features are learned" },
      { -1.2, -1, -0.2 },
      { -0.8, -0.75, 0.2 } },
};

#define SMALL_DRIFT 0.25 /* beyond, a drift is no small change of the kernel */

/* Appends to what stands in the text. */
static void add(char *text, size_t size, const char *format, ...) AD_PRINTF(3, 4);
static void add(char *text, size_t size, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, size - used, format, args);
    va_end(args);
}

bool report_remark(const report *r, const struct report_claim *claim, char *text, size_t size)
{
    report_line l, small;
    double steepest = claim->steepest[r->theory], flattest = claim->flattest[r->theory];
    int last = r->n_columns - 1;
    *text = 0;
    if (!report_fit(r, claim->f, (double)INFINITY, &l) || (l.slope >= steepest && l.slope <= flattest))
        return false;
    bool reaches = l.slope - l.half <= flattest && l.slope + l.half >= steepest;
    add(text, size, "%.3f is not from %g to %g%s. From width to width:", l.slope, steepest, flattest,
        reaches ? ", though its interval reaches there" : "");
    for (int k = 0; k < last; k++)
        add(text, size, "%s %.2f", k ? "," : "",
            (report_log_mean(r, claim->f, k + 1) - report_log_mean(r, claim->f, k)) /
                log((double)r->columns[k + 1].n / (double)r->columns[k].n));
    add(text, size, ", each ± %.2f.",
        l.spread * sqrt(2 / (double)report_count(r, claim->f)) /
            log((double)r->columns[last].n / (double)r->columns[0].n) * last);
    double largest = 0, norm[2], deviation;
    for (int k = 0; k <= last && claim->f == DRIFT; k++)
        largest = fmax(largest, exp(report_log_mean(r, DRIFT, k)));
    if (largest <= SMALL_DRIFT || r->theory == REPORT_FEATURES) { /* whose drift need not be small */
        add(text, size, "%s", reaches ? " More --seeds make the interval shorter." : "");
        return true;
    }
    report_spread(r->columns[0].values[NORM], r->seeds, &norm[0], &deviation);
    report_spread(r->columns[last].values[NORM], r->seeds, &norm[1], &deviation);
    add(text, size,
        "\nTheory's slope is that of a drift far below 1. It is %.2f at n = %zu and %.2f at n = %zu, where training "
        "leaves the "
        "kernel %.2f and %.2f of its norm; wider --widths or fewer --steps make it small.",
        exp(report_log_mean(r, DRIFT, 0)), r->columns[0].n, exp(report_log_mean(r, DRIFT, last)), r->columns[last].n,
        norm[0], norm[1]);
    if (report_fit(r, DRIFT, SMALL_DRIFT, &small) && small.widths < r->n_columns)
        add(text, size, " Over the %d widths where it is below %g, the slope is %.3f, 95 %% [%.3f, %.3f].",
            small.widths, SMALL_DRIFT, small.slope, small.slope - small.half, small.slope + small.half);
    return true;
}
