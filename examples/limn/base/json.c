/* json.c: results as JSON. cJSON's memory is limn's, so that it is counted and can fail like all other. */
#include "examples/limn/base/base.h"

#include <math.h>
#include <string.h>

enum { NUMBER = 32 }; /* bytes of one as text, with what stands between two */
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

/* cJSON's own numbers have 15 digits wherever these are near. As many as it takes to come back equal: 17, or 16, which
 * show fewer of a number that has fewer. Returns the length. */
static int write_number(char text[static NUMBER], double x)
{
    if (!isfinite(x))
        return ad_snprintf(text, NUMBER, "null");
    int length = ad_snprintf(text, NUMBER, "%.16g", x);
    return fabs(ad_number(text, NULL) - x) > 0 ? ad_snprintf(text, NUMBER, "%.17g", x) : length;
}

/* Written already; not_finite: one of its numbers that are null, if there is one, which json_put tells. */
static cJSON *raw(const char *text, double not_finite)
{
    cJSON *item = cJSON_CreateRaw(text);
    if (item)
        item->valuedouble = not_finite;
    return item;
}

cJSON *json_number(double x)
{
    char text[NUMBER];
    write_number(text, x);
    return raw(text, isfinite(x) ? 0 : x);
}

cJSON *json_time(double t)
{
    return isinf(t) ? cJSON_CreateString("inf") : json_number(t);
}

/* Why a number is null, or one in a list. */
static const char *why_null(const cJSON *item)
{
    if (!cJSON_IsRaw(item))
        return NULL;
    return isnan(item->valuedouble) ? "not a number" : isinf(item->valuedouble) ? "infinite" : NULL;
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

/* Returns the end. */
static char *write_array(char *to, const double *values, const size_t *shape, int rank, double *not_finite)
{
    if (rank == 0) {
        if (!isfinite(*values) && isfinite(*not_finite))
            *not_finite = *values;
        return to + write_number(to, *values);
    }
    size_t stride = 1;
    for (int k = 1; k < rank; k++)
        stride *= shape[k];
    *to++ = '[';
    for (size_t i = 0; i < shape[0]; i++) {
        if (i)
            *to++ = ',';
        to = write_array(to, values + i * stride, shape + 1, rank - 1, not_finite);
    }
    *to++ = ']';
    return to;
}

/* One text: an item a number would be most of the time and of the memory of a large result. */
cJSON *json_array(const double *values, const size_t *shape, int rank)
{
    size_t count = 1, lists = 1;
    for (int k = 0; k < rank; k++) {
        count *= shape[k];
        lists += count;
    }
    char *text = ad_alloc(NUMBER * count + 3 * lists, 1, "JSON", NULL);
    double not_finite = 0;
    if (!text) {
        out_of_memory = true;
        return NULL;
    }
    *write_array(text, values, shape, rank, &not_finite) = '\0';
    cJSON *list = raw(text, not_finite);
    ad_free(text);
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
