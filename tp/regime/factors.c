/* factors.c: what grows and breaks nothing: the reciprocal deviation of a vector that vanishes, by which normalisation
 * multiplies that vector. A function of what grows saturates or passes the growth on, a sum loses its other terms
 * beside it, a matrix multiplies what grows as it is; a product alone may be of order one while a factor grows. */
#include "tp/regime/exponents.h"

static bool multiplies(ad_op op)
{
    return op == AD_MUL || op == AD_DIV || op == AD_SQUARE;
}

void tp_find_factors(const tp_program *p, const bool *grows, bool *factors)
{
    for (int id = 0; id < p->forward; id++)
        factors[id] = grows[id] && id != p->output.id;
    for (int id = p->forward - 1; id >= 0; id--) {
        const ad_node *node = ad_node_of(p->graph, id);
        bool harmless = (tp_renames(node->op) || multiplies(node->op)) && (!grows[id] || factors[id]);
        for (int k = 0; p->lives[id] && k < node->n_in; k++)
            factors[node->in[k]] &= harmless;
    }
}
