/* json.c: results as JSON. cJSON's memory is limn's, so that it is counted and can fail like all other. */
#include "examples/limn/base/base.h"

#include <math.h>
#include <string.h>

static bool out_of_memory;

static void *take(size_t size)
{
    void *memory = ad_alloc(1, size, "JSON", NULL);
    out_of_memory |= !memory;
    return memory;
}

void json_begin(void)
{
    cJSON_InitHooks(&(cJSON_Hooks){ take, ad_free });
}

/* cJSON's own numbers have 15 digits wherever these are near; as many as it takes come back equal. */
cJSON *json_number(double x)
{
    char text[40];
    if (!isfinite(x)) {
        cJSON *null = cJSON_CreateNull();
        if (null)
            null->valuedouble = x; /* what json_put tells */
        return null;
    }
    for (int digits = 15; digits <= 17; digits++) {
        ad_snprintf(text, sizeof text, "%.*g", digits, x);
        if (!(fabs(ad_number(text, NULL) - x) > 0))
            break;
    }
    return cJSON_CreateRaw(text);
}

cJSON *json_time(double t)
{
    return isinf(t) ? cJSON_CreateString("inf") : json_number(t);
}

/* Why a number is null: in the item, or the first in a list. */
static const char *why_null(const cJSON *item)
{
    const char *why = NULL;
    if (cJSON_IsNull(item))
        return isnan(item->valuedouble) ? "not a number" : isinf(item->valuedouble) ? "infinite" : NULL;
    for (const cJSON *in = cJSON_IsArray(item) ? item->child : NULL; in && !why; in = in->next)
        why = why_null(in);
    return why;
}

cJSON *json_put(cJSON *object, const char *key, cJSON *item)
{
    if (!item || !object || !cJSON_AddItemToObject(object, key, item)) {
        out_of_memory = true;
        cJSON_Delete(item);
        return NULL;
    }
    const char *why = *key ? why_null(item) : NULL;
    if (why) {
        char name[128];
        snprintf(name, sizeof name, "%.100s_why", key);
        json_put(object, name, cJSON_CreateString(why));
    }
    return item;
}

cJSON *json_array(const double *values, const size_t *shape, int rank)
{
    if (rank == 0)
        return json_number(*values);
    size_t stride = 1;
    for (int k = 1; k < rank; k++)
        stride *= shape[k];
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; list && i < shape[0] && !out_of_memory; i++) {
        cJSON *item = json_array(values + i * stride, shape + 1, rank - 1);
        if (!item || !cJSON_AddItemToArray(list, item))
            out_of_memory = true;
    }
    return list;
}

cJSON *json_new(const options *o)
{
    char key[128];
    cJSON *root = cJSON_CreateObject();
    json_put(root, "command", cJSON_CreateString(o->command));
    json_put(root, "network", cJSON_CreateString(o->network));
    if (o->n_freeze)
        json_put(root, "freeze", cJSON_CreateStringArray(o->freeze, o->n_freeze));
    cJSON *settings = json_put(root, "settings", cJSON_CreateObject());
    for (int k = 0; k < o->n_settings; k++) {
        snprintf(key, sizeof key, "%.*s", (int)strcspn(o->settings[k], "="), o->settings[k]);
        json_put(settings, key, cJSON_CreateString(strchr(o->settings[k], '=') + 1));
    }
    json_put(root, "scale", cJSON_CreateString(option_word(OPTION_SCALE, (int)o->scale)));
    if (o->n_abc)
        json_put(root, "abc", cJSON_CreateStringArray(o->abc, o->n_abc));
    json_put(root, "sigma_in", cJSON_CreateString(option_word(OPTION_SIGMA_IN, (int)o->sigma_in)));
    if (weights_converted(o)) {
        json_put(root, "weights_scale", cJSON_CreateString(option_word(OPTION_SCALE, (int)o->info->parametrization)));
        json_put(root, "weights_sigma_in", cJSON_CreateString(option_word(OPTION_SIGMA_IN, (int)o->info->sigma_in)));
    }
    return root;
}

int json_print(cJSON *object, ad_error *error)
{
    char *text = object && !out_of_memory ? cJSON_PrintUnformatted(object) : NULL;
    cJSON_Delete(object);
    if (!text)
        return ad_fail(error, "out of memory for the result as JSON");
    puts(text);
    cJSON_free(text);
    return 0;
}
