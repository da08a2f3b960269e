/* report_text.c: the report on the terminal, and as JSON. */
#include "examples/limn/report/report.h"

#include <math.h>
#include <string.h>

const struct report_claim report_claims[REPORT_CLAIMS] = {
    { INITIAL, "‖Θ₀−Θ∞‖/‖Θ∞‖", { "−1/2", "−1/2" }, { -0.6, -0.6 }, { -0.4, -0.4 } },
    { DRIFT,
      "‖Θₜ−Θ₀‖/‖Θ₀‖",
      { "−1, as the activations are smooth", "−3/4 to −1, as an activation has kinks" },
      { -1.2, -1 },
      { -0.8, -0.75 } },
};

#define SMALL_DRIFT 0.25 /* beyond, a drift is no small change of the kernel */

static const char *const keys[FIELDS] = { "train_accuracy", "test_accuracy", "initial", "drift", "final", "norm" };

void report_tell_head(const report *r)
{
    char rate[80] = "";
    if (r->share > 0)
        snprintf(rate, sizeof rate, ", 1/%g of the largest stable one", 1 / r->share);
    printf(
        "\nTrained on %d inputs: square loss, %ld full-batch steps with momentum %g, rate %.3g%s.\n"
        "Θ is the NTK of %zu probes%s, distances are Frobenius norms; mean ± deviation of %ld seeds (Θ₀: of %ld).\n%s\n"
        "     n   train %%       test %%        ‖Θ₀−Θ∞‖/‖Θ∞‖    ‖Θₜ−Θ₀‖/‖Θ₀‖    ‖Θₜ−Θ∞‖/‖Θ∞‖\n",
        TRAINED, r->steps, MOMENTUM, r->rate, rate, r->probes, r->coupled ? ", one training-mode batch" : "", r->seeds,
        r->draws, r->coupled ? "Accuracies are in evaluation, with the running statistics.\n" : "");
    fflush(stdout);
}

void report_tell_column(const report *r, const column *c)
{
    printf("%6zu", c->n);
    for (field f = 0; f < SHOWN; f++) {
        double mean, deviation;
        report_spread(c->values[f], report_count(r, f), &mean, &deviation);
        if (f < INITIAL)
            printf("   %5.2f ± %4.2f", 100 * mean, 100 * deviation);
        else
            printf("   %.4f ± %.4f", mean, deviation);
    }
    puts("");
    fflush(stdout);
}

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
    double steepest = claim->steepest[r->kinks], flattest = claim->flattest[r->kinks];
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
    if (largest <= SMALL_DRIFT) {
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

void report_tell_slopes(const report *r)
{
    char text[1000];
    for (int k = 0; k < REPORT_CLAIMS; k++) {
        report_line l;
        if (report_fit(r, report_claims[k].f, (double)INFINITY, &l))
            printf("%sslope in n of %s   %6.3f, 95 %% [%.3f, %.3f]   theory: %s\n", k ? "" : "\n",
                   report_claims[k].name, l.slope, l.slope - l.half, l.slope + l.half,
                   report_claims[k].theory[r->kinks]);
    }
    for (int k = 0; k < REPORT_CLAIMS; k++)
        if (report_remark(r, &report_claims[k], text, sizeof text))
            printf("\n%s: %s\n", report_claims[k].name, text);
}

int report_tell_json(const report *r, ad_error *error)
{
    cJSON *root = json_new(r->o);
    data_tell(r->o, r->data, root);
    json_put(root, "trained", cJSON_CreateNumber(TRAINED));
    json_put(root, "steps", cJSON_CreateNumber((double)r->steps));
    json_put(root, "momentum", cJSON_CreateNumber(MOMENTUM));
    json_put(root, "rate", cJSON_CreateNumber(r->rate));
    json_put(root, "largest_stable_rate", cJSON_CreateNumber(r->largest));
    json_put(root, "limit_error", cJSON_CreateNumber(r->limit_error));
    json_put(root, "probes", cJSON_CreateNumber((double)r->probes));
    json_put(root, "probes_are_one_batch", cJSON_CreateBool(r->coupled));
    json_put(root, "seed", cJSON_CreateNumber((double)r->o->seed));
    cJSON *widths = json_put(root, "widths", cJSON_CreateArray());
    for (int k = 0; k < r->n_columns; k++) {
        cJSON *item = json_put(widths, "", cJSON_CreateObject());
        json_put(item, "n", cJSON_CreateNumber((double)r->columns[k].n));
        json_put(item, "first_seed", cJSON_CreateNumber((double)report_seed(r, k, 0)));
        for (field f = 0; f < FIELDS; f++)
            json_put(item, keys[f], json_array(r->columns[k].values[f], &(size_t){ (size_t)report_count(r, f) }, 1));
    }
    cJSON *slopes = json_put(root, "slopes", cJSON_CreateObject());
    for (int k = 0; k < REPORT_CLAIMS; k++) {
        const struct report_claim *claim = &report_claims[k];
        report_line l;
        char text[1000];
        if (!report_fit(r, claim->f, (double)INFINITY, &l))
            continue;
        cJSON *item = json_put(slopes, keys[claim->f], cJSON_CreateObject());
        json_put(item, "slope", cJSON_CreateNumber(l.slope));
        json_put(item, "interval", json_array((double[]){ l.slope - l.half, l.slope + l.half }, &(size_t){ 2 }, 1));
        json_put(item, "band",
                 json_array((double[]){ claim->steepest[r->kinks], claim->flattest[r->kinks] }, &(size_t){ 2 }, 1));
        if (report_remark(r, claim, text, sizeof text))
            json_put(item, "remark", cJSON_CreateString(text));
    }
    return json_print(root, error);
}
