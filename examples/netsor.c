/* A Netsor⊤ program by hand: z = W relu(W'x) remembers x, though W is independent of it and has mean zero.
 *
 *     ./build/examples/netsor [examples/netsor.tp]
 *
 * By calls, or from a file. Solved by the general rule beside the simple one, which holds for networks whose readout is
 * drawn apart from all else, and run at n = 1000. */
#include "limn.h"

#include <stdlib.h>

/* z = Ẑ + Ż with Ẑ ~ N(0, E y²) and, by Stein's lemma, Ż = x E relu′(h) = x/2. */
static tp_script *by_calls(ad_error *error)
{
    tp_script *s = tp_script_new(error);
    if (!s)
        return NULL;
    tp_input_matrix(s, "W", "n", "n", 1);
    tp_input_vector(s, "x", "n", 0, 1);
    tp_trsp(s, "Wᵀ", "W");
    tp_matmul(s, "h", "Wᵀ", "x");
    tp_nonlin(s, "y", "relu(h)");
    tp_matmul(s, "z", "W", "y");
    tp_moment(s, "e", "z ⊙ x");
    tp_moment(s, "m2", "z ⊙ z");
    tp_moment(s, "m4", "power(z, 4)");
    return s;
}

static void print(const tp_solution *s)
{
    printf("\nBP-like: %s%s%s\n\n%12s%16s%16s%28s\n", s->bp_like ? "yes" : "no", s->bp_like ? "" : ", for ", s->why, "",
           "general rule", "simple rule", "n = 1000");
    for (int k = 0; k < s->n; k++) {
        const tp_value *v = &s->values[k];
        const tp_estimate *e = v->type == 's' ? &v->mean : &v->variance;
        printf("%8s %-3s%16.6f%16.6f%18.4f ± %.4f\n", v->type == 's' ? "" : "Var", v->name, e->value, e->simple,
               e->finite, e->finite_error);
    }
    printf("\nThe simple rule is off by %.0f %%.\n", 100 * s->simple_rule_error);
}

int main(int argc, char **argv)
{
    ad_error error = { 0 };
    tp_script *script = argc > 1 ? tp_script_read(argv[1], &error) : by_calls(&error);
    tp_solve_spec spec = { .width = 1000, .seeds = 16 };
    tp_solution *solution = NULL;
    if (script && tp_script_print(script, stdout, TP_PAPER, &error) == 0)
        solution = tp_script_solve(script, &spec, &error);
    if (solution)
        print(solution);
    else
        fprintf(stderr, "netsor: %s\n", error.text);
    int status = solution ? EXIT_SUCCESS : EXIT_FAILURE;
    tp_solution_free(solution);
    tp_script_free(script);
    return status;
}
