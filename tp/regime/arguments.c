/* arguments.c: what functions are called with and the program's lines do not name, as g1 + b1 in tanh(g1 + b1). Of the
 * vectors that it is made of the lines have powers of their own; a parameter in it, a bias or a gain, has none. */
#include "autodiff/trace/trace.h"
#include "tp/regime/exponents.h"

static bool is_renaming(ad_op op)
{
    return op == AD_IDENTITY || op == AD_EXPAND || op == AD_RELABEL || op == AD_TRANSPOSE || op == AD_NEG ||
           op == AD_SCALE;
}

static int behind_renamings(const ad_graph *graph, int id)
{
    while (is_renaming(ad_node_of(graph, id)->op))
        id = ad_node_of(graph, id)->in[0];
    return id;
}

/* A sum or a product with a parameter in it. */
static bool takes_parameter(const tp_program *p, int id)
{
    const ad_node *node = ad_node_of(p->graph, id);
    bool joins = node->op == AD_ADD || node->op == AD_SUB || node->op == AD_MUL || node->op == AD_DIV;
    for (int k = 0; joins && k < node->n_in; k++) {
        int below = behind_renamings(p->graph, node->in[k]);
        if (p->params[below] >= 0 || takes_parameter(p, below))
            return true;
    }
    return false;
}

int tp_find_arguments(const tp_program *p, bool *arguments)
{
    int n = 0;
    for (int id = 0; id < p->forward; id++) {
        const ad_node *node = ad_node_of(p->graph, id);
        if (!p->lives[id] || !ad_is_unary(node->op) || is_renaming(node->op))
            continue;
        int below = behind_renamings(p->graph, node->in[0]);
        if (!arguments[below] && p->widths[below] == 1 && takes_parameter(p, below)) {
            arguments[below] = true;
            n++;
        }
    }
    return n;
}
