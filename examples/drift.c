/* Watches the tangent kernel of a network while it trains on digits, at two widths: eight times as wide, it moves about
 * an eighth as far. The program writes drift.csv, for the wider one.
 *
 *     ./build/examples/drift */
#include "limn.h"

#include <stdlib.h>

/* Two hidden layers; n is a symbol. */
static ad_var mlp(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    for (int layer = 1; layer <= 2; layer++)
        x = ad_tanh(nn_dense_with(net, nn_name(net, "dense%d", layer), x, n, .sigma_w = 1.3));
    return nn_readout(net, "readout", x);
}

enum { PROBES = 64, TRAINED = 512, STEPS = 100 };

/* A line a measurement, as soon as it is made. */
static int show(const nn_drift_row *row, void *context, ad_error *error)
{
    (void)context, (void)error;
    printf("%6ld  %8.4f  %7.1f %%   %.4f   %.4f   %.4f   %7.4f   %6.2f   %8.3g\n", row->step, row->loss,
           100 * row->accuracy, row->from_start, row->from_limit, row->alignment, row->centred_label_alignment,
           row->effective_rank, row->condition);
    return 0;
}

static int watch(const nn_net *net, size_t width, const ds_data *digits, const double *limit, ad_error *error)
{
    nn_data train = { digits->x, digits->y, TRAINED, digits->classes };
    nn_drift_spec drift = { .probes = { digits->x, digits->y, PROBES, digits->classes },
                            .limit = limit,
                            .schedule = NN_LOG_STEPS,
                            .every = 5,
                            .csv = width == 1024 ? "drift.csv" : NULL,
                            .each = show };
    nn_fit_spec fit = { .loss = NN_SQUARE, .rate = 2, .steps = STEPS, .drift = &drift };
    nn_progress last = { 0 };
    nn_model *model = nn_model_new(net, width, 1, AD_FLOAT, 1, error);

    printf("\nn = %zu: Θ is the NTK of %d probes, y their labels; full-batch steps on %d digits\n"
           "  step      loss   accuracy   |Θ-Θ0|   |Θ-Θ∞|   cos Θ,Θ0  CKA Θ,yy'  rank   condition\n",
           width, PROBES, TRAINED);
    int status = model ? nn_fit(model, &train, &fit, &last, error) : -1;
    if (!status)
        printf("%ld measurements took %.0f ms, %.1f %% of the time\n", last.measured, 1e3 * last.measuring,
               100 * last.measuring / last.seconds);
    nn_model_free(model);
    return status;
}

int main(void)
{
    ad_error error = { 0 };
    tp_kernel limit = { 0 };
    ds_data *digits = ds_load("digits", NULL, &error);
    nn_net *net = NULL;
    if (digits)
        net = nn_trace(mlp, &(nn_spec){ .features = digits->features, .outputs = digits->classes }, &error);
    tp_program *program = net ? tp_translate(net, &error) : NULL;

    /* the kernel at n = infinity, where it stays what it is, and the kernel of two networks, where it does not */
    int status = program ? tp_limit(program, TP_NTK, digits->x, PROBES, NULL, 0, NULL, &limit, &error) : -1;
    if (!status)
        status = watch(net, 128, digits, limit.terms[0].values, &error) ||
                 watch(net, 1024, digits, limit.terms[0].values, &error);
    if (status)
        fprintf(stderr, "drift: %s\n", error.text);

    tp_kernel_free(&limit);
    tp_program_free(program);
    nn_net_free(net);
    ds_free(digits);
    return status ? EXIT_FAILURE : EXIT_SUCCESS;
}
