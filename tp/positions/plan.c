/* plan.c: from a program to arrays over pairs of positions: covariances and tangent kernels of pairs of nodes, each
 * from those of what the nodes are made of.
 *
 * Of vectors a and b at points p and q, in the limit (THEORY sections 2 and 8; Tensor Programs II):
 *   linear in other vectors   bilinear: sums of what these have, at the points that the op takes
 *   W x, W' x'                E 0 and no tangent kernel unless W and W' are one; else sigma^2 sum_k E x_k x'_k over
 *                             the entries of W that both meet, and for the tangent kernel that without sigma^2, which
 *                             is W's own part, plus sigma^2 sum_k of x's and x''s
 *   biases                    sigma^2, and 1
 *   f(u), g(v)                E f(u) g(v), and E f'(u) g'(v) times that of u and v; u and v are Gaussian
 * Sums over entries that both nodes have in common, as over the offsets of a filter, are taken axis by axis, so that a
 * window of k by k entries costs 2 k additions. */
#include "tp/positions/inside.h"

#include "autodiff/base/base.h"

#include <string.h>

enum { MOST_NESTED = 4000 }; /* of nodes that wait for each other */

/* What tp_move_point makes of every point over the axes `from`; the caller's to free. */
static int32_t *move_points(const tp_field_plan *p, const ad_shape *from, const ad_shape *to)
{
    size_t n = tp_count_points(p->graph, from);
    int32_t *moved = ad_alloc(n + 1, sizeof *moved, "a network's positions", p->error);
    for (size_t i = 0; i < n && moved; i++)
        moved[i] = tp_move_point(p->graph, from, (int32_t)i, to);
    return moved;
}

/* ---- sums over entries in common ---- */
/* first[i], second[i]: pair i with the entry e of axes that both have in common. */
static int with_entries(tp_field_plan *p, int kind, int a, int b, const ad_shape *along_a, const ad_shape *along_b,
                        const tp_point_pairs *pairs)
{
    ad_shape full_a = tp_fixed_axes(p->graph, a, NULL), full_b = tp_fixed_axes(p->graph, b, NULL);
    ad_shape of_a = tp_fixed_axes(p->graph, a, along_a), of_b = tp_fixed_axes(p->graph, b, along_b);
    size_t entries = tp_count_points(p->graph, along_a), count = pairs->n * entries;
    ad_shape wide_a = of_a, wide_b = of_b; /* a point, and then an entry */
    for (int i = 0; i < along_a->rank; i++) {
        wide_a.axes[wide_a.rank++] = along_a->axes[i];
        wide_b.axes[wide_b.rank++] = along_b->axes[i];
    }
    if (entries != tp_count_points(p->graph, along_b) || count > INT32_MAX / 2)
        return TP_NO_RULE_HERE;
    int32_t *moved_a = move_points(p, &wide_a, &full_a), *moved_b = move_points(p, &wide_b, &full_b);
    int32_t *list =
        moved_a && moved_b ? ad_alloc(2 * count + 1, sizeof *list, "a network's positions", p->error) : NULL;
    int32_t *to = list ? tp_new_numbers(p, count) : NULL;
    for (size_t i = 0; i < count && to; i++) {
        size_t entry = i % entries;
        list[i] = moved_a[(size_t)pairs->first[i / entries] * entries + entry];
        list[count + i] = moved_b[(size_t)pairs->second[i / entries] * entries + entry];
    }
    ad_free(moved_a);
    ad_free(moved_b);
    tp_point_pairs all;
    int status = !to ? TP_NO_ROOM
                 : tp_gather_pairs(p, list, list + count, count, tp_count_points(p->graph, &full_a),
                                   tp_count_points(p->graph, &full_b), &all, to)
                     ? TP_NO_ROOM
                     : 0;
    ad_free(list);
    const int32_t *kept = tp_keep_once(p, to, count);
    ad_shape none = { 0 };
    int sum = TP_NO_FIELD, of = status || !kept ? TP_NO_ROOM : tp_field_of(p, kind, a, b, &none, &all);
    status = tp_add_to(p, &sum, of, 1, 0, &(tp_point_map){ pairs->n, entries, kept });
    return status ? status : sum;
}

/* Axes that an op hands on as they are, or under another name; false where it has to do with one of them. `opened`: one
 * that ends at this op, being the offset of its windows. */
static bool pass_axes(const ad_node *node, const ad_shape *along, ad_shape *inside, ad_axis *opened)
{
    *inside = (ad_shape){ 0 };
    *opened = (ad_axis){ 0 };
    for (int i = 0; i < along->rank; i++) {
        ad_axis axis = along->axes[i];
        if (node->op == AD_WINDOWS && ad_same(axis, node->axis3)) {
            *opened = axis;
            continue;
        }
        bool met = (node->op == AD_WINDOWS && ad_same(axis, node->axis2)) || node->op == AD_RESHAPE ||
                   ((node->op == AD_SLICE || node->op == AD_UNSLICE) && ad_same(axis, node->axis2));
        if (met)
            return false;
        inside->axes[inside->rank++] = node->op == AD_RELABEL && ad_same(axis, node->axis2) ? node->axis : axis;
    }
    return true;
}

static bool moves_alone(ad_op op)
{
    switch (op) {
    case AD_IDENTITY:
    case AD_SCALE:
    case AD_SLICE:
    case AD_UNSLICE:
    case AD_WINDOWS:
    case AD_RELABEL:
    case AD_TRANSPOSE:
    case AD_RESHAPE:
        return true;
    default:
        return false;
    }
}

/* A node with itself, where its op moves entries: both sides at once. TP_NO_RULE_HERE: not this way. */
static int both_sides(tp_field_plan *p, int kind, int a, const ad_shape *along, const tp_point_pairs *pairs)
{
    const ad_node *node = ad_node_of(p->graph, a);
    ad_shape within;
    ad_axis opened;
    if (!moves_alone(node->op) || !pass_axes(node, along, &within, &opened))
        return TP_NO_RULE_HERE;
    const tp_point_map *map = tp_map_operand(p, a, 0);
    if (!map)
        return p->error->text[0] ? TP_NO_ROOM : TP_NO_RULE_HERE;
    int child = node->in[0];
    ad_shape full = tp_fixed_axes(p->graph, a, NULL), of_a = tp_fixed_axes(p->graph, a, along);
    ad_shape inside = tp_fixed_axes(p->graph, child, NULL), of_child = tp_fixed_axes(p->graph, child, &within);
    size_t fan = opened.id ? ad_axis_fixed(p->graph, opened) : 1, count = pairs->n * fan;
    ad_shape wide = of_a;
    if (opened.id)
        wide.axes[wide.rank++] = opened;
    if (count > INT32_MAX / 2)
        return TP_NO_RULE_HERE;
    int32_t *moved = move_points(p, &wide, &full); /* and from there into the child */
    for (size_t i = 0; moved && i < tp_count_points(p->graph, &wide); i++) {
        int32_t at = map->to[moved[i]];
        moved[i] = at < 0 ? -1 : tp_move_point(p->graph, &inside, at, &of_child);
    }
    int32_t *list = moved ? ad_alloc(2 * count + 1, sizeof *list, "a network's positions", p->error) : NULL;
    int32_t *to = list ? tp_new_numbers(p, count) : NULL;
    for (size_t i = 0; i < pairs->n && to; i++)
        for (size_t k = 0; k < fan; k++) {
            list[i * fan + k] = moved[(size_t)pairs->first[i] * fan + k];
            list[count + i * fan + k] = moved[(size_t)pairs->second[i] * fan + k];
        }
    ad_free(moved);
    size_t n = tp_count_points(p->graph, &of_child);
    tp_point_pairs within_pairs;
    bool failed = !to || tp_gather_pairs(p, list, list + count, count, n, n, &within_pairs, to);
    ad_free(list);
    const int32_t *kept = tp_keep_once(p, to, count);
    if (failed || !kept)
        return TP_NO_ROOM;
    double power, c = tp_factor_of(p, a, &power);
    int sum = TP_NO_FIELD, of = tp_field_of(p, kind, child, child, &within, &within_pairs);
    int status = tp_add_to(p, &sum, of, c * c, 2 * power, &(tp_point_map){ pairs->n, fan, kept });
    return status ? status : sum;
}

/* One side of a pair is linear in its operands. */
static int one_side(tp_field_plan *p, int kind, int a, int b, bool second, const tp_point_pairs *pairs)
{
    int id = second ? b : a, other = second ? a : b, sum = TP_NO_FIELD;
    const ad_node *node = ad_node_of(p->graph, id);
    double power, c = tp_factor_of(p, id, &power);
    ad_shape none = { 0 }, axes = tp_fixed_axes(p->graph, other, NULL);
    for (int k = 0; k < node->n_in; k++) {
        const tp_point_map *map = tp_map_operand(p, id, k);
        if (!map)
            return p->error->text[0] ? TP_NO_ROOM : TP_NO_RULE_HERE;
        ad_shape inside = tp_fixed_axes(p->graph, node->in[k], NULL);
        size_t count = pairs->n * map->fan, n = tp_count_points(p->graph, &inside),
               m = tp_count_points(p->graph, &axes);
        int32_t *list = ad_alloc(2 * count + 1, sizeof *list, "a network's positions", p->error);
        int32_t *to = list ? tp_new_numbers(p, count) : NULL;
        for (size_t i = 0; i < count && to; i++) {
            int32_t here = (second ? pairs->second : pairs->first)[i / map->fan];
            list[second ? count + i : i] = map->to[(size_t)here * map->fan + i % map->fan];
            list[second ? i : count + i] = (second ? pairs->first : pairs->second)[i / map->fan];
        }
        tp_point_pairs within;
        bool failed = !to || tp_gather_pairs(p, list, list + count, count, second ? m : n, second ? n : m, &within, to);
        ad_free(list);
        const int32_t *kept = tp_keep_once(p, to, count);
        if (failed || !kept)
            return TP_NO_ROOM;
        int of = within.n ? tp_field_of(p, kind, second ? a : node->in[k], second ? node->in[k] : b, &none, &within)
                          : TP_NO_FIELD;
        double sign = node->op == AD_SUB && k == 1 ? -1 : 1;
        int status = tp_add_to(p, &sum, of, sign * c, power, &(tp_point_map){ pairs->n, map->fan, kept });
        if (status)
            return status;
    }
    return sum;
}

/* ---- what is not linear ---- */
/* Entries of data in common, for each pair: products of the two samples' data. */
static int data_field(tp_field_plan *p, int a, int b, const ad_shape *along, const tp_point_pairs *pairs)
{
    tp_field_plan *owner = p->single ? p->single : p;
    int nodes[2] = { a, b }, numbers[2];
    for (int side = 0; side < 2; side++) {
        int k = 0;
        while (k < owner->n_data && owner->data[k].node != nodes[side])
            k++;
        if (k == owner->n_data) {
            if (!ad_arena_grow(owner->arena, (void **)&owner->data, k, &owner->data_capacity, sizeof *owner->data))
                return tp_no_room(p);
            ad_shape axes = tp_fixed_axes(p->graph, nodes[side], NULL);
            owner->data[owner->n_data++] =
                (tp_field_data){ .node = nodes[side], .points = tp_count_points(p->graph, &axes) };
        }
        numbers[side] = k;
    }
    size_t entries = tp_count_points(p->graph, along), count = pairs->n * entries;
    int32_t *to = count < INT32_MAX / 2 ? ad_arena_alloc(p->arena, 2 * count + 1, sizeof *to) : NULL;
    if (!to)
        return tp_no_room(p);
    for (int side = 0; side < 2; side++) {
        ad_shape full = tp_fixed_axes(p->graph, nodes[side], NULL), wide = tp_fixed_axes(p->graph, nodes[side], along);
        for (int i = 0; i < along->rank; i++)
            wide.axes[wide.rank++] = along->axes[i];
        int32_t *moved = move_points(p, &wide, &full);
        if (!moved)
            return TP_NO_ROOM;
        for (size_t i = 0; i < count; i++) {
            size_t point = (size_t)(side ? pairs->second : pairs->first)[i / entries];
            to[2 * i + (size_t)side] = moved[point * entries + i % entries];
        }
        ad_free(moved);
    }
    int array = tp_new_array(p, pairs->n);
    tp_field_step step = {
        .kind = TP_DATA, .out = array, .map = { pairs->n, entries, to }, .x = numbers[0], .y = numbers[1]
    };
    return array < 0 || tp_add_step(p, &step) ? TP_NO_ROOM : tp_new_field(p, array, pairs->n, 1, 0);
}

/* By point of a node: the number of the entry that it takes of a parameter's axes; the caller's to free. */
static int32_t *entries_of(const tp_field_plan *p, int id, const tp_use *u)
{
    ad_shape axes = tp_fixed_axes(p->graph, id, NULL);
    return move_points(p, &axes, &u->fixed);
}

static int bias_field(tp_field_plan *p, int kind, int a, int b, const tp_point_pairs *pairs)
{
    tp_use u, v;
    if (tp_find_use(p, a, NULL, &u) || tp_find_use(p, b, NULL, &v))
        return TP_NO_RULE_HERE;
    if (u.param != v.param || (kind == TP_TANGENT && !p->learns[u.param]))
        return TP_NO_FIELD;
    double power = 0, value = kind == TP_TANGENT ? 1 : tp_variance_of_entry(p, u.param, &power);
    int one = tp_filled(p, 1, value), sum = TP_NO_FIELD;
    int32_t *to = ad_arena_alloc(p->arena, pairs->n + 1, sizeof *to);
    int32_t *first = entries_of(p, a, &u), *second = entries_of(p, b, &v);
    bool failed = one < 0 || !to || !first || !second;
    for (size_t i = 0; i < pairs->n && !failed; i++)
        to[i] = first[pairs->first[i]] == second[pairs->second[i]] ? 0 : -1;
    ad_free(first);
    ad_free(second);
    if (failed)
        return tp_no_room(p);
    int status = tp_add_to(p, &sum, one, 1, power, &(tp_point_map){ pairs->n, 1, to });
    return status ? status : sum;
}

/* The sums of x x' over the entries of W that both products meet: of W's pairs. */
static int product_sum(tp_field_plan *p, int kind, int x, int y, const tp_use *u, const tp_use *v,
                       const tp_point_pairs *pairs)
{
    bool same = x == y && u->over.rank == v->over.rank;
    for (int i = 0; i < u->over.rank && same; i++)
        same = ad_same(u->over.axes[i], v->over.axes[i]);
    return same ? tp_field_of(p, kind, x, y, &u->over, pairs) : with_entries(p, kind, x, y, &u->over, &v->over, pairs);
}

static int product_field(tp_field_plan *p, int kind, int a, int b, const tp_point_pairs *pairs)
{
    const ad_node *of_a = ad_node_of(p->graph, a), *of_b = ad_node_of(p->graph, b);
    int ma = tp_matrix_of(p, a), mb = tp_matrix_of(p, b);
    tp_use u, v;
    if (tp_find_use(p, of_a->in[ma], &of_a->over, &u) || tp_find_use(p, of_b->in[mb], &of_b->over, &v))
        return TP_NO_RULE_HERE;
    if (u.param != v.param)
        return TP_NO_FIELD;
    for (int i = 0; i < u.names.rank; i++) /* both meet W by the same of its axes */
        if (ad_has(&of_a->over, u.names.axes[i]) != ad_has(&of_b->over, v.names.axes[i]))
            return TP_NO_RULE_HERE;
    int x = of_a->in[!ma], y = of_b->in[!mb];
    if (!tp_meets_vector(p, x, &u) || !tp_meets_vector(p, y, &v))
        return TP_NO_RULE_HERE;
    ad_shape axes_a = tp_fixed_axes(p->graph, a, NULL), axes_b = tp_fixed_axes(p->graph, b, NULL);
    ad_shape of_x = tp_fixed_axes(p->graph, x, &u.over), of_y = tp_fixed_axes(p->graph, y, &v.over);
    int32_t *list = ad_alloc(2 * pairs->n + 1, sizeof *list, "a network's positions", p->error);
    int32_t *to = list ? tp_new_numbers(p, pairs->n) : NULL;
    int32_t *first = entries_of(p, a, &u), *second = entries_of(p, b, &v);
    int32_t *to_x = move_points(p, &axes_a, &of_x), *to_y = move_points(p, &axes_b, &of_y);
    bool failed = !to || !first || !second || !to_x || !to_y;
    for (size_t i = 0; i < pairs->n && !failed; i++) {
        int32_t at = pairs->first[i], at2 = pairs->second[i];
        bool meets = first[at] == second[at2];
        list[i] = meets ? to_x[at] : -1;
        list[pairs->n + i] = meets ? to_y[at2] : -1;
    }
    ad_free(first);
    ad_free(second);
    ad_free(to_x);
    ad_free(to_y);
    tp_point_pairs within;
    failed = failed || tp_gather_pairs(p, list, list + pairs->n, pairs->n, tp_count_points(p->graph, &of_x),
                                       tp_count_points(p->graph, &of_y), &within, to);
    ad_free(list);
    const int32_t *kept = tp_keep_once(p, to, pairs->n);
    if (failed || !kept)
        return TP_NO_ROOM;
    double power, variance = tp_variance_of_entry(p, u.param, &power), width = u.width > 0 ? u.width : 1;
    double n_power = u.width > 0 ? 1 : 0;
    const tp_point_map map = { pairs->n, 1, kept };
    int sum = TP_NO_FIELD, status = 0;
    if (within.n == 0)
        return TP_NO_FIELD;
    if (kind == TP_TANGENT && variance > 0)
        status = tp_add_to(p, &sum, product_sum(p, TP_TANGENT, x, y, &u, &v, &within), variance * width,
                           power + n_power, &map);
    if (!status && kind == TP_TANGENT && p->learns[u.param])
        status = tp_add_to(p, &sum, product_sum(p, TP_COVARIANCE, x, y, &u, &v, &within), width, n_power, &map);
    if (kind == TP_COVARIANCE && variance > 0)
        status = tp_add_to(p, &sum, product_sum(p, TP_COVARIANCE, x, y, &u, &v, &within), variance * width,
                           power + n_power, &map);
    return status ? status : sum;
}

/* ---- expectations ---- */
static int number_of_function(tp_field_plan *p, int fn)
{
    int k = 0;
    while (k < p->n_functions && p->functions[k].fn != fn)
        k++;
    if (k < p->n_functions)
        return k;
    if (!ad_arena_grow(p->arena, (void **)&p->functions, k, &p->functions_capacity, sizeof *p->functions))
        return tp_no_room(p);
    p->functions[k] = (tp_field_function){ .fn = fn };
    if (tp_univariate_of(p->algebra, fn, &p->functions[k].u))
        return p->functions[k].u.n_kinks > TP_MAX_KINKS ? TP_NO_RULE_HERE : TP_NO_ROOM;
    return p->n_functions++;
}

/* The number of a Gaussian vector's variances. */
static int find_variance(tp_field_plan *p, int node)
{
    tp_field_plan *owner = p->single ? p->single : p;
    for (int k = 0; k < owner->n_variances; k++)
        if (owner->variances[k].node == node)
            return k;
    ad_shape axes = tp_fixed_axes(p->graph, node, NULL), none = { 0 };
    size_t n = tp_count_points(p->graph, &axes);
    int32_t *points = ad_alloc(n + 1, sizeof *points, "a network's positions", p->error);
    for (size_t i = 0; i < n && points; i++)
        points[i] = (int32_t)i;
    const int32_t *list = points ? tp_keep(owner, points, n) : NULL;
    ad_free(points);
    int field =
        list ? tp_field_of(owner, TP_COVARIANCE, node, node, &none, &(tp_point_pairs){ n, list, list }) : TP_NO_ROOM;
    field = field == TP_NO_FIELD ? tp_filled(owner, n, 0) : tp_materialize(owner, field);
    if (field < 0)
        return field;
    if (fabs(owner->fields[field].power) > 1e-9)
        return TP_NO_RULE_HERE;
    if (!ad_arena_grow(owner->arena, (void **)&owner->variances, owner->n_variances, &owner->variances_capacity,
                       sizeof *owner->variances))
        return tp_no_room(p);
    owner->variances[owner->n_variances] = (tp_field_variance){ .node = node, .field = field, .points = n };
    return owner->n_variances++;
}

static int remember(tp_field_plan *p, int kind, int a, int b, const ad_shape *along, const tp_point_pairs *pairs,
                    int field)
{
    if (!ad_arena_grow(p->arena, (void **)&p->requests, p->n_requests, &p->requests_capacity, sizeof *p->requests))
        return tp_no_room(p);
    p->requests[p->n_requests++] = (tp_request){ kind, a, b, field, *along, pairs->first, pairs->second };
    return field;
}

static const tp_request *known(const tp_field_plan *p, int kind, int a, int b, const ad_shape *along,
                               const tp_point_pairs *pairs)
{
    for (int k = p->n_requests; k-- > 0;) {
        const tp_request *r = &p->requests[k];
        bool same = r->kind == kind && r->a == a && r->b == b && r->first == pairs->first &&
                    r->second == pairs->second && r->along.rank == along->rank;
        for (int i = 0; i < along->rank && same; i++)
            same = ad_same(r->along.axes[i], along->axes[i]);
        if (same)
            return r;
    }
    return NULL;
}

static int expectation(tp_field_plan *p, int kind, int a, int b, const tp_point_pairs *pairs)
{
    int fn[2], u = tp_function_of(p, a, &fn[0]), v = u < 0 ? -1 : tp_function_of(p, b, &fn[1]);
    ad_shape none = { 0 };
    tp_field_step step = {
        .kind = TP_EXPECT, .out = -1, .tangent = -1, .tangent_out = -1, .df = -1, .dg = -1, .pairs = *pairs
    };
    if (v < 0)
        return p->error->text[0] ? TP_NO_ROOM : TP_NO_RULE_HERE;
    int tangent = TP_NO_FIELD;
    if (kind == TP_TANGENT) {
        tangent = tp_materialize(p, tp_field_of(p, TP_TANGENT, u, v, &none, pairs));
        if (tangent < 0)
            return tangent;
        for (int side = 0; side < 2; side++) {
            double value;
            int derivative = tp_fn_derivative(p->algebra, fn[side]);
            if (derivative < 0)
                return p->error->text[0] && !p->algebra->refused ? TP_NO_ROOM : TP_NO_RULE_HERE;
            if (tp_fn_is_number(p->algebra, derivative, &value) && !(fabs(value) > 0))
                return TP_NO_FIELD;
            int number = number_of_function(p, derivative);
            if (number < 0)
                return number;
            *(side ? &step.dg : &step.df) = number;
        }
    }
    int covariance = tp_field_of(p, TP_COVARIANCE, u, v, &none, pairs);
    covariance = covariance == TP_NO_FIELD ? tp_filled(p, pairs->n, 0) : tp_materialize(p, covariance);
    if (covariance < 0)
        return covariance;
    if ((step.f = number_of_function(p, fn[0])) < 0 || (step.g = number_of_function(p, fn[1])) < 0)
        return step.f < 0 ? step.f : step.g;
    if ((step.variance = find_variance(p, u)) < 0 || (step.variance2 = find_variance(p, v)) < 0)
        return step.variance < 0 ? step.variance : step.variance2;
    step.in = p->fields[covariance].array;
    step.c = p->fields[covariance].c;
    if (fabs(p->fields[covariance].power) > 1e-9)
        return TP_NO_RULE_HERE;
    bool once = kind == TP_TANGENT && !known(p, TP_COVARIANCE, a, b, &none, pairs); /* both in one pass */
    if (kind == TP_COVARIANCE || once)
        step.out = tp_new_array(p, pairs->n);
    double power = 0;
    if (kind == TP_TANGENT) {
        step.tangent = p->fields[tangent].array;
        step.tangent_c = p->fields[tangent].c;
        power = p->fields[tangent].power;
        step.tangent_out = tp_new_array(p, pairs->n);
    }
    if (step.out == TP_NO_ROOM || step.tangent_out == TP_NO_ROOM || tp_add_step(p, &step))
        return TP_NO_ROOM;
    if (once && remember(p, TP_COVARIANCE, a, b, &none, pairs, tp_new_field(p, step.out, pairs->n, 1, 0)) < 0)
        return TP_NO_ROOM;
    return kind == TP_TANGENT ? tp_new_field(p, step.tangent_out, pairs->n, 1, power)
                              : tp_new_field(p, step.out, pairs->n, 1, 0);
}

/* ---- the rules ---- */
static int by_rules(tp_field_plan *p, int kind, int a, int b, const ad_shape *along, const tp_point_pairs *pairs)
{
    bool data_a = p->program->data[a], data_b = p->program->data[b];
    if (kind == TP_TANGENT && (data_a || data_b))
        return TP_NO_FIELD;
    if (data_a != data_b)
        return TP_NO_RULE_HERE;
    if (tp_is_zero_mean(p, a) || tp_is_zero_mean(p, b))
        return TP_NO_FIELD;
    int way = a == b && tp_node_is_linear(p, a) ? both_sides(p, kind, a, along, pairs) : TP_NO_RULE_HERE;
    if (way != TP_NO_RULE_HERE || p->refused)
        return way;
    if (data_a)
        return data_field(p, a, b, along, pairs);
    if (along->rank)
        return with_entries(p, kind, a, b, along, along, pairs);
    int x, w;
    tp_weighing by_a = tp_weighing_of(p, a, &x, &w), by_b = tp_weighing_of(p, b, &x, &w);
    bool masks = by_a == TP_BY_MASK || by_b == TP_BY_MASK,
         other = (by_a && by_a != TP_BY_MASK) || (by_b && by_b != TP_BY_MASK);
    if (other || (masks && !tp_node_is_linear(p, a) && !tp_node_is_linear(p, b)))
        return tp_weighed_field(p, kind, a, b, pairs);
    if (tp_node_is_linear(p, a) || tp_node_is_linear(p, b))
        return one_side(p, kind, a, b, !tp_node_is_linear(p, a) || (tp_node_is_linear(p, b) && b > a), pairs);
    bool bias_a = p->program->params[a] >= 0, bias_b = p->program->params[b] >= 0;
    bool product_a = tp_matrix_of(p, a) >= 0, product_b = tp_matrix_of(p, b) >= 0;
    if (bias_a && bias_b)
        return bias_field(p, kind, a, b, pairs);
    if (product_a && product_b)
        return product_field(p, kind, a, b, pairs);
    if ((bias_a || product_a) && (bias_b || product_b)) /* a parameter is one or the other, never both */
        return TP_NO_FIELD;
    return expectation(p, kind, a, b, pairs);
}

int tp_field_of(tp_field_plan *p, int kind, int a, int b, const ad_shape *along, const tp_point_pairs *pairs)
{
    const tp_request *request = known(p, kind, a, b, along, pairs);
    if (request)
        return request->field;
    if (pairs->n == 0)
        return TP_NO_FIELD;
    bool beyond = p->program->widths[a] > 1 || p->program->widths[b] > 1 || p->depth >= MOST_NESTED;
    p->depth++;
    int field = beyond || p->refused ? TP_NO_RULE_HERE : by_rules(p, kind, a, b, along, pairs);
    p->depth--;
    p->refused = p->refused || field == TP_NO_RULE_HERE;
    return field <= TP_NO_RULE_HERE ? field : remember(p, kind, a, b, along, pairs, field);
}

/* ---- sums that may cancel ---- */
static int variances_at(tp_field_plan *single, int id, const int32_t *points, size_t n)
{
    ad_shape none = { 0 };
    return tp_materialize(single,
                          tp_field_of(single, TP_COVARIANCE, id, id, &none, &(tp_point_pairs){ n, points, points }));
}

static int add_sum(tp_field_plan *single, int id)
{
    const ad_node *node = ad_node_of(single->graph, id);
    ad_shape axes = tp_fixed_axes(single->graph, id, NULL);
    size_t n = tp_count_points(single->graph, &axes);
    const int32_t *all = tp_identity(single, n);
    tp_field_sum sum = { .whole = all ? variances_at(single, id, all, n) : TP_NO_ROOM };
    bool failed = sum.whole == TP_NO_ROOM;
    for (int k = 0; k < 2 && !failed; k++) {
        const tp_point_map *map = tp_map_operand(single, id, k);
        const int32_t *points = map ? tp_keep(single, map->to, n) : NULL;
        sum.parts[k] = points ? variances_at(single, node->in[k], points, n) : TP_NO_ROOM;
        failed = sum.parts[k] == TP_NO_ROOM;
    }
    if (failed || !ad_arena_grow(single->arena, (void **)&single->sums, single->n_sums, &single->sums_capacity,
                                 sizeof *single->sums))
        return tp_no_room(single);
    single->sums[single->n_sums++] = sum;
    return 0;
}

int tp_find_sums(tp_field_plan *p)
{
    for (int id = 0; id < p->program->forward; id++) {
        const ad_node *node = ad_node_of(p->graph, id);
        bool sum = (node->op == AD_ADD || node->op == AD_SUB) && p->program->widths[id] == 1 && !p->program->data[id],
             met = false;
        for (int k = 0; k < p->n_requests && sum && !met; k++)
            met = p->requests[k].a == id || p->requests[k].b == id;
        if (met && add_sum(p->single, id))
            return TP_NO_ROOM;
    }
    return 0;
}
