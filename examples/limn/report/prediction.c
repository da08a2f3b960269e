/* prediction.c: what the limit kernel says of training: an ensemble of networks of infinite width, trained as the
 * finite ones are. */
#include "examples/limn/report/report.h"

#include <math.h>
#include <string.h>

typedef struct {
    tp_kernel ntk, nngp;
    tp_kernel_model *kernel_model;
    double *y, *coefficients, *outputs, *variances, *start, *prior;
} prediction;

static void targets(const report *r, size_t columns, double *y)
{
    for (size_t i = 0; i < r->trained; i++)
        for (size_t k = 0; k < columns; k++)
            y[i * columns + k] = r->data->classes ? (double)((size_t)r->data->y[i] == k) : r->data->y[i * columns + k];
}

/* The covariance (n, n) of the outputs at the start, which is 0 where they vanish with n. */
static int find_start(const tp_kernel *nngp, size_t n, double *start, ad_error *error)
{
    for (int t = 0; t < nngp->n_terms; t++) {
        if (nngp->terms[t].power > 0)
            return ad_fail(error, "the outputs grow with n at the start");
        for (size_t i = 0; i < n * n && !(nngp->terms[t].power < 0); i++)
            start[i] += nngp->terms[t].values[i];
    }
    return 0;
}

/* E |f - y|^2 / 2 over the ensemble, mean over the probes, point by point. */
static int predict(report *r, prediction *p, ad_error *error)
{
    size_t columns = nn_n_outputs(r->net), n = r->trained;
    tp_training training = { .motion = TP_MOMENTUM, .rate = r->rate, .momentum = MOMENTUM, .divisor = (double)n };
    double times[MAX_POINTS];
    for (int t = 0; t < r->n_points; t++)
        times[t] = (double)r->points[t];
    double *kernel = ad_alloc(n * n, sizeof *kernel, "the prediction", error);
    if (!kernel)
        return -1;
    memcpy(kernel, p->ntk.terms[0].values, n * n * sizeof *kernel);
    tp_kernel_model_spec spec = { .threads = (int)r->o->threads,
                                  .error = limit_hides(p->ntk.error, p->ntk.deviations, n) };
    p->kernel_model = tp_kernel_model_new(kernel, n, &spec, error);
    p->y = ad_alloc(n * columns, sizeof *p->y, "the prediction", error);
    p->outputs = ad_alloc(n * columns, sizeof *p->outputs, "the prediction", error);
    p->variances = ad_alloc(r->probes, sizeof *p->variances, "the prediction", error);
    p->start = ad_alloc(n * n, sizeof *p->start, "the prediction", error);
    p->prior = ad_alloc(r->probes, sizeof *p->prior, "the prediction", error);
    p->coefficients = ad_alloc((size_t)r->n_points * n * columns, sizeof *p->coefficients, "the prediction", error);
    if (!p->kernel_model || !p->y || !p->outputs || !p->variances || !p->start || !p->prior || !p->coefficients ||
        find_start(&p->nngp, n, p->start, error))
        return -1;
    targets(r, columns, p->y);
    for (size_t i = 0; i < r->probes; i++)
        p->prior[i] = p->start[i * n + i];
    tp_prior prior = { .train = p->start, .cross = p->start, .test = p->prior, .diagonal = true };
    if (tp_coefficients(p->kernel_model, &training, p->y, columns, NULL, times, (size_t)r->n_points, p->coefficients,
                        error))
        return -1;
    for (int t = 0; t < r->n_points; t++) {
        if (tp_outputs(p->kernel_model, p->coefficients + (size_t)t * n * columns, columns, NULL, p->outputs, error) ||
            tp_covariance(p->kernel_model, &training, columns, times[t], p->ntk.terms[0].values, r->probes, &prior,
                          p->variances, error))
            return -1;
        double total = 0;
        for (size_t i = 0; i < r->probes; i++) {
            total += (double)columns * p->variances[i] / 2;
            for (size_t k = 0; k < columns; k++)
                total += pow(p->outputs[i * columns + k] - p->y[i * columns + k], 2) / 2;
        }
        r->predicted[t] = total / (double)r->probes;
    }
    return 0;
}

void report_predict(report *r)
{
    prediction p = { 0 };
    ad_error refusal = { 0 };
    tp_limit_spec spec = { .threads = (int)r->o->threads };
    int status = 0;
    if (r->coupled)
        status = ad_fail(&refusal, "the network normalises over its batch, and the probes are another batch than the "
                                   "training inputs");
    else if (!outputs_share_a_kernel(r->program, true))
        status = ad_fail(&refusal, "the outputs are not alike, or depend on each other: limn predict has them");
    else if (r->probes > r->trained)
        status = ad_fail(&refusal, "there are more probes than training inputs");
    else
        status = tp_training_kernel(r->program, r->data->x, r->trained, NULL, 0, &spec, &p.ntk, &refusal) ||
                 tp_limit(r->program, TP_NNGP, r->data->x, r->trained, NULL, 0, &spec, &p.nngp, &refusal) ||
                 predict(r, &p, &refusal);
    r->has_prediction = status == 0;
    snprintf(r->no_prediction, sizeof r->no_prediction, "No prediction of the limit is laid over: %.500s.",
             refusal.text);
    tp_kernel_free(&p.ntk);
    tp_kernel_free(&p.nngp);
    tp_kernel_model_free(p.kernel_model);
    ad_free(p.y);
    ad_free(p.outputs);
    ad_free(p.variances);
    ad_free(p.start);
    ad_free(p.prior);
    ad_free(p.coefficients);
}
