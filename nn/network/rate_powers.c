/* rate_powers.c: how rates scale with the width, by optimizer.
 *
 * An optimizer that is linear in the gradient takes the parametrization's own power. One that divides by the gradient's
 * size changes each coordinate of omega by about the rate r, whatever the scale: then what a parameter's use adds to a
 * vector changes by r n^(w-a), for the multiplier n^-a and w width axes that the use sums over, as the changes of the
 * coordinates are aligned with what they meet (Tensor Programs V, arXiv:2203.03466; IVb, arXiv:2308.01814). So the
 * power of the rate is a - w, read off the trace: from the parameter along linear ops to where a nonlinear function, a
 * product with another parameter or the end takes what it made; of several uses the largest change decides. */
#include "autodiff/base/base.h"
#include "nn/network/network.h"

#include <math.h>

/* What a node has of the parameter: nothing, a renaming of it, or its product with something. */
typedef enum { NOTHING, ITSELF, MET } part;

typedef struct {
    const nn_net *net;
    const bool *lives;
    part *parts;     /* by node */
    double *changes; /* by node: the power of n of its coordinates' change */
    double *scales;  /* by node: the power of n in front of it, where a product took that over (ad_node's `moved`) */
    double largest;  /* where the change is taken */
} walk;

static double widths_of(const ad_graph *graph, const ad_shape *over)
{
    double n = 0;
    for (int i = 0; i < over->rank; i++)
        n += ad_axis_kind(graph, over->axes[i]) == AD_WIDTH;
    return n;
}

static bool is_linear(const ad_node *node)
{
    switch (node->op) {
    case AD_NEG:
    case AD_IDENTITY:
    case AD_ADD:
    case AD_SUB:
    case AD_MUL:
    case AD_DIV:
    case AD_SCALE:
    case AD_SUM:
    case AD_CONTRACT:
        return true;
    default:
        return !ad_is_unary(node->op) && node->op != AD_LOGSUMEXP && node->op != AD_SOFTMAX && node->op != AD_MAX &&
               node->op != AD_ARGMAX;
    }
}

static double widths_at(const walk *w, int id)
{
    return widths_of(w->net->graph, &ad_node_of(w->net->graph, id)->shape);
}

/* Does the node hand the change of its operand on? A product of two that have met something is a function of a vector,
 * and so is what a matrix makes of one, of a parameter's, too. */
static bool hands_on(const walk *w, const ad_node *node, int k)
{
    part own = w->parts[node->in[k]], other = node->n_in == 2 ? w->parts[node->in[1 - k]] : NOTHING;
    if (!is_linear(node) || (node->op == AD_DIV && k == 1))
        return false;
    if (node->op == AD_CONTRACT)
        return own == ITSELF && widths_at(w, node->in[k]) >= widths_at(w, node->in[1 - k]);
    return node->op != AD_MUL || other == NOTHING;
}

static double power_of(const ad_graph *graph, const ad_node *node)
{
    return node->op == AD_SCALE && node->axis.id && ad_axis_kind(graph, node->axis) == AD_WIDTH ? node->power : 0;
}

static void visit(walk *w, int id)
{
    const ad_graph *graph = w->net->graph;
    const ad_node *node = ad_node_of(graph, id);
    double change = -INFINITY;
    for (int k = 0; k < node->n_in; k++) {
        part own = w->parts[node->in[k]];
        if (own == NOTHING)
            continue;
        bool product = node->op == AD_CONTRACT;
        if (!hands_on(w, node, k)) {
            w->largest = fmax(w->largest, w->changes[node->in[k]] + (product ? w->scales[node->in[k]] : 0));
            continue;
        }
        bool meets = node->op == AD_CONTRACT || node->op == AD_MUL || node->op == AD_DIV || node->op == AD_ADD ||
                     node->op == AD_SUB || node->op == AD_GATHER; /* rows: a product with one-hot inputs */
        w->parts[id] = own == MET || meets ? MET : w->parts[id] == MET ? MET : ITSELF;
        change = fmax(change, w->changes[node->in[k]] - (product ? w->scales[node->in[1 - k]] : 0));
    }
    if (node->op == AD_SUM || node->op == AD_CONTRACT)
        change += widths_of(graph, &node->over);
    w->changes[id] = change + power_of(graph, node);
}

/* The power of n of the largest change that coordinates of parameter k, changed by 1, make. */
static double change_of(walk *w, int k)
{
    const ad_graph *graph = w->net->graph;
    int first = w->net->params[k].id, last = w->net->output.id;
    for (int id = 0; id <= last; id++) {
        w->parts[id] = NOTHING;
        w->scales[id] = 0;
    }
    w->largest = -INFINITY;
    w->parts[first] = ITSELF;
    w->changes[first] = 0;
    for (int id = 0; id <= last; id++) {
        const ad_node *node = ad_node_of(graph, id);
        if (node->moved)
            w->scales[node->in[0]] = power_of(graph, node);
        if (w->lives[id] && id > first)
            visit(w, id);
    }
    return w->parts[last] == NOTHING ? w->largest : fmax(w->largest, w->changes[last]);
}

static void mark_lives(const nn_net *net, bool *lives)
{
    lives[net->output.id] = true;
    for (int id = net->output.id; id >= 0; id--)
        for (int k = 0; lives[id] && k < ad_node_of(net->graph, id)->n_in; k++)
            lives[ad_node_of(net->graph, id)->in[k]] = true;
}

static const bool adaptive[] = {
#define OPTIMIZER(NAME, word, rate, decay, adaptive, ...) adaptive,
    NN_OPTIMIZERS(OPTIMIZER)
#undef OPTIMIZER
};

bool nn_optimizer_adapts(nn_optimizer which)
{
    return adaptive[which];
}

int nn_change_powers(const nn_net *net, double *powers, ad_error *error)
{
    size_t n = (size_t)net->output.id + 1;
    bool *lives = ad_alloc(n, sizeof *lives, "a network's rates", error);
    walk w = { .net = net, .lives = lives };
    w.parts = lives ? ad_alloc(n, sizeof *w.parts, "a network's rates", error) : NULL;
    w.changes = w.parts ? ad_alloc(n, sizeof *w.changes, "a network's rates", error) : NULL;
    w.scales = w.changes ? ad_alloc(n, sizeof *w.scales, "a network's rates", error) : NULL;
    if (w.scales)
        mark_lives(net, lives);
    for (int k = 0; k < net->n_params && w.scales; k++)
        powers[k] = change_of(&w, k);
    int status = w.scales ? 0 : -1;
    ad_free(lives);
    ad_free(w.parts);
    ad_free(w.changes);
    ad_free(w.scales);
    return status;
}

int nn_rate_powers(const nn_net *net, nn_optimizer optimizer, double *powers, ad_error *error)
{
    if (adaptive[optimizer] && nn_change_powers(net, powers, error) != 0)
        return -1;
    for (int k = 0; k < net->n_params; k++) {
        const ad_init *init = ad_node_of(net->graph, net->params[k].id)->init;
        if (adaptive[optimizer] && !init->rate_own)
            powers[k] = isfinite(powers[k]) ? 0 - powers[k] : 0;
        else
            powers[k] = init->axis.id && ad_axis_kind(net->graph, init->axis) == AD_WIDTH ? init->rate_power : 0;
    }
    return 0;
}
