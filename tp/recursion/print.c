/* print.c: the kernel's recursion as one would derive it by hand: its quantities, with names.
 *
 *     Σ1 = 2 ⟨x, x′⟩/784          K1 = E relu(u) relu(v), (u, v) ~ Σ1          Σ2 = 2 K1          Θ = K2 + ...
 *
 * Every quantity is a function of a pair of inputs (x, x′). Σ are covariances of G-vars, K expectations that the NNGP
 * kernel needs, K̇ those that the NTK needs besides, P products that are used more than once, s scalars of one input. A
 * line's place is that of the first op whose vector has it as its second moment. */
#include "tp/recursion/recursion.h"

#include <math.h>
#include <string.h>

typedef struct {
    tp_notation t;
    int n;
    bool *needed, *forward, *covariance, *forced;
    int *uses;
    const ad_where **source;
} writer;

static const tp_quantity *quantity_at(const writer *w, int id)
{
    return tp_quantity_at(w->t.a, id);
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
    int scalars[MOST], n = tp_fn_scalars(w->t.a, fn, scalars, MOST);
    w->t.full = w->t.full || n > MOST;
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
        w->t.fn_uses[q->fn_a]++;
        w->t.fn_uses[q->fn_b]++;
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
            w->t.name[id] = tp_letter_name(&w->t, w->forward[id] ? TP_KERNEL_LETTER : TP_DOT_LETTER);
        else if (w->covariance[id])
            w->t.name[id] = tp_letter_name(&w->t, TP_SIGMA_LETTER);
        else if (w->forced[id])
            w->t.name[id] = tp_letter_name(&w->t, TP_SCALAR_LETTER);
        else if (shared || level > MOST_LEVELS)
            w->t.name[id] = tp_letter_name(&w->t, TP_PRODUCT_LETTER);
        levels[id] = (unsigned char)(w->t.name[id] ? 0 : level);
    }
}

/* ---- expressions ---- */
/* What an index is put to: TeX has one for each. */
static const char *indexed_text(writer *w, const char *text)
{
    return w->t.latex && tp_has_index(text) ? tp_text(&w->t, "{%s}", text) : text;
}

/* What data are made of, down to some levels: beyond them dots. */
static const char *data_text_within(writer *w, int node, const tp_point *from, bool second, int levels)
{
    const ad_node *n = ad_node_of(w->t.a->graph, node);
    const char *all;
    if (n->op == AD_INPUT)
        all = tp_text(&w->t, "%s%s", tp_escaped_text(&w->t, n->name), tp_prime_text(&w->t, second));
    else if (levels == 0)
        all = tp_text(&w->t, w->t.latex ? "\\dots%s" : "...%s", tp_prime_text(&w->t, second));
    else if (n->op == AD_SLICE && ad_axis_fixed(w->t.a->graph, n->axis2) == 1)
        all = tp_text(&w->t, w->t.latex ? "%s_{[\\mathrm{%s}=%zu]}" : "%s[%s=%zu]",
                      indexed_text(w, data_text_within(w, n->in[0], NULL, second, levels - 1)),
                      tp_escaped_text(&w->t, ad_axis_name(w->t.a->graph, n->axis)), n->start);
    else if (n->n_in == 1 && (n->op == AD_SUM || n->op == AD_RELABEL || n->op == AD_EXPAND || n->op == AD_TRANSPOSE ||
                              n->op == AD_RESHAPE))
        all = data_text_within(w, n->in[0], NULL, second, levels - 1);
    else {
        all = tp_text(&w->t, w->t.latex ? "\\mathrm{%s}(" : "%s(", tp_escaped_text(&w->t, ad_op_name(n->op)));
        for (int k = 0; k < n->n_in; k++)
            all = tp_text(&w->t, "%s%s%s", all, k ? ", " : "", data_text_within(w, n->in[k], NULL, second, levels - 1));
        all = tp_text(&w->t, "%s)", all);
    }
    for (int k = 0; from && k < from->n; k++)
        if (ad_axis_fixed(w->t.a->graph, from->at[k].axis) > 1)
            all = tp_text(&w->t, w->t.latex ? "%s_{[\\mathrm{%s}=%d]}" : "%s[%s=%d]", indexed_text(w, all),
                          tp_escaped_text(&w->t, ad_axis_name(w->t.a->graph, from->at[k].axis)), from->at[k].index);
    return all;
}

static const char *data_text(writer *w, int node, const tp_point *from, bool second)
{
    enum { LEVELS = 12 };
    return data_text_within(w, node, from, second, LEVELS);
}

static const char *expression(writer *w, int id);

/* By its name, if it has one; a sum in brackets. */
static const char *reference(writer *w, int id)
{
    if (w->t.full)
        return "";
    if (w->t.name[id])
        return w->t.name[id];
    bool sum = quantity_at(w, id)->kind == TP_Q_SUM;
    return tp_text(&w->t, sum ? "(%s)" : "%s", expression(w, id));
}

/* The factors of a product without names of their own, numbers into *c, inner products of data last. */
static void gather_factors(writer *w, int id, double *c, const char **front, const char **data)
{
    if (w->t.full)
        return;
    const tp_quantity *q = quantity_at(w, id);
    double factor;
    int base = w->t.name[id] ? id : tp_q_split(w->t.a, id, &factor);
    if (base != id) {
        *c *= factor;
        gather_factors(w, base, c, front, data);
    } else if (!w->t.name[id] && q->kind == TP_Q_PRODUCT) {
        gather_factors(w, q->a, c, front, data);
        gather_factors(w, q->b, c, front, data);
    } else {
        const char **list = !w->t.name[id] && q->kind == TP_Q_GRAM ? data : front;
        *list = tp_text(&w->t, "%s%s%s", *list, **list ? " " : "", reference(w, id));
    }
}

static const char *product_text(writer *w, const tp_quantity *q)
{
    double c = 1;
    const char *front = "", *data = "";
    gather_factors(w, q->a, &c, &front, &data);
    gather_factors(w, q->b, &c, &front, &data);
    const char *all = tp_text(&w->t, "%s%s%s", front, *front && *data ? " " : "", data);
    return tp_multiple_text(&w->t, c, all);
}

static const char *sum_text(writer *w, const tp_quantity *q)
{
    const char *all = "";
    for (int k = 0; k < q->n; k++) {
        double c = q->parts[k].c;
        const char *plus = !k ? (c < 0 ? "-" : "") : c < 0 ? " - " : " + ", *front = "", *data = "";
        c = fabs(c);
        gather_factors(w, q->parts[k].q, &c, &front, &data);
        const char *part = tp_text(&w->t, "%s%s%s", front, *front && *data ? " " : "", data);
        all = tp_text(&w->t, "%s%s%s", all, plus, tp_multiple_text(&w->t, c, part));
    }
    return fabs(q->c) > 0 ? tp_text(&w->t, "%s %c %s", all, q->c < 0 ? '-' : '+', tp_value_text(&w->t, fabs(q->c)))
                          : all;
}

static const char *expect_text(writer *w, const tp_quantity *q)
{
    bool one = tp_fn_at(w->t.a, q->fn_b)->op == TP_NUMBER;
    const char *sigma = reference(w, one ? q->var_a : q->a);
    if (!one && (q->var_a != q->a || q->var_b != q->a))
        sigma = tp_text(&w->t, "(%s, %s; %s)", reference(w, q->var_a), reference(w, q->var_b), sigma);
    return tp_expect_text(&w->t, q->fn_a, one ? -1 : q->fn_b, sigma);
}

static const char *expression(writer *w, int id)
{
    const tp_quantity *q = quantity_at(w, id);
    const char *all;
    switch (q->kind) {
    case TP_Q_NUMBER:
        return tp_value_text(&w->t, q->c);
    case TP_Q_SAME:
        return w->t.latex ? "[x = x']" : "[x = x′]";
    case TP_Q_DATA:
        return data_text(w, q->a, tp_point_at(w->t.a, q->from_a), false);
    case TP_Q_GRAM:
        return tp_text(&w->t, w->t.latex ? "\\langle %s, %s\\rangle" : "⟨%s, %s⟩",
                       data_text(w, q->a, tp_point_at(w->t.a, q->from_a), false),
                       data_text(w, q->b, tp_point_at(w->t.a, q->from_b), true));
    case TP_Q_SUM:
        return sum_text(w, q);
    case TP_Q_PRODUCT:
        return product_text(w, q);
    case TP_Q_FUNCTION:
        return tp_fn_text(&w->t, q->fn_a, reference(w, q->a));
    case TP_Q_FIRST:
    case TP_Q_SECOND: {
        const char *x = tp_prime_text(&w->t, q->kind == TP_Q_SECOND);
        return tp_text(&w->t, "%s(x%s, x%s)", reference(w, q->a), x, x);
    }
    case TP_Q_EXPECT:
        return expect_text(w, q);
    case TP_Q_ALONG:
        all = "";
        for (int k = 0; k < q->n; k++)
            all = tp_text(&w->t, "%s%s%s", all, k ? ", " : "", reference(w, q->parts[k].q));
        return tp_text(&w->t, w->t.latex ? "\\mathrm{%s}_{%d}(%s)" : "%s[%d](%s)", ad_op_name((ad_op)q->op), q->b, all);
    case TP_Q_GROUP: /* printed are exact rules */
        break;
    }
    return "";
}

/* ---- sources ---- */
/* The second moment of every vector, by which its quantity knows its line. What has no rule has no line. */
static void find_sources(writer *w)
{
    const tp_program *p = w->t.a->program;
    ad_error *error = w->t.a->error, scratch = { 0 };
    bool no_limit = w->t.a->no_limit;
    w->t.a->error = &scratch;
    for (int id = 0; id < p->n_nodes; id++) {
        const ad_node *node = ad_node_of(w->t.a->graph, id);
        if (!p->lives[id] || p->widths[id] != 1 || !p->learns[id])
            continue;
        tp_series series;
        int c = tp_coordinate_of(w->t.a, id, tp_point_of(w->t.a, id, NULL));
        if (c < 0 || tp_expectation(w->t.a, c, c, false, &series))
            continue;
        for (int k = 0; k < series.n; k++) {
            double factor;
            int q = series.at[k].q, base = tp_q_split(w->t.a, q, &factor);
            if (q < w->n && !w->source[q])
                w->source[q] = &node->where;
            if (base < w->n && !w->source[base])
                w->source[base] = &node->where;
        }
    }
    w->t.a->error = error;
    w->t.a->no_limit = no_limit;
}

static void define_functions(writer *w, int id, FILE *stream)
{
    const tp_quantity *q = quantity_at(w, id);
    if (q->kind != TP_Q_EXPECT)
        return;
    tp_define_function(&w->t, q->fn_a, stream);
    tp_define_function(&w->t, q->fn_b, stream);
}

static void print_all(writer *w, const tp_series *kernels, FILE *stream)
{
    int total = 0, printed = 0;
    for (int id = 0; id < w->n; id++)
        total += w->t.name[id] != NULL;
    if (!w->t.latex)
        fprintf(stream,
                "Each line is a function of two inputs (x, x′); (u, v) ~ Σ: centred Gaussians of variances Σ(x, x), "
                "Σ(x′, x′)\nand covariance Σ(x, x′).\n");
    tp_begin_quantities(&w->t, stream);
    for (int id = 0; id < w->n; id++) {
        if (!w->t.name[id] || !tp_is_shown(&w->t, printed++, total, stream))
            continue;
        define_functions(w, id, stream);
        tp_put_broken(&w->t, w->t.name[id], expression(w, id), w->source[id], stream);
    }
    for (int which = TP_NNGP; which >= TP_NTK; which--)
        for (int k = 0; k < kernels[which].n; k++)
            tp_put_broken(&w->t, tp_kernel_name(&w->t, which, kernels[which].at[k].power),
                          w->t.name[kernels[which].at[k].q] ? w->t.name[kernels[which].at[k].q]
                                                            : expression(w, kernels[which].at[k].q),
                          &ad_node_of(w->t.a->graph, w->t.a->program->output.id)->where, stream);
    tp_end_quantities(&w->t, stream);
}

static int write_recursion(writer *w, FILE *stream, ad_error *error)
{
    tp_series kernels[2];
    if (tp_nngp_series(w->t.a, &kernels[TP_NNGP]) || tp_ntk_series(w->t.a, &kernels[TP_NTK], NULL))
        return -1;
    w->n = w->t.a->quantities.n;
    size_t n = (size_t)w->n;
    tp_notation_begin(&w->t);
    w->needed = ad_arena_alloc(w->t.arena, n, sizeof *w->needed);
    w->forward = ad_arena_alloc(w->t.arena, n, sizeof *w->forward);
    w->covariance = ad_arena_alloc(w->t.arena, n, sizeof *w->covariance);
    w->forced = ad_arena_alloc(w->t.arena, n, sizeof *w->forced);
    w->uses = ad_arena_alloc(w->t.arena, n, sizeof *w->uses);
    w->t.name = ad_arena_alloc(w->t.arena, n, sizeof *w->t.name);
    w->source = ad_arena_alloc(w->t.arena, n, sizeof *w->source);
    bool *listed = ad_arena_alloc(w->t.arena, n, sizeof *listed);
    unsigned char *levels = ad_arena_alloc(w->t.arena, n, sizeof *levels);
    w->t.full = w->t.full || !w->needed || !w->forward || !w->covariance || !w->forced || !w->uses || !w->t.name ||
                !w->source || !listed || !levels;
    if (!w->t.full) {
        for (int which = TP_NNGP; which >= TP_NTK; which--)
            need_kernel(w, &kernels[which], which == TP_NNGP, listed);
        name_all(w, levels);
        find_sources(w);
        print_all(w, kernels, stream);
    }
    return tp_notation_end(&w->t, error);
}

int tp_print_quantities(const tp_program *program, size_t output, FILE *stream, tp_style style, ad_error *error)
{
    tp_algebra algebra;
    writer w = { .t = { .a = &algebra, .latex = style == TP_LATEX } };
    int status = tp_algebra_new(&algebra, program, error);
    algebra.outputs[0] = algebra.outputs[1] = (int)output;
    if (!status)
        status = tp_check_orthogonal(program, error);
    if (!status && !(w.t.arena = ad_arena_new(error)))
        status = -1;
    if (!status)
        status = write_recursion(&w, stream, error);
    bool large = algebra.too_large || (status && tp_is_full(&algebra));
    ad_arena_free(w.t.arena);
    tp_algebra_free(&algebra);
    return !status ? 0 : large ? TP_TOO_LARGE : -1;
}
