/* strips.c: the law of what vanishes outside a strip. Of a vector g whose coordinates are of size s > 1, a share 1 / s
 * is within a fixed distance of 0, and a function as tanh'(g), which vanishes elsewhere, is of order one there: for
 * A its size there, E |f| = A / s and (E f^2)^(1/2) = A s^(-1/2). What is multiplied with another function of the same
 * strip is large where that is large, E (f h)^2 = (A B)^2 / s and not (A B)^2 / s^2: an update of a unit's weights is
 * made of tanh'(g), and moves the units for which tanh'(g) is not 0. So a product's size is known by A and by the set
 * of strips that it is within, and not by root mean squares alone:
 *
 *     log (E y^2)^(1/2) = log A - 1/2 sum over strips of log s,     log E |y| = log A - sum over strips of log s.
 *
 * The share is taken as (E y^2)^2 / E y^4 of the derivative y, with which the product of two of the same strip is exact
 * at every s. Positively homogeneous functions have no strip: f'(s u) = f'(u). */
#include "tp/regime/exponents.h"

#include <math.h>
#include <string.h>

enum { BITS = 64 };

int tp_strips_make(tp_exponents *e, ad_arena *arena, ad_error *error)
{
    const tp_program *p = e->program;
    int count = 0;
    size_t n = (size_t)p->n_nodes + 1;
    e->of_strip = ad_arena_alloc(arena, n, sizeof *e->of_strip);
    if (!e->of_strip || !(e->strip = ad_arena_alloc(arena, n, sizeof *e->strip)))
        return ad_fail(error, "regime: out of memory");
    for (int id = 0; id < p->n_nodes; id++)
        e->strip[id] = -1;
    for (int id = 0; id < p->n_nodes; id++) {
        const tp_curve *c = p->lives[id] ? e->curves.curve[id] : NULL;
        if (!c || p->widths[id] != 1 || !(c->narrow || c->narrow_slope))
            continue;
        int *strip = &e->strip[tp_curve_argument(p, &e->curves, id)];
        if (*strip >= 0)
            continue;
        e->of_strip[count] = c;
        *strip = count++;
    }
    e->n_strips = (size_t)count;
    e->words = e->n_strips / BITS + 1;
    tp_strips **sets[] = { &e->narrow, &e->moved, &e->rows[0], &e->rows[1], &e->numbered->moved };
    for (size_t k = 0; k < sizeof sets / sizeof *sets; k++)
        if (!(*sets[k] = ad_arena_alloc(arena, n * e->words, sizeof **sets[k])))
            return ad_fail(error, "regime: out of memory");
    e->rarity = ad_arena_alloc(arena, (size_t)count + 1, sizeof *e->rarity);
    e->work = ad_arena_alloc(arena, 2 * e->words, sizeof *e->work);
    return e->work && e->rarity ? 0 : ad_fail(error, "regime: out of memory");
}

tp_strips *tp_strips_of(const tp_exponents *e, tp_strips *sets, int node)
{
    return sets + (size_t)node * e->words;
}

void tp_strips_none(const tp_exponents *e, tp_strips *to)
{
    memset(to, 0, e->words * sizeof *to);
}

void tp_strips_join(const tp_exponents *e, tp_strips *to, const tp_strips *from)
{
    for (size_t i = 0; i < e->words; i++)
        to[i] |= from[i];
}

void tp_strips_meet(const tp_exponents *e, tp_strips *to, const tp_strips *from)
{
    for (size_t i = 0; i < e->words; i++)
        to[i] &= from[i];
}

bool tp_strips_any(const tp_exponents *e, const tp_strips *set)
{
    for (size_t i = 0; i < e->words; i++)
        if (set[i])
            return true;
    return false;
}

void tp_strips_add(tp_strips *to, int strip)
{
    if (strip >= 0)
        to[strip / BITS] |= (uint64_t)1 << strip % BITS;
}

double tp_strips_rarity(const tp_exponents *e, const tp_strips *set)
{
    double sum = 0;
    for (size_t i = 0; i < e->words; i++)
        for (uint64_t left = set[i], k = 0; left; left >>= 1, k++)
            if (left & 1)
                sum += e->rarity[i * BITS + k];
    return sum;
}

void tp_strips_measure(const tp_exponents *e, int node)
{
    int strip = e->strip[node];
    if (strip >= 0)
        e->rarity[strip] = tp_curve_rarity(e->of_strip[strip], e->start[node]);
}
