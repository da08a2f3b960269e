/* rewrite.c: the network as the translator reads it: the same function, in the forms that rules are for.
 *
 * - Rows picked from a parameter are its product with one-hot rows.
 * - What is computed of parameters alone, before any sample is met, is computed for each sample: so the backward pass
 *   of one sample does not meet that of another, and a function of a parameter is a coordinatewise one of a vector.
 *   Where samples meet anyway, the backward pass knows both samples, and this is not needed. */
#include "autodiff/trace/trace.h"
#include "tp/program/program.h"

typedef struct {
    ad_graph *graph;
    ad_axis batch;
    bool coupled;
    int *becomes, *spread; /* by node: what it is now; and that for each sample, -1 before it is needed */
    bool *learns, *lives;
} rewriter;

static ad_shape with_batch(const rewriter *r, const ad_shape *shape)
{
    ad_shape all = ad_shape_of(r->batch);
    return ad_shape_union(&all, shape);
}

static bool is_matrix(const rewriter *r, int id)
{
    return tp_count_widths(r->graph, &ad_node_of(r->graph, id)->shape) > 1;
}

/* Is it computed of parameters, without a sample? Matrices stay as they are, and are multiplied into vectors: no rule
 * is for other functions of them. */
static bool is_early(const rewriter *r, int id)
{
    const ad_node *node = ad_node_of(r->graph, id);
    int matrices = 0;
    for (int k = 0; k < node->n_in; k++)
        matrices += is_matrix(r, node->in[k]);
    return !r->coupled && r->learns[id] && node->op != AD_PARAM && !ad_has(&node->shape, r->batch) &&
           node->shape.rank < AD_MAX_RANK && matrices < (node->op == AD_CONTRACT && node->n_in == 2 ? 2 : 1);
}

/* A node for each sample; -1 without memory. */
static int spread(rewriter *r, int id)
{
    ad_var now = { r->graph, r->becomes[id] };
    if (r->spread[id] < 0)
        r->spread[id] = ad_expand_at(ad_node_of(r->graph, id)->where, now, with_batch(r, ad_shape_get(now))).id;
    return r->spread[id];
}

static int rewrite_node(rewriter *r, int id)
{
    ad_node node = *ad_node_of(r->graph, id);
    bool early = is_early(r, id), changed = early;
    if (node.op == AD_GATHER && ad_node_of(r->graph, node.in[0])->op == AD_PARAM && !early) {
        ad_var table = { r->graph, node.in[0] }, index = { r->graph, r->becomes[node.in[1]] };
        ad_var rows =
            ad_contract_at(node.where, ad_one_hot_at(node.where, index, node.axis), table, ad_shape_of(node.axis));
        return ad_transpose_at(node.where, rows, node.shape).id;
    }
    int *in = ad_arena_alloc(r->graph->arena, (size_t)node.n_in + 1, sizeof *in);
    if (!in)
        return -1;
    for (int k = 0; k < node.n_in; k++) {
        in[k] = early && !is_matrix(r, node.in[k]) ? spread(r, node.in[k]) : r->becomes[node.in[k]];
        changed |= in[k] != node.in[k];
        if (in[k] < 0)
            return -1;
    }
    if (!changed)
        return id;
    if (early)
        node.shape = with_batch(r, &node.shape);
    int made = ad_node_make(r->graph, node, node.n_in, in).id;
    if (early)
        r->spread[id] = made;
    return made;
}

ad_var tp_rewrite(ad_var output, ad_axis batch)
{
    ad_graph *graph = output.graph;
    size_t n = (size_t)output.id + 1;
    rewriter r = { .graph = graph, .batch = batch, .coupled = ad_parameters_coupled(output, batch) };
    r.becomes = ad_arena_alloc(graph->arena, n, sizeof *r.becomes);
    r.spread = ad_arena_alloc(graph->arena, n, sizeof *r.spread);
    r.learns = ad_arena_alloc(graph->arena, n, sizeof *r.learns);
    r.lives = ad_arena_alloc(graph->arena, n, sizeof *r.lives);
    if (!r.becomes || !r.spread || !r.learns || !r.lives)
        return (ad_var){ graph, -1 };
    r.lives[output.id] = true;
    for (int id = output.id; id >= 0; id--)
        for (int k = 0; r.lives[id] && k < ad_node_of(graph, id)->n_in; k++)
            r.lives[ad_node_of(graph, id)->in[k]] = true;
    for (int id = 0; id <= output.id; id++) {
        const ad_node *node = ad_node_of(graph, id);
        r.becomes[id] = id;
        r.spread[id] = -1;
        r.learns[id] = node->op == AD_PARAM;
        for (int k = 0; k < node->n_in; k++)
            r.learns[id] |= r.learns[node->in[k]];
        bool moved = node->moved && r.lives[node->in[0]]; /* read by nothing, and tells what its operand is times */
        if ((r.lives[id] || moved) && node->n_in > 0 && (r.becomes[id] = rewrite_node(&r, id)) < 0)
            return (ad_var){ graph, -1 };
    }
    return (ad_var){ graph, r.becomes[output.id] };
}
