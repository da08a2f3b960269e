/* The tool on a network in a C file: in every command, from an installed tree, and what is told of its mistakes. */
#include "tests/support/tool.h"

#include <criterion/criterion.h>
#include <string.h>

TOOL_SUITE(tool_c_file);

static void in_every_command(const char *program)
{
    static const char *const all[] = {
        "program own.c",
        "kernel own.c --inputs x.npy --out k.npy --set depth=3",
        "kernel own.c --inputs x.npy --width 16 --kernel nngp",
        "kernel own.c --inputs x.npy --explain",
        "train own.c --data digits --width 32 --steps 3 --out w.safetensors",
        "eval own.c --data digits --weights w.safetensors",
        "report own.c --data digits --widths 16,32 --seeds 2 --steps 2 --probes 4",
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        outcome r = run_as(program, "", all[i]);
        cr_assert(r.status == 0, "%s: %s", all[i], r.err);
    }
}

Test(tool_c_file, the_headers_example_runs_in_every_command)
{
    put_inputs("x.npy");
    put_example("own.c");
    in_every_command(LIMN_TOOL);
    works("kernel mlp --inputs x.npy --out l.npy --set phi=tanh --set sigma_w=1");
    ds_array same = get_array("l.npy");
    compare("the example is an mlp", "k.npy", same.data, 25, 0);
    ds_array_free(&same);
    fails("kernel own.c --inputs x.npy --set width=3", 1, "depth=2");
    fails("kernel own.c --inputs x.npy --set depth=65", 1, "from 1 to 64");
}

Test(tool_c_file, an_installed_tree_compiles_against_its_own_headers)
{
    put_inputs("x.npy");
    put_example("own.c");
    shell("cmake --install %s --prefix %s/.installed >/dev/null", LIMN_BUILD_DIR, folder);
    char program[128];
    snprintf(program, sizeof program, "%s/.installed/bin/limn", folder);
    in_every_command(program);
    shell("find %s/.installed -name entry.h -exec sh -c 'echo \"#error here\" >>\"$1\"' _ {} \\;", folder);
    outcome r = run_as(program, "", "program own.c");
    cr_expect(r.status == 1 && strstr(r.err, ".installed/"), "%s", r.err);
}

#define BODY(lines) "#include \"limn.h\"\nad_var limn_network(nn_net *net, ad_var x)\n{\n" lines "}\n"

Test(tool_c_file, names_before_0_1_still_compile)
{
    put_inputs("x.npy");
    put_text(
        "own.c",
        BODY("    ad_axis n = nn_width(net, \"n\");\n"
             "    ad_var h = nn_dense(net, \"d\", x, n);\n"
             "    bool sound = ad_look(nn_graph(net), h.id) && ad_size(nn_graph(net)) > h.id && nn_params(net) >= 0;\n"
             "    return nn_readout(net, \"r\", sound ? ad_relu(h) : h);\n"));
    works("kernel own.c --inputs x.npy --out old.npy");
    put_text("own.c",
             BODY("    return nn_readout(net, \"r\", ad_relu(nn_dense(net, \"d\", x, nn_width(net, \"n\"))));\n"));
    works("kernel own.c --inputs x.npy --out new.npy");
    ds_array same = get_array("new.npy");
    compare("the same network", "old.npy", same.data, 25, 0);
    ds_array_free(&same);
    put_text("own.c", "#include \"limn.h\"\n"
                      "const nn_input_kind limn_input = NN_SEQUENCE;\n"
                      "ad_var limn_network(nn_net *net, ad_var x)\n"
                      "{\n"
                      "    ad_axis n = nn_width(net, \"n\");\n"
                      "    ad_var first = ad_take_at(AD_HERE, x, ad_shape_get(x)->axes[1], 0);\n"
                      "    nn_weight b = nn_make_weight(net, \"b\", ad_fixed(nn_graph(net), \"present\", 1), n, 1);\n"
                      "    ad_var h = ad_add(nn_dense(net, \"d\", first, n), nn_apply(b, nn_present(net, x, 0)));\n"
                      "    return nn_readout(net, \"r\", ad_relu(h));\n"
                      "}\n");
    works("program own.c");
}

Test(tool_c_file, a_mistake_in_a_c_file_is_told_with_its_line)
{
    static const struct {
        const char *text, *told;
        bool at_a_width_too;
    } rows[] = {
        { BODY("    ad_axis n = nn_width(net, \"n\"), m = nn_width(net, \"m\");\n"
               "    nn_weight w = nn_make_weight(net, \"w\", m, n, 1);\n"
               "    return nn_readout(net, \"v\", nn_apply(w, nn_dense(net, \"a\", x, n)));\n"),
          "own.c:6: matmul", true },
        { BODY("    ad_axis n = nn_width(net, \"n\");\n"
               "    return nn_dense(net, \"a\", x, n);\n"),
          "own.c: the network returns (batch, n)", true },
        { BODY("    ad_axis n = nn_width(net, \"n\");\n"
               "    x = nn_dense(net, \"a\", x, n);\n"
               "    return nn_readout(net, \"v\", ad_softmax(x, n));\n"),
          "own.c:6: softmax: it runs along the width axis", false },
        { BODY("    (void)x;\n    (void)net;\n    return (ad_var){ NULL, -1 };\n"), "returns nothing", true },
    };
    put_inputs("x.npy");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_text("own.c", rows[i].text);
        fails("kernel own.c --inputs x.npy", 1, rows[i].told);
        if (rows[i].at_a_width_too) {
            fails("kernel own.c --inputs x.npy --width 8", 1, rows[i].told);
            fails("program own.c", 1, rows[i].told);
            fails("train own.c --data digits --steps 1", 1, rows[i].told);
        }
    }
}

/* The last line is limn's, and some line before it holds `told`. */
static void does_not_compile(const char *environment, const char *told, const char *last)
{
    outcome r = run_as(LIMN_TOOL, environment, "program own.c");
    const char *own = strstr(r.err, "limn: ");
    cr_expect(r.status == 1 && own && strncmp(own + 6, last, strlen(last)) == 0 &&
                  strchr(own, '\n') == own + strlen(own) - 1,
              "%s", r.err);
    cr_expect(strstr(r.err, told), "no \"%s\": %s", told, r.err);
}

Test(tool_c_file, a_c_file_that_is_no_network)
{
    fails("program missing.c", 1, "missing.c: cannot read");
    fails("program missing", 1, "unknown network missing");
    put_text("own.c", BODY("    return nn_readout(net, \"v\", x)\n"));
    does_not_compile("", "error: ", "own.c: it does not compile");
    put_text("own.c", BODY("    int depth = ;\n    return nn_readout(net, \"v\", x);\n"));
    does_not_compile("", "own.c:4:", "own.c: it does not compile");
    put_text("own.c", BODY("    return ad_tangent(nn_readout(net, \"v\", x));\n"));
    does_not_compile("", "ad_tangent", "own.c: it does not compile");
    put_text("own.c", "#include \"limn.h\"\nad_var limn_network(nn_net *net, int x);\n");
    does_not_compile("", "own.c:2:", "own.c: it does not compile");
    put_text("own.c", "int other(void);\nint other(void)\n{\n    return 1;\n}\n");
    fails("program own.c", 1, "own.c: it does not define ad_var limn_network");
    put_text("own.c", "int other(void);\nint (*pointer)(void) = other;\n");
    fails("program own.c", 1, "own.c: undefined symbol: other");
}

Test(tool_c_file, the_compiler_is_cc_with_its_words)
{
    put_text("own.c",
             "#ifndef TWICE\n#error no words\n#endif\n" BODY(
                 "    int unused;\n"
                 "    return nn_readout(net, \"v\", ad_tanh(nn_dense(net, \"a\", x, nn_width(net, \"n\"))));\n"));
    outcome r = run_as(LIMN_TOOL, "CC='env cc  -DTWICE'", "program own.c");
    cr_expect(r.status == 0 && strstr(r.err, "warning") && strstr(r.err, "unused"), "%d: %s", r.status, r.err);
    does_not_compile("CC=", "no words", "own.c: it does not compile");
    fails_as("CC='no-such-compiler -O'", "program own.c", 1, "no-such-compiler cannot be run");
}
