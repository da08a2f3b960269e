/* exponents.c: exponents a, b, c of one's own, W = n^-a omega, omega ~ N(0, sigma^2 n^-2b), rate n^-c, in place of the
 * parametrization's (the abc of Tensor Programs IV, arXiv:2011.14522). */
#include "nn/network/network.h"

#include <fnmatch.h>
#include <math.h>
#include <string.h>

static const char *const kinds[] = {
    [NN_INPUT_WEIGHT] = "input",
    [NN_HIDDEN_WEIGHT] = "hidden",
    [NN_READOUT_WEIGHT] = "readout",
    [NN_BIAS] = "bias",
    [NN_OUTPUT_BIAS] = "output-bias",
    [NN_GAIN] = "gain",
    NULL,
};

/* "A,B,C", each a finite number or "-". */
static bool read_numbers(const char *at, double numbers[3])
{
    for (int i = 0; i < 3; i++) {
        char *end = (char *)at + 1;
        bool left = at[0] == '-' && (!at[1] || at[1] == ',');
        numbers[i] = left ? NAN : ad_number(at, &end);
        if ((!left && !isfinite(numbers[i])) || end == at || *end != (i < 2 ? ',' : 0))
            return false;
        at = end + 1;
    }
    return true;
}

void nn_exponents_give(nn_net *net, const char *text)
{
    double numbers[3];
    const char *equals = strchr(text, '=');
    if (!equals || equals == text || !read_numbers(equals + 1, numbers)) {
        ad_fail(&net->error, "%s: exponents %.80s: they are PATTERN=A,B,C, three numbers or - each", nn_title(net),
                text);
        return;
    }
    nn_exponents *entry = ad_arena_alloc(net->arena, 1, sizeof *entry);
    const char *pattern = ad_arena_text(net->arena, "%.*s", (int)(equals - text), text);
    const char *before = net->exponents_text ? net->exponents_text : "";
    const char *all = ad_arena_text(net->arena, "%s%s%s", before, *before ? ";" : "", text);
    if (!entry || !pattern || !all) {
        ad_fail(&net->error, "%s: out of memory", nn_title(net));
        return;
    }
    *entry = (nn_exponents){ NULL, pattern, numbers[0], numbers[1], numbers[2], false };
    nn_exponents **end = &net->exponents;
    while (*end)
        end = &(*end)->next;
    *end = entry;
    net->exponents_text = all;
}

/* A width that powers of n are of, where the fan-in is fixed: of the parameter's own axes, else the first one there
 * is. */
static ad_axis width_of(const nn_net *net, ad_axis out)
{
    if (ad_axis_kind(net->graph, out) == AD_WIDTH)
        return out;
    for (int id = 0; id < ad_graph_size(net->graph); id++) {
        const ad_shape *shape = &ad_node_of(net->graph, id)->shape;
        for (int i = 0; i < shape->rank; i++)
            if (ad_axis_kind(net->graph, shape->axes[i]) == AD_WIDTH)
                return shape->axes[i];
    }
    return (ad_axis){ 0 };
}

/* Powers of a fixed fan-in are numbers; those of n, all 0 so far, are of the width. */
static void take_width(const nn_net *net, ad_axis out, ad_init *init)
{
    if (init->axis.id && ad_axis_kind(net->graph, init->axis) == AD_WIDTH)
        return;
    double size = init->axis.id ? (double)ad_axis_fixed(net->graph, init->axis) : 1;
    init->multiplier *= pow(size, init->multiplier_power);
    init->deviation *= pow(size, init->deviation_power);
    init->rate *= pow(size, init->rate_power);
    init->multiplier_power = init->deviation_power = init->rate_power = 0;
    init->axis = width_of(net, out);
}

ad_init nn_exponents_apply(nn_net *net, nn_kind kind, const char *name, ad_axis out, ad_init init)
{
    for (nn_exponents *entry = net->exponents; entry; entry = entry->next) {
        if (strcmp(entry->pattern, kinds[kind]) != 0 && fnmatch(entry->pattern, name, 0) != 0)
            continue;
        entry->met = true;
        take_width(net, out, &init);
        if (!init.axis.id)
            ad_fail(&net->error, "%s: exponents of %.80s: no width stands before it that they could be powers of",
                    nn_title(net), name);
        else if (kind == NN_GAIN && (fabs(entry->a) > 0 || fabs(entry->b) > 0))
            ad_fail(&net->error, "%s: exponents of %.80s: a gain multiplies as it is: give -,-,C", nn_title(net), name);
        init.multiplier_power = isnan(entry->a) ? init.multiplier_power : 0 - entry->a;
        init.deviation_power = isnan(entry->b) ? init.deviation_power : 0 - entry->b;
        init.rate_power = isnan(entry->c) ? init.rate_power : 0 - entry->c;
        init.rate_own |= !isnan(entry->c);
    }
    return init;
}

void nn_exponents_check_met(nn_net *net)
{
    for (const nn_exponents *entry = net->exponents; entry && !net->error.text[0]; entry = entry->next) {
        const char *closest = entry->met ? NULL : ad_closest(entry->pattern, kinds);
        if (closest && strcmp(closest, entry->pattern) == 0)
            closest = NULL;
        if (!entry->met)
            ad_fail(&net->error,
                    "%s: exponents of %.80s fit no parameter%s%s%s: they are of input, hidden, readout, bias, "
                    "output-bias, gain, or of a layer's parameter by name or pattern",
                    nn_title(net), entry->pattern, closest ? " (did you mean " : "", closest ? closest : "",
                    closest ? "?)" : "");
    }
}
