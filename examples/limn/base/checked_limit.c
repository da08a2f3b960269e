/* checked_limit.c: a limit and its second opinion. */
#include "examples/limn/base/base.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

/* Seconds of the check: the least that it has, and its share of the time that the limit took. */
static const double least = 0.3, share = 0.1;

int limit_judge(tp_program *program, const limit_question *q, const tp_kernel *found, double seconds,
                tp_opinion *opinion, ad_error *error)
{
    return q->training ? tp_training_second_opinion(program, q->x, q->rows, q->x2, q->rows2, &q->spec, found, seconds,
                                                    opinion, error)
                       : tp_second_opinion(program, q->which, q->x, q->rows, q->x2, q->rows2, &q->spec, found, seconds,
                                           opinion, error);
}

/* Samples that somebody asked for may take more memory than there is, or hours: that is told before. */
static int foresee_samples(const options *o, tp_program *program, const limit_question *q, ad_error *error)
{
    enum { MANY = 1 << 20 };
    const double gigabyte = 1e9, memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    tp_forecast cost;
    if (q->spec.samples < MANY)
        return 0;
    if (tp_limit_forecast(program, q->which, q->x, q->rows, q->x2, q->rows2, &q->spec, &cost, error))
        return -1;
    if (cost.bytes > memory)
        return ad_fail(error, "--samples %zu: a run takes up to %.3g GB, and the machine has %.3g: fewer --samples",
                       q->spec.samples, cost.bytes / gigabyte, memory / gigabyte);
    char what[60];
    ad_snprintf(what, sizeof what, "a limit by runs of %zu samples", q->spec.samples);
    progress_foresee(o->command, what, cost.seconds);
    return 0;
}

double limit_hides(double error, bool sampled, size_t side)
{
    return sampled ? 2 * error / sqrt((double)side) : error;
}

int limit_find(const options *o, tp_program *program, const limit_question *q, tp_kernel *kernel, tp_opinion *opinion,
               ad_error *error)
{
    if (foresee_samples(o, program, q, error))
        return -1;
    double start = ad_seconds();
    int status = q->training ? tp_training_kernel(program, q->x, q->rows, q->x2, q->rows2, &q->spec, kernel, error)
                             : tp_limit(program, q->which, q->x, q->rows, q->x2, q->rows2, &q->spec, kernel, error);
    if (status || !opinion)
        return status;
    *opinion = (tp_opinion){ 0 };
    if (kernel->no_rule[0] && !(q->told && strstr(q->told, kernel->no_rule)))
        fprintf(stderr, "by %s, for there is no exact rule: %s\n",
                strstr(kernel->method, " points") ? "points" : "samples", kernel->no_rule);
    if (o->no_check || kernel->deviations)
        return 0;
    double seconds = fmax(least / (q->sharing > 1 ? q->sharing : 1), share * (ad_seconds() - start));
    status = limit_judge(program, q, kernel, seconds, opinion, error);
    if (status)
        tp_kernel_free(kernel);
    return status;
}

void limit_tell(const tp_opinion *opinion, cJSON *root)
{
    if (!opinion->text[0])
        return;
    if (!root) {
        puts(opinion->text);
        return;
    }
    cJSON *check = json_put(root, "check", cJSON_CreateObject());
    json_put(check, "checked", cJSON_CreateBool(opinion->checked));
    json_put(check, "text", cJSON_CreateString(opinion->text));
    if (!opinion->checked)
        return;
    json_put(check, "deviation", json_number(opinion->deviation));
    json_put(check, "precision", json_number(opinion->precision));
    json_put(check, "entries", json_number(opinion->entries));
    json_put(check, "runs", json_number(opinion->runs));
    json_put(check, "samples", json_number((double)opinion->samples));
}
