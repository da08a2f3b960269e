/* preactivation.c: the vectors of the forward pass that are Gaussian in the limit. */
#include "tp/recursion/recursion.h"

#include <math.h>

/* A linear combination of G-vars, of order one, and nothing else. */
static bool is_gaussian(const tp_algebra *algebra, const tp_coordinate *c)
{
    bool all = c->n > 0;
    for (int i = 0; i < c->n; i++)
        all = all && c->terms[i].n == 1 && c->terms[i].factors[0].fn == algebra->variable &&
              fabs(c->terms[i].power) < 1e-12;
    return all;
}

/* A coordinatewise function, or the mean over a batch that begins its normalisation. */
static bool is_function(const tp_program *program, const ad_node *node)
{
    return (ad_is_unary(node->op) && node->op != AD_NEG && node->op != AD_IDENTITY) ||
           (node->op == AD_SUM && ad_has(&node->over, nn_batch(program->net)));
}

int tp_preactivations(const tp_program *program, ad_var *vectors, int capacity, ad_error *error)
{
    tp_algebra algebra;
    ad_error refusal = { 0 };
    int count = 0;
    if (tp_algebra_new(&algebra, program, error))
        return -1;
    algebra.error = &refusal;
    for (int id = 0; id < program->forward; id++) {
        const ad_node *node = ad_node_of(program->graph, id);
        if (!program->lives[id] || !program->learns[id] || !is_function(program, node) ||
            program->widths[node->in[0]] != 1)
            continue;
        int c = tp_coordinate_of(&algebra, node->in[0], tp_point_of(&algebra, node->in[0], NULL));
        bool seen = c < 0 || !is_gaussian(&algebra, tp_coordinate_at(&algebra, c));
        for (int k = 0; k < count && k < capacity; k++)
            seen = seen || vectors[k].id == node->in[0];
        if (!seen && count < capacity)
            vectors[count] = (ad_var){ program->graph, node->in[0] };
        count += !seen;
    }
    tp_algebra_free(&algebra);
    return count;
}
