/* vectors.c: the two vectors that a Jacobian is between. */
#include "tp/spectrum/inside.h"

#include <math.h>
#include <string.h>

bool *tp_depends_on(const ad_graph *graph, int from, int to, ad_error *error)
{
    bool *reach = ad_alloc((size_t)to + 2, sizeof *reach, "a Jacobian", error);
    if (!reach)
        return NULL;
    reach[from] = true;
    for (int id = from + 1; id <= to; id++)
        for (int k = 0; k < ad_node_of(graph, id)->n_in; k++)
            reach[id] = reach[id] || reach[ad_node_of(graph, id)->in[k]];
    return reach;
}

/* A vector over one width, at one input: -1 with an error where it is none. */
static int check_vector(const tp_program *program, int id, const char *name, ad_error *error)
{
    const ad_graph *graph = program->graph;
    const ad_shape *shape = &ad_node_of(graph, id)->shape;
    char text[160];
    size_t others = 1;
    for (int i = 0; i < shape->rank; i++)
        others *= ad_axis_kind(graph, shape->axes[i]) == AD_FIXED ? ad_axis_fixed(graph, shape->axes[i]) : 1;
    if (tp_count_widths(graph, shape) == 1 && others == 1)
        return 0;
    return ad_fail(error, "spectrum: %s %s is no vector over one width: name one that is, as limn program prints them",
                   name, ad_shape_text(graph, shape, text, sizeof text));
}

/* *node, and the factor c n^power that it has before the vector of that name. */
static int find_named(const tp_program *program, const char *name, int *node, double *c, double *power, ad_error *error)
{
    ad_arena *arena = ad_arena_new(error);
    const tp_line *line = arena ? tp_line_named(program, arena, name, error) : NULL;
    int status = line ? check_vector(program, line->node, name, error) : -1;
    if (line) {
        *node = line->node;
        *c = line->c;
        *power = line->power;
    }
    ad_arena_free(arena);
    return status;
}

/* Of a network without functions: the first and the last Gaussian vector of its lines. */
static int find_gaussian(const tp_program *program, bool last, int *node, double *c, double *power, ad_error *error)
{
    int n = 0;
    ad_arena *arena = ad_arena_new(error);
    const tp_line *lines = arena ? tp_lines(program, arena, TP_PAPER, &n, error) : NULL;
    for (int k = 0; k < n && lines; k++) {
        ad_error ignored = { 0 };
        bool vector =
            !lines[k].backward && lines[k].type[0] == 'G' && ad_node_of(program->graph, lines[k].node)->op != AD_PARAM;
        if (vector && (*node < 0 || last) && check_vector(program, lines[k].node, "", &ignored) == 0) {
            *node = lines[k].node;
            *c = lines[k].c;
            *power = lines[k].power;
        }
    }
    ad_arena_free(arena);
    return lines ? 0 : -1;
}

/* A linear combination of vectors that are Gaussian with mean 0: products with parameters, and biases. */
bool tp_is_gaussian(const tp_program *program, int id)
{
    const ad_node *node = ad_node_of(program->graph, id);
    switch (node->op) {
    case AD_ADD:
    case AD_SUB:
        return tp_is_gaussian(program, node->in[0]) && tp_is_gaussian(program, node->in[1]);
    case AD_SCALE:
    case AD_NEG:
    case AD_EXPAND:
    case AD_IDENTITY:
    case AD_RELABEL:
    case AD_TRANSPOSE:
        return tp_is_gaussian(program, node->in[0]);
    case AD_PARAM:
        return program->widths[id] == 1 && !(fabs(node->init->mean) > 0);
    case AD_CONTRACT:
        for (int k = 0; k < 2; k++) {
            int param = program->params[node->in[k]];
            if (param >= 0 && program->widths[id] == 1)
                return !(fabs(ad_node_of(program->graph, param)->init->mean) > 0);
        }
        return false;
    default:
        return false;
    }
}

/* A scale's operand for the scale: the vector is c n^power of it no more. */
static void pass_scale(const ad_graph *graph, const ad_node *scale, int *node, double *c, double *power)
{
    double factor = scale->c, grows = 0;
    tp_times_axis(graph, scale->axis, scale->power, &factor, &grows);
    *c /= factor;
    *power -= grows;
    *node = scale->in[0];
}

/* A scale whose factor the trace has moved on has no derivative of its own: what it scales has, and is c n^power of it.
 */
static void pass_moved(const tp_program *program, int *node, double *c, double *power)
{
    const ad_graph *graph = program->graph;
    for (const ad_node *at = ad_node_of(graph, *node); at->moved; at = ad_node_of(graph, *node))
        pass_scale(graph, at, node, c, power);
}

/* The first node that takes it, of all or of those that live, without `by`; -1: none does. */
static int taker_of(const tp_program *program, int operand, bool living, int by)
{
    for (int id = operand + 1; id < program->forward; id++)
        for (int k = 0; (program->lives[id] || !living) && id != by && k < ad_node_of(program->graph, id)->n_in; k++)
            if (ad_node_of(program->graph, id)->in[k] == operand)
                return id;
    return -1;
}

/* h where a function is of c h and h goes on beside it, as in h sigmoid(c h): what both are made of, and h's factor. */
static void pass_scaled(const tp_program *program, int *node, double *c, double *power)
{
    const ad_graph *graph = program->graph;
    const ad_node *at = ad_node_of(graph, *node);
    if (at->op != AD_SCALE || taker_of(program, at->in[0], true, *node) < 0)
        return;
    const ad_node *first = ad_node_of(graph, taker_of(program, at->in[0], false, -1));
    if (first->op == AD_SCALE)
        pass_scale(graph, first, node, c, power);
    else
        *node = at->in[0];
}

/* The first and the last preactivation: a Gaussian vector that a coordinatewise function is applied to. */
static int find_default(const tp_program *program, bool last, int *node, double *c, double *power, ad_error *error)
{
    bool more_axes = false;
    *node = -1;
    for (int id = 0; id < program->forward; id++) {
        const ad_node *function = ad_node_of(program->graph, id);
        ad_error ignored = { 0 };
        if (!program->lives[id] || !program->learns[id] || !ad_is_unary(function->op) || function->op == AD_NEG ||
            function->op == AD_IDENTITY)
            continue;
        int argument = function->in[0];
        bool vector = check_vector(program, argument, "", &ignored) == 0;
        more_axes = more_axes || (program->widths[argument] == 1 && !vector);
        if (vector && (*node < 0 || last) && tp_is_gaussian(program, argument) &&
            ad_node_of(program->graph, argument)->op != AD_PARAM)
            *node = argument;
    }
    if (*node < 0 && find_gaussian(program, last, node, c, power, error))
        return -1;
    if (*node >= 0) {
        pass_scaled(program, node, c, power);
        pass_moved(program, node, c, power);
        return 0;
    }
    return ad_fail(
        error, more_axes ? "spectrum: the network's preactivations have other axes than one width, as a picture's "
                           "positions: a Jacobian is between two vectors over one width"
                         : "spectrum: the network has no hidden preactivation that is Gaussian in the limit: name two "
                           "vectors by --from and --to, as limn program prints them");
}

int tp_find_vectors(const tp_program *program, const char *from, const char *to, tp_vectors *found, ad_error *error)
{
    int u = -1, v = -1;
    double c[2] = { 1, 1 }, power[2] = { 0 };
    if (program->coupled)
        return ad_fail(error, "spectrum: the samples of a batch meet in this network: the Jacobian at one input is not "
                              "defined; evaluation mode has none of this");
    if (from ? find_named(program, from, &u, &c[0], &power[0], error)
             : find_default(program, false, &u, &c[0], &power[0], error))
        return -1;
    if (to ? find_named(program, to, &v, &c[1], &power[1], error)
           : find_default(program, true, &v, &c[1], &power[1], error))
        return -1;
    const char *first = from ? from : "the first preactivation", *second = to ? to : "the last preactivation";
    if (u == v)
        return ad_fail(error, "spectrum: %s and %s are one vector: the Jacobian has no layer in it", first, second);
    bool *reach = tp_depends_on(program->graph, u < v ? u : v, u < v ? v : u, error);
    bool depends = reach && u < v && reach[v];
    ad_free(reach);
    if (reach && !depends)
        return ad_fail(error, "spectrum: %s does not depend on %s", second, first);
    *found = (tp_vectors){ { program->graph, u }, { program->graph, v }, fabs(c[0] / c[1]), power[0] - power[1] };
    return reach ? 0 : -1;
}
