/* weights.c: what a file of --weights or --resume says of its network stands in for what the command line leaves
 * out. */
#include "examples/limn/base/base.h"

#include <string.h>

/* A name without its folders: a C file may be called from elsewhere. */
static const char *last_part(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? slash + 1 : name;
}

static bool is_given(const options *o, int n_given, const char *setting)
{
    size_t length = strcspn(setting, "=") + 1;
    for (int k = 0; k < n_given; k++)
        if (strncmp(o->settings[k], setting, length) == 0)
            return true;
    return false;
}

/* The settings of the file that were not given. */
static int take_settings(options *o, const char *path, ad_error *error)
{
    int n_given = o->n_settings;
    for (const char *const *s = o->info->settings; *s; s++) {
        if (is_given(o, n_given, *s))
            continue;
        if (o->n_settings == MAX_SETTINGS)
            return ad_fail(error, "%s: it has more than %d settings", path, MAX_SETTINGS);
        o->settings[o->n_settings++] = *s;
    }
    return 0;
}

/* The exponents of the file, with semicolons between. */
static int take_exponents(options *o, const char *path, ad_error *error)
{
    for (const char *at = o->info->abc; at && *at;) {
        size_t length = strcspn(at, ";");
        char *text = o->n_own < MAX_SETTINGS ? ad_alloc(length + 1, 1, "exponents", error) : NULL;
        if (!text)
            return ad_fail(error, "%s: it has more than %d exponents", path, MAX_SETTINGS);
        memcpy(text, at, length);
        o->abc[o->n_abc++] = o->own[o->n_own++] = text;
        at += length + (at[length] == ';');
    }
    return 0;
}

static void tell(const options *o, const char *path, int n_given)
{
    if (o->json || (o->scale_given && o->sigma_in_given && n_given == o->n_settings))
        return;
    printf("%s: taken from it:", path);
    if (!o->scale_given)
        printf(" --scale %s", option_word(OPTION_SCALE, (int)o->scale));
    for (int k = 0; !o->scale_given && k < o->n_own; k++)
        printf(" --abc %s", o->own[k]);
    if (!o->sigma_in_given)
        printf(" --sigma-in %s", option_word(OPTION_SIGMA_IN, (int)o->sigma_in));
    for (int k = n_given; k < o->n_settings; k++)
        printf(" --set %s", o->settings[k]);
    puts("");
}

int weights_recall(options *o, ad_error *error)
{
    const char *path = o->weights ? o->weights : o->resume;
    int n_given = o->n_settings;
    if (!path)
        return 0;
    if (!(o->info = nn_weights_info_read(path, error)))
        return -1;
    if (!o->info->tells_scale && o->weights && !o->scale_given)
        return ad_fail(error,
                       "%s: it does not say the scale of its weights: give --scale ntk|standard|meanfield|mup (a file "
                       "of PyTorch's: limn import makes one that does)",
                       path);
    if (!o->info->tells_scale)
        return 0;
    if (!o->scale_given)
        o->scale = o->info->parametrization;
    if (!o->scale_given && !o->n_abc && take_exponents(o, path, error) != 0)
        return -1;
    if (!o->sigma_in_given)
        o->sigma_in = o->info->sigma_in;
    /* of another network, they would only hide that it is another */
    bool same = o->info->network && strcmp(last_part(o->info->network), last_part(o->network)) == 0;
    if (same && take_settings(o, path, error) != 0)
        return -1;
    tell(o, path, n_given);
    return 0;
}

bool weights_converted(const options *o)
{
    return o->info && o->info->tells_scale &&
           (o->info->parametrization != o->scale || o->info->sigma_in != o->sigma_in || (!o->info->abc != !o->n_abc));
}

void weights_forget(options *o)
{
    nn_weights_info_free(o->info);
    o->info = NULL;
}
