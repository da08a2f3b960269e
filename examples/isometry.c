/* isometry.c: dynamical isometry. A deep network learns fast where all singular values of its input-output Jacobian are
 * near 1 (Pennington, Schoenholz and Ganguli, arXiv:1711.04735): orthogonal weights and tanh at a small variance have
 * that at any depth, and Gaussian weights with ReLU never do. Both laws at n = infinity, by depth, and beside them the
 * largest singular value of one network. */
#include "limn.h"

#include <math.h>
#include <stdio.h>

enum { FEATURES = 16, WIDTH = 256 };

typedef struct {
    const char *name, *phi, *weights, *sigma_w, *sigma_b;
} kind;
static const kind kinds[] = {
    { "orthogonal tanh", "phi=tanh", "weights=orthogonal", "sigma_w=1.012", "sigma_b=0.003" },
    { "Gaussian tanh", "phi=tanh", "weights=gaussian", "sigma_w=1.012", "sigma_b=0.003" },
    { "Gaussian relu", "phi=relu", "weights=gaussian", "sigma_w=1.4142135623730951", "sigma_b=none" },
};

/* One line: the limit's mean and relative variance of lambda, and the largest singular value, here and at a width. */
static int show(const kind *k, int layers, const double *x, ad_error *error)
{
    char depth[30];
    snprintf(depth, sizeof depth, "depth=%d", layers + 1);
    const char *settings[] = { depth, k->phi, k->weights, k->sigma_w, k->sigma_b, NULL };
    nn_spec spec = { .features = FEATURES, .settings = settings, .name = "mlp" };
    nn_net *net = nn_trace(nn_builtin("mlp"), &spec, error);
    tp_program *program = net ? tp_translate(net, error) : NULL;
    nn_model *model = program ? nn_model_new(net, WIDTH, 1, AD_DOUBLE, 1, error) : NULL;
    tp_spectrum s = { 0 };
    double *squares = NULL;
    size_t count;
    int status = model && tp_spectrum_find(program, x, &(tp_spectrum_spec){ .moments = 2 }, &s, error) == 0 &&
                         tp_jacobian_squares(program, model, x, NULL, NULL, &squares, &count, error) == 0
                     ? 0
                     : -1;
    if (!status)
        printf("  %-4d %-16s %8.4f %10.4f %10.4f %10.4f\n", layers, k->name, s.moments[0],
               s.moments[1] / (s.moments[0] * s.moments[0]) - 1, s.largest, sqrt(squares[count - 1]));
    ad_free(squares);
    tp_spectrum_free(&s);
    nn_model_free(model);
    tp_program_free(program);
    nn_net_free(net);
    return status;
}

int main(int argc, char **argv)
{
    ad_start_again(argv, 1);
    (void)argc;
    ad_error error = { 0 };
    double x[FEATURES];
    for (int i = 0; i < FEATURES; i++)
        x[i] = 0.2 * cos(1.3 * i);
    printf("  L    layers           mean of λ   variance    largest   n = %d\n", WIDTH);
    for (int layers = 1; layers <= 16; layers *= 4)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
            if (show(&kinds[k], layers, x, &error)) {
                fprintf(stderr, "isometry: %s\n", error.text);
                return 1;
            }
    puts("The variance is that of λ over its mean's square: 0 is isometry. Plots of such a law, networks under it:\n"
         "limn spectrum mlp --set weights=orthogonal --set phi=tanh --width 512 --out law.svg");
    return 0;
}
