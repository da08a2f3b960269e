/* schedule.c: the order of a tile's quantities, group by group, the linear ones transposed, and their slots. */
#include "tp/recursion/schedule.h"
#include "autodiff/base/base.h"

#include <math.h>
#include <stdlib.h>

/* How a quantity stands in the series: linear in one of its terms, by that number; not, or not known to be; not yet
 * known. */
enum { NOT_LINEAR = -1, OPEN = -2 };

/* What a quantity weighs: k, or k times a block. */
typedef struct {
    double k;
    int block;
} weight;

/* A part of it: k, k u, k w, or k u w, of a quantity and a weight; -1: none. */
typedef struct {
    double k;
    int u, w, next;
} share;

/* A quantity that is linear, in `term`, or a summand c q of it that is not; next: another one of its group. */
typedef struct {
    int q, term, next;
    bool linear;
    double c;
} entry;

/* A step that waits for its group's quantities: all that it reads can be had once quantity `key` can; `number`: its
 * place among those that wait. */
typedef struct {
    int key, number;
    tp_step step;
} waiting_step;

typedef struct {
    const tp_algebra *algebra;
    const tp_series *series;
    const bool *needed;
    const int *partner;
    tp_schedule *out;
    int n;      /* quantities */
    int *group; /* union-find over quantities */
    int *term;  /* by quantity: how it stands in the series */
    int *depth; /* ... products on the longest way down from it */
    int *readers, *first_share;
    int *key; /* by weight: of the last step that adds to it */
    share *shares;
    entry *entries;
    waiting_step *waiting;
    int n_shares, n_entries, n_waiting;
    int *stack, *seen;
    int *last;               /* (2 n): of groups the first entry; then by block the last step that reads or writes it */
    int open[TP_MAX_POWERS]; /* by term: the step that has last been added to it, and has room for another summand */
} planner;

int tp_pair_operand(const tp_quantity *q, int k)
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

static const tp_quantity *quantity(const planner *p, int id)
{
    return tp_quantity_at(p->algebra, id);
}

/* A sum that only one term of the series reads is no quantity of its own, but where its summands go. */
static bool is_total(const planner *p, int id)
{
    int terms = 0;
    for (int k = 0; k < p->series->n; k++)
        terms += p->series->at[k].q == id;
    return terms == 1 && quantity(p, id)->kind == TP_Q_SUM && p->readers[id] == 0;
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

/* Leaves are cheap, or of one side's sample: they tie no summands together. */
static bool is_leaf(const tp_quantity *q)
{
    return tp_pair_operand(q, 0) < 0;
}

static void find_groups(planner *p)
{
    for (int id = 0; id < p->n; id++)
        p->group[id] = id;
    for (int id = 0; id < p->n; id++)
        for (int k = 0, in; p->needed[id] && (in = tp_pair_operand(quantity(p, id), k)) >= 0; k++)
            p->readers[in]++;
    for (int id = 0; id < p->n; id++)
        for (int k = 0, in; p->needed[id] && !is_total(p, id) && (in = tp_pair_operand(quantity(p, id), k)) >= 0; k++)
            if (!is_leaf(quantity(p, in)))
                tie_groups(p->group, id, in);
    for (int id = 0; id < p->n; id++)
        p->group[id] = group_of(p->group, id);
}

/* ---- which quantities the series is linear in ---- */
static void touch(planner *p, int id, int term)
{
    p->term[id] = p->term[id] == OPEN || p->term[id] == term ? term : NOT_LINEAR;
}

/* The factor that a product is linear in: of both that may be, the longer one. -1: neither, the product is as good. */
static int linear_factor(const planner *p, const tp_quantity *q, int term)
{
    bool a = p->term[q->a] == OPEN || p->term[q->a] == term, b = p->term[q->b] == OPEN || p->term[q->b] == term;
    if (q->a == q->b || (!a && !b))
        return -1;
    return b && (!a || p->depth[q->b] >= p->depth[q->a]) ? q->b : q->a;
}

static void find_linear(planner *p)
{
    for (int id = 0; id < p->n; id++) {
        const tp_quantity *q = quantity(p, id);
        bool may = p->needed[id] && (q->kind == TP_Q_SUM || q->kind == TP_Q_PRODUCT);
        p->term[id] = may ? OPEN : NOT_LINEAR;
        for (int k = 0, in; may && (in = tp_pair_operand(q, k)) >= 0; k++)
            p->depth[id] = p->depth[in] > p->depth[id] ? p->depth[in] : p->depth[id];
        p->depth[id] += q->kind == TP_Q_PRODUCT;
    }
    for (int k = 0; k < p->series->n; k++) {
        int id = p->series->at[k].q;
        p->term[id] = is_total(p, id) ? k : NOT_LINEAR;
    }
    for (int id = p->n - 1; id >= 0; id--) { /* after all that read it */
        const tp_quantity *q = quantity(p, id);
        int factor = q->kind == TP_Q_PRODUCT && p->term[id] >= 0 ? linear_factor(p, q, p->term[id]) : -1;
        bool linear = p->term[id] >= 0 && (q->kind == TP_Q_SUM || factor >= 0);
        p->term[id] = linear ? p->term[id] : NOT_LINEAR;
        for (int k = 0, in; p->needed[id] && (in = tp_pair_operand(q, k)) >= 0; k++)
            touch(p, in, linear && (factor < 0 || in == factor) ? p->term[id] : NOT_LINEAR);
    }
}

/* ---- steps, once their quantities are there ---- */
static void emit_step(planner *p, tp_step step)
{
    p->out->steps[p->out->n_steps++] = step;
}

static const tp_step no_step = { .partner = -1, .a = -1, .b = -1, .d = -1 };

/* A sum, a few parts a step. */
static void emit_sum(planner *p, int id)
{
    const tp_quantity *q = quantity(p, id);
    for (int k = 0; k < q->n;) {
        bool more = k > 0;
        tp_step step = no_step;
        step.kind = TP_STEP_SUM;
        step.out = id;
        step.c = more ? 0 : q->c;
        step.a = q->parts[k].q;
        step.ca = q->parts[k++].c;
        if (k < q->n) {
            step.b = q->parts[k].q;
            step.cb = q->parts[k++].c;
        }
        if (more || k < q->n) {
            step.d = more ? id : q->parts[k].q;
            step.cd = more ? 1 : q->parts[k++].c;
        }
        emit_step(p, step);
    }
}

/* A quantity whose operands are there, and its partner; slot >= 0 marks what is. */
static void emit_fill(planner *p, int id)
{
    const tp_quantity *q = quantity(p, id);
    tp_step step = no_step;
    step.out = id;
    step.partner = p->partner[id];
    p->out->slot[id] = 0;
    if (step.partner >= 0)
        p->out->slot[step.partner] = 0;
    if (q->kind == TP_Q_PRODUCT) {
        step.kind = TP_STEP_PRODUCT;
        step.a = q->a;
        step.b = q->b;
        step.cb = 1;
    }
    if (q->kind == TP_Q_SUM)
        emit_sum(p, id);
    else
        emit_step(p, step);
}

/* Everything that a quantity needs, then itself. stack: those under way, each needed by the one below it; seen: how
 * many of their operands have been. */
static void emit_quantity(planner *p, int id)
{
    int n = 0;
    if (p->out->slot[id] < 0)
        p->stack[n++] = id;
    while (n > 0) {
        int top = p->stack[n - 1], in = tp_pair_operand(quantity(p, top), p->seen[top]++);
        if (in >= 0 && p->out->slot[in] < 0) {
            p->stack[n++] = in;
        } else if (in < 0) {
            if (p->out->slot[top] < 0) /* else found with its partner meanwhile */
                emit_fill(p, top);
            n--;
        }
    }
}

/* Onto a term: with the last summand, where that has been alone. */
static void emit_addition(planner *p, tp_step step)
{
    int term = step.out - 2 * p->n, *open = &p->open[term];
    bool *begun = &p->out->begins[term];
    step.d = *begun ? step.out : -1;
    step.cd = *begun;
    if (step.kind == TP_STEP_SUM && *open >= 0) {
        tp_step *before = &p->out->steps[*open];
        step.b = before->a;
        step.cb = before->ca;
        step.d = before->d;
        step.cd = before->cd;
        before->out = -1;
    }
    *open = step.kind == TP_STEP_SUM && step.b < 0 ? p->out->n_steps : -1;
    *begun = true;
    emit_step(p, step);
}

static int compare_waiting(const void *a, const void *b)
{
    const waiting_step *x = a, *y = b;
    int by_key = (x->key > y->key) - (x->key < y->key);
    return by_key ? by_key : (x->number > y->number) - (x->number < y->number);
}

/* The steps of a group as its quantities come. */
static void emit_waiting(planner *p)
{
    qsort(p->waiting, (size_t)p->n_waiting, sizeof *p->waiting, compare_waiting);
    for (int i = 0; i < p->n_waiting; i++) {
        tp_step step = p->waiting[i].step;
        const int reads[] = { step.a, step.b, step.d };
        for (int k = 0; k < 3; k++)
            if (reads[k] >= 0 && reads[k] < p->n)
                emit_quantity(p, reads[k]);
        if (step.out >= 2 * p->n)
            emit_addition(p, step);
        else
            emit_step(p, step);
    }
    p->n_waiting = 0;
}

/* ---- weights ---- */
/* When a quantity can be had, in the order of numbers: an expectation as soon as its covariance. */
static int ready(const planner *p, int id)
{
    const tp_quantity *q = quantity(p, id);
    while (q->kind == TP_Q_EXPECT || q->kind == TP_Q_FUNCTION) {
        id = q->a;
        q = quantity(p, id);
    }
    return id;
}

/* Until its group's quantities are there: after the steps that it reads. */
static void wait_for(planner *p, tp_step step)
{
    const int reads[] = { step.a, step.b, step.d };
    waiting_step w = { .key = -1, .number = p->n_waiting, .step = step };
    for (int k = 0; k < 3; k++) {
        int id = reads[k], key = -1;
        if (id >= p->n && id < 2 * p->n)
            key = p->key[id - p->n];
        else if (id >= 0 && id < p->n)
            key = ready(p, id);
        w.key = key > w.key ? key : w.key;
    }
    if (step.out < 2 * p->n)
        p->key[step.out - p->n] = w.key;
    p->waiting[p->n_waiting++] = w;
}

static void give_share(planner *p, int id, double k, int u, int w)
{
    p->shares[p->n_shares] = (share){ k, u, w, p->first_share[id] };
    p->first_share[id] = p->n_shares++;
}

/* The next share from `at` on that is a product, or is one block; -1. */
static int next_share(const planner *p, int at, bool product)
{
    for (; at >= 0; at = p->shares[at].next) {
        const share *s = &p->shares[at];
        if (product ? s->u >= 0 && s->w >= 0 : (s->u >= 0) != (s->w >= 0))
            return at;
    }
    return -1;
}

/* Takes one block's share as one summand of a step. */
static int take_share(const planner *p, int at, int *block, double *k)
{
    const share *s = &p->shares[at];
    *block = s->u >= 0 ? s->u : s->w;
    *k = s->k;
    return next_share(p, s->next, false);
}

/* All shares in one block: products first, then what is left, a few a step. */
static weight gather_shares(planner *p, int id, double number)
{
    int out = p->n + id, single = next_share(p, p->first_share[id], false);
    bool begun = false;
    for (int at = next_share(p, p->first_share[id], true); at >= 0; at = next_share(p, p->shares[at].next, true)) {
        tp_step step = no_step;
        step.kind = TP_STEP_PRODUCT;
        step.out = out;
        step.a = p->shares[at].u;
        step.b = p->shares[at].w;
        step.cb = p->shares[at].k;
        if (begun) {
            step.d = out;
            step.cd = 1;
        } else if (single >= 0)
            single = take_share(p, single, &step.d, &step.cd);
        wait_for(p, step);
        begun = true;
    }
    while (single >= 0 || fabs(number) > 0) {
        tp_step step = no_step;
        step.kind = TP_STEP_SUM;
        step.out = out;
        step.c = number;
        number = 0;
        if (begun) {
            step.a = out;
            step.ca = 1;
        } else
            single = take_share(p, single, &step.a, &step.ca);
        if (single >= 0)
            single = take_share(p, single, &step.b, &step.cb);
        if (single >= 0)
            single = take_share(p, single, &step.d, &step.cd);
        wait_for(p, step);
        begun = true;
    }
    return (weight){ 1, out };
}

static weight find_weight(planner *p, int id)
{
    double number = 0;
    int n = 0, last = -1;
    for (int at = p->first_share[id]; at >= 0; at = p->shares[at].next) {
        bool is_number = p->shares[at].u < 0 && p->shares[at].w < 0;
        number += is_number ? p->shares[at].k : 0;
        n += !is_number;
        last = is_number ? last : at;
    }
    if (n == 0)
        return (weight){ number, -1 };
    const share *s = &p->shares[last];
    if (n > 1 || fabs(number) > 0 || (s->u >= 0 && s->w >= 0))
        return gather_shares(p, id, number);
    return (weight){ s->k, s->u >= 0 ? s->u : s->w };
}

/* c times a block, onto a term. */
static void add_block(planner *p, int term, double c, int block)
{
    tp_step step = no_step;
    step.kind = TP_STEP_SUM;
    step.out = 2 * p->n + term;
    step.a = block;
    step.ca = c;
    wait_for(p, step);
}

/* rest + c q, weighed, onto a term. */
static void add(planner *p, int term, weight w, double rest, double c, int q)
{
    const tp_quantity *of = quantity(p, q);
    bool factors = of->kind == TP_Q_PRODUCT && p->readers[q] == 1;
    tp_step step = no_step;
    step.kind = TP_STEP_PRODUCT;
    step.out = 2 * p->n + term;
    step.a = w.block >= 0 ? w.block : of->a;
    step.b = w.block >= 0 ? q : of->b;
    step.c = w.block >= 0 ? rest * w.k : 0;
    step.cb = c * w.k;
    if (w.block >= 0 || factors)
        wait_for(p, step);
    else
        add_block(p, term, c * w.k, q);
    if (w.block < 0 && fabs(rest) > 0)
        add_block(p, term, rest * w.k, TP_Q_ONE);
}

/* Once all that reads a quantity has been: what it weighs, to its operands. */
static void pass_on(planner *p, int id, int term)
{
    const tp_quantity *q = quantity(p, id);
    weight w = find_weight(p, id);
    double rest = q->c;
    if (q->kind == TP_Q_PRODUCT) {
        int factor = p->term[q->b] >= 0 ? q->b : q->a, other = factor == q->a ? q->b : q->a;
        if (p->term[factor] >= 0)
            give_share(p, factor, w.k, other, w.block);
        else /* which some other reader needs itself */
            add(p, term, w, 0, 1, id);
        return;
    }
    for (int k = 0; k < q->n; k++) {
        int part = q->parts[k].q;
        double c = q->parts[k].c;
        if (p->term[part] >= 0) {
            give_share(p, part, c * w.k, -1, w.block);
            continue;
        }
        add(p, term, w, rest, c, part);
        rest = 0;
    }
    if (fabs(rest) > 0)
        add_block(p, term, rest * w.k, w.block >= 0 ? w.block : TP_Q_ONE);
}

/* ---- group by group ---- */
/* The first entry of a group; of constants that of group -1. */
static int *first_entry(planner *p, int q)
{
    return &p->last[q == TP_Q_ONE ? 0 : p->group[q] + 1];
}

/* Before those that are there. */
static void enter(planner *p, entry e)
{
    int *first = first_entry(p, e.q);
    e.next = *first;
    *first = p->n_entries;
    p->entries[p->n_entries++] = e;
}

static void enter_summand(planner *p, int term, int q, double c)
{
    if (p->term[q] >= 0)
        give_share(p, q, c, -1, -1);
    else
        enter(p, (entry){ .q = q, .term = term, .c = c });
}

/* In each group those that are linear from the last number down, after all that read them. */
static void gather_entries(planner *p)
{
    for (int group = -1; group < p->n; group++)
        p->last[group + 1] = -1;
    for (int id = 0; id < p->n; id++)
        if (p->term[id] >= 0 && !is_total(p, id))
            enter(p, (entry){ .q = id, .term = p->term[id], .linear = true });
    for (int k = 0; k < p->series->n; k++) {
        int id = p->series->at[k].q;
        const tp_quantity *q = quantity(p, id);
        bool total = is_total(p, id);
        if (!total)
            enter_summand(p, k, id, 1);
        else if (fabs(q->c) > 0)
            enter_summand(p, k, TP_Q_ONE, q->c);
        for (int m = 0; total && m < q->n; m++)
            enter_summand(p, k, q->parts[m].q, q->parts[m].c);
    }
}

static void emit_entries(planner *p)
{
    for (int group = -1; group < p->n; group++) {
        for (int at = p->last[group + 1]; at >= 0; at = p->entries[at].next) {
            const entry *e = &p->entries[at];
            if (e->linear)
                pass_on(p, e->q, e->term);
            else
                add(p, e->term, (weight){ 1, -1 }, 0, e->c, e->q);
        }
        if (p->n_waiting > 0)
            emit_waiting(p);
    }
}

static void remove_joined(tp_schedule *out)
{
    int n = 0;
    for (int i = 0; i < out->n_steps; i++)
        if (out->steps[i].out >= 0)
            out->steps[n++] = out->steps[i];
    out->n_steps = n;
}

/* ---- slots ---- */
/* What a step reads: number k of it, or -1 beyond the last; terms have places of their own. */
static int read_by_step(const planner *p, const tp_step *step, int k)
{
    const int reads[] = { step->a, step->b, step->d };
    if (step->kind == TP_STEP_FILL)
        return tp_pair_operand(quantity(p, step->out), k);
    for (int i = 0; i < 3; i++)
        if (reads[i] >= 0 && reads[i] < 2 * p->n && k-- == 0)
            return reads[i];
    return -1;
}

static void free_slots(planner *p, int i, int *freed, int *n_free)
{
    const tp_step *s = &p->out->steps[i];
    for (int k = 0, id; (id = read_by_step(p, s, k)) >= 0; k++)
        if (p->last[id] == i) {
            p->last[id] = -1; /* read twice by one step, freed once */
            freed[(*n_free)++] = p->out->slot[id];
        }
}

/* freed: room for (2 n) numbers. */
static void assign_slots(planner *p, int *freed)
{
    tp_schedule *out = p->out;
    int n_free = 0;
    for (int id = 0; id < 2 * p->n; id++)
        out->slot[id] = p->last[id] = -1;
    for (int i = 0; i < out->n_steps; i++) {
        const tp_step *s = &out->steps[i];
        const int written[] = { s->out, s->partner };
        for (int k = 0; k < 2; k++)
            if (written[k] >= 0 && written[k] < 2 * p->n)
                p->last[written[k]] = i;
        for (int k = 0, id; (id = read_by_step(p, s, k)) >= 0; k++)
            p->last[id] = i;
    }
    for (int i = 0; i < out->n_steps; i++) {
        const tp_step *s = &out->steps[i];
        const int written[] = { s->out, s->partner };
        if (s->kind != TP_STEP_FILL) /* number by number: into a place that it reads */
            free_slots(p, i, freed, &n_free);
        for (int k = 0; k < 2; k++) {
            int id = written[k];
            if (id < 0 || id >= 2 * p->n || out->slot[id] >= 0)
                continue;
            out->slot[id] = n_free ? freed[--n_free] : out->n_slots++;
            if (p->last[id] == i)
                freed[n_free++] = out->slot[id];
        }
        if (s->kind == TP_STEP_FILL)
            free_slots(p, i, freed, &n_free);
    }
}

/* Of what is linear, each operand has a share or a summand, and steps for it; others are filled, sums of many parts by
 * several steps. */
static bool take_room(planner *p, ad_error *error)
{
    size_t filled = 1, linear = 0, operands = TP_MAX_POWERS;
    for (int id = 0; id < p->n; id++) {
        const tp_quantity *q = quantity(p, id);
        if (!p->needed[id])
            continue;
        linear += p->term[id] >= 0;
        filled += p->term[id] >= 0 ? 0 : q->kind == TP_Q_SUM ? 1 + (size_t)q->n / 2 : 1;
        for (int k = 0; p->term[id] >= 0 && tp_pair_operand(q, k) >= 0; k++)
            operands++;
    }
    size_t waiting = 2 * (linear + operands);
    p->out->steps = ad_reserve(filled + linear + waiting, sizeof *p->out->steps, "a schedule", error);
    p->waiting = ad_reserve(waiting, sizeof *p->waiting, "a schedule", error);
    p->shares = ad_reserve(operands, sizeof *p->shares, "a schedule", error);
    p->entries = ad_reserve(linear + operands, sizeof *p->entries, "a schedule", error);
    return p->out->steps && p->waiting && p->shares && p->entries;
}

int tp_schedule_new(tp_schedule *schedule, const tp_algebra *algebra, const tp_series *series, const bool *needed,
                    const int *partner, ad_error *error)
{
    size_t n = (size_t)algebra->quantities.n;
    *schedule = (tp_schedule){ 0 };
    planner p = {
        .algebra = algebra, .series = series, .needed = needed, .partner = partner, .out = schedule, .n = (int)n
    };
    int *numbers = ad_alloc(11 * n, sizeof *numbers, "a schedule", error);
    schedule->slot = ad_alloc(2 * n, sizeof *schedule->slot, "a schedule", error);
    schedule->group = p.group = ad_alloc(n, sizeof *schedule->group, "a schedule", error);
    bool there = numbers && schedule->slot && schedule->group;
    if (there) {
        int **const arrays[] = { &p.term, &p.depth, &p.readers, &p.first_share, &p.stack, &p.seen, &p.key };
        for (size_t k = 0; k < sizeof arrays / sizeof *arrays; k++)
            *arrays[k] = numbers + k * n;
        p.last = numbers + 7 * n; /* (2 n) */
        for (size_t id = 0; id < n; id++)
            schedule->slot[id] = p.first_share[id] = -1;
        for (int k = 0; k < TP_MAX_POWERS; k++)
            p.open[k] = -1;
        find_groups(&p);
        find_linear(&p);
    }
    if (there && (there = take_room(&p, error))) {
        gather_entries(&p);
        emit_entries(&p);
        remove_joined(schedule);
        assign_slots(&p, numbers + 9 * n);
    }
    ad_free(numbers);
    ad_free(p.shares);
    ad_free(p.entries);
    ad_free(p.waiting);
    if (there)
        return 0;
    tp_schedule_free(schedule);
    return ad_fail(error, "out of memory for the order of %zu quantities", n);
}

void tp_schedule_free(tp_schedule *schedule)
{
    ad_free(schedule->steps);
    ad_free(schedule->slot);
    ad_free(schedule->group);
    *schedule = (tp_schedule){ 0 };
}
