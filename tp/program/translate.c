/* translate.c: from a traced network to a program: the backward pass, what lives, and what no rule covers.
 *
 * What a width axis sees in an op decides: a Gaussian matrix times a vector is MatMul, a sum over fixed axes LinComb, a
 * coordinatewise function Nonlin, an average over the width a scalar. What is none of these is refused here. */
#include "autodiff/trace/trace.h"
#include "nn/network/network.h"
#include "tp/program/expansion.h"

#include <math.h>
#include <string.h>

static int refuse(const tp_program *program, int id, ad_error *error, const char *reason)
{
    const ad_node *node = ad_node_of(program->graph, id);
    return ad_fail(error, "%s:%d: %s: %s", node->where.file, node->where.line, tp_node_name(node), reason);
}

static const ad_shape *shape_of(const ad_graph *graph, int id)
{
    return &ad_node_of(graph, id)->shape;
}

/* ---- what no rule covers ---- */
static bool keeps_matrix(ad_op op)
{
    return op == AD_PARAM || op == AD_RELABEL || op == AD_TRANSPOSE || op == AD_SCALE;
}

static int check_node(const tp_program *program, int id, ad_error *error)
{
    const ad_graph *graph = program->graph;
    const ad_node *node = ad_node_of(graph, id);
    char reason[300], text[120];
    bool along = node->op == AD_GATHER || node->op == AD_SCATTER || node->op == AD_LOGSUMEXP ||
                 node->op == AD_SOFTMAX || node->op == AD_MAX || node->op == AD_ARGMAX;
    if (along && tp_is_width(graph, node->axis)) {
        snprintf(reason, sizeof reason,
                 "it runs along the width axis %s: what mixes all coordinates of a vector, other "
                 "than an average or a product with a matrix, has no Netsor⊤ rule",
                 ad_axis_name(graph, node->axis));
        return refuse(program, id, error, reason);
    }
    int matrices = 0, matrix = -1;
    for (int k = 0; k < node->n_in; k++)
        if (program->widths[node->in[k]] > 1) {
            matrices++;
            matrix = node->in[k];
        }
    int widths = program->widths[id];
    if (widths > 2) {
        snprintf(reason, sizeof reason, "%s has %d width axes: a Netsor⊤ program has vectors and matrices",
                 ad_shape_text(graph, &node->shape, text, sizeof text), widths);
        return refuse(program, id, error, reason);
    }
    if (program->keeps[id] > 0 && widths == 0)
        return refuse(program, id, error,
                      "dropout of what has no width: its masks stay random as n grows, and so does the kernel; with "
                      "--width N it is one draw's");
    if (matrices == 0 && (widths < 2 || node->op == AD_PARAM))
        return 0;
    if (matrices == 0) {
        snprintf(reason, sizeof reason,
                 "it makes a matrix %s of vectors: the matrices of a Netsor⊤ program are parameters",
                 ad_shape_text(graph, &node->shape, text, sizeof text));
        return refuse(program, id, error, reason);
    }
    if (keeps_matrix(node->op) || (node->op == AD_CONTRACT && matrices == 1 && widths == 1))
        return 0;
    while (keeps_matrix(ad_node_of(graph, matrix)->op) && ad_node_of(graph, matrix)->n_in > 0)
        matrix = ad_node_of(graph, matrix)->in[0];
    const char *name = ad_node_of(graph, matrix)->name;
    snprintf(reason, sizeof reason,
             node->op == AD_CONTRACT && matrices == 2
                 ? "a product of two matrices, %.80s and another: multiply them into a vector, one after the other"
                 : "the matrix %.80s is used entry by entry: in a Netsor⊤ program a matrix is multiplied into vectors, "
                   "and nothing else",
             name ? name : ad_shape_text(graph, shape_of(graph, matrix), text, sizeof text));
    return refuse(program, id, error, reason);
}

/* ---- what lives ---- */
static void mark_lives(tp_program *program, int from)
{
    for (int id = from; id >= 0; id--) {
        const ad_node *node = ad_node_of(program->graph, id);
        for (int k = 0; program->lives[id] && k < node->n_in; k++)
            program->lives[node->in[k]] = true;
    }
}

static void *array(tp_program *program, int n, size_t size, ad_error *error)
{
    void *memory = ad_arena_alloc(program->arena, (size_t)n + 1, size);
    if (!memory)
        ad_fail(error, "out of memory for a program of %d nodes", n);
    return memory;
}

/* Does the size of a width enter the node's values? Data is run at no width, and must not know n; spread over a width,
 * it is a vector whose coordinates are all one number of the data. */
static bool meets_size(const ad_graph *graph, const ad_node *node)
{
    if (node->op == AD_SCALE)
        return node->axis.id && fabs(node->power) > 0 && ad_axis_kind(graph, node->axis) == AD_WIDTH;
    return (node->op == AD_SUM || node->op == AD_CONTRACT) && tp_count_widths(graph, &node->over) > 0;
}

/* What is known of each of n nodes, where it is known of the first ones already: only `lives` is still to be marked. */
static int learn_nodes(tp_program *program, int known, int n, ad_error *error)
{
    bool *lives = array(program, n, sizeof *lives, error), *learns = array(program, n, sizeof *learns, error);
    bool *data = array(program, n, sizeof *data, error), *sized = array(program, n, sizeof *sized, error);
    int *widths = array(program, n, sizeof *widths, error), *params = array(program, n, sizeof *params, error);
    double *keeps = array(program, n, sizeof *keeps, error);
    if (!lives || !learns || !data || !sized || !widths || !params || !keeps)
        return -1;
    if (known) {
        memcpy(lives, program->lives, (size_t)known * sizeof *lives);
        memcpy(widths, program->widths, (size_t)known * sizeof *widths);
        memcpy(params, program->params, (size_t)known * sizeof *params);
    }
    tp_measure(program->graph, known, n, widths, params);
    for (int id = 0; id < n; id++) {
        const ad_node *node = ad_node_of(program->graph, id);
        const nn_drop *drop = program->masked && node->op == AD_INPUT ? nn_drop_of(program->net, id) : NULL;
        keeps[id] = drop ? drop->keep : 0;
        learns[id] = node->op == AD_PARAM;
        sized[id] = meets_size(program->graph, node);
        data[id] = node->op == AD_INPUT;
        for (int k = 0; k < node->n_in; k++) {
            learns[id] |= learns[node->in[k]];
            sized[id] |= sized[node->in[k]];
            data[id] |= data[node->in[k]];
        }
        data[id] = data[id] && !learns[id] && !sized[id] && widths[id] == 0;
    }
    program->lives = lives;
    program->learns = learns;
    program->data = data;
    program->widths = widths;
    program->params = params;
    program->keeps = keeps;
    return 0;
}

/* A parameter whose rate is 0 is a constant: nothing is differentiated by it. Sites of frozen readouts come last. */
static int drop_frozen(tp_program *program, ad_error *error)
{
    int n = 0, count = program->n_sites;
    ad_axis outputs = nn_outputs(program->net);
    ad_site *kept = array(program, count, sizeof *kept, error);
    for (int pass = 0; pass < 2 && kept; pass++) {
        for (int i = 0; i < count; i++) {
            const ad_node *param = ad_node_of(program->graph, program->sites[i].param.id);
            bool learns = fabs(param->init->rate) > 0;
            if (pass == 0 ? learns : !learns && ad_has(&param->shape, outputs))
                kept[n++] = program->sites[i];
            program->frozen |= !learns;
        }
        if (pass == 0)
            program->n_sites = n;
    }
    program->n_readouts = n - program->n_sites;
    program->sites = kept;
    program->all_sites = kept;
    program->n_all_sites = n;
    return kept ? 0 : -1;
}

/* The backward pass, asked for the adjoints of all vectors, which name its lines. Where samples meet, its vectors have
 * two sample indices: the output's and their own. */
static int add_backward(tp_program *program, ad_error *error)
{
    ad_graph *graph = program->graph;
    int n = program->forward, n_wrt = 0;
    ad_var *wrt = array(program, n, sizeof *wrt, error), *adjoints = array(program, n, sizeof *adjoints, error);
    if (!wrt || !adjoints)
        return -1;
    for (int id = 0; id < n; id++) {
        const ad_node *node = ad_node_of(graph, id);
        if (program->lives[id] && program->learns[id] && node->op != AD_PARAM && !node->moved &&
            node->shape.rank + 1 + program->coupled <= AD_MAX_RANK && program->widths[id] == 1)
            wrt[n_wrt++] = (ad_var){ graph, id };
    }
    ad_axis outputs = nn_outputs(program->net), batch = nn_batch(program->net);
    program->seed = ad_unused_prime(graph, program->output.id, outputs);
    ad_var seed = ad_delta(graph, program->seed, outputs);
    if (program->coupled) {
        program->sample = ad_unused_prime(graph, program->output.id, batch);
        ad_shape all = ad_shape_of(program->seed, outputs, program->sample, batch);
        seed = ad_mul(ad_expand(seed, all), ad_expand(ad_delta(graph, program->sample, batch), all));
    }
    program->n_sites = ad_backward(program->output, seed, wrt, n_wrt, adjoints, &program->sites);
    if (program->n_sites < 0)
        return ad_fail(error, "%s", *ad_message(graph) ? ad_message(graph) : "out of memory for the backward pass");
    if (drop_frozen(program, error))
        return -1;

    program->n_nodes = ad_graph_size(graph);
    program->adjoint = array(program, program->n_nodes, sizeof *program->adjoint, error);
    if (!program->adjoint || learn_nodes(program, n, program->n_nodes, error))
        return -1;
    for (int id = 0; id < program->n_nodes; id++)
        program->adjoint[id] = -1;
    for (int i = 0; i < n_wrt; i++)
        program->adjoint[wrt[i].id] = adjoints[i].id;
    for (int i = 0; i < program->n_sites + program->n_readouts; i++) {
        program->lives[program->sites[i].delta.id] = true;
        if (program->sites[i].y.graph)
            program->lives[program->sites[i].y.id] = true;
    }
    mark_lives(program, program->n_nodes - 1);
    return 0;
}

static int translate(tp_program *program, ad_error *error)
{
    if (ad_failed(program->graph))
        return ad_fail(error, "%s", ad_message(program->graph));
    if (learn_nodes(program, 0, program->forward, error))
        return -1;
    program->lives[program->output.id] = true;
    mark_lives(program, program->output.id);
    for (int id = 0; id < program->forward; id++)
        if (program->lives[id] && check_node(program, id, error))
            return -1;
    if (add_backward(program, error))
        return -1;
    for (int id = program->forward; id < program->n_nodes; id++)
        if (program->lives[id] && check_node(program, id, error))
            return -1;
    return 0;
}

/* An output in the forms that rules are for; one whose readout is now last has new functions of parameters alone. */
static ad_var rewritten(const nn_net *net, ad_var output)
{
    if (ad_failed(output.graph))
        return output;
    ad_var first = tp_rewrite(output, nn_batch(net));
    if (first.id < 0)
        return first;
    ad_var last = tp_read_out_last(first, nn_outputs(net), nn_batch(net));
    return last.id < 0 || last.id == first.id ? last : tp_rewrite(last, nn_batch(net));
}

/* Reads a vector out by a parameter of its own, omega ~ N(0, 1): f = omega h / sqrt(size), whose NNGP kernel is the
 * mean of h h' over the coordinates, and whose NTK over all other parameters that of <dh, dh'>. *probe: that
 * parameter. */
static ad_var read_out(nn_net *net, ad_var vector, int *probe)
{
    ad_graph *graph = nn_graph(net);
    const ad_shape *shape = ad_shape_get(vector);
    ad_axis axis = shape->axes[ad_same(shape->axes[0], nn_batch(net)) ? 1 : 0];
    const ad_init init = { .axis = axis, .deviation = 1, .multiplier = 1, .multiplier_power = -0.5, .rate = 1 };
    const char *name = ad_arena_text(net->arena, "probe.%d", ad_graph_size(graph));
    ad_var omega = ad_param(graph, name, ad_shape_of(axis, nn_outputs(net)), init);
    *probe = omega.id;
    ad_var f = ad_scale_by(ad_contract(vector, omega, ad_shape_of(axis)), 1, axis, -0.5);
    return ad_transpose(f, ad_shape_of(nn_batch(net), nn_outputs(net)));
}

/* All that follows from the output, which has the forms that rules are for. */
static int complete(tp_program *program, ad_error *error)
{
    program->forward = ad_graph_size(program->graph);
    program->coupled = program->output.id >= 0 && ad_parameters_coupled(program->output, nn_batch(program->net));
    program->meets = program->output.id >= 0 && ad_coupled(program->output, nn_batch(program->net));
    if (!(program->arena = ad_arena_new(error)))
        return -1;
    if (program->output.id < 0)
        return ad_fail(error, "%s",
                       *ad_message(program->graph) ? ad_message(program->graph) : "out of memory for a program");
    if (program->masked && program->coupled)
        return ad_fail(error, "dropout and samples that meet, as in batch normalisation, have no limit together here: "
                              "with --width N it is one draw's");
    return translate(program, error) || tp_find_independence(program, error) ? -1 : 0;
}

/* ---- functions of what vanishes ---- */
/* With polynomials of this degree; NULL, and no error, where there is no such function. */
static tp_program *expanded_to(const tp_program *program, int degree, ad_error *error)
{
    int n;
    tp_program *made = ad_alloc(1, sizeof *made, "a program", error);
    if (!made)
        return NULL;
    *made = (tp_program){ .net = program->net,
                          .graph = program->graph,
                          .probe = program->probe,
                          .masked = program->masked,
                          .expands = true };
    made->output = tp_expand(program, degree, &n);
    bool failed = (n > 0 || made->output.id < 0) && complete(made, error);
    if (n > 0 && !failed)
        return made;
    tp_program_free(made);
    return NULL;
}

/* The largest power of n that polynomials leave out of a kernel, relative to what the kernel is if it does not cancel;
 * positive where this is not shown to vanish. */
static double left_by_polynomials(const tp_program *program)
{
    double most = -INFINITY;
    bool *left_out = ad_alloc((size_t)program->n_nodes + 1, sizeof *left_out, "the powers of a program", NULL);
    for (int which = 0; which < 2 && left_out; which++) {
        ad_error none = { 0 };
        double floor = -INFINITY, largest, bound = tp_power_bound(program, (tp_kernel_kind)which);
        if (!tp_find_vanishing(program, (tp_kernel_kind)which, &floor, left_out, &largest, &none))
            most = fmax(most, largest - fmin(bound, 0));
    }
    ad_free(left_out);
    return most;
}

/* The degrees of the two programs: the least that is shown to be enough, or beyond which no more is, and one above. */
static int choose_degrees(const tp_program *program, int degree[2], ad_error *error)
{
    double least = INFINITY;
    degree[0] = degree[1] = 0;
    for (int d = 1; d < TP_MOST_COEFFICIENTS && !(least < -1e-9); d++) {
        ad_mark before = ad_graph_mark(program->graph);
        tp_program *one = expanded_to(program, d, error);
        if (!one)
            return error->text[0] ? -1 : 0;
        double left = left_by_polynomials(one);
        if (d == 1 || left < least - 1e-9) {
            least = left;
            degree[0] = d;
        }
        tp_program_free(one);
        ad_graph_rewind(program->graph, before);
    }
    degree[1] = degree[0] + 4 < TP_MOST_COEFFICIENTS ? degree[0] + 4 : TP_MOST_COEFFICIENTS - 1;
    return 0;
}

static int add_expanded(tp_program *program, ad_error *error)
{
    int degree[2];
    ad_error failure = { 0 };
    int status = choose_degrees(program, degree, &failure);
    for (int k = 0; k < 2 && degree[0] && !status && (k == 0 || degree[1] > degree[0]); k++) {
        program->expanded[k] = expanded_to(program, degree[k], &failure);
        status = program->expanded[k] ? 0 : -1;
    }
    return status ? ad_fail(error, "%s", failure.text) : 0;
}

/* vector NULL: of the outputs; masked: of a fit's step. */
static tp_program *make_program(nn_net *net, const ad_var *vector, bool masked, ad_error *error)
{
    tp_program *program = ad_alloc(1, sizeof *program, "a program", error);
    if (!program)
        return NULL;
    program->net = net;
    program->graph = nn_graph(net);
    program->probe = -1;
    program->masked = masked && net->drops;
    ad_mark before = nn_growth_begin(net);
    ad_var output = vector && !ad_failed(program->graph) ? read_out(net, *vector, &program->probe)
                    : program->masked                    ? net->fit_output
                                                         : nn_output(net);
    program->output = rewritten(net, output);
    bool failed = complete(program, error) || add_expanded(program, error);
    if (nn_growth_end(net, before, "program", error) != 0 || failed) {
        tp_program_free(program);
        return NULL;
    }
    return program;
}

int tp_view_of(const tp_program *program, const ad_var *vectors, int n, tp_program *view, ad_error *error)
{
    *view = *program;
    view->expanded[0] = view->expanded[1] = NULL; /* which are of other vectors */
    if (!(view->arena = ad_arena_new(error)))
        return -1;
    view->forward = view->n_nodes = ad_graph_size(program->graph);
    view->sites = array(view, n, sizeof *view->sites, error);
    view->adjoint = array(view, view->n_nodes, sizeof *view->adjoint, error);
    view->n_sites = view->n_all_sites = n;
    view->n_readouts = 0;
    view->all_sites = view->sites;
    int status = view->sites && view->adjoint && !learn_nodes(view, 0, view->n_nodes, error) ? 0 : -1;
    for (int id = 0; id < view->n_nodes && !status; id++)
        view->adjoint[id] = -1;
    for (int i = 0; i < n && !status; i++) {
        view->sites[i] = (ad_site){ .param = vectors[i], .delta = vectors[i] };
        view->lives[vectors[i].id] = true;
    }
    if (!status)
        mark_lives(view, view->n_nodes - 1);
    for (int id = 0; id < view->n_nodes && !status; id++)
        if (view->lives[id])
            status = check_node(view, id, error);
    if (status)
        ad_arena_free(view->arena);
    return status;
}

tp_program *tp_translate(nn_net *net, ad_error *error)
{
    if (net)
        return make_program(net, NULL, false, error);
    ad_fail(error, "program: no network (NULL)");
    return NULL;
}

tp_program *tp_translate_training(nn_net *net, ad_error *error)
{
    if (net)
        return make_program(net, NULL, true, error);
    ad_fail(error, "program: no network (NULL)");
    return NULL;
}

tp_program *tp_translate_vector(nn_net *net, ad_var vector, ad_error *error)
{
    if (!net) {
        ad_fail(error, "program: no network (NULL)");
        return NULL;
    }
    if (!tp_is_vector(net, vector)) {
        ad_fail(error, "program: the vector is not of this network's trace, with the axes batch and a width");
        return NULL;
    }
    return make_program(net, &vector, false, error);
}

void tp_program_free(tp_program *program)
{
    if (!program)
        return;
    for (int k = 0; k < 2; k++)
        tp_program_free(program->expanded[k]);
    ad_arena_free(program->arena);
    ad_free(program);
}
