/* freeze.c: parameters that do not learn. */
#include "nn/network/network.h"

#include <fnmatch.h>
#include <string.h>

void nn_freeze_at(ad_where where, nn_net *net, const char *pattern)
{
    if (!nn_is_there(where, "freeze", net) || !ad_has_text(where, "freeze", net->graph, "pattern", pattern))
        return;
    nn_frozen *entry = ad_arena_alloc(net->arena, 1, sizeof *entry);
    const char *copy = ad_arena_text(net->arena, "%s", pattern);
    if (!entry || !copy) {
        ad_fail(&net->error, "%s: out of memory", nn_title(net));
        return;
    }
    *entry = (nn_frozen){ net->frozen, where, copy };
    net->frozen = entry;
}

static const char *name_of(const nn_net *net, int k)
{
    return ad_node_of(net->graph, net->params[k].id)->name;
}

/* The parameter itself, or its layer, whose name stands before a dot. */
static bool fits(const char *pattern, const char *name, nn_net *net)
{
    if (fnmatch(pattern, name, 0) == 0)
        return true;
    for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
        const char *layer = ad_arena_text(net->arena, "%.*s", (int)(dot - name), name);
        if (layer && fnmatch(pattern, layer, 0) == 0)
            return true;
    }
    return false;
}

static void refuse(nn_net *net, const nn_frozen *entry)
{
    char list[300] = "", place[120] = "";
    const char **names = ad_arena_alloc(net->arena, (size_t)net->n_params + 1, sizeof *names);
    for (int k = 0; names && k < net->n_params; k++) {
        size_t used = strlen(list);
        names[k] = name_of(net, k);
        snprintf(list + used, sizeof list - used, "%s%s", k ? ", " : "", names[k]);
    }
    if (entry->where.file)
        snprintf(place, sizeof place, "%.100s:%d: ", entry->where.file, entry->where.line);
    const char *closest = names ? ad_closest(entry->pattern, names) : NULL;
    ad_fail(&net->error, "%s%s: freeze %.60s fits no parameter%s%s%s: they are %s", place, nn_title(net),
            entry->pattern, closest ? " (did you mean " : "", closest ? closest : "", closest ? "?)" : "", list);
}

void nn_freeze_params(nn_net *net)
{
    for (const nn_frozen *entry = net->frozen; entry && !net->error.text[0]; entry = entry->next) {
        bool met = false;
        for (int k = 0; k < net->n_params; k++)
            if (fits(entry->pattern, name_of(net, k), net)) {
                ad_param_freeze(net->params[k]);
                met = true;
            }
        if (!met)
            refuse(net, entry);
    }
}
