#!/bin/sh
# test_small_tables.sh TABLES_PY LIMN: the short form of examples/tables/tables.py, and its readers on files of both
# kinds; 77, skipped, without scikit-learn (Debian: python3-sklearn).
set -eu
script=$1 limn=$2
/usr/bin/python3 -c 'import numpy, sklearn' 2>/dev/null || {
    echo "skipped: /usr/bin/python3 imports no sklearn (Debian: python3-sklearn)"
    exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/data/ddalpha" "$work/data/weka"

# 60 rows of two classes, by x > y; with words in quotes as classes.
awk 'BEGIN { print "x", "\"y\"", "class"
             for (i = 0; i < 60; i++) { x = (i * 37 % 60) / 60; y = (i * 17 % 60) / 60
                                        print x, y, (x > y ? "\"up\"" : "down") } }' |
    gzip >"$work/data/ddalpha/pair.txt.gz"
# The class is a nominal column, as one column a value; a blank in a value. The second file has a missing value.
awk 'BEGIN { print "% a comment\n@relation r\n@attribute colour {red, '"'dark blue'"'}\n@ATTRIBUTE x NUMERIC"
             print "@attribute class {a, b}\n@data"
             for (i = 0; i < 40; i++) print (i % 2 ? "red" : "'"'dark blue'"'") "," i "," (i % 2 ? "a" : "b") }' \
    >"$work/data/weka/colour.arff"
sed 's/^red,1,/red,?,/' "$work/data/weka/colour.arff" >"$work/data/weka/missing.arff"

/usr/bin/python3 "$script" "$limn" --short --splits 2 --data "$work/data" >"$work/one" 2>"$work/err"
/usr/bin/python3 "$script" "$limn" --short --splits 2 --data "$work/data" 2>/dev/null >"$work/two"
cat "$work/one"
failed=0
expect() # what is wrong if the command that follows fails
{
    what=$1
    shift
    "$@" || { echo "tables: $what" >&2; failed=1; }
}
expect "a table is missing or misread" awk '
    $1 == "ddalpha" && $2 == "pair" && $3 == 60 && $4 == 2 && $5 == 2 && $6 > 80 { ok++ }
    $1 == "weka" && $2 == "colour" && $3 == 40 && $4 == 3 && $5 == 2 && $6 == 100 { ok++ }
    $1 == "sklearn" && $2 == "iris" && $3 == 150 && $6 > 88 { ok++ }
    $1 == "sklearn" && $2 == "wine" && $3 == 178 && $6 > 92 { ok++ }
    END { exit ok != 4 }' "$work/one"
expect "missing values are not told" grep -q "missing: weka missing" "$work/err"
# Means, wins and ranks, found anew from the lines.
expect "the last lines are not those of the table" awk '
    $1 ~ /^(ddalpha|sklearn|weka)$/ {
        n++; best = 0; ties = 0
        for (k = 6; k <= 9; k++) { sum[k] += $k; if ($k > best) best = $k }
        for (k = 6; k <= 9; k++) if ($k == best) ties++
        for (k = 6; k <= 9; k++) if ($k == best) wins[k] += 1 / ties
        for (k = 6; k <= 9; k++)
            for (l = 6; l <= 9; l++) rank[k] += $l > $k ? 1 : $l < $k ? 0 : l == k ? 1 : 0.5
    }
    function far(a, b, by) { return a - b > by || b - a > by }
    /^mean accuracy/ { for (k = 6; k <= 9; k++) bad += far($(NF - 9 + k), sum[k] / n, 0.011); lines++ }
    /^wins of/ { for (k = 6; k <= 9; k++) bad += far($(NF - 9 + k), wins[k], 0.051); lines++ }
    /^mean rank/ { for (k = 6; k <= 9; k++) bad += far($(NF - 9 + k), rank[k] / n, 0.0051); lines++ }
    END { exit bad > 0 || lines != 3 }' "$work/one"
grep -v time "$work/one" >"$work/a"
grep -v time "$work/two" >"$work/b"
expect "two runs differ" cmp "$work/a" "$work/b"
exit "$failed"
