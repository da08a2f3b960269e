# Measures limn, rivals in turn: sh tests/bench.sh [--rounds R] [--only PROGRAMS] [--old COMMIT] [--json FILE] [BUILD]
#
# Every round runs each program once, limn as it is and, with --old, as it was at a commit, which is built beside BUILD
# (build); NumPy, PyTorch and functorch join where /usr/bin/python3 (or $PYTHON) has them. `predict`, of 8,000 pictures,
# needs Debian's dataset-fashion-mnist and is run once. Printed are medians with 10th and 90th percentiles, and ratios
# taken round by round; FILE gets all of it.
set -e
rounds=7 old= json= build=build
only='machine limits start floats kernels empirical executor training gates batchnorm train drift growth predict'
while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --only) only=$2; shift 2 ;;
    --old) old=$2; shift 2 ;;
    --json) json=$2; shift 2 ;;
    -*) echo "bench.sh: $1 is no option" >&2; exit 2 ;;
    *) build=$1; shift ;;
    esac
done
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
python=${PYTHON:-/usr/bin/python3}
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { echo "bench.sh: $1" >&2; exit 1; }
[ -x "$build/bench/limits" ] || say "$build has no benchmarks: cmake -S . -B $build && cmake --build $build"

# The old tree, built once, and the limits' program against its library.
if [ -n "$old" ]; then
    tree=$build/old-$(git rev-parse --short "$old")
    [ -d "$tree" ] || git worktree add --detach "$tree" "$old" > /dev/null
    [ -f "$tree/build/build.ninja" ] || [ -f "$tree/build/Makefile" ] ||
        cmake -S "$tree" -B "$tree/build" -DCMAKE_BUILD_TYPE=Release > /dev/null
    cmake --build "$tree/build" --target limn > "$work/log" || { cat "$work/log"; say "$old does not build"; }
    blas=$(sed -n 's/^LIMN_OPENBLAS:FILEPATH=//p' "$build/CMakeCache.txt")
    headers=$(sed -n 's/^LIMN_CBLAS_DIR:PATH=//p' "$build/CMakeCache.txt")
    mkdir -p "$work/tests/bench"
    cp tests/bench/bench.h "$work/tests/bench"
    cc -O2 -I"$work" -I"$tree" -I"$tree/tp" -isystem "$headers" tests/bench/tp/limits.c -o "$work/limits" \
        -Wl,-rpath,"$root/$tree/build" "$tree"/build/liblimn.so "$blas" -lm ||
        say "limits.c does not build against $old"
fi

# 100 rows of 20 features as .npy.
"$python" -c 'import struct, sys
head = "{\"descr\": \"<f8\", \"fortran_order\": False, \"shape\": (100, 20), }".ljust(117) + "\n"
sys.stdout.buffer.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
sys.stdout.buffer.write(struct.pack("<2000d", *[(i * 7 % 11 - 5) + i / 2000 for i in range(2000)]))' > "$work/x.npy"
# One program's lines "  name  number unit" under its titles "case: ...", as "round who case: name number unit".
take() {
    awk -v round="$1" -v who="$2" '
        /^[^ ].*:/ { at = $1; sub(":", "", at); next }
        /^  / { line = substr($0, 3); sub(/ +\(p10.*/, "", line); name = ""
                while (match(line, /(  +|: )[0-9][0-9.e+-]*( |$)/)) { # the last number is what is told
                    name = name substr(line, 1, RSTART - 1); line = substr(line, RSTART + 1); sub(/^ +/, "", line)
                    n = split(line, w, " +")
                }
                unit = n == 1 || w[2] == "of" ? "times" : w[2]
                if (name != "") printf "%s\t%s\t%s: %s\t%s\t%s\n", round, who, at, name, w[1], unit }'
}
# What start.c tells of a command, under a name.
start() {
    name=$1 who=$2
    shift 2
    "$build/bench/start" 1 "$@" | sed "s/^start:.*/$name:/" | take "$round" "$who" >> "$work/all"
}
round=1
while [ "$round" -le "$rounds" ]; do
    for program in $only; do
        case $program in start | growth | predict) continue ;; esac
        "$build/bench/$program" 1 > "$work/out"
        take $round limn < "$work/out" >> "$work/all"
        [ -z "$old" ] || [ $program != limits ] || "$work/limits" 1 | take $round old >> "$work/all"
    done
    case " $only " in *' start '*)
        for tree_of in "limn $build" ${old:+"old $tree/build"}; do
            who=${tree_of%% *} tool=${tree_of#* }/limn
            start help $who "$tool" --help
            start 'kernel of 100 rows' $who "$tool" kernel mlp --no-check --inputs "$work/x.npy" --out "$work/k.npy"
        done ;;
    esac
    case " $only " in *' limits '*)
        "$python" tests/bench/ntk.py 2> /dev/null | take $round limn >> "$work/all" ;;
    esac
    case " $only " in *' empirical '*)
        "$python" tests/bench/jacobians.py 2> /dev/null | take $round limn >> "$work/all" ;;
    esac
    round=$((round + 1))
done

case " $only " in *' predict '*)
    round=1 data=/usr/share/datasets/fashion-mnist
    [ ! -d $data ] || start 'predict of 8000' limn "$build/limn" predict mlp --data $data --train 8000 --test 1000 \
        --times 100,1000,inf ;;
esac

# How costs grow: its rounds are its own, and its fits stand as they are.
case " $only " in *' growth '*) "$build/bench/growth" "$rounds" ;; esac
[ -s "$work/all" ] || exit 0

# Medians and percentiles by case, and limn's time over that of the old build and of NumPy, round by round.
sort -t "$(printf '\t')" -k3,3 -k2,2 -k1,1n "$work/all" |
    awk -F '\t' -v rounds="$rounds" -v json="$json" -v old="$old" '
    function quantile(list, p,   n, i, j, v, x) {
        n = split(list, v, " ")
        for (i = 2; i <= n; i++) {
            x = v[i] + 0
            for (j = i - 1; j > 0 && v[j] + 0 > x; j--) v[j + 1] = v[j]
            v[j + 1] = x
        }
        return v[int(p * (n - 1) + 0.5) + 1] + 0
    }
    function show(name, list, unit,   m, a, b) {
        m = quantile(list, 0.5); a = quantile(list, 0.1); b = quantile(list, 0.9)
        number = m < 0.01 ? "%.1e" : "%.2f"
        printf "%-56s %9s %-8s (p10 " number ", p90 " number ")\n", name, sprintf(number, m), unit, a, b
        lines = lines sprintf("%s  {\"name\": \"%s\", \"unit\": \"%s\", \"median\": %g, \"p10\": %g, \"p90\": %g}",
                              lines == "" ? "" : ",\n", name, unit, m, a, b)
    }
    function rival(theirs, ours, who,   list, r) {
        if (!(("limn\t" theirs) in all) || !(("limn\t" ours) in all)) return
        for (r = 1; r <= rounds; r++) list = list " " value["limn\t" theirs, r] / value["limn\t" ours, r]
        show(who " / " ours, list, "times")
    }
    { key = $2 "\t" $3; if (!(key in all)) order[++n] = key; all[key] = all[key] " " $4; unit[key] = $5
      value[key, $1] = $4; seen[$3] = 1 }
    END {
        for (i = 1; i <= n; i++) {
            split(order[i], k, "\t")
            show(k[1] == "old" ? k[2] ", " old : k[2], all[order[i]], unit[order[i]])
        }
        for (i = 1; i <= n; i++) {
            split(order[i], k, "\t")
            if (k[1] != "limn" || !(("old\t" k[2]) in all) || k[2] ~ /dgemm/) continue
            list = ""
            for (r = 1; r <= rounds; r++) list = list " " value[order[i], r] / value["old\t" k[2], r]
            show(k[2] " / " old, list, "times")
        }
        rival("numpy: relu by NumPy", "relu: limn", "NumPy")
        rival("rnn: functorch", "rnn: limn", "functorch")
        rival("batchnorm: functorch", "batchnorm: limn", "functorch")
        if (json != "") printf "[\n%s\n]\n", lines > json
    }'
