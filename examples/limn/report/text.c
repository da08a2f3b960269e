/* text.c: the report on the terminal. */
#include "examples/limn/report/report.h"

#include <math.h>

void report_tell_head(const report *r)
{
    char rate[80] = "";
    if (r->share > 0)
        snprintf(rate, sizeof rate, ", 1/%g of the largest stable one", 1 / r->share);
    puts("");
    limit_tell(&r->opinion, NULL);
    printf(
        "Trained on %zu inputs: square loss, %ld full-batch steps with momentum %g, rate %.3g%s.\n"
        "Θ is the NTK of %zu probes%s, distances are Frobenius norms; mean ± deviation of %ld seeds (Θ₀: of %ld).\n%s\n"
        "     n   train %%       test %%        ‖Θ₀−Θ∞‖/‖Θ∞‖    ‖Θₜ−Θ₀‖/‖Θ₀‖    ‖Θₜ−Θ∞‖/‖Θ∞‖\n",
        r->trained, r->steps, MOMENTUM, r->rate, rate, r->probes, r->coupled ? ", one training-mode batch" : "",
        r->seeds, r->draws, r->coupled ? "Accuracies are in evaluation, with the running statistics.\n" : "");
    fflush(stdout);
}

void report_tell_column(const report *r, const column *c)
{
    printf("%6zu", c->n);
    for (field f = 0; f < SHOWN; f++) {
        double mean, deviation;
        report_spread(c->values[f], report_count(r, f), &mean, &deviation);
        if (isnan(mean))
            printf("   %12s", "-");
        else if (f < INITIAL)
            printf("   %5.2f ± %4.2f", 100 * mean, 100 * deviation);
        else
            printf("   %.4f ± %.4f", mean, deviation);
    }
    puts("");
    fflush(stdout);
}

void report_tell_slopes(const report *r)
{
    char text[1000];
    for (int k = 0; k < REPORT_CLAIMS; k++) {
        report_line l;
        if (report_fit(r, report_claims[k].f, (double)INFINITY, &l))
            printf("%sslope in n of %s   %6.3f, 95 %% [%.3f, %.3f]   theory: %s\n", k ? "" : "\n",
                   report_claims[k].name, l.slope, l.slope - l.half, l.slope + l.half,
                   report_claims[k].theory[r->theory]);
    }
    for (int k = 0; k < REPORT_CLAIMS; k++)
        if (report_remark(r, &report_claims[k], text, sizeof text))
            printf("\n%s: %s\n", report_claims[k].name, text);
}
