#!/bin/sh
# cJSON 1.7.15 (Debian 12: libcjson-dev 1.7.15-1+deb12u4) and numbers that are printed and read again.
#
# Expected: cJSON_Print takes 15 digits where these come back as the same double, and 17 where they don't, as its source
# says that it does.
# What happens: "the same" is asked with a tolerance of DBL_EPSILON times the number, so that 15 digits stay although
# the double read again is a neighbour: one number in six between 0 and 1 comes back changed in its last bit or two.
# A JSON file and a binary one of the same kernel then differ. A raw item with 17 digits keeps every bit.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
[ "$(dpkg-query -W -f='${Version}' libcjson-dev 2>/dev/null)" = 1.7.15-1+deb12u4 ] ||
    { echo "needs libcjson-dev 1.7.15-1+deb12u4"; exit 2; }
cat >show.c <<'C'
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

static double again(cJSON *item)
{
    char *text = cJSON_PrintUnformatted(item);
    double value = strtod(text, NULL);
    cJSON_free(text);
    cJSON_Delete(item);
    return value;
}

int main(void)
{
    int changed = 0, raw_changed = 0;
    for (int i = 1; i <= 10000; i++) {
        double value = i / 10007.0;
        char digits[32];
        snprintf(digits, sizeof digits, "%.17g", value);
        changed += again(cJSON_CreateNumber(value)) != value;
        raw_changed += again(cJSON_CreateRaw(digits)) != value;
    }
    printf("%d of 10000 numbers come back changed, %d of them as raw items of 17 digits\n", changed, raw_changed);
    return changed > 1000 && raw_changed == 0 ? 0 : 1;
}
C
cc show.c -lcjson -o show
./show
