/* Numbers that people type are taken whole, or refused. */
#include "nn/safetensors/safetensors.h"
#include "tests/support/tool.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TOOL_SUITE(tool_numbers);

#define KERNEL_OF "predict mlp --data digits --train 20 --test 5 --no-check --out "

Test(tool_numbers, long_ones_in_lists_are_not_cut)
{
    works(KERNEL_OF "a.npy --times 1,20");
    works(KERNEL_OF "b.npy --times 1.0000000000000000000000000000000000000,0.00000000000000000000000000000000002e36");
    shell("cmp %s/a.npy %s/b.npy", folder, folder);
    works(KERNEL_OF "a.npy --ridges 0.001,0.1");
    works(KERNEL_OF "b.npy --ridges 0.0010000000000000000000000000000000000000000,1e-1");
    shell("cmp %s/a.npy %s/b.npy", folder, folder);
    static const char *const wrong[] = { "1,,2", "1,", ",1", "nan", "1e400", "infx", "2,1", "1 2", "0x" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char line[200];
        snprintf(line, sizeof line, KERNEL_OF "c.npy --times '%s'", wrong[i]);
        fails(line, 2, "--times takes");
    }
}

Test(tool_numbers, one_seed_is_not_eight)
{
    put_text("p.txt", "Input x : G(n) ~ N(0, 1)\nMoment e := \u27e8x, x\u27e9\n");
    fails("limit p.txt --width 8 --seeds 1", 1, "p.txt: 1 seeds: its standard errors take at least 2");
    works("limit p.txt --width 8 --seeds 2");
}

/* What takes hours says so after some seconds, though nothing is a terminal; what takes years is not begun. */
Test(tool_numbers, a_long_way_is_told)
{
    put_inputs("x.npy");
    shell("cd %s && { timeout 15 %s kernel mlp --inputs x.npy --width 32 --seeds 1000000000 >k 2>&1 & "
          "timeout 15 %s report mlp --data digits --widths 8,16 --seeds 2 --steps 1000000000 --probes 3 --out p.html "
          ">r 2>&1 & timeout 15 %s train " SMALL "--steps 1000000000 >t 2>&1; wait; }; "
          "grep -q 'hours more; Ctrl-C ends it' k && grep -q 'hours more; Ctrl-C ends it' r && "
          "grep -q '^step .* left$' t",
          folder, LIMN_TOOL, LIMN_TOOL, LIMN_TOOL);
    /* of which an exact piece is done first */
    shell("cd %s && printf 'Input x : G(n) ~ N(0, 1)\\nMoment e := <x, x>\\n' >p.txt && "
          "! timeout 15 %s limit p.txt --width 8 --seeds 1000000000 >l 2>&1 && "
          "grep -qE '(hours|minutes) more; Ctrl-C ends it' l",
          folder, LIMN_TOOL);
    fails("predict mlp --data digits --train 100 --test 5 --no-check --loss cross-entropy --optimizer sgd --times 1e12",
          1, "at most 1e+14 are begun, here 500000000 steps");
    fails(
        "predict mlp --data digits --train 100 --test 5 --no-check --loss cross-entropy --optimizer sgd --times 1e300",
        1, "no whole number of steps");
    works("predict mlp --data digits --train 100 --test 5 --no-check --loss cross-entropy --optimizer sgd --times 100");
}

/* ---- as many names as there are ---- */
/* It ends with the status and, unless all is well, one line that says `told`, in 20 seconds of the processor: where a
 * name is looked for among all others, the time grows with the square of their number, to minutes. */
static void ends_soon(const char *arguments, int status, const char *told)
{
    char line[400];
    snprintf(line, sizeof line, "prlimit --cpu=20 " LIMN_TOOL " %s", arguments);
    outcome r = run_as(line, "", "");
    cr_expect_eq(r.status, status, "%s: status %d: %s", arguments, r.status, r.err);
    cr_expect(strstr(status ? r.err : r.out, told), "%s: %.500s%.500s", arguments, r.out, r.err);
}

/* More samples than any memory holds are refused before the first is drawn: 11 TB, at a hundred layers. */
Test(tool_numbers, samples_beyond_memory_are_told)
{
    const double y[5] = { 1, 0, 1, 0, 1 };
    put_inputs("x.npy");
    put_array("y.npy", y, 5, 0);
    fails("kernel mlp --inputs x.npy --set depth=100 --engine sample --samples 1000000000", 1,
          "--samples 1000000000: a run takes up to ");
    fails("predict mlp --inputs x.npy --labels y.npy --inputs2 x.npy --set depth=100 --engine sample "
          "--samples 1000000000",
          1, "a run takes up to ");
    works("kernel mlp --inputs x.npy --samples 1000000000"); /* exact rules draw none */
}

Test(tool_numbers, many_tensors_widths_and_commands_take_time_in_proportion)
{
    enum { TENSORS = 65000, WIDTHS = 10000, COMMANDS = 2000 };
    ad_error error = { 0 };
    double one = 1;
    nn_tensor *tensors = calloc(TENSORS, sizeof *tensors);
    char(*names)[32] = calloc(TENSORS, sizeof *names);
    cr_assert(tensors && names);
    for (int k = 0; k < TENSORS; k++) {
        snprintf(names[k], sizeof names[k], "layer%d.weight", k);
        tensors[k] = (nn_tensor){ .name = names[k], .dtype = NN_F64, .rank = 2, .shape = { 1, 1 }, .data = &one };
    }
    cr_assert(nn_tensors_write(in("w.st"), tensors, TENSORS, NULL, 0, &error) == 0, "%s", error.text);
    free(names);
    free(tensors);
    ends_soon("import w.st mlp --out v.st", 1, "w.st");
    ends_soon("eval mlp --data digits --weights w.st --scale ntk --width 8", 1, "w.st");
    FILE *widths = fopen(in("widths.txt"), "w"), *commands = fopen(in("commands.txt"), "w");
    cr_assert(widths && commands);
    for (int k = 0; k < WIDTHS; k++)
        fprintf(widths, "Width m%d := %d n\n", k, k + 2);
    fprintf(widths, "Input x : G(m9) ~ N(0, 1)\nMoment e := <x, x>\n");
    fprintf(commands, "Input x0 : G(n) ~ N(0, 1)\n");
    for (int k = 1; k < COMMANDS; k++)
        fprintf(commands, k % 2 ? "Input x%d : G(n) ~ N(0, 1)\n" : "LinComb x%d := x%d + x%d\n", k, k - 1, k - 2);
    fprintf(commands, "Moment e := <x%d, x%d>\n", COMMANDS - 2, COMMANDS - 2);
    cr_assert(fclose(widths) == 0 && fclose(commands) == 0);
    ends_soon("limit widths.txt", 0, "e");
    ends_soon("limit commands.txt", 0, "e");
}
