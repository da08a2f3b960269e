#!/bin/sh
# test_house.sh SOURCE BUILD CC: the house stands, its lines are at most 120 columns wide, and the check of it finds
# what it is for: a circle, an arrow up, a private header used by a neighbour, an internal header that is installed.
set -eu
source=$1 build=$2 compiler=$3
check=$source/tests/house/check.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
verdict()
{
    if [ "$1" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "house: $2" >&2; fi
}

cmake --install "$build" --prefix "$work/installed" >/dev/null
sh "$check" "$source" "$build" "$work/installed" && status=0 || status=$?
verdict "$status" "the check has findings"

# Characters, not bytes; a table's or an address's line cannot be broken.
wide=$(cd "$source" && find autodiff nn tp datasets examples tests -name '*.[ch]' -o -name '*.def' -o -name '*.sh' |
    while read -r file; do
        LC_ALL=C sed 's/[\x80-\xBF]//g' "$file" |
            LC_ALL=C awk -v file="$file" 'length($0) > 120 { print file ":" NR ": wider than 120 columns" }'
    done)
[ -z "$wide" ] && status=0 || { echo "$wide" >&2; status=1; }
verdict "$status" "lines are too wide: clang-format -i breaks code, comments are broken by hand"

# A house of two rooms, as small as can be, and each defect in it.
house()
{
    rm -rf "$work/house"
    mkdir -p "$work/house/tp/low" "$work/house/tp/high" "$work/house/build" "$work/house/installed/include/limn/tp"
    printf 'tp/low\ntp/high\ntp\n' >"$work/house/build/rooms.txt"
    echo 'int low(int x);' >"$work/house/tp/low/low.h"
    printf '#include "tp/low/low.h"\nint low(int x) { return x; }\n' >"$work/house/tp/low/low.c"
    echo 'int high(int x);' >"$work/house/tp/high/high.h"
    printf '#include "tp/low/low.h"\n#include "tp/high/high.h"\nint high(int x) { return low(x); }\n' \
        >"$work/house/tp/high/high.c"
    : >"$work/house/installed/include/limn/tp/tp.h"
}
look()
{
    (cd "$work/house" && find tp -name '*.c' | while read -r file; do
        mkdir -p "build/CMakeFiles/limn_objects.dir/$(dirname "$file")"
        "$compiler" -I. -c "$file" -o "build/CMakeFiles/limn_objects.dir/$file.o"
    done)
    sh "$check" "$work/house" "$work/house/build" "$work/house/installed" >"$work/said" && status=0 || status=$?
}
finds() # word, and what it should have found
{
    look
    [ "$status" = 1 ] && grep -q "^$1: " "$work/said" && status=0 || { cat "$work/said" >&2; status=1; }
    verdict "$status" "the check does not find $2"
}
house
look
verdict "$status" "the check has findings in a sound house"
house
printf 'int other(int);\nint low(int x) { return other(x); }\n' >"$work/house/tp/low/low.c"
printf 'int low(int);\nint other(int x) { return x ? low(x - 1) : 0; }\n' >"$work/house/tp/low/other.c"
finds circle "two files that call each other"
house
printf 'int high(int);\nint more(int x) { return high(x); }\n' >"$work/house/tp/low/more.c"
finds up "a call from a room to one above it"
house
printf '#include "tp/high/high.h"\nint more(int x) { return x; }\n' >"$work/house/tp/low/more.c"
finds up "an include of a header from above"
house
echo 'int inside(int x);' >"$work/house/tp/low/inside.h"
printf '#include "tp/low/inside.h"\nint use(int x) { return x; }\n' >"$work/house/tp/high/use.c"
finds private "a private header that a neighbour includes"
house
mkdir -p "$work/house/installed/include/limn/tp/low"
: >"$work/house/installed/include/limn/tp/low/low.h"
finds installed "an internal header that is installed"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
