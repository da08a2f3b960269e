/* settings.c: numbers and settings as people type them. The first byte chooses the network; the rest are settings,
 * a line each, and numbers, which are what the C library says they are. */
#include "nn/nn.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void is_number(const char *text)
{
    char *end, *end2;
    double value = ad_number(text, &end), other = strtod(text, &end2);
    fuzz_holds(end == end2 && ((isnan(value) && isnan(other)) || memcmp(&value, &other, sizeof value) == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    enum { MOST = 16, LONGEST = 400 };
    static const nn_spec specs[] = {
        { .features = 2 }, { .shape = { 2, 2 } }, { .features = 2 }, { .shape = { 4, 4, 1 } }
    };
    if (!count || count > LONGEST)
        return 0;
    char *text = fuzz_text(bytes + 1, count - 1), *rest = text;
    const char *settings[MOST + 1] = { NULL }, *line;
    for (int n = 0; n < MOST && (line = strsep(&rest, "\n"));) {
        const char *equals = strchr(line, '=');
        is_number(equals ? equals + 1 : line);
        /* sizes are the caller's: one that takes minutes is not what is looked for */
        double size = equals ? fabs(ad_number(equals + 1, NULL)) : 0;
        if (*line && !(size > 40))
            settings[n++] = line;
    }
    int which = bytes[0] & 3;
    nn_spec spec = specs[which];
    spec.name = nn_builtin_names()[which];
    spec.settings = settings;
    spec.parametrization = (nn_parametrization)(bytes[0] >> 2 & 3);
    ad_error error = { 0 };
    nn_net *net = nn_trace(nn_builtin(spec.name), &spec, &error);
    fuzz_verdict(!net, &error);
    nn_net_free(net);
    free(text);
    return 0;
}
