#!/bin/sh
# limn over MPI's ranks: builds it in build-mpi with -DLIMN_MPI=ON (Debian: libopenmpi-dev libscalapack-openmpi-dev
# openmpi-bin) and holds four ranks of this machine against one process.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cmake -S "$root" -B "$root/build-mpi" -DCMAKE_BUILD_TYPE=Release -DLIMN_MPI=ON >/dev/null
cmake --build "$root/build-mpi" --parallel "$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)" \
    --target limn --target ranks_blocks
ctest --test-dir "$root/build-mpi" --output-on-failure -R '^test_ranks$'
