/* orthogonal.c: when matrices that start orthogonal have the limit of Gaussian ones.
 *
 * Times a vector that it is independent of, a matrix of Haar's law gives coordinates that are Gaussian in the limit,
 * with the covariance that a Gaussian matrix gives; so it does on the way back if the vector there is orthogonal to
 * what the forward pass made of it, as in a BP-like program (Huang, Du and Xu, arXiv:2004.05867). Used twice, or with
 * its transpose, it has other laws, W' W x = sigma^2 x, which the executor's operator knows of square ones. */
#include "tp/program/program.h"

#include <math.h>
#include <string.h>

static int uses_of(const tp_program *program, int param)
{
    int uses = 0;
    for (int id = 0; id < program->forward; id++) {
        const ad_node *node = ad_node_of(program->graph, id);
        for (int k = 0; program->lives[id] && node->op == AD_CONTRACT && k < node->n_in; k++)
            uses += program->params[node->in[k]] == param;
    }
    return uses;
}

int tp_check_square(const tp_program *program, ad_error *error)
{
    for (int id = 0; id < program->n_nodes; id++) {
        const ad_node *node = ad_node_of(program->graph, id);
        if (node->op != AD_PARAM || !program->lives[id] || !node->init->orthogonal || node->shape.rank < 2)
            continue;
        double in = ad_axis_ratio(program->graph, node->shape.axes[0]),
               out = ad_axis_ratio(program->graph, node->shape.axes[1]);
        if (fabs(in - out) > 1e-12 * in)
            return ad_fail(error,
                           "%s:%d: %.80s starts orthogonal between widths of different size: there is a rule where it "
                           "is used once in a BP-like program, and, in a Jacobian, in a chain of layers of one size",
                           tp_short_file(node->where.file), node->where.line, node->name);
    }
    return 0;
}

int tp_check_orthogonal(const tp_program *program, ad_error *error)
{
    const ad_node *found = NULL;
    for (int id = 0; id < program->forward; id++) {
        const ad_node *node = ad_node_of(program->graph, id);
        if (node->op != AD_PARAM || !program->lives[id] || !node->init->orthogonal)
            continue;
        found = node;
        int uses = uses_of(program, id);
        if (uses > 1)
            return ad_fail(error,
                           "%s:%d: %.80s starts orthogonal and is used %d times: its limit is that of Gaussian weights "
                           "only where it is used once",
                           tp_short_file(node->where.file), node->where.line, node->name, uses);
    }
    tp_checks checks;
    if (!found)
        return 0;
    if (tp_check(program, &checks, error) < 0)
        return -1;
    if (tp_bp_like(&checks))
        return 0;
    return ad_fail(
        error,
        "%s:%d: %.80s starts orthogonal, and the limit is that of Gaussian weights only in a BP-like program, "
        "which this is not",
        tp_short_file(found->where.file), found->where.line, found->name);
}
