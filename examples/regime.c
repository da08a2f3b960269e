/* regime.c: a parametrization of one's own, found broken and repaired, by exponents alone.
 *
 * The network starts as mu-P does, and somebody let all rates grow like sqrt(n). tp_regime_find says which line breaks,
 * and the powers that the rates should have; with these the same network learns features at every width. */
#include "limn.h"

#include <math.h>

static void tell(const char *what, const tp_regime *r)
{
    printf("%s: %s\n", what, r->verdict);
    for (int v = 0; v < r->n_vectors; v++)
        printf("  %-3s changes like n^%-5.3g line %d\n", r->vectors[v].name, r->vectors[v].several,
               r->vectors[v].where.line);
    for (int k = 0; k < r->n_params; k++)
        printf("  %-14s has the rate n^%-5.3g and should have n^%.3g\n", r->params[k].name, r->params[k].rate,
               r->params[k].suggested);
}

static int repair(const tp_program *program, ad_error *error)
{
    enum { PARAMS = 3 };
    tp_abc abc[PARAMS];
    tp_regime broken, repaired;
    tp_regime_spec spec = { .optimizer = NN_SGD, .abc = abc };
    for (int k = 0; k < PARAMS; k++)
        abc[k] = (tp_abc){ NAN, NAN, -0.5 }; /* a and b as traced */
    if (tp_regime_find(program, &spec, &broken, error))
        return -1;
    tell("one rate for all", &broken);
    for (int k = 0; k < PARAMS; k++)
        abc[k].c = 0 - broken.params[k].suggested;
    int status = tp_regime_find(program, &spec, &repaired, error);
    if (!status)
        tell("repaired", &repaired);
    tp_regime_free(&broken);
    tp_regime_free(&repaired);
    return status;
}

int main(void)
{
    ad_error error = { 0 };
    const char *settings[] = { "depth=2", "phi=tanh", NULL };
    nn_spec spec = { .features = 10, .parametrization = NN_MUP, .settings = settings, .name = "mlp" };
    nn_net *net = nn_trace(nn_builtin("mlp"), &spec, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    int status = program ? repair(program, &error) : -1;
    if (status)
        fprintf(stderr, "%s\n", error.text);
    tp_program_free(program);
    nn_net_free(net);
    return status ? 1 : 0;
}
