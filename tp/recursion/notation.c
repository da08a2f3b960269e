/* notation.c: what recursions are written in: names, numbers, functions, lines with their sources, as text or LaTeX. */
#include "tp/recursion/recursion.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

enum { LONGEST_LINE = 72, MAX_LINES = 120, HEAD = 60, TAIL = 40 };
/* What has many uses and no name of its own doubles with every line that uses it twice. */
static const size_t most_text = (size_t)64 << 20;

const char *tp_text(tp_notation *w, const char *format, ...)
{
    if (w->full)
        return "";
    va_list args;
    va_start(args, format);
    const char *kept = ad_arena_vtext(w->arena, format, args);
    va_end(args);
    w->written += kept ? strlen(kept) : 0;
    w->endless = w->written > most_text;
    w->full = !kept || w->endless;
    return kept ? kept : "";
}

void tp_notation_begin(tp_notation *w)
{
    size_t n = (size_t)w->a->fns.n + 1;
    w->fn_uses = ad_arena_alloc(w->arena, n, sizeof *w->fn_uses);
    w->fn_name = ad_arena_alloc(w->arena, n, sizeof *w->fn_name);
    w->full = !w->fn_uses || !w->fn_name;
}

int tp_notation_end(const tp_notation *w, ad_error *error)
{
    if (w->endless)
        return ad_fail(error, "the kernel's recursion has more than %zu MB of text", most_text >> 20);
    return w->full ? ad_fail(error, "out of memory for the kernel's recursion") : 0;
}

/* ---- names and numbers ---- */
const char *tp_letter_name(tp_notation *w, int letter)
{
    static const char *const plain[] = { "Σ", "K", "K̇", "P", "s", "T" };
    static const char *const latex[] = { "\\Sigma", "K", "\\dot{K}", "P", "s", "T" };
    int number = ++w->counts[letter];
    return w->latex ? tp_text(w, "%s^{%d}", latex[letter], number) : tp_text(w, "%s%d", plain[letter], number);
}

const char *tp_prime_text(const tp_notation *w, bool second)
{
    return !second ? "" : w->latex ? "'" : "′";
}

const char *tp_escaped_text(tp_notation *w, const char *name)
{
    const char *all = "";
    for (; *name; name++)
        all = tp_text(w, w->latex && *name == '_' ? "%s\\%c" : "%s%c", all, *name);
    return all;
}

const char *tp_value_text(tp_notation *w, double x)
{
    char number[TP_NUMBER_TEXT];
    return w->latex ? tp_text(w, "%s", tp_number_latex(x, number)) : tp_text(w, "%.6g", x);
}

const char *tp_multiple_text(tp_notation *w, double c, const char *what)
{
    return fabs(c - 1) < 1e-12 ? what : tp_text(w, "%s %s", tp_value_text(w, c), what);
}

/* ---- functions ---- */
/* A function that is made of others, whose texts are a and b. */
static const char *part_text(tp_notation *w, const tp_fn *f, const char *variable, const char *a, const char *b,
                             const char *less)
{
    switch (f->op) {
    case TP_VARIABLE:
        return variable;
    case TP_NUMBER:
        return tp_value_text(w, f->p);
    case TP_SCALAR:
        return w->name && w->name[f->a] ? w->name[f->a] : tp_value_text(w, tp_quantity_at(w->a, f->a)->c);
    case TP_PLUS:
        return tp_text(w, "(%s %c %s)", a, less ? '-' : '+', less ? less : b);
    case TP_TIMES:
        return tp_text(w, "%s %s", a, b);
    default:
        break;
    }
    const char *name = f->op == AD_CUSTOM ? f->function->name : ad_op_name((ad_op)f->op);
    for (int k = 0; f->op == AD_CUSTOM && k < f->order; k++)
        name = tp_text(w, w->latex ? "%s'" : "%s′", name);
    if (f->op < AD_CUSTOM && ad_op_facts_of((ad_op)f->op)->takes_p)
        a = tp_text(w, "%s, %s", a, tp_value_text(w, f->p));
    return tp_text(w, w->latex ? "\\mathrm{%s}(%s)" : "%s(%s)", tp_escaped_text(w, name), a);
}

/* By parts: what is too long for a place in another one is dots there. */
const char *tp_fn_text(tp_notation *w, int fn, const char *variable)
{
    enum { LONGEST_PART = 400 };
    const tp_fn_parts *p = tp_fn_parts_of(w->a, fn);
    const char **all = p ? ad_arena_alloc(w->arena, (size_t)p->n, sizeof *all) : NULL, *last = "";
    w->full = w->full || !all;
    for (int k = 0; all && k < p->n; k++) {
        const tp_fn *f = tp_fn_at(w->a, p->at[k].id);
        const char *a = p->at[k].a < 0 ? "" : all[p->at[k].a], *b = p->at[k].b < 0 ? "" : all[p->at[k].b], *less = NULL;
        const tp_fn *right = f->op == TP_PLUS ? tp_fn_at(w->a, f->b) : NULL;
        const tp_fn *minus = right && right->op == TP_TIMES ? tp_fn_at(w->a, right->a) : NULL;
        if (minus && minus->op == TP_NUMBER && minus->p < 0) /* a - |c| b */
            less = tp_multiple_text(w, -minus->p, all[p->at[p->at[k].b].b]);
        last = part_text(w, f, variable, a, b, less);
        all[k] = strlen(last) > LONGEST_PART ? w->latex ? "\\dots" : "..." : last;
    }
    tp_fn_parts_end(w->a, fn, p);
    return last;
}

/* A function by its name, if it has one; in brackets where a minus before it would be read as a difference. */
const char *tp_applied_text(tp_notation *w, int fn, const char *variable)
{
    if (w->fn_name[fn])
        return tp_text(w, "%s(%s)", w->fn_name[fn], variable);
    const char *text = tp_fn_text(w, fn, variable);
    return *text == '-' ? tp_text(w, "(%s)", text) : text;
}

const char *tp_expect_text(tp_notation *w, int f, int g, const char *covariance)
{
    const char *e = w->latex ? "\\mathbb{E}\\," : "E ", *tilde = w->latex ? "\\sim" : "~";
    const char *of_u = tp_applied_text(w, f, "u"), *quad = w->latex ? ",\\quad " : ",  ";
    if (g < 0)
        return tp_text(w, "%s%s%su %s %s", e, of_u, quad, tilde, covariance);
    return tp_text(w, "%s%s %s%s(u, v) %s %s", e, of_u, tp_applied_text(w, g, "v"), quad, tilde, covariance);
}

/* ---- lines ---- */
void tp_begin_quantities(const tp_notation *w, FILE *stream)
{
    if (w->latex)
        fprintf(stream, "%% \\usepackage{amsmath,amssymb,array,longtable}\n{\\small\n"
                        "\\begin{longtable}{@{}>{$}l<{$}>{\\raggedright${}}p{0.64\\linewidth}<{$}"
                        ">{\\footnotesize\\raggedright\\arraybackslash}p{0.18\\linewidth}@{}}\n");
}

void tp_end_quantities(const tp_notation *w, FILE *stream)
{
    if (w->latex)
        fprintf(stream, "\\end{longtable}}\n");
}

void tp_put_quantity(tp_notation *w, const char *name, const char *right, const ad_where *place, FILE *stream)
{
    if (w->latex) {
        fprintf(stream, "%s & ", name);
        tp_put_math(right, stream);
        fputs(" & ", stream);
        if (place)
            tp_put_place(place, stream);
        fprintf(stream, " \\\\\n");
        return;
    }
    int pad = LONGEST_LINE - ad_columns(right);
    fprintf(stream, "  %s%*s%s%s", name, ad_columns(name) < 4 ? 4 - ad_columns(name) : 0, "", *name ? " = " : "   ",
            right);
    if (place)
        fprintf(stream, "%*s  %s:%d", pad > 0 ? pad : 0, "", tp_short_file(place->file), place->line);
    fputc('\n', stream);
}

bool tp_is_shown(tp_notation *w, int number, int total, FILE *stream)
{
    if (total <= MAX_LINES || number < HEAD || number >= total - TAIL)
        return true;
    if (number == HEAD)
        tp_put_quantity(
            w, w->latex ? "\\vdots" : "...",
            tp_text(w, w->latex ? "\\text{(%d lines like these)}" : "(%d lines like these)", total - HEAD - TAIL), NULL,
            stream);
    return false;
}

/* A long sum goes over several lines, broken before a sign outside of brackets; TeX breaks its lines itself. */
void tp_put_broken(tp_notation *w, const char *name, const char *right, const ad_where *place, FILE *stream)
{
    const char *equals = w->latex ? "= " : "";
    while (!w->latex && ad_columns(right) > LONGEST_LINE) {
        const char *cut = NULL;
        int depth = 0;
        for (const char *c = right; *c && (c - right < LONGEST_LINE || !cut); c++) {
            depth += (*c == '(') - (*c == ')');
            if (depth == 0 && c > right && *c == ' ' && (c[1] == '+' || c[1] == '-') && c[2] == ' ')
                cut = c;
        }
        if (!cut)
            break;
        tp_put_quantity(w, name, tp_text(w, "%s%.*s", equals, (int)(cut - right), right), NULL, stream);
        name = equals = "";
        right = cut + 1;
    }
    tp_put_quantity(w, name, tp_text(w, "%s%s", equals, right), place, stream);
}

/* In LaTeX, a function that expectations have more than once, and is long, has a line and a name. */
void tp_define_function(tp_notation *w, int fn, FILE *stream)
{
    enum { LONG = 24 };
    if (!w->latex || w->fn_name[fn] || w->fn_uses[fn] < 2)
        return;
    const char *what = tp_fn_text(w, fn, "u");
    if (strlen(what) < LONG)
        return;
    w->fn_name[fn] = tp_text(w, "\\varphi^{%d}", ++w->n_functions);
    tp_put_quantity(w, tp_text(w, "%s(u)", w->fn_name[fn]), tp_text(w, "= %s", what), NULL, stream);
}

const char *tp_kernel_name(tp_notation *w, int which, double power)
{
    const char *name = which == TP_NTK ? w->latex ? "\\Theta" : "Θ" : w->latex ? "K" : "K";
    if (!(fabs(power) > 1e-9))
        return name;
    return tp_text(w, w->latex ? "%s\\,/\\,n^{%.4g}" : "%s/n^%.4g", name, power);
}
