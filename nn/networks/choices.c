/* choices.c: settings whose values are words. */
#include "nn/networks/networks.h"

#include <string.h>

int nn_setting_choice(nn_net *net, const char *key, const char *const *words, const char *wanted)
{
    const char *value = nn_setting_text(net, key, words[0]);
    for (int k = 0; words[k]; k++)
        if (strcmp(value, words[k]) == 0)
            return k;
    const char *closest = ad_closest(value, words);
    char text[200];
    snprintf(text, sizeof text, closest ? "%.120s: did you mean %s?" : "%.120s", wanted, closest);
    nn_setting_fail(net, key, text);
    return 0;
}

double nn_setting_dropout(nn_net *net)
{
    double keep = nn_setting_real(net, "dropout", 1);
    if (keep > 0 && keep <= 1)
        return keep;
    nn_setting_fail(net, "dropout", "the probability to keep, above 0 and at most 1");
    return 1;
}

bool nn_setting_yes(nn_net *net, const char *key)
{
    static const char *const words[] = { "no", "yes", NULL };
    return nn_setting_choice(net, key, words, "no or yes") == 1;
}
