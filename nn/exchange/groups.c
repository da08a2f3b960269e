/* groups.c: the parameters of a net as PyTorch has them: gates one below the other, two directions side by side. */
#include "nn/exchange/exchange.h"

#include <string.h>

size_t nn_module_length(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : 0;
}

bool nn_is_count(const nn_tensor *t)
{
    size_t length = nn_module_length(t->name);
    return strcmp(t->name + length + (length > 0), "num_batches_tracked") == 0 && t->count == 1;
}

/* Takes a last part of the name off if it is one of the words; its number, or -1. */
static int take_off(char *name, const char *const *words)
{
    char *dot = strrchr(name, '.');
    for (int k = 0; dot && words[k]; k++)
        if (strcmp(dot + 1, words[k]) == 0) {
            *dot = 0;
            return k;
        }
    return -1;
}

/* "rnn.weight_ih_l0.f": only names such as these have gates. */
static bool has_gates(const char *name)
{
    static const char *const stems[] = { "weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l" };
    size_t end = nn_module_length(name);
    for (size_t k = 0; k < sizeof stems / sizeof *stems; k++)
        for (const char *at = strstr(name, stems[k]); at; at = strstr(at + 1, stems[k]))
            if (at < name + end && !memchr(at, '.', (size_t)(name + end - at)) && (at == name || at[-1] == '.'))
                return true;
    return false;
}

static int take_gate(char *name)
{
    static const char *const lstm[] = { "i", "f", "g", "o", NULL }, *const gru[] = { "r", "z", "n", NULL };
    static const char *const numbers[] = { "0", "1", "2", "3", NULL };
    int gate = -1;
    if (!has_gates(name))
        return 0;
    if (gate < 0)
        gate = take_off(name, lstm);
    if (gate < 0)
        gate = take_off(name, gru);
    if (gate < 0)
        gate = take_off(name, numbers);
    return gate < 0 ? 0 : gate;
}

static nn_group *find_group(nn_groups *all, const char *name, ad_arena *arena)
{
    for (int g = 0; g < all->n; g++)
        if (strcmp(all->groups[g].name, name) == 0)
            return &all->groups[g];
    nn_group *group = &all->groups[all->n];
    *group = (nn_group){ .name = ad_arena_text(arena, "%s", name), .module = nn_module_length(name) };
    if (!group->name)
        return NULL;
    group->kind = group->name + group->module + (group->module > 0);
    memset(group->part, -1, sizeof group->part);
    all->n++;
    return group;
}

/* Filters: the offset of the windows along an axis is this one, and they run forwards; or a position is. */
static bool is_entry(const nn_net *net, ad_axis axis, bool *flat)
{
    *flat = true;
    for (int id = 0; id < ad_graph_size(net->graph); id++) {
        const ad_node *node = ad_node_of(net->graph, id);
        if (node->op != AD_WINDOWS || !ad_same(node->axis3, axis))
            continue;
        *flat = false;
        if (node->dilation < 0)
            return false;
    }
    return ad_axis_fixed(net->graph, axis) > 0;
}

/* (entries.., in, out), all but the last summed wherever it is used: a filter, or a readout of all positions. */
static bool is_filter(const nn_net *net, int k, bool *flat)
{
    const ad_shape *shape = ad_shape_get(net->params[k]);
    int uses = 0, last = shape->rank - 1;
    bool first = false;
    for (int i = 0; i < last - 1; i++) {
        bool is_flat;
        if (!is_entry(net, shape->axes[i], &is_flat) || (i > 0 && is_flat != first))
            return false;
        first = is_flat;
    }
    *flat = first;
    for (int id = 0; id < ad_graph_size(net->graph); id++) {
        const ad_node *node = ad_node_of(net->graph, id);
        for (int i = 0; i < node->n_in; i++) {
            if (node->in[i] != net->params[k].id)
                continue;
            bool all = node->op == AD_CONTRACT && node->over.rank == last && !ad_has(&node->over, shape->axes[last]);
            for (int a = 0; a < last && all; a++)
                all = ad_has(&node->over, shape->axes[a]);
            if (!all)
                return false;
            uses++;
        }
    }
    return uses > 0;
}

static int add_tensor(const nn_net *net, int k, ad_arena *arena, nn_groups *all, ad_error *error)
{
    static const char *const halves[] = { "forward", "backward", NULL };
    const char *own = ad_node_of(net->graph, net->params[k].id)->name;
    char *name = ad_arena_text(arena, "%s", own);
    if (!name)
        return ad_fail(error, "%s: out of memory", nn_title(net));
    int half = take_off(name, halves), gate = take_gate(name);
    half = half < 0 ? 0 : half;
    nn_group *group = find_group(all, name, arena);
    if (!group)
        return ad_fail(error, "%s: out of memory", nn_title(net));
    if (group->part[gate][half] >= 0)
        return ad_fail(error, "%s: two parameters are part %d of %.80s", nn_title(net), gate, name);
    group->part[gate][half] = k;
    group->n_gates = gate >= group->n_gates ? gate + 1 : group->n_gates;
    group->n_halves = half >= group->n_halves ? half + 1 : group->n_halves;
    group->rank = ad_shape_get(net->params[k])->rank;
    group->turned = nn_is_matrix(net, k);
    if (group->rank <= 2)
        return 0;
    if (group->rank > NN_TORCH_RANK || !is_filter(net, k, &group->flat))
        return ad_fail(error,
                       "%s: %.80s has %d axes: of PyTorch's tensors matrices are taken, filters of Conv1d and Conv2d, "
                       "and Linear after Flatten",
                       nn_title(net), name, group->rank);
    group->turned = true;
    return 0;
}

/* Every gate and half is there, of one size. */
static int settle_group(const nn_net *net, const ad_sizes *sizes, nn_group *group, ad_error *error)
{
    for (int g = 0; g < group->n_gates; g++)
        for (int h = 0; h < group->n_halves; h++) {
            int k = group->part[g][h], first = group->part[0][0];
            bool whole = k >= 0 && first >= 0;
            if (whole)
                whole = ad_shape_get(net->params[k])->rank == group->rank && (group->turned || group->n_halves == 1) &&
                        (group->rank <= 2 || (group->n_gates == 1 && group->n_halves == 1));
            for (int i = 0; i < group->rank && whole; i++)
                whole = ad_axis_size(net->graph, ad_shape_get(net->params[k])->axes[i], sizes) ==
                        ad_axis_size(net->graph, ad_shape_get(net->params[first])->axes[i], sizes);
            if (!whole)
                return ad_fail(error, "%s: the parts of %.80s are not all there, or not of one shape", nn_title(net),
                               group->name);
        }
    const ad_shape *shape = ad_shape_get(net->params[group->part[0][0]]);
    int rank = group->rank;
    group->entries = 1;
    for (int i = 0; i < rank; i++) {
        size_t size = ad_axis_size(net->graph, shape->axes[i], sizes);
        group->shape[!group->turned ? i : i < rank - 2 ? i + 2 : rank - 1 - i] = size;
        group->entries *= i < rank - 2 ? size : 1;
    }
    group->shape[0] *= (size_t)group->n_gates;
    if (rank > 1)
        group->shape[1] *= (size_t)group->n_halves;
    if (group->flat) { /* channels, and then their positions */
        group->shape[1] *= group->entries;
        group->rank = 2;
    }
    return 0;
}

int nn_groups_of(const nn_net *net, size_t n, ad_arena *arena, nn_groups *out, ad_error *error)
{
    ad_sizes sizes = { .n = n };
    int count = net->n_params + net->n_statistics;
    *out = (nn_groups){ .groups = ad_arena_alloc(arena, (size_t)count + 1, sizeof *out->groups) };
    if (!out->groups)
        return ad_fail(error, "%s: out of memory", nn_title(net));
    for (int k = 0; k < count; k++)
        if (add_tensor(net, k, arena, out, error) != 0)
            return -1;
    for (int g = 0; g < out->n; g++)
        if (settle_group(net, &sizes, &out->groups[g], error) != 0)
            return -1;
    return 0;
}
