#!/bin/sh
# Random123 1.14.0 (Debian 12: librandom123-dev 1.14.0+dfsg-4) and its generators for GSL
# (libgsl-dev 2.7.1+dfsg-5+deb12u1).
#
# Expected: GSL_CBRNG counts its counter up by one for each block of numbers, as r123::Engine, its sibling for C++,
# does, so that a seed has the same numbers in both, and a number's counter can be told from its place: block k is
# (k, 0, 0, 0).
# What happens: the carry into the third word asks only whether the second one is 0, which it is for the first 2^32
# blocks, overflow or not: the third word counts with the first, and block k is (k, 0, k, 0). None of philox4x32's
# numbers is Engine's, nor that of a kernel which takes the block's number for its counter. Generators of two words, as
# philox2x32, are right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
[ "$(dpkg-query -W -f='${Version}' librandom123-dev 2>/dev/null)" = 1.14.0+dfsg-4 ] ||
    { echo "needs librandom123-dev 1.14.0+dfsg-4"; exit 2; }
version=2.7.1+dfsg-5+deb12u1
apt-get download "libgsl-dev=$version" >/dev/null 2>&1 || { echo "libgsl-dev $version cannot be had here"; exit 2; }
dpkg -x libgsl-dev_*.deb .
cat >engine.cpp <<'C'
#include <Random123/conventional/Engine.hpp>
#include <Random123/philox.h>

extern "C" void engine(uint32_t seed, uint32_t *four, uint32_t *two, int count)
{
    r123::Engine<r123::Philox4x32> with_four(seed);
    r123::Engine<r123::Philox2x32> with_two(seed);
    for (int i = 0; i < count; i++) {
        four[i] = with_four();
        two[i] = with_two();
    }
}
C
cat >show.c <<'C'
#include <string.h>
#include <Random123/philox.h>
#include <Random123/conventional/gsl_cbrng.h>
#include <stdio.h>

GSL_CBRNG(four_words, philox4x32);
GSL_CBRNG(two_words, philox2x32);

enum { COUNT = 4000, SEED = 7 };

void engine(uint32_t seed, uint32_t *four, uint32_t *two, int count);

int main(void)
{
    static uint32_t four[COUNT], two[COUNT];
    int four_same = 0, two_same = 0, third_counts = 0;
    gsl_rng *with_four = gsl_rng_alloc(gsl_rng_four_words), *with_two = gsl_rng_alloc(gsl_rng_two_words);
    gsl_rng_set(with_four, SEED);
    gsl_rng_set(with_two, SEED);
    engine(SEED, four, two, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t number = (uint32_t)gsl_rng_get(with_four), block = i / 4 + 1;
        philox4x32_ctr_t counter = { { block, 0, block, 0 } };
        philox4x32_key_t key = { { SEED, 0 } };
        four_same += number == four[i];
        third_counts += number == philox4x32(counter, key).v[3 - i % 4];
        two_same += (uint32_t)gsl_rng_get(with_two) == two[i];
        if (i < 4)
            printf("philox4x32, seed %d: %08x by GSL_CBRNG, %08x by Engine\n", SEED, number, four[i]);
    }
    printf("of %d numbers %d are Engine's and %d of counter (k, 0, k, 0); with philox2x32 %d are Engine's\n", COUNT,
           four_same, third_counts, two_same);
    gsl_rng_free(with_four);
    gsl_rng_free(with_two);
    return !(four_same == 0 && third_counts == COUNT && two_same == COUNT);
}
C
g++ -c engine.cpp
cc -I usr/include show.c engine.o usr/lib/*/libgsl.a usr/lib/*/libgslcblas.a -lm -lstdc++ -o show
./show
