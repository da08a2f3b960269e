# doxygen.awk: the headers' comments as Doxygen wants them: the one at the top is the file's, one before a declaration
# is that declaration's, one behind it too. Their text is plain: no character of it is markup, and indented lines are
# code. Titles of sections (---- name ----) stay comments.
function escaped(text)
{
    gsub(/[\\@<>#%$"&~]/, "\\\\&", text)
    gsub(/::/, ":\\:", text)
    return text
}
# The text of a comment's line, without its star.
function plain(line)
{
    sub(/^[ \t]*\*?/, "", line)
    return line
}
function put(text)
{
    indented = text ~ /^     /
    if (indented && !code) printf "@verbatim\n"
    if (!indented && code && text !~ /^ *$/) { printf "@endverbatim\n"; code = 0 }
    if (indented) code = 1
    print code ? text : escaped(text)
}
function finish()
{
    if (code) printf "@endverbatim\n"
    code = 0
    print "*/"
    inside = 0
}
# The op table: the enum has a row's NAME, with its formula, and so has the builder of a row.
function formula(row)
{
    match(row, /"[^"]*"/)
    return RSTART ? escaped(substr(row, RSTART + 1, RLENGTH - 2)) : ""
}
FILENAME ~ /autodiff\.h$/ && /^#include "ops.def"/ {
    table = FILENAME
    sub(/autodiff\.h$/, "ops.def", table)
    while ((getline row < table) > 0)
        if (row ~ /^AD_(UNARY|BINARY|SHAPE)\([A-Z]/) {
            name = row
            sub(/^[A-Z_]*\(/, "", name)
            sub(/,.*/, "", name)
            printf "AD_%s, /**< %s */ ", name, formula(row)
        }
    print ""
    next
}
FILENAME ~ /ops\.def$/ && /^AD_UNARY\(/ { held = formula($0) }
FILENAME ~ /ops\.def$/ && /^#define ad_/ && held != "" { printf "/** y(x) = %s */ ", held; held = "" }
inside {
    end = index($0, "*/")
    put(plain(end ? substr($0, 1, end - 1) : $0))
    if (end) { finish(); print substr($0, end + 2) }
    next
}
{
    start = index($0, "/*")
    if (!start || $0 ~ /\/\* ----/ || $0 ~ /\\$/) { print; next }
    before = substr($0, 1, start - 1)
    rest = substr($0, start + 2)
    trailing = before ~ /[^ \t]/
    printf "%s%s", before, trailing ? "/**<" : "/**"
    if (!trailing && NR == 1) printf FILENAME ~ /(^|\/)limn\.h$/ ? " @mainpage\n" : " @file\n"
    inside = 1
    end = index(rest, "*/")
    put(end ? substr(rest, 1, end - 1) : rest)
    if (end) { finish(); print substr(rest, end + 2) }
}
