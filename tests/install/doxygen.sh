#!/bin/sh
# doxygen.sh SOURCE: the reference pages come without a warning, and what a header says of a name stands with that name.
set -eu
source=$(cd "$1" && pwd -P)
command -v doxygen >/dev/null 2>&1 || { echo "skipped: no doxygen (Debian: doxygen)"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$source"
{ cat Doxyfile; echo "OUTPUT_DIRECTORY = $work"; echo "GENERATE_XML = YES"; } | doxygen - >"$work/said" 2>&1 ||
    { cat "$work/said" >&2; exit 1; }
[ ! -s "$work/said" ] || { cat "$work/said" >&2; exit 1; }
# told HEADER NAME TEXT: the text is in the documentation of the name.
told()
{
    awk -v name="<name>$2</name>" -v text="$3" '
        index($0, "<memberdef") { at = 0; seen = "" }
        index($0, name) { at = 1 }
        at { seen = seen " " $0 }
        index($0, "</memberdef") && at { if (index(seen, text)) found = 1 }
        END { exit !found }' "$work/xml/$1" || { echo "doxygen.sh: $2 does not say \"$3\"" >&2; exit 1; }
}
told tp_8h.xml tp_limit "The limit at x (rows, features)"
told tp_8h.xml tp_translate "The net must outlive the program"
told nn_8h.xml nn_fit "A loss that is not finite stops it"
told autodiff_8h.xml ad_shape_of "a shape from a list of axes"
told base_8h.xml ad_closest "Which of the words"
told autodiff_8h.xml ad_op "x tanh log(1 + e^x)"
grep -q '<name>AD_MISH</name>' "$work/xml/autodiff_8h.xml" || { echo "doxygen.sh: the ops are missing" >&2; exit 1; }
grep -q '<verbatim>' "$work/xml/nn_8h.xml" || { echo "doxygen.sh: no example in nn/nn.h" >&2; exit 1; }
