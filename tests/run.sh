#!/bin/sh
# Builds limn and runs all of its tests. Further options go to ctest.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
. "$root/.ci/build.sh"
limn_build
exec ctest --test-dir "$root/build" --output-on-failure "$@"
