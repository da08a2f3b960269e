/* print_recursion.c: the kernel's recursion as one would derive it by hand: its quantities, with names.
 *
 *     Σ1 = 2 ⟨x, x′⟩/784          K1 = E relu(u) relu(v), (u, v) ~ Σ1          Σ2 = 2 K1          Θ = K2 + ...
 *
 * Every quantity is a function of a pair of inputs (x, x′). Σ are covariances of G-vars, K expectations that the NNGP
 * kernel needs, K̇ those that the NTK needs besides, P products that are used more than once, s scalars of one input. A
 * line's place is that of the first op whose vector has it as its second moment. */
#include "tp/recursion/recursion.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

enum { MAX_LINES = 120, HEAD = 60, TAIL = 40, LONGEST_LINE = 72 };
enum { SIGMA, KERNEL, DOT, PRODUCT, SCALAR, LETTERS };
/* What has many uses and no name of its own doubles with every line that uses it twice. */
static const size_t most_text = (size_t)64 << 20;

typedef struct {
    tp_algebra *a;
    ad_arena *arena;
    bool latex, full, endless;
    size_t written; /* bytes of texts, parts of others included */
    int n, counts[LETTERS], n_functions;
    bool *needed, *forward, *covariance, *forced;
    int *uses;
    const char **name;
    const ad_where **source;
    int *fn_uses;         /* by function: in expectations */
    const char **fn_name; /* in LaTeX, of a long one that has several uses, once it is defined */
} writer;

static const char *text(writer *w, const char *format, ...) AD_PRINTF(2, 3);
static const char *text(writer *w, const char *format, ...)
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

static const tp_quantity *quantity_at(const writer *w, int id)
{
    return tp_quantity_at(w->a, id);
}

/* ---- what is needed ---- */
/* One more use of a quantity; whoever uses it first tells whether it is of the forward pass. */
static void use_quantity(writer *w, int id, bool forward)
{
    w->uses[id]++;
    if (!w->needed[id])
        w->forward[id] = forward;
    w->needed[id] = true;
}

static void use_covariance(writer *w, int id, bool forward)
{
    w->covariance[id] = true;
    use_quantity(w, id, forward);
}

static void use_scalars(writer *w, int fn, bool forward)
{
    enum { MOST = 64 };
    int scalars[MOST], n = tp_fn_scalars(w->a, fn, scalars, MOST);
    w->full = w->full || n > MOST;
    for (int k = 0; k < n && k < MOST; k++) {
        w->forced[scalars[k]] = true;
        use_quantity(w, scalars[k], forward);
    }
}

/* What a quantity is made of. */
static void use_operands(writer *w, int id, bool forward)
{
    const tp_quantity *q = quantity_at(w, id);
    for (int k = 0; k < q->n; k++)
        use_quantity(w, q->parts[k].q, forward);
    switch (q->kind) {
    case TP_Q_PRODUCT:
        use_quantity(w, q->a, forward);
        use_quantity(w, q->b, forward);
        return;
    case TP_Q_FUNCTION:
        use_quantity(w, q->a, forward);
        return;
    case TP_Q_FIRST:
    case TP_Q_SECOND:
        w->forced[q->a] = true;
        use_quantity(w, q->a, forward);
        return;
    case TP_Q_EXPECT:
        use_covariance(w, q->a, forward);
        use_covariance(w, q->var_a, forward);
        use_covariance(w, q->var_b, forward);
        use_scalars(w, q->fn_a, forward);
        use_scalars(w, q->fn_b, forward);
        w->fn_uses[q->fn_a]++;
        w->fn_uses[q->fn_b]++;
        return;
    default:
        return;
    }
}

/* All that a kernel is made of: each quantity stands after what it needs. listed: whose operands are counted. */
static void need_kernel(writer *w, const tp_series *kernel, bool forward, bool *listed)
{
    for (int k = 0; k < kernel->n; k++)
        use_quantity(w, kernel->at[k].q, forward);
    for (int id = w->n - 1; id >= 0; id--)
        if (w->needed[id] && !listed[id]) {
            listed[id] = true;
            use_operands(w, id, forward);
        }
}

/* ---- names ---- */
static const char *letter_name(writer *w, int letter)
{
    static const char *const plain[] = { "Σ", "K", "K̇", "P", "s" };
    static const char *const latex[] = { "\\Sigma", "K", "\\dot{K}", "P", "s" };
    int number = ++w->counts[letter];
    return w->latex ? text(w, "%s^{%d}", latex[letter], number) : text(w, "%s%d", plain[letter], number);
}

/* The most of quantities without a name that are within each other below this one. */
static int unnamed_below(const tp_quantity *q, const unsigned char *levels)
{
    int most = 0;
    for (int k = 0; k < q->n; k++)
        most = levels[q->parts[k].q] > most ? levels[q->parts[k].q] : most;
    bool one = q->kind == TP_Q_PRODUCT || q->kind == TP_Q_FUNCTION || q->kind == TP_Q_EXPECT;
    if (one && levels[q->a] > most)
        most = levels[q->a];
    if (q->kind == TP_Q_PRODUCT && levels[q->b] > most)
        most = levels[q->b];
    return most;
}

/* levels: scratch, by quantity. */
static void name_all(writer *w, unsigned char *levels)
{
    enum { MOST_LEVELS = 16 }; /* what is deeper has a name of its own */
    for (int id = 0; id < w->n; id++) {
        const tp_quantity *q = quantity_at(w, id);
        if (!w->needed[id] || q->kind == TP_Q_NUMBER)
            continue;
        bool multiple = q->kind == TP_Q_SUM && q->n == 1 && !(fabs(q->c) > 0);
        bool shared =
            w->uses[id] > 1 && !multiple &&
            (q->kind == TP_Q_SUM || q->kind == TP_Q_PRODUCT || q->kind == TP_Q_FUNCTION || q->kind == TP_Q_ALONG);
        int level = unnamed_below(q, levels) + 1;
        if (q->kind == TP_Q_EXPECT)
            w->name[id] = letter_name(w, w->forward[id] ? KERNEL : DOT);
        else if (w->covariance[id])
            w->name[id] = letter_name(w, SIGMA);
        else if (w->forced[id])
            w->name[id] = letter_name(w, SCALAR);
        else if (shared || level > MOST_LEVELS)
            w->name[id] = letter_name(w, PRODUCT);
        levels[id] = (unsigned char)(w->name[id] ? 0 : level);
    }
}

/* ---- expressions ---- */
static const char *prime_of(const writer *w, bool second)
{
    return !second ? "" : w->latex ? "'" : "′";
}

static const char *escaped(writer *w, const char *name)
{
    const char *all = "";
    for (; *name; name++)
        all = text(w, w->latex && *name == '_' ? "%s\\%c" : "%s%c", all, *name);
    return all;
}

/* What data are made of, down to some levels: beyond them dots. */
static const char *data_text_within(writer *w, int node, const tp_point *from, bool second, int levels)
{
    const ad_node *n = ad_node_of(w->a->graph, node);
    const char *all;
    if (n->op == AD_INPUT)
        all = text(w, "%s%s", escaped(w, n->name), prime_of(w, second));
    else if (levels == 0)
        all = text(w, w->latex ? "\\dots%s" : "...%s", prime_of(w, second));
    else if (n->op == AD_SLICE && ad_axis_fixed(w->a->graph, n->axis2) == 1)
        all = text(w, w->latex ? "%s_{[\\mathrm{%s}=%zu]}" : "%s[%s=%zu]",
                   data_text_within(w, n->in[0], NULL, second, levels - 1),
                   escaped(w, ad_axis_name(w->a->graph, n->axis)), n->start);
    else if (n->n_in == 1 && (n->op == AD_SUM || n->op == AD_RELABEL || n->op == AD_EXPAND || n->op == AD_TRANSPOSE ||
                              n->op == AD_RESHAPE))
        all = data_text_within(w, n->in[0], NULL, second, levels - 1);
    else {
        all = text(w, w->latex ? "\\mathrm{%s}(" : "%s(", escaped(w, ad_op_name(n->op)));
        for (int k = 0; k < n->n_in; k++)
            all = text(w, "%s%s%s", all, k ? ", " : "", data_text_within(w, n->in[k], NULL, second, levels - 1));
        all = text(w, "%s)", all);
    }
    for (int k = 0; from && k < from->n; k++)
        if (ad_axis_fixed(w->a->graph, from->at[k].axis) > 1)
            all = text(w, w->latex ? "%s_{[\\mathrm{%s}=%d]}" : "%s[%s=%d]", all,
                       escaped(w, ad_axis_name(w->a->graph, from->at[k].axis)), from->at[k].index);
    return all;
}

static const char *data_text(writer *w, int node, const tp_point *from, bool second)
{
    enum { LEVELS = 12 };
    return data_text_within(w, node, from, second, LEVELS);
}

static const char *number_text(writer *w, double x)
{
    char number[TP_NUMBER_TEXT];
    return w->latex ? text(w, "%s", tp_number_latex(x, number)) : text(w, "%.6g", x);
}

static const char *times_text(writer *w, double c, const char *what)
{
    return fabs(c - 1) < 1e-12 ? what : text(w, "%s %s", number_text(w, c), what);
}

/* A function that is made of others, whose texts are a and b. */
static const char *part_text(writer *w, const tp_fn *f, const char *variable, const char *a, const char *b,
                             const char *less)
{
    switch (f->op) {
    case TP_VARIABLE:
        return variable;
    case TP_NUMBER:
        return number_text(w, f->p);
    case TP_SCALAR:
        return w->name[f->a] ? w->name[f->a] : number_text(w, quantity_at(w, f->a)->c);
    case TP_PLUS:
        return text(w, "(%s %c %s)", a, less ? '-' : '+', less ? less : b);
    case TP_TIMES:
        return text(w, "%s %s", a, b);
    default:
        break;
    }
    const char *name = f->op == AD_CUSTOM ? f->function->name : ad_op_name((ad_op)f->op);
    for (int k = 0; f->op == AD_CUSTOM && k < f->order; k++)
        name = text(w, w->latex ? "%s'" : "%s′", name);
    if (f->op < AD_CUSTOM && ad_op_facts_of((ad_op)f->op)->takes_p)
        a = text(w, "%s, %s", a, number_text(w, f->p));
    return text(w, w->latex ? "\\mathrm{%s}(%s)" : "%s(%s)", escaped(w, name), a);
}

/* By parts: what is too long for a place in another one is dots there. */
static const char *fn_text(writer *w, int fn, const char *variable)
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
            less = times_text(w, -minus->p, all[p->at[p->at[k].b].b]);
        last = part_text(w, f, variable, a, b, less);
        all[k] = strlen(last) > LONGEST_PART ? w->latex ? "\\dots" : "..." : last;
    }
    tp_fn_parts_end(w->a, fn, p);
    return last;
}

static const char *expression(writer *w, int id);

/* By its name, if it has one; a sum in brackets. */
static const char *reference(writer *w, int id)
{
    if (w->full)
        return "";
    if (w->name[id])
        return w->name[id];
    bool sum = quantity_at(w, id)->kind == TP_Q_SUM;
    return text(w, sum ? "(%s)" : "%s", expression(w, id));
}

/* The factors of a product without names of their own, numbers into *c, inner products of data last. */
static void gather_factors(writer *w, int id, double *c, const char **front, const char **data)
{
    if (w->full)
        return;
    const tp_quantity *q = quantity_at(w, id);
    double factor;
    int base = w->name[id] ? id : tp_q_split(w->a, id, &factor);
    if (base != id) {
        *c *= factor;
        gather_factors(w, base, c, front, data);
    } else if (!w->name[id] && q->kind == TP_Q_PRODUCT) {
        gather_factors(w, q->a, c, front, data);
        gather_factors(w, q->b, c, front, data);
    } else {
        const char **list = !w->name[id] && q->kind == TP_Q_GRAM ? data : front;
        *list = text(w, "%s%s%s", *list, **list ? " " : "", reference(w, id));
    }
}

static const char *product_text(writer *w, const tp_quantity *q)
{
    double c = 1;
    const char *front = "", *data = "";
    gather_factors(w, q->a, &c, &front, &data);
    gather_factors(w, q->b, &c, &front, &data);
    const char *all = text(w, "%s%s%s", front, *front && *data ? " " : "", data);
    return times_text(w, c, all);
}

static const char *sum_text(writer *w, const tp_quantity *q)
{
    const char *all = "";
    for (int k = 0; k < q->n; k++) {
        double c = q->parts[k].c;
        const char *plus = !k ? (c < 0 ? "-" : "") : c < 0 ? " - " : " + ", *front = "", *data = "";
        c = fabs(c);
        gather_factors(w, q->parts[k].q, &c, &front, &data);
        const char *part = text(w, "%s%s%s", front, *front && *data ? " " : "", data);
        all = text(w, "%s%s%s", all, plus, times_text(w, c, part));
    }
    return fabs(q->c) > 0 ? text(w, "%s %c %s", all, q->c < 0 ? '-' : '+', number_text(w, fabs(q->c))) : all;
}

/* A function by its name, if it has one. */
static const char *applied(writer *w, int fn, const char *variable)
{
    return w->fn_name[fn] ? text(w, "%s(%s)", w->fn_name[fn], variable) : fn_text(w, fn, variable);
}

static const char *expect_text(writer *w, const tp_quantity *q)
{
    const tp_fn *g = tp_fn_at(w->a, q->fn_b);
    const char *e = w->latex ? "\\mathbb{E}\\," : "E ", *tilde = w->latex ? "\\sim" : "~";
    const char *f = applied(w, q->fn_a, "u"), *quad = w->latex ? ",\\quad " : ",  ";
    if (g->op == TP_NUMBER)
        return text(w, "%s%s%su %s %s", e, f, quad, tilde, reference(w, q->var_a));
    const char *sigma = reference(w, q->a);
    if (q->var_a != q->a || q->var_b != q->a)
        sigma = text(w, "(%s, %s; %s)", reference(w, q->var_a), reference(w, q->var_b), sigma);
    return text(w, "%s%s %s%s(u, v) %s %s", e, f, applied(w, q->fn_b, "v"), quad, tilde, sigma);
}

static const char *expression(writer *w, int id)
{
    const tp_quantity *q = quantity_at(w, id);
    const char *all;
    switch (q->kind) {
    case TP_Q_NUMBER:
        return number_text(w, q->c);
    case TP_Q_SAME:
        return w->latex ? "[x = x']" : "[x = x′]";
    case TP_Q_DATA:
        return data_text(w, q->a, tp_point_at(w->a, q->from_a), false);
    case TP_Q_GRAM:
        return text(w, w->latex ? "\\langle %s, %s\\rangle" : "⟨%s, %s⟩",
                    data_text(w, q->a, tp_point_at(w->a, q->from_a), false),
                    data_text(w, q->b, tp_point_at(w->a, q->from_b), true));
    case TP_Q_SUM:
        return sum_text(w, q);
    case TP_Q_PRODUCT:
        return product_text(w, q);
    case TP_Q_FUNCTION:
        return fn_text(w, q->fn_a, reference(w, q->a));
    case TP_Q_FIRST:
    case TP_Q_SECOND: {
        const char *x = prime_of(w, q->kind == TP_Q_SECOND);
        return text(w, "%s(x%s, x%s)", reference(w, q->a), x, x);
    }
    case TP_Q_EXPECT:
        return expect_text(w, q);
    case TP_Q_ALONG:
        all = "";
        for (int k = 0; k < q->n; k++)
            all = text(w, "%s%s%s", all, k ? ", " : "", reference(w, q->parts[k].q));
        return text(w, w->latex ? "\\mathrm{%s}_{%d}(%s)" : "%s[%d](%s)", ad_op_name((ad_op)q->op), q->b, all);
    case TP_Q_GROUP: /* printed are exact rules */
        break;
    }
    return "";
}

/* ---- sources ---- */
/* The second moment of every vector, by which its quantity knows its line. What has no rule has no line. */
static void find_sources(writer *w)
{
    const tp_program *p = w->a->program;
    ad_error *error = w->a->error, scratch = { 0 };
    bool no_limit = w->a->no_limit;
    w->a->error = &scratch;
    for (int id = 0; id < p->n_nodes; id++) {
        const ad_node *node = ad_node_of(w->a->graph, id);
        if (!p->lives[id] || p->widths[id] != 1 || !p->learns[id])
            continue;
        tp_series series;
        int c = tp_coordinate_of(w->a, id, tp_point_of(w->a, id, NULL));
        if (c < 0 || tp_expectation(w->a, c, c, false, &series))
            continue;
        for (int k = 0; k < series.n; k++) {
            double factor;
            int q = series.at[k].q, base = tp_q_split(w->a, q, &factor);
            if (q < w->n && !w->source[q])
                w->source[q] = &node->where;
            if (base < w->n && !w->source[base])
                w->source[base] = &node->where;
        }
    }
    w->a->error = error;
    w->a->no_limit = no_limit;
}

/* ---- lines ---- */
static void put_line(writer *w, const char *name, const char *right, const ad_where *place, FILE *stream)
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

/* A long sum goes over several lines, broken before a sign outside of brackets; TeX breaks its lines itself. */
static void put_broken(writer *w, const char *name, const char *right, const ad_where *place, FILE *stream)
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
        put_line(w, name, text(w, "%s%.*s", equals, (int)(cut - right), right), NULL, stream);
        name = equals = "";
        right = cut + 1;
    }
    put_line(w, name, text(w, "%s%s", equals, right), place, stream);
}

/* In LaTeX, a function that expectations have more than once, and is long, has a line and a name. */
static void define_function(writer *w, int fn, FILE *stream)
{
    enum { LONG = 24 };
    if (!w->latex || w->fn_name[fn] || w->fn_uses[fn] < 2)
        return;
    const char *what = fn_text(w, fn, "u");
    if (strlen(what) < LONG)
        return;
    w->fn_name[fn] = text(w, "\\varphi^{%d}", ++w->n_functions);
    put_line(w, text(w, "%s(u)", w->fn_name[fn]), text(w, "= %s", what), NULL, stream);
}

static void define_functions(writer *w, int id, FILE *stream)
{
    const tp_quantity *q = quantity_at(w, id);
    if (q->kind != TP_Q_EXPECT)
        return;
    define_function(w, q->fn_a, stream);
    define_function(w, q->fn_b, stream);
}

static const char *kernel_name(writer *w, int which, double power)
{
    const char *name = which == TP_NTK ? w->latex ? "\\Theta" : "Θ" : w->latex ? "K" : "K";
    if (!(fabs(power) > 1e-9))
        return name;
    return text(w, w->latex ? "%s\\,/\\,n^{%.4g}" : "%s/n^%.4g", name, power);
}

static void print_all(writer *w, const tp_series *kernels, FILE *stream)
{
    int total = 0, printed = 0;
    for (int id = 0; id < w->n; id++)
        total += w->name[id] != NULL;
    if (w->latex)
        fprintf(stream, "%% \\usepackage{amsmath,amssymb,array,longtable}\n{\\small\n"
                        "\\begin{longtable}{@{}>{$}l<{$}>{\\raggedright${}}p{0.64\\linewidth}<{$}"
                        ">{\\footnotesize\\raggedright\\arraybackslash}p{0.18\\linewidth}@{}}\n");
    else
        fprintf(stream,
                "Each line is a function of two inputs (x, x′); (u, v) ~ Σ: centred Gaussians of variances Σ(x, x), "
                "Σ(x′, x′)\nand covariance Σ(x, x′).\n");
    for (int id = 0; id < w->n; id++) {
        if (!w->name[id])
            continue;
        printed++;
        bool shown = total <= MAX_LINES || printed <= HEAD || printed > total - TAIL;
        if (shown)
            define_functions(w, id, stream);
        if (shown)
            put_broken(w, w->name[id], expression(w, id), w->source[id], stream);
        else if (printed == HEAD + 1)
            put_line(w, w->latex ? "\\vdots" : "...",
                     text(w, w->latex ? "\\text{(%d lines like these)}" : "(%d lines like these)", total - HEAD - TAIL),
                     NULL, stream);
    }
    for (int which = TP_NNGP; which >= TP_NTK; which--)
        for (int k = 0; k < kernels[which].n; k++)
            put_broken(w, kernel_name(w, which, kernels[which].at[k].power),
                       w->name[kernels[which].at[k].q] ? w->name[kernels[which].at[k].q]
                                                       : expression(w, kernels[which].at[k].q),
                       &ad_node_of(w->a->graph, w->a->program->output.id)->where, stream);
    if (w->latex)
        fprintf(stream, "\\end{longtable}}\n");
}

static int write_recursion(writer *w, FILE *stream, ad_error *error)
{
    tp_series kernels[2];
    if (tp_nngp_series(w->a, &kernels[TP_NNGP]) || tp_ntk_series(w->a, &kernels[TP_NTK], NULL))
        return -1;
    w->n = w->a->quantities.n;
    size_t n = (size_t)w->n;
    w->needed = ad_arena_alloc(w->arena, n, sizeof *w->needed);
    w->forward = ad_arena_alloc(w->arena, n, sizeof *w->forward);
    w->covariance = ad_arena_alloc(w->arena, n, sizeof *w->covariance);
    w->forced = ad_arena_alloc(w->arena, n, sizeof *w->forced);
    w->uses = ad_arena_alloc(w->arena, n, sizeof *w->uses);
    w->name = ad_arena_alloc(w->arena, n, sizeof *w->name);
    w->source = ad_arena_alloc(w->arena, n, sizeof *w->source);
    size_t fns = (size_t)w->a->fns.n + 1;
    w->fn_uses = ad_arena_alloc(w->arena, fns, sizeof *w->fn_uses);
    w->fn_name = ad_arena_alloc(w->arena, fns, sizeof *w->fn_name);
    bool *listed = ad_arena_alloc(w->arena, n, sizeof *listed);
    unsigned char *levels = ad_arena_alloc(w->arena, n, sizeof *levels);
    w->full = !w->needed || !w->forward || !w->covariance || !w->forced || !w->uses || !w->name || !w->source ||
              !listed || !levels || !w->fn_uses || !w->fn_name;
    if (!w->full) {
        for (int which = TP_NNGP; which >= TP_NTK; which--)
            need_kernel(w, &kernels[which], which == TP_NNGP, listed);
        name_all(w, levels);
        find_sources(w);
        print_all(w, kernels, stream);
    }
    if (w->endless)
        return ad_fail(error, "the kernel's recursion has more than %zu MB of text", most_text >> 20);
    return w->full ? ad_fail(error, "out of memory for the kernel's recursion") : 0;
}

int tp_print_recursion(const tp_program *program, FILE *stream, tp_style style, ad_error *error)
{
    tp_algebra algebra;
    writer w = { .a = &algebra, .latex = style == TP_LATEX };
    int status = tp_algebra_new(&algebra, program, error);
    if (!status)
        status = tp_check_orthogonal(program, error);
    if (!status && !(w.arena = ad_arena_new(error)))
        status = -1;
    if (!status)
        status = write_recursion(&w, stream, error);
    ad_arena_free(w.arena);
    tp_algebra_free(&algebra);
    if (!status && ferror(stream))
        status = ad_fail(error, "the recursion cannot be printed");
    return status ? -1 : 0;
}
