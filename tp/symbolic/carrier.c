/* carrier.c: coordinates that are surely uncorrelated, by what they are made of.
 *
 * A gradient of a random readout carries its weights: delta = v f, then W^T delta f', and so on. Where every term has
 * one such vector as a linear factor, its carrier, and all other factors are of other matrices or other sides, E delta
 * delta' is 0 unless the carriers are products of the same matrices with the same weights, in the same order: that is
 * their class. So of a recurrent network that is read at its end only uses at the same time meet. */
#include "tp/symbolic/symbolic.h"

#include <math.h>
#include <string.h>

/* What G-vars of different hashes have in common is nothing: not their parameter and its side. */
static uint64_t kind_of(const tp_gvar *g)
{
    unsigned side = g->argument == TP_OF_VECTOR ? (unsigned)g->position + 2 : 0;
    unsigned hash = (unsigned)g->param * 0x9e3779b1u + side * 0x85ebca6bu;
    return (uint64_t)1 << (hash >> 26);
}

static uint64_t kinds_of(const tp_algebra *algebra, int lin)
{
    const tp_lin *l = tp_lin_at(algebra, lin);
    const tp_coordinate *nested = tp_nested(algebra, lin);
    uint64_t all = 0;
    for (int i = 0; nested && i < nested->n; i++)
        for (int m = 0; m < nested->terms[i].n; m++)
            all |= kinds_of(algebra, nested->terms[i].factors[m].lin);
    for (int k = 0; k < l->n && !nested; k++)
        all |= kind_of(tp_gvar_at(algebra, l->parts[k].gvar));
    return all;
}

/* The carrier that a factor is; class 0 if it is none. -1 with an error. */
static int factor_carrier(tp_algebra *algebra, tp_factor f, tp_carrier *out)
{
    struct {
        int param, position, below, argument;
        tp_point where;
    } key;
    const tp_lin *lin = tp_lin_at(algebra, f.lin);
    memset(out, 0, sizeof *out);
    if (f.fn != algebra->variable || lin->n != 1 || tp_nested(algebra, f.lin))
        return 0;
    const tp_gvar *g = tp_gvar_at(algebra, lin->parts[0].gvar);
    if (g->argument == TP_OF_DATA || (g->argument == TP_OF_VECTOR && tp_carrier_of(algebra, g->node, out)))
        return g->argument == TP_OF_DATA ? 0 : -1;
    if (g->argument == TP_OF_VECTOR && !out->class)
        return 0;
    memset(&key, 0, sizeof key); /* padding takes part in the comparison */
    key.param = g->param;
    key.position = g->position;
    key.below = out->class;
    key.argument = (int)g->argument;
    key.where = g->where;
    int id = tp_intern(&algebra->carriers, &key, sizeof key);
    out->class = id + 1;
    out->carriers |= kind_of(g);
    return id < 0 ? tp_lacks_memory(algebra) : 0;
}

/* The one carrier of a term, and what it is multiplied with. */
static int term_carrier(tp_algebra *algebra, const tp_term *term, tp_carrier *out)
{
    int found = -1;
    memset(out, 0, sizeof *out);
    for (int m = 0; m < term->n; m++) {
        tp_carrier one;
        if (factor_carrier(algebra, term->factors[m], &one))
            return -1;
        if (one.class && found >= 0) { /* of two, neither is told from the others */
            out->class = 0;
            return 0;
        }
        if (one.class) {
            found = m;
            *out = one;
        }
    }
    for (int m = 0; m < term->n; m++)
        if (m != found)
            out->others |= kinds_of(algebra, term->factors[m].lin);
    return 0;
}

typedef struct {
    int kind, coordinate;
} carrier_key;

static int solve_carrier(tp_algebra *algebra, const void *key)
{
    carrier_key of;
    int node;
    tp_carrier all;
    memcpy(&of, key, sizeof of);
    memset(&all, 0, sizeof all);
    const tp_coordinate *x = tp_coordinate_at(algebra, of.coordinate);
    bool whole = x->n > 0 && isinf(tp_coordinate_rest(algebra, x, &node));
    for (int i = 0; i < x->n && whole; i++) {
        tp_carrier one;
        if (term_carrier(algebra, &x->terms[i], &one))
            return -1;
        whole = one.class && (i == 0 || one.class == all.class);
        all.class = one.class;
        all.carriers |= one.carriers;
        all.others |= one.others;
    }
    if (!whole || (all.carriers & all.others))
        memset(&all, 0, sizeof all);
    int id = tp_intern(&algebra->carriers, &all, sizeof all);
    return id < 0 ? tp_lacks_memory(algebra) : id;
}

int tp_carrier_of(tp_algebra *algebra, int coordinate, tp_carrier *carrier)
{
    carrier_key key = { -4, coordinate };
    int id = tp_memo_solve(algebra, &key, sizeof key, solve_carrier);
    if (id >= 0)
        memcpy(carrier, tp_table_at(&algebra->carriers, id), sizeof *carrier);
    return id < 0 ? -1 : 0;
}
