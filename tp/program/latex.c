/* latex.c: numbers and lines as LaTeX that fits a page. */
#include "autodiff/base.h"
#include "tp/program/program.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* p/q with small p, of what has no short decimals; a number that is none by itself is within 1e-13 of one in a hundred
 * million times. */
static bool fraction(double x, long *p, long *q)
{
    enum { MOST_P = 12, MOST_Q = 10000 };
    for (*q = 2; *q <= MOST_Q && x * (double)*q < MOST_P + 0.5; ++*q) {
        *p = lround(x * (double)*q);
        if (*p > 0 && fabs(x * (double)*q - (double)*p) <= 1e-13 * (double)*p)
            return true;
    }
    return false;
}

const char *tp_number_latex(double x, char text[TP_NUMBER_TEXT])
{
    enum { SHORT = 5 };
    long p, q;
    char number[32], *end;
    const char *minus = x < 0 ? "-" : "";
    ad_snprintf(number, sizeof number, "%.6g", fabs(x));
    char *power = strchr(number, 'e');
    bool exact = !(fabs(ad_number(number, &end) - fabs(x)) > 0), one = power == number + 1 && *number == '1';
    if (power)
        snprintf(text, TP_NUMBER_TEXT, "%s%.*s%s10^{%ld}", minus, one ? 0 : (int)(power - number), number,
                 one ? "" : " \\cdot ", strtol(power + 1, NULL, 10));
    else if (isfinite(x) && !(exact && strlen(number) <= SHORT) && fraction(fabs(x), &p, &q))
        snprintf(text, TP_NUMBER_TEXT, "%s\\tfrac{%ld}{%ld}", minus, p, q);
    else
        snprintf(text, TP_NUMBER_TEXT, "%s%s", minus, number);
    return text;
}

/* TeX breaks a formula at a relation or a sum; here also between factors and arguments, outside of braces, and, if it
 * must, behind a bracket. */
bool tp_has_index(const char *math)
{
    size_t n = strlen(math);
    return n > 1 && strcmp(math + n - 2, "]}") == 0;
}

void tp_put_math(const char *math, FILE *stream)
{
    int depth = 0;
    for (const char *at = math; *at; at++) {
        bool escaped = at > math && at[-1] == '\\';
        depth += !escaped && *at == '{';
        depth -= !escaped && *at == '}';
        fputc(*at, stream);
        if (*at == ' ' && at > math && strchr(")},", at[-1]) && depth == 0 && !strchr("+-=:", at[1]))
            fputs(at[-1] == ',' ? "\\allowbreak " : "\\,\\allowbreak ", stream);
        if (*at == '(' && depth == 0 && at[1] == '\\')
            fputs("\\penalty500 ", stream);
    }
}

const char *tp_short_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A file's name breaks before a dot, a line's number, and within a long word. */
void tp_put_place(const ad_where *where, FILE *stream)
{
    enum { LONG = 12 };
    int since = 0;
    fputs("\\texttt{", stream);
    for (const char *at = tp_short_file(where->file); *at; at++) {
        bool word = isalnum((unsigned char)*at);
        since = word ? since + 1 : 0;
        if (!word || since > LONG) {
            fputs("\\allowbreak ", stream);
            since = word;
        }
        fprintf(stream, strchr("_#%&$", *at) ? "\\%c" : "%c", *at);
    }
    fprintf(stream, ":\\allowbreak %d}", where->line);
}
