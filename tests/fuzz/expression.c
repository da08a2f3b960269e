/* expression.c: expressions of vectors and scalars in a program that is written by calls. */
#include "tests/fuzz/fuzz.h"
#include "tp/netsor.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    enum { LONGEST = 300 };
    if (!count || count > LONGEST)
        return 0;
    char *text = fuzz_text(bytes + 1, count - 1);
    ad_error error = { 0 };
    tp_script *script = tp_script_new(&error);
    fuzz_holds(script != NULL);
    tp_input_vector(script, "x", "n", 0, 1);
    tp_input_vector(script, "y", "n", 0.5, 2);
    tp_moment(script, "e", "<x, y>");
    int last = bytes[0] & 1   ? tp_moment(script, "z", text)
               : bytes[0] & 2 ? tp_lincomb(script, "z", text)
                              : tp_nonlin(script, "z", text);
    tp_solution *solution = tp_script_solve(script, &(tp_solve_spec){ .samples = 16, .runs = 2 }, &error);
    fuzz_verdict(!solution, &error);
    fuzz_holds(last >= 0 || !solution);
    tp_solution_free(solution);
    tp_script_free(script);
    free(text);
    return 0;
}
