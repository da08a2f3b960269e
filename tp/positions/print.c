/* print.c: the kernel's recursion over positions as text:
 *
 *     Σ1 = 0.25 Σ[offset] ⟨x[rows+offset−1], x′[rows′+offset−1]⟩          K1 = E relu(u) relu(v), (u, v) ~ Σ1
 *
 * A line stands for all positions of both inputs: neither its text nor the time that it takes goes by their number.
 * Letters are those of tp/recursion: Σ for covariances of G-vars, K for second moments of other vectors, K̇ for
 * expectations of derivatives, s for numbers of one input; T for tangent kernels. */
#include "tp/positions/formulas.h"
#include "tp/recursion/recursion.h"

#include "autodiff/base/base.h"

#include <stdlib.h>
#include <string.h>

/* A name of positions, and how many there are of it. */
typedef struct {
    const char *name;
    size_t size;
} position_name;

typedef struct {
    tp_notation t;
    tp_formulas f;
    position_name *names;
    int n_names, names_capacity, total;
    const char *positions;                   /* as most lines have them; NULL: none yet */
    bool brackets, numbers, exactly, unlike; /* what is to be explained */
} printer;

/* ---- names of positions ---- */
/* The name, if it is not one of another number of positions. */
static bool take_name(printer *w, const char *name, size_t size)
{
    for (int k = 0; k < w->n_names; k++)
        if (strcmp(w->names[k].name, name) == 0)
            return w->names[k].size == size;
    if (!ad_arena_grow(w->t.arena, (void **)&w->names, w->n_names, &w->names_capacity, sizeof *w->names)) {
        w->t.full = true;
        return true;
    }
    w->names[w->n_names++] = (position_name){ name, size };
    return true;
}

static bool is_among(const printer *w, const int *variables, int n, const char *name, bool second)
{
    for (int k = 0; k < n; k++) {
        const tp_variable *v = &w->f.variables[variables[k]];
        if (v->name && v->second == second && strcmp(v->name, name) == 0)
            return true;
    }
    return false;
}

/* A variable's name, unlike those of the first n of the list. */
static void name_variable(printer *w, const int *variables, int n, int variable)
{
    tp_variable *v = &w->f.variables[variable];
    const char *stem = tp_position_name(w->t.arena, w->f.plan->graph, v->axis), *name = stem;
    w->t.full = w->t.full || !stem;
    for (char more = 'a'; !w->t.full && more <= 'z'; more++) {
        if (!is_among(w, variables, n, name, v->second) && take_name(w, name, v->size))
            break;
        name = tp_text(&w->t, "%s.%c", stem, more);
    }
    v->name = name ? name : "";
}

enum { MOST_OWN = 2 * AD_MAX_RANK };

static int own_variables(printer *w, const tp_formula *line, int *list)
{
    int n = 0;
    for (int side = 0; side < (line->kind == TP_NUMBERS ? 1 : 2); side++) {
        const tp_indices *own = side ? &line->of_b : &line->of_a;
        for (int i = 0; i < own->n; i++)
            if (own->at[i].n) {
                name_variable(w, list, n, own->at[i].var[0]);
                list[n++] = own->at[i].var[0];
            }
    }
    return n;
}

static const char *variable_text(printer *w, int variable)
{
    const tp_variable *v = &w->f.variables[variable];
    return w->t.latex ? tp_text(&w->t, "\\mathrm{%s}%s", tp_escaped_text(&w->t, v->name), v->second ? "'" : "")
                      : tp_text(&w->t, "%s%s", v->name, v->second ? "′" : "");
}

static const char *index_text(printer *w, const tp_index *index)
{
    tp_affine_part parts[TP_MOST_PARTS];
    for (int k = 0; k < index->n; k++)
        parts[k] = (tp_affine_part){ variable_text(w, index->var[k]), index->times[k] };
    const char *all = tp_affine_text(w->t.arena, w->t.latex, parts, index->n, index->shift);
    w->t.full = w->t.full || !all;
    bool sum = index->n + (index->shift != 0) > 1;
    if (index->kind != TP_PLAIN && index->kind != TP_FLOOR && sum)
        all = tp_text(&w->t, "(%s)", all);
    switch (index->kind) {
    case TP_EXACTLY:
        w->exactly = true;
        return tp_text(&w->t, "%s/%td", all, index->by);
    case TP_MODULO:
        return tp_text(&w->t, w->t.latex ? "%s\\bmod %td" : "%s mod %td", all, index->by);
    case TP_FLOOR:
        return tp_text(&w->t,
                       w->t.latex ? "\\lfloor (%s)/%td\\rfloor"
                       : sum      ? "⌊(%s)/%td⌋"
                                  : "⌊%s/%td⌋",
                       all, index->by);
    default:
        return all ? all : "";
    }
}

/* Those of axes with several positions: own has a variable there. */
static const char *indices_text(printer *w, const tp_indices *at, const tp_indices *own, const char *list)
{
    bool first = true;
    for (int i = 0; i < at->n; i++)
        if (own->at[i].n) {
            list = tp_text(&w->t, "%s%s%s", list, first ? "" : ", ", index_text(w, &at->at[i]));
            first = false;
        }
    return list;
}

static bool has_positions(const tp_indices *own)
{
    bool any = false;
    for (int i = 0; i < own->n; i++)
        any = any || own->at[i].n;
    return any;
}

/* "[rows, columns; rows′, columns′]", empty where there is one position alone. */
static const char *place_text(printer *w, const tp_indices *a, const tp_indices *b, const tp_formula *of)
{
    const char *next = w->t.latex ? ";\\, " : "; ";
    if (!has_positions(&of->of_a) && !has_positions(&of->of_b))
        return "";
    const char *list = indices_text(w, a, &of->of_a, "[");
    return tp_text(&w->t, "%s]", indices_text(w, b, &of->of_b, tp_text(&w->t, "%s%s", list, next)));
}

/* ---- terms ---- */
/* Are these the line's own positions? */
static bool are_own(const tp_indices *at, const tp_indices *own, const tp_indices *other)
{
    int i = 0, k = 0;
    for (;;) {
        while (i < at->n && !other->at[i].n)
            i++;
        while (k < own->n && !own->at[k].n)
            k++;
        if (i == at->n || k == own->n)
            return i == at->n && k == own->n;
        if (!tp_same_index(&at->at[i++], &own->at[k++]))
            return false;
    }
}

/* Of a reference: where, empty at the line's own positions. */
static const char *reference_place(printer *w, const tp_formula *line, const tp_formula_factor *factor,
                                   const tp_formula *of)
{
    bool own = are_own(&factor->a, factor->second ? &line->of_b : &line->of_a, &of->of_a);
    if (of->kind == TP_NUMBERS)
        return own || !has_positions(&of->of_a) ? ""
                                                : tp_text(&w->t, "[%s]", indices_text(w, &factor->a, &of->of_a, ""));
    own = own && line->kind != TP_NUMBERS && are_own(&factor->b, &line->of_b, &of->of_b);
    return own ? "" : place_text(w, &factor->a, &factor->b, of);
}

static const char *reference_name(printer *w, const tp_formula *line, const tp_formula_factor *factor,
                                  const tp_formula *of)
{
    if (of->kind == TP_NUMBERS)
        return tp_text(&w->t, "%s(x%s)", of->name, tp_prime_text(&w->t, factor->second));
    return line->kind == TP_NUMBERS ? tp_text(&w->t, "%s(x, x)", of->name) : of->name;
}

/* References from number k of the factors on, those at one place together: (K̇1 T1)[rows+1]. The number after them. */
static int references(printer *w, const tp_formula *line, const tp_formula_term *t, int k, double *c, const char **all)
{
    const char *names = "", *place = NULL;
    int first = k;
    for (; k < t->n_factors && t->factors[k].line >= 0; k++) {
        const tp_formula *of = &w->f.lines[tp_resolve_line(&w->f, t->factors[k].line, &(double){ 1 })];
        const char *here = reference_place(w, line, &t->factors[k], of);
        if (place && (strcmp(here, place) != 0 || !*here))
            break;
        tp_resolve_line(&w->f, t->factors[k].line, c);
        names = tp_text(&w->t, "%s%s%s", names, place ? " " : "", reference_name(w, line, &t->factors[k], of));
        place = here;
    }
    *all = tp_text(&w->t, k > first + 1 ? "%s%s(%s)%s" : "%s%s%s%s", *all, **all ? " " : "", names, place);
    return k;
}

static int count_in(const tp_index *index, int variable)
{
    int n = 0;
    for (int k = 0; k < index->n; k++)
        n += index->var[k] == variable;
    return n;
}

/* How often the term has it. */
static int count_variable(const tp_formula_term *t, int variable)
{
    int n = 0;
    for (int k = 0; k < t->n_conditions; k++)
        n += count_in(&t->conditions[k].a, variable) +
             (t->conditions[k].kind == TP_EQUAL ? count_in(&t->conditions[k].b, variable) : 0);
    for (int k = 0; k < t->n_factors; k++) {
        const tp_formula_factor *factor = &t->factors[k];
        for (int i = 0; i < factor->a.n; i++)
            n += count_in(&factor->a.at[i], variable);
        for (int i = 0; i < factor->b.n; i++)
            n += count_in(&factor->b.at[i], variable);
    }
    return n;
}

/* How many of the data's axes an inner product leaves: the last ones that are summed, on both sides alike and nowhere
 * else, are its own. */
static int axes_left(const tp_formula_term *t, const tp_formula_factor *factor)
{
    int n = factor->a.n == factor->b.n ? factor->a.n : 0;
    for (; n > 0; n--) {
        const tp_index *a = &factor->a.at[n - 1];
        bool variable = a->kind == TP_PLAIN && a->n == 1 && a->times[0] == 1 && a->shift == 0, summed = false;
        if (!tp_same_index(a, &factor->b.at[n - 1]))
            break;
        for (int k = 0; k < t->n_sums && variable; k++)
            summed = summed || t->sums[k] == a->var[0];
        if (a->n == 0 ? a->shift != 0 : !(variable && summed && count_variable(t, a->var[0]) == 2))
            break;
    }
    return factor->a.n == factor->b.n ? n : factor->a.n;
}

static const char *data_name(printer *w, int id, bool second)
{
    const ad_node *node = ad_node_of(w->f.plan->graph, id);
    if (node->op == AD_INPUT)
        return tp_text(&w->t, w->t.latex ? "\\mathrm{%s}%s" : "%s%s", tp_escaped_text(&w->t, node->name),
                       tp_prime_text(&w->t, second));
    const char *inside = data_name(w, node->in[0], second);
    return tp_text(&w->t, w->t.latex ? "\\mathrm{%s}(%s)" : "%s(%s)", tp_escaped_text(&w->t, ad_op_name(node->op)),
                   ad_op_facts_of(node->op)->takes_p ? tp_text(&w->t, "%s, %s", inside, tp_value_text(&w->t, node->c))
                                                     : inside);
}

static const char *data_text(printer *w, int node, const tp_indices *at, int axes, bool second)
{
    const char *all = data_name(w, node, second);
    for (int i = 0; i < axes; i++)
        all = tp_text(&w->t, "%s%s%s", all, i ? ", " : "[", index_text(w, &at->at[i]));
    return axes ? tp_text(&w->t, "%s]", all) : all;
}

static const char *condition_text(printer *w, const tp_condition *c)
{
    const char *less = w->t.latex ? "\\le " : "≤ ";
    w->brackets = true;
    if (c->kind == TP_SAME_SAMPLE)
        return w->t.latex ? "[x = x']" : "[x = x′]";
    if (c->kind == TP_EQUAL)
        return tp_text(&w->t, "[%s = %s]", index_text(w, &c->a), index_text(w, &c->b));
    if (c->size == 1)
        return tp_text(&w->t, "[%s = 0]", index_text(w, &c->a));
    return tp_text(&w->t, "[0 %s%s < %zu]", less, index_text(w, &c->a), c->size);
}

static bool is_absorbed(const tp_formula_term *t, int variable)
{
    for (int k = 0; k < t->n_factors; k++)
        if (t->factors[k].line < 0)
            for (int i = axes_left(t, &t->factors[k]); i < t->factors[k].a.n; i++)
                if (count_in(&t->factors[k].a.at[i], variable))
                    return true;
    return false;
}

static bool has_sum(const tp_formula_term *t, const tp_condition *c)
{
    bool any = false;
    for (int k = 0; k < t->n_sums; k++)
        any = any || count_in(&c->a, t->sums[k]) || count_in(&c->b, t->sums[k]);
    return any;
}

/* A term without its sign: its number, which is multiplied by *c, and all else. */
static const char *term_text(printer *w, const tp_formula *line, const tp_formula_term *t, const int *own, int n_own,
                             double *c)
{
    int names[MOST_OWN + TP_MOST_SUMS], n = n_own;
    const char *sums = "", *all = "", *inner = "";
    memcpy(names, own, (size_t)n_own * sizeof *own);
    for (int k = 0; k < t->n_sums; k++) {
        int variable = t->sums[k];
        if (count_variable(t, variable) == 0)
            *c *= (double)w->f.variables[variable].size;
        if (count_variable(t, variable) == 0 || is_absorbed(t, variable))
            continue;
        name_variable(w, names, n, variable);
        names[n++] = variable;
        bool new_sum = w->t.latex && (n - n_own) % 2 == 1; /* a subscript has no breaks */
        const char *next = !*sums ? "" : new_sum ? "} \\sum_{" : ", ";
        sums = tp_text(&w->t, "%s%s%s", sums, next, variable_text(w, variable));
    }
    for (int k = 0; k < t->n_conditions; k++) { /* those of the line's own places before the sum */
        const char **list = has_sum(t, &t->conditions[k]) ? &inner : &all;
        *list = tp_text(&w->t, "%s%s%s", *list, **list ? " " : "", condition_text(w, &t->conditions[k]));
    }
    if (*sums)
        all = tp_text(&w->t, w->t.latex ? "%s%s\\sum_{%s}" : "%s%sΣ[%s]", all, *all ? " " : "", sums);
    if (*inner)
        all = tp_text(&w->t, "%s%s%s", all, *all ? " " : "", inner);
    for (int k = 0; k < t->n_factors;) {
        const tp_formula_factor *factor = &t->factors[k];
        if (factor->line >= 0) {
            k = references(w, line, t, k, c, &all);
            continue;
        }
        int axes = axes_left(t, factor);
        const char *x = data_text(w, factor->x, &factor->a, axes, false);
        const char *y = data_text(w, factor->y, &factor->b, axes + factor->b.n - factor->a.n, line->kind != TP_NUMBERS);
        all = tp_text(&w->t, w->t.latex ? "%s%s\\langle %s, %s\\rangle" : "%s%s⟨%s, %s⟩", all, *all ? " " : "", x, y);
        k++;
    }
    return all;
}

/* ---- lines ---- */
static const char *sum_text(printer *w, const tp_formula *line, const int *own, int n_own)
{
    const char *all = "";
    for (int k = 0; k < line->n_terms; k++) {
        double c = line->terms[k].c;
        const char *text = term_text(w, line, &line->terms[k], own, n_own, &c);
        const char *sign = c < 0 ? k ? " - " : "-" : k ? " + " : "";
        text = *text ? tp_multiple_text(&w->t, fabs(c), text) : tp_value_text(&w->t, fabs(c));
        all = tp_text(&w->t, "%s%s%s", all, sign, text);
    }
    return *all ? all : "0";
}

/* The line itself, or what it is a multiple of. */
static const char *multiple_text(printer *w, int line)
{
    double c = 1;
    if (w->f.lines[line].zero)
        return "0";
    const tp_formula *of = &w->f.lines[tp_resolve_line(&w->f, line, &c)];
    return tp_multiple_text(&w->t, c, of->name);
}

static const char *variance_text(printer *w, const tp_formula *line, int variance, bool second)
{
    const tp_indices *own = second ? &line->of_b : &line->of_a;
    double c = 1;
    int to = tp_resolve_line(&w->f, variance, &c);
    const char *x = tp_prime_text(&w->t, second);
    if (w->f.lines[variance].zero)
        return "0";
    const char *all =
        tp_text(&w->t, "%s(x%s, x%s)%s", w->f.lines[to].name, x, x, place_text(w, own, own, &w->f.lines[to]));
    return tp_multiple_text(&w->t, c, all);
}

static const char *expectation_text(printer *w, const tp_formula *line)
{
    if (line->f < 0 || line->g < 0)
        return tp_expect_text(&w->t, line->f < 0 ? line->g : line->f, -1,
                              variance_text(w, line, line->f < 0 ? line->variance2 : line->variance, line->f < 0));
    const char *sigma = multiple_text(w, line->covariance);
    if (line->variance != line->covariance || line->variance2 != line->covariance) {
        w->unlike = true;
        sigma = tp_text(&w->t, "(%s, %s; %s)", variance_text(w, line, line->variance, false),
                        variance_text(w, line, line->variance2, true), sigma);
    }
    return tp_expect_text(&w->t, line->f, line->g, sigma);
}

/* Of a line whose positions are others than those of most: which. */
static const char *positions_text(printer *w, const tp_formula *line, const char *right)
{
    bool one = line->kind == TP_NUMBERS;
    const char *own =
        one ? has_positions(&line->of_a) ? tp_text(&w->t, "[%s]", indices_text(w, &line->of_a, &line->of_a, "")) : ""
            : place_text(w, &line->of_a, &line->of_b, line);
    if (!*own || (line->expects && line->f >= 0 && line->g >= 0 && !w->f.lines[line->covariance].zero))
        return right; /* or as the covariance's */
    if (!one && !w->positions)
        w->positions = own;
    return !one && strcmp(own, w->positions) == 0
               ? right
               : tp_text(&w->t, w->t.latex ? "%s \\mapsto %s" : "%s ↦ %s", own, right);
}

static const char *line_text(printer *w, const tp_formula *line)
{
    int own[MOST_OWN], n = own_variables(w, line, own);
    if (line->expects)
        return positions_text(w, line, expectation_text(w, line));
    const char *all = sum_text(w, line, own, n);
    if (line->op != AD_IDENTITY) {
        const char *power =
            ad_op_facts_of(line->op)->takes_p ? tp_text(&w->t, ", %s", tp_value_text(&w->t, line->p)) : "";
        all = tp_text(&w->t, w->t.latex ? "\\mathrm{%s}(%s%s)" : "%s(%s%s)", ad_op_name(line->op), all, power);
    }
    return positions_text(w, line, all);
}

/* ---- all of it ---- */
static int letter_of(const printer *w, const tp_formula *line)
{
    bool gaussian = tp_node_is_gaussian(w->f.plan, line->a) && tp_node_is_gaussian(w->f.plan, line->b);
    switch (line->kind) {
    case TP_NUMBERS:
        return TP_SCALAR_LETTER;
    case TP_SLOPES:
        return TP_DOT_LETTER;
    case TP_TANGENT:
        return TP_TANGENT_LETTER;
    default:
        return gaussian ? TP_SIGMA_LETTER : TP_KERNEL_LETTER;
    }
}

/* What a line is made of stands before it. */
static void name_lines(printer *w, int number, int *order)
{
    double c = 1;
    if (w->f.lines[number].zero)
        return;
    tp_formula *line = &w->f.lines[tp_resolve_line(&w->f, number, &c)];
    if (line->needed)
        return;
    line->needed = true;
    if (line->expects && line->f >= 0 && line->g >= 0)
        name_lines(w, line->covariance, order);
    if (line->expects && line->f >= 0)
        name_lines(w, line->variance, order);
    if (line->expects && line->g >= 0)
        name_lines(w, line->variance2, order);
    for (int side = 0; side < 2 && line->expects; side++) {
        int fn = side ? line->g : line->f;
        if (fn >= 0)
            w->t.fn_uses[fn]++;
    }
    for (int k = 0; k < line->n_terms; k++)
        for (int i = 0; i < line->terms[k].n_factors; i++)
            if (line->terms[k].factors[line->terms[k].n_factors - 1 - i].line >= 0)
                name_lines(w, line->terms[k].factors[line->terms[k].n_factors - 1 - i].line, order);
    w->numbers = w->numbers || line->kind == TP_NUMBERS;
    if (!line->root)
        line->name = tp_letter_name(&w->t, letter_of(w, line));
    order[w->total++] = (int)(line - w->f.lines);
}

/* A node's place in the source; NULL: it has none. */
static const ad_where *place_of(const printer *w, int node)
{
    const ad_where *where = &ad_node_of(w->f.plan->graph, node)->where;
    return where->file ? where : NULL;
}

static void put_body(printer *w, const int *order, FILE *stream)
{
    int printed = 0, lines = 0;
    for (int k = 0; k < w->total; k++)
        lines += !w->f.lines[order[k]].root;
    for (int k = 0; k < w->total; k++) {
        const tp_formula *line = &w->f.lines[order[k]];
        int at = line->a > line->b ? line->a : line->b;
        const ad_where *where = line->kind == TP_SLOPES ? NULL : place_of(w, at);
        if (line->root || !tp_is_shown(&w->t, printed++, lines, stream))
            continue;
        if (line->expects && line->f >= 0)
            tp_define_function(&w->t, line->f, stream);
        if (line->expects && line->g >= 0)
            tp_define_function(&w->t, line->g, stream);
        tp_put_broken(&w->t, line->name, line_text(w, line), where, stream);
    }
    for (int k = 0; k < 2; k++) {
        const tp_formula *line = &w->f.lines[k];
        tp_put_broken(&w->t, tp_kernel_name(&w->t, line->kind == TP_TANGENT ? TP_NTK : TP_NNGP, line->power),
                      line_text(w, line), place_of(w, line->a), stream);
    }
}

/* "offset3" of "offset" and 3; 1 of a name without a number. */
static int numbered(const char *name, const char *stem)
{
    size_t length = strlen(stem);
    char *end;
    if (strncmp(name, stem, length) != 0)
        return -1;
    if (!name[length])
        return 1;
    long number = strtol(name + length, &end, 10);
    return *end || name[length] == '0' || number < 2 || number > 1000000 ? -1 : (int)number;
}

/* All names of one size, "offset, …, offset6" of a series. */
static const char *names_text(printer *w, size_t size)
{
    const char *all = "";
    for (int k = 0; k < w->n_names; k++) {
        if (w->names[k].size != size)
            continue;
        const char *stem = w->names[k].name, *last = stem;
        size_t length = strcspn(stem, "0123456789");
        stem = tp_text(&w->t, "%.*s", (int)length, stem);
        int count = numbered(last, stem), series = 1;
        for (int i = k + 1; i < w->n_names && count > 0; i++)
            if (w->names[i].size == size && numbered(w->names[i].name, stem) == count + series) {
                last = w->names[i].name;
                series++;
            } else if (w->names[i].size == size) {
                break;
            }
        const char *first = w->names[k].name, *dots = w->t.latex ? "\\dots" : "…";
        bool long_one = series > 2;
        const char *text = w->t.latex ? tp_text(&w->t, "\\mathrm{%s}", tp_escaped_text(&w->t, first)) : first;
        if (long_one) {
            const char *end = w->t.latex ? tp_text(&w->t, "\\mathrm{%s}", tp_escaped_text(&w->t, last)) : last;
            text = tp_text(&w->t, "%s, %s, %s", text, dots, end);
        }
        all = tp_text(&w->t, "%s%s%s", all, *all ? ", " : "", text);
        for (int i = k + 1; i < w->n_names && long_one; i++)
            if (w->names[i].size == size && strcmp(w->names[i].name, last) == 0)
                k = i;
    }
    return all;
}

static const char *sizes_text(printer *w)
{
    const char *all = "";
    for (int k = 0; k < w->n_names; k++) {
        size_t size = w->names[k].size;
        int first = 0;
        while (w->names[first].size != size)
            first++;
        if (first < k)
            continue;
        const char *names = names_text(w, size);
        all = w->t.latex ? tp_text(&w->t, "%s%s$%s$ from 0 to %zu", all, *all ? "; " : "", names, size - 1)
                         : tp_text(&w->t, "%s%s%s from 0 to %zu", all, *all ? "; " : "", names, size - 1);
    }
    return all;
}

/* What the lines are, and what stands in them. */
static void put_head(printer *w, FILE *stream)
{
    bool latex = w->t.latex;
    const char *math = latex ? "$" : "", *sizes = sizes_text(w);
    if (latex)
        fprintf(stream, "{\\small\\raggedright\\noindent\n");
    fprintf(stream, "Each line is a function of two inputs %s", latex ? "$(x, x')$" : "(x, x′)");
    if (w->positions)
        fprintf(stream,
                " and of a position of each,\n%s%s%s unless others are given, and with E those of %s. A name without "
                "places is at the\nline's own; what is outside of the picture is 0",
                math, w->positions, math, latex ? "$\\Sigma$" : "Σ");
    fprintf(stream,
            latex
                ? ".\n$(u, v) \\sim \\Sigma$: centred Gaussians of variances $\\Sigma(x, x)$, $\\Sigma(x', x')$%s and "
                  "covariance $\\Sigma(x, x')$.\n"
                : ".\n(u, v) ~ Σ: centred Gaussians of variances Σ(x, x), Σ(x′, x′)%s and covariance Σ(x, x′).\n",
            w->positions ? ", one position twice," : "");
    if (w->unlike)
        fprintf(stream, "%s(A, B; C)%s: of variances A, B and covariance C.\n", math, math);
    if (w->numbers)
        fprintf(stream, "%ss(x)%s: a number of one input at a position.\n", math, math);
    if (w->brackets)
        fprintf(stream, "%s[a = b]%s is 1 where that holds, else 0.\n", math, math);
    if (w->exactly)
        fprintf(stream, "A place that is no whole number is outside of the picture.\n");
    if (*sizes)
        fprintf(stream, "Places: %s.\n", sizes);
    if (latex)
        fprintf(stream, "\\par}\n");
}

static int write_all(printer *w, FILE *stream, ad_error *error)
{
    char *body = NULL;
    size_t size = 0;
    tp_notation_begin(&w->t);
    int *order = ad_arena_alloc(w->t.arena, (size_t)w->f.n, sizeof *order);
    FILE *memory = order && !w->t.full ? open_memstream(&body, &size) : NULL;
    if (!memory)
        return ad_fail(error, "out of memory for the kernel's recursion");
    name_lines(w, 0, order);
    name_lines(w, 1, order);
    put_body(w, order, memory);
    int status = fclose(memory) ? ad_fail(error, "out of memory for the kernel's recursion") : 0;
    if (!status && !(status = tp_notation_end(&w->t, error))) {
        put_head(w, stream);
        tp_begin_quantities(&w->t, stream);
        fwrite(body, 1, size, stream);
        tp_end_quantities(&w->t, stream);
    }
    free(body);
    return status;
}

int tp_print_positions(const tp_program *program, FILE *stream, tp_style style, ad_error *error)
{
    tp_algebra algebra;
    tp_field_plan single, plan;
    int status = tp_algebra_new(&algebra, program, error);
    printer w = { .t = { .a = &algebra, .latex = style == TP_LATEX } };
    w.t.arena = status ? NULL : ad_arena_new(error);
    if (!status)
        status = !w.t.arena ? -1 : tp_check_orthogonal(program, error) ? 1 : 0;
    if (!status && (tp_plan_new(&single, &algebra, NULL) || tp_plan_new(&plan, &algebra, &single)))
        status = -1;
    if (!status) {
        w.f = (tp_formulas){ .plan = &plan, .arena = w.t.arena, .error = error };
        status = tp_make_formulas(&w.f);
    }
    if (!status)
        status = write_all(&w, stream, error);
    ad_arena_free(w.t.arena);
    tp_algebra_free(&algebra);
    return status;
}
