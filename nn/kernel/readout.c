/* readout.c: what a readout's parameters are in front of: the outputs must be linear in them, so that the NNGP kernel
 * is the tangent kernel with their initial variances as weights. */
#include "nn/kernel/kernel.h"

#include <math.h>

/* Is the node linear, without a constant part, in the readout's parameters, as far as its operands are, which are
 * asked for? depends: by node. Names what is not. */
static int check_node(const nn_net *net, int id, const bool *depends, bool *asked, ad_error *error)
{
    const ad_node *node = ad_node_of(net->graph, id);
    if (!depends[id])
        return ad_fail(error, "%s:%d: nngp: %s: a part of the outputs that no readout multiplies", node->where.file,
                       node->where.line, ad_op_name(node->op));
    switch (node->op) {
    case AD_PARAM:
        return 0;
    case AD_ADD:
    case AD_SUB:
        asked[node->in[0]] = asked[node->in[1]] = true;
        return 0;
    case AD_NEG:
    case AD_SCALE:
    case AD_SUM:
    case AD_EXPAND:
    case AD_RELABEL:
    case AD_TRANSPOSE:
        asked[node->in[0]] = true;
        return 0;
    case AD_MUL:
    case AD_CONTRACT:
        if (depends[node->in[0]] != depends[node->in[1]]) {
            asked[node->in[depends[node->in[0]] ? 0 : 1]] = true;
            return 0;
        }
        break;
    default:
        break;
    }
    return ad_fail(error, "%s:%d: nngp: %s: the outputs are no readout, linear in its parameters", node->where.file,
                   node->where.line, ad_op_name(node->op));
}

/* Is the output so, with all that it is made of? */
static int check_linear(const nn_net *net, ad_var output, const bool *depends, ad_error *error)
{
    bool *asked = ad_alloc((size_t)output.id + 1, sizeof *asked, "a kernel", error);
    int status = asked ? 0 : -1;
    if (asked)
        asked[output.id] = true;
    for (int id = output.id; id >= 0 && !status; id--)
        if (asked[id])
            status = check_node(net, id, depends, asked, error);
    ad_free(asked);
    return status;
}

static int readout_variances(const nn_net *net, ad_var output, const ad_sizes *sizes, double *variances,
                             ad_error *error)
{
    bool *depends = ad_alloc((size_t)output.id + 1, sizeof *depends, "a kernel", error);
    if (!depends)
        return -1;
    for (int k = 0; k < net->n_params; k++) {
        const ad_node *node = ad_node_of(net->graph, net->params[k].id);
        const ad_init *init = node->init;
        variances[k] = 0;
        if (!ad_has(&node->shape, net->outputs))
            continue;
        depends[net->params[k].id] = true;
        double deviation = init->deviation;
        if (init->axis.id)
            deviation *= pow((double)ad_axis_size(net->graph, init->axis, sizes), init->deviation_power);
        variances[k] = deviation * deviation;
        if (fabs(init->mean) > 0) {
            ad_free(depends);
            return ad_fail(error, "%s:%d: nngp: the readout %s starts around %g, not 0", node->where.file,
                           node->where.line, node->name, init->mean);
        }
    }
    for (int id = 0; id <= output.id; id++)
        for (int k = 0; k < ad_node_of(net->graph, id)->n_in; k++)
            depends[id] |= depends[ad_node_of(net->graph, id)->in[k]];
    int failed = check_linear(net, output, depends, error);
    ad_free(depends);
    return failed;
}

int nn_readout_variances(const nn_net *net, const ad_sizes *sizes, double *variances, ad_error *error)
{
    return readout_variances(net, net->output, sizes, variances, error);
}

int nn_readout_rate(const nn_net *net, const ad_sizes *sizes, double *rate, ad_error *error)
{
    double *variances = ad_alloc((size_t)net->n_params + 1, sizeof *variances, "a kernel", error);
    const char *first = NULL;
    int status = variances ? readout_variances(net, net->output, sizes, variances, error) : -1;
    *rate = (double)NAN;
    for (int k = 0; k < net->n_params && !status; k++) {
        const ad_node *node = ad_node_of(net->graph, net->params[k].id);
        double own = nn_rate_scale(net, k, sizes) / variances[k]; /* infinite for one that starts at 0 */
        if (!ad_has(&node->shape, net->outputs))
            continue;
        if (!(own > 0) || !isfinite(own))
            status = ad_fail(error, "%s:%d: nngp: the readout %s %s", node->where.file, node->where.line, node->name,
                             variances[k] > 0 ? "does not learn" : "starts at 0, and learns");
        else if (first && fabs(own - *rate) > 1e-12 * *rate)
            status =
                ad_fail(error, "%s:%d: nngp: the readouts %s and %s have %g and %g of their NNGP kernels in the NTK",
                        node->where.file, node->where.line, first, node->name, *rate, own);
        *rate = own;
        first = node->name;
    }
    ad_free(variances);
    return status;
}

int nn_weigh(const nn_model *model, int v, nn_weighing by, double *weights, ad_error *error)
{
    if (by == NN_READOUT)
        return readout_variances(model->net, model->net->variants[v].output, &model->sizes, weights, error);
    for (int k = 0; k < model->net->n_params; k++)
        weights[k] = by == NN_TRAINED ? nn_rate_scale(model->net, k, &model->sizes) : nn_learns(model->net, k);
    return 0;
}
