/* layers.c: widths, weights, biases, dense layers, activations. */
#include "nn/network/network.h"

#include <math.h>
#include <string.h>

bool nn_takes(ad_where where, nn_net *net, const char *kind, const char *name, ad_var x)
{
    if (!nn_is_there(where, kind, net) || !ad_has_text(where, kind, net->graph, "name", name))
        return false;
    if (x.graph && x.graph != net->graph)
        ad_poison(net->graph, where, "%s %s: its input is a variable of another network", kind, name);
    return ad_alive(where, kind, x) && !ad_failed(net->graph);
}

static nn_weight make(ad_where where, nn_net *net, const char *name, ad_shape shape, ad_init init)
{
    ad_var omega = ad_param_at(where, net->graph, name, shape, init);
    return (nn_weight){ .omega = omega, .c = init.multiplier, .power = init.multiplier_power, .fan_in = init.axis };
}

static nn_weight make_weight(ad_where where, nn_net *net, const char *name, ad_axis in, ad_axis out, double sigma,
                             bool orthogonal)
{
    ad_axis second = in.id == out.id ? ad_prime(in) : out;
    if (!nn_is_there(where, "weight", net) || !ad_has_text(where, "weight", net->graph, "name", name) ||
        !ad_owns_axis(where, name, net->graph, in) || !ad_owns_axis(where, name, net->graph, out))
        return (nn_weight){ .omega = nn_nothing(net) };
    if (orthogonal && (ad_axis_kind(net->graph, in) != AD_WIDTH || ad_axis_kind(net->graph, out) != AD_WIDTH)) {
        ad_poison(net->graph, where, "orthogonal %s: it is between two widths", name);
        return (nn_weight){ .omega = nn_nothing(net) };
    }
    ad_init init = nn_weight_init(net, name, in, out, sigma);
    init.orthogonal = orthogonal;
    return make(where, net, name, ad_shape_of(in, second), init);
}

nn_weight nn_weight_at(ad_where where, nn_net *net, const char *name, ad_axis in, ad_axis out, double sigma)
{
    return make_weight(where, net, name, in, out, sigma, false);
}

nn_weight nn_orthogonal_at(ad_where where, nn_net *net, const char *name, ad_axis in, ad_axis out, double sigma)
{
    return make_weight(where, net, name, in, out, sigma, true);
}

nn_weight nn_bias_at(ad_where where, nn_net *net, const char *name, ad_axis out, double sigma)
{
    if (!nn_is_there(where, "bias", net) || !ad_has_text(where, "bias", net->graph, "name", name) ||
        !ad_owns_axis(where, name, net->graph, out))
        return (nn_weight){ .omega = nn_nothing(net) };
    return make(where, net, name, ad_shape_of(out), nn_bias_init(net, name, out, sigma));
}

ad_var nn_apply_at(ad_where where, nn_weight w, ad_var x)
{
    return ad_scale_at(where, ad_matmul_at(where, x, w.omega), w.c, w.fan_in, w.power);
}

ad_var nn_apply_t_at(ad_where where, nn_weight w, ad_var y)
{
    return ad_scale_at(where, ad_matmul_t_at(where, y, w.omega), w.c, w.fan_in, w.power);
}

/* The bias is spread over the samples before it is scaled: so its adjoint still knows which sample it came from. */
ad_var nn_add_bias_at(ad_where where, nn_weight bias, ad_var x)
{
    ad_var b = bias.omega;
    if (fabs(bias.c - 1) > 0 || fabs(bias.power) > 0)
        b = ad_scale_at(where, ad_expand_at(where, b, *ad_shape_get(x)), bias.c, bias.fan_in, bias.power);
    return ad_binary_at(where, AD_ADD, x, b);
}

bool nn_is_given(double sigma)
{
    return isnan(sigma) || fabs(sigma) > 0;
}

ad_axis nn_width_at(ad_where where, nn_net *net, const char *name, double ratio)
{
    return ad_width_at(where, net ? net->graph : NULL, name, ratio);
}

ad_var nn_with_bias(ad_where where, nn_net *net, const char *name, ad_var u, ad_axis out, bool bias, double sigma_b)
{
    if (u.id >= 0 && !bias && nn_is_given(sigma_b))
        return ad_poison(net->graph, where, "%s: sigma_b = %g of no bias: give .bias = true, too", name, sigma_b);
    /* with sigma in the multiplier, a bias of sigma 0 never does anything */
    if (u.id < 0 || !bias || (net->spec.sigma_in == NN_SIGMA_MULTIPLIER && !nn_is_given(sigma_b)))
        return u;
    return nn_add_bias_at(where, nn_bias_at(where, net, nn_name(net, "%s.bias", name), out, sigma_b), u);
}

ad_var nn_dense_at(ad_where where, nn_net *net, const char *name, ad_var x, ad_axis out, const nn_dense_spec *spec)
{
    const ad_shape *shape = ad_shape_get(x);
    if (!nn_takes(where, net, "dense", name, x))
        return nn_nothing(net);
    if (shape->rank < 1)
        return ad_poison(net->graph, where, "dense %s: its input has no axis", name);
    double sigma_w = spec && nn_is_given(spec->sigma_w) ? spec->sigma_w : 1;
    nn_weight weight = make_weight(where, net, nn_name(net, "%s.weight", name), shape->axes[shape->rank - 1], out,
                                   sigma_w, spec && spec->orthogonal);
    ad_var u = nn_apply_at(where, weight, x);
    return spec ? nn_with_bias(where, net, name, u, out, spec->bias, spec->sigma_b) : u;
}

ad_var nn_readout_at(ad_where where, nn_net *net, const char *name, ad_var x, const nn_dense_spec *spec)
{
    return nn_is_there(where, "readout", net) ? nn_dense_at(where, net, name, x, net->outputs, spec) : nn_nothing(net);
}

ad_var nn_embedding_at(ad_where where, nn_net *net, const char *name, ad_var x, size_t entries, ad_axis out,
                       double sigma)
{
    if (!nn_takes(where, net, "embedding", name, x) || !ad_owns_axis(where, name, net->graph, out))
        return nn_nothing(net);
    if (entries == 0)
        return ad_poison(net->graph, where, "embedding %s: its table has no entries", name);
    ad_axis entry = strlen(name) < 24 /* an axis has a name of 31 bytes at most */
                        ? ad_fixed_at(where, net->graph, nn_name(net, "%s.entry", name), entries)
                        : ad_fresh_at(where, net->graph, name, entries);
    const char *weight = nn_name(net, "%s.weight", name);
    nn_weight table = make(where, net, weight, ad_shape_of(entry, out), nn_table_init(net, weight, out, sigma));
    return ad_scale_at(where, ad_gather_at(where, table.omega, x, entry), table.c, table.fan_in, table.power);
}

ad_var nn_activation_at(ad_where where, nn_net *net, const char *name, ad_var x)
{
    if (!nn_takes(where, net, "activation", name, x))
        return nn_nothing(net);
    int op = ad_unary_named(name), n = 0;
    if (op >= 0 && ad_op_facts_of((ad_op)op)->activation)
        return ad_unary_at(where, (ad_op)op, x, ad_op_facts_of((ad_op)op)->usual_p);
    const char *names[AD_CUSTOM + 3] = { NULL };
    char list[320] = "";
    size_t used = 0;
    for (int k = 0; k < AD_CUSTOM; k++)
        if (ad_op_facts_of((ad_op)k)->activation)
            names[n++] = ad_op_name((ad_op)k);
    for (int k = 0; k < n && used < sizeof list; k++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", names[k]);
    names[n++] = "silu"; /* other names of swish and hard_tanh */
    names[n] = "hardtanh";
    const char *closest = ad_closest(name, names);
    return ad_poison(net->graph, where, "no activation %.40s%s%s%s; there are %s", name,
                     closest ? " (did you mean " : "", closest ? closest : "", closest ? "?)" : "", list);
}
