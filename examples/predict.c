/* A network is trained, and what its kernel said of that beforehand stands beside it: its own kernel, and the limit's.
 *
 *     ./build/examples/predict */
#include "limn.h"

#include <stdlib.h>

static ad_var mlp(nn_net *net, ad_var x)
{
    ad_axis n = nn_width(net, "n");
    for (int layer = 1; layer <= 2; layer++)
        x = ad_tanh(nn_dense(net, nn_name(net, "dense%d", layer), x, n));
    return nn_readout(net, "readout", x);
}

enum { TRAIN = 100, TEST = 200, ALL = TRAIN + TEST, OUTPUTS = 1, WIDTH = 1024, TIMES = 5 };
static const double steps[TIMES] = { 0, 1, 10, 100, 1000 };

/* The test loss that a kernel (ALL, ALL) says there will be at each of the steps, from outputs f (ALL) on. */
static int predict(const double *kernel, const double *y, const double *f, double rate, double *loss, ad_error *error)
{
    static double cross[TEST * TRAIN], a[TIMES * TRAIN], out[TEST];
    double *train = ad_alloc((size_t)TRAIN * TRAIN, sizeof *train, "a kernel", error);
    for (int i = 0; i < ALL && train; i++)
        for (int j = 0; j < TRAIN; j++)
            *(i < TRAIN ? &train[i * TRAIN + j] : &cross[(i - TRAIN) * TRAIN + j]) = kernel[i * ALL + j];
    tp_kernel_model *kernel_model = train ? tp_kernel_model_new(train, TRAIN, NULL, error) : NULL;
    tp_training descent = { .motion = TP_GRADIENT_DESCENT, .rate = rate };
    int status = kernel_model ? tp_coefficients(kernel_model, &descent, y, OUTPUTS, f, steps, TIMES, a, error) : -1;
    for (int k = 0; k < TIMES && !status; k++) {
        tp_outputs_at(kernel_model, cross, TEST, a + (size_t)k * TRAIN, OUTPUTS, f + TRAIN, out);
        loss[k] = tp_score_of(NN_SQUARE, out, y + TRAIN, NULL, TEST, OUTPUTS, 0).loss;
    }
    tp_kernel_model_free(kernel_model);
    return status;
}

int main(void)
{
    ad_error error = { 0 };
    static double own[ALL * ALL], f[ALL], y[ALL];
    double rate = 0.5, trained[TIMES], by_own[TIMES], by_limit[TIMES];
    tp_kernel limit = { 0 };

    /* even digits against odd ones */
    ds_data *digits = ds_load("digits", NULL, &error);
    for (int i = 0; i < ALL && digits; i++)
        y[i] = (int)digits->y[i] % 2 ? -1 : 1;

    nn_net *net = digits ? nn_trace(mlp, &(nn_spec){ .features = digits->features }, &error) : NULL;
    tp_program *program = net ? tp_translate(net, &error) : NULL;
    nn_model *model = program ? nn_model_new(net, WIDTH, 1, AD_DOUBLE, 1, &error) : NULL;
    int status = model ? 0 : -1;

    /* before: outputs, the network's kernel and the limit's, and what they say */
    if (!status)
        status = nn_forward(model, digits->x, ALL, f, &error) ||
                 nn_training_kernel(model, digits->x, ALL, NULL, 0, NN_MEAN, own, &error) ||
                 tp_limit(program, TP_NTK, digits->x, ALL, NULL, 0, NULL, &limit, &error) ||
                 predict(own, y, f, rate, by_own, &error) ||
                 predict(limit.terms[0].values, y, f, rate, by_limit, &error);

    /* training, from one of the steps to the next */
    for (int k = 0; k < TIMES && !status; k++) {
        nn_data seen = { digits->x, y, TRAIN, 0 },
                unseen = { digits->x + TRAIN * digits->features, y + TRAIN, TEST, 0 };
        nn_fit_spec fit = { .optimizer = NN_SGD, .rate = rate, .steps = (long)(steps[k] - (k ? steps[k - 1] : 0)) };
        status = (fit.steps > 0 && nn_fit(model, &seen, &fit, NULL, &error)) ||
                 nn_evaluate(model, &unseen, NN_SQUARE, &trained[k], NULL, &error);
    }
    if (!status) {
        printf("test loss at width %d\n steps    trained    by its own kernel    by the limit's\n", WIDTH);
        for (int k = 0; k < TIMES; k++)
            printf("%6g %10.5f %20.5f %17.5f\n", steps[k], trained[k], by_own[k], by_limit[k]);
    } else {
        fprintf(stderr, "predict: %s\n", error.text);
    }

    tp_kernel_free(&limit);
    nn_model_free(model);
    tp_program_free(program);
    nn_net_free(net);
    ds_free(digits);
    return status ? EXIT_FAILURE : EXIT_SUCCESS;
}
