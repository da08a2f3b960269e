#!/bin/sh
# Builds limn, has a small network learn a text, and runs the main job: a network of finite widths beside the same
# network at n = infinity.
# Further options go to the tool; LIMN_SHORT=1 makes it short.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
. "$root/.ci/build.sh"
limn_build limn
limn_build example_text
"$root/build/examples/text"
if [ "${LIMN_SHORT:-0}" = 1 ]; then
    set -- --widths 64,128,256 --seeds 2 --steps 50 "$@"
fi
exec "$root/build/limn" report mlp --data mnist --set sigma_w=0.7 --threads 2 "$@"
