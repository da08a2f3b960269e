/* report_json.c: the report as one JSON object. */
#include "examples/limn/report/learning.h"

#include <math.h>

static const char *const keys[FIELDS] = {
    [TRAIN_ACCURACY] = "train_accuracy",
    [TEST_ACCURACY] = "test_accuracy",
    [INITIAL] = "initial",
    [DRIFT] = "drift",
    [FINAL] = "final",
    [NORM] = "norm",
    [TO_OUTPUTS] = "f_from_infinite",
    [TO_KERNEL] = "kernel_from_infinite",
    [TO_FEATURES] = "features_from_infinite",
    [TO_FROZEN] = "f_from_constant_kernel",
};

int report_tell_json(const report *r, ad_error *error)
{
    cJSON *root = json_new(r->o);
    data_tell(r->o, r->data, root);
    json_put(root, "trained", json_number((double)r->trained));
    json_put(root, "steps", json_number((double)r->steps));
    json_put(root, "momentum", json_number(MOMENTUM));
    json_put(root, "rate", json_number(r->rate));
    json_put(root, "largest_stable_rate", json_number(r->largest));
    json_put(root, "limit_error", json_number(r->limit_error));
    limit_tell(&r->opinion, root);
    json_put(root, "probes", json_number((double)r->probes));
    json_put(root, "probes_are_one_batch", cJSON_CreateBool(r->coupled));
    json_put(root, "seed", json_number((double)r->o->seed));
    cJSON *widths = json_put(root, "widths", cJSON_CreateArray());
    for (int k = 0; k < r->n_columns; k++) {
        cJSON *item = json_put(widths, "", cJSON_CreateObject());
        json_put(item, "n", json_number((double)r->columns[k].n));
        json_put(item, "first_seed", json_number((double)report_seed(r, k, 0)));
        for (field f = 0; f < (r->learning ? FIELDS : TO_OUTPUTS); f++)
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
        json_put(item, "slope", json_number(l.slope));
        json_put(item, "interval", json_array((double[]){ l.slope - l.half, l.slope + l.half }, &(size_t){ 2 }, 1));
        json_put(item, "band",
                 json_array((double[]){ claim->steepest[r->theory], claim->flattest[r->theory] }, &(size_t){ 2 }, 1));
        if (report_remark(r, claim, text, sizeof text))
            json_put(item, "remark", cJSON_CreateString(text));
    }
    report_learning_json(r, root);
    return json_print(root, error);
}
