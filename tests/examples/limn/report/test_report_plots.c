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
                                     "neurons1",         "neurons2",       "neurons3" };
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
