/* kernel_tell.c: kernels, printed, as JSON, and written to files. */
#include "examples/limn/commands/kernel.h"

#include <string.h>

enum { SHOWN = 8 };

/* Of batch normalisation: what the inputs are normalised with; NULL without. */
static const char *normalised(const kernel_job *j)
{
    if (!nn_n_statistics(j->net))
        return NULL;
    if (j->o->mode == NN_EVALUATION)
        return "running statistics";
    return j->second.data ? "their two batches" : "their one batch";
}

static const char *title(tp_kernel_kind which)
{
    return which == TP_NTK ? "NTK" : "NNGP kernel";
}

const char *kernel_title(const kernel_job *j)
{
    return j->n_results > 1 ? "NTK and NNGP kernel" : title(j->results[0].which);
}

/* Is it a mean over kernels that differ? */
static bool averages(const kernel_job *j)
{
    return j->program && !j->o->of && !j->o->block && !j->full && !tp_outputs_alike(j->program);
}

void kernel_describe(const kernel_job *j, const char *what, size_t width, char *text, size_t size)
{
    const options *o = j->o;
    char at[100] = "in the limit", part[200] = "";
    const char *with = normalised(j);
    if (width)
        snprintf(at, sizeof at, "at width %zu", width);
    else if (o->at_width > 0)
        snprintf(at, sizeof at, "of the limit, its leading powers of n summed at width %g", o->at_width);
    if (o->params)
        snprintf(part, sizeof part, ", over the parameters %.100s", o->params);
    if (averages(j))
        snprintf(part + strlen(part), sizeof part - strlen(part), ", mean over %zu outputs that are not alike",
                 j->outputs);
    if (o->block)
        snprintf(part + strlen(part), sizeof part - strlen(part), ", between outputs %zu and %zu", j->block[0],
                 j->block[1]);
    snprintf(text, size, "%s of %s%s%s %s, %zu x %zu inputs%s%s%s", what, o->of ? "the vector " : "",
             o->of ? o->of : o->network, o->of ? "'s coordinates" : "", at, j->rows, j->rows2, part,
             with ? ", normalised by " : "", with ? with : "");
}

/* ---- JSON ---- */
static void shape_of(const kernel_job *j, size_t shape[4])
{
    memcpy(shape, (size_t[]){ j->rows, j->rows2, j->outputs, j->outputs }, 4 * sizeof *shape);
}

cJSON *kernel_describe_json(const kernel_job *j, size_t width)
{
    const options *o = j->o;
    cJSON *root = json_new(o);
    json_put(root, "kernel", cJSON_CreateString(option_word(OPTION_KERNEL, (int)o->kernel)));
    json_put(root, "width", width ? json_number((double)width) : cJSON_CreateString("inf"));
    if (o->at_width > 0)
        json_put(root, "at_width", json_number(o->at_width));
    if (width || (o->type_given && o->type == AD_FLOAT))
        json_put(root, "dtype", cJSON_CreateString(option_word(OPTION_DTYPE, (int)o->type)));
    if (normalised(j))
        json_put(root, "normalised", cJSON_CreateString(normalised(j)));
    if (averages(j))
        json_put(root, "mean_over_outputs", json_number((double)j->outputs));
    if (o->of)
        json_put(root, "of", cJSON_CreateString(o->of));
    cJSON *names = j->params ? json_put(root, "params", cJSON_CreateArray()) : NULL;
    for (int k = 0; names && k < nn_n_params(j->net); k++)
        if (j->params[k])
            json_put(names, "", cJSON_CreateString(ad_node_of(nn_graph(j->net), nn_param(j->net, k).id)->name));
    cJSON *block = o->block ? json_put(root, "block", cJSON_CreateArray()) : NULL;
    for (int k = 0; k < 2 && block; k++)
        json_put(block, "", json_number((double)j->block[k]));
    size_t shape[4];
    shape_of(j, shape);
    cJSON *list = json_put(root, "shape", cJSON_CreateArray());
    for (int k = 0; k < (j->full ? 4 : 2); k++)
        json_put(list, "", json_number((double)shape[k]));
    data_tell(o, j->data, root);
    return root;
}

static void put_result(const kernel_job *j, const kernel_result *r, cJSON *into)
{
    size_t shape[4];
    shape_of(j, shape);
    if (!j->width) {
        json_put(into, "method", cJSON_CreateString(r->limit.method));
        json_put(into, "error", json_number(r->limit.error));
        limit_tell(&r->opinion, into);
        if (r->errors && !j->o->out)
            json_put(into, "deviations", json_array(r->errors, shape, j->full ? 4 : 2));
        else if (r->limit.deviations && !j->o->out)
            json_put(into, "deviations", json_array(r->limit.deviations, shape, 2));
    }
    if (!r->values) {
        cJSON *terms = json_put(into, "terms", cJSON_CreateArray());
        for (int k = 0; k < r->limit.n_terms; k++) {
            cJSON *term = json_put(terms, "", cJSON_CreateObject());
            json_put(term, "power", json_number(r->limit.terms[k].power));
            json_put(term, "values", json_array(r->limit.terms[k].values, shape, 2));
        }
    } else if (!j->o->out) {
        json_put(into, "values", json_array(r->values, shape, j->full ? 4 : 2));
        if (r->errors && j->width)
            json_put(into, "standard_errors", json_array(r->errors, shape, j->full ? 4 : 2));
    }
}

static int tell_json(const kernel_job *j, ad_error *error)
{
    cJSON *root = kernel_describe_json(j, j->width);
    if (j->o->out)
        json_put(root, "out", cJSON_CreateString(j->o->out));
    for (int k = 0; k < j->n_results; k++) {
        const kernel_result *r = &j->results[k];
        const char *name = option_word(OPTION_KERNEL, (int)r->which);
        put_result(j, r, j->n_results > 1 ? json_put(root, name, cJSON_CreateObject()) : root);
    }
    return json_print(root, error);
}

/* ---- text ---- */
/* The first rows and columns of (rows, rows2, stride), of which the first number of each entry. */
static void print_corner(const kernel_job *j, const double *values, size_t stride)
{
    for (size_t r = 0; r < j->rows && r < SHOWN; r++) {
        for (size_t c = 0; c < j->rows2 && c < SHOWN; c++)
            printf("%s%14.8g", c ? " " : "", values[(r * j->rows2 + c) * stride]);
        puts(j->rows2 > SHOWN ? " ..." : "");
    }
    if (j->rows > SHOWN)
        puts("...");
}

static void print_result(const kernel_job *j, const kernel_result *r)
{
    char text[500];
    size_t stride = j->full ? j->outputs * j->outputs : 1;
    kernel_describe(j, title(r->which), j->width, text, sizeof text);
    if (!j->width)
        printf("%s, relative error %.1g\n", r->limit.method, r->limit.error);
    limit_tell(&r->opinion, NULL);
    if (r->which == TP_NTK && j->o->sigma_in == NN_SIGMA_INIT)
        puts("sigma is in the weights' deviations; neural-tangents' NTK is that of --sigma-in multiplier");
    if (j->o->out)
        printf("%s: written to %s\n", text, j->o->out);
    else if (r->values)
        printf("%s%s:\n", text, j->full ? ", between the first outputs" : "");
    else
        printf("%s, has the powers of n (--at-width N sums them):\n", text);
    if (r->values && !j->o->out)
        print_corner(j, r->values, stride);
    if (r->errors && !j->o->out) {
        if (j->width)
            printf("standard errors of this mean over %ld seeds:\n", j->o->seeds);
        else
            puts("standard errors of these means of runs:");
        print_corner(j, r->errors, stride);
    }
    for (int k = 0; k < r->limit.n_terms && !r->values; k++) {
        printf("n^%g:\n", r->limit.terms[k].power);
        print_corner(j, r->limit.terms[k].values, 1);
    }
}

int kernel_tell(const kernel_job *j, ad_error *error)
{
    if (j->o->json)
        return tell_json(j, error);
    data_tell(j->o, j->data, NULL);
    for (int k = 0; k < j->n_results; k++)
        print_result(j, &j->results[k]);
    return 0;
}

/* ---- files ---- */
/* The arrays of all results: ntk, ntk_standard_errors, nngp, nngp_standard_errors. */
static size_t list_members(const kernel_job *j, ds_member members[4])
{
    size_t n = 0;
    for (int k = 0; k < j->n_results; k++) {
        const kernel_result *r = &j->results[k];
        bool ntk = r->which == TP_NTK;
        members[n++] = (ds_member){ .name = ntk ? "ntk" : "nngp", .data = r->values };
        if (r->errors)
            members[n++] =
                (ds_member){ .name = ntk ? "ntk_standard_errors" : "nngp_standard_errors", .data = r->errors };
    }
    for (size_t k = 0; k < n; k++) {
        shape_of(j, members[k].shape);
        members[k].rank = j->full ? 4 : 2;
    }
    return n;
}

static int put_text(ad_file *file, bool more, const char *text, ad_error *error)
{
    return (more && ad_file_write(file, ",", 1, error)) || ad_file_write(file, text, strlen(text), error);
}

/* A line an entry: its rows, its outputs if they are told apart, and the arrays. */
static int put_line(ad_file *file, const kernel_job *j, const ds_member *members, size_t n, size_t i, ad_error *error)
{
    char text[40];
    size_t square = j->full ? j->outputs * j->outputs : 1;
    size_t at[] = { i / square / j->rows2, i / square % j->rows2, i % square / j->outputs, i % square % j->outputs };
    for (int k = 0; k < (j->full ? 4 : 2); k++) {
        snprintf(text, sizeof text, "%zu", at[k]);
        if (put_text(file, k > 0, text, error))
            return -1;
    }
    for (size_t k = 0; k < n; k++) {
        ad_snprintf(text, sizeof text, "%.17g", members[k].data[i]);
        if (put_text(file, true, text, error))
            return -1;
    }
    return ad_file_write(file, "\n", 1, error);
}

static int write_csv(const kernel_job *j, const ds_member *members, size_t n, ad_error *error)
{
    size_t count = kernel_numbers(j, error);
    ad_file *file = ad_file_create(j->o->out, error);
    int status = file ? put_text(file, false, j->full ? "row,column,output,output2" : "row,column", error) : -1;
    for (size_t k = 0; k < n && !status; k++)
        status = put_text(file, true, members[k].name, error);
    if (!status)
        status = ad_file_write(file, "\n", 1, error);
    for (size_t i = 0; i < count && !status; i++)
        status = put_line(file, j, members, n, i, error);
    if (file && status)
        ad_file_discard(file);
    return status ? -1 : ad_file_close(file, error);
}

/* k.npy, and the standard errors of several seeds as k.standard_errors.npy. */
static int write_npy(const kernel_job *j, const ds_member *members, size_t n, ad_error *error)
{
    const char *out = j->o->out;
    size_t stem = strlen(out) - (path_ends_with(out, ".npy") ? strlen(".npy") : 0);
    int status = ds_npy_write(out, members[0].data, members[0].shape, members[0].rank, error);
    if (status || n < 2 || !j->width)
        return status;
    char *path = ad_alloc(stem + 32, 1, "a path", error);
    if (!path)
        return -1;
    snprintf(path, stem + 32, "%.*s.standard_errors.npy", (int)stem, out);
    status = ds_npy_write(path, members[1].data, members[1].shape, members[1].rank, error);
    ad_free(path);
    return status;
}

int kernel_write(const kernel_job *j, ad_error *error)
{
    ds_member members[4] = { 0 };
    size_t n = list_members(j, members);
    if (path_ends_with(j->o->out, ".npz"))
        return ds_npz_write(j->o->out, members, n, error);
    return (path_ends_with(j->o->out, ".csv") ? write_csv : write_npy)(j, members, n, error);
}
