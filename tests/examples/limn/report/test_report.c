/* The report: its page, opened in a browser (every plot is drawn, nothing fails, nothing is fetched, light and dark),
 * its seeds, intervals and remarks. */
#include "autodiff/base/base.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static char folder[64];

static void shell(const char *format, ...) AD_PRINTF(1, 2);
static void shell(const char *format, ...)
{
    char line[4096], command[5000];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    snprintf(command, sizeof command, "cd %s && %s", folder, line);
    int status = system(command);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", command);
}

static void enter(void)
{
    snprintf(folder, sizeof folder, "/tmp/limn-report-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
}

static void leave(void)
{
    shell("rm -rf %s", folder);
}

TestSuite(report, .init = enter, .fini = leave, .timeout = 300);

static char *text_of(const char *name)
{
    char path[128];
    ad_error error = { 0 };
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *text = ad_file_read(path, 64 << 20, &(size_t){ 0 }, &error);
    cr_assert(text, "%s", error.text);
    return text;
}

static cJSON *json_of(const char *arguments)
{
    shell("%s report %s --json >out 2>err", LIMN_TOOL, arguments);
    char *text = text_of("out");
    cJSON *root = cJSON_Parse(text);
    cr_assert(root, "%s: no JSON", arguments);
    ad_free(text);
    return root;
}

/* What the browser itself sees: a plot is drawn if it is as large as a plot, has marks with an extent, labels, and no
 * number that is none; its words and the ground must be apart. */
static const char probe[] =
    "<script>window.fails=0;addEventListener('error',()=>window.fails++);</script>\n"
    "<script>addEventListener('load',()=>{\n"
    "const figures=[...document.querySelectorAll('figure')],drawn=f=>{const s=f.querySelector('svg');if(!s)return "
    "false;\n"
    "const "
    "b=s.getBoundingClientRect(),marks=[...s.querySelectorAll('path,polygon,use,rect,circle,image')].filter(m=>{\n"
    "const r=m.getBoundingClientRect();return r.width>0||r.height>0});\n"
    "return b.width>150&&b.height>100&&marks.length>9&&s.querySelectorAll('text').length>3&&!/NaN|undefined/.test("
    "s.outerHTML)};\n"
    "const label=getComputedStyle(document.querySelector('figure [fill=\"rgb(1,2,3)\"]')).fill;\n"
    "document.title='SEEN plots '+figures.length+' drawn '+figures.filter(drawn).length+' fails '+window.fails+' "
    "fetched '+"
    "performance.getEntriesByType('resource').length+' wide '+(document.documentElement.scrollWidth>innerWidth)+' "
    "ground '+"
    "getComputedStyle(document.body).backgroundColor+' label '+label+' END';});</script>\n";

/* The page with the probe at its head, as the browser leaves it: what the title says. */
static void open_page(const char *page, const char *options, char *seen, size_t size)
{
    char *text = text_of(page), path[128], *head = strstr(text, "<meta charset");
    cr_assert(head);
    snprintf(path, sizeof path, "%s/probed.html", folder);
    FILE *file = fopen(path, "w");
    cr_assert(file);
    fwrite(text, 1, (size_t)(head - text), file);
    fputs(probe, file);
    fputs(head, file);
    cr_assert_eq(fclose(file), 0);
    ad_free(text);
    shell(
        "chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --window-size=1200,900 --user-data-dir=profile %s --dump-dom "
        "file://%s/probed.html >dom 2>chromium.log",
        options, folder);
    char *dom = text_of("dom"), *title = strstr(dom, "<title>SEEN plots"), *end = title ? strstr(title, " END") : NULL;
    cr_assert(end, "the page did not load");
    snprintf(seen, size, "%.*s", (int)(end - title - 7), title + 7);
    ad_free(dom);
}

static void draws(const char *network, int plots)
{
    char seen[300], wanted[200];
    shell("%s report %s --data digits --widths 16,32,64 --seeds 2 --steps 12 --probes 8 --out page.html >out 2>err",
          LIMN_TOOL, network);
    open_page("page.html", "", seen, sizeof seen);
    snprintf(wanted, sizeof wanted, "SEEN plots %d drawn %d fails 0 fetched 0 wide false ground rgb(255, 255, 255)",
             plots, plots);
    cr_expect(strncmp(seen, wanted, strlen(wanted)) == 0, "%s: %s", network, seen);
}

/* Two of convergence, two of training, three kernels, one of spectra, one of neurons for each preactivation; of depth
 * variances, correlations and, where there is a density, singular values. */
Test(report, plots_of_built_in_networks)
{
    draws("mlp", 14);
    draws("rnn", 15);
    draws("batchnorm --set depth=1 --set eps=0.1", 11);
}

Test(report, plots_of_a_c_file)
{
    shell("cat >own.c <<'E'\n"
          "#include \"limn.h\"\n"
          "ad_var limn_network(nn_net *net, ad_var x)\n"
          "{\n"
          "    ad_axis n = nn_width(net, \"n\");\n"
          "    ad_var h = ad_tanh(nn_dense(net, \"a\", x, n));\n"
          "    return nn_readout(net, \"v\", ad_add(h, ad_tanh(nn_dense(net, \"b\", h, n))));\n"
          "}\nE\n");
    draws("own.c", 13);
}

/* On a dark ground the labels are light. */
Test(report, dark)
{
    char seen[300];
    shell("%s report mlp --data digits --widths 16,32 --seeds 2 --steps 5 --probes 4 --out page.html >out 2>err",
          LIMN_TOOL);
    open_page("page.html", "--blink-settings=preferredColorScheme=0", seen, sizeof seen);
    cr_expect(strstr(seen, "ground rgb(13, 17, 23) label rgb(230, 237, 243)"), "%s", seen);
}

/* All that it takes to repeat it: the command as it was typed, the seed, the versions. */
Test(report, tells_its_command)
{
    shell("%s report mlp --data digits --widths 16,32 --seeds 2 --steps 5 --probes 4 --seed 7 --out 'a page.html' >out "
          "2>err",
          LIMN_TOOL);
    char *page = text_of("a page.html");
    cr_expect(strstr(
        page, "report mlp --data digits --widths 16,32 --seeds 2 --steps 5 --probes 4 --seed 7 --out 'a page.html'"));
    cr_expect(strstr(page, "First seed 7; each width has 8 of its own, in the order of the table. limn " LIMN_VERSION));
    cr_expect(strstr(page, "OpenBLAS"));
    ad_free(page);
}

/* The networks of the second width are those that its first seed gives alone, and not those of the first one. */
Test(report, networks_share_no_draws)
{
    const char *const keys[] = { "initial", "drift" };
    cJSON *roots[3] = { json_of("mlp --data digits --widths 8,16 --seeds 2 --steps 3 --probes 4"),
                        json_of("mlp --data digits --widths 16 --seed 9 --seeds 2 --steps 3 --probes 4"),
                        json_of("mlp --data digits --widths 16 --seeds 2 --steps 3 --probes 4") };
    const cJSON *first = cJSON_GetArrayItem(cJSON_GetObjectItem(roots[0], "widths"), 0);
    const cJSON *one = cJSON_GetArrayItem(cJSON_GetObjectItem(roots[2], "widths"), 0);
    const cJSON *two = cJSON_GetArrayItem(cJSON_GetObjectItem(roots[0], "widths"), 1);
    const cJSON *again = cJSON_GetArrayItem(cJSON_GetObjectItem(roots[1], "widths"), 0);
    cr_expect_eq(cJSON_GetNumberValue(cJSON_GetObjectItem(first, "first_seed")), 1);
    cr_expect_eq(cJSON_GetNumberValue(cJSON_GetObjectItem(one, "first_seed")), 1);
    cr_expect_eq(cJSON_GetNumberValue(cJSON_GetObjectItem(two, "first_seed")), 9);
    for (int k = 0; k < 2; k++) {
        const cJSON *a = cJSON_GetObjectItem(one, keys[k]), *b = cJSON_GetObjectItem(two, keys[k]);
        cr_assert_eq(cJSON_GetArraySize(a), k == 0 ? 8 : 2);
        for (int i = 0; i < cJSON_GetArraySize(a); i++)
            for (int j = 0; j < cJSON_GetArraySize(b); j++)
                cr_expect_neq(cJSON_GetNumberValue(cJSON_GetArrayItem(a, i)),
                              cJSON_GetNumberValue(cJSON_GetArrayItem(b, j)), "%s %d %d", keys[k], i, j);
        cr_expect(cJSON_Compare(b, cJSON_GetObjectItem(again, keys[k]), 1), "%s", keys[k]);
    }
    for (int k = 0; k < 3; k++)
        cJSON_Delete(roots[k]);
}

/* The interval of a slope against the textbook's, by the values of all draws: Student's 97.5 % point is 4.303 at 2
 * degrees of freedom, of which the report's series lacks 1 %, and 2.145 at 14. */
Test(report, intervals_are_students)
{
    static const struct {
        const char *key;
        double quantile, tolerance;
    } rows[] = { { "drift", 4.302653, 0.01 }, { "initial", 2.144787, 1e-5 } };
    cJSON *root = json_of("mlp --data digits --widths 16,64 --seeds 2 --steps 3 --probes 4");
    for (int i = 0; i < 2; i++) {
        double x[2], mean[2] = { 0 }, squares = 0;
        int count = 0;
        for (int k = 0; k < 2; k++) {
            const cJSON *value, *width = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "widths"), k);
            const cJSON *values = cJSON_GetObjectItem(width, rows[i].key);
            x[k] = log(cJSON_GetNumberValue(cJSON_GetObjectItem(width, "n")));
            count = cJSON_GetArraySize(values);
            cJSON_ArrayForEach(value, values) mean[k] += log(cJSON_GetNumberValue(value)) / count;
            cJSON_ArrayForEach(value, values) squares += pow(log(cJSON_GetNumberValue(value)) - mean[k], 2);
        }
        double slope = (mean[1] - mean[0]) / (x[1] - x[0]);
        double error = sqrt(squares / (2 * count - 2) * 2 / count) / (x[1] - x[0]);
        const cJSON *told = cJSON_GetObjectItem(cJSON_GetObjectItem(root, "slopes"), rows[i].key);
        const cJSON *interval = cJSON_GetObjectItem(told, "interval");
        double half = cJSON_GetNumberValue(cJSON_GetArrayItem(interval, 1)) - slope;
        cr_expect_float_eq(cJSON_GetNumberValue(cJSON_GetObjectItem(told, "slope")), slope, 1e-9);
        cr_expect_float_eq(slope - cJSON_GetNumberValue(cJSON_GetArrayItem(interval, 0)), half, 1e-9);
        cr_expect_float_eq(half / error, rows[i].quantile, rows[i].tolerance * rows[i].quantile, "%s: %g", rows[i].key,
                           half / error);
    }
    cJSON_Delete(root);
}

/* Narrow ReLU networks whose kernel training all but erases: the drift is near 1 at every width, and the report says
 * so. Where a slope is in theory's band there is nothing to remark. */
Test(report, remarks_on_a_slope_outside_the_band)
{
    static const char line[] = "mlp --data digits --widths 8,16,32 --seeds 4 --steps 100 --probes 8";
    cJSON *root = json_of(line);
    const cJSON *item, *drift = cJSON_GetObjectItem(cJSON_GetObjectItem(root, "slopes"), "drift");
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(drift, "remark"));
    cr_assert(text, "no remark on a drift of slope %g", cJSON_GetNumberValue(cJSON_GetObjectItem(drift, "slope")));
    cr_expect(strstr(text, "is not from -1 to -0.75") && strstr(text, "From width to width: ") &&
                  strstr(text, "of its norm"),
              "%s", text);
    shell("%s report %s --out p.html 2>err | grep -q 'From width to width: ' && grep -q 'From width to width: ' p.html",
          LIMN_TOOL, line);
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(root, "slopes"))
    {
        double slope = cJSON_GetNumberValue(cJSON_GetObjectItem(item, "slope"));
        const cJSON *band = cJSON_GetObjectItem(item, "band");
        bool inside = slope >= cJSON_GetNumberValue(cJSON_GetArrayItem(band, 0)) &&
                      slope <= cJSON_GetNumberValue(cJSON_GetArrayItem(band, 1));
        cr_expect_eq(inside, cJSON_GetObjectItem(item, "remark") == NULL);
    }
    cJSON_Delete(root);
}

/* What the report says of its own: the theory of the network's activations, and which accuracies it shows. */
Test(report, tells_theory_and_mode)
{
    shell("%s report mlp --set phi=tanh --data digits --widths 8,16 --seeds 2 --steps 1 --probes 2 --out p.html >out "
          "2>err; "
          "grep -q 'as the activations are smooth' out && grep -q 'as the activations are smooth' p.html && "
          "! grep -q 'in evaluation' out",
          LIMN_TOOL);
    shell("%s report batchnorm --data digits --set depth=1 --set eps=0.1 --widths 8,16 --seeds 2 --steps 1 --probes 8 "
          "--out "
          "p.html >out 2>err; grep -q 'as an activation has kinks' out && grep -q 'Accuracies are in evaluation' out "
          "&& grep "
          "-q 'Accuracies are in evaluation' p.html",
          LIMN_TOOL);
}

/* Where no page can be written, nothing is trained: one line, and nothing on the way to it. */
Test(report, nowhere_to_write)
{
    static const char *const places[] = { "none/page.html", ".", "page.html/page.html" };
    shell("echo >page.html; ls >before");
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        shell(
            "%s report mlp --data digits --widths 16,32 --seeds 2 --steps 5 --probes 4 --out %s >out 2>err; test $? = "
            "1 "
            "&& test ! -s out && test $(wc -l <err) = 1 && grep -q '^limn: %s: cannot write' err && rm out err && ls | "
            "cmp before",
            LIMN_TOOL, places[i], places[i]);
}

/* Without gnuplot there is one line that says so, before anything is trained, and no page. */
Test(report, without_gnuplot)
{
    shell("mkdir none; PATH=$PWD/none %s report mlp --data digits --widths 16,32 --seeds 2 --steps 5 --probes 4 --out "
          "p.html "
          ">out 2>err; test $? = 1 && test ! -e p.html && test $(wc -l <err) = 1 && grep -q 'there is no gnuplot' err",
          LIMN_TOOL);
}
