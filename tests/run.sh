#!/bin/sh
# Builds limn and runs all of its tests, two at a time, and where clang is at hand a short fuzz under its sanitizers
# (LIMN_FUZZ_SECONDS for each target, 5; 0: none). Further options go to ctest, and then that is all.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
. "$root/.ci/build.sh"
limn_build
ctest --test-dir "$root/build" --output-on-failure --parallel 2 "$@"
if [ $# -eq 0 ] && [ "${LIMN_FUZZ_SECONDS:-5}" -gt 0 ]; then
    sh "$root/tests/fuzz/run.sh" "${LIMN_FUZZ_SECONDS:-5}" || [ $? -eq 77 ]
fi
