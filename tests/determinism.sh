#!/bin/sh
# determinism.sh: the same seed gives the same draws whatever the threads, OpenBLAS's kernels, the compiler (clang's
# builds of sanitize.sh and coverage.sh, which are there where one of these ran) and the instruction set (valgrind has
# AVX2 and no AVX-512); and the same command at the same number of threads the same bits, twice. Builds first.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
. "$root/.ci/build.sh"
[ -x "$root/build/limn" ] || limn_build limn
sanitizer_options
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failed=0 counted=0
# same WHAT FILE...: all are equal.
same()
{
    what=$1 first=$2
    shift 2
    for other; do
        counted=$((counted + 1))
        cmp -s "$first" "$other" || { failed=1; echo "$what: $first and $other differ"; }
    done
}
# draws NAME COMMAND...: the initial weights, as NAME.st.
draws()
{
    name=$1
    shift
    "$@" train mlp --data digits --width 64 --set depth=3 --steps 0 --out "$name.st" >out 2>&1 ||
        { failed=1; echo "$name:"; tail -3 out; }
}
limn=$root/build/limn
draws here "$limn"
for threads in 2 3 5; do
    draws threads "$limn" --threads $threads
    same "draws on $threads threads" here.st threads.st
done
for core in Nehalem Haswell SkylakeX; do
    draws core env OPENBLAS_CORETYPE=$core "$limn"
    same "draws with OpenBLAS for $core" here.st core.st
done
for build in build-asan build-tsan build-coverage; do
    if [ -x "$root/$build/limn" ]; then
        draws clang env LLVM_PROFILE_FILE=/dev/null TSAN_OPTIONS=ignore_noninstrumented_modules=1 "$root/$build/limn"
        same "draws by clang ($build)" here.st clang.st
    fi
done
if command -v valgrind >/dev/null 2>&1; then
    draws avx2 valgrind -q "$limn"
    same "draws without AVX-512" here.st avx2.st
fi
for threads in 1 2 3; do
    for what in "train mlp --width 64 --steps 20 --out" "train batchnorm --width 32 --steps 5 --out" \
        "kernel mlp --width 128 --probes 40 --seeds 2 --out" "kernel rnn --width inf --probes 5 --no-check --out" \
        "kernel mlp --width inf --engine sample --probes 10 --samples 512 --out" \
        "predict mlp --train 100 --test 20 --no-check --out"; do
        case $what in train*) end=st ;; *) end=npy ;; esac
        for turn in first second; do
            # shellcheck disable=SC2086 # words
            "$limn" $what $turn.$end --data digits --threads $threads >out 2>&1 ||
                { failed=1; echo "$what:"; tail -3 out; }
        done
        same "$what, twice on $threads threads" first.$end second.$end
    done
done
echo "$counted pairs of files compared$([ $failed = 0 ] && echo ", all equal")"
exit $failed
