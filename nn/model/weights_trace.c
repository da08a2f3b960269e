/* weights_trace.c: a mark of what a network computes of its weights W, the same in every parametrization.
 *
 * A parameter omega stands in the trace as W / (c n^p), c n^p its multiplier. Factors are carried along from node to
 * node, and join the mark where a node is not linear in what it is of. Where each use of a parameter is behind its
 * multiplier they cancel, whatever they are; where one is not, the mark differs from scale to scale. So two traces of
 * one mark are the same function of W, and omega = W / (c n^p) is exact from one to the other. */
#include "nn/model/model.h"

#include <math.h>
#include <string.h>

enum { AT_WIDTH = 1009 /* where the powers of n are compared */ };

typedef struct {
    uint64_t hash;
    double factor; /* 0: the node is 0 */
} mark;

static uint64_t mix(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash ^ hash >> 29;
}

static uint64_t mix_text(uint64_t hash, const char *text)
{
    return mix(hash, text ? text : "", text ? strlen(text) + 1 : 1);
}

static uint64_t mix_axis(uint64_t hash, const ad_graph *graph, ad_axis axis)
{
    if (!axis.id)
        return mix_text(hash, "");
    ad_kind kind = ad_axis_kind(graph, axis);
    double ratio = kind == AD_WIDTH ? ad_axis_ratio(graph, axis) : 0;
    uint64_t size = ad_axis_fixed(graph, axis);
    hash = mix_text(hash, ad_axis_name(graph, axis));
    hash = mix(hash, &axis.prime, sizeof axis.prime);
    hash = mix(hash, &kind, sizeof kind);
    return mix(mix(hash, &ratio, sizeof ratio), &size, sizeof size);
}

static uint64_t mix_shape(uint64_t hash, const ad_graph *graph, const ad_shape *shape)
{
    hash = mix(hash, &shape->rank, sizeof shape->rank);
    for (int i = 0; i < shape->rank; i++)
        hash = mix_axis(hash, graph, shape->axes[i]);
    return hash;
}

/* A factor in steps of 1e-6 of its logarithm: what rounding does to it is far below. */
static uint64_t mix_factor(uint64_t hash, double factor)
{
    int64_t steps = fabs(factor) > 0 ? (int64_t)llround(log(fabs(factor)) * 1e6) : INT64_MIN;
    bool negative = factor < 0;
    return mix(mix(hash, &steps, sizeof steps), &negative, sizeof negative);
}

double nn_multiplier(const nn_net *net, int k, const ad_sizes *sizes)
{
    const ad_init *init = ad_node_of(net->graph, net->params[k].id)->init;
    if (!init->axis.id || !(fabs(init->multiplier_power) > 0))
        return init->multiplier;
    return init->multiplier * pow((double)ad_axis_size(net->graph, init->axis, sizes), init->multiplier_power);
}

/* Linear in each of its operands, but for an index. */
static bool is_linear(ad_op op)
{
    static const ad_op linear[] = { AD_MUL,    AD_SCALE,   AD_CONTRACT, AD_SUM,     AD_EXPAND,
                                    AD_SLICE,  AD_UNSLICE, AD_RESHAPE,  AD_RELABEL, AD_TRANSPOSE,
                                    AD_GATHER, AD_WINDOWS, AD_UNWINDOWS };
    for (size_t i = 0; i < sizeof linear / sizeof *linear; i++)
        if (op == linear[i])
            return true;
    return false;
}

/* What a node says of itself. */
static uint64_t mix_node(const ad_graph *graph, const ad_node *node)
{
    uint64_t hash = mix_text(0xcbf29ce484222325u, ad_op_name(node->op));
    hash = mix_shape(mix_shape(hash, graph, &node->shape), graph, &node->over);
    hash = mix_text(hash, node->name);
    if (node->op != AD_SCALE) {
        double numbers[2] = { node->c, node->power };
        hash = mix_axis(mix_axis(mix(hash, numbers, sizeof numbers), graph, node->axis), graph, node->axis2);
    }
    hash = mix(hash, &node->start, sizeof node->start);
    hash = mix(hash, &node->order, sizeof node->order);
    if (node->op == AD_WINDOWS || node->op == AD_UNWINDOWS) {
        int64_t steps[2] = { (int64_t)node->stride, node->dilation };
        hash = mix_axis(mix(hash, steps, sizeof steps), graph, node->axis3);
    }
    return mix_text(hash, node->function ? node->function->name : NULL);
}

static mark mark_of(const nn_net *net, int id, const mark *marks, const double *multipliers)
{
    const ad_graph *graph = net->graph;
    const ad_node *node = ad_node_of(graph, id);
    if (node->op == AD_EXPAND) /* a bias is spread out before it is scaled, or by the sum itself */
        return marks[node->in[0]];
    if (node->op == AD_SCALE) {
        ad_sizes sizes = { .n = AT_WIDTH };
        double size = node->axis.id ? (double)ad_axis_size(graph, node->axis, &sizes) : 1;
        mark x = marks[node->in[0]];
        return (mark){ x.hash, x.factor * node->c * (node->axis.id ? pow(size, node->power) : 1) };
    }
    mark out = { mix_node(graph, node), 1 };
    if (node->op == AD_PARAM && fabs(multipliers[id]) > 0)
        out.factor = 1 / multipliers[id];
    for (int i = 0; i < node->n_in; i++) {
        mark x = marks[node->in[i]];
        out.hash = mix(out.hash, &x.hash, sizeof x.hash);
        if (is_linear(node->op) && !(node->op == AD_GATHER && i == 1))
            out.factor *= x.factor;
        else
            out.hash = mix_factor(out.hash, x.factor);
    }
    return out;
}

int nn_trace_mark(const nn_net *net, uint64_t *out, ad_error *error)
{
    size_t count = (size_t)net->output.id + 1;
    mark *marks = ad_alloc(count, sizeof *marks, "a mark of the network", error);
    double *multipliers = ad_alloc(count, sizeof *multipliers, "a mark of the network", error);
    ad_sizes sizes = { .n = AT_WIDTH };
    for (int k = 0; k < net->n_params && marks && multipliers; k++)
        if ((size_t)net->params[k].id < count)
            multipliers[net->params[k].id] = nn_multiplier(net, k, &sizes);
    for (size_t id = 0; id < count && marks && multipliers; id++)
        marks[id] = mark_of(net, (int)id, marks, multipliers);
    if (marks && multipliers)
        *out = mix_factor(marks[count - 1].hash, marks[count - 1].factor);
    int failed = marks && multipliers ? 0 : -1;
    ad_free(marks);
    ad_free(multipliers);
    return failed;
}
