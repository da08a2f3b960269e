/* sizes.c: the width, the features and the outputs at which a network has the shapes of PyTorch's tensors. */
#include "nn/exchange/exchange.h"

#include <string.h>

enum { MOST = 64 };

/* Numbers, each once. */
typedef struct {
    size_t values[MOST];
    int n;
} numbers;

static void add(numbers *list, size_t value)
{
    for (int i = 0; i < list->n; i++)
        if (list->values[i] == value)
            return;
    if (value > 0 && list->n < MOST)
        list->values[list->n++] = value;
}

/* What may be the number of features, of outputs, and the width: sizes of axes, and of one gate or direction. */
static void collect(const nn_tensors *file, numbers *features, numbers *outputs, numbers *widths)
{
    static const size_t parts[] = { 1, 4, 3, 2 };
    for (size_t i = 0; i < nn_tensors_count(file); i++) {
        const nn_tensor *t = nn_tensors_at(file, i);
        if (t->rank >= 2) { /* of a filter, channels */
            add(features, t->shape[1]);
            add(outputs, t->shape[0]);
        }
        for (int k = 0; k < t->rank && k < 2; k++)
            for (size_t p = 0; p < sizeof parts / sizeof *parts; p++)
                if (t->shape[k] % parts[p] == 0)
                    add(widths, t->shape[k] / parts[p]);
    }
}

/* A network that is tried, and what was found so far. */
typedef struct {
    nn_function function;
    nn_input_kind input;
    const nn_spec *given;
    const nn_torch *from;
    numbers features, outputs, widths;
    nn_spec best;
    size_t width;
    int n_ordered, n_fit;
} search;

static nn_net *trace(const search *s, size_t features, size_t outputs, nn_spec *spec, ad_error *error)
{
    *spec = *s->given;
    spec->outputs = outputs;
    const size_t *shape = s->given->shape;
    spec->features = s->input == NN_FEATURES ? features : 0;
    if (s->input == NN_IMAGE && shape[0]) {
        spec->shape[shape[2] ? 2 : 1] = features;
    } else if (s->input == NN_SEQUENCE) {
        spec->shape[0] = s->given->shape[0] ? s->given->shape[0] : 2;
        spec->shape[1] = features;
    }
    return nn_trace(s->function, spec, error);
}

/* Tries all widths. Of what fits, the one in the order of the names comes before the others. */
static int try_net(search *s, const nn_net *net, const nn_spec *spec, ad_error *error)
{
    for (int w = 0; w < s->widths.n; w++) {
        nn_groups groups;
        nn_match match = { 0 };
        int status = nn_groups_of(net, s->widths.values[w], s->from->arena, &groups, error);
        if (!status)
            status = nn_match_groups(s->from, &groups, &match, error);
        if (status < 0)
            return -1;
        if (status > 0)
            continue;
        if (!s->n_fit || (match.ordered && !s->n_ordered)) {
            s->best = *spec;
            s->width = s->widths.values[w];
        }
        s->n_fit++;
        s->n_ordered += match.ordered;
    }
    return 0;
}

static int try_all(search *s, ad_error *error)
{
    ad_error first = { 0 };
    int traced = 0, status = 0;
    for (int f = 0; f < s->features.n && !status; f++)
        for (int o = 0; o < s->outputs.n && !status; o++) {
            nn_spec spec;
            nn_net *net = trace(s, s->features.values[f], s->outputs.values[o], &spec, &first);
            if (!net)
                continue;
            traced++;
            status = try_net(s, net, &spec, error);
            nn_net_free(net);
        }
    return !traced && !status ? ad_fail(error, "%s", *first.text ? first.text : "no matrix tells the sizes") : status;
}

/* How many groups have the shape of some tensor. */
static int count_shapes(const search *s, const nn_groups *groups)
{
    int count = 0;
    for (int g = 0; g < groups->n; g++)
        for (size_t t = 0; t < nn_tensors_count(s->from->file); t++)
            if (nn_same_shape(&groups->groups[g], nn_tensors_at(s->from->file, t))) {
                count++;
                break;
            }
    return count;
}

/* What is on each side, at the width that has most of the shapes. */
static int tell_failure(const search *s, ad_error *error)
{
    nn_spec spec;
    nn_groups groups;
    int best = -1;
    nn_net *net = trace(s, s->features.values[0], s->outputs.values[s->outputs.n - 1], &spec, error);
    size_t n = 1;
    for (int w = 0; w < s->widths.n && net; w++) {
        if (nn_groups_of(net, s->widths.values[w], s->from->arena, &groups, error) != 0)
            break;
        int count = count_shapes(s, &groups);
        n = count > best ? s->widths.values[w] : n;
        best = count > best ? count : best;
    }
    if (net && nn_groups_of(net, n, s->from->arena, &groups, error) == 0)
        nn_match_fail(s->from, &groups, net, n, error);
    nn_net_free(net);
    return ad_fail(error, "%s: its tensors are not the network's", s->from->path);
}

/* Takes the spec's own number, if it has one, for the only one. */
static void settle(numbers *list, size_t given)
{
    if (given)
        *list = (numbers){ { given }, 1 };
}

static bool gives_outputs(const nn_spec *spec)
{
    for (const char *const *s = spec->settings; s && *s; s++)
        if (strncmp(*s, "outputs=", 8) == 0)
            return true;
    return false;
}

static int search_sizes(search *s, nn_spec *spec, size_t *width, ad_error *error)
{
    collect(s->from->file, &s->features, &s->outputs, &s->widths);
    if (s->input == NN_IMAGE && !spec->shape[0])
        return ad_fail(error,
                       "%s: tensors do not tell how large pictures are: give some (--inputs, --data; nn_spec.shape)",
                       s->from->path);
    settle(&s->features, s->input == NN_IMAGE      ? spec->shape[spec->shape[2] ? 2 : 1]
                         : s->input == NN_SEQUENCE ? spec->shape[1]
                                                   : spec->features);
    settle(&s->outputs, gives_outputs(spec) && !spec->outputs ? 1 : spec->outputs);
    settle(&s->widths, *width);
    if (!s->features.n || !s->outputs.n)
        return ad_fail(error, "%s: it holds no matrix", s->from->path);
    if (try_all(s, error) != 0)
        return -1;
    if (!s->n_fit)
        return tell_failure(s, error);
    if (s->n_ordered > 1 || (!s->n_ordered && s->n_fit > 1))
        return ad_fail(error,
                       "%s: its shapes are the network's in several ways, at width %zu and others: give --width, "
                       "--set outputs= or --map TORCH=LIMN",
                       s->from->path, s->width);
    *spec = s->best;
    *width = s->width;
    return 0;
}

int nn_import_sizes(nn_function function, nn_input_kind input, nn_spec *spec, size_t *width, const char *path,
                    const char *const *maps, ad_error *error)
{
    nn_spec given = *spec;
    nn_tensors *file = nn_tensors_read(path, error);
    ad_arena *arena = file ? ad_arena_new(error) : NULL;
    nn_torch from = { .path = path, .file = file, .maps = maps, .arena = arena };
    search s = { .function = function, .input = input, .given = &given, .from = &from };
    int status = arena ? search_sizes(&s, spec, width, error) : -1;
    ad_arena_free(arena);
    nn_tensors_free(file);
    return status;
}
