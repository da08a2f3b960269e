/* truth.c: limn's kernels against the truth. */
#include "tests/support/truth.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

/* K_ii, or where outputs cancel to less than what is stated of the largest K_jj of the same inputs, this. */
static real size_of(const truth_case *c, real (*truth)[TRUTH_ROWS], int i, double stated)
{
    real size = real_abs(truth[i][i]), largest = size;
    int from = i < c->rows ? 0 : c->rows, to = i < c->rows ? c->rows : c->rows + c->rows2;
    for (int j = from; j < to; j++)
        largest = real_less(largest, real_abs(truth[j][j])) ? real_abs(truth[j][j]) : largest;
    bool cancels = c->kind == TRUTH_DIFFERENCE || c->kind == TRUTH_MEAN;
    return cancels && !real_less(real_mul(real_of(stated), largest), size) ? largest : size;
}

/* |value - truth|, relative to the root of both sizes; infinite where one is 0 and the value is not. */
static double distance_of(const truth_case *c, double value, real (*truth)[TRUTH_ROWS], int i, int j, double stated)
{
    if (!isfinite(value))
        return INFINITY;
    real size = real_sqrt(real_mul(size_of(c, truth, i, stated), size_of(c, truth, j, stated)));
    real off = real_abs(real_sub(real_of(value), truth[i][j]));
    if (real_less(off, real_of(DBL_MIN)))
        return 0;
    if (real_sign(size) == 0)
        return real_sign(off) ? INFINITY : 0;
    return real_double(real_div(off, size));
}

/* The term n^power of limn's kernel, NULL where it has none: a term of zeros. */
static const double *term_of(const tp_kernel *kernel, double power)
{
    for (int k = 0; k < kernel->n_terms; k++)
        if (fabs(kernel->terms[k].power - power) < 1e-9)
            return kernel->terms[k].values;
    return NULL;
}

static void compare_term(const truth_case *c, const truth_kernels *kernels, const tp_kernel *kernel, int power,
                         real (*truth)[TRUTH_ROWS], truth_outcome *outcome)
{
    const double *values = term_of(kernel, power);
    int first = c->rows2 ? c->rows : 0, columns = c->rows2 ? c->rows2 : c->rows;
    for (int i = 0; i < c->rows; i++)
        for (int j = 0; j < columns; j++) {
            double value = values ? values[i * columns + j] : 0;
            double off = distance_of(c, value, truth, i, first + j, outcome->stated);
            if (off < outcome->error || !(off > 0) || kernels->lost[i] || kernels->lost[first + j])
                continue;
            outcome->error = off;
            snprintf(outcome->text, sizeof outcome->text, "entry (%d, %d) of n^%d is %.17g, and truly %.17g", i, j,
                     power, value, real_double(truth[i][first + j]));
        }
}

int truth_compare(const truth_case *c, const truth_kernels *kernels, tp_kernel_kind which, truth_outcome *outcome,
                  ad_error *error)
{
    static truth_kernels truth;
    tp_kernel kernel = { 0 };
    tp_limit_spec spec = { .engine = TP_ENGINE_EXACT };
    ad_error refusal = { 0 };
    nn_net *net = truth_trace(c, error);
    tp_program *program = net ? tp_translate(net, error) : NULL;
    *outcome = (truth_outcome){ 0 };
    truth = *kernels;
    if (program) {
        const double *second = c->rows2 ? c->x + c->rows * c->steps * c->features : NULL;
        outcome->refused =
            tp_limit(program, which, c->x, (size_t)c->rows, second, (size_t)c->rows2, &spec, &kernel, &refusal) != 0;
        if (outcome->refused)
            snprintf(outcome->text, sizeof outcome->text, "%s", refusal.text);
        else
            outcome->stated = kernel.error;
        for (int p = 0; p < TRUTH_POWERS && !outcome->refused; p++)
            if (which == TP_NTK)
                compare_term(c, &truth, &kernel, p, truth.ntk[p], outcome);
            else if (p == 0)
                compare_term(c, &truth, &kernel, p, truth.nngp, outcome);
        tp_kernel_free(&kernel);
    }
    tp_program_free(program);
    if (net)
        nn_net_free(net);
    return program ? 0 : -1;
}
