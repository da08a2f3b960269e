/* limit.c: limn limit: a program written by hand, in a text file, and what it tends to. */
#include "examples/limn/commands/commands.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One number of the limit, with what it is of: "E x", "Var x", "Cov(x, y)", and which vectors it belongs to. */
typedef struct {
    char what[100];
    const char *kind, *of, *of2;
    const tp_estimate *estimate;
    double least; /* what is below is rounding's */
} entry;

static const double rounding = 1e-14; /* of means and covariances, relative to deviations */

/* ---- what is told ---- */
/* The k-th --psi is called psi1, psi2, ... and shown as what it is of. */
static const char *shown(const options *o, const tp_value *v)
{
    long k = strncmp(v->name, "psi", 3) == 0 ? strtol(v->name + 3, NULL, 10) : 0;
    return k >= 1 && k <= o->n_psi ? o->psi[k - 1] : v->name;
}

static entry make_entry(const char *format, const char *kind, const char *of, const char *of2,
                        const tp_estimate *estimate, double size)
{
    entry e = { .kind = kind, .of = of, .of2 = of2, .estimate = estimate, .least = rounding * size };
    snprintf(e.what, sizeof e.what, "%s%.60s%s%.30s%s", format, of, *of2 ? ", " : "", of2, *of2 ? ")" : "");
    return e;
}

/* All numbers in the order of the program; covariances that are exactly 0 are left out. */
static int list_entries(const options *o, const tp_solution *s, entry *list)
{
    int n = 0;
    for (int k = 0; k < s->n; k++) {
        const tp_value *v = &s->values[k];
        const char *name = shown(o, v);
        if (v->type != 'f')
            list[n++] = make_entry(v->type == 's' && name == v->name ? "" : "E ", v->type == 's' ? "scalar" : "mean",
                                   name, "", &v->mean, v->type == 's' ? 0 : sqrt(fabs(v->variance.value)));
        if (v->type != 's')
            list[n++] = make_entry("Var ", "variance", name, "", &v->variance, 0);
        for (int i = 0; i < k && s->covariances; i++) {
            const tp_estimate *e = &s->covariances[k * s->n + i];
            double size = sqrt(fabs(v->variance.value)) * sqrt(fabs(s->values[i].variance.value));
            if (fabs(e->value) > rounding * size || e->error > 0)
                list[n++] = make_entry("Cov(", "covariance", s->values[i].name, name, e, 0);
        }
    }
    return n;
}

/* ---- as text ---- */
static void print_rule(const options *o, const tp_solution *s)
{
    printf("%s: %s rule%s%s", o->network, s->general ? "general" : "simple",
           s->bp_like   ? ", the program is BP-like"
           : s->general ? " (Z dot), the program is not BP-like: "
                        : ", though the program is not BP-like: ",
           s->why);
    if (s->general && !isnan(s->simple_rule_error))
        printf("; the simple rule would be off by %.3g %%", 100 * s->simple_rule_error);
    printf(".\n%s.\n", s->sampled ? "With ±: sampled at n = infinity, standard error; the others are exact"
                                  : "All values are exact: closed forms, Wick's theorem and quadrature");
}

static void print_text(const options *o, const tp_solution *s, const entry *list, int n)
{
    bool simple = s->general && s->simple_rule_error > 0;
    int widest = 10;
    print_rule(o, s);
    for (int k = 0; k < n; k++)
        widest = ad_columns(list[k].what) > widest ? ad_columns(list[k].what) : widest;
    printf("\n  %-*s %16s%s", widest, "", "limit", s->sampled ? "          " : "");
    printf(simple ? " %16s" : "%s", simple ? "simple rule" : "");
    if (o->width)
        printf(" %16s %zu, %d seeds", "n =", o->width, s->finite_seeds);
    putchar('\n');
    for (int k = 0; k < n; k++) {
        const tp_estimate *e = list[k].estimate;
        char error[32] = "", at[64] = "";
        if (e->error > 0)
            snprintf(error, sizeof error, "± %.1e", e->error);
        if (simple && !isnan(e->simple))
            snprintf(at, sizeof at, "%.10g", fabs(e->simple) < list[k].least ? 0 : e->simple);
        printf("  %s%*s %16.10g", list[k].what, widest - ad_columns(list[k].what), "",
               fabs(e->value) < list[k].least ? 0 : e->value);
        printf(s->sampled ? " %s%*s" : "%s%*s", error, s->sampled ? 9 - ad_columns(error) : 0, "");
        printf(simple ? " %16s" : "%s", at);
        if (o->width && strcmp(list[k].of, "f") != 0)
            printf(" %16.8g ± %.1e", e->finite, e->finite_error);
        putchar('\n');
    }
    if (s->covariances)
        puts("Covariances of G-vars that are not listed are 0.");
    else
        printf("Covariances are not listed, for the program has more than %d commands: --psi 'x*y' gives E x y.\n",
               TP_MOST_PAIRED);
}

/* ---- as JSON ---- */
static int print_json(const options *o, const tp_solution *s, const entry *list, int n, ad_error *error)
{
    cJSON *root = cJSON_CreateObject();
    json_put(root, "command", cJSON_CreateString(o->command));
    json_put(root, "file", cJSON_CreateString(o->network));
    json_put(root, "bp_like", cJSON_CreateBool(s->bp_like));
    json_put(root, "rule", cJSON_CreateString(s->general ? "general" : "bp"));
    json_put(root, "covariances", cJSON_CreateBool(s->covariances != NULL));
    if (*s->why)
        json_put(root, "reason", cJSON_CreateString(s->why));
    if (s->general && !isnan(s->simple_rule_error))
        json_put(root, "simple_rule_error", json_number(s->simple_rule_error));
    if (o->width) {
        json_put(root, "width", json_number((double)o->width));
        json_put(root, "seeds", json_number(s->finite_seeds));
    }
    cJSON *all = json_put(root, "limits", cJSON_CreateArray());
    for (int k = 0; k < n; k++) {
        const tp_estimate *e = list[k].estimate;
        cJSON *item = json_put(all, "", cJSON_CreateObject());
        json_put(item, "kind", cJSON_CreateString(list[k].kind));
        json_put(item, "of", cJSON_CreateString(list[k].of));
        if (*list[k].of2)
            json_put(item, "and", cJSON_CreateString(list[k].of2));
        json_put(item, "value", json_number(e->value));
        json_put(item, "method", cJSON_CreateString(e->error > 0 ? "sampled" : "exact"));
        json_put(item, "error", json_number(e->error));
        if (s->general && !isnan(e->simple))
            json_put(item, "simple_rule", json_number(e->simple));
        if (o->width) {
            json_put(item, "finite", json_number(e->finite));
            json_put(item, "finite_error", json_number(e->finite_error));
        }
    }
    return json_print(root, error);
}

/* ---- the command ---- */
static int add_expectations(const options *o, tp_script *script)
{
    char name[20];
    for (int k = 0; k < o->n_psi; k++) {
        snprintf(name, sizeof name, "psi%d", k + 1);
        if (tp_moment(script, name, o->psi[k]) < 0)
            return -1;
    }
    return 0;
}

static int run_limit(const options *o, ad_error *error)
{
    tp_solve_spec spec = { .engine = o->engine,
                           .rule = o->rule,
                           .samples = (size_t)o->samples,
                           .runs = (int)o->runs,
                           .width = o->width,
                           .seeds = (int)o->seeds,
                           .seed = (uint64_t)o->seed,
                           .progress = progress_tell };
    ds_data *data = o->inputs ? data_load(o, error) : NULL;
    if (o->inputs && !data)
        return -1;
    if (data) { /* the first row */
        spec.data = data->x;
        spec.times = data->height ? data->height : 1;
        spec.features = data->features / spec.times;
    }
    tp_script *script = tp_script_read(o->network, error);
    if (script)
        add_expectations(o, script);
    progress_begin(o, "its solution");
    tp_solution *solution = script ? tp_script_solve(script, &spec, error) : NULL;
    progress_end();
    size_t count = solution ? (size_t)solution->n * (solution->covariances ? (size_t)solution->n + 2 : 2) + 1 : 0;
    entry *list = solution ? ad_alloc(count, sizeof *list, "the limits", error) : NULL;
    int status = list ? 0 : -1;
    if (!status) {
        int n = list_entries(o, solution, list);
        if (o->json)
            status = print_json(o, solution, list, n, error);
        else
            print_text(o, solution, list, n);
    }
    ad_free(list);
    tp_solution_free(solution);
    tp_script_free(script);
    ds_free(data);
    return status;
}

const tool_command command_limit = {
    .name = "limit",
    .argument = "FILE",
    .summary = "solves a program written by hand",
    .manual = "The file is in the notation of limn program, whose grammar stands in tp/netsor/text.c:\n\n"
              "  Input    W  : A(n, n) ~ N(0, 1/n)\n"
              "  Input    x  : G(n)    ~ N(0, 1)\n"
              "  MatMul   h  := W x\n"
              "  Nonlin   y  := tanh(h)\n"
              "  Moment   e  := \u27e8y, h\u27e9\n\n"
              "Prints means, variances and covariances of its vectors (of up to 1000 commands) and the limits of its "
              "scalars, and\nwith --width the same\n"
              "at that width, mean and standard error over --seeds. A law of data, N(0, \u27e8x, x\u27e9/784), takes "
              "the first row of\n"
              "--inputs.\n",
    .takes = TAKE_ALWAYS | TAKE(WIDTH) | TAKE(SEED) | TAKE(SEEDS) | TAKE(ENGINE) | TAKE(RULE) | TAKE(SAMPLES) |
             TAKE(RUNS) | TAKE(PSI),
    .settle = NULL,
    .run = run_limit,
};
