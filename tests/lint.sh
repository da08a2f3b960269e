#!/bin/sh
# lint.sh [FILE...]: clang-tidy (its checks: .clang-tidy) and cppcheck over the library and the tool, or these files.
# Builds first, for what the compiler is told; nothing is printed but findings, of which there are none. What is built
# over MPI alone is cppcheck's. The analyzer of clang-tidy looks at what reads from outside, all but tp: what tp relies
# on stands in tables and graphs of its own making, and no single file says it.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
. "$root/.ci/build.sh"
cd "$root"
command -v clang-tidy >/dev/null 2>&1 && command -v cppcheck >/dev/null 2>&1 || {
    echo "lint: clang-tidy and cppcheck are needed (Debian: the packages of these names)" >&2
    exit 77
}
[ -f build/compile_commands.json ] || limn_build
if [ $# -eq 0 ]; then
    # shellcheck disable=SC2046 # names without blanks
    set -- $(find autodiff datasets nn tp examples -name '*.c')
fi
failed=0
# tidy OPTION...: of the files that are named on standard input, one a line.
tidy()
{
    xargs -r -P "$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)" -n 8 clang-tidy -p build --quiet \
        --extra-arg=-include --extra-arg="$root/tests/lint.h" "$@" 2>/dev/null || failed=1
}
printf '%s\n' "$@" | grep -v '^tp/ranks/\(mpi\|scalapack\)\.c$' >build/lint.files || :
grep -v '^tp/' build/lint.files >build/lint.outside || :
tidy <build/lint.outside
grep '^tp/' build/lint.files >build/lint.tp || :
tidy '--checks=-clang-analyzer-*' <build/lint.tp
cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability --inline-suppr \
    --suppressions-list=tests/cppcheck.txt -I. -j2 "$@" || failed=1
exit $failed
