/* Numbers that people type are taken whole, or refused. */
#include "tests/support/tool.h"

#include <criterion/criterion.h>
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
          "timeout 15 %s train " SMALL "--steps 1000000000 >t 2>&1; wait; }; "
          "grep -q 'hours more; Ctrl-C ends it' k && grep -q '^step .* left$' t",
          folder, LIMN_TOOL, LIMN_TOOL);
    fails("predict mlp --data digits --train 100 --test 5 --no-check --loss cross-entropy --optimizer sgd --times 1e12",
          1, "at most 1e+14 are begun, here 500000000 steps");
    fails(
        "predict mlp --data digits --train 100 --test 5 --no-check --loss cross-entropy --optimizer sgd --times 1e300",
        1, "no whole number of steps");
    works("predict mlp --data digits --train 100 --test 5 --no-check --loss cross-entropy --optimizer sgd --times 100");
}
