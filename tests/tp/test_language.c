/* Random networks of the whole language: every op of the table on every kind of argument is drawn; what limn says of
 * them is true, and the same however they are written. `build/bench/architectures language FROM TO` is the same for as
 * many as one likes; tests/README.md has the table of a long run. */
#include "tests/support/verdict.h"

#include <criterion/criterion.h>

/* The generator alone, which costs little: no cell that builders accept is left out. */
Test(language, every_op_meets_every_kind_of_argument)
{
    enum { NETS = 3000, EVEN_NETS = 60000, WINDOW_NETS = 6000 };
    static language_cells cells;
    static bool met[AD_N_OPS][LANGUAGE_KINDS][LANGUAGE_KINDS];
    for (uint64_t k = 0; k < NETS + EVEN_NETS + WINDOW_NETS; k++) {
        uint64_t seed = k < NETS               ? k
                        : k < NETS + EVEN_NETS ? LANGUAGE_EVEN_KINDS + k - NETS
                                               : LANGUAGE_WINDOWS + k - NETS - EVEN_NETS;
        ad_error error = { 0 };
        nn_net *net = language_trace(seed, LANGUAGE_PLAIN, &error);
        cr_assert(net, "%d: %s: %s", (int)seed, error.text, language_story());
        language_read(net, &cells);
        nn_net_free(net);
        for (int op = 0; op < AD_N_OPS; op++)
            for (int a = 0; a < LANGUAGE_KINDS; a++)
                for (int b = 0; b < LANGUAGE_KINDS; b++)
                    met[op][a][b] = met[op][a][b] || cells.seen[op][a][b];
    }
    for (int op = 0; op < AD_N_OPS; op++)
        for (int a = 0; a < LANGUAGE_KINDS; a++)
            for (int b = 0; b < LANGUAGE_KINDS; b++)
                cr_expect(met[op][a][b] || !language_reaches((ad_op)op, (language_kind)a, (language_kind)b),
                          "%s of %s and %s is never drawn", ad_op_name((ad_op)op), language_kind_names[a],
                          language_kind_names[b]);
}

/* verdict_of raises a false alarm on one network in 400,000 at most. All ways to write are tried on every sixth. */
Test(language, what_is_said_is_true_however_it_is_written, .timeout = 600)
{
    enum { W = LANGUAGE_WINDOWS };
    static const uint64_t seeds[] = { 0,  1,  2,  4,  5,      6,      7,      8,      9,      10,     12,     14,    16,
                                      17, 18, 19, 20, 21,     23,     25,     26,     27,     29,     30,     31,    32,
                                      33, 36, 37, 38, W + 13, W + 27, W + 35, W + 46, W + 57, W + 76, W + 78, W + 83 };
    static verdict_table table;
    for (size_t k = 0; k < sizeof seeds / sizeof *seeds; k++) {
        static verdict_result result;
        ad_error error = { 0 };
        result = (verdict_result){ 0 };
        verdict_spec spec = { .finite = k % 6 == 3, .all_styles = k % 6 == 0 };
        cr_assert_eq(verdict_of(seeds[k], &spec, &result, &error), 0, "%d: %s", (int)seeds[k], error.text);
        cr_expect_eq(result.disagreements, 0, "%d: %s%s", (int)seeds[k], language_story(), result.text);
        verdict_add(&table, &result);
    }
    verdict_print(&table, stdout);
    cr_expect(table.by[VERDICT_EXACT] > 8 && table.by[VERDICT_SAMPLED] > 2 && table.by[VERDICT_REFUSED] > 2,
              "%d exact, %d sampled, %d refused", table.by[0], table.by[1], table.by[2]);
}

/* A seed is all that it takes to have a network again, in every way to write it. */
Test(language, a_seed_is_a_network)
{
    for (int style = 0; style < LANGUAGE_STYLES; style++)
        for (uint64_t seed = 1; seed < 100; seed += 2) {
            char first[4000];
            ad_error error = { 0 };
            nn_net *net = language_trace(seed, (language_style)style, &error);
            cr_assert(net, "%s, %d: %s", language_style_names[style], (int)seed, error.text);
            snprintf(first, sizeof first, "%s", language_story());
            nn_net *again = language_trace(seed, (language_style)style, &error);
            cr_assert(again, "%s", error.text);
            cr_expect_str_eq(first, language_story());
            cr_expect_eq(ad_graph_size(nn_graph(net)), ad_graph_size(nn_graph(again)));
            nn_net_free(net);
            nn_net_free(again);
        }
}
