/* outputs.c: the limit kernels between all outputs, which are one kernel where outputs are alike. */
#include "examples/limn/base/base.h"

#include <string.h>

bool outputs_share_a_kernel(const tp_program *program, bool full)
{
    return tp_outputs_alike(program) && (!full || tp_outputs_independent(program));
}

static int refuse_powers(const tp_kernel *kernel, size_t a, size_t b, ad_error *error)
{
    char powers[120] = "";
    for (int k = 0; k < kernel->n_terms; k++) {
        size_t length = strlen(powers);
        snprintf(powers + length, sizeof powers - length, "%sn^%g", k ? ", " : "", kernel->terms[k].power);
    }
    return ad_fail(error, "between outputs %zu and %zu the kernel goes like %s: give --at-width N", a, b, powers);
}

/* Is this opinion the one to tell: the first, or one of less? */
static bool is_told(const tp_opinion *told, const tp_opinion *other)
{
    if (!told->text[0] || told->checked != other->checked)
        return !told->text[0] || told->checked;
    return other->deviation > told->deviation;
}

/* Each output's own kernel has its second opinion; all of them share the time of one. */
static int solve_pair(const outputs_job *j, size_t a, size_t b, const char *told, tp_kernel *kernel, ad_error *error)
{
    limit_question q = j->ask;
    tp_opinion opinion = { 0 };
    q.spec.output = a;
    q.spec.output2 = b;
    q.told = told;
    q.sharing = tp_outputs_alike(j->program) ? 1 : (double)j->outputs;
    int status = limit_find(j->o, j->program, &q, kernel, a == b && j->opinion ? &opinion : NULL, error);
    if (j->opinion && opinion.text[0] && is_told(j->opinion, &opinion))
        *j->opinion = opinion;
    return !status && !tp_kernel_converges(kernel) && !(j->width > 0) ? refuse_powers(kernel, a, b, error) : status;
}

/* Adds the kernel of a pair to the mean, or puts it into its place; `same`: of all pairs of its kind, equal or not. */
static void keep_pair(const outputs_job *j, size_t a, size_t b, bool same, const double *one, double *out)
{
    size_t outs = j->outputs, count = j->ask.rows * (j->ask.x2 ? j->ask.rows2 : j->ask.rows);
    for (size_t i = 0; i < count; i++) {
        if (!j->full)
            out[i] += one[i] / (same ? 1 : (double)outs);
        for (size_t p = 0; j->full && p < outs * outs; p++)
            if (same ? (p / outs == p % outs) == (a == b) : p == a * outs + b)
                out[i * outs * outs + p] = one[i];
    }
}

int outputs_limit(const outputs_job *j, double *out, char *method, size_t method_size, double *worst, ad_error *error)
{
    size_t outs = j->outputs, count = j->ask.rows * (j->ask.x2 ? j->ask.rows2 : j->ask.rows);
    bool alike = tp_outputs_alike(j->program), apart = tp_outputs_independent(j->program);
    double *one = ad_alloc(count, sizeof *one, "a kernel", error);
    int status = one ? 0 : -1;
    *method = 0;
    memset(out, 0, count * (j->full ? outs * outs : 1) * sizeof *out);
    for (size_t p = 0; p < outs * outs && !status; p++) {
        size_t a = p / outs, b = p % outs;
        if ((a != b && (!j->full || (alike && apart))) || (alike && (a > 0 || b > 1)))
            continue;
        tp_kernel kernel = { 0 };
        status = solve_pair(j, a, b, method, &kernel, error);
        if (!status) {
            tp_kernel_at(&kernel, j->width > 0 ? j->width : 1, one);
            keep_pair(j, a, b, alike, one, out);
            *worst = kernel.error > *worst ? kernel.error : *worst;
            if (j->sampled && kernel.deviations)
                *j->sampled = true;
            if (p == 0)
                snprintf(method, method_size, "%s", kernel.method);
        }
        tp_kernel_free(&kernel);
    }
    ad_free(one);
    return status;
}
