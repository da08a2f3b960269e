/* builders.c: leaves and coordinatewise ops; each checks its arguments and appends a node. */
#include "autodiff/trace/trace.h"

#include <math.h>
#include <string.h>

/* ---- leaves ---- */
static ad_var named_leaf(ad_where where, ad_graph *graph, ad_node node, const char *name)
{
    if (!ad_has_graph(where, ad_op_name(node.op), graph) ||
        !ad_has_text(where, ad_op_name(node.op), graph, "name", name) ||
        !ad_owns_shape(where, ad_op_name(node.op), graph, &node.shape))
        return (ad_var){ graph, -1 };
    int taken = ad_named(graph, name);
    if (taken >= 0)
        return ad_poison(graph, where, "%s: the name \"%s\" is taken at %s:%d", ad_op_name(node.op), name,
                         graph->nodes[taken]->where.file, graph->nodes[taken]->where.line);
    node.name = ad_arena_text(graph->arena, "%s", name);
    ad_var made = node.name ? ad_node_make(graph, node, 0, NULL) : (ad_var){ graph, -1 };
    if (!node.name || (made.id >= 0 && !ad_note_name(graph)))
        return ad_poison(graph, where, "%s: out of memory", ad_op_name(node.op));
    return made;
}

ad_var ad_input_at(ad_where where, ad_graph *graph, const char *name, ad_shape shape)
{
    return named_leaf(where, graph, (ad_node){ .op = AD_INPUT, .where = where, .shape = shape }, name);
}

ad_var ad_param_at(ad_where where, ad_graph *graph, const char *name, ad_shape shape, ad_init init)
{
    ad_init *kept = ad_has_graph(where, "param", graph) ? ad_arena_alloc(graph->arena, 1, sizeof *kept) : NULL;
    if (!graph)
        return (ad_var){ graph, -1 };
    if (!kept)
        return ad_poison(graph, where, "param: out of memory");
    *kept = init;
    if (!ad_has_text(where, "param", graph, "name", name) || !ad_owns_shape(where, "param", graph, &shape) ||
        (init.axis.id && !ad_owns_axis(where, "param", graph, init.axis)))
        return (ad_var){ graph, -1 };
    if (!(init.deviation >= 0) || !isfinite(init.deviation) || !isfinite(init.multiplier) || !isfinite(init.mean))
        return ad_poison(graph, where, "param %s: deviation %g, multiplier %g, mean %g: not finite or negative", name,
                         init.deviation, init.multiplier, init.mean);
    if (!isfinite(init.rate) || !isfinite(init.rate_power) || !isfinite(init.deviation_power) ||
        !isfinite(init.multiplier_power))
        return ad_poison(graph, where, "param %s: rate %g, powers %g, %g and %g of n: not finite", name, init.rate,
                         init.rate_power, init.deviation_power, init.multiplier_power);
    if (init.orthogonal && (shape.rank != 2 || fabs(init.mean) > 0))
        return ad_poison(graph, where, "param %s: orthogonal is a matrix of two axes, of mean 0", name);
    for (int i = 0; i < shape.rank; i++)
        if (ad_axis_kind(graph, shape.axes[i]) == AD_BATCH)
            return ad_poison(graph, where, "param %s: a parameter has no batch axis", name);
    return named_leaf(where, graph, (ad_node){ .op = AD_PARAM, .where = where, .shape = shape, .init = kept }, name);
}

void ad_param_freeze(ad_var param)
{
    ((ad_init *)ad_node_of(param.graph, param.id)->init)->rate = 0;
}

ad_var ad_constant_at(ad_where where, ad_graph *graph, double value, ad_shape shape)
{
    if (!ad_has_graph(where, "constant", graph))
        return (ad_var){ graph, -1 };
    if (isnan(value))
        return ad_poison(graph, where, "constant: the value is not a number");
    return ad_node_make(graph, (ad_node){ .op = AD_CONSTANT, .where = where, .shape = shape, .c = value }, 0, NULL);
}

ad_var ad_delta_at(ad_where where, ad_graph *graph, ad_axis a, ad_axis b)
{
    if (!ad_has_graph(where, "delta", graph) || !ad_owns_axis(where, "delta", graph, a) ||
        !ad_owns_axis(where, "delta", graph, b))
        return (ad_var){ graph, -1 };
    if (graph->axes[a.id].kind != graph->axes[b.id].kind || graph->axes[a.id].size != graph->axes[b.id].size)
        return ad_poison(graph, where, "delta: axes %s and %s differ in size", ad_axis_name(graph, a),
                         ad_axis_name(graph, b));
    return ad_node_make(
        graph, (ad_node){ .op = AD_DELTA, .where = where, .shape = ad_shape_of(a, b), .axis = a, .axis2 = b }, 0, NULL);
}

/* ---- coordinatewise ---- */
ad_var ad_unary_at(ad_where where, ad_op op, ad_var x, double p)
{
    if (!ad_is_unary(op) || op == AD_CUSTOM)
        return ad_poison(x.graph, where, "unary: %d is no coordinatewise op of one argument (%s)", (int)op,
                         ad_op_name(op));
    if (!ad_alive(where, ad_op_name(op), x))
        return ad_poisoned(x);
    if (op == AD_IDENTITY)
        return x;
    if (!isfinite(p))
        return ad_poison(x.graph, where, "%s: parameter %g", ad_op_name(op), p);
    return ad_node_on(x, (ad_node){ .op = op, .where = where, .shape = *ad_shape_get(x), .c = p });
}

ad_var ad_custom_at(ad_where where, const ad_function *function, int order, ad_var x)
{
    if (!ad_alive(where, "custom", x) || !ad_function_sound(where, function, x))
        return ad_poisoned(x);
    if (order < 0 || order >= function->count || !function->derivatives[order])
        return ad_poison(x.graph, where, "%s: derivative %d of this function is not given", function->name, order);
    return ad_node_on(
        x,
        (ad_node){ .op = AD_CUSTOM, .where = where, .shape = *ad_shape_get(x), .function = function, .order = order });
}

/* A constant factor is a scale, and an expression of constants a constant. */
static bool is_constant(ad_var v)
{
    return v.graph->nodes[v.id]->op == AD_CONSTANT;
}

ad_var ad_combine(ad_where where, ad_op op, ad_var a, ad_var b)
{
    ad_graph *graph = ad_common_graph(where, ad_op_name(op), a, b);
    if (!graph)
        return ad_poisoned(a);
    const ad_shape *sa = ad_shape_get(a), *sb = ad_shape_get(b);
    if (op == AD_MUL && is_constant(a) && ad_shape_within(sa, sb))
        return ad_scale_at(where, b, graph->nodes[a.id]->c, (ad_axis){ 0 }, 0);
    if ((op == AD_MUL || op == AD_DIV) && is_constant(b) && ad_shape_within(sb, sa)) {
        double c = graph->nodes[b.id]->c;
        return ad_scale_at(where, a, op == AD_MUL ? c : 1 / c, (ad_axis){ 0 }, 0);
    }
    ad_shape shape = ad_shape_within(sa, sb) && sb->rank > sa->rank ? *sb : ad_shape_union(sa, sb);
    if (sb->rank && ad_has(sa, sb->axes[sb->rank - 1]) && !ad_shape_within(sb, sa)) { /* neighbours in b stay it */
        ad_shape foreign = ad_shape_minus(sa, sb);
        shape = ad_shape_union(&foreign, sb);
    }
    return ad_node_make(graph, (ad_node){ .op = op, .where = where, .shape = shape }, 2, (int[]){ a.id, b.id });
}

ad_var ad_binary_at(ad_where where, ad_op op, ad_var a, ad_var b)
{
    char one[160], two[160];
    if (!ad_is_binary(op))
        return ad_poison(a.graph ? a.graph : b.graph, where, "binary: %d is no coordinatewise op of two arguments (%s)",
                         (int)op, ad_op_name(op));
    ad_graph *graph = ad_common_graph(where, ad_op_name(op), a, b);
    if (!graph)
        return ad_poisoned(a);
    const ad_shape *sa = ad_shape_get(a), *sb = ad_shape_get(b);
    if (!ad_shape_within(sa, sb) && !ad_shape_within(sb, sa))
        return ad_poison(graph, where, "%s: axes do not match: %s and %s (ad_expand one of them to make an outer %s)",
                         ad_op_name(op), ad_shape_text(graph, sa, one, sizeof one),
                         ad_shape_text(graph, sb, two, sizeof two), ad_op_name(op));
    return ad_combine(where, op, a, b);
}

ad_var ad_scale_at(ad_where where, ad_var x, double c, ad_axis axis, double power)
{
    if (!ad_alive(where, "scale", x) || (axis.id && !ad_owns_axis(where, "scale", x.graph, axis)))
        return ad_poisoned(x);
    if (!isfinite(c) || !isfinite(power))
        return ad_poison(x.graph, where, "scale: factor %g, power %g: not finite", c, power);
    if (axis.id == 0 || !(fabs(power) > 0))
        axis = (ad_axis){ 0 }, power = 0;
    const ad_node *node = x.graph->nodes[x.id];
    if (node->op == AD_SCALE && (!axis.id || !node->axis.id || node->axis.id == axis.id)) {
        x.graph->nodes[x.id]->moved = true;
        ad_axis both = axis.id ? axis : node->axis;
        return ad_scale_at(where, (ad_var){ x.graph, node->in[0] }, c * node->c, both, power + node->power);
    }
    if (!axis.id && !(fabs(c - 1) > 0))
        return x;
    if (node->op == AD_CONSTANT && !axis.id)
        return ad_constant_at(where, x.graph, c * node->c, node->shape);
    return ad_node_on(
        x, (ad_node){ .op = AD_SCALE, .where = where, .shape = node->shape, .c = c, .power = power, .axis = axis });
}
