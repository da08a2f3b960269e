#!/bin/sh
# coverage.sh [ctest's options]: lines and branches of the library and the tool that the suite runs, by folder and file,
# in build-coverage/report.txt; the sums of folders are printed. By clang's counters, which say of each expression how
# often it ran (Debian: clang, llvm). A program that a signal ends does not count. Where MPI is there, so do four ranks.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
build=$root/build-coverage profiles=$root/build-coverage/profiles
for program in clang llvm-profdata llvm-cov; do
    command -v $program >/dev/null 2>&1 || { echo "coverage: no $program (Debian: clang llvm)" >&2; exit 77; }
done
mpi=OFF
if command -v mpirun >/dev/null 2>&1 && pkg-config --exists ompi-c scalapack-openmpi; then
    mpi=ON
fi
CC=clang cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DLIMN_MPI=$mpi \
    -DCMAKE_C_FLAGS="-O1 -fprofile-instr-generate -fcoverage-mapping" >/dev/null
cmake --build "$build" --parallel "$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)" --target ${LIMN_TARGETS:-all} >&2
rm -rf "$profiles"
LLVM_PROFILE_FILE=$profiles/%4m.profraw ctest --test-dir "$build" -E '^(install_.*|test_house)$' "$@" >&2 ||
    echo "coverage: not all tests passed" >&2
llvm-profdata merge -failure-mode=all -o "$build/limn.profdata" "$profiles"/*.profraw
llvm-cov report "$build/liblimn.so" -object "$build/limn" -instr-profile="$build/limn.profdata" >"$build/report.txt"
# Columns of the report: file, regions (3), functions (3), lines (3), branches (3).
awk '$1 ~ /\.[ch]$/ && $8 > 0 {
         split($1, at, "/")
         folder = at[1]
         lines[folder] += $8; missed[folder] += $9; branches[folder] += $11; untaken[folder] += $12
     }
     END {
         for (f in lines)
             printf "%-10s %6d lines, %5.1f %% run; %6d branches, %5.1f %% taken\n", f, lines[f],
                 100 * (1 - missed[f] / lines[f]), branches[f], branches[f] ? 100 * (1 - untaken[f] / branches[f]) : 100
     }' "$build/report.txt" | sort
