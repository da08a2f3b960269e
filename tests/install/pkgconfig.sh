#!/bin/sh
# pkgconfig.sh SOURCE BUILD: limn.pc finds a tree that was moved.
. "$(dirname "$0")/stranger.sh"
mv "$prefix" "$work/moved" # pkg-config writes a blank as "\ ", which a shell's words do not take back
prefix=$work/moved
lib=$prefix/${lib#"$work/mo ved/"}
export PKG_CONFIG_PATH="$lib/pkgconfig"
cat >program.c <<'END'
#include <limn/limn.h>
int main(void)
{
    ad_error error = { 0 };
    ds_data *digits = ds_load("digits", NULL, &error);
    printf("%zu digits %s\n", digits ? digits->rows : 0, error.text);
    ds_free(digits);
    return 0;
}
END
says 0.1 pkg-config --modversion limn
# shellcheck disable=SC2046 # words
LIMN_DATA=$prefix/share/limn/datasets cc program.c $(pkg-config --cflags --libs limn) "-Wl,-rpath,$lib" -o shared
says "1797 digits" env LIMN_DATA="$prefix/share/limn/datasets" ./shared
# shellcheck disable=SC2046 # words
cc program.c $(pkg-config --cflags limn) "$lib/liblimn.a" $(pkg-config --static --libs limn) -o static
says "1797 digits" env LIMN_DATA="$prefix/share/limn/datasets" ./static
