#!/bin/sh
# clang 14.0.6 with libomp (Debian 12: clang-14, libomp-14-dev 1:14.0.6-12) and `num_threads` beside `if`.
#
# Expected: num_threads counts for the one parallel region that it stands at (OpenMP 5.1, 2.6), so that a later region
# without it has the threads of omp_set_num_threads. gcc 12 with libgomp does so.
# What happens: where the if clause is false, the region is run alone, and its number stays for the next parallel region
# of this thread, which has 1 thread of 2. A library that counts on the number which omp_get_max_threads tells, as
# OpenBLAS 0.3.21's OpenMP build does (Debian: libopenblas0-openmp 0.3.21+ds-4), hung in a product of matrices.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
command -v clang-14 >/dev/null && [ "$(dpkg-query -W -f='${Version}' libomp5-14 2>/dev/null)" = 1:14.0.6-12 ] ||
    { echo "needs clang-14 and libomp5-14 1:14.0.6-12"; exit 2; }
cat >show.c <<'C'
#include <omp.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int alone = 0, team = 0;
    (void)argv;
    omp_set_num_threads(2);
#pragma omp parallel num_threads(1) if (argc > 1)
    alone++;
#pragma omp parallel
#pragma omp single
    team = omp_get_num_threads();
    printf("omp_get_max_threads: %d, threads of the next region: %d\n", omp_get_max_threads(), team);
    return alone == 1 && team == 1 ? 0 : 1;
}
C
clang-14 -fopenmp show.c -o show
./show
