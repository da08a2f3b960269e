/* translate.c: from a traced network to a program: the backward pass is added to the trace, and what no limit is known of
 * is refused, with op, file and line. */
#include "tp/program.h"

#include <string.h>

/* Ops that a width axis may not pass through along itself. */
static int check_node(const ad_graph *graph, const ad_node *node, ad_error *error)
{
    bool along = node->op == AD_SOFTMAX || node->op == AD_LOGSUMEXP || node->op == AD_MAX || node->op == AD_ARGMAX ||
                 node->op == AD_GATHER || node->op == AD_SCATTER;
    if (along && ad_axis_kind(graph, node->axis) == AD_WIDTH)
        return ad_fail(error, "%s:%d: %s: no Netsor rule: it goes along the width %s, where coordinates must not meet",
                       node->where.file, node->where.line, ad_op_name(node->op), ad_axis_name(graph, node->axis));
    return 0;
}

/* The op at which samples of a batch meet, for the message. */
static int refuse_coupling(const ad_graph *graph, ad_axis batch, ad_error *error)
{
    for (int id = 0; id < ad_size(graph); id++) {
        const ad_node *node = ad_look(graph, id);
        if (ad_has(&node->over, batch))
            return ad_fail(error, "%s:%d: %s: the samples of a batch meet here: no limit of coupled samples",
                           node->where.file, node->where.line, ad_op_name(node->op));
    }
    return ad_fail(error, "the samples of a batch meet in this network: no limit of coupled samples");
}

tp_program *tp_translate(nn_net *net, ad_error *error)
{
    ad_graph *graph = nn_graph(net);
    bool wide = false;
    for (int id = 0; id < ad_size(graph); id++) {
        const ad_node *node = ad_look(graph, id);
        if (check_node(graph, node, error))
            return NULL;
        for (int i = 0; i < node->shape.rank; i++)
            wide = wide || ad_axis_kind(graph, node->shape.axes[i]) == AD_WIDTH;
    }
    if (!wide) {
        ad_fail(error, "the network has no width axis: nothing in it tends to infinity");
        return NULL;
    }
    if (ad_couples(nn_output(net), nn_batch(net))) {
        refuse_coupling(graph, nn_batch(net), error);
        return NULL;
    }
    tp_program *program = ad_alloc(1, sizeof *program, "a program", error);
    if (!program)
        return NULL;
    *program = (tp_program){ .net = net, .graph = graph, .output = nn_output(net), .seed = ad_prime(nn_outputs(net)),
                             .forward = ad_size(graph) };
    ad_var seed = ad_delta(graph, program->seed, nn_outputs(net));
    program->n_sites = ad_backward(program->output, seed, NULL, 0, NULL, &program->sites);
    program->nodes = ad_size(graph);
    if (program->n_sites < 0) {
        ad_fail(error, "%s", ad_message(graph));
        ad_free(program);
        return NULL;
    }
    return program;
}

void tp_free(tp_program *program)
{
    ad_free(program);
}
