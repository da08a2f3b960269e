/* predict_tell.c: the kernels and ridges that were tried, as a table, as CSV and as JSON. */
#include "examples/limn/commands/predict.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* The columns, in the order of the table. Those of classes are shares, which the table has in percent; a standard error
 * stands behind its mean. */
static const struct {
    const char *heading, *name;
    size_t at;
    bool of_classes, of_folds;
} columns[] = {
    { "CV error %", "cv_error", offsetof(candidate, cv_error), true, true },
    { "+-", "cv_error_se", offsetof(candidate, cv_error_se), true, true },
    { "CV MSE", "cv_mse", offsetof(candidate, cv_mse), false, true },
    { "+-", "cv_mse_se", offsetof(candidate, cv_mse_se), false, true },
    { "LOO error %", "loo_error", offsetof(candidate, loo_error), true, false },
    { "LOO MSE", "loo_mse", offsetof(candidate, loo_mse), false, false },
    { "log likelihood", "log_likelihood", offsetof(candidate, likelihood), false, false },
};
enum { COLUMNS = sizeof columns / sizeof *columns, SIGN = 2 };

static double value_at(const candidate *c, int k)
{
    return *(const double *)(const void *)((const char *)c + columns[k].at);
}

static bool has_column(const selection *s, int k)
{
    return (s->classes || !columns[k].of_classes) && (s->o->folds || !columns[k].of_folds);
}

/* The settings of a kernel with blanks between them, as far as there is room. */
static const char *name_of(const selection *s, size_t kernel, char *text, size_t size)
{
    size_t used = 0, keys = (size_t)s->o->n_grid;
    *text = 0;
    for (size_t g = 0; g < keys && used < size; g++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", g ? " " : "", s->values[kernel * keys + g]);
    return text;
}

/* ---- the table ---- */
static const char *const criteria[] = {
    [CHOOSE_CV] = "cross-validation", [CHOOSE_LOO] = "leave-one-out", [CHOOSE_LIKELIHOOD] = "log marginal likelihood"
};

static void print_head(const selection *s)
{
    const options *o = s->o;
    printf("%zu kernel%s x %zu ridge%s on %zu rows, by %s", s->kernels, s->kernels > 1 ? "s" : "", s->ridges,
           s->ridges > 1 ? "s" : "", s->rows, criteria[o->choose]);
    if (o->folds)
        printf("; %ld folds, dealt by --seed %ld%s", o->folds, o->seed, s->classes ? " within each class" : "");
    printf("\ntargets %scentred", o->centre ? "" : "not ");
    if (s->scaled_by_fold)
        printf("; inputs scaled by the rows that train in each fold, for LOO and likelihood by all");
    if (o->noise >= 0)
        printf("; noise %g", o->noise);
    puts("");
    if (s->kernels > 1 && s->ridges > 1)
        printf("each kernel at its best ridge%s%s\n", o->csv ? "; all are in " : " (--csv F.csv has all)",
               o->csv ? o->csv : "");
    puts("");
}

static void print_row(const selection *s, size_t at, int width)
{
    char name[200];
    const candidate *c = s->candidates + at;
    printf("%c %-*s%10.3g", at == s->best ? '*' : ' ', width, name_of(s, at / s->ridges, name, sizeof name), c->ridge);
    for (int k = 0; k < COLUMNS; k++) {
        double value = value_at(c, k);
        int wide = (int)strlen(columns[k].heading) + SIGN;
        wide = wide < 10 ? 10 : wide;
        if (!has_column(s, k))
            continue;
        if (isnan(value))
            printf("%*s", wide, "-");
        else if (columns[k].of_classes)
            printf("%*.2f", wide, 100 * value);
        else
            printf("%*.4g", wide, value);
    }
    puts("");
}

static void print_table(const selection *s)
{
    char name[200];
    int width = 0;
    for (size_t k = 0; k < s->kernels; k++) {
        int length = (int)strlen(name_of(s, k, name, sizeof name));
        width = length > width ? length : width;
    }
    print_head(s);
    printf("  %-*s%10s", width, "", "ridge");
    for (int k = 0; k < COLUMNS; k++) {
        int wide = (int)strlen(columns[k].heading) + SIGN;
        if (has_column(s, k))
            printf("%*s", wide < 10 ? 10 : wide, columns[k].heading);
    }
    puts("");
    for (size_t k = 0; k < s->kernels; k++) {
        size_t first = k * s->ridges, best = selection_best(s, first, first + s->ridges);
        for (size_t r = 0; r < s->ridges; r++)
            if (s->kernels == 1 || (best == SIZE_MAX ? r == 0 : first + r == best))
                print_row(s, first + r, width);
    }
    const candidate *best = s->candidates + s->best;
    if (s->kernels * s->ridges > 1)
        printf("\n* the best: %s%sridge %g, refit on all %zu rows", name_of(s, s->best / s->ridges, name, sizeof name),
               s->o->n_grid ? ", " : "", best->ridge, s->rows);
    else
        printf("\n* nothing to choose from, without --grid and --ridges; fit on all %zu rows", s->rows);
    size_t at = s->best % s->ridges;
    if (s->ridges > 2 && (at == 0 || at == s->ridges - 1))
        printf(" (at the end of --ridges: more of them may be better)");
    puts("\n");
}

/* ---- JSON ---- */
static void put_json(const selection *s, cJSON *root)
{
    const options *o = s->o;
    size_t keys = (size_t)o->n_grid;
    cJSON *object = json_put(root, "selection", cJSON_CreateObject());
    json_put(object, "by", cJSON_CreateString(option_word(OPTION_CHOOSE, o->choose)));
    json_put(object, "rows", json_number((double)s->rows));
    json_put(object, "folds", json_number((double)o->folds));
    json_put(object, "centre", cJSON_CreateBool(o->centre));
    json_put(object, "scaled_by_fold", cJSON_CreateBool(s->scaled_by_fold));
    json_put(object, "noise", json_number(fmax(0, o->noise)));
    json_put(object, "best", json_number((double)s->best));
    cJSON *list = json_put(object, "candidates", cJSON_CreateArray());
    for (size_t i = 0; i < s->kernels * s->ridges; i++) {
        cJSON *item = json_put(list, "", cJSON_CreateObject());
        cJSON *settings = json_put(item, "settings", cJSON_CreateObject());
        for (size_t g = 0; g < keys; g++)
            json_put(settings, s->keys[g], cJSON_CreateString(strchr(s->values[i / s->ridges * keys + g], '=') + 1));
        json_put(item, "ridge", json_number(s->candidates[i].ridge));
        for (int k = 0; k < COLUMNS; k++)
            if (has_column(s, k))
                json_put(item, columns[k].name, json_number(value_at(s->candidates + i, k)));
    }
}

void selection_tell(const selection *s, cJSON *root)
{
    if (root)
        put_json(s, root);
    else
        print_table(s);
}

/* ---- CSV ---- */
static int write_text(ad_file *file, const char *text, ad_error *error)
{
    return ad_file_write(file, text, strlen(text), error);
}

/* The shortest text that is the number; none of a NAN. */
static int write_number(ad_file *file, const char *before, double x, ad_error *error)
{
    char text[40] = "";
    for (int digits = 15; digits <= 17 && !isnan(x); digits++) {
        ad_snprintf(text, sizeof text, "%.*g", digits, x);
        if (!(fabs(ad_number(text, NULL) - x) > 0))
            break;
    }
    return write_text(file, before, error) || write_text(file, text, error) ? -1 : 0;
}

static int write_rows(const selection *s, ad_file *file, ad_error *error)
{
    size_t keys = (size_t)s->o->n_grid;
    int status = 0;
    for (size_t g = 0; g < keys && !status; g++)
        status = write_text(file, s->keys[g], error) || write_text(file, ",", error) ? -1 : 0;
    if (!status)
        status = write_text(file, "ridge", error);
    for (int k = 0; k < COLUMNS && !status; k++)
        if (has_column(s, k))
            status = write_text(file, ",", error) || write_text(file, columns[k].name, error) ? -1 : 0;
    for (size_t i = 0; i < s->kernels * s->ridges && !status; i++) {
        status = write_text(file, "\n", error);
        for (size_t g = 0; g < keys && !status; g++) {
            const char *value = strchr(s->values[i / s->ridges * keys + g], '=') + 1;
            status = (g && write_text(file, ",", error)) || write_text(file, value, error) ? -1 : 0;
        }
        if (!status)
            status = write_number(file, keys ? "," : "", s->candidates[i].ridge, error);
        for (int k = 0; k < COLUMNS && !status; k++)
            if (has_column(s, k))
                status = write_number(file, ",", value_at(s->candidates + i, k), error);
    }
    return status ? status : write_text(file, "\n", error);
}

int selection_write(const selection *s, ad_error *error)
{
    ad_file *file = ad_file_create(s->o->csv, error);
    if (!file)
        return -1;
    if (!write_rows(s, file, error))
        return ad_file_close(file, error);
    ad_file_discard(file);
    return -1;
}
