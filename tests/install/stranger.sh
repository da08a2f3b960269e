# For the tests of this folder, which set SOURCE and BUILD: limn as a stranger has it. Installs the build into a fresh
# prefix, moves that away ($prefix), and goes to an empty folder that knows nothing of the source tree.
set -eu
source=$(cd "$1" && pwd -P) build=$(cd "$2" && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/installed" >/dev/null
mv "$work/installed" "$work/mo ved"
prefix="$work/mo ved"
mkdir "$work/own"
cd "$work/own"
lib=$(dirname "$(find "$prefix" -name liblimn.a)")
PATH=$prefix/bin:$PATH
PKG_CONFIG_PATH=$lib/pkgconfig
export PATH PKG_CONFIG_PATH
unset LIMN_DATA CC CPATH LIBRARY_PATH LD_LIBRARY_PATH 2>/dev/null || :

fail()
{
    echo "$(basename "$0"): $*" >&2
    exit 1
}
# says TEXT COMMAND...: the command ends with 0 and prints the text somewhere.
says()
{
    wanted=$1
    shift
    "$@" >said 2>&1 || { cat said >&2; fail "failed: $*"; }
    grep -qF -- "$wanted" said || { cat said >&2; fail "does not say \"$wanted\": $*"; }
}
# The compilers that are there, of the names.
compilers()
{
    for name in "$@"; do
        if command -v "$name" >/dev/null 2>&1; then echo "$name"; fi
    done
}
