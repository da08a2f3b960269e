/* weigh.c: vectors that are weighed: x w, where w is
 *   a scalar   a number of each sample at each point, made of second moments of vectors over the width, as the factor
 *              of layer normalisation is; its own part in a tangent kernel vanishes, as the width grows
 *   a gain     a parameter that starts as a number for all coordinates; it is no part of the tangent kernel here, where
 *              that is no product if a function follows: E f'(g z) z f'(g z') z'
 *   a mask     of dropout: E m m' = 1 of two samples, or two points; of one and the same 1 / keep. Two vectors with one
 *              mask meet as such: what is a sum of vectors is taken apart before. */
#include "tp/positions/inside.h"

#include "autodiff/base/base.h"
#include "autodiff/trace/trace.h"

#include <string.h>

/* ---- scalars ---- */
static int scalar_field(tp_field_plan *p, int id);

static size_t points_of(const tp_field_plan *p, int id)
{
    ad_shape axes = tp_fixed_axes(p->graph, id, NULL);
    return tp_count_points(p->graph, &axes);
}

/* The sum over the width, and fixed axes perhaps, of x y: n times E x y. */
static int moment_field(tp_field_plan *p, int id)
{
    int x, y, sum = TP_NO_FIELD;
    ad_shape along;
    double ratio;
    if (!tp_moment_of(p, id, &x, &y, &along, &ratio))
        return TP_NO_RULE_HERE;
    size_t n = points_of(p, id);
    const int32_t *all = tp_identity(p, n);
    if (!all)
        return tp_no_room(p);
    int of = p->ask(p, TP_COVARIANCE, x, y, &along, &(tp_point_pairs){ n, all, all });
    int status = tp_add_to(p, &sum, of, ratio, 1, &(tp_point_map){ n, 1, all });
    return status ? status : sum;
}

/* (c x)^exponent of numbers above 0. */
static int power_field(tp_field_plan *p, int id, double exponent)
{
    int in = tp_materialize(p, scalar_field(p, ad_node_of(p->graph, id)->in[0]));
    if (in < 0 || fabs(p->fields[in].power) > 1e-9 || !(p->fields[in].c > 0))
        return in == TP_NO_ROOM ? in : TP_NO_RULE_HERE;
    const tp_field of = p->fields[in];
    tp_field_step step = {
        .kind = TP_APPLY, .in = of.array, .c = of.c, .exponent = exponent, .out = tp_new_array(p, of.n)
    };
    if (step.out < 0 || tp_add_step(p, &step))
        return TP_NO_ROOM;
    return tp_new_field(p, step.out, of.n, 1, 0);
}

/* A number of single samples at all points of a node, made of what is not below 0: so no digits are lost. */
static int scalar_field(tp_field_plan *p, int id)
{
    const ad_node *node = ad_node_of(p->graph, id);
    double power, c = tp_factor_of(p, id, &power);
    int sum = TP_NO_FIELD;
    if (p->program->data[id] || p->program->params[id] >= 0 || p->program->widths[id] > 0 || !(c > 0))
        return TP_NO_RULE_HERE;
    if (tp_sums_width(p, id))
        return moment_field(p, id);
    switch (node->op) {
    case AD_CONSTANT:
        return node->c >= 0 ? tp_filled(p, points_of(p, id), node->c) : TP_NO_RULE_HERE;
    case AD_RSQRT:
        return power_field(p, id, -0.5);
    case AD_SQRT:
        return power_field(p, id, 0.5);
    case AD_POWER:
        return power_field(p, id, node->c);
    default:
        break;
    }
    if (!tp_number_is_linear(p, id))
        return TP_NO_RULE_HERE;
    for (int k = 0; k < node->n_in; k++) {
        const tp_point_map *map = tp_map_operand(p, id, k);
        if (!map)
            return p->error->text[0] ? TP_NO_ROOM : TP_NO_RULE_HERE;
        int of = scalar_field(p, node->in[k]), status = of < TP_NO_FIELD ? of : tp_add_to(p, &sum, of, c, power, map);
        if (status)
            return status;
    }
    return sum;
}

/* The number of a scalar among the weights. */
static int find_weight(tp_field_plan *p, int node)
{
    tp_field_plan *owner = p->single ? p->single : p;
    for (int k = 0; k < owner->n_weights; k++)
        if (owner->weights[k].node == node)
            return k;
    int field = tp_materialize(owner, scalar_field(owner, node));
    if (field < 0 || fabs(owner->fields[field].power) > 1e-9)
        return field == TP_NO_ROOM ? field : TP_NO_RULE_HERE;
    if (!ad_arena_grow(owner->arena, (void **)&owner->weights, owner->n_weights, &owner->weights_capacity,
                       sizeof *owner->weights))
        return tp_no_room(p);
    owner->weights[owner->n_weights] =
        (tp_field_weight){ .node = node, .field = field, .points = owner->fields[field].n };
    return owner->n_weights++;
}

/* ---- fields ---- */
/* A field times the scalars of either side, -1: none. */
static int weigh(tp_field_plan *p, int field, int a, int scalar_a, int b, int scalar_b, const tp_point_pairs *pairs)
{
    int nodes[2] = { a, b }, scalars[2] = { scalar_a, scalar_b }, numbers[2] = { -1, -1 };
    const int32_t *points[2] = { pairs->first, pairs->second };
    field = tp_materialize(p, field);
    if (field < 0)
        return field;
    const tp_field of = p->fields[field];
    for (int side = 0; side < 2; side++) {
        if (scalars[side] < 0)
            continue;
        if ((numbers[side] = find_weight(p, scalars[side])) < 0)
            return numbers[side];
        ad_shape from = tp_fixed_axes(p->graph, nodes[side], NULL), to = tp_fixed_axes(p->graph, scalars[side], NULL);
        int32_t *list = ad_alloc(pairs->n + 1, sizeof *list, "a network's positions", p->error);
        for (size_t i = 0; i < pairs->n && list; i++)
            list[i] = tp_move_point(p->graph, &from, points[side][i], &to);
        points[side] = list ? tp_keep(p, list, pairs->n) : NULL;
        ad_free(list);
        if (!points[side])
            return tp_no_room(p);
    }
    tp_field_step step = { .kind = TP_WEIGH,
                           .in = of.array,
                           .out = tp_new_array(p, of.n),
                           .tangent = -1,
                           .tangent_out = -1,
                           .c = of.c,
                           .weight = numbers[0],
                           .weight2 = numbers[1],
                           .pairs = { pairs->n, points[0], points[1] } };
    if (step.out < 0 || tp_add_step(p, &step))
        return TP_NO_ROOM;
    return tp_new_field(p, step.out, of.n, 1, of.power);
}

/* The field of x and x' as that of both with one mask: at one and the same point of one sample 1 / keep as large. */
static int mask_field(tp_field_plan *p, int field, double keep, const tp_point_pairs *pairs)
{
    int sum = TP_NO_FIELD;
    const int32_t *all = tp_identity(p, pairs->n);
    int32_t *same = ad_alloc(pairs->n + 1, sizeof *same, "a network's positions", p->error);
    for (size_t i = 0; i < pairs->n && same; i++)
        same[i] = pairs->first[i] == pairs->second[i] ? (int32_t)i : -1;
    const int32_t *kept = same ? tp_keep(p, same, pairs->n) : NULL;
    ad_free(same);
    if (!all || !kept)
        return tp_no_room(p);
    int status = tp_add_to(p, &sum, field, 1, 0, &(tp_point_map){ pairs->n, 1, all });
    if (!status)
        status = tp_add_to(p, &sum, field, 1 / keep - 1, 0, &(tp_point_map){ pairs->n, 1, kept });
    return status ? status : sum;
}

/* Of two sides that are weighed by what is no mask, one after the other. */
static int factors_field(tp_field_plan *p, int kind, int a, int b, const tp_point_pairs *pairs)
{
    int x[2] = { a, b }, scalars[2] = { -1, -1 }, nodes[2] = { a, b };
    double g = 1;
    for (int side = 0; side < 2; side++) {
        int inside, w;
        tp_weighing by = tp_weighing_of(p, nodes[side], &inside, &w);
        if (by != TP_BY_SCALAR && by != TP_BY_GAIN)
            continue;
        int param = by == TP_BY_GAIN ? p->program->params[w] : -1;
        ad_shape own = tp_fixed_axes(p->graph, nodes[side], NULL), within = tp_fixed_axes(p->graph, inside, NULL);
        if (!ad_shape_equal(&own, &within) || (param >= 0 && kind == TP_TANGENT && p->learns[param]))
            return TP_NO_RULE_HERE;
        x[side] = inside;
        scalars[side] = param < 0 ? w : -1;
        g *= param < 0 ? 1 : ad_node_of(p->graph, param)->init->mean;
    }
    ad_shape none = { 0 };
    int sum = TP_NO_FIELD, of = p->ask(p, kind, x[0], x[1], &none, pairs);
    if (of >= 0 && (scalars[0] >= 0 || scalars[1] >= 0))
        of = weigh(p, of, a, scalars[0], b, scalars[1], pairs);
    if (of < 0 || !(fabs(g - 1) > 0))
        return of;
    const tp_point_map map = { pairs->n, 1, tp_identity(p, pairs->n) };
    int status = map.to ? tp_add_to(p, &sum, of, g, 0, &map) : tp_no_room(p);
    return status ? status : sum;
}

int tp_weighed_field(tp_field_plan *p, int kind, int a, int b, const tp_point_pairs *pairs)
{
    int x[2], mask[2];
    ad_shape none = { 0 };
    tp_weighing by[2] = { tp_weighing_of(p, a, &x[0], &mask[0]), tp_weighing_of(p, b, &x[1], &mask[1]) };
    bool factors = false;
    for (int side = 0; side < 2; side++)
        factors = factors || by[side] == TP_BY_SCALAR || by[side] == TP_BY_GAIN;
    if (factors)
        return factors_field(p, kind, a, b, pairs);
    if (by[0] != TP_BY_MASK || by[1] != TP_BY_MASK || mask[0] != mask[1]) { /* E m is 1 */
        bool second = by[0] != TP_BY_MASK || (by[1] == TP_BY_MASK && tp_shows(p, b, mask[0]));
        if (tp_shows(p, second ? a : b, mask[second]))
            return TP_NO_RULE_HERE;
        x[!second] = second ? a : b;
        mask[!second] = -1;
    }
    for (int side = 0; side < 2; side++) {
        ad_shape own = tp_fixed_axes(p->graph, side ? b : a, NULL), inside = tp_fixed_axes(p->graph, x[side], NULL);
        if (!ad_shape_equal(&own, &inside))
            return TP_NO_RULE_HERE;
    }
    int of = p->ask(p, kind, x[0], x[1], &none, pairs);
    bool one = mask[0] == mask[1] && !p->single;
    return of < 0 || !one ? of : mask_field(p, of, p->program->keeps[mask[0]], pairs);
}
