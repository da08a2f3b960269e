/* settings.c: the settings of a network: given as "key=value", read while its function runs. */
#include "nn/network/network.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static nn_setting *find_setting(const nn_net *net, const char *key)
{
    nn_setting *s = net->settings;
    while (s && strcmp(s->key, key) != 0)
        s = s->next;
    return s;
}

/* Settings stay in the order in which they were given or read. */
static nn_setting *append_setting(nn_net *net, const char *key, const char *value)
{
    nn_setting **end = &net->settings, *s = ad_arena_alloc(net->arena, 1, sizeof *s);
    const char *kept = ad_arena_text(net->arena, "%s", key);
    if (!s || !kept) {
        ad_fail(&net->error, "%s: out of memory", nn_title(net));
        return NULL;
    }
    *s = (nn_setting){ .key = kept, .value = value };
    while (*end)
        end = &(*end)->next;
    return *end = s;
}

/* The text given for the key, else its preset; marks the setting as read. */
static const char *take_setting(ad_where where, nn_net *net, const char *key, const char *preset)
{
    if (!nn_is_there(where, "setting", net) || !ad_has_text(where, "setting", net->graph, "key", key) ||
        !ad_has_text(where, "setting", net->graph, "default", preset))
        return "";
    nn_setting *s = find_setting(net, key);
    if (!s)
        s = append_setting(net, key, NULL);
    if (!s)
        return preset;
    if (!s->preset && !(s->preset = ad_arena_text(net->arena, "%s", preset)))
        ad_fail(&net->error, "%s: out of memory", nn_title(net));
    return s->value ? s->value : preset;
}

void nn_setting_fail(nn_net *net, const char *key, const char *wanted)
{
    if (!net || ad_failed(net->graph)) /* the key itself is missing, say */
        return;
    const nn_setting *s = find_setting(net, key);
    const char *value = s && s->value ? s->value : s ? s->preset : NULL;
    ad_fail(&net->error, "%s: %s=%s: it must be %s", nn_title(net), key, value ? value : "", wanted);
}

long nn_setting_int_at(ad_where where, nn_net *net, const char *key, long preset, long minimum, long maximum)
{
    char text[32], wanted[96], *end;
    snprintf(text, sizeof text, "%ld", preset);
    const char *value = take_setting(where, net, key, text);
    errno = 0;
    long number = strtol(value, &end, 10);
    if (end != value && !*end && !errno && number >= minimum && number <= maximum)
        return number;
    snprintf(wanted, sizeof wanted, "a whole number from %ld to %ld", minimum, maximum);
    nn_setting_fail(net, key, wanted);
    return preset;
}

static bool real(const char *text, double *number)
{
    char *end;
    *number = ad_number(text, &end);
    return end != text && !*end && isfinite(*number);
}

double nn_setting_real_at(ad_where where, nn_net *net, const char *key, double preset)
{
    char text[40];
    double number;
    for (int digits = 6; digits <= 17; digits++) { /* the shortest text that is the number */
        ad_snprintf(text, sizeof text, "%.*g", digits, preset);
        if (real(text, &number) && !(fabs(number - preset) > 0))
            break;
    }
    if (real(take_setting(where, net, key, text), &number))
        return number;
    nn_setting_fail(net, key, "a number");
    return preset;
}

const char *nn_setting_text_at(ad_where where, nn_net *net, const char *key, const char *preset)
{
    return take_setting(where, net, key, preset);
}

bool nn_setting_sigma_at(ad_where where, nn_net *net, const char *key, const char *preset, double *sigma)
{
    const char *text = take_setting(where, net, key, preset);
    *sigma = 0;
    if (strcmp(text, "none") == 0)
        return false;
    if (real(text, sigma) && *sigma >= 0)
        return true;
    nn_setting_fail(net, key, "none, or a number that is not negative");
    *sigma = 0;
    return false;
}

bool nn_setting_is(nn_net *net, const char *key, const char *preset, const char *other)
{
    const char *text = nn_setting_text(net, key, preset);
    if (strcmp(text, preset) != 0 && strcmp(text, other) != 0)
        nn_setting_fail(net, key, nn_name(net, "%s or %s", preset, other));
    return strcmp(text, other) == 0;
}

void nn_setting_give(nn_net *net, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) {
        ad_fail(&net->error, "%s: setting \"%s\" is not of the form key=value", nn_title(net), text);
        return;
    }
    char *key = ad_arena_text(net->arena, "%.*s", (int)(equals - text), text);
    char *value = ad_arena_text(net->arena, "%s", equals + 1);
    if (!key || !value)
        ad_fail(&net->error, "%s: out of memory", nn_title(net));
    else if (find_setting(net, key))
        ad_fail(&net->error, "%s: setting %s is given twice", nn_title(net), key);
    else
        append_setting(net, key, value);
}

void nn_settings_check_read(nn_net *net)
{
    enum { MAX_NAMES = 64 };
    char list[320] = "";
    const char *names[MAX_NAMES + 1] = { NULL };
    size_t used = 0;
    int n = 0;
    const nn_setting *unread = NULL;
    for (const nn_setting *s = net->settings; s; s = s->next) {
        if (!s->preset && !unread)
            unread = s;
        if (s->preset && n < MAX_NAMES)
            names[n++] = s->key;
        if (s->preset && used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s=%s", used ? ", " : "", s->key, s->preset);
    }
    const char *closest = unread ? ad_closest(unread->key, names) : NULL;
    if (unread)
        ad_fail(&net->error, "%s: no setting %s%s%s%s; there are (with their defaults) %s", nn_title(net), unread->key,
                closest ? " (did you mean " : "", closest ? closest : "", closest ? "?)" : "", list);
}
