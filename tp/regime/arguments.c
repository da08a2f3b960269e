/* arguments.c: what functions are called with and the program's lines do not name, as g1 + b1 in tanh(g1 + b1). Of the
 * vectors that it is made of the lines have powers of their own; a parameter in it, a bias or a gain, has none. */
#include "autodiff/trace/trace.h"
#include "tp/regime/exponents.h"

static bool joins(ad_op op)
{
    return op == AD_ADD || op == AD_SUB || op == AD_MUL || op == AD_DIV;
}

/* A parameter by any name, and sums and products with one in them; of the nodes before, these are known. */
static bool takes_parameter(const tp_program *p, int id, const bool *takes)
{
    const ad_node *node = ad_node_of(p->graph, id);
    bool any = p->params[id] >= 0;
    for (int k = 0; k < node->n_in && (joins(node->op) || tp_renames(node->op)); k++)
        any = any || takes[node->in[k]];
    return any;
}

/* The sum or product that the node renames, -1 if it is none. */
static int joined(const ad_graph *graph, int id)
{
    id = tp_renamed(graph, id);
    return joins(ad_node_of(graph, id)->op) ? id : -1;
}

int tp_find_arguments(const tp_program *p, bool *arguments, ad_error *error)
{
    int n = 0;
    bool *takes = ad_alloc((size_t)p->forward + 1, sizeof *takes, "a program's nodes", error);
    if (!takes)
        return -1;
    for (int id = 0; id < p->forward; id++) {
        const ad_node *node = ad_node_of(p->graph, id);
        takes[id] = takes_parameter(p, id, takes);
        if (!p->lives[id] || !ad_is_unary(node->op) || tp_renames(node->op))
            continue;
        int below = joined(p->graph, node->in[0]);
        if (below >= 0 && takes[below] && !arguments[below] && p->widths[below] == 1) {
            arguments[below] = true;
            n++;
        }
    }
    ad_free(takes);
    return n;
}
