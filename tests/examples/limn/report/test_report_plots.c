/* limn report --plots: each plot as SVG, PDF and CSV. */
#include "tests/support/tool.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TOOL_SUITE(report_plots);

static const char *const names[] = { "initial_distance", "drift",          "drift_training",    "loss_training",
                                     "kernel_limit",     "kernel_initial", "kernel_difference", "eigenvalues",
                                     "neurons1",         "neurons2",       "neurons3",          "variances",
                                     "correlations",     "jacobian" };
enum { NAMES = sizeof names / sizeof *names };

static bool starts(const char *name, const char *ending, const char *with)
{
    char path[100];
    size_t size;
    snprintf(path, sizeof path, "plots/%s.%s", name, ending);
    char *text = slurp(in(path), &size);
    bool good = size > 100 && strncmp(text, with, strlen(with)) == 0;
    ad_free(text);
    return good;
}

/* The numbers of the CSV: as many cells in every row as in the header, each a number or empty. */
static int check_table(const char *name)
{
    char path[100];
    int rows = 0, cells = 0;
    snprintf(path, sizeof path, "plots/%s.csv", name);
    char *text = slurp(in(path), NULL);
    for (char *line = text, *end; *line; line = end + 1, rows++) {
        end = strchr(line, '\n');
        cr_assert(end, "%s: a line without an end", name);
        int commas = 0;
        for (char *at = line; at < end; at++)
            if (*at == ',') {
                char *after;
                commas++;
                strtod(at + 1, &after);
                cr_assert(!rows || *after == ',' || *after == '\n', "%s: %.60s", name, line);
            }
        cells = rows ? cells : commas;
        cr_assert(commas == cells && cells > 1, "%s: %d cells, not %d: %.80s", name, commas, cells, line);
    }
    ad_free(text);
    return rows;
}

Test(report_plots, are_written_as_files)
{
    outcome r = works("report mlp --data digits --widths 16,32 --seeds 2 --steps 3 --probes 8 --json --plots plots");
    cr_assert(access(in("limn-report.html"), F_OK) != 0);
    cr_assert(files(in("plots")) == 3 * NAMES);
    for (int k = 0; k < NAMES; k++) {
        cr_expect(starts(names[k], "svg", "<?xml"), "%s.svg", names[k]);
        cr_expect(starts(names[k], "pdf", "%PDF"), "%s.pdf", names[k]);
        cr_expect(check_table(names[k]) > 3, "%s.csv", names[k]);
    }
    /* the draws are those that the report tells of */
    cJSON *root = cJSON_Parse(r.out);
    cr_assert(root);
    char *text = slurp(in("plots/drift.csv"), NULL), *line = text;
    cr_assert(strncmp(text, "series,width,value,lowest,highest\n", 34) == 0, "%s", text);
    double sum = 0;
    for (int k = 0; k < 2; k++) {
        double value;
        line = strchr(line, '\n') + 1;
        cr_assert(sscanf(line, "draw,16,%lf,,", &value) == 1, "%s", line);
        sum += value / 2;
    }
    char *mean = strstr(text, "\nmean,16,");
    cr_assert(mean && fabs(strtod(mean + 9, NULL) - sum) < 1e-8);
    ad_free(text);
    cJSON_Delete(root);
    /* a file of its own is of no ink that a page's style replaces */
    text = slurp(in("plots/drift.svg"), NULL);
    cr_expect(!strstr(text, "rgb(1,2,3)") && !strstr(text, "rgb(  1,   2,   3)"));
    ad_free(text);
}

/* The page is as without them, and a folder that cannot be is told before minutes of training. */
Test(report_plots, stand_beside_the_page)
{
    const char *run = "report mlp --data digits --widths 16,32 --seeds 2 --steps 3 --probes 8";
    outcome r = limn("%s --out with.html --plots deep", run);
    cr_assert(r.status == 0 && strstr(r.out, "Each plot as SVG, PDF and CSV: deep"), "%s", r.err);
    cr_assert(limn("%s --out without.html", run).status == 0);
    char *with = slurp(in("with.html"), NULL), *without = slurp(in("without.html"), NULL);
    char *figure = strstr(with, "<figure"), *other = strstr(without, "<figure");
    size_t length = (size_t)(strstr(figure, "<h2>Neurons") - figure);
    cr_assert(strncmp(figure, other, length) == 0);
    ad_free(with);
    ad_free(without);
    put_text("file", "no folder");
    r = limn("%s --json --plots file", run);
    cr_expect(r.status == 1 && is_one_line(r.err) && strstr(r.err, "file"), "%s", r.err);
    r = limn("%s --json --plots no/such/folder", run);
    cr_expect(r.status == 1 && is_one_line(r.err) && strstr(r.err, "cannot make the folder"), "%s", r.err);
    cr_expect(limn("kernel mlp --plots p").status == 2);
}

#define QUICK " --data digits --widths 16,32 --seeds 2 --steps 3 --probes 4 --no-check --out page.html"

/* The page, after a run that had `environment` and ended with `status`; ad_free frees it. */
static char *page_of(const char *environment, const char *arguments, int status)
{
    outcome r = run_as(LIMN_TOOL, environment, arguments);
    cr_assert(r.status == status, "%s: %d, %s", arguments, r.status, r.err);
    char *page = slurp(in("page.html"), NULL);
    cr_expect(strstr(page, "</html>") && strstr(page, "To repeat it"), "%s: no whole page", arguments);
    return page;
}

/* A network that does not learn has no drift: its logarithm is nowhere to be drawn. */
Test(report_plots, where_there_is_nothing_to_draw_the_page_says_so)
{
    static const char *const lines[] = { "report mlp --set phi=step" QUICK, "report mlp --set phi=sign" QUICK };
    for (int k = 0; k < 2; k++) {
        char *page = page_of("", lines[k], 0);
        cr_expect(strstr(page, "Nothing to draw") && strstr(page, "<svg"), "%s", lines[k]);
        ad_free(page);
    }
}

/* A gnuplot that draws the trial before the work, and fails after it. */
Test(report_plots, a_gnuplot_that_fails_costs_its_plots_and_not_the_page)
{
    put_text("gnuplot", "#!/bin/sh\necho once >>count\nif [ \"$(wc -l <count)\" = 1 ]; then\n"
                        "    PATH=${PATH#*:}\n    exec gnuplot \"$@\"\nfi\necho broken >&2\nexit 1\n");
    shell("chmod +x %s/gnuplot", folder);
    char *page = page_of("PATH=$PWD:$PATH", "report mlp" QUICK, 1);
    cr_expect(strstr(page, "Missing here: gnuplot failed: broken") && !strstr(page, "<svg") &&
              strstr(page, "slope in n of"));
    ad_free(page);
    char *told = slurp(in(".err"), NULL);
    cr_expect(strstr(told, "limn: page.html: written, but for what is missing: gnuplot failed: broken"), "%s", told);
    ad_free(told);
}

Test(report_plots, nothing_of_the_users_is_run_by_gnuplot)
{
    shell("mkdir %s/home && echo 'set print \"ran\"; print 1' >%s/home/.gnuplot", folder, folder);
    ad_free(page_of("HOME=$PWD/home", "report mlp" QUICK, 0));
    cr_expect(access(in("ran"), F_OK) != 0);
}

/* Names from outside: of the file, whose name stands over the neurons, and of its parameters. */
Test(report_plots, names_with_quotes_and_newlines)
{
    put_text("it's a \"net\" \\ 100%\n, {n}_2^3.c",
             "#include \"limn.h\"\nad_var limn_network(nn_net *net, ad_var x)\n{\n"
             "    ad_var h = nn_dense(net, \"it's\\n\\\"d\\\" \\\\\", x, nn_width(net, \"n\"));\n"
             "    return nn_readout(net, \"v'\", ad_relu(h));\n}\n");
    char *page = page_of("", "report \"$(ls | grep '^it')\n, {n}_2^3.c\"" QUICK, 0);
    cr_expect(!strstr(page, "Missing here") && strstr(page, "<figure"));
    ad_free(page);
}

Test(report_plots, targets_have_no_accuracy)
{
    double x[40 * 4], y[40 * 2];
    for (int i = 0; i < 40 * 4; i++)
        x[i] = sin(1.7 * i * i);
    for (int i = 0; i < 40 * 2; i++)
        y[i] = cos(0.3 * i);
    put_array("x.npy", x, 40, 4);
    put_array("y.npy", y, 40, 2);
    static const char line[] = "report mlp --data x.npy --labels y.npy --test-fraction 0.3 --widths 16,32 --seeds 2 "
                               "--steps 3 --probes 4 --no-check --out page.html";
    char *page = page_of("", line, 0);
    cr_expect(!strstr(page, "nan") && strstr(page, "<td>–</td>"));
    ad_free(page);
    char *told = slurp(in(".out"), NULL);
    cr_expect(!strstr(told, "nan"), "%s", told);
    ad_free(told);
}

static const double *values_of(const cJSON *root, int width, const char *key, double *to, int n)
{
    const cJSON *list = cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(root, "widths"), width), key);
    cr_assert_eq(cJSON_GetArraySize(list), n, "%s", key);
    for (int i = 0; i < n; i++)
        to[i] = cJSON_GetArrayItem(list, i)->valuedouble;
    return to;
}

/* Networks come to the training at n = infinity as n^-1/2, and keep their distance from what a constant kernel says. */
Test(report_plots, features_are_learned_beside_the_limit)
{
    enum { ROWS = 16, FEATURES = 6, SEEDS = 6 };
    double x[ROWS * FEATURES], y[ROWS], near[SEEDS], far[SEEDS];
    for (int k = 0; k < ROWS * FEATURES; k++)
        x[k] = sin(1 + 3 * (k / FEATURES) + 0.7 * (k % FEATURES) * (k / FEATURES + 1));
    for (int i = 0; i < ROWS; i++)
        y[i] = sin(2.0 * i);
    put_array("x.npy", x, ROWS, FEATURES);
    put_array("y.npy", y, ROWS, 1);
#define LEARNS                                                                                                         \
    "report mlp --set phi=tanh --set depth=2 --set sigma_w=1 --data x.npy --labels y.npy --test-fraction 0.4 "         \
    "--probes 8 --seeds 6 --steps 2 --widths 32,64,128,256 --no-check "
    outcome r = works(LEARNS "--scale mup --json --plots plots");
    cJSON *root = cJSON_Parse(r.out);
    const cJSON *learning = cJSON_GetObjectItem(root, "learning"), *slopes = cJSON_GetObjectItem(learning, "slopes");
    cr_assert(learning && cJSON_GetArraySize(slopes) == 4, "%s", r.out);
    cr_expect(cJSON_GetObjectItem(learning, "kernel_moved")->valuedouble > 0.5);
    double apart = cJSON_GetObjectItem(learning, "constant_kernel_from_infinite")->valuedouble;
    for (int k = 0; k < 4; k++) {
        const cJSON *interval = cJSON_GetObjectItem(cJSON_GetArrayItem(slopes, k), "interval");
        double low = cJSON_GetArrayItem(interval, 0)->valuedouble, high = cJSON_GetArrayItem(interval, 1)->valuedouble;
        double theory = k < 3 ? -0.5 : 0, half = (high - low) / 2;
        /* twice the 95 % interval: with 22 degrees of freedom 4.1 standard errors, once in 2,000 times */
        cr_expect(fabs((low + high) / 2 - theory) < 2 * half && half < 0.4, "%d: %g to %g", k, low, high);
    }
    values_of(root, 3, "f_from_infinite", near, SEEDS);
    values_of(root, 3, "f_from_constant_kernel", far, SEEDS);
    for (int s = 0; s < SEEDS; s++)
        cr_expect(near[s] < far[s] / 2 && fabs(far[s] - apart) < near[s] + 1e-9, "%g, %g, %g", near[s], far[s], apart);
    cr_expect(starts("learning_loss", "svg", "<") && check_table("learning_distances") > 4 * 4);
    cJSON_Delete(root);
    root = cJSON_Parse(works(LEARNS "--scale ntk --json").out);
    cr_expect(root && !cJSON_GetObjectItem(root, "learning") && !cJSON_GetObjectItem(root, "no_learning"));
    cJSON_Delete(root);
}

Test(report_plots, theory_of_mup)
{
    char *page = page_of("", "report mlp --scale mup --set phi=tanh" QUICK, 0);
    cr_expect(strstr(page, "<td>0, as features are learned</td>") && !strstr(page, "−1, as the activations"));
    ad_free(page);
}
