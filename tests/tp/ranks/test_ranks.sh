#!/bin/sh
# test_ranks.sh LIMN BLOCKS: limn on four ranks of this machine beside one process: tiles equal to the last bit, the
# same printed, outputs to 1e-10; what is wrong is one line; a rank that dies ends all, and leaves no output.
set -u
limn=$1 blocks=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export OMP_WAIT_POLICY=passive OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
passed=0 failed=0
verdict()
{
    if [ "$1" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "ranks: $2" >&2; cat err >&2; fi
}
ranks() { timeout 120 mpirun -q -n 4 "$@" </dev/null; }

# The same is printed, but for the time that it took.
same()
{
    grep -v '^seconds: ' one >one.told
    sed 's/four\.npy/one.npy/' four | grep -v '^seconds: ' | diff - one.told >>err
}

ranks "$blocks" >out 2>err
verdict $? "blocks of a kernel are not those of one process's tiles"

# A kernel of three rows of tiles; the file is one process's, byte by byte.
"$blocks" x.npy 4500
"$limn" kernel mlp --no-check --inputs x.npy --dtype float --out one.npy >one 2>err
ranks "$limn" kernel mlp --no-check --inputs x.npy --dtype float --out four.npy >four 2>err
status=$?
[ $status = 0 ] && cmp one.npy four.npy && [ ! -s err ] && same
verdict $? "limn kernel on four ranks is not that of one"

# Each way to solve: Cholesky, eigenvectors; the readout alone, all; flow, steps; more training rows than blocks.
while read -r options; do
    # shellcheck disable=SC2086 # options are words
    "$limn" predict mlp --data digits --train 300 --test 90 --ridge 0.01 --no-check $options --out one.npy >one 2>err &&
        ranks "$limn" predict mlp --data digits --train 300 --test 90 --ridge 0.01 --no-check $options --out four.npy \
            >four 2>err && [ ! -s err ] && same &&
        "$blocks" four.npy one.npy 1e-10 >out 2>>err
    verdict $? "limn predict $options on four ranks is not that of one"
done <<'LINES'
--times inf
--times inf --kernel nngp --set phi=tanh --centre
--times 10,100,inf
--times 10,inf --optimizer sgd --kernel nngp
--times 10 --loss cross-entropy
--times 10,inf --outputs full --train 40
--times inf --dtype float
LINES

# One line, and the status of one process.
one_line() # what, status, text, command...
{
    what=$1 wanted=$2 text=$3
    shift 3
    ranks "$@" >out 2>err
    status=$?
    [ $status = "$wanted" ] && [ "$(wc -l <err)" = 1 ] && grep -q "^limn: .*$text" err
    verdict $? "$what: status $status"
}
one_line "a file that is not there" 1 "nothing.csv" "$limn" predict mlp --data nothing.csv
one_line "an option that is none" 2 "see limn" "$limn" predict mlp --nonsense
one_line "an output that cannot be written" 1 "none/k.npy" "$limn" kernel mlp --inputs x.npy --out none/k.npy
printf '1 2 0\n1 2 1\n3 4 0\n1 5 1\n2 2 0\n' >twice.txt
one_line "a kernel that is singular" 1 "singular\|positive definite" "$limn" predict mlp --data twice.txt \
    --test-fraction 0.2 --times inf --set depth=1
[ ! -e none ] || verdict 1 "a file was left"

# The third of four dies, at work on an hour's kernel.
ranks "$limn" kernel mlp --no-check --inputs x.npy --set phi=tanh --set depth=40 --dtype float --out k.npy >out 2>err &
for wait in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    sleep 0.25
    [ ! -e k.npy.partial ] || break
done
sleep 0.5
victim=
for process in $(pgrep -f "^$limn kernel mlp .*depth=40"); do
    grep -zq '^OMPI_COMM_WORLD_RANK=2$' "/proc/$process/environ" 2>/dev/null && victim=$process
done
[ -n "$victim" ] && kill -KILL "$victim"
wait $!
status=$?
[ -n "$victim" ] && [ $status != 0 ] && [ "$(wc -l <err)" = 1 ] && grep -q "^limn: .*rank dies" err && [ ! -e k.npy ]
verdict $? "a rank that dies: status $status"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
