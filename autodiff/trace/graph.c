/* graph.c: axes, nodes, and the builders that check shapes. The derivative rules are in grad.c. */
#include "autodiff/trace/trace.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

/* ---- shapes ---- */
ad_shape ad_shape_make(int rank, const ad_axis *axes)
{
    ad_shape shape = { 0 };
    for (int i = 0; i < rank; i++)
        ad_shape_push(&shape, axes[i]);
    return shape;
}

void ad_shape_push(ad_shape *shape, ad_axis axis)
{
    if (shape->rank < AD_MAX_RANK)
        shape->axes[shape->rank] = axis;
    shape->rank++; /* a rank above AD_MAX_RANK is refused when the node is made */
}

bool ad_same(ad_axis a, ad_axis b)
{
    return a.id == b.id && a.prime == b.prime;
}

ad_axis ad_prime(ad_axis axis)
{
    axis.prime++;
    return axis;
}

bool ad_has(const ad_shape *shape, ad_axis axis)
{
    for (int i = 0; i < shape->rank && i < AD_MAX_RANK; i++)
        if (ad_same(shape->axes[i], axis))
            return true;
    return false;
}

ad_shape ad_shape_minus(const ad_shape *a, const ad_shape *b)
{
    ad_shape rest = { 0 };
    for (int i = 0; i < a->rank; i++)
        if (!ad_has(b, a->axes[i]))
            ad_shape_push(&rest, a->axes[i]);
    return rest;
}

ad_shape ad_shape_union(const ad_shape *a, const ad_shape *b)
{
    ad_shape all = *a;
    for (int i = 0; i < b->rank; i++)
        if (!ad_has(a, b->axes[i]))
            ad_shape_push(&all, b->axes[i]);
    return all;
}

ad_shape ad_shape_meet(const ad_shape *a, const ad_shape *b)
{
    ad_shape both = { 0 };
    for (int i = 0; i < a->rank; i++)
        if (ad_has(b, a->axes[i]))
            ad_shape_push(&both, a->axes[i]);
    return both;
}

bool ad_shape_within(const ad_shape *part, const ad_shape *whole)
{
    for (int i = 0; i < part->rank; i++)
        if (!ad_has(whole, part->axes[i]))
            return false;
    return true;
}

ad_shape ad_shape_replace(ad_shape shape, ad_axis from, ad_axis to)
{
    for (int i = 0; i < shape.rank; i++)
        if (ad_same(shape.axes[i], from))
            shape.axes[i] = to;
    return shape;
}

/* ---- the graph ---- */
ad_graph *ad_graph_new(ad_error *error)
{
    ad_graph *graph = ad_alloc(1, sizeof *graph, "a graph", error);
    if (!graph)
        return NULL;
    graph->arena = ad_arena_new(error);
    graph->axes_room = 64;
    graph->n_axes = 1;
    graph->n_room = 256;
    graph->axes = ad_alloc((size_t)graph->axes_room, sizeof *graph->axes, "axes", error);
    graph->nodes = ad_alloc((size_t)graph->n_room, sizeof *graph->nodes, "nodes", error);
    if (!graph->arena || !graph->axes || !graph->nodes) {
        ad_graph_free(graph);
        return NULL;
    }
    return graph;
}

void ad_graph_free(ad_graph *graph)
{
    if (!graph)
        return;
    ad_arena_free(graph->arena);
    ad_free(graph->axes);
    ad_free(graph->nodes);
    ad_free(graph);
}

bool ad_failed(const ad_graph *graph)
{
    return graph->error.text[0] != 0;
}

const char *ad_message(const ad_graph *graph)
{
    return graph->error.text;
}

ad_var ad_poison(ad_graph *graph, ad_where where, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    ad_vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (graph)
        ad_fail(&graph->error, "%s:%d: %s", where.file, where.line, text);
    return (ad_var){ graph, -1 };
}

/* Doubles an array that is full; false with the graph poisoned when memory is out. */
static bool grow(ad_graph *graph, void **array, int used, int *room, size_t size)
{
    if (used < *room)
        return true;
    void *larger = ad_alloc((size_t)*room * 2, size, "a graph", &graph->error);
    if (!larger)
        return false;
    memcpy(larger, *array, (size_t)used * size);
    ad_free(*array);
    *array = larger;
    *room *= 2;
    return true;
}

static ad_axis axis_row(ad_where where, ad_graph *graph, const char *name, ad_kind kind, double ratio, size_t size)
{
    static const char *const kinds[] = { "batch", "width", "fixed" };
    if (!name || !*name || strlen(name) >= sizeof graph->axes->name) {
        ad_poison(graph, where, "axis \"%s\": a name has 1 to 31 bytes", name ? name : "");
        return (ad_axis){ 0, 0 };
    }
    for (int i = 1; i < graph->n_axes; i++) {
        const ad_axis_row *row = &graph->axes[i];
        if (strcmp(row->name, name) != 0)
            continue;
        if (row->kind != kind)
            ad_poison(graph, where, "axis %s: it is a %s axis, asked for as %s", name, kinds[row->kind], kinds[kind]);
        else if (row->size != size)
            ad_poison(graph, where, "axis %s: it has size %zu, asked for with %zu", name, row->size, size);
        else if (fabs(row->ratio - ratio) > 0)
            ad_poison(graph, where, "axis %s: it is %g n wide, asked for with %g n", name, row->ratio, ratio);
        return (ad_axis){ (unsigned short)i, 0 };
    }
    void *axes = graph->axes;
    if (graph->n_axes > 60000 || !grow(graph, &axes, graph->n_axes, &graph->axes_room, sizeof *graph->axes)) {
        ad_poison(graph, where, "axis %s: too many axes", name);
        return (ad_axis){ 0, 0 };
    }
    graph->axes = axes;
    ad_axis_row *row = &graph->axes[graph->n_axes];
    *row = (ad_axis_row){ .kind = kind, .ratio = ratio, .size = size };
    snprintf(row->name, sizeof row->name, "%s", name);
    return (ad_axis){ (unsigned short)graph->n_axes++, 0 };
}

ad_axis ad_batch_at(ad_where where, ad_graph *graph, const char *name)
{
    return axis_row(where, graph, name, AD_BATCH, 0, 0);
}

ad_axis ad_width_at(ad_where where, ad_graph *graph, const char *name, double ratio)
{
    if (!(ratio > 0) || ratio > 1e6)
        ad_poison(graph, where, "axis %s: width ratio %g is not positive", name, ratio);
    return axis_row(where, graph, name, AD_WIDTH, ratio, 0);
}

ad_axis ad_fixed_at(ad_where where, ad_graph *graph, const char *name, size_t size)
{
    if (size == 0)
        ad_poison(graph, where, "axis %s: size 0", name);
    return axis_row(where, graph, name, AD_FIXED, 0, size);
}

ad_axis ad_fresh_at(ad_where where, ad_graph *graph, const char *stem, size_t size)
{
    char name[32];
    snprintf(name, sizeof name, "%.20s", stem);
    for (int k = 2, i = 1; i < graph->n_axes; i++)
        if (strcmp(graph->axes[i].name, name) == 0) {
            snprintf(name, sizeof name, "%.20s%d", stem, k++);
            i = 0;
        }
    return ad_fixed_at(where, graph, name, size);
}

ad_kind ad_axis_kind(const ad_graph *graph, ad_axis axis)
{
    return graph->axes[axis.id].kind;
}

const char *ad_axis_name(const ad_graph *graph, ad_axis axis)
{
    return graph->axes[axis.id].name;
}

double ad_axis_ratio(const ad_graph *graph, ad_axis axis)
{
    return graph->axes[axis.id].ratio;
}

size_t ad_axis_fixed(const ad_graph *graph, ad_axis axis)
{
    return graph->axes[axis.id].size;
}

size_t ad_axis_size(const ad_graph *graph, ad_axis axis, const ad_sizes *sizes)
{
    const ad_axis_row *row = &graph->axes[axis.id];
    if (row->kind == AD_FIXED)
        return row->size;
    if (row->kind == AD_WIDTH) {
        double size = round(row->ratio * (double)sizes->n);
        return sizes->n == 0 ? 0 : size < 1 ? 1 : (size_t)size;
    }
    for (int i = 0; i < sizes->n_batches; i++)
        if (sizes->batches[i].axis.id == axis.id)
            return sizes->batches[i].size;
    return 0;
}

size_t ad_elements(const ad_graph *graph, const ad_shape *shape, const ad_sizes *sizes)
{
    size_t count = 1;
    for (int i = 0; i < shape->rank; i++)
        count *= ad_axis_size(graph, shape->axes[i], sizes);
    return count;
}

int ad_graph_size(const ad_graph *graph)
{
    return graph->n_nodes;
}

const ad_node *ad_node_of(const ad_graph *graph, int id)
{
    return graph->nodes[id];
}

const ad_shape *ad_shape_get(ad_var v)
{
    static const ad_shape scalar = { 0 };
    return v.graph && v.id >= 0 ? &v.graph->nodes[v.id]->shape : &scalar;
}

static const char *const op_names[] = {
#define AD_UNARY(NAME, name, ...) #name,
#define AD_BINARY(NAME, name, ...) #name,
#define AD_SHAPE(NAME, name, ...) #name,
#include "autodiff/ops.def"
};

const char *ad_op_name(ad_op op)
{
    return op_names[op];
}

bool ad_is_unary(ad_op op)
{
    return op <= AD_CUSTOM;
}

bool ad_is_binary(ad_op op)
{
    return op >= AD_ADD && op <= AD_DIV;
}

int ad_unary_named(const char *name)
{
    for (int op = 0; op < AD_CUSTOM; op++)
        if (strcmp(op_names[op], name) == 0)
            return op;
    return -1;
}

char *ad_shape_text(const ad_graph *graph, const ad_shape *shape, char *buffer, size_t size)
{
    size_t used = (size_t)snprintf(buffer, size, "(");
    for (int i = 0; i < shape->rank && i < AD_MAX_RANK && used < size; i++) {
        used +=
            (size_t)snprintf(buffer + used, size - used, "%s%s", i ? ", " : "", graph->axes[shape->axes[i].id].name);
        for (int k = 0; k < shape->axes[i].prime && used < size; k++)
            used += (size_t)snprintf(buffer + used, size - used, "'");
    }
    if (used < size)
        snprintf(buffer + used, size - used, ")");
    return buffer;
}

void ad_print(const ad_graph *graph, FILE *stream)
{
    char shape[160];
    void *locale = ad_c_locale_begin();
    for (int id = 0; id < graph->n_nodes; id++) {
        const ad_node *node = graph->nodes[id];
        fprintf(stream, "%%%d = %s", id, ad_op_name(node->op));
        for (int i = 0; i < node->n_in; i++)
            fprintf(stream, "%s%%%d", i ? ", " : " ", node->in[i]);
        if (node->name)
            fprintf(stream, " %s", node->name);
        if (node->op == AD_SCALE || node->op == AD_CONSTANT || node->op == AD_POWER || node->op == AD_LEAKY)
            fprintf(stream, " %g", node->c);
        if (node->op == AD_SCALE && node->axis.id)
            fprintf(stream, " %s^%g", graph->axes[node->axis.id].name, node->power);
        if (node->over.rank)
            fprintf(stream, " over %s", ad_shape_text(graph, &node->over, shape, sizeof shape));
        fprintf(stream, " : %s    # %s:%d\n", ad_shape_text(graph, &node->shape, shape, sizeof shape), node->where.file,
                node->where.line);
    }
    ad_c_locale_end(locale);
}

/* ---- making nodes ---- */
static bool alive(ad_var v)
{
    return v.graph && v.id >= 0 && !ad_failed(v.graph);
}

/* The graph of an op's arguments if all is well, NULL if one is poisoned or they are of two graphs. */
static ad_graph *meet(ad_where where, const char *op, ad_var a, ad_var b)
{
    if (a.graph != b.graph && a.graph && b.graph)
        ad_poison(a.graph, where, "%s: the arguments are of two graphs", op);
    return alive(a) && alive(b) ? a.graph : NULL;
}

static ad_var poisoned(ad_var a)
{
    return (ad_var){ a.graph, -1 };
}

/* Appends a node; checks what holds for all: rank, no axis twice, memory. */
ad_var ad_node_make(ad_graph *graph, ad_node node, int n_in, const int *in)
{
    char text[160];
    if (ad_failed(graph))
        return (ad_var){ graph, -1 };
    if (node.shape.rank > AD_MAX_RANK)
        return ad_poison(graph, node.where, "%s: %d axes, at most %d are carried", ad_op_name(node.op), node.shape.rank,
                         AD_MAX_RANK);
    for (int i = 0; i < node.shape.rank; i++) {
        if (!node.shape.axes[i].id)
            return ad_poison(graph, node.where, "%s: not an axis of this graph", ad_op_name(node.op));
        for (int k = 0; k < i; k++)
            if (ad_same(node.shape.axes[i], node.shape.axes[k]))
                return ad_poison(graph, node.where, "%s: axis %s stands twice in %s", ad_op_name(node.op),
                                 ad_axis_name(graph, node.shape.axes[i]),
                                 ad_shape_text(graph, &node.shape, text, sizeof text));
    }
    void *nodes = graph->nodes;
    int *inputs = ad_arena_alloc(graph->arena, (size_t)n_in + 1, sizeof *inputs);
    ad_node *kept = ad_arena_alloc(graph->arena, 1, sizeof *kept);
    if (!inputs || !kept || !grow(graph, &nodes, graph->n_nodes, &graph->n_room, sizeof *graph->nodes))
        return ad_poison(graph, node.where, "%s: out of memory", ad_op_name(node.op));
    graph->nodes = nodes;
    if (n_in)
        memcpy(inputs, in, (size_t)n_in * sizeof *in);
    *kept = node;
    kept->in = inputs;
    kept->n_in = n_in;
    graph->nodes[graph->n_nodes] = kept;
    return (ad_var){ graph, graph->n_nodes++ };
}

static ad_var one_in(ad_var x, ad_node node)
{
    return ad_node_make(x.graph, node, 1, &x.id);
}

/* True if x has the axis; otherwise poisons with the axis and the shape. */
static bool need_axis(ad_where where, const char *op, ad_var x, ad_axis axis)
{
    char text[160];
    if (!alive(x))
        return false;
    if (ad_has(ad_shape_get(x), axis))
        return true;
    ad_shape one = ad_shape_make(1, &axis);
    char name[64];
    ad_poison(x.graph, where, "%s: no axis %s in %s", op, ad_shape_text(x.graph, &one, name, sizeof name),
              ad_shape_text(x.graph, ad_shape_get(x), text, sizeof text));
    return false;
}

static ad_var named_leaf(ad_where where, ad_graph *graph, ad_node node, const char *name)
{
    for (int i = 0; i < graph->n_nodes; i++)
        if (graph->nodes[i]->name && strcmp(graph->nodes[i]->name, name) == 0)
            return ad_poison(graph, where, "%s: the name \"%s\" is taken at %s:%d", ad_op_name(node.op), name,
                             graph->nodes[i]->where.file, graph->nodes[i]->where.line);
    if (!(node.name = ad_arena_text(graph->arena, "%s", name)))
        return ad_poison(graph, where, "%s: out of memory", ad_op_name(node.op));
    return ad_node_make(graph, node, 0, NULL);
}

ad_var ad_input_at(ad_where where, ad_graph *graph, const char *name, ad_shape shape)
{
    return named_leaf(where, graph, (ad_node){ .op = AD_INPUT, .where = where, .shape = shape }, name);
}

ad_var ad_param_at(ad_where where, ad_graph *graph, const char *name, ad_shape shape, ad_init init)
{
    ad_init *kept = ad_arena_alloc(graph->arena, 1, sizeof *kept);
    if (!kept)
        return ad_poison(graph, where, "param: out of memory");
    *kept = init;
    if (!(init.deviation >= 0) || !isfinite(init.deviation) || !isfinite(init.multiplier) || !isfinite(init.mean))
        return ad_poison(graph, where, "param %s: deviation %g, multiplier %g, mean %g: not finite or negative", name,
                         init.deviation, init.multiplier, init.mean);
    for (int i = 0; i < shape.rank && i < AD_MAX_RANK; i++)
        if (ad_axis_kind(graph, shape.axes[i]) == AD_BATCH)
            return ad_poison(graph, where, "param %s: a parameter has no batch axis", name);
    return named_leaf(where, graph, (ad_node){ .op = AD_PARAM, .where = where, .shape = shape, .init = kept }, name);
}

ad_var ad_constant_at(ad_where where, ad_graph *graph, double value, ad_shape shape)
{
    return ad_node_make(graph, (ad_node){ .op = AD_CONSTANT, .where = where, .shape = shape, .c = value }, 0, NULL);
}

ad_var ad_delta_at(ad_where where, ad_graph *graph, ad_axis a, ad_axis b)
{
    if (graph->axes[a.id].kind != graph->axes[b.id].kind || graph->axes[a.id].size != graph->axes[b.id].size)
        return ad_poison(graph, where, "delta: axes %s and %s differ in size", ad_axis_name(graph, a),
                         ad_axis_name(graph, b));
    return ad_node_make(
        graph, (ad_node){ .op = AD_DELTA, .where = where, .shape = ad_shape_of(a, b), .axis = a, .axis2 = b }, 0, NULL);
}

/* ---- coordinatewise ---- */
ad_var ad_unary_at(ad_where where, ad_op op, ad_var x, double p)
{
    if (!alive(x))
        return poisoned(x);
    if (op == AD_IDENTITY)
        return x;
    if (!isfinite(p))
        return ad_poison(x.graph, where, "%s: parameter %g", ad_op_name(op), p);
    return one_in(x, (ad_node){ .op = op, .where = where, .shape = *ad_shape_get(x), .c = p });
}

ad_var ad_custom_at(ad_where where, const ad_function *function, int order, ad_var x)
{
    if (!alive(x))
        return poisoned(x);
    if (order >= function->count || !function->derivatives[order])
        return ad_poison(x.graph, where, "%s: derivative %d of this function is not given", function->name, order);
    return one_in(
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
    ad_graph *graph = meet(where, ad_op_name(op), a, b);
    if (!graph)
        return poisoned(a);
    const ad_shape *sa = ad_shape_get(a), *sb = ad_shape_get(b);
    if (op == AD_MUL && is_constant(a) && ad_shape_within(sa, sb))
        return ad_scale_at(where, b, graph->nodes[a.id]->c, (ad_axis){ 0, 0 }, 0);
    if ((op == AD_MUL || op == AD_DIV) && is_constant(b) && ad_shape_within(sb, sa)) {
        double c = graph->nodes[b.id]->c;
        return ad_scale_at(where, a, op == AD_MUL ? c : 1 / c, (ad_axis){ 0, 0 }, 0);
    }
    ad_shape shape = ad_shape_within(sa, sb) && sb->rank > sa->rank ? *sb : ad_shape_union(sa, sb);
    return ad_node_make(graph, (ad_node){ .op = op, .where = where, .shape = shape }, 2, (int[]){ a.id, b.id });
}

ad_var ad_binary_at(ad_where where, ad_op op, ad_var a, ad_var b)
{
    char one[160], two[160];
    ad_graph *graph = meet(where, ad_op_name(op), a, b);
    if (!graph)
        return poisoned(a);
    const ad_shape *sa = ad_shape_get(a), *sb = ad_shape_get(b);
    if (!ad_shape_within(sa, sb) && !ad_shape_within(sb, sa))
        return ad_poison(graph, where, "%s: axes do not match: %s and %s (ad_expand one of them to make an outer %s)",
                         ad_op_name(op), ad_shape_text(graph, sa, one, sizeof one),
                         ad_shape_text(graph, sb, two, sizeof two), ad_op_name(op));
    return ad_combine(where, op, a, b);
}

ad_var ad_scale_at(ad_where where, ad_var x, double c, ad_axis axis, double power)
{
    if (!alive(x))
        return poisoned(x);
    if (!isfinite(c) || !isfinite(power))
        return ad_poison(x.graph, where, "scale: factor %g, power %g: not finite", c, power);
    if (axis.id == 0 || !(fabs(power) > 0))
        axis = (ad_axis){ 0, 0 }, power = 0;
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
    return one_in(
        x, (ad_node){ .op = AD_SCALE, .where = where, .shape = node->shape, .c = c, .power = power, .axis = axis });
}

/* ---- along axes ---- */
ad_var ad_contract_at(ad_where where, ad_var a, ad_var b, ad_shape over)
{
    ad_graph *graph = meet(where, "contract", a, b);
    if (!graph)
        return poisoned(a);
    for (int i = 0; i < over.rank; i++)
        if (!need_axis(where, "contract", a, over.axes[i]) || !need_axis(where, "contract", b, over.axes[i]))
            return poisoned(a);
    const ad_node *na = graph->nodes[a.id], *nb = graph->nodes[b.id];
    graph->nodes[a.id]->moved |=
        na->op == AD_SCALE; /* a factor commutes with the sum: parameters stay plain operands */
    if (na->op == AD_SCALE)
        return ad_scale_at(where, ad_contract_at(where, (ad_var){ graph, na->in[0] }, b, over), na->c, na->axis,
                           na->power);
    graph->nodes[b.id]->moved |= nb->op == AD_SCALE;
    if (nb->op == AD_SCALE)
        return ad_scale_at(where, ad_contract_at(where, a, (ad_var){ graph, nb->in[0] }, over), nb->c, nb->axis,
                           nb->power);
    for (int swap = 0; swap < 2; swap++) { /* a delta renames */
        const ad_node *d = swap ? nb : na;
        ad_var other = swap ? a : b;
        if (d->op != AD_DELTA || over.rank != 1)
            continue;
        ad_axis from = over.axes[0], to = ad_same(d->axis, from) ? d->axis2 : d->axis;
        if (!ad_has(ad_shape_get(other), to))
            return ad_relabel_at(where, other, from, to);
    }
    ad_shape kept = ad_shape_minus(&na->shape, &over), rest = ad_shape_minus(&nb->shape, &over);
    return ad_node_make(
        graph, (ad_node){ .op = AD_CONTRACT, .where = where, .shape = ad_shape_union(&kept, &rest), .over = over }, 2,
        (int[]){ a.id, b.id });
}

static bool is_matrix(ad_where where, const char *op, ad_var w)
{
    char text[160];
    if (!alive(w))
        return false;
    if (ad_shape_get(w)->rank != 2)
        ad_poison(w.graph, where, "%s: a matrix has two axes, this one has %s", op,
                  ad_shape_text(w.graph, ad_shape_get(w), text, sizeof text));
    return !ad_failed(w.graph);
}

/* The errors of a matrix product name both shapes. */
static bool meets_matrix(ad_where where, const char *op, ad_var x, ad_var w, ad_axis axis)
{
    char one[160], two[160];
    if (ad_has(ad_shape_get(x), axis))
        return true;
    ad_poison(x.graph, where, "%s: axes do not match: %s and %s (no axis %s in the first)", op,
              ad_shape_text(x.graph, ad_shape_get(x), one, sizeof one),
              ad_shape_text(x.graph, ad_shape_get(w), two, sizeof two), ad_axis_name(x.graph, axis));
    return false;
}

ad_var ad_matmul_at(ad_where where, ad_var x, ad_var w)
{
    if (!meet(where, "matmul", x, w) || !is_matrix(where, "matmul", w))
        return poisoned(x);
    ad_axis in = ad_shape_get(w)->axes[0], out = ad_shape_get(w)->axes[1];
    if (!meets_matrix(where, "matmul", x, w, in))
        return poisoned(x);
    ad_var y = ad_contract_at(where, x, w, ad_shape_of(in));
    return ad_relabel_at(where, y, out, (ad_axis){ out.id, 0 });
}

ad_var ad_matmul_t_at(ad_where where, ad_var y, ad_var w)
{
    if (!meet(where, "matmul_t", y, w) || !is_matrix(where, "matmul_t", w))
        return poisoned(y);
    ad_axis in = ad_shape_get(w)->axes[0], out = ad_shape_get(w)->axes[1];
    if (!meets_matrix(where, "matmul_t", y, w, (ad_axis){ out.id, 0 }))
        return poisoned(y);
    ad_var renamed = ad_relabel_at(where, y, (ad_axis){ out.id, 0 }, out);
    return ad_relabel_at(where, ad_contract_at(where, renamed, w, ad_shape_of(out)), in, (ad_axis){ in.id, 0 });
}

ad_var ad_sum_at(ad_where where, ad_var x, ad_shape over)
{
    for (int i = 0; i < over.rank; i++)
        if (!need_axis(where, "sum", x, over.axes[i]))
            return poisoned(x);
    if (!alive(x) || over.rank == 0)
        return x;
    ad_shape shape = ad_shape_minus(ad_shape_get(x), &over);
    return one_in(x, (ad_node){ .op = AD_SUM, .where = where, .shape = shape, .over = over });
}

ad_var ad_mean_at(ad_where where, ad_var x, ad_shape over)
{
    ad_var y = ad_sum_at(where, x, over);
    for (int i = 0; i < over.rank; i++)
        y = ad_scale_at(where, y, 1, over.axes[i], -1);
    return y;
}

ad_var ad_expand_at(ad_where where, ad_var x, ad_shape shape)
{
    char one[160], two[160];
    if (!alive(x))
        return poisoned(x);
    const ad_shape *old = ad_shape_get(x);
    if (!ad_shape_within(old, &shape))
        return ad_poison(x.graph, where, "expand: %s does not hold every axis of %s",
                         ad_shape_text(x.graph, &shape, one, sizeof one), ad_shape_text(x.graph, old, two, sizeof two));
    if (ad_shape_within(&shape, old))
        return x;
    return one_in(x, (ad_node){ .op = AD_EXPAND, .where = where, .shape = shape });
}

ad_var ad_slice_at(ad_where where, ad_var x, ad_axis axis, size_t start, size_t count, ad_axis as)
{
    if (!need_axis(where, "slice", x, axis))
        return poisoned(x);
    ad_graph *graph = x.graph;
    if (ad_axis_kind(graph, axis) != AD_FIXED || ad_axis_fixed(graph, as) != count)
        return ad_poison(graph, where, "slice: axis %s and its part %s must be fixed axes, the part of size %zu",
                         ad_axis_name(graph, axis), ad_axis_name(graph, as), count);
    if (start + count > ad_axis_fixed(graph, axis))
        return ad_poison(graph, where, "slice: %zu to %zu of axis %s, which has %zu", start, start + count,
                         ad_axis_name(graph, axis), ad_axis_fixed(graph, axis));
    ad_shape shape = ad_shape_replace(*ad_shape_get(x), axis, as);
    return one_in(
        x, (ad_node){ .op = AD_SLICE, .where = where, .shape = shape, .axis = axis, .axis2 = as, .start = start });
}

/* An axis of size one, under a name that the user's axes cannot have. */
static ad_axis single(ad_where where, ad_graph *graph)
{
    return ad_fixed_at(where, graph, "one*", 1);
}

ad_var ad_take_at(ad_where where, ad_var x, ad_axis axis, size_t index)
{
    if (!alive(x))
        return poisoned(x);
    ad_axis one = single(where, x.graph);
    return ad_sum_at(where, ad_slice_at(where, x, axis, index, 1, one), ad_shape_of(one));
}

ad_var ad_concat_at(ad_where where, const ad_var *parts, int n, const ad_axis *axes, ad_axis as)
{
    char one[160], two[160];
    if (n < 1 || !alive(parts[0]))
        return parts[0];
    ad_graph *graph = parts[0].graph;
    ad_axis *kept = ad_arena_alloc(graph->arena, (size_t)n, sizeof *kept);
    int *in = ad_arena_alloc(graph->arena, (size_t)n, sizeof *in);
    if (!kept || !in)
        return ad_poison(graph, where, "concat: out of memory");
    ad_shape shape = ad_shape_replace(*ad_shape_get(parts[0]), axes[0], as);
    size_t total = 0;
    for (int i = 0; i < n; i++) {
        if (!meet(where, "concat", parts[0], parts[i]) || !need_axis(where, "concat", parts[i], axes[i]))
            return poisoned(parts[0]);
        ad_shape other = ad_shape_replace(*ad_shape_get(parts[i]), axes[i], as);
        if (!ad_shape_within(&other, &shape) || !ad_shape_within(&shape, &other))
            return ad_poison(graph, where, "concat: axes do not match: %s and %s",
                             ad_shape_text(graph, &shape, one, sizeof one),
                             ad_shape_text(graph, &other, two, sizeof two));
        if (ad_axis_kind(graph, axes[i]) != AD_FIXED)
            return ad_poison(graph, where, "concat: axis %s is not a fixed axis", ad_axis_name(graph, axes[i]));
        total += ad_axis_fixed(graph, axes[i]);
        kept[i] = axes[i];
        in[i] = parts[i].id;
    }
    if (ad_axis_fixed(graph, as) != total)
        return ad_poison(graph, where, "concat: the parts have %zu together, axis %s has %zu", total,
                         ad_axis_name(graph, as), ad_axis_fixed(graph, as));
    return ad_node_make(
        graph, (ad_node){ .op = AD_CONCAT, .where = where, .shape = shape, .axis = as, .part_axes = kept }, n, in);
}

ad_var ad_stack_at(ad_where where, const ad_var *parts, int n, ad_axis as)
{
    if (n < 1 || !alive(parts[0]))
        return parts[0];
    ad_graph *graph = parts[0].graph;
    ad_axis one = single(where, graph);
    ad_var *rows = ad_arena_alloc(graph->arena, (size_t)n, sizeof *rows);
    ad_axis *axes = ad_arena_alloc(graph->arena, (size_t)n, sizeof *axes);
    if (!rows || !axes)
        return ad_poison(graph, where, "stack: out of memory");
    for (int i = 0; i < n; i++) {
        ad_shape shape = ad_shape_of(one);
        shape = ad_shape_union(&shape, ad_shape_get(parts[i]));
        rows[i] = ad_expand_at(where, parts[i], shape);
        axes[i] = one;
    }
    return ad_concat_at(where, rows, n, axes, as);
}

ad_var ad_merge_at(ad_where where, ad_var x, ad_axis a, ad_axis b, ad_axis as)
{
    if (!need_axis(where, "merge", x, a) || !need_axis(where, "merge", x, b))
        return poisoned(x);
    ad_graph *graph = x.graph;
    if (ad_axis_kind(graph, a) != AD_FIXED || ad_axis_kind(graph, b) != AD_FIXED ||
        ad_axis_fixed(graph, a) * ad_axis_fixed(graph, b) != ad_axis_fixed(graph, as))
        return ad_poison(graph, where, "merge: fixed axes %s (%zu) and %s (%zu) do not make %s (%zu)",
                         ad_axis_name(graph, a), ad_axis_fixed(graph, a), ad_axis_name(graph, b),
                         ad_axis_fixed(graph, b), ad_axis_name(graph, as), ad_axis_fixed(graph, as));
    ad_shape order = { 0 }, shape = { 0 };
    const ad_shape *old = ad_shape_get(x);
    for (int i = 0; i < old->rank; i++) {
        if (ad_same(old->axes[i], b))
            continue;
        ad_shape_push(&order, old->axes[i]);
        ad_shape_push(&shape, ad_same(old->axes[i], a) ? as : old->axes[i]);
        if (ad_same(old->axes[i], a))
            ad_shape_push(&order, b);
    }
    ad_var y = ad_transpose_at(where, x, order);
    return one_in(y, (ad_node){ .op = AD_RESHAPE, .where = where, .shape = shape });
}

ad_var ad_split_at(ad_where where, ad_var x, ad_axis axis, ad_axis a, ad_axis b)
{
    if (!need_axis(where, "split", x, axis))
        return poisoned(x);
    ad_graph *graph = x.graph;
    if (ad_axis_kind(graph, axis) != AD_FIXED ||
        ad_axis_fixed(graph, a) * ad_axis_fixed(graph, b) != ad_axis_fixed(graph, axis))
        return ad_poison(graph, where, "split: fixed axis %s (%zu) is not %s (%zu) times %s (%zu)",
                         ad_axis_name(graph, axis), ad_axis_fixed(graph, axis), ad_axis_name(graph, a),
                         ad_axis_fixed(graph, a), ad_axis_name(graph, b), ad_axis_fixed(graph, b));
    ad_shape shape = { 0 };
    const ad_shape *old = ad_shape_get(x);
    for (int i = 0; i < old->rank; i++) {
        bool here = ad_same(old->axes[i], axis);
        ad_shape_push(&shape, here ? a : old->axes[i]);
        if (here)
            ad_shape_push(&shape, b);
    }
    return one_in(x, (ad_node){ .op = AD_RESHAPE, .where = where, .shape = shape });
}

ad_var ad_relabel_at(ad_where where, ad_var x, ad_axis from, ad_axis to)
{
    if (!alive(x) || ad_same(from, to) || !need_axis(where, "relabel", x, from))
        return alive(x) ? x : poisoned(x);
    const ad_axis_row *a = &x.graph->axes[from.id], *b = &x.graph->axes[to.id];
    if (a->kind != b->kind || a->size != b->size || fabs(a->ratio - b->ratio) > 0)
        return ad_poison(x.graph, where, "relabel: axes %s and %s differ in kind or size", a->name, b->name);
    ad_shape shape = ad_shape_replace(*ad_shape_get(x), from, to);
    return one_in(x, (ad_node){ .op = AD_RELABEL, .where = where, .shape = shape, .axis = from, .axis2 = to });
}

ad_var ad_transpose_at(ad_where where, ad_var x, ad_shape order)
{
    char one[160], two[160];
    if (!alive(x))
        return poisoned(x);
    const ad_shape *old = ad_shape_get(x);
    if (!ad_shape_within(old, &order) || !ad_shape_within(&order, old))
        return ad_poison(x.graph, where, "transpose: %s is no order of %s",
                         ad_shape_text(x.graph, &order, one, sizeof one), ad_shape_text(x.graph, old, two, sizeof two));
    bool same = true;
    for (int i = 0; i < order.rank; i++)
        same = same && ad_same(order.axes[i], old->axes[i]);
    return same ? x : one_in(x, (ad_node){ .op = AD_TRANSPOSE, .where = where, .shape = order });
}

ad_var ad_gather_at(ad_where where, ad_var table, ad_var index, ad_axis axis)
{
    ad_graph *graph = meet(where, "gather", table, index);
    if (!graph || !need_axis(where, "gather", table, axis))
        return poisoned(table);
    ad_shape one = ad_shape_of(axis), rest = ad_shape_minus(ad_shape_get(table), &one);
    return ad_node_make(
        graph,
        (ad_node){ .op = AD_GATHER, .where = where, .axis = axis, .shape = ad_shape_union(ad_shape_get(index), &rest) },
        2, (int[]){ table.id, index.id });
}

ad_var ad_scatter_at(ad_where where, ad_var x, ad_var index, ad_axis axis, ad_shape over)
{
    char one[160], two[160];
    ad_graph *graph = meet(where, "scatter", x, index);
    if (!graph)
        return poisoned(x);
    if (!ad_shape_within(ad_shape_get(index), ad_shape_get(x)) || !ad_shape_within(&over, ad_shape_get(index)))
        return ad_poison(graph, where, "scatter: axes do not match: %s and the index's %s",
                         ad_shape_text(graph, ad_shape_get(x), one, sizeof one),
                         ad_shape_text(graph, ad_shape_get(index), two, sizeof two));
    ad_shape shape = ad_shape_minus(ad_shape_get(x), &over);
    ad_shape_push(&shape, axis);
    return ad_node_make(graph,
                        (ad_node){ .op = AD_SCATTER, .where = where, .shape = shape, .axis = axis, .over = over }, 2,
                        (int[]){ x.id, index.id });
}

ad_var ad_one_hot_at(ad_where where, ad_var index, ad_axis axis)
{
    if (!index.graph || index.id < 0)
        return index;
    ad_var one = ad_constant_at(where, index.graph, 1, (ad_shape){ 0 });
    return ad_scatter_at(where, ad_expand_at(where, one, *ad_shape_get(index)), index, axis, (ad_shape){ 0 });
}

static ad_var along(ad_where where, ad_op op, ad_var x, ad_axis axis)
{
    if (!need_axis(where, ad_op_name(op), x, axis))
        return poisoned(x);
    ad_shape one = ad_shape_of(axis), rest = ad_shape_minus(ad_shape_get(x), &one);
    bool keeps = op == AD_SOFTMAX || op == AD_ARGMAX;
    return one_in(x, (ad_node){ .op = op, .where = where, .shape = keeps ? *ad_shape_get(x) : rest, .axis = axis });
}

ad_var ad_logsumexp_at(ad_where where, ad_var x, ad_axis axis)
{
    return along(where, AD_LOGSUMEXP, x, axis);
}

ad_var ad_softmax_at(ad_where where, ad_var x, ad_axis axis)
{
    return along(where, AD_SOFTMAX, x, axis);
}

ad_var ad_max_at(ad_where where, ad_var x, ad_axis axis)
{
    return along(where, AD_MAX, x, axis);
}

ad_var ad_argmax_at(ad_where where, ad_var x, ad_axis axis)
{
    return along(where, AD_ARGMAX, x, axis);
}
