/* test_transposed.c: the schedule of a kernel, its linear part transposed, beside its quantities one by one, in numbers
 * drawn for what is neither a sum nor a product; and how many blocks it holds. */
#include "limn.h"
#include "tests/support/architecture.h"
#include "tp/recursion/schedule.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

typedef struct {
    nn_net *net;
    tp_program *program;
    tp_algebra algebra;
    tp_series series;
    size_t n;
    bool *needed;
    int *partner;
} setting;

static bool is_expectation(const setting *s, size_t id)
{
    return s->needed[id] && tp_quantity_at(&s->algebra, (int)id)->kind == TP_Q_EXPECT;
}

/* Of all that the series are made of; expectations at one covariance are partners, two by two. */
static void find_needed(setting *s)
{
    s->n = (size_t)s->algebra.quantities.n;
    s->needed = calloc(s->n, sizeof *s->needed);
    s->partner = malloc(s->n * sizeof *s->partner);
    cr_assert(s->needed && s->partner);
    for (int k = 0; k < s->series.n; k++)
        s->needed[s->series.at[k].q] = true;
    for (size_t id = s->n; id-- > 0;) {
        const tp_quantity *q = tp_quantity_at(&s->algebra, (int)id);
        s->partner[id] = -1;
        for (int k = 0, in; s->needed[id] && (in = tp_pair_operand(q, k)) >= 0; k++)
            s->needed[in] = true;
    }
    for (size_t id = 0; id < s->n; id++)
        for (size_t other = 0; other < id && is_expectation(s, id) && s->partner[id] < 0; other++)
            if (is_expectation(s, other) && s->partner[other] < 0 &&
                tp_quantity_at(&s->algebra, (int)id)->a == tp_quantity_at(&s->algebra, (int)other)->a) {
                s->partner[other] = (int)id;
                s->partner[id] = (int)other;
            }
}

/* False where a network has no such series. */
static bool begin(setting *s, nn_net *net, tp_kernel_kind which, bool folded)
{
    ad_error error = { 0 };
    *s = (setting){ .net = net };
    s->program = tp_translate(net, &error);
    cr_assert(s->program, "%s", error.text);
    cr_assert_eq(tp_algebra_new(&s->algebra, s->program, &error), 0, "%s", error.text);
    s->algebra.rules = TP_RULES_GENERAL;
    int status = which == TP_NTK ? tp_ntk_series(&s->algebra, &s->series, folded ? &folded : NULL)
                                 : tp_nngp_series(&s->algebra, &s->series);
    if (!status)
        find_needed(s);
    return status == 0;
}

static void end(setting *s)
{
    free(s->needed);
    free(s->partner);
    tp_algebra_free(&s->algebra);
    tp_program_free(s->program);
}

/* Each quantity's number, and what it would be if nothing cancelled. */
static void find_numbers(const setting *s, double *value, double *size)
{
    for (size_t id = 0; id < s->n; id++) {
        const tp_quantity *q = tp_quantity_at(&s->algebra, (int)id);
        value[id] = sin(1.7 * (double)id) + 0.1;
        if (q->kind == TP_Q_NUMBER || q->kind == TP_Q_SUM)
            value[id] = q->c;
        size[id] = fabs(value[id]);
        for (int k = 0; q->kind == TP_Q_SUM && k < q->n; k++) {
            value[id] += q->parts[k].c * value[q->parts[k].q];
            size[id] += fabs(q->parts[k].c) * size[q->parts[k].q];
        }
        if (q->kind == TP_Q_PRODUCT) {
            value[id] = value[q->a] * value[q->b];
            size[id] = size[q->a] * size[q->b];
        }
    }
}

/* Runs the steps of a single pair in their slots. */
static void check(const setting *s)
{
    ad_error error = { 0 };
    tp_schedule schedule;
    cr_assert_eq(tp_schedule_new(&schedule, &s->algebra, &s->series, s->needed, s->partner, &error), 0, "%s",
                 error.text);
    double *value = malloc(2 * s->n * sizeof *value), *size = value + s->n, terms[TP_MAX_POWERS];
    double *slots = malloc(((size_t)schedule.n_slots + 1) * sizeof *slots);
    double **blocks = calloc(2 * s->n + TP_MAX_POWERS, sizeof *blocks);
    cr_assert(value && slots && blocks);
    find_numbers(s, value, size);
    for (int k = 0; k < schedule.n_slots; k++)
        slots[k] = (double)NAN;
    for (size_t id = 0; id < 2 * s->n; id++)
        blocks[id] = schedule.slot[id] >= 0 ? &slots[schedule.slot[id]] : NULL;
    for (int k = 0; k < TP_MAX_POWERS; k++) {
        terms[k] = schedule.begins[k] ? (double)NAN : 0;
        blocks[2 * s->n + (size_t)k] = &terms[k];
    }
    for (int i = 0; i < schedule.n_steps; i++) {
        const tp_step *t = &schedule.steps[i];
        double a = t->a >= 0 ? *blocks[t->a] : 0, b = t->b >= 0 ? *blocks[t->b] : 0, d = t->d >= 0 ? *blocks[t->d] : 0;
        if (t->kind == TP_STEP_SUM)
            *blocks[t->out] = t->c + t->ca * a + t->cb * b + t->cd * d;
        else if (t->kind == TP_STEP_PRODUCT)
            *blocks[t->out] = a * (t->c + t->cb * b) + t->cd * d;
        else {
            const tp_quantity *q = tp_quantity_at(&s->algebra, t->out);
            for (int k = 0, in; (in = tp_pair_operand(q, k)) >= 0; k++)
                cr_expect(fabs(*blocks[in] - value[in]) <= 1e-13 * size[in], "%d reads %g of %d, not %g", t->out,
                          *blocks[in], in, value[in]);
            *blocks[t->out] = value[t->out];
            if (t->partner >= 0)
                *blocks[t->partner] = value[t->partner];
        }
    }
    for (int k = 0; k < s->series.n; k++) {
        int id = s->series.at[k].q;
        cr_expect(fabs(terms[k] - value[id]) <= 1e-12 * size[id], "term %d is %.17g, not %.17g, of size %g", k,
                  terms[k], value[id], size[id]);
    }
    free(value);
    free(slots);
    free(blocks);
    tp_schedule_free(&schedule);
}

static nn_net *trace(const char *name, size_t steps, const char *const *settings)
{
    ad_error error = { 0 };
    nn_spec spec = { .features = 3, .settings = settings };
    if (steps) {
        spec.features = 0;
        spec.shape[0] = steps;
        spec.shape[1] = 3;
    }
    nn_net *net = nn_trace(nn_builtin(name), &spec, &error);
    cr_assert(net, "%s", error.text);
    return net;
}

static void check_kernels(nn_net *net, int *checked)
{
    const tp_kernel_kind kinds[] = { TP_NNGP, TP_NTK, TP_NTK };
    for (int k = 0; k < 3; k++) {
        setting s;
        if (begin(&s, net, kinds[k], k == 2)) {
            check(&s);
            ++*checked;
        }
        end(&s);
    }
    nn_net_free(net);
}

Test(transposed, gives_the_sums_of_builtin_networks)
{
    int checked = 0;
    for (int depth = 1; depth <= 4; depth++) {
        const char text[] = { 'd', 'e', 'p', 't', 'h', '=', (char)('0' + depth), 0 };
        check_kernels(trace("mlp", 0, (const char *[]){ text, "phi=erf", NULL }), &checked);
        check_kernels(trace("mlp", 0, (const char *[]){ text, "sigma_b=0.5", NULL }), &checked);
    }
    for (size_t steps = 1; steps <= 6; steps++) {
        check_kernels(trace("rnn", steps, (const char *[]){ "phi=erf", "readout=mean", NULL }), &checked);
        check_kernels(trace("rnn", steps, (const char *[]){ "phi=relu", "sigma_b=0.3", NULL }), &checked);
    }
    cr_expect_eq(checked, 3 * 20, "%d", checked);
}

Test(transposed, gives_the_sums_of_random_networks)
{
    int checked = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        ad_error error = { 0 };
        nn_net *net = architecture_trace(seed, &error);
        cr_assert(net, "%s", error.text);
        check_kernels(net, &checked);
    }
    cr_expect(checked >= 150, "%d", checked);
}

/* Each step's blocks die with the next. */
Test(transposed, holds_as_many_blocks_for_any_number_of_steps)
{
    int slots[4];
    for (int k = 0; k < 4; k++) { /* alone, and two by two */
        setting s;
        ad_error error = { 0 };
        tp_schedule schedule;
        nn_net *net = trace("rnn", k % 2 ? 24 : 6, (const char *[]){ "phi=erf", "readout=mean", NULL });
        cr_assert(begin(&s, net, TP_NTK, true));
        for (size_t id = 0; id < s.n && k < 2; id++)
            s.partner[id] = -1;
        cr_assert_eq(tp_schedule_new(&schedule, &s.algebra, &s.series, s.needed, s.partner, &error), 0);
        slots[k] = schedule.n_slots;
        tp_schedule_free(&schedule);
        end(&s);
        nn_net_free(net);
    }
    cr_expect(slots[1] == slots[0] && slots[3] == slots[2] && slots[0] <= 12 && slots[2] <= 12, "%d, %d; %d, %d",
              slots[0], slots[1], slots[2], slots[3]);
}
