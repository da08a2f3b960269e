/* weights_info.c: what a file of weights says of the network that it is of, and whether another one may take them. */
#include "nn/model/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WORD(NAME, word) [NN_##NAME] = #word,
static const char *const scales[] = { NN_PARAMETRIZATIONS(WORD) NULL };
static const char *const sigmas[] = { [NN_SIGMA_INIT] = "init", [NN_SIGMA_MULTIPLIER] = "multiplier", NULL };
static const char layout_of_limn[] = "in,out";

const char *nn_parametrization_name(nn_parametrization which)
{
    return scales[which];
}

/* ---- writing ---- */
typedef struct {
    ad_arena *arena;
    nn_pair *pairs;
    size_t n;
    bool failed;
} list;

static void say(list *l, const char *key, const char *value)
{
    l->failed |= !key || !value;
    l->pairs[l->n++] = (nn_pair){ key, value };
}

/* The sizes of a sample's axes: "28,28". */
static const char *sample_text(const nn_net *net, ad_arena *arena)
{
    const ad_shape *shape = ad_shape_get(net->input);
    const char *text = "";
    for (int i = 0; i < shape->rank && text; i++)
        if (ad_axis_kind(net->graph, shape->axes[i]) == AD_FIXED)
            text = ad_arena_text(arena, "%s%s%zu", text, *text ? "," : "", ad_axis_fixed(net->graph, shape->axes[i]));
    return text;
}

static const char *number_text(ad_arena *arena, double number)
{
    char text[40];
    ad_snprintf(text, sizeof text, "%.17g", number);
    return ad_arena_text(arena, "%s", text);
}

static const char *value_of(const nn_setting *s)
{
    return s->value ? s->value : s->preset;
}

nn_pair *nn_weights_pairs(const nn_model *model, ad_arena *arena, size_t *n, ad_error *error)
{
    const nn_net *net = model->net;
    size_t count = (size_t)net->n_params + NN_MAX_PAIRS;
    uint64_t mark;
    for (const nn_setting *s = net->settings; s; s = s->next)
        count++;
    list l = { .arena = arena, .pairs = ad_arena_alloc(arena, count, sizeof *l.pairs) };
    if (nn_trace_mark(net, &mark, error) != 0)
        return NULL;
    if (l.pairs) {
        say(&l, "limn", LIMN_VERSION);
        say(&l, "layout", layout_of_limn);
        say(&l, "scale", scales[net->spec.parametrization]);
        if (net->exponents_text)
            say(&l, "abc", net->exponents_text);
        say(&l, "sigma_in", sigmas[net->spec.sigma_in]);
        say(&l, "sample", sample_text(net, arena));
        say(&l, "trace", ad_arena_text(arena, "%016" PRIx64, mark));
        for (const nn_setting *s = net->settings; s; s = s->next)
            say(&l, ad_arena_text(arena, "setting.%s", s->key), value_of(s));
        for (int k = 0; k < net->n_params; k++)
            say(&l, ad_arena_text(arena, "multiplier.%s", nn_tensor_name(model, k)),
                number_text(arena, nn_multiplier(net, k, &model->sizes)));
    }
    *n = l.n;
    if (!l.pairs || l.failed) {
        ad_fail(error, "%s: out of memory for what a file says of it", nn_title(net));
        return NULL;
    }
    return l.pairs;
}

/* ---- reading ---- */
/* The position of a word in a list that NULL ends, -1. */
static int find_word(const char *const *words, const char *word)
{
    for (int k = 0; word && words[k]; k++)
        if (strcmp(words[k], word) == 0)
            return k;
    return -1;
}

/* The public part first. */
typedef struct {
    nn_weights_info public;
    ad_arena *arena;
} info;

static void read_sample(nn_weights_info *out, const char *text)
{
    char *end = NULL;
    for (int i = 0; text && *text && i < 4; i++, text = *end == ',' ? end + 1 : end)
        out->sample[i] = strtoul(text, &end, 10);
}

static int fill_info(info *i, const nn_tensors *file, ad_error *error)
{
    const char *name = nn_tensors_metadata(file, "network");
    int scale = find_word(scales, nn_tensors_metadata(file, "scale"));
    int sigma = find_word(sigmas, nn_tensors_metadata(file, "sigma_in"));
    size_t n = 0, offset = strlen("setting.");
    while (nn_tensors_pair(file, "setting.", n).key)
        n++;
    const char **settings = ad_arena_alloc(i->arena, n + 1, sizeof *settings);
    const char *abc = nn_tensors_metadata(file, "abc");
    bool whole = settings && (!name || (i->public.network = ad_arena_text(i->arena, "%s", name))) &&
                 (!abc || (i->public.abc = ad_arena_text(i->arena, "%s", abc)));
    for (size_t k = 0; k < n && whole; k++) {
        nn_pair pair = nn_tensors_pair(file, "setting.", k);
        whole = (settings[k] = ad_arena_text(i->arena, "%s=%s", pair.key + offset, pair.value));
    }
    read_sample(&i->public, nn_tensors_metadata(file, "sample"));
    i->public.type = AD_FLOAT;
    for (size_t k = 0; k < nn_tensors_count(file); k++)
        if (nn_tensors_at(file, k)->dtype == NN_F64)
            i->public.type = AD_DOUBLE;
    i->public.tells_scale = scale >= 0 && sigma >= 0;
    i->public.parametrization = scale >= 0 ? (nn_parametrization)scale : NN_NTK;
    i->public.sigma_in = sigma >= 0 ? (nn_sigma_in)sigma : NN_SIGMA_INIT;
    i->public.settings = settings;
    return whole ? 0 : ad_fail(error, "out of memory for what a file of weights says");
}

nn_weights_info *nn_weights_info_read(const char *path, ad_error *error)
{
    nn_tensors *file = nn_tensors_read(path, error);
    info *i = file ? ad_alloc(1, sizeof *i, "what a file of weights says", error) : NULL;
    int failed = i && (i->arena = ad_arena_new(error)) ? fill_info(i, file, error) : -1;
    nn_tensors_free(file);
    if (!failed)
        return &i->public;
    nn_weights_info_free(i ? &i->public : NULL);
    return NULL;
}

void nn_weights_info_free(nn_weights_info *public)
{
    if (public)
        ad_arena_free(((info *)(void *)public)->arena);
    ad_free(public);
}

bool nn_weights_of_limn(const nn_tensors *file)
{
    const char *format = nn_tensors_metadata(file, "format"), *layout = nn_tensors_metadata(file, "layout");
    return layout ? strcmp(layout, layout_of_limn) == 0 : format && strncmp(format, "limn", 4) == 0;
}

/* ---- another network ---- */
/* What a name is without its folders. */
static const char *last_part(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

/* Equal as texts or as numbers. */
static bool same_value(const char *a, const char *b)
{
    char *end_a, *end_b;
    double x = ad_number(a, &end_a), y = ad_number(b, &end_b);
    return strcmp(a, b) == 0 || (end_a != a && !*end_a && end_b != b && !*end_b && !(fabs(x - y) > 0));
}

/* Each setting is the file's. One of which the file knows nothing must be as it is unless given. */
static int check_settings(const char *path, const nn_tensors *file, const nn_net *net, ad_error *error)
{
    char key[128];
    for (const nn_setting *s = net->settings; s; s = s->next) {
        snprintf(key, sizeof key, "setting.%.110s", s->key);
        const char *was = nn_tensors_metadata(file, key);
        if (was && !same_value(was, value_of(s)))
            return ad_fail(error,
                           "%s: its weights are of %s with %s=%.60s, not %s=%.60s: leave %s out, or give what the "
                           "file has",
                           path, nn_title(net), s->key, was, s->key, value_of(s), s->key);
        if (!was && s->value && !same_value(s->value, s->preset))
            return ad_fail(error, "%s: its weights are of %s without a setting %s, not of %s=%.60s: leave it out", path,
                           nn_title(net), s->key, s->key, s->value);
    }
    return 0;
}

/* The multiplier that stood before tensor k where the file was written. */
static int read_multiplier(const char *path, const nn_tensors *file, const nn_model *model, int k, double *factor,
                           ad_error *error)
{
    char key[300], *end = NULL;
    const char *name = nn_tensor_name(model, k);
    ad_snprintf(key, sizeof key, "multiplier.%.280s", name);
    const char *text = nn_tensors_metadata(file, key);
    double was = text ? ad_number(text, &end) : NAN, is = nn_multiplier(model->net, k, &model->sizes);
    if (!text || *end || !isfinite(was) || !(fabs(is) > 0))
        return ad_fail(error, "%s: it does not say what its scale multiplies %s by: give the file's scale", path, name);
    *factor = was / is;
    return 0;
}

static int find_factors(const char *path, const nn_tensors *file, const nn_model *model, double *factors,
                        ad_error *error)
{
    int failed = 0;
    for (int k = 0; k < model->net->n_params && !failed; k++)
        failed = read_multiplier(path, file, model, k, &factors[k], error);
    return failed;
}

/* "ntk", or "ntk with sigma in the multiplier", "ntk with exponents hidden=0,0.5,0". */
static const char *scale_text(int scale, int sigma, const char *abc, char *text, size_t size)
{
    snprintf(text, size, "%s%s%s%.60s", scales[scale],
             sigma == NN_SIGMA_MULTIPLIER ? " with sigma in the multiplier" : "", abc ? " with exponents " : "",
             abc ? abc : "");
    return text;
}

/* Both NULL, or equal. */
static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

int nn_weights_check(const char *path, const nn_tensors *file, const nn_model *model, double *factors, ad_error *error)
{
    const nn_net *net = model->net;
    char one[160], two[160], text[20];
    uint64_t mark;
    int scale = find_word(scales, nn_tensors_metadata(file, "scale"));
    int sigma = find_word(sigmas, nn_tensors_metadata(file, "sigma_in"));
    const char *version = nn_tensors_metadata(file, "limn"), *trace = nn_tensors_metadata(file, "trace");
    const char *sample = nn_tensors_metadata(file, "sample"), *name = nn_tensors_metadata(file, "network");
    const char *abc = nn_tensors_metadata(file, "abc");
    if (scale < 0 || sigma < 0)
        return 0; /* it says nothing */
    ad_arena *arena = ad_arena_new(error);
    const char *own = arena ? sample_text(net, arena) : NULL;
    /* other versions may trace one network otherwise, and longer sequences make other traces */
    bool comparable =
        own && sample && strcmp(sample, own) == 0 && version && strcmp(version, LIMN_VERSION) == 0 && trace;
    ad_arena_free(arena);
    if (!own || nn_trace_mark(net, &mark, error) != 0)
        return ad_fail(error, "%s: out of memory", path);
    snprintf(text, sizeof text, "%016" PRIx64, mark);
    bool same = comparable && strcmp(trace, text) == 0;
    bool other_scale = scale != (int)net->spec.parametrization || sigma != (int)net->spec.sigma_in ||
                       !same_text(abc, net->exponents_text);
    scale_text(scale, sigma, abc, one, sizeof one);
    scale_text((int)net->spec.parametrization, (int)net->spec.sigma_in, net->exponents_text, two, sizeof two);
    if (!same && name && strcmp(last_part(name), last_part(nn_title(net))) != 0)
        return ad_fail(error, "%s: its weights are of the network %.80s, not of %.80s", path, name, nn_title(net));
    if (check_settings(path, file, net, error) != 0)
        return -1;
    if (!same && other_scale)
        return ad_fail(error,
                       "%s: its weights are of the scale %s, the network's is %s, and they cannot be shown to "
                       "convert exactly: give the file's",
                       path, one, two);
    if (comparable && !same)
        return ad_fail(error,
                       "%s: %.80s does not compute what it computed when these weights were written: take it as "
                       "it was (or write them by limn export there, and read them by limn import here)",
                       path, nn_title(net));
    if (other_scale && !factors)
        return ad_fail(error, "%s: cannot resume: it is of the scale %s, the network's is %s", path, one, two);
    return other_scale ? find_factors(path, file, model, factors, error) : 0;
}
