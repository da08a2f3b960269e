/* train_drift.c: what limn train --drift measures: the probes, their limit kernel, the kernels as files, the series as
 * JSON. */
#include "examples/limn/commands/train_drift.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_COLUMNS = 64 };

/* Theta_inf of the probes at the width, from --drift-limit or by the exact engine; NULL where there is none: with an
 * error if its check fails, or memory. */
static double *find_limit(const options *o, nn_net *net, const ds_data *data, size_t width, tp_opinion *opinion,
                          ad_error *error)
{
    size_t rows = (size_t)o->probes;
    if (o->drift_limit) {
        ds_array a;
        if (ds_npy_matrix(o->drift_limit, &a, error) != 0)
            return NULL;
        if (a.shape[0] == rows && a.shape[1] == rows)
            return a.data;
        ad_fail(error, "%s: (%zu, %zu), the kernel of the probes is (%zu, %zu)", o->drift_limit, a.shape[0], a.shape[1],
                rows, rows);
        ds_array_free(&a);
        return NULL;
    }
    ad_error why = { 0 };
    double worst = 0;
    char method[600];
    long failed = ad_allocations_failed();
    double *limit = ad_alloc(rows * rows, sizeof *limit, "a kernel", error);
    tp_program *program = limit ? tp_translate(net, &why) : NULL;
    outputs_job mean = { .o = o,
                         .program = program,
                         .ask = { .which = TP_NTK,
                                  .x = data->x,
                                  .rows = rows,
                                  .spec = { .threads = (int)o->threads, .engine = TP_ENGINE_EXACT } },
                         .outputs = nn_n_outputs(net),
                         .width = (double)width,
                         .opinion = opinion };
    if (program)
        outputs_limit(&mean, limit, method, sizeof method, &worst, &why);
    bool starved = ad_allocations_failed() > failed;
    if (starved || (opinion->checked && why.text[0])) {
        ad_fail(error, "%s", why.text[0] ? why.text : "out of memory for the limit that --drift compares with");
        ad_free(limit);
        limit = NULL;
    } else if (limit && why.text[0]) {
        fprintf(stderr, "from_limit stays empty, or give --drift-limit: %s\n", why.text);
        ad_free(limit);
        limit = NULL;
    }
    tp_program_free(program);
    return limit;
}

static int write_kernel(const nn_drift_row *row, void *context, ad_error *error)
{
    const options *o = context;
    size_t shape[2] = { (size_t)o->probes, (size_t)o->probes };
    char path[1200];
    if (snprintf(path, sizeof path, "%s%08ld.npy", o->drift_kernels, row->step) >= (int)sizeof path)
        return ad_fail(error, "%.80s...: too long a name", o->drift_kernels);
    return ds_npy_write(path, row->kernel, shape, 2, error);
}

int drift_open(const options *o, nn_net *net, const ds_data *data, size_t width, nn_drift_spec *spec,
               tp_opinion *opinion, ad_error *error)
{
    if ((size_t)o->probes > data->train)
        return ad_fail(error, "--probes %ld: there are %zu inputs to train on", o->probes, data->train);
    *spec = (nn_drift_spec){ .probes = { data->x, data->y, (size_t)o->probes, data->classes },
                             .limit = find_limit(o, net, data, width, opinion, error),
                             .schedule = o->drift_schedule,
                             .every = o->drift_every,
                             .share = o->drift_share,
                             .csv = o->drift,
                             .each = o->drift_kernels ? write_kernel : NULL,
                             .context = (void *)o };
    return error->text[0] ? -1 : 0;
}

void drift_close(nn_drift_spec *spec)
{
    ad_free((double *)spec->limit);
    spec->limit = NULL;
}

/* One list a column. */
static int series(char *text, cJSON *result)
{
    cJSON *lists[MAX_COLUMNS];
    int columns = 0;
    char *end = strchr(text, '\n');
    for (char *name = text; end && name < end && columns < MAX_COLUMNS; columns++) {
        size_t length = strcspn(name, ",\n");
        name[length] = 0;
        lists[columns] = json_put(result, name, cJSON_CreateArray());
        name += length + 1;
    }
    for (char *at = end ? end + 1 : NULL; at && *at;) {
        for (int k = 0; k < columns; k++) {
            size_t length = strcspn(at, ",\n");
            cJSON *item = length ? json_number(ad_number(at, NULL)) : cJSON_CreateNull();
            if (!item || !cJSON_AddItemToArray(lists[k], item))
                return cJSON_Delete(item), -1;
            at += length + (at[length] != 0);
        }
    }
    return 0;
}

int drift_tell(const options *o, const nn_progress *last, const tp_opinion *opinion, cJSON *run, ad_error *error)
{
    double share = last->seconds > 0 ? last->measuring / last->seconds : 0;
    if (!o->json) {
        printf("drift   %ld measurements of %ld probes in %s: %.3g s, %.2g %% of the fit's time\n", last->measured,
               o->probes, o->drift, last->measuring, 100 * share);
        limit_tell(opinion, NULL);
        return 0;
    }
    size_t bytes;
    char *text = ad_file_read(o->drift, SIZE_MAX / 4, &bytes, error);
    if (!text)
        return -1;
    cJSON *result = json_put(run, "drift", cJSON_CreateObject());
    json_put(result, "probes", json_number((double)o->probes));
    json_put(result, "measured", json_number((double)last->measured));
    json_put(result, "share", json_number(share));
    limit_tell(opinion, result);
    int failed = series(text, json_put(result, "series", cJSON_CreateObject()));
    ad_free(text);
    return failed ? ad_fail(error, "out of memory for the result as JSON") : 0;
}
