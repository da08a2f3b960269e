/* symmetry.c: which sums over widths cancel. Of each node two sets of parameters with a symmetric law. Its coordinates
 * are odd in entries of their own of the one: of v_i h_i the i-th changes its sign with v_i, and with no other entry,
 * so that a sum over i is of order n^1/2. The other does not change it with its signs at all. What is odd in a number,
 * or in a sum <v, h> that all coordinates share, is of one sign along the width and in neither set.
 *
 * A number c that all coordinates share is taken for one that no sign moves: sum_i c u_i y_i = c sum_i u_i y_i cancels
 * whatever c knows of u, and so do sums of functions of u_i and c, for all c at once. */
#include "tp/regime/exponents.h"

#include "autodiff/trace/trace.h"

#include <math.h>
#include <string.h>

bool tp_widths_within(const ad_graph *graph, const ad_shape *part, const ad_shape *whole)
{
    for (int k = 0; k < part->rank; k++)
        if (tp_is_width(graph, part->axes[k]) && !ad_has(whole, part->axes[k]))
            return false;
    return true;
}

static const ad_shape *shape_of(const tp_exponents *e, int id)
{
    return &ad_node_of(e->program->graph, id)->shape;
}

static uint64_t *set_of(const tp_exponents *e, uint64_t *sets, int id)
{
    return sets + (size_t)id * e->signs;
}

bool tp_is_random_matrix(const tp_exponents *e, int id)
{
    int param = e->program->params[id];
    return e->program->widths[id] > 1 && param >= 0 && !(fabs(ad_node_of(e->program->graph, param)->init->mean) > 0);
}

/* The entries of a, one for each coordinate of a product along these axes, that b does not know of. */
static uint64_t product_own(const tp_exponents *e, int a, int b, const ad_shape *along, size_t i)
{
    bool has_all = tp_widths_within(e->program->graph, along, shape_of(e, a));
    return has_all ? set_of(e, e->own, a)[i] & set_of(e, e->unmoved, b)[i] : 0;
}

bool tp_mixes(const tp_exponents *e, int matrix, int x, const ad_node *node)
{
    const ad_graph *graph = e->program->graph;
    ad_shape both = ad_shape_union(shape_of(e, matrix), shape_of(e, x));
    ad_shape rest = ad_shape_minus(&both, shape_of(e, matrix));
    return tp_is_random_matrix(e, matrix) && tp_count_widths(graph, &node->over) == 1 &&
           tp_count_widths(graph, &rest) == 0;
}

static uint64_t mixed_own(const tp_exponents *e, int matrix, int x, const ad_node *node, size_t i)
{
    return tp_mixes(e, matrix, x, node) ? set_of(e, e->own, x)[i] & set_of(e, e->unmoved, matrix)[i] : 0;
}

static void visit_product(const tp_exponents *e, const ad_node *node, int id)
{
    int a = node->in[0], b = node->in[1];
    for (size_t i = 0; i < e->signs; i++) {
        uint64_t own = product_own(e, a, b, &node->shape, i), unmoved;
        own |= node->op == AD_DIV ? 0 : product_own(e, b, a, &node->shape, i);
        own |= node->op == AD_CONTRACT ? mixed_own(e, a, b, node, i) | mixed_own(e, b, a, node, i) : 0;
        unmoved = set_of(e, e->unmoved, a)[i] & set_of(e, e->unmoved, b)[i];
        unmoved |= a == b && node->op != AD_DIV ? set_of(e, e->own, a)[i] : 0;
        set_of(e, e->own, id)[i] = own;
        set_of(e, e->unmoved, id)[i] = unmoved;
    }
}

static bool renames_axes(ad_op op)
{
    return op == AD_RELABEL || op == AD_TRANSPOSE;
}

/* Sums and what only moves entries. */
static bool is_linear(ad_op op)
{
    return op == AD_ADD || op == AD_SUB || op == AD_SUM || op == AD_SLICE || op == AD_CONCAT || tp_renames(op);
}

bool tp_keeps_apart(const tp_exponents *e, const ad_node *node, int k)
{
    return renames_axes(node->op) || tp_widths_within(e->program->graph, &node->shape, shape_of(e, node->in[k]));
}

static void visit(const tp_exponents *e, int id)
{
    const ad_node *node = ad_node_of(e->program->graph, id);
    uint64_t *own = set_of(e, e->own, id), *unmoved = set_of(e, e->unmoved, id);
    const ad_op_facts *facts = ad_is_unary(node->op) ? ad_op_facts_of(node->op) : NULL;
    bool odd = is_linear(node->op) || (facts && facts->parity == AD_ODD), even = facts && facts->parity == AD_EVEN;
    memset(unmoved, 0xff, e->signs * sizeof *unmoved);
    if (node->op == AD_MUL || node->op == AD_DIV || node->op == AD_CONTRACT) {
        visit_product(e, node, id);
        return;
    }
    for (int k = 0; k < node->n_in; k++)
        for (size_t i = 0; i < e->signs; i++) {
            uint64_t of_it = odd && tp_keeps_apart(e, node, k) ? set_of(e, e->own, node->in[k])[i] : 0;
            own[i] = k ? own[i] & of_it : of_it;
            unmoved[i] &= set_of(e, e->unmoved, node->in[k])[i] | (even ? set_of(e, e->own, node->in[k])[i] : 0);
        }
}

/* Linear in what is odd, by different parameters perhaps. */
static bool adds_centred(const tp_exponents *e, const ad_node *node, const bool *centred)
{
    bool all = is_linear(node->op) && node->n_in > 0;
    for (int k = 0; all && k < node->n_in; k++)
        all = centred[node->in[k]] && tp_keeps_apart(e, node, k);
    return all;
}

/* A parameter moves with its own signs; its entries are independent where it has some along a width that are drawn. */
static void visit_params(const tp_exponents *e)
{
    for (int k = 0; k < nn_n_params(e->program->net); k++) {
        int id = nn_param(e->program->net, k).id;
        const ad_node *node = ad_node_of(e->program->graph, id);
        uint64_t bit = (uint64_t)1 << k % 64;
        set_of(e, e->unmoved, id)[k / 64] &= ~bit;
        if (e->program->widths[id] > 0 && !(fabs(node->init->mean) > 0) && node->init->deviation > 0)
            set_of(e, e->own, id)[k / 64] |= bit;
    }
}

int tp_find_centred(tp_exponents *e, ad_arena *arena, bool *centred, ad_error *error)
{
    const tp_program *program = e->program;
    size_t n = (size_t)program->n_nodes;
    e->signs = (size_t)nn_n_params(program->net) / 64 + 1;
    e->own = ad_arena_alloc(arena, n * e->signs + 1, sizeof *e->own);
    e->unmoved = ad_arena_alloc(arena, n * e->signs + 1, sizeof *e->unmoved);
    e->centred = centred;
    if (!e->own || !e->unmoved)
        return ad_fail(error, "regime: out of memory");
    for (int id = 0; id < program->n_nodes; id++)
        if (ad_node_of(program->graph, id)->n_in == 0)
            visit(e, id);
    visit_params(e);
    for (int id = 0; id < program->n_nodes; id++) {
        const ad_node *node = ad_node_of(program->graph, id);
        if (!program->lives[id])
            continue;
        if (node->n_in > 0)
            visit(e, id);
        if (program->widths[id] == 0)
            memset(set_of(e, e->unmoved, id), 0xff, e->signs * sizeof *e->unmoved);
        centred[id] = adds_centred(e, node, centred);
        for (size_t i = 0; i < e->signs; i++)
            centred[id] |= set_of(e, e->own, id)[i] != 0;
    }
    return 0;
}

bool tp_product_centred(const tp_exponents *e, int a, int b, const ad_shape *over)
{
    for (size_t i = 0; i < e->signs; i++)
        if (product_own(e, a, b, over, i) | product_own(e, b, a, over, i))
            return true;
    return false;
}
