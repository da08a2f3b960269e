/* family.c: the family of a node of the trace. */
#include "tp/batch/terms.h"

#include <math.h>
#include <string.h>

static int scaled(tp_families *f, int x, double c, double power, double batch)
{
    tp_family_builder b = { .f = f };
    tp_family_push_all(&b, x, c, power, batch);
    return tp_family_finish(&b);
}

static int sum_of(tp_families *f, int x, int y, double sign)
{
    tp_family_builder b = { .f = f };
    tp_family_push_all(&b, x, 1, 0, 0);
    tp_family_push_all(&b, y, sign, 0, 0);
    return tp_family_finish(&b);
}

/* ---- products and functions ---- */
/* c fn(base) times a learned term. */
static int push_learned(tp_family_builder *b, int node, double c, int base, int fn, const tp_family_term *t)
{
    double number;
    if (tp_fn_is_number(&b->f->algebra, fn, &number)) {
        tp_family_term same = *t;
        same.c *= c * number;
        tp_family_push(b, same);
        return 0;
    }
    if (t->kind == TP_TERM_ONE && !t->mean)
        return tp_family_push_function(b, c * t->c, base, fn, t->learned);
    if (t->kind == TP_TERM_FUNCTION && t->of == base && !t->mean)
        return tp_family_push_function(b, c * t->c, base, tp_fn_times(&b->f->algebra, fn, t->fn), t->learned);
    return tp_family_refuse(b->f, node, "the gradient of a parameter that starts at a constant has no exact rule here");
}

/* The learned terms of x times the constant or function y is. */
static int push_learned_of(tp_family_builder *b, int node, int x, int base, int fn)
{
    const tp_family *family = tp_family_at(b->f, x);
    for (int i = 0; i < family->n; i++)
        if (family->terms[i].learned >= 0 && push_learned(b, node, 1, base, fn, &family->terms[i]))
            return -1;
    return 0;
}

/* All of y, where x is the constant c and what is learned of it. */
static int times_constant(tp_families *f, int node, int x, double c, int y)
{
    tp_family_builder b = { .f = f };
    const tp_family *factor = tp_family_at(f, x), *family = tp_family_at(f, y);
    tp_family_push_all(&b, y, c, 0, 0);
    for (int i = 0; i < factor->n; i++) {
        const tp_family_term *t = &factor->terms[i];
        if (t->learned < 0)
            continue;
        if (t->kind != TP_TERM_ONE)
            return tp_family_refuse(f, node,
                                    "the gradient of a parameter that starts at a constant has no exact rule "
                                    "here");
        for (int k = 0; k < family->n; k++) {
            tp_family_term both = family->terms[k];
            if (both.learned >= 0)
                continue;
            both.c *= t->c;
            both.power += t->power;
            both.batch += t->batch;
            both.learned = t->learned;
            tp_family_push(&b, both);
        }
    }
    return tp_family_finish(&b);
}

/* Is what is not learned of x a constant? */
static bool is_constant(const tp_families *f, int x, double *c)
{
    const tp_family *family = tp_family_at(f, x);
    *c = 0;
    for (int i = 0; i < family->n; i++) {
        const tp_family_term *t = &family->terms[i];
        if (t->learned >= 0)
            continue;
        if (t->kind != TP_TERM_ONE || fabs(t->power) + fabs(t->batch) > TP_TINY)
            return false;
        *c += t->c;
    }
    return true;
}

static int product_of(tp_families *f, int node, int x, int y)
{
    double c;
    if (is_constant(f, x, &c))
        return times_constant(f, node, x, c, y);
    if (is_constant(f, y, &c))
        return times_constant(f, node, y, c, x);
    if (tp_as_radius(f, x))
        return tp_normalised(f, node, y, tp_as_radius(f, x));
    if (tp_as_radius(f, y))
        return tp_normalised(f, node, x, tp_as_radius(f, y));
    int base_x, base_y, fn_x, fn_y;
    if (tp_family_function(f, node, x, &base_x, &fn_x) || tp_family_function(f, node, y, &base_y, &fn_y))
        return -1;
    if (base_x != base_y)
        return tp_family_refuse(f, node, "a product of two vectors has no exact rule where samples meet");
    tp_family_builder b = { .f = f };
    if (tp_family_push_function(&b, 1, base_x, tp_fn_times(&f->algebra, fn_x, fn_y), -1) ||
        push_learned_of(&b, node, x, base_y, fn_y) || push_learned_of(&b, node, y, base_x, fn_x))
        return -1;
    return tp_family_finish(&b);
}

/* y = 1 / x of a radius or a number. */
static int inverse_of(tp_families *f, int node, int x)
{
    double c;
    tp_family_builder b = { .f = f };
    const tp_family_term *radius = tp_as_radius(f, x);
    if (radius) {
        tp_family_term t = *radius;
        tp_base of = *tp_base_at(f, t.of);
        t.c = 1 / t.c;
        t.of = tp_base_make(f, TP_BASE_RADIUS, of.lin, of.epsilon, -of.power);
        if (t.of < 0)
            return -1;
        tp_family_push(&b, t);
        return tp_family_finish(&b);
    }
    if (!is_constant(f, x, &c) || !(fabs(c) > 0) || tp_family_at(f, x)->n != 1)
        return tp_family_refuse(f, node,
                                "a quotient has no exact rule where samples meet, but of a vector and its own "
                                "deviation over the batch");
    tp_family_push(&b, tp_family_one(1 / c));
    return tp_family_finish(&b);
}

static bool root_of(const ad_node *node, double *power)
{
    *power = node->op == AD_SQRT ? 0.5 : node->op == AD_RSQRT ? -0.5 : node->op == AD_POWER ? node->c : 0;
    return fabs(fabs(*power) - 0.5) < TP_TINY;
}

/* A function of no vector is a number. */
static double number_of(const tp_families *f, int fn)
{
    double value = 0;
    tp_fn_eval(&f->algebra, fn, NULL, 1, &value, &value);
    return value;
}

static int unary_of(tp_families *f, int node, int x)
{
    const ad_node *row = ad_node_of(f->algebra.graph, node);
    int base, fn, y;
    double power;
    if (row->op == AD_IDENTITY || row->op == AD_NEG)
        return scaled(f, x, row->op == AD_NEG ? -1 : 1, 0, 0);
    if (tp_left_order(row) >= 0) /* whose order the door holds against the kernel's */
        return scaled(f, x, 0, 0, 0);
    if (root_of(row, &power)) {
        if (tp_radius_of(f, x, power, &y))
            return -1;
        if (y >= 0)
            return y;
    }
    if (tp_family_function(f, node, x, &base, &fn))
        return -1;
    bool square = row->op == AD_POWER && fabs(row->c - 2) < TP_TINY;
    y = row->op == AD_CUSTOM
            ? tp_fn_custom(&f->algebra, row->function, row->order, fn)
            : tp_fn_make(&f->algebra, square ? (int)AD_SQUARE : (int)row->op, square ? 0 : row->c, fn, 0);
    tp_family_builder b = { .f = f };
    if (y < 0)
        return -1;
    if (base < 0) {
        tp_family_push(&b, tp_family_one(number_of(f, y)));
    } else if (tp_family_push_function(&b, 1, base, y, -1)) {
        return -1;
    }
    const tp_family *family = tp_family_at(f, x);
    bool learned = false;
    for (int i = 0; i < family->n; i++)
        learned |= family->terms[i].learned >= 0;
    tp_fn made = *tp_fn_at(&f->algebra, y);
    int slope = learned ? tp_fn_row_derivative(&f->algebra, &made, y) : 0;
    if (learned && base < 0 && slope >= 0)
        slope = tp_fn_number(&f->algebra, number_of(f, slope));
    if (slope < 0 || (learned && push_learned_of(&b, node, x, base, slope)))
        return -1;
    return tp_family_finish(&b);
}

/* ---- parameters ---- */
static tp_point param_point(const tp_families *f, int param, const ad_shape *names, const tp_point *point)
{
    tp_point own;
    memset(&own, 0, sizeof own);
    const ad_shape *shape = &ad_node_of(f->algebra.graph, param)->shape;
    for (int i = 0; i < shape->rank; i++) {
        int index = tp_point_index(point, names->axes[i]);
        if (index >= 0)
            tp_point_set(&own, shape->axes[i], index);
    }
    return own;
}

static tp_point restricted(const tp_families *f, int node, const tp_point *from)
{
    tp_point point;
    memset(&point, 0, sizeof point);
    const ad_shape *shape = &ad_node_of(f->algebra.graph, node)->shape;
    for (int i = 0; i < shape->rank; i++) {
        int index = tp_point_index(from, shape->axes[i]);
        if (index >= 0)
            tp_point_set(&point, shape->axes[i], index);
    }
    return point;
}

/* The deviation of omega as c n^power. */
static double deviation_of(const tp_families *f, int param, double *power)
{
    const ad_init *init = ad_node_of(f->algebra.graph, param)->init;
    double axis_power, size = tp_axis_factor(&f->algebra, init->axis, &axis_power);
    double p = init->axis.id ? init->deviation_power : 0;
    *power = p * axis_power;
    return init->deviation * pow(size, p);
}

/* omega[., index]: its mean, and a G-var of variance one; what starts at its mean is learned alone. */
static int param_vector(tp_families *f, int node, int param, const tp_point *where)
{
    const ad_node *at = ad_node_of(f->algebra.graph, param);
    if (tp_count_widths(f->algebra.graph, &at->shape) > 1)
        return tp_family_refuse(f, node, "a matrix is used coordinate by coordinate");
    tp_gvar gvar;
    memset(&gvar, 0, sizeof gvar);
    gvar.param = param;
    gvar.position = -1;
    gvar.argument = TP_OF_INDEX;
    gvar.where = *where;
    int id = tp_family_gvar(f, &gvar);
    if (id < 0)
        return -1;
    tp_family_builder b = { .f = f };
    double power, deviation = deviation_of(f, param, &power);
    tp_family_push(&b, tp_family_one(at->init->mean));
    if (deviation > 0) {
        tp_family_push(&b,
                       (tp_family_term){
                           .c = deviation, .power = power, .kind = TP_TERM_GVAR, .of = id, .fn = -1, .learned = -1 });
    } else {
        tp_family_term t = tp_family_one(1);
        t.learned = id;
        tp_family_push(&b, t);
    }
    return tp_family_finish(&b);
}

/* Do all terms of x go with n^power? */
static bool has_one_power(const tp_families *f, int x, double *power)
{
    const tp_family *family = tp_family_at(f, x);
    *power = family->n ? family->terms[0].power : 0;
    for (int i = 1; i < family->n; i++)
        if (fabs(family->terms[i].power - *power) > TP_TINY)
            return false;
    return true;
}

/* contract(y, W): a G-var of variance E y^2 or |x|^2; deviation and the axis's size stand before it. */
static int product_with(tp_families *f, int node, int param, const ad_shape *names, int y, const tp_point *point)
{
    const ad_node *w = ad_node_of(f->algebra.graph, param), *at = ad_node_of(f->algebra.graph, node);
    if (at->over.rank != 1)
        return tp_family_refuse(f, node, "a contraction over several axes at once");
    ad_axis axis = at->over.axes[0];
    double power, n_power = 0, ratio = 1, own = 0, deviation = deviation_of(f, param, &power);
    if (fabs(w->init->mean) > 0 || !(deviation > 0))
        return tp_family_refuse(f, node, "a weight that does not start at random, of mean zero");
    tp_gvar gvar;
    memset(&gvar, 0, sizeof gvar);
    gvar.param = param;
    gvar.where = param_point(f, param, names, point);
    for (int i = 0; i < names->rank; i++)
        if (ad_same(names->axes[i], axis))
            gvar.position = i;
    tp_point from = restricted(f, y, point);
    if (ad_axis_kind(f->algebra.graph, axis) == AD_WIDTH) {
        gvar.argument = TP_OF_VECTOR;
        gvar.node = tp_family_of(f, y, from);
        ratio = tp_axis_factor(&f->algebra, axis, &n_power);
        if (gvar.node < 0)
            return -1;
        if (!has_one_power(f, gvar.node, &own))
            return tp_family_refuse(f, node,
                                    "a vector whose terms go with several powers of the width has no exact rule where "
                                    "samples meet");
        if (fabs(own) > TP_TINY && (gvar.node = scaled(f, gvar.node, 1, -own, 0)) < 0)
            return -1;
    } else if (tp_is_data(&f->algebra, y)) {
        gvar.argument = TP_OF_DATA;
        gvar.node = y;
        gvar.from = from;
        gvar.axis = axis;
    } else {
        return tp_family_refuse(f, node,
                                "a sum over a fixed axis of a vector and a parameter has no exact rule where "
                                "samples meet");
    }
    int id = tp_family_gvar(f, &gvar);
    if (id < 0)
        return -1;
    tp_family_builder b = { .f = f };
    tp_family_push(&b, (tp_family_term){ .c = deviation * sqrt(ratio),
                                         .power = power + n_power / 2 + own,
                                         .kind = TP_TERM_GVAR,
                                         .of = id,
                                         .fn = -1,
                                         .learned = -1 });
    return tp_family_finish(&b);
}

/* ---- nodes ---- */
static int operand(tp_families *f, const ad_node *node, int k, const tp_point *point)
{
    return tp_family_of(f, node->in[k], restricted(f, node->in[k], point));
}

static int summed(tp_families *f, int id, const ad_node *node, const tp_point *point)
{
    ad_graph *graph = f->algebra.graph;
    tp_point at = *point;
    tp_family_builder b = { .f = f };
    int count = 1;
    bool batch = false;
    for (int i = 0; i < node->over.rank; i++) {
        ad_kind kind = ad_axis_kind(graph, node->over.axes[i]);
        if (kind == AD_WIDTH)
            return tp_family_refuse(f, id, "an average over the width has no exact rule where samples meet");
        if (kind == AD_FIXED)
            count *= (int)ad_axis_fixed(graph, node->over.axes[i]);
        batch |= kind == AD_BATCH;
    }
    for (int k = 0; k < count; k++) {
        int rest = k;
        for (int i = 0; i < node->over.rank; i++)
            if (ad_axis_kind(graph, node->over.axes[i]) == AD_FIXED) {
                int size = (int)ad_axis_fixed(graph, node->over.axes[i]);
                tp_point_set(&at, node->over.axes[i], rest % size);
                rest /= size;
            }
        int x = operand(f, node, 0, &at);
        if (x < 0)
            return -1;
        const tp_family *family = tp_family_at(f, x);
        for (int i = 0; i < family->n; i++) {
            tp_family_term t = family->terms[i];
            t.mean |= batch;
            t.batch += batch;
            tp_family_push(&b, t);
        }
    }
    return tp_family_finish(&b);
}

static int contracted(tp_families *f, int id, const ad_node *node, const tp_point *point)
{
    for (int k = 0; k < 2; k++) {
        ad_shape names;
        int param = tp_peel(f->algebra.graph, node->in[k], &names);
        if (param >= 0)
            return product_with(f, id, param, &names, node->in[1 - k], point);
    }
    return tp_family_refuse(f, id, "a product of two vectors has no exact rule where samples meet");
}

/* Fixed axes picked or renamed: the point where the operand is read. */
static int moved(tp_families *f, int id, const ad_node *node, tp_point point)
{
    if (node->op == AD_RELABEL) {
        int index = tp_point_index(&point, node->axis2);
        tp_point at = restricted(f, node->in[0], &point);
        if (index >= 0)
            tp_point_set(&at, node->axis, index);
        return operand(f, node, 0, &at);
    }
    if (node->op == AD_CONCAT && ad_axis_kind(f->algebra.graph, node->axis) == AD_FIXED) {
        int index = tp_point_index(&point, node->axis), part = 0;
        while (index >= (int)ad_axis_fixed(f->algebra.graph, node->part_axes[part]))
            index -= (int)ad_axis_fixed(f->algebra.graph, node->part_axes[part++]);
        tp_point_set(&point, node->part_axes[part], index);
        return operand(f, node, part, &point);
    }
    if (node->op == AD_SLICE && ad_axis_kind(f->algebra.graph, node->axis) == AD_FIXED) {
        tp_point_set(&point, node->axis, tp_point_index(&point, node->axis2) + (int)node->start);
        return operand(f, node, 0, &point);
    }
    return tp_family_refuse(f, id, "it has no exact rule where samples meet");
}

static int compute(tp_families *f, int id, const tp_point *point)
{
    const ad_node *node = ad_node_of(f->algebra.graph, id);
    ad_shape names;
    int param = tp_peel(f->algebra.graph, id, &names), a, b;
    if (param >= 0) {
        tp_point own = param_point(f, param, &names, point);
        return param_vector(f, id, param, &own);
    }
    if (tp_is_data(&f->algebra, id))
        return tp_family_refuse(f, id,
                                "data is multiplied or added coordinate by coordinate: no exact rule where "
                                "samples meet");
    if (ad_is_unary(node->op)) {
        a = operand(f, node, 0, point);
        return a < 0 ? -1 : unary_of(f, id, a);
    }
    if (ad_is_binary(node->op)) {
        a = operand(f, node, 0, point);
        b = a < 0 ? -1 : operand(f, node, 1, point);
        if (b >= 0 && node->op == AD_DIV)
            b = inverse_of(f, id, b);
        if (b < 0)
            return -1;
        return node->op == AD_ADD || node->op == AD_SUB ? sum_of(f, a, b, node->op == AD_ADD ? 1 : -1)
                                                        : product_of(f, id, a, b);
    }
    switch (node->op) {
    case AD_CONSTANT: {
        tp_family_builder constant = { .f = f };
        tp_family_push(&constant, tp_family_one(node->c));
        return tp_family_finish(&constant);
    }
    case AD_SCALE: {
        bool batch = node->axis.id && ad_axis_kind(f->algebra.graph, node->axis) == AD_BATCH;
        double power = 0, size = batch ? 1 : tp_axis_factor(&f->algebra, node->axis, &power);
        a = operand(f, node, 0, point);
        return a < 0 ? -1
                     : scaled(f, a, node->c * pow(size, node->power), power * node->power, batch ? node->power : 0);
    }
    case AD_EXPAND:
    case AD_TRANSPOSE:
        return operand(f, node, 0, point);
    case AD_SUM:
        return summed(f, id, node, point);
    case AD_CONTRACT:
        return contracted(f, id, node, point);
    default:
        return moved(f, id, node, *point);
    }
}

/* A node, and as much of a point as there is; the rest 0. */
typedef struct {
    tp_point point;
    int node, unused;
} place;

static int solve_family(tp_algebra *algebra, const void *key)
{
    const place *at = key;
    return compute((tp_families *)algebra, at->node, &at->point); /* its first member */
}

int tp_family_of(tp_families *f, int node, tp_point point)
{
    place at;
    memset(&at, 0, sizeof at);
    at.point.n = point.n;
    memcpy(at.point.at, point.at, (size_t)point.n * sizeof *point.at);
    at.node = node;
    return tp_memo_solve(&f->algebra, &at, sizeof at, solve_family);
}
