/* schedule.c: the order of a tile's quantities, group by group, and their slots. */
#include "tp/recursion/schedule.h"

#include <math.h>
#include <stdlib.h>

/* A summand c q of a term of the series. */
typedef struct {
    int term, q, group;
    double c;
} summand;

typedef struct {
    const tp_algebra *algebra;
    const int *partner;
    tp_schedule *out;
    int n_summands;
    summand *summands;
    int *group; /* union-find over quantities */
    int *last;  /* the step that reads a quantity last */
    int *waiting, *seen;
    bool failed;
} planner;

/* What a quantity is made of for every pair: number k of it, or -1 beyond the last. */
static int operand_of(const tp_quantity *q, int k)
{
    switch (q->kind) {
    case TP_Q_SUM:
    case TP_Q_ALONG:
        return k < q->n ? q->parts[k].q : -1;
    case TP_Q_PRODUCT:
        return k == 0 ? q->a : k == 1 ? q->b : -1;
    case TP_Q_FUNCTION:
    case TP_Q_EXPECT:
        return k == 0 ? q->a : -1;
    default:
        return -1;
    }
}

/* Leaves are cheap, or of one side's sample: they tie no summands together. */
static bool is_leaf(const tp_quantity *q)
{
    return operand_of(q, 0) < 0;
}

/* ---- groups ---- */
static int group_of(int *group, int id)
{
    while (group[id] != id)
        id = group[id] = group[group[id]];
    return id;
}

static void tie_groups(int *group, int a, int b)
{
    a = group_of(group, a);
    b = group_of(group, b);
    group[a > b ? a : b] = a > b ? b : a;
}

static int compare_summands(const void *a, const void *b)
{
    const summand *x = a, *y = b;
    int by_group = (x->group > y->group) - (x->group < y->group);
    return by_group ? by_group : (x->q > y->q) - (x->q < y->q);
}

static void gather_summands(planner *p, const tp_series *series, const bool *needed)
{
    for (int id = 0; id < p->algebra->quantities.n; id++) {
        const tp_quantity *q = tp_quantity_at(p->algebra, id);
        bool total = !needed[id];
        for (int k = 0; k < series->n; k++)
            total |= series->at[k].q == id && q->kind == TP_Q_SUM;
        for (int k = 0, in; !total && (in = operand_of(q, k)) >= 0; k++)
            if (!is_leaf(tp_quantity_at(p->algebra, in)))
                tie_groups(p->group, id, in);
    }
    for (int k = 0; k < series->n; k++) {
        const tp_quantity *q = tp_quantity_at(p->algebra, series->at[k].q);
        bool sum = q->kind == TP_Q_SUM;
        if (sum && fabs(q->c) > 0)
            p->summands[p->n_summands++] = (summand){ k, TP_Q_ONE, -1, q->c };
        for (int m = 0; m < (sum ? q->n : 1); m++) {
            int id = sum ? q->parts[m].q : series->at[k].q;
            p->summands[p->n_summands++] = (summand){ k, id, group_of(p->group, id), sum ? q->parts[m].c : 1 };
        }
    }
    qsort(p->summands, (size_t)p->n_summands, sizeof *p->summands, compare_summands);
}

/* ---- steps ---- */
static void emit_step(planner *p, tp_step step)
{
    p->out->steps[p->out->n_steps++] = step;
}

/* Fills a quantity whose operands are there, and its partner; slot >= 0 marks what is. */
static void emit_fill(planner *p, int id)
{
    int partner = p->partner[id];
    p->out->slot[id] = 0;
    if (partner >= 0)
        p->out->slot[partner] = 0;
    emit_step(p, (tp_step){ .kind = TP_STEP_FILL, .id = id, .partner = partner });
}

/* Everything that a quantity needs, then itself. waiting: those under way, each needed by the one below it; seen: how
 * many of their operands have been. */
static void emit_quantity(planner *p, int id)
{
    int n = 0;
    if (p->out->slot[id] < 0)
        p->waiting[n++] = id;
    while (n > 0) {
        int top = p->waiting[n - 1], in = operand_of(tp_quantity_at(p->algebra, top), p->seen[top]++);
        if (in >= 0 && p->out->slot[in] < 0) {
            p->waiting[n++] = in;
        } else if (in < 0) {
            if (p->out->slot[top] < 0) /* else found with its partner meanwhile */
                emit_fill(p, top);
            n--;
        }
    }
}

static void emit_summand(planner *p, const summand *s)
{
    const tp_quantity *q = tp_quantity_at(p->algebra, s->q);
    if (q->kind == TP_Q_PRODUCT && p->out->slot[s->q] < 0) {
        emit_quantity(p, q->a);
        emit_quantity(p, q->b);
        emit_step(p, (tp_step){ TP_STEP_ADD_PRODUCT, q->a, q->b, s->term, s->c });
        return;
    }
    emit_quantity(p, s->q);
    emit_step(p, (tp_step){ TP_STEP_ADD, s->q, -1, s->term, s->c });
}

/* What a step reads: number k of it, or -1. */
static int read_by_step(const planner *p, const tp_step *step, int k)
{
    if (step->kind == TP_STEP_FILL)
        return operand_of(tp_quantity_at(p->algebra, step->id), k);
    return k == 0 ? step->id : k == 1 ? step->partner : -1;
}

static void assign_slots(planner *p)
{
    tp_schedule *out = p->out;
    int n_free = 0, id, *freed = ad_alloc((size_t)p->algebra->quantities.n + 1, sizeof *freed, "a schedule", NULL);
    if (!freed) {
        p->failed = true;
        return;
    }
    for (int i = 0; i < out->n_steps; i++) {
        const tp_step *s = &out->steps[i];
        if (s->kind == TP_STEP_FILL) {
            p->last[s->id] = i;
            if (s->partner >= 0)
                p->last[s->partner] = i;
        }
        for (int k = 0; (id = read_by_step(p, s, k)) >= 0; k++)
            p->last[id] = i;
    }
    for (int i = 0; i < out->n_steps; i++) {
        const tp_step *s = &out->steps[i];
        if (s->kind == TP_STEP_FILL) {
            out->slot[s->id] = n_free ? freed[--n_free] : out->n_slots++;
            if (s->partner >= 0)
                out->slot[s->partner] = n_free ? freed[--n_free] : out->n_slots++;
            if (p->last[s->id] == i)
                freed[n_free++] = out->slot[s->id];
            if (s->partner >= 0 && p->last[s->partner] == i)
                freed[n_free++] = out->slot[s->partner];
        }
        for (int k = 0; (id = read_by_step(p, s, k)) >= 0; k++)
            if (p->last[id] == i) {
                p->last[id] = -1; /* read twice by one step, freed once */
                freed[n_free++] = out->slot[id];
            }
    }
    ad_free(freed);
}

int tp_schedule_new(tp_schedule *schedule, const tp_algebra *algebra, const tp_series *series, const bool *needed,
                    const int *partner, ad_error *error)
{
    size_t n = (size_t)algebra->quantities.n, summands = 1;
    *schedule = (tp_schedule){ 0 };
    for (int k = 0; k < series->n; k++)
        summands += (size_t)tp_quantity_at(algebra, series->at[k].q)->n + 1;
    planner p = { .algebra = algebra, .partner = partner, .out = schedule };
    schedule->slot = ad_alloc(n, sizeof *schedule->slot, "a schedule", error);
    p.summands = ad_alloc(summands, sizeof *p.summands, "a schedule", error);
    p.group = ad_alloc(n, sizeof *p.group, "a schedule", error);
    p.last = ad_alloc(n, sizeof *p.last, "a schedule", error);
    p.waiting = ad_alloc(n, sizeof *p.waiting, "a schedule", error);
    p.seen = ad_alloc(n, sizeof *p.seen, "a schedule", error);
    schedule->steps =
        ad_alloc(n + summands, sizeof *schedule->steps, "a schedule", error); /* each filled, each added once */
    p.failed = !schedule->slot || !schedule->steps || !p.summands || !p.group || !p.last || !p.waiting || !p.seen;
    for (size_t id = 0; id < n && !p.failed; id++) {
        schedule->slot[id] = -1;
        p.group[id] = (int)id;
    }
    if (!p.failed)
        gather_summands(&p, series, needed);
    for (int i = 0; i < p.n_summands && !p.failed; i++)
        emit_summand(&p, &p.summands[i]);
    if (!p.failed)
        assign_slots(&p);
    ad_free(p.summands);
    ad_free(p.group);
    ad_free(p.last);
    ad_free(p.waiting);
    ad_free(p.seen);
    if (!p.failed)
        return 0;
    tp_schedule_free(schedule);
    return ad_fail(error, "out of memory for the order of %zu quantities", n);
}

void tp_schedule_free(tp_schedule *schedule)
{
    ad_free(schedule->steps);
    ad_free(schedule->slot);
    *schedule = (tp_schedule){ 0 };
}
