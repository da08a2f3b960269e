/* rnn.c: the network rnn. A cell makes the next state s' of the last one s and of an input x:
 *
 *     vanilla   s' = phi(W s + U x + b)
 *     gru       s' = (1 - z) s + z phi(W (r s) + U x + b)      z, r = sigmoid(Wz s + Uz x + bz), ...
 *     lstm      s' = o phi(c'),  c' = f c + i phi(W s + U x + b)    i, f, o = sigmoid(Wi s + Ui x + bi), ...
 *
 * (Elman, Cognitive Science 14, 1990; Chung et al., arXiv:1412.3555, section 3; Gers et al., Neural Computation 12,
 * 2000). States start at 0: no product with W, and neither r nor f, is in the first step. Layers are stacked: the
 * states of one are the inputs of the next.
 *
 * torch_rnn, torch_gru and torch_lstm are PyTorch's, in torch_cells.c: two biases, a readout with a bias, and two
 * directions perhaps.
 *
 * With padding in front, b is a weight of the step's presence, 0 or 1, and all states are 0 before the first step. */
#include "nn/networks/networks.h"

#include <math.h>
#include <string.h>

enum { MAX_GATES = 4 };
/* What is read: each direction's last state, the mean of all, or the states at the last step. */
enum { LAST, MEAN, LAST_STEP };

/* W s + U x + b. `padded`: b is a weight of the presence. */
typedef struct {
    nn_weight w, u, b;
    bool bias, padded;
} affine;

/* The settings, and the layer that is being traced. */
typedef struct {
    nn_net *net;
    const char *phi;
    long depth;
    int cell, readout;
    bool torch, padded, bias;
    double sigma_w, sigma_u, sigma_b, sigma_v;
    ad_axis n;
    int steps;
    ad_var *states;  /* by step: the inputs of the layer, which its states replace */
    ad_var *present; /* by step, (batch, present); NULL without padding */
    affine gates[MAX_GATES];
} rnn;

/* One step of a cell. s and c are the layer's states, id -1 before the first step; c is used by the LSTM alone. */
typedef void (*cell)(const rnn *r, int t, ad_var x, ad_var *s, ad_var *c);

static bool exists(ad_var x)
{
    return x.graph && x.id >= 0;
}

static ad_var apply(const rnn *r, const affine *a, int t, ad_var s, ad_var x)
{
    ad_var h = nn_apply(a->u, x);
    if (exists(s))
        h = ad_add(nn_apply(a->w, s), h);
    if (a->padded)
        return ad_add(h, nn_apply(a->b, r->present[t]));
    return a->bias ? nn_add_bias(a->b, h) : h;
}

static void vanilla(const rnn *r, int t, ad_var x, ad_var *s, ad_var *c)
{
    (void)c;
    *s = nn_activation(r->net, r->phi, apply(r, &r->gates[0], t, *s, x));
}

static void gru(const rnn *r, int t, ad_var x, ad_var *s, ad_var *c)
{
    (void)c;
    ad_var z = ad_sigmoid(apply(r, &r->gates[1], t, *s, x)), kept = *s;
    if (exists(*s))
        kept = ad_mul(ad_sigmoid(apply(r, &r->gates[2], t, *s, x)), *s);
    ad_var fresh = ad_mul(z, nn_activation(r->net, r->phi, apply(r, &r->gates[0], t, kept, x)));
    *s = exists(*s) ? ad_add(ad_sub(*s, ad_mul(z, *s)), fresh) : fresh;
}

static void lstm(const rnn *r, int t, ad_var x, ad_var *s, ad_var *c)
{
    ad_var fresh = ad_mul(ad_sigmoid(apply(r, &r->gates[1], t, *s, x)),
                          nn_activation(r->net, r->phi, apply(r, &r->gates[0], t, *s, x)));
    *c = exists(*c) ? ad_add(ad_mul(ad_sigmoid(apply(r, &r->gates[2], t, *s, x)), *c), fresh) : fresh;
    *s = ad_mul(ad_sigmoid(apply(r, &r->gates[3], t, *s, x)), nn_activation(r->net, r->phi, *c));
}

enum { OWN_CELLS = 3 };
static const char *const cell_names[] = { "vanilla", "gru", "lstm", "torch_rnn", "torch_gru", "torch_lstm", NULL };
static const struct {
    cell step;
    const char *gates[MAX_GATES + 1]; /* what is added to W, U and b; the first goes through phi */
} cells[] = { { vanilla, { "" } }, { gru, { "", "z", "r" } }, { lstm, { "", "i", "f", "o" } } };

/* ---- the network ---- */
static double positive(nn_net *net, const char *key)
{
    double sigma = nn_setting_real(net, key, 1);
    if (!(sigma > 0))
        nn_setting_fail(net, key, "a positive number");
    return sigma;
}

static affine make_affine(const rnn *r, long number, const char *gate, ad_axis in)
{
    nn_net *net = r->net;
    affine a = { .bias = r->bias, .padded = r->bias && r->padded };
    a.w = nn_make_weight(net, nn_name(net, "layer%ld.W%s", number, gate), r->n, r->n, r->sigma_w);
    a.u = nn_make_weight(net, nn_name(net, "layer%ld.U%s", number, gate), in, r->n, r->sigma_u);
    const char *b = nn_name(net, "layer%ld.b%s", number, gate);
    if (a.padded)
        a.b = nn_make_weight(net, b, ad_fixed(net->graph, "present", 1), r->n, r->sigma_b);
    else if (a.bias)
        a.b = nn_make_bias(net, b, r->n, r->sigma_b);
    return a;
}

/* Zeros keep a state of 0 where phi(0) is 0. */
static void check_padding(nn_net *net, const char *phi)
{
    int op = ad_unary_named(phi);
    if (op < 0 || !(fabs(ad_op_facts_of((ad_op)op)->at_zero) <= 0))
        nn_setting_fail(net, "padding", "none where phi(0) is not 0");
}

/* The mean over the steps that are present, of which it counts at least one. */
static ad_var mean_state(const rnn *r, const ad_var *states)
{
    ad_var sum = states[0];
    for (int t = 1; t < r->steps; t++)
        sum = ad_add(sum, states[t]);
    if (!r->padded)
        return ad_scale(sum, 1.0 / r->steps);
    ad_axis unit = ad_shape_get(r->present[0])->axes[1];
    ad_var count = ad_sum(r->present[0], ad_shape_of(unit)), one = ad_constant(count.graph, 1, *ad_shape_get(count));
    for (int t = 1; t < r->steps; t++)
        count = ad_add(count, ad_sum(r->present[t], ad_shape_of(unit)));
    return ad_div(sum, ad_add(one, ad_relu(ad_sub(count, one))));
}

static rnn read_settings(nn_net *net)
{
    static const char *const readouts[] = { "last", "mean", "last_step", NULL };
    static const char *const paddings[] = { "none", "front", NULL };
    rnn r = { .net = net, .n = nn_width(net, "n") };
    r.depth = nn_setting_int(net, "depth", 1, 1, 64);
    r.phi = nn_setting_text(net, "phi", "tanh");
    r.cell = nn_setting_choice(net, "cell", cell_names,
                               "vanilla, gru, lstm, or PyTorch's: torch_rnn, torch_gru, torch_lstm");
    r.torch = r.cell >= OWN_CELLS;
    r.readout = nn_setting_choice(net, "readout", readouts, "last, mean or last_step");
    if (!r.torch)
        r.padded = nn_setting_choice(net, "padding", paddings, "none or front") == 1;
    r.sigma_w = positive(net, "sigma_w");
    r.sigma_u = positive(net, "sigma_u");
    r.bias = nn_setting_sigma(net, "sigma_b", r.torch ? "0" : "none", &r.sigma_b);
    r.sigma_v = positive(net, "sigma_v");
    if (net->spec.sigma_in == NN_SIGMA_MULTIPLIER && !(r.sigma_b > 0))
        r.bias = false; /* it would never do anything */
    if (r.padded)
        check_padding(net, r.phi);
    return r;
}

/* Takes x apart: its steps, and which of them are there. */
static bool take_steps(rnn *r, ad_var x)
{
    ad_axis time = ad_shape_get(x)->axes[1];
    r->steps = (int)ad_axis_fixed(r->net->graph, time);
    r->states = ad_arena_alloc(r->net->arena, (size_t)r->steps, sizeof *r->states);
    r->present = r->padded ? ad_arena_alloc(r->net->arena, (size_t)r->steps, sizeof *r->present) : NULL;
    if (!r->states || (r->padded && !r->present))
        return false;
    for (int t = 0; t < r->steps; t++) {
        r->states[t] = ad_take(x, time, (size_t)t);
        if (r->padded)
            r->present[t] = nn_padding_mask(r->net, x, (size_t)t);
    }
    return true;
}

static void run_layer(rnn *r, long number, ad_axis in)
{
    for (int k = 0; cells[r->cell].gates[k]; k++)
        r->gates[k] = make_affine(r, number, cells[r->cell].gates[k], in);
    ad_var s = { r->net->graph, -1 }, c = s;
    for (int t = 0; t < r->steps; t++) {
        cells[r->cell].step(r, t, r->states[t], &s, &c);
        r->states[t] = s;
    }
}

/* A readout of each direction's states, with a bias. */
static ad_var run_torch(const rnn *r, ad_axis features)
{
    nn_net *net = r->net;
    nn_torch_spec spec = { .net = net,
                           .cell = (nn_torch_cell)(r->cell - OWN_CELLS),
                           .phi = r->phi,
                           .depth = r->depth,
                           .bidirectional = nn_setting_yes(net, "bidirectional"),
                           .bias = r->bias,
                           .sigma_w = r->sigma_w,
                           .sigma_u = r->sigma_u,
                           .sigma_b = r->sigma_b,
                           .n = r->n,
                           .features = features };
    double sigma_b;
    bool bias = nn_setting_sigma(net, "readout_bias", "0", &sigma_b);
    ad_var *states[2], f = { net->graph, -1 };
    int directions = nn_torch_layers(&spec, r->states, r->steps, states);
    if (directions < 0)
        return ad_poison(net->graph, AD_HERE, "rnn: out of memory for its layers");
    for (int d = 0; d < directions; d++) {
        nn_weight v = nn_torch_weight(net, "readout.weight", directions, d, r->n, net->outputs, r->sigma_v);
        int last = d && r->readout == LAST ? 0 : r->steps - 1;
        ad_var u = nn_apply(v, r->readout == MEAN ? mean_state(r, states[d]) : states[d][last]);
        f = d ? ad_add(f, u) : u;
    }
    if (!bias || (net->spec.sigma_in == NN_SIGMA_MULTIPLIER && !(sigma_b > 0)))
        return f;
    return nn_add_bias(nn_make_bias(net, "readout.bias", net->outputs, sigma_b), f);
}

ad_var nn_rnn_network(nn_net *net, ad_var x)
{
    char text[160];
    rnn r = read_settings(net);
    if (!exists(x))
        return x;
    ad_shape shape = *ad_shape_get(x);
    if (shape.rank != 3)
        return ad_poison(net->graph, AD_HERE, "rnn reads sequences, (batch, time, features); its input is %s",
                         ad_shape_text(net->graph, &shape, text, sizeof text));
    if (!take_steps(&r, x))
        return ad_poison(net->graph, AD_HERE, "rnn: out of memory for its steps");
    if (r.torch)
        return run_torch(&r, shape.axes[2]);
    for (long number = 1; number <= r.depth; number++)
        run_layer(&r, number, number == 1 ? shape.axes[2] : r.n);
    nn_weight v = nn_make_weight(net, "readout.weight", r.n, net->outputs, r.sigma_v);
    return nn_apply(v, r.readout == MEAN ? mean_state(&r, r.states) : r.states[r.steps - 1]);
}
