/* tied.c: an autoencoder whose decoder is its encoder transposed, W' phi(W h). The simple rule takes W and its
 * transpose for independent and is wrong; the general rule adds Z dot, here in closed form, and wide networks agree
 * with it. */
#include "limn.h"

#include <math.h>
#include <stdio.h>

enum { INPUTS = 3, FEATURES = 4, WIDTH = 1024, SEEDS = 64 };

static ad_var autoencoder(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n"), code = nn_width_ratio(net, "code", 0.5);
    nn_weight w = nn_make_weight(net, "w", n, code, 1.4);
    ad_var h = nn_dense(net, "embed", x, n);
    ad_var y = nn_apply_t(w, ad_relu(nn_apply(w, h)));
    return nn_readout(net, "readout", ad_relu(y));
}

static int solve(tp_program *program, const double *x, tp_rule_choice rule, tp_kernel *kernel, ad_error *error)
{
    return tp_limit(program, TP_NTK, x, INPUTS, NULL, 0, &(tp_limit_spec){ .rule = rule }, kernel, error);
}

/* The mean kernel of SEEDS networks. */
static int mean_kernel(const nn_net *net, const double *x, double *mean, ad_error *error)
{
    double k[INPUTS * INPUTS];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        nn_model *model = nn_model_new(net, WIDTH, seed, AD_FLOAT, 1, error);
        int status = model ? nn_ntk(model, x, INPUTS, NULL, 0, NN_MEAN, k, error) : -1;
        nn_model_free(model);
        if (status)
            return -1;
        for (int i = 0; i < INPUTS * INPUTS; i++)
            mean[i] += k[i] / SEEDS;
    }
    return 0;
}

static void show(const char *name, const double *k)
{
    printf("%-28s", name);
    for (int i = 0; i < INPUTS; i++)
        for (int j = 0; j <= i; j++)
            printf(" %8.4f", k[i * INPUTS + j]);
    printf("\n");
}

int main(int argc, char **argv)
{
    (void)argc;
    ad_start_again(argv, 1);
    double x[INPUTS * FEATURES], mean[INPUTS * INPUTS] = { 0 };
    for (int i = 0; i < INPUTS * FEATURES; i++)
        x[i] = 2 * sin(1 + 2.4 * i);
    ad_error error = { 0 };
    tp_kernel simple = { 0 }, general = { 0 };
    nn_net *net = nn_trace(autoencoder, &(nn_spec){ .features = FEATURES }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    int status = 1;
    if (program && !tp_print(program, stdout, TP_PAPER, &error) && !solve(program, x, TP_RULE_BP, &simple, &error) &&
        !solve(program, x, TP_RULE_AUTO, &general, &error) && !mean_kernel(net, x, mean, &error)) {
        printf("\nthe NTK, %s:\n", general.method);
        show("simple rule", simple.terms[0].values);
        show("general rule", general.terms[0].values);
        show("64 networks of width 1024", mean);
        status = 0;
    } else {
        fprintf(stderr, "tied: %s\n", error.text);
    }
    tp_kernel_free(&simple);
    tp_kernel_free(&general);
    tp_program_free(program);
    nn_net_free(net);
    return status;
}
