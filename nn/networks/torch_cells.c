/* torch_cells.c: the recurrent layers of PyTorch (torch.nn.RNN, GRU, LSTM), as their documentation has them. With a_g
 * the part of gate g from below, W_ig x + b_ig, and h_g the part from the state, W_hg s + b_hg:
 *
 *     torch_rnn    s' = phi(a + h)
 *     torch_gru    s' = (1 - z) q + z s,  q = phi(a_n + r h_n),  r, z = sigmoid(a_r + h_r), ...
 *     torch_lstm   s' = o phi(c'),  c' = f c + i phi(a_g + h_g),  i, f, o = sigmoid(a_i + h_i), ...
 *
 * States start at 0. Both biases are there, and parameters have PyTorch's names, a gate's after a dot: a matrix of
 * PyTorch's is one of ours for each gate, turned. Of two directions, the second goes from the last step to the first,
 * and what stands on both has a matrix for each: .forward and .backward are the halves of its columns in PyTorch. */
#include "nn/networks/networks.h"

#include <string.h>

enum { GATES = 4 };

/* A gate's W_i of each part of the input, W_h and both biases. */
typedef struct {
    nn_weight input[2], state, bias[2];
} gate;

typedef struct {
    const nn_torch_spec *spec;
    int steps;
    ad_var *parts[2], *next[2]; /* by direction and step: the layer's inputs, and its states */
    int n_parts;
    gate gates[GATES];
} layer;

/* With the states s and c of the step before, id -1 if there was none: the part of gate g from the state or from
 * below, and the next state. */
typedef ad_var (*cell)(const layer *l, const ad_var *x, ad_var s, ad_var *c);

static const char *const gate_names[NN_TORCH_CELLS][GATES + 1] = {
    [NN_TORCH_RNN] = { "" }, [NN_TORCH_GRU] = { ".r", ".z", ".n" }, [NN_TORCH_LSTM] = { ".i", ".f", ".g", ".o" }
};

/* What a matrix on two parts calls them. */
static const char *part_name(int n_parts, int part)
{
    static const char *const names[] = { ".forward", ".backward" };
    return n_parts == 1 ? "" : names[part];
}

nn_weight nn_torch_weight(nn_net *net, const char *name, int n_parts, int part, ad_axis in, ad_axis out, double sigma)
{
    name = nn_name(net, "%s%s", name, part_name(n_parts, part));
    if (n_parts == 1)
        return nn_make_weight(net, name, in, out, sigma);
    /* two parts of n are one input of 2n, which is the fan-in of both */
    ad_axis both = nn_width_ratio(net, "both directions", 2), second = in.id == out.id ? ad_prime(in) : out;
    ad_init init = nn_weight_init(net, name, both, out, sigma);
    return (nn_weight){ .omega = ad_param(net->graph, name, ad_shape_of(in, second), init),
                        .c = init.multiplier,
                        .power = init.multiplier_power,
                        .fan_in = both };
}

static bool exists(ad_var x)
{
    return x.graph && x.id >= 0;
}

static ad_var from_below(const layer *l, int g, const ad_var *x)
{
    ad_var sum = nn_apply(l->gates[g].input[0], x[0]);
    if (l->n_parts == 2)
        sum = ad_add(sum, nn_apply(l->gates[g].input[1], x[1]));
    return l->spec->bias ? nn_add_bias(l->gates[g].bias[0], sum) : sum;
}

/* Adds the part from the state; of a state of 0 that is its bias. */
static ad_var with_state(const layer *l, int g, ad_var sum, ad_var s)
{
    if (exists(s))
        sum = ad_add(sum, nn_apply(l->gates[g].state, s));
    return l->spec->bias ? nn_add_bias(l->gates[g].bias[1], sum) : sum;
}

static ad_var both(const layer *l, int g, const ad_var *x, ad_var s)
{
    return with_state(l, g, from_below(l, g, x), s);
}

static ad_var step_rnn(const layer *l, const ad_var *x, ad_var s, ad_var *c)
{
    (void)c;
    return nn_activation(l->spec->net, l->spec->phi, both(l, 0, x, s));
}

/* The reset gate multiplies the part from the state whole, its bias included. */
static ad_var reset_part(const layer *l, ad_var r, ad_var s)
{
    const gate *n = &l->gates[2];
    if (exists(s)) {
        ad_var h = nn_apply(n->state, s);
        return ad_mul(r, l->spec->bias ? nn_add_bias(n->bias[1], h) : h);
    }
    ad_var zero = ad_constant(r.graph, 0, *ad_shape_get(r));
    return l->spec->bias ? ad_mul(r, nn_add_bias(n->bias[1], zero)) : zero;
}

static ad_var step_gru(const layer *l, const ad_var *x, ad_var s, ad_var *c)
{
    (void)c;
    ad_var z = ad_sigmoid(both(l, 1, x, s)), a = from_below(l, 2, x);
    if (exists(s) || l->spec->bias)
        a = ad_add(a, reset_part(l, ad_sigmoid(both(l, 0, x, s)), s));
    ad_var q = nn_activation(l->spec->net, l->spec->phi, a), fresh = ad_sub(q, ad_mul(z, q));
    return exists(s) ? ad_add(fresh, ad_mul(z, s)) : fresh;
}

static ad_var step_lstm(const layer *l, const ad_var *x, ad_var s, ad_var *c)
{
    ad_var fresh = ad_mul(ad_sigmoid(both(l, 0, x, s)), nn_activation(l->spec->net, l->spec->phi, both(l, 2, x, s)));
    *c = exists(*c) ? ad_add(ad_mul(ad_sigmoid(both(l, 1, x, s)), *c), fresh) : fresh;
    return ad_mul(ad_sigmoid(both(l, 3, x, s)), nn_activation(l->spec->net, l->spec->phi, *c));
}

static const cell cells[NN_TORCH_CELLS] = {
    [NN_TORCH_RNN] = step_rnn, [NN_TORCH_GRU] = step_gru, [NN_TORCH_LSTM] = step_lstm
};

/* ---- a layer ---- */
static void make_gates(layer *l, long number, int direction, ad_axis in)
{
    const nn_torch_spec *spec = l->spec;
    nn_net *net = spec->net;
    const char *reverse = direction ? "_reverse" : "";
    for (int g = 0; g < GATES && gate_names[spec->cell][g]; g++) {
        const char *name = gate_names[spec->cell][g];
        for (int p = 0; p < l->n_parts; p++)
            l->gates[g].input[p] = nn_torch_weight(net, nn_name(net, "rnn.weight_ih_l%ld%s%s", number, reverse, name),
                                                   l->n_parts, p, in, spec->n, spec->sigma_u);
        l->gates[g].state = nn_make_weight(net, nn_name(net, "rnn.weight_hh_l%ld%s%s", number, reverse, name), spec->n,
                                           spec->n, spec->sigma_w);
        if (!spec->bias)
            continue;
        l->gates[g].bias[0] =
            nn_make_bias(net, nn_name(net, "rnn.bias_ih_l%ld%s%s", number, reverse, name), spec->n, spec->sigma_b);
        l->gates[g].bias[1] =
            nn_make_bias(net, nn_name(net, "rnn.bias_hh_l%ld%s%s", number, reverse, name), spec->n, spec->sigma_b);
    }
}

static void run_direction(layer *l, int direction)
{
    ad_var s = { l->spec->net->graph, -1 }, c = s;
    for (int k = 0; k < l->steps; k++) {
        int t = direction ? l->steps - 1 - k : k;
        ad_var x[2] = { l->parts[0][t] };
        if (l->n_parts == 2)
            x[1] = l->parts[1][t];
        l->next[direction][t] = s = cells[l->spec->cell](l, x, s, &c);
    }
}

int nn_torch_layers(const nn_torch_spec *spec, ad_var *x, int steps, ad_var *states[2])
{
    layer l = { .spec = spec, .steps = steps, .parts = { x }, .n_parts = 1 };
    int directions = spec->bidirectional ? 2 : 1;
    for (long number = 0; number < spec->depth; number++) {
        for (int d = 0; d < directions; d++) {
            if (!(l.next[d] = ad_arena_alloc(spec->net->arena, (size_t)steps, sizeof *l.next[d])))
                return -1;
            make_gates(&l, number, d, number == 0 ? spec->features : spec->n);
            run_direction(&l, d);
        }
        memcpy(l.parts, l.next, sizeof l.parts);
        l.n_parts = directions;
    }
    memcpy(states, l.parts, sizeof l.parts);
    return directions;
}
