#!/bin/sh
# LIBXSMM 1.17 (Debian 12: libxsmm-dev 1.17-2) and the random numbers of neighbouring seeds.
#
# Expected: libxsmm_rng_set_seed seeds like srand, as its header says, so that the numbers of the seeds 1, 2, 3 have
# nothing in common, and an average over seeds, of random weights or of dropout, is one over independent runs.
# What happens: libxsmm_rng_f32_seq takes its numbers from 16 xoshiro128+ generators in turn, and their states are the
# seed plus a number that falls by one from each generator to the next. So the seed s + 1 has the numbers of s, 15 in 16
# of them, one place further; s + 2 has 14 in 16 two places further, and so on. From 16 on no generator is shared.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
[ "$(dpkg-query -W -f='${Version}' libxsmm-dev 2>/dev/null)" = 1.17-2 ] || { echo "needs libxsmm-dev 1.17-2"; exit 2; }
cat >show.c <<'C'
#include <libxsmm.h>
#include <stdio.h>

enum { COUNT = 16384 };

static void draw(unsigned seed, float *numbers)
{
    libxsmm_rng_set_seed(seed);
    libxsmm_rng_f32_seq(numbers, COUNT);
}

int main(void)
{
    static float first[COUNT], other[COUNT];
    int same = 1;
    libxsmm_init();
    draw(1, first);
    for (int step = 1; step <= 16; step++) {
        int again = 0;
        draw(1 + step, other);
        for (int i = 0; i + step < COUNT; i++)
            again += other[i + step] == first[i];
        if (step <= 2 || step >= 15)
            printf("seeds 1 and %d: of %d numbers %d come again, %d place%s further\n", 1 + step, COUNT, again, step,
                   step == 1 ? "" : "s");
        same &= step < 16 ? again >= COUNT / 16 * (16 - step) : again < 16;
    }
    draw(1, first);
    draw(2, other);
    printf("1: %.6f %.6f %.6f ..., 2: %.6f %.6f %.6f ...\n", first[0], first[1], first[2], other[0], other[1],
           other[2]);
    return !same;
}
C
cc show.c -lxsmm -lxsmmnoblas -lpthread -lm -ldl -o show
./show
