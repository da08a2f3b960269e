/* A locale with a decimal comma, set by the program that links limn: settings, CSV, programs, JSON, drift, checkpoints
 * and messages are read and written with points. The locale is built here, so that no machine has to have it. */
#include "datasets/datasets.h"
#include "limn.h"
#include "tests/support/tool.h"

#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static char locales[128];

static void enter(void)
{
    tool_enter();
    snprintf(locales, sizeof locales, "%s/.locales", folder);
    shell("mkdir %s && localedef -i de_DE -f UTF-8 %s/de_DE.UTF-8", locales, locales);
    cr_assert(setenv("LOCPATH", locales, 1) == 0);
}

TestSuite(locale, .init = enter, .fini = tool_leave, .timeout = 300);

static void set_comma(bool on)
{
    char text[8];
    cr_assert(setlocale(LC_ALL, on ? "de_DE.UTF-8" : "C") != NULL);
    snprintf(text, sizeof text, "%.1f", 0.5);
    cr_assert_str_eq(text, on ? "0,5" : "0.5");
}

enum { FEATURES = 4, ROWS = 6 };

/* ---- what is written and read, all of it into one text ---- */
static nn_net *network(void)
{
    static const char *const settings[] = { "depth=2", "phi=tanh", "sigma_w=1.25", "sigma_b=0.1", NULL };
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .outputs = 2, .settings = settings, .name = "mlp" };
    nn_net *net = nn_trace(nn_builtin("mlp"), &spec, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

static void write_bits(FILE *out, const double *values, size_t count)
{
    for (size_t i = 0; i < count * sizeof *values; i++)
        fprintf(out, "%02x%s", ((const unsigned char *)values)[i], (i + 1) % sizeof *values ? "" : "\n");
}

static void write_trace(FILE *out)
{
    ad_error error = { 0 };
    nn_net *net = network();
    ad_print(nn_graph(net), out);
    tp_program *program = tp_translate(net, &error);
    cr_assert(program, "%s", error.text);
    for (tp_style style = TP_PAPER; style <= TP_JSON; style++) {
        cr_assert(tp_print(program, out, style, &error) == 0, "%s", error.text);
        if (style != TP_JSON)
            cr_assert(tp_print_recursion(program, out, style, &error) == 0, "%s", error.text);
    }
    tp_program_free(program);
    nn_net_free(net);
}

static void write_script(FILE *out)
{
    ad_error error = { 0 };
    tp_script *script = tp_script_parse("Input    W := A(n, n) ~ N(0, 1.5/n)\n", "no.tp", &error);
    fprintf(out, "%s\n", error.text);
    tp_script_free(script);
    error = (ad_error){ 0 };
    script = tp_script_parse("Width    m := 2.5 n\n"
                             "Input    W : A(m, n) ~ N(0, 1.5/n)\n"
                             "Input    x : G(n)    ~ N(0.25, 0.125)\n"
                             "MatMul   h := W x\n"
                             "Nonlin   y := 0.75*tanh(h) + 1.5\n"
                             "Moment   e := <y, h>\n",
                             "by-hand.tp", &error);
    cr_assert(script, "%s", error.text);
    for (tp_style style = TP_PAPER; style <= TP_JSON; style++)
        cr_assert(tp_script_print(script, out, style, &error) == 0, "%s", error.text);
    tp_solution *solution = tp_script_solve(script, &(tp_solve_spec){ .seeds = 2 }, &error);
    cr_assert(solution, "%s", error.text);
    for (int k = 0; k < solution->n; k++) {
        write_bits(out, &solution->values[k].mean.value, 1);
        write_bits(out, &solution->values[k].variance.value, 1);
    }
    tp_solution_free(solution);
    tp_script_free(script);
}

static void write_csv(FILE *out)
{
    ad_error error = { 0 };
    put_text("a.csv", "a,b,y\n0.5,1.25e-1,x\n-2.75,3,z\n1.5,.25,x\n");
    ds_data *data = ds_load(in("a.csv"), &(ds_options){ .scaling = DS_UNIT, .train = 3 }, &error);
    cr_assert(data, "%s", error.text);
    write_bits(out, data->x, data->rows * data->features);
    ds_free(data);
    put_text("a.csv", "a,y\n0.5,1.5\n1.5,2,5\n");
    cr_expect(!ds_load(in("a.csv"), NULL, &error));
    fprintf(out, "%s\n", error.text);
}

static int stop_early(const nn_progress *progress, nn_model *model, void *context)
{
    (void)model;
    return progress->step == *(const long *)context;
}

/* A fit up to a step with its drift's file; from 3 on it goes on from the one before. */
static void fit_to(long steps)
{
    ad_error error = { 0 };
    double x[ROWS * FEATURES], y[ROWS];
    char weights[256], csv[256];
    for (int i = 0; i < ROWS * FEATURES; i++)
        x[i] = sin(1 + i);
    for (int i = 0; i < ROWS; i++)
        y[i] = i % 2;
    snprintf(weights, sizeof weights, "%s", in("w.safetensors"));
    snprintf(csv, sizeof csv, "%s", in("drift.csv"));
    nn_net *net = network();
    nn_model *model = nn_model_new(net, 8, 1, AD_DOUBLE, 1, &error);
    nn_drift_spec drift = { .probes = { x, y, 3, 2 }, .csv = csv };
    nn_fit_spec spec = { .optimizer = NN_MOMENTUM,
                         .rate = 0.125,
                         .momentum = 0.7,
                         .steps = 6,
                         .callback = stop_early,
                         .every = 1,
                         .context = &steps,
                         .checkpoint = weights,
                         .resume = steps > 3 ? weights : NULL,
                         .drift = &drift };
    cr_assert(model && nn_fit(model, &(nn_data){ x, y, ROWS, 2 }, &spec, NULL, &error) == 0, "%s", error.text);
    nn_model_free(model);
    nn_net_free(net);
}

static void write_drift(FILE *out)
{
    fit_to(3);
    fit_to(6);
    char *text = slurp(in("drift.csv"), NULL);
    fputs(text, out);
    ad_free(text);
}

/* A setting that is none, written with a comma, and the message of it. */
static void write_errors(FILE *out)
{
    static const char *const settings[] = { "sigma_w=0,5", NULL };
    ad_error error = { 0 };
    nn_spec spec = { .features = FEATURES, .outputs = 2, .settings = settings, .name = "mlp" };
    cr_expect(!nn_trace(nn_builtin("mlp"), &spec, &error));
    fprintf(out, "%s\n", error.text);
    error = (ad_error){ 0 };
    ad_fail(&error, "%g", 0.5);
    fprintf(out, "%s\n", error.text);
}

static char *written(void (*write)(FILE *))
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    cr_assert(stream != NULL);
    write(stream);
    cr_assert(fclose(stream) == 0);
    return text;
}

static const char *first_difference(const char *a, const char *b)
{
    static char text[200];
    size_t at = 0;
    while (a[at] && a[at] == b[at])
        at++;
    at = at < 40 ? 0 : at - 40;
    snprintf(text, sizeof text, "...%.80s... is not ...%.80s...", a + at, b + at);
    return text;
}

/* The same under both, and nothing of the process's locale is changed. */
static void same(const char *what, void (*write)(FILE *))
{
    set_comma(false);
    char *points = written(write);
    set_comma(true);
    char *commas = written(write);
    cr_expect_str_eq(commas, points, "%s: %s", what, first_difference(commas, points));
    cr_expect(strcmp(localeconv()->decimal_point, ",") == 0, "%s changes the locale", what);
    free(points);
    free(commas);
}

Test(locale, programs_settings_and_messages_are_the_same)
{
    same("a trace", write_trace);
    same("a program by hand", write_script);
    same("settings", write_errors);
}

Test(locale, csv_is_read_with_points)
{
    same("CSV", write_csv);
}

/* Whichever locale a fit starts under, it goes on under the other. */
Test(locale, a_fit_and_its_drift_go_on_under_another_locale)
{
    same("drift", write_drift);
    set_comma(false);
    char *points = written(write_drift);
    for (int first = 0; first < 2; first++) {
        set_comma(first == 1);
        fit_to(3);
        set_comma(first == 0);
        fit_to(6);
        char *text = slurp(in("drift.csv"), NULL);
        cr_expect_str_eq(text, points);
        ad_free(text);
    }
    free(points);
}

/* ---- the tool, with a network whose C file sets the locale ---- */
/* Without the check of a limit, which tells how many samples there was time for: two runs need not share it. */
#define NETWORK(first)                                                                                                 \
    "#include \"limn.h\"\n"                                                                                            \
    "#include <locale.h>\n"                                                                                            \
    "ad_var limn_network(nn_net *net, ad_var x)\n{\n" first                                                            \
    "    double factor = nn_setting_real(net, \"factor\", 0.75);\n"                                                    \
    "    ad_var h = ad_scale(nn_dense(net, \"h\", x, nn_width(net, \"n\")), factor);\n"                                \
    "    return nn_readout(net, \"f\", ad_tanh(h));\n}\n"

static const char with_comma[] =
    NETWORK("    if (!setlocale(LC_ALL, \"de_DE.UTF-8\"))\n        return (ad_var){ 0 };\n");
static const char plain[] = NETWORK("\n\n");

static char *told(const char *arguments, const char *file)
{
    static const char *const files[] = { plain, with_comma };
    char *both[2];
    for (int k = 0; k < 2; k++) {
        put_text("own.c", files[k]);
        outcome r = run_as(LIMN_TOOL, k ? "LC_ALL=de_DE.UTF-8" : "LC_ALL=C", arguments);
        cr_assert(r.status == 0, "%s: %s", arguments, r.err);
        both[k] = slurp(in(file ? file : ".out"), NULL);
    }
    cr_expect_str_eq(both[1], both[0], "%s: %s", arguments, first_difference(both[1], both[0]));
    ad_free(both[1]);
    return both[0];
}

Test(locale, the_tool_says_the_same)
{
    static const char *const all[] = {
        "kernel own.c --inputs x.npy --no-check",
        "kernel own.c --inputs x.npy --json --set factor=0.5 --no-check",
        "kernel own.c --inputs x.npy --json --width 16",
        "program own.c",
        "program own.c --format json",
        "program own.c --json",
        "program own.c --recursion",
        "predict own.c --inputs x.npy --labels y.npy --times 0.5,1.5,inf --json --no-check",
    };
    double labels[5] = { 0.5, 1.5, -0.5, 1, 2 };
    put_inputs("x.npy");
    put_array("y.npy", labels, 5, 1);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ad_free(told(all[i], NULL));
}

Test(locale, the_check_has_a_point)
{
    put_inputs("x.npy");
    put_text("own.c", with_comma);
    outcome r = run_as(LIMN_TOOL, "LC_ALL=de_DE.UTF-8", "kernel own.c --inputs x.npy");
    const char *line = strstr(r.out, "worst deviation ");
    int whole, tenths;
    cr_assert(r.status == 0 && line, "%s%s", r.out, r.err);
    cr_expect_eq(sscanf(line, "worst deviation %d.%d standard errors", &whole, &tenths), 2, "%s", line);
}

Test(locale, the_report_s_page_and_its_plots_are_the_same)
{
    char *page =
        told("report own.c --data digits --widths 16,32 --seeds 2 --steps 3 --probes 4 --no-check --out page.html",
             "page.html");
    cr_expect(strstr(page, "<svg") != NULL);
    ad_free(page);
}
