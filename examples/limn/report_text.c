/* report_text.c: the report on the terminal, and as JSON. */
#include "report.h"

#include <math.h>

const struct report_claim report_claims[REPORT_CLAIMS] = {
    { INITIAL, "‖Θ₀−Θ∞‖/‖Θ∞‖", "−1/2" },
    { DRIFT, "‖Θₜ−Θ₀‖/‖Θ₀‖", "−1 if the activation is smooth, −3/4 to −1 with kinks" },
};

static const char *const keys[FIELDS] = { "train_accuracy", "test_accuracy", "initial", "drift", "final" };

void report_tell_head(const report *r)
{
    char rate[80] = "";
    if (!(r->o->rate > 0))
        snprintf(rate, sizeof rate, ", 1/%g of the largest stable one", 1 / STABLE_SHARE);
    printf("\nTrained on %d inputs: square loss, %ld full-batch steps with momentum %g, rate %.3g%s.\n"
           "Θ is the NTK of %zu probes%s, distances are Frobenius norms; mean ± deviation of %ld seeds (Θ₀: of %ld).\n\n"
           "     n   train %%       test %%        ‖Θ₀−Θ∞‖/‖Θ∞‖    ‖Θₜ−Θ₀‖/‖Θ₀‖    ‖Θₜ−Θ∞‖/‖Θ∞‖\n",
           TRAINED, r->steps, MOMENTUM, r->rate, rate, r->probes, r->coupled ? ", one training-mode batch" : "", r->seeds,
           r->draws);
    fflush(stdout);
}

void report_tell_column(const report *r, const column *c)
{
    printf("%6zu", c->n);
    for (field f = 0; f < FIELDS; f++) {
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

void report_tell_slopes(const report *r)
{
    for (int k = 0; k < REPORT_CLAIMS; k++) {
        report_line l;
        if (report_fit(r, report_claims[k].f, &l))
            printf("%sslope in n of %s   %6.3f, 95 %% [%.3f, %.3f]   theory: %s\n", k ? "" : "\n",
                   report_claims[k].name, l.slope, l.slope - l.half, l.slope + l.half, report_claims[k].theory);
    }
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
    for (field f = INITIAL; f <= DRIFT; f++) {
        report_line l;
        if (!report_fit(r, f, &l))
            continue;
        cJSON *item = json_put(slopes, keys[f], cJSON_CreateObject());
        json_put(item, "slope", cJSON_CreateNumber(l.slope));
        json_put(item, "interval", json_array((double[]){ l.slope - l.half, l.slope + l.half }, &(size_t){ 2 }, 1));
    }
    return json_print(root, error);
}
