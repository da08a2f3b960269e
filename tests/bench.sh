# Measures limn, rivals in turn: sh tests/bench.sh [--rounds R] [--only PROGRAMS] [--old COMMIT] [--json FILE] [BUILD]
#
# Every round runs each program once, limn as it is and, with --old, as it was at a commit, which is built beside BUILD
# (build); NumPy and PyTorch join where /usr/bin/python3 (or $PYTHON) has them. Printed are medians with 10th and 90th
# percentiles, and ratios taken round by round; FILE gets all of it.
set -e
rounds=7 old= json= build=build only='machine limits start kernels executor train drift batchnorm growth'
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
# One program's lines "  name  number unit" under its titles "case: ...", as "round who case.name number unit".
take() {
    awk -v round="$1" -v who="$2" '
        /^[^ ].*:/ { at = $1; sub(":", "", at); next }
        /^  / { line = $0; sub(/ +\(p10.*/, "", line); n = split(line, w, " +"); unit = w[n]; number = w[n - 1]
                if (number !~ /^[0-9.]+$/) { number = unit; unit = "times" } else n--
                name = w[2]; for (i = 3; i < n; i++) name = name " " w[i]
                printf "%s\t%s\t%s: %s\t%s\t%s\n", round, who, at, name, number, unit }'
}
round=1
while [ "$round" -le "$rounds" ]; do
    for program in $only; do
        [ $program != start ] && [ $program != growth ] || continue
        "$build/bench/$program" 1 > "$work/out"
        take $round limn < "$work/out" >> "$work/all"
        [ -z "$old" ] || [ $program != limits ] || "$work/limits" 1 | take $round old >> "$work/all"
    done
    case " $only " in *' start '*)
        for tree_of in "limn $build" ${old:+"old $tree/build"}; do
            who=${tree_of%% *} tool=${tree_of#* }/limn
            "$build/bench/start" 1 "$tool" --help | sed 's/^start:.*/help:/' | take $round $who >> "$work/all"
            "$build/bench/start" 1 "$tool" kernel mlp --no-check --inputs "$work/x.npy" --out "$work/k.npy" |
                sed 's/^start:.*/kernel of 100 rows:/' | take $round $who >> "$work/all"
        done ;;
    esac
    case " $only " in *' limits '*)
        "$python" tests/bench/ntk.py 2> /dev/null | take $round limn >> "$work/all" ;;
    esac
    round=$((round + 1))
done

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
        printf "%-56s %9.2f %-8s (p10 %.2f, p90 %.2f)\n", name, m, unit, a, b
        lines = lines sprintf("%s  {\"name\": \"%s\", \"unit\": \"%s\", \"median\": %g, \"p10\": %g, \"p90\": %g}",
                              lines == "" ? "" : ",\n", name, unit, m, a, b)
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
        if (("limn\tnumpy: relu by NumPy") in all && ("limn\trelu: limn") in all) {
            list = ""
            for (r = 1; r <= rounds; r++)
                list = list " " value["limn\tnumpy: relu by NumPy", r] / value["limn\trelu: limn", r]
            show("NumPy / relu: limn", list, "times")
        }
        if (json != "") printf "[\n%s\n]\n", lines > json
    }'
