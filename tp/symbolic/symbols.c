/* algebra.c: what coordinates are made in: the tables of interned things, the memo, and points of fixed axes. */
#include "tp/symbolic/polynomial.h"
#include "tp/symbolic/quantity.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

/* ---- the memo ---- */
int *tp_memo(tp_algebra *algebra, const void *key, size_t size)
{
    int before = algebra->keys.n, id = tp_intern(&algebra->keys, key, size);
    if (id < 0)
        return NULL;
    if (id >= algebra->memo_room) {
        int room = algebra->memo_room ? 2 * algebra->memo_room : 256;
        int *larger = ad_alloc((size_t)room, sizeof *larger, "a memo", algebra->error);
        if (!larger)
            return NULL;
        if (algebra->memo)
            memcpy(larger, algebra->memo, (size_t)algebra->memo_room * sizeof *larger);
        ad_free(algebra->memo);
        algebra->memo = larger;
        algebra->memo_room = room;
    }
    if (id >= before)
        algebra->memo[id] = -1;
    return &algebra->memo[id];
}

/* ---- the algebra ---- */
int tp_fn_intern(tp_algebra *algebra, tp_fn fn)
{
    tp_fn clean;
    memset(&clean, 0, sizeof clean); /* padding takes part in the comparison */
    clean.op = fn.op;
    clean.order = fn.order;
    clean.p = fn.p;
    clean.a = fn.a;
    clean.b = fn.b;
    clean.function = fn.function;
    return tp_intern(&algebra->fns, &clean, sizeof clean);
}

/* Data is run as it is, at no width: it must know nothing of n. */
static bool knows_width(const ad_graph *graph, const ad_node *n)
{
    if (n->op == AD_SCALE)
        return n->axis.id && fabs(n->power) > 0 && ad_axis_kind(graph, n->axis) == AD_WIDTH;
    return (n->op == AD_SUM || n->op == AD_CONTRACT) && tp_count_widths(graph, &n->over) > 0;
}

/* Every node once: those it is made of stand before it. */
static void find_data(const tp_algebra *algebra, unsigned char *is)
{
    enum { OF_INPUT = 1, OF_WIDTH = 2 };
    for (int id = 0; id < algebra->program->n_nodes; id++) {
        const ad_node *n = ad_node_of(algebra->graph, id);
        is[id] = n->op == AD_INPUT ? OF_INPUT : 0;
        for (int k = 0; k < n->n_in; k++)
            is[id] |= is[n->in[k]];
        if (knows_width(algebra->graph, n))
            is[id] |= OF_WIDTH;
    }
    for (int id = 0; id < algebra->program->n_nodes; id++)
        is[id] = is[id] == OF_INPUT && !algebra->program->learns[id];
}

int tp_algebra_new(tp_algebra *algebra, const tp_program *program, ad_error *error)
{
    *algebra = (tp_algebra){ .program = program, .graph = program->graph, .error = error };
    algebra->arena = ad_arena_new(error);
    if (!algebra->arena)
        return -1;
    tp_table *tables[] = { &algebra->fns,        &algebra->gvars,  &algebra->lins, &algebra->coordinates,
                           &algebra->quantities, &algebra->series, &algebra->keys, &algebra->points };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (tp_table_new(tables[i], algebra->arena, error))
            return -1;
    unsigned char *data = ad_arena_alloc(algebra->arena, (size_t)program->n_nodes, 1);
    algebra->is_data = data;
    if (data)
        find_data(algebra, data);
    algebra->variable = tp_fn_intern(algebra, (tp_fn){ .op = TP_VARIABLE });
    if (!data || algebra->variable < 0)
        return ad_fail(error, "out of memory while solving the program");
    return tp_quantities_begin(algebra) == TP_Q_ONE ? 0 : -1;
}

void tp_algebra_free(tp_algebra *algebra)
{
    tp_table *tables[] = { &algebra->fns,        &algebra->gvars,  &algebra->lins, &algebra->coordinates,
                           &algebra->quantities, &algebra->series, &algebra->keys, &algebra->points };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        tp_table_free(tables[i]);
    ad_free(algebra->memo);
    ad_arena_free(algebra->arena);
}

const tp_fn *tp_fn_at(const tp_algebra *algebra, int fn)
{
    return tp_table_at(&algebra->fns, fn);
}

const tp_gvar *tp_gvar_at(const tp_algebra *algebra, int gvar)
{
    return tp_table_at(&algebra->gvars, gvar);
}

const tp_lin *tp_lin_at(const tp_algebra *algebra, int lin)
{
    return tp_table_at(&algebra->lins, lin);
}

const tp_coordinate *tp_coordinate_at(const tp_algebra *algebra, int coordinate)
{
    return tp_table_at(&algebra->coordinates, coordinate);
}

int tp_refuse(const tp_algebra *algebra, int node, const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const ad_node *n = ad_node_of(algebra->graph, node);
    return ad_fail(algebra->error, "%s:%d: %s: %s", n->where.file, n->where.line, ad_op_name(n->op), text);
}

int tp_lacks_memory(const tp_algebra *algebra)
{
    return ad_fail(algebra->error, "out of memory while solving the program");
}

/* ---- points ---- */
int tp_point_number(tp_algebra *algebra, const tp_point *point)
{
    return tp_intern(&algebra->points, point, offsetof(tp_point, at) + (size_t)point->n * sizeof *point->at);
}

const tp_point *tp_point_at(const tp_algebra *algebra, int number)
{
    return tp_table_at(&algebra->points, number);
}

int tp_point_index(const tp_point *point, ad_axis axis)
{
    for (int i = 0; i < point->n; i++)
        if (ad_same(point->at[i].axis, axis))
            return point->at[i].index;
    return -1;
}

void tp_point_set(tp_point *point, ad_axis axis, int index)
{
    for (int i = 0; i < point->n; i++)
        if (ad_same(point->at[i].axis, axis)) {
            point->at[i].index = index;
            return;
        }
    if (point->n < AD_MAX_RANK) {
        point->at[point->n].axis = axis;
        point->at[point->n++].index = index;
    }
}

tp_point tp_point_of(const tp_algebra *algebra, int node, const ad_shape *without)
{
    tp_point point;
    memset(&point, 0, sizeof point);
    const ad_shape *shape = &ad_node_of(algebra->graph, node)->shape;
    for (int i = 0; i < shape->rank; i++)
        if (ad_axis_kind(algebra->graph, shape->axes[i]) == AD_FIXED && !(without && ad_has(without, shape->axes[i])))
            tp_point_set(&point, shape->axes[i], 0);
    return point;
}

/* The fixed axes of a node at the indices that `from` gives, in the node's order; others (summed ones) are left out. */
tp_point tp_point_within(const tp_algebra *algebra, int node, const tp_point *from)
{
    tp_point point;
    memset(&point, 0, sizeof point);
    const ad_shape *shape = &ad_node_of(algebra->graph, node)->shape;
    for (int i = 0; i < shape->rank; i++) {
        int index = tp_point_index(from, shape->axes[i]);
        if (index >= 0)
            tp_point_set(&point, shape->axes[i], index);
    }
    return point;
}

double tp_axis_factor(const tp_algebra *algebra, ad_axis axis, double *power)
{
    *power = 0;
    if (axis.id == 0)
        return 1;
    if (ad_axis_kind(algebra->graph, axis) == AD_FIXED)
        return (double)ad_axis_fixed(algebra->graph, axis);
    *power = 1;
    return ad_axis_ratio(algebra->graph, axis);
}

bool tp_is_data(const tp_algebra *algebra, int node)
{
    return algebra->is_data[node];
}

int tp_without_scale(const tp_algebra *algebra, int node, double *c, double *power)
{
    int inside = node;
    double factor = 1, exponent = 0;
    while (!tp_is_data(algebra, inside) && ad_node_of(algebra->graph, inside)->op == AD_SCALE) {
        const ad_node *n = ad_node_of(algebra->graph, inside);
        double p, size = tp_axis_factor(algebra, n->axis, &p);
        factor *= n->c * pow(size, n->power);
        exponent += p * n->power;
        inside = n->in[0];
    }
    if (!tp_is_data(algebra, inside))
        return node;
    *c *= factor;
    *power += exponent;
    return inside;
}
