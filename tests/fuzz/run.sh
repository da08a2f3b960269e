#!/bin/sh
# run.sh [SECONDS [TARGET...]]: libFuzzer's targets, each for so many seconds (10), from the inputs in
# tests/fuzz/corpus and what earlier runs found in build-asan/corpus. Builds them with clang and the sanitizers; without
# clang it is skipped (77). An input that breaks a target is left in build-asan/findings, and its name is printed: run
# it by build-asan/fuzz/TARGET FILE.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd -P)
. "$root/.ci/build.sh"
seconds=${1:-10}
[ $# -eq 0 ] || shift
limn_sanitized address fuzz || exit $?
if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046 # names without blanks
    set -- $(cd "$root/tests/fuzz" && ls ./*.c | sed 's|^\./||; s|\.c$||' | grep -vx fuzz)
fi
sanitizer_options
build=$root/build-asan failed=0
mkdir -p "$build/corpus" "$build/findings"
for target; do
    mkdir -p "$build/corpus/$target" "$root/tests/fuzz/corpus/$target"
    dictionary=$root/tests/fuzz/$target.dict
    # A time of the clock: 120 s are for machines that others use.
    "$build/fuzz/$target" -max_total_time="$seconds" -timeout=120 -rss_limit_mb=3000 -max_len=4096 \
        -print_final_stats=1 -artifact_prefix="$build/findings/$target-" \
        $([ -f "$dictionary" ] && echo "-dict=$dictionary") \
        "$build/corpus/$target" "$root/tests/fuzz/corpus/$target" >"$build/findings/$target.log" 2>&1 && status=0 ||
        status=$?
    inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/findings/$target.log")
    if [ "$status" = 0 ]; then
        echo "$target: ${inputs:-0} inputs in $seconds s, no finding"
    else
        failed=1
        echo "$target: a finding, see $build/findings/$target.log"
        grep -aE '^(SUMMARY|.*ERROR|failed:|did not fail:)|does not hold|runtime error' "$build/findings/$target.log" |
            cut -c 1-300 | head -8
        # The input itself, as the machine may be gone when this is read: `base64 -d` makes the file of it.
        input=$(sed -n 's/.*Test unit written to *//p' "$build/findings/$target.log" | head -1)
        [ ! -f "$input" ] || base64 "$input" | head -100
    fi
done
exit $failed
