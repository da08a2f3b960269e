#!/bin/sh
# sanitize.sh address|thread [ctest's options]: the suite under clang's sanitizers.
#
# address: of addresses and undefined behaviour, in build-asan. All tests but those that load the library into, or link
# it with, a program that was built without them (install_*, test_writers), and the house's, which read the objects of a
# plain build.
# thread: of data races, in build-tsan: several threads on one net (tests/nn/model/test_shared_net.c, with a main of its
# own: Criterion's processes do not start under ThreadSanitizer), and commands of the tool on two threads. libomp tells
# of its barriers by libarcher, which comes with it; OpenBLAS, which is not instrumented, has one thread beside them.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
. "$root/.ci/build.sh"
kind=${1:-}
[ $# -eq 0 ] || shift
case $kind in
address)
    limn_sanitized address all || exit $?
    exec ctest --test-dir "$root/build-asan" --output-on-failure \
        -E '^(install_.*|test_writers|test_house)$' "$@" ;;
thread)
    limn_sanitized thread shared_net limn || exit $?
    sanitizer_options
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    cd "$work"
    export OMP_TOOL_LIBRARIES="$(clang -print-file-name=libarcher.so)"
    export TSAN_OPTIONS="ignore_noninstrumented_modules=1:halt_on_error=0:exitcode=66"
    failed=0
    # watched [ENVIRONMENT...] COMMAND...: no line of the sanitizer, and what the command is for is done.
    watched()
    {
        if env "$@" >out 2>err && ! grep -q ThreadSanitizer err; then
            passed="no race: ${*#"$root/"}"
        else
            failed=1 passed="FAILED: ${*#"$root/"}"
            grep -A12 -m1 ThreadSanitizer err || tail -3 err
        fi
        echo "$passed"
    }
    limn=$root/build-tsan/limn
    watched OMP_NUM_THREADS=1 "$root/build-tsan/shared_net"
    for what in "kernel mlp --width inf --set phi=tanh" \
        "kernel mlp --width inf --engine sample --probes 8 --samples 256" \
        "kernel batchnorm --width inf --probes 8 --samples 256" "kernel cnn --width inf --no-check --probes 4" \
        "kernel rnn --width inf --no-check --probes 4" "kernel mlp --width 64 --seeds 2 --outputs full --probes 8" \
        "kernel mlp --width inf --dtype float --no-check --probes 1797" \
        "kernel mlp --width 256 --set weights=orthogonal --probes 8 --seeds 1" \
        "kernel cnn --width inf --no-check --probes 4 --set phi=tanh" \
        "kernel rnn --width inf --no-check --probes 2 --set cell=gru" "kernel cnn --width 16 --probes 4 --seeds 1" \
        "train mlp --width 64 --steps 5" "train batchnorm --width 32 --steps 5" "train rnn --width 16 --steps 2" \
        "train mlp --width inf --steps 2 --probes 8 --samples 256" \
        "spectrum mlp --width inf" "predict mlp --train 60 --test 20 --no-check" \
        "predict mlp --train 60 --test 20 --no-check --dtype float --times inf" \
        "report mlp --widths 8,16 --seeds 2 --steps 2 --probes 4 --out page.html"; do
        # shellcheck disable=SC2086 # words
        watched "$limn" $what --data digits --threads 2
    done
    exit $failed ;;
*)
    echo "usage: sh tests/sanitize.sh address|thread" >&2
    exit 2 ;;
esac
