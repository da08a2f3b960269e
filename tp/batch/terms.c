/* terms.c: sums of G-vars over a batch, and families as lists of terms. */
#include "tp/batch/terms.h"

#include "autodiff/base/base.h"

#include <math.h>
#include <string.h>

/* ---- sums of G-vars ---- */
bool tp_gvar_is_fixed(const tp_families *f, int gvar)
{
    return f->fixed[gvar];
}

static bool same_for_all_samples(const tp_families *f, const tp_family_term *t)
{
    return t->mean || t->kind == TP_TERM_ONE || (t->kind == TP_TERM_GVAR && tp_gvar_is_fixed(f, t->of)) ||
           (t->kind == TP_TERM_FUNCTION && tp_base_at(f, t->of)->kind == TP_BASE_RADIUS);
}

/* Of a G-var that is not known yet; what it is made of is. */
static bool is_fixed(const tp_families *f, const tp_gvar *g)
{
    if (g->argument == TP_OF_INDEX)
        return true;
    if (g->argument == TP_OF_DATA)
        return !ad_has(&ad_node_of(f->algebra.graph, g->node)->shape, nn_batch(f->algebra.program->net));
    const tp_family *y = tp_family_at(f, g->node);
    for (int i = 0; i < y->n; i++)
        if (!same_for_all_samples(f, &y->terms[i]))
            return false;
    return true;
}

int tp_family_gvar(tp_families *f, const tp_gvar *gvar)
{
    int before = f->algebra.gvars.n, id = tp_intern(&f->algebra.gvars, gvar, sizeof *gvar);
    void *fixed = f->fixed;
    if (id >= 0 && id < before)
        return id;
    bool room = id >= 0 && ad_arena_grow(f->algebra.arena, &fixed, before, &f->fixed_capacity, sizeof *f->fixed);
    if (!room)
        return tp_family_no_memory(f);
    f->fixed = fixed;
    f->fixed[id] = is_fixed(f, gvar);
    return id;
}

bool tp_lin_add(tp_lin_builder *b, int gvar, double own, double mean)
{
    int i = 0;
    while (i < b->n && b->parts[i].gvar != gvar)
        i++;
    if (i == TP_MAX_PARTS)
        return false;
    if (i == b->n)
        b->parts[b->n++] = (tp_batch_part){ 0, 0, gvar, 0 };
    b->parts[i].own += own;
    b->parts[i].mean += mean;
    return true;
}

int tp_lin_finish(tp_families *f, tp_lin_builder *b)
{
    _Alignas(tp_batch_lin) unsigned char bytes[sizeof(tp_batch_lin) + TP_MAX_PARTS * sizeof(tp_batch_part)];
    int kept = 0;
    for (int i = 0; i < b->n; i++)
        if (fabs(b->parts[i].own) > TP_TINY || fabs(b->parts[i].mean) > TP_TINY)
            b->parts[kept++] = b->parts[i];
    for (int i = 1; i < kept; i++) /* by number */
        for (int k = i; k > 0 && b->parts[k].gvar < b->parts[k - 1].gvar; k--) {
            tp_batch_part part = b->parts[k];
            b->parts[k] = b->parts[k - 1];
            b->parts[k - 1] = part;
        }
    tp_batch_lin head = { kept, 0 };
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + offsetof(tp_batch_lin, parts), b->parts, (size_t)kept * sizeof *b->parts);
    int id = tp_intern(&f->lins, bytes, offsetof(tp_batch_lin, parts) + (size_t)kept * sizeof *b->parts);
    return id < 0 ? tp_family_no_memory(f) : id;
}

int tp_batch_lin_of(tp_families *f, int gvar)
{
    tp_lin_builder b = { .n = 0 };
    bool fixed = tp_gvar_is_fixed(f, gvar);
    tp_lin_add(&b, gvar, !fixed, fixed);
    return tp_lin_finish(f, &b);
}

bool tp_lin_proportional(const tp_batch_lin *a, const tp_batch_lin *b, double *c)
{
    if (a->n != b->n || a->n == 0)
        return false;
    *c = fabs(b->parts[0].own) > TP_TINY ? a->parts[0].own / b->parts[0].own : a->parts[0].mean / b->parts[0].mean;
    for (int i = 0; i < a->n; i++)
        if (a->parts[i].gvar != b->parts[i].gvar || fabs(a->parts[i].own - *c * b->parts[i].own) > TP_TINY * fabs(*c) ||
            fabs(a->parts[i].mean - *c * b->parts[i].mean) > TP_TINY * fabs(*c))
            return false;
    return true;
}

int tp_base_make(tp_families *f, tp_base_kind kind, int lin, double epsilon, double power)
{
    tp_base base = { (int)kind, lin, epsilon, power };
    int id = lin < 0 ? -1 : tp_intern(&f->bases, &base, sizeof base);
    return id < 0 ? tp_family_no_memory(f) : id;
}

/* ---- families ---- */
void tp_family_push(tp_family_builder *b, tp_family_term t)
{
    if (!(fabs(t.c) > 0) || b->full)
        return;
    t.mean = t.mean && !same_for_all_samples(b->f, &(tp_family_term){ .kind = t.kind, .of = t.of });
    for (int i = 0; i < b->n; i++) {
        tp_family_term *old = &b->terms[i];
        if (old->kind == t.kind && old->of == t.of && old->fn == t.fn && old->mean == t.mean &&
            old->learned == t.learned && fabs(old->power - t.power) < TP_TINY && fabs(old->batch - t.batch) < TP_TINY) {
            double c = old->c + t.c;
            old->c = fabs(c) <= TP_TINY * fabs(t.c) ? 0 : c;
            if (!(fabs(old->c) > 0))
                *old = b->terms[--b->n];
            return;
        }
    }
    void *terms = b->terms;
    b->full = !ad_arena_grow(b->f->algebra.arena, &terms, b->n, &b->capacity, sizeof t);
    b->terms = terms;
    if (!b->full)
        b->terms[b->n++] = t;
}

/* A function of what a batch normalises that has no closed form: of several such, one may be made. */
static bool joins(const tp_families *f, const tp_family_term *t)
{
    return t->kind == TP_TERM_FUNCTION && !t->mean && tp_base_at(f, t->of)->kind == TP_BASE_NORMAL &&
           isnan(tp_fn_degree(&f->algebra, t->fn));
}

static bool join_alike(const tp_family_term *a, const tp_family_term *b)
{
    return a->of == b->of && a->learned == b->learned && fabs(a->power - b->power) < TP_TINY &&
           fabs(a->batch - b->batch) < TP_TINY;
}

/* Many functions of one vector become their sum: nested ones would make pairs of all of them. */
static bool join_functions(tp_family_builder *b)
{
    enum { FEW = 3 };
    for (int i = 0; i < b->n; i++) {
        int count = 0, kept = 0, sum = -1;
        for (int k = i; k < b->n && joins(b->f, &b->terms[i]); k++)
            count += joins(b->f, &b->terms[k]) && join_alike(&b->terms[i], &b->terms[k]);
        if (count < FEW)
            continue;
        const tp_family_term first = b->terms[i];
        for (int k = 0; k < b->n; k++) {
            const tp_family_term *t = &b->terms[k];
            if (k < i || !joins(b->f, t) || !join_alike(&first, t)) {
                b->terms[kept++] = *t;
                continue;
            }
            int part = tp_fn_scaled(&b->f->algebra, t->c, t->fn);
            sum = part < 0 ? -1 : sum < 0 ? part : tp_fn_plus(&b->f->algebra, sum, part);
            if (sum < 0)
                return false;
        }
        b->n = kept;
        tp_family_term joined = first;
        joined.c = 1;
        joined.fn = sum;
        b->terms[b->n++] = joined;
        i = -1;
    }
    return true;
}

int tp_family_finish(tp_family_builder *b)
{
    if (!b->full && !join_functions(b))
        return -1;
    size_t size = offsetof(tp_family, terms) + (size_t)b->n * sizeof *b->terms;
    tp_family *family = b->full ? NULL : ad_arena_alloc(b->f->algebra.arena, size, 1);
    if (!family)
        return tp_family_no_memory(b->f);
    family->n = b->n;
    if (b->n)
        memcpy(family->terms, b->terms, (size_t)b->n * sizeof *b->terms);
    int id = tp_intern(&b->f->families, family, size);
    return id < 0 ? tp_family_no_memory(b->f) : id;
}

tp_family_term tp_family_one(double c)
{
    return (tp_family_term){ .c = c, .kind = TP_TERM_ONE, .of = -1, .fn = -1, .learned = -1 };
}

void tp_family_push_all(tp_family_builder *b, int x, double c, double power, double batch)
{
    const tp_family *from = tp_family_at(b->f, x);
    for (int i = 0; i < from->n; i++) {
        tp_family_term t = from->terms[i];
        t.c *= c;
        t.power += power;
        t.batch += batch;
        tp_family_push(b, t);
    }
}

int tp_family_push_function(tp_family_builder *b, double c, int base, int fn, int learned)
{
    double number;
    if (base < 0 || fn < 0)
        return -1;
    tp_family_term t = { .c = c, .kind = TP_TERM_FUNCTION, .of = base, .fn = fn, .learned = learned };
    tp_base of = *tp_base_at(b->f, base);
    if (tp_fn_is_number(&b->f->algebra, fn, &number)) {
        t = tp_family_one(c * number);
        t.learned = learned;
    } else if (of.kind == TP_BASE_NORMAL && fabs(tp_fn_degree(&b->f->algebra, fn)) < TP_TINY) {
        t.of = tp_base_make(b->f, TP_BASE_SUM, of.lin, 0, 0);
        if (t.of < 0)
            return -1;
    }
    tp_family_push(b, t);
    return 0;
}

/* ---- a family as one function ---- */
int tp_family_function(tp_families *f, int node, int x, int *base, int *fn)
{
    const tp_family *family = tp_family_at(f, x);
    tp_lin_builder u = { .n = 0 };
    double constant = 0, c;
    *base = -1;
    *fn = tp_fn_number(&f->algebra, 0);
    for (int i = 0; i < family->n; i++) {
        const tp_family_term *t = &family->terms[i];
        if (t->learned >= 0)
            continue;
        if (fabs(t->power) > TP_TINY || fabs(t->batch) > TP_TINY)
            return tp_family_refuse(f, node,
                                    "a function of what grows or vanishes with the width or the batch has no "
                                    "exact rule where samples meet");
        if (t->kind == TP_TERM_ONE) {
            constant += t->c;
        } else if (t->kind == TP_TERM_GVAR) {
            bool fixed = t->mean || tp_gvar_is_fixed(f, t->of);
            if (!tp_lin_add(&u, t->of, fixed ? 0 : t->c, fixed ? t->c : 0))
                return tp_family_refuse(f, node, "a sum of more than 64 products with weights");
        } else {
            if ((*base >= 0 && *base != t->of) || t->mean || tp_base_at(f, t->of)->kind == TP_BASE_RADIUS)
                return tp_family_refuse(f, node,
                                        "a function of several vectors that samples meet in has no exact rule");
            *base = t->of;
            *fn = tp_fn_plus(&f->algebra, *fn, tp_fn_scaled(&f->algebra, t->c, t->fn));
        }
    }
    if (u.n) {
        int lin = tp_lin_finish(f, &u);
        if (lin < 0)
            return -1;
        if (*base >= 0) {
            tp_base of = *tp_base_at(f, *base);
            if (of.kind != TP_BASE_SUM || !tp_lin_proportional(tp_batch_lin_at(f, lin), tp_batch_lin_at(f, of.lin), &c))
                return tp_family_refuse(f, node,
                                        "a function of several vectors that samples meet in has no exact rule");
            *fn = tp_fn_plus(&f->algebra, *fn, tp_fn_scaled(&f->algebra, c, f->algebra.variable));
        } else if (tp_batch_lin_at(f, lin)->n) {
            *base = tp_base_make(f, TP_BASE_SUM, lin, 0, 0);
            *fn = f->algebra.variable;
        }
        if (*base < 0 && tp_batch_lin_at(f, lin)->n)
            return -1;
    }
    *fn = tp_fn_plus(&f->algebra, *fn, tp_fn_number(&f->algebra, constant));
    return *fn < 0 ? -1 : 0;
}
