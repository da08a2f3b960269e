#!/bin/sh
# valgrind.sh: examples, and the tool's commands in small sizes, under valgrind's memcheck: no error, and no memory that
# nothing points to at the end. Builds first. LIMN_EXAMPLES: which examples, as some take an hour here (netsor tied).
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
. "$root/.ci/build.sh"
command -v valgrind >/dev/null 2>&1 || { echo "valgrind: it is missing (Debian: valgrind)" >&2; exit 77; }
[ -x "$root/build/limn" ] || limn_build
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failed=0
watched()
{
    if valgrind -q --child-silent-after-fork=yes --error-exitcode=99 --leak-check=full \
        --show-leak-kinds=definite --errors-for-leak-kinds=definite "$@" >out 2>err && ! grep -q '^==' err; then
        echo "no error: ${*#"$root/"}"
    else
        failed=1
        echo "FAILED: ${*#"$root/"}"
        grep -m12 '^==' err || tail -3 err
    fi
}
printf '%s\n' 'Input x : G(n) ~ N(0, 1)' 'Input W : A(n, n) ~ N(0, 1/n)' 'MatMul h := W x' 'Nonlin y := tanh(h)' \
    'Moment e := <y, y>' >p.txt
for example in ${LIMN_EXAMPLES:-netsor tied}; do
    watched "$root/build/examples/$example"
done
limn=$root/build/limn
watched "$limn" limit p.txt
watched "$limn" limit p.txt --width 16 --seeds 2
for what in "program mlp" "kernel mlp --probes 4" "kernel mlp --width 16 --seeds 2 --probes 4" \
    "kernel batchnorm --probes 3 --samples 64 --runs 2" "train mlp --width 16 --steps 3 --out w.st" \
    "eval mlp --weights w.st" "predict mlp --train 20 --test 5 --no-check" "spectrum mlp --critical" "regime mlp"; do
    case $what in program* | regime* | spectrum*) data='' ;; *) data='--data digits' ;; esac
    # shellcheck disable=SC2086 # words
    watched "$limn" $what $data
done
exit $failed
