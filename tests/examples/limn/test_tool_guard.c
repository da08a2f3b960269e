/* A network's C file that dies, ends the program, or does not come back: one line says so, and the status is 1. And the
 * names that such files and compilers have. */
#include "tests/support/tool.h"

#include <criterion/criterion.h>
#include <string.h>

TOOL_SUITE(tool_guard);

static const char head[] = "#include \"limn.h\"\n#include <assert.h>\n#include <signal.h>\n#include <stdlib.h>\n"
                           "#include <unistd.h>\nstatic volatile int zero;\n";

/* own.c, in which the network begins with these statements. */
static void put_network(const char *before, const char *statements)
{
    char text[2048];
    snprintf(text, sizeof text,
             "%s%s\nad_var limn_network(nn_net *net, ad_var x)\n{\n    %s\n"
             "    return nn_readout(net, \"v\", ad_relu(nn_dense(net, \"d\", x, nn_width(net, \"n\"))));\n}\n",
             head, before, statements);
    put_text("own.c", text);
}

/* Status 1 and a last line that holds `told`; what the compiler or assert says stands before it. */
static void ends(const char *environment, const char *arguments, const char *told)
{
    outcome r = run_as(LIMN_TOOL, environment, arguments);
    size_t length = strlen(r.err);
    const char *last = r.err;
    for (size_t i = 0; i + 1 < length; i++)
        if (r.err[i] == '\n')
            last = r.err + i + 1;
    cr_expect(r.status == 1, "%s: exit status %d: %s", told, r.status, r.err);
    cr_expect(strncmp(last, "limn: own.c:", 12) == 0 && strstr(last, told), "no \"%s\": %s", told, r.err);
}

Test(tool_guard, a_file_that_dies_at_tracing)
{
    static const struct {
        const char *statements, *told;
    } rows[] = {
        { "*(volatile int *)(size_t)(zero + 8) = 1;", "died at tracing, by signal 11" },
        { "void (*volatile none)(void) = NULL;\n    none();", "died at tracing, by signal 11" },
        { "abort();", "died at tracing, by signal 6" },
        { "assert(zero > 0);", "died at tracing, by signal 6" },
        { "raise(SIGFPE);", "died at tracing, by signal 8" },
        { "raise(SIGILL);", "died at tracing, by signal 4" },
        { "exit(0);", "ended the program at tracing, with exit(0)" },
        { "exit(3);", "ended the program at tracing, with exit(3)" },
        { "_exit(0);", "ended the program at tracing, with exit(0)" },
        { "_Exit(7);", "ended the program at tracing, with exit(7)" },
    };
    put_inputs("x.npy");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_network("", rows[i].statements);
        ends("", "kernel own.c --inputs x.npy --out k.npy", rows[i].told);
        ends("", "program own.c", rows[i].told);
    }
    put_network("static int deep(volatile int *p) { volatile int a[64]; a[0] = *p; return deep(a) + a[0]; }",
                "if (deep(&zero))\n        return x;");
    ends("", "train own.c --data digits --steps 1", "died at tracing, by signal 11");
    put_network("__attribute__((constructor)) static void first(void) { abort(); }", "");
    ends("", "program own.c", "died at being loaded, by signal 6");
}

Test(tool_guard, a_file_that_does_not_come_back)
{
    put_network("", "for (int k = 0; zero == 0; k++)\n        zero = k < 0;");
    ends("", "program own.c --trace-seconds 0.5", "not back at tracing after 0.5 s");
    put_network("", "for (;;)\n        x = ad_tanh(x);");
    ends("", "program own.c --trace-nodes 100000", "own.c:11: more than 100000 nodes are traced");
    put_network("", "for (;;)\n        x = ad_add(x, nn_dense(net, \"d\", x, nn_width(net, \"n\")));");
    ends("", "program own.c", "own.c:11: add: axes do not match");
    put_network("", "for (int k = 0; k < 200000; k++)\n        x = ad_tanh(x);");
    fails("program mlp --trace-nodes 0", 2, "--trace-nodes takes a whole number from 1");
}

/* An activation that works at tracing and not long after it. */
static void put_activation(const char *death)
{
    char before[1024];
    snprintf(before, sizeof before,
             "static int calls;\n"
             "static void f(size_t n, const double *x, double *y)\n"
             "{\n    if (++calls > 60000 || n > 1)\n        %s;\n"
             "    for (size_t i = 0; i < n; i++)\n        y[i] = x[i];\n}\n"
             "static void d(size_t n, const double *x, double *y)\n"
             "{\n    (void)x;\n    for (size_t i = 0; i < n; i++)\n        y[i] = 1;\n}\n"
             "static const ad_function own = { .name = \"own\", .count = 2, .derivatives = { f, d } };\n",
             death);
    put_network(before, "x = ad_custom(&own, nn_dense(net, \"e\", x, nn_width(net, \"n\")));");
}

Test(tool_guard, an_activation_that_dies)
{
    put_inputs("x.npy");
    for (int threads = 1; threads <= 2; threads++) {
        char line[128];
        snprintf(line, sizeof line, "kernel own.c --inputs x.npy --width 64 --seeds 2000 --threads %d", threads);
        put_activation("*(volatile int *)(size_t)(zero + 8) = 1");
        ends("", line, "a function of it (an activation?) died, by signal 11");
        put_activation("abort()");
        ends("", line, "a function of it (an activation?) died, by signal 6");
        put_activation("_exit(0)");
        ends("", line, "ended the program, with exit(0)");
    }
    put_activation("zero = 0");
    works("kernel own.c --inputs x.npy --width 64");
}

Test(tool_guard, names_that_a_compiler_reads_otherwise)
{
    static const char *const names[] = { "@net.c", "-x.c", "two words.c", "it's.c", "\"said\".c", "$HOME.c" };
    put_inputs("x.npy");
    put_network("", "");
    works("kernel own.c --inputs x.npy --out right.npy");
    ds_array right = get_array("right.npy");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        FILE *from = fopen(in("own.c"), "rb");
        char text[2048] = "";
        cr_assert(from && fread(text, 1, sizeof text - 1, from) > 0 && fclose(from) == 0);
        put_text(names[i], text);
        put_text("name", names[i]);
        works("kernel --inputs x.npy --out k.npy -- \"$(cat name)\"");
        compare(names[i], "k.npy", right.data, 25, 0);
    }
    shell("mkdir '%s/my cc' && ln -s \"$(command -v ${CC:-cc})\" '%s/my cc/c c'", folder, folder);
    outcome r = run_as(LIMN_TOOL, "CC='\"./my cc/c c\" -DA=\\\"1\\\" ./my\\ cc/../own.c'", "program own.c");
    cr_expect(r.status == 1, "the file is there twice: %s", r.err);
    r = run_as(LIMN_TOOL, "CC='\"./my cc/c c\" -DA=\\\"1\\\"'", "kernel own.c --inputs x.npy --out k.npy");
    cr_expect(r.status == 0, "%s", r.err);
    compare("by that compiler", "k.npy", right.data, 25, 0);
    ds_array_free(&right);
}
