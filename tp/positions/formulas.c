/* formulas.c: the rules of plan.c with places in place of numbers: each pair of nodes that something else is made of
 * more than once, a product with a parameter, an expectation, is a line with the positions of both nodes as its
 * variables; what is linear between two such is taken apart into the line above. */
#include "tp/positions/formulas.h"

#include "autodiff/base/base.h"
#include "autodiff/trace/trace.h"

#include <stdarg.h>
#include <string.h>

enum { MOST_LINES = 2000, MOST_NESTED = 200, MOST_TERMS = 500 };

/* ---- refusals ---- */
/* TP_NO_FORM with a reason, the first one; -1 without memory. */
static int refuse(tp_formulas *f, int node, const char *why)
{
    const ad_node *n = ad_node_of(f->plan->graph, node);
    bool told = f->error->text[0] != 0; /* by the algebra: without memory, or what it refuses */
    if (told && !f->refused && !f->plan->algebra->refused)
        return -1;
    f->refused = true;
    if (!told)
        ad_fail(f->error, "%s:%d: %s: %s", n->where.file ? n->where.file : "", n->where.line, tp_node_name(n), why);
    return TP_NO_FORM;
}

static int no_form(tp_formulas *f, int node)
{
    return refuse(f, node, "the kernel's recursion over positions is not printed with this op");
}

/* ---- lines ---- */
static int own_indices(tp_formulas *f, int node, bool root, bool second, tp_indices *own)
{
    ad_shape axes = tp_fixed_axes(f->plan->graph, node, NULL);
    own->n = axes.rank;
    for (int i = 0; i < axes.rank; i++) {
        own->at[i] = tp_constant_index(0);
        if (root || ad_axis_fixed(f->plan->graph, axes.axes[i]) == 1)
            continue;
        int variable = tp_new_variable(f, axes.axes[i], second);
        if (variable < 0)
            return -1;
        own->at[i] = tp_variable_index(variable);
    }
    return 0;
}

/* The line of a pair of nodes; negative. */
static int line_of(tp_formulas *f, int kind, int a, int b, bool root)
{
    for (int k = f->n; k-- > 0 && !root;)
        if (f->lines[k].kind == kind && f->lines[k].a == a && f->lines[k].b == b && !f->lines[k].root)
            return k;
    if (f->n == MOST_LINES)
        return refuse(f, a, "the kernel's recursion over positions has too many lines to be printed");
    if (!ad_arena_grow(f->arena, (void **)&f->lines, f->n, &f->capacity, sizeof *f->lines))
        return tp_no_room(f->plan) < 0 ? -1 : 0;
    tp_formula *line = &f->lines[f->n];
    *line = (tp_formula){
        .kind = kind, .a = a, .b = b, .root = root, .f = -1, .g = -1, .op = AD_IDENTITY, .alias = -1, .times = 1
    };
    if (own_indices(f, a, root, false, &line->of_a))
        return -1;
    if (kind == TP_NUMBERS)
        line->of_b = line->of_a;
    else if (own_indices(f, b, root, true, &line->of_b))
        return -1;
    return f->n++;
}

/* ---- terms ---- */
/* Places of zeros that stand on a stride are no whole number of it. */
static void take_exactly(tp_formula_term *term, const tp_index *rest)
{
    for (int k = 0; k < term->n_factors; k++)
        for (int side = 0; side < 2; side++) {
            tp_indices *at = side ? &term->factors[k].b : &term->factors[k].a;
            for (int i = 0; i < at->n; i++) {
                tp_index floored = *rest;
                floored.kind = TP_FLOOR;
                if (tp_same_index(&at->at[i], &floored))
                    at->at[i].kind = TP_EXACTLY;
            }
        }
}

/* Bounds of a place, given that another one is from 0 to size - 1. */
static void narrow(const tp_index *index, const tp_index *known, size_t size, ptrdiff_t *low, ptrdiff_t *high)
{
    tp_index difference = *index;
    if (index->kind != TP_PLAIN || known->kind != TP_PLAIN || !tp_add_index(&difference, known, -1) || difference.n)
        return;
    ptrdiff_t last = difference.shift + (ptrdiff_t)size - 1;
    *low = difference.shift > *low ? difference.shift : *low;
    *high = last < *high ? last : *high;
}

/* ... by all places that the term's factors are at; whether one of these is `floored`. */
static bool narrow_by_factors(const tp_formulas *f, const tp_formula_term *t, const tp_index *index,
                              const tp_index *floored, ptrdiff_t *low, ptrdiff_t *high)
{
    bool found = false;
    for (int k = 0; k < t->n_factors; k++)
        for (int side = 0; side < 2; side++) {
            const tp_formula_factor *factor = &t->factors[k];
            const tp_indices *at = side ? &factor->b : &factor->a;
            const tp_formula *line = factor->line < 0 ? NULL : &f->lines[factor->line];
            int node = line ? (side ? line->b : line->a) : side ? factor->y : factor->x;
            ad_shape axes = tp_fixed_axes(f->plan->graph, node, NULL);
            for (int i = 0; i < at->n; i++) {
                tp_index here = at->at[i];
                size_t size = ad_axis_fixed(f->plan->graph, axes.axes[i]);
                found = found || tp_same_index(&here, floored);
                if (here.kind == TP_FLOOR || here.kind == TP_EXACTLY) {
                    size *= (size_t)here.by;
                    here.kind = TP_PLAIN;
                }
                narrow(index, &here, size, low, high);
            }
        }
    return found;
}

/* Conditions that others, and places outside of the picture, stand for already are left out. */
static void leave_out(const tp_formulas *f, tp_formula_term *term)
{
    for (int k = term->n_conditions - 1; k >= 0; k--) {
        const tp_condition c = term->conditions[k];
        tp_index floored = c.a;
        floored.kind = TP_FLOOR;
        if (c.kind != TP_WITHIN)
            continue;
        ptrdiff_t low, high;
        tp_index_range(f, &c.a, &low, &high);
        bool place = narrow_by_factors(f, term, &c.a, &floored, &low, &high);
        bool whole = c.size == 1 && c.a.kind == TP_MODULO && place;
        if (whole)
            take_exactly(term, &c.a);
        for (int i = 0; i < term->n_conditions; i++)
            if (i != k && term->conditions[i].kind == TP_WITHIN)
                narrow(&c.a, &term->conditions[i].a, term->conditions[i].size, &low, &high);
        if (!whole && !(low >= 0 && high < (ptrdiff_t)c.size))
            continue;
        term->n_conditions--;
        memmove(term->conditions + k, term->conditions + k + 1,
                (size_t)(term->n_conditions - k) * sizeof *term->conditions);
    }
}

/* The term under way goes into the line. */
static int emit(tp_formulas *f)
{
    tp_formula *line = &f->lines[f->line];
    if (!(fabs(f->term.c) > 0))
        return 0;
    if (line->n_terms == MOST_TERMS)
        return refuse(f, line->a, "the kernel's recursion over positions has too long sums to be printed");
    if (!ad_arena_grow(f->arena, (void **)&line->terms, line->n_terms, &line->capacity, sizeof *line->terms))
        return tp_no_room(f->plan) < 0 ? -1 : 0;
    tp_formula_term *term = &line->terms[line->n_terms];
    *term = f->term;
    term->conditions = ad_arena_alloc(f->arena, (size_t)f->term.n_conditions + 1, sizeof *term->conditions);
    term->factors = ad_arena_alloc(f->arena, (size_t)f->term.n_factors + 1, sizeof *term->factors);
    if (!term->conditions || !term->factors)
        return tp_no_room(f->plan) < 0 ? -1 : 0;
    memcpy(term->conditions, f->conditions, (size_t)f->term.n_conditions * sizeof *term->conditions);
    memcpy(term->factors, f->factors, (size_t)f->term.n_factors * sizeof *term->factors);
    line->n_terms++;
    leave_out(f, term);
    return 0;
}

/* One more factor of the term under way. */
static int add_factor(tp_formulas *f, const tp_formula_factor *factor)
{
    if (f->term.n_factors == TP_MOST_FACTORS)
        return refuse(f, f->lines[f->line].a, "the kernel's recursion over positions has too long products");
    f->factors[f->term.n_factors++] = *factor;
    return 0;
}

/* The term under way ends with a line. */
static int refer(tp_formulas *f, int kind, int a, const tp_indices *at_a, int b, const tp_indices *at_b)
{
    int line = line_of(f, kind, a, b, false);
    if (line < 0)
        return line;
    f->lines[line].stands = f->lines[line].stands || (f->named[a] && f->named[b]);
    int status = add_factor(f, &(tp_formula_factor){ .line = line, .a = *at_a, .b = *at_b });
    if (status)
        return status;
    status = emit(f);
    f->term.n_factors--;
    return status;
}

/* What a rule adds to the term under way ends with it. */
typedef struct {
    double c, power;
    int sums, conditions, factors;
} mark;

static mark mark_term(const tp_formulas *f)
{
    const tp_formula_term *t = &f->term;
    return (mark){ t->c, t->power, t->n_sums, t->n_conditions, t->n_factors };
}

static int back_to(tp_formulas *f, const mark *m, int status)
{
    f->term.c = m->c;
    f->term.power = m->power;
    f->term.n_sums = m->sums;
    f->term.n_conditions = m->conditions;
    f->term.n_factors = m->factors;
    return status;
}

/* ---- rules ---- */
static int expand(tp_formulas *f, int kind, int a, const tp_indices *at_a, int b, const tp_indices *at_b, bool start);
static int expand_number(tp_formulas *f, int id, const tp_indices *at, bool start);

static bool is_numbers(const tp_formulas *f)
{
    return f->lines[f->line].kind == TP_NUMBERS;
}

/* One side of the pair is linear in its operands. */
static int one_side(tp_formulas *f, int kind, int a, const tp_indices *at_a, int b, const tp_indices *at_b, bool second,
                    bool start)
{
    int id = second ? b : a;
    const ad_node *node = ad_node_of(f->plan->graph, id);
    double power, c = tp_factor_of(f->plan, id, &power);
    for (int k = 0; k < node->n_in; k++) {
        const mark before = mark_term(f);
        tp_indices within;
        int child, status = tp_step_in(f, id, k, second && !is_numbers(f), second ? at_b : at_a, &child, &within);
        if (status == TP_NO_FORM && k == 0 && !start) { /* as a line of its own its places are as simple as can be */
            back_to(f, &before, 0);
            return refer(f, kind, a, at_a, b, at_b);
        }
        if (status == TP_NO_FORM)
            return no_form(f, id);
        f->term.c *= node->op == AD_SUB && k == 1 ? -c : c;
        f->term.power += power;
        if (status == 1)
            status = second ? expand(f, kind, a, at_a, child, &within, false)
                            : expand(f, kind, child, &within, b, at_b, false);
        if (back_to(f, &before, status))
            return status;
    }
    return 0;
}

/* The input, or a function of its entries. */
static bool is_plain_data(const ad_graph *graph, int id)
{
    while (ad_node_of(graph, id)->n_in == 1 && ad_is_unary(ad_node_of(graph, id)->op))
        id = ad_node_of(graph, id)->in[0];
    return ad_node_of(graph, id)->op == AD_INPUT;
}

static int of_data(tp_formulas *f, int a, const tp_indices *at_a, int b, const tp_indices *at_b)
{
    int nodes[2] = { a, b };
    for (int side = 0; side < 2; side++)
        if (!is_plain_data(f->plan->graph, nodes[side]))
            return no_form(f, nodes[side]);
    int status = add_factor(f, &(tp_formula_factor){ .line = -1, .x = a, .y = b, .a = *at_a, .b = *at_b });
    if (status)
        return status;
    status = emit(f);
    f->term.n_factors--;
    return status;
}

/* Both nodes take the same entry of a parameter: 1; 0: they never do; negative. */
static int same_entry(tp_formulas *f, int a, const tp_indices *at_a, const tp_use *u, int b, const tp_indices *at_b,
                      const tp_use *v)
{
    ad_shape axes_a = tp_fixed_axes(f->plan->graph, a, NULL), axes_b = tp_fixed_axes(f->plan->graph, b, NULL);
    tp_indices first, second;
    if (!tp_move_indices(&axes_a, at_a, &u->fixed, &first) || !tp_move_indices(&axes_b, at_b, &v->fixed, &second) ||
        first.n != second.n)
        return no_form(f, a);
    for (int i = 0; i < first.n; i++) {
        int status = tp_require_equal(f, &first.at[i], &second.at[i]);
        if (status <= 0)
            return status < 0 ? no_form(f, a) : 0;
    }
    return 1;
}

static int of_biases(tp_formulas *f, int kind, int a, const tp_indices *at_a, int b, const tp_indices *at_b)
{
    tp_use u, v;
    if (tp_find_use(f->plan, a, NULL, &u) || tp_find_use(f->plan, b, NULL, &v))
        return no_form(f, a);
    if (u.param != v.param || (kind == TP_TANGENT && !f->plan->learns[u.param]))
        return 0;
    const mark before = mark_term(f);
    double power = 0;
    f->term.c *= kind == TP_TANGENT ? 1 : tp_variance_of_entry(f->plan, u.param, &power);
    f->term.power += power;
    int status = same_entry(f, a, at_a, &u, b, at_b, &v);
    return back_to(f, &before, status == 1 ? emit(f) : status);
}

/* The operand's indices: of axes that are summed those of the sum. */
static bool operand_indices(const tp_formulas *f, int product, const tp_indices *at, const tp_use *use,
                            const tp_indices *summed, int operand, tp_indices *within)
{
    ad_shape axes = tp_fixed_axes(f->plan->graph, product, NULL), inside = tp_fixed_axes(f->plan->graph, operand, NULL);
    ad_shape all = use->over;
    tp_indices of_all = *summed;
    for (int i = 0; i < axes.rank; i++)
        if (!ad_has(&use->over, axes.axes[i])) {
            if (all.rank == AD_MAX_RANK)
                return false;
            all.axes[all.rank++] = axes.axes[i];
            of_all.at[of_all.n++] = at->at[i];
        }
    return tp_move_indices(&all, &of_all, &inside, within);
}

static int of_products(tp_formulas *f, int kind, int a, const tp_indices *at_a, int b, const tp_indices *at_b)
{
    const tp_field_plan *p = f->plan;
    const ad_node *of_a = ad_node_of(p->graph, a), *of_b = ad_node_of(p->graph, b);
    int ma = tp_matrix_of(p, a), mb = tp_matrix_of(p, b);
    tp_use u, v;
    if (tp_find_use(p, of_a->in[ma], &of_a->over, &u) || tp_find_use(p, of_b->in[mb], &of_b->over, &v))
        return no_form(f, a);
    if (u.param != v.param)
        return 0;
    for (int i = 0; i < u.names.rank; i++) /* both meet W by the same of its axes */
        if (ad_has(&of_a->over, u.names.axes[i]) != ad_has(&of_b->over, v.names.axes[i]))
            return no_form(f, a);
    int x = of_a->in[!ma], y = of_b->in[!mb];
    if (!tp_meets_vector(p, x, &u) || !tp_meets_vector(p, y, &v))
        return no_form(f, a);
    double power, variance = tp_variance_of_entry(p, u.param, &power), width = u.width > 0 ? u.width : 1;
    double n_power = u.width > 0 ? 1 : 0;
    bool root = f->lines[f->line].root, own = kind == TP_TANGENT && p->learns[u.param];
    const mark before = mark_term(f);
    if (own && variance > 0 && !root) { /* its part without sigma^2 is the covariance over sigma^2 */
        f->term.c /= variance;
        f->term.power -= power;
        int status = back_to(f, &before, refer(f, TP_COVARIANCE, a, at_a, b, at_b));
        if (status)
            return status;
        own = false;
    }
    tp_indices summed = { 0 }, within_a, within_b;
    int status = same_entry(f, a, at_a, &u, b, at_b, &v);
    for (int i = 0; i < u.over.rank && status == 1; i++)
        if ((status = tp_sum_over(f, u.over.axes[i], false, &summed.at[summed.n++])) == TP_NO_FORM)
            no_form(f, a);
    if (status != 1)
        return back_to(f, &before, status);
    if (!operand_indices(f, a, at_a, &u, &summed, x, &within_a) ||
        !operand_indices(f, b, at_b, &v, &summed, y, &within_b))
        return no_form(f, a);
    f->term.c *= width;
    f->term.power += n_power;
    const double c = f->term.c;
    status = own ? expand(f, TP_COVARIANCE, x, &within_a, y, &within_b, false) : 0;
    f->term.c = c * variance;
    f->term.power += power;
    if (!status && variance > 0)
        status = expand(f, kind, x, &within_a, y, &within_b, false);
    return back_to(f, &before, status);
}

/* f(u) and g(v): an expectation has its own line, of a pair of nodes; a tangent kernel is E f' g' times u's and v's. */
static int of_functions(tp_formulas *f, int kind, int a, const tp_indices *at_a, int b, const tp_indices *at_b,
                        bool start)
{
    int fn[2], slopes[2], u = tp_function_of(f->plan, a, &fn[0]), v = u < 0 ? -1 : tp_function_of(f->plan, b, &fn[1]);
    tp_algebra *algebra = f->plan->algebra;
    if (v < 0)
        return no_form(f, a);
    if (kind == TP_COVARIANCE && !start)
        return refer(f, kind, a, at_a, b, at_b);
    const mark before = mark_term(f);
    bool dots = false;
    for (int side = 0; side < 2 && kind == TP_TANGENT; side++) {
        double value;
        if ((slopes[side] = tp_fn_derivative(algebra, fn[side])) < 0)
            return no_form(f, side ? b : a);
        if (tp_fn_is_number(algebra, slopes[side], &value)) {
            f->term.c *= value;
            slopes[side] = -1;
        }
        dots = dots || slopes[side] >= 0;
    }
    if (!(fabs(f->term.c) > 0))
        return back_to(f, &before, 0);
    int of = kind == TP_COVARIANCE ? f->line : dots ? line_of(f, TP_SLOPES, a, b, false) : -1;
    if (dots && of < 0)
        return of;
    if (of >= 0) {
        int covariance = line_of(f, TP_COVARIANCE, u, v, false), first = line_of(f, TP_COVARIANCE, u, u, false),
            second = line_of(f, TP_COVARIANCE, v, v, false);
        if (covariance < 0 || first < 0 || second < 0)
            return covariance < 0 ? covariance : first < 0 ? first : second;
        tp_formula *line = &f->lines[of];
        line->expects = true;
        line->f = kind == TP_COVARIANCE ? fn[0] : slopes[0];
        line->g = kind == TP_COVARIANCE ? fn[1] : slopes[1];
        line->covariance = covariance;
        line->variance = first;
        line->variance2 = second;
        f->lines[covariance].stands = f->lines[first].stands = f->lines[second].stands = true;
    }
    if (kind == TP_COVARIANCE)
        return 0;
    if (f->kept[u] && f->kept[v]) {
        int tangent = line_of(f, TP_TANGENT, u, v, false);
        if (tangent < 0)
            return tangent;
        f->lines[tangent].stands = true;
    }
    int status = dots ? add_factor(f, &(tp_formula_factor){ .line = of, .a = *at_a, .b = *at_b }) : 0;
    return back_to(f, &before, status ? status : expand(f, kind, u, at_a, v, at_b, false));
}

/* ---- what is weighed ---- */
static int of_factors(tp_formulas *f, int kind, int a, const tp_indices *at_a, int b, const tp_indices *at_b)
{
    const tp_field_plan *p = f->plan;
    int nodes[2] = { a, b }, x[2] = { a, b };
    const mark before = mark_term(f);
    for (int side = 0; side < 2; side++) {
        int inside, w;
        tp_weighing by = tp_weighing_of(p, nodes[side], &inside, &w);
        if (by != TP_BY_SCALAR && by != TP_BY_GAIN)
            continue;
        int param = by == TP_BY_GAIN ? p->program->params[w] : -1;
        ad_shape own = tp_fixed_axes(p->graph, nodes[side], NULL), within = tp_fixed_axes(p->graph, inside, NULL);
        if (!ad_shape_equal(&own, &within) || (param >= 0 && kind == TP_TANGENT && p->learns[param]))
            return no_form(f, nodes[side]);
        x[side] = inside;
        if (param >= 0) {
            f->term.c *= ad_node_of(p->graph, param)->init->mean;
            continue;
        }
        ad_shape axes = tp_fixed_axes(p->graph, w, NULL);
        tp_formula_factor factor = { .second = side && !is_numbers(f) };
        if (!tp_move_indices(&own, side ? at_b : at_a, &axes, &factor.a))
            return no_form(f, nodes[side]);
        factor.b = factor.a;
        factor.line = line_of(f, TP_NUMBERS, w, w, false);
        int status = factor.line < 0 ? factor.line : add_factor(f, &factor);
        if (status)
            return status;
    }
    return back_to(f, &before, expand(f, kind, x[0], at_a, x[1], at_b, false));
}

/* In all that has one mask, one and the same point of one sample counts 1 / keep. */
static int of_mask(tp_formulas *f, int kind, int a, const tp_indices *at_a, int b, const tp_indices *at_b, double keep)
{
    const mark before = mark_term(f);
    int status = expand(f, kind, a, at_a, b, at_b, false);
    f->term.c *= 1 / keep - 1;
    if (status || (!is_numbers(f) && tp_require_same_sample(f) < 0))
        return status ? status : no_form(f, a);
    for (int i = 0; i < at_a->n; i++) {
        status = tp_require_equal(f, &at_a->at[i], &at_b->at[i]);
        if (status <= 0)
            return status < 0 ? no_form(f, a) : back_to(f, &before, 0);
    }
    return back_to(f, &before, expand(f, kind, a, at_a, b, at_b, false));
}

static int of_weighed(tp_formulas *f, int kind, int a, const tp_indices *at_a, int b, const tp_indices *at_b)
{
    const tp_field_plan *p = f->plan;
    int x[2], mask[2];
    tp_weighing by[2] = { tp_weighing_of(p, a, &x[0], &mask[0]), tp_weighing_of(p, b, &x[1], &mask[1]) };
    for (int side = 0; side < 2; side++)
        if (by[side] == TP_BY_SCALAR || by[side] == TP_BY_GAIN)
            return of_factors(f, kind, a, at_a, b, at_b);
    if (by[0] != TP_BY_MASK || by[1] != TP_BY_MASK || mask[0] != mask[1]) { /* E m is 1 */
        bool second = by[0] != TP_BY_MASK || (by[1] == TP_BY_MASK && tp_shows(p, b, mask[0]));
        if (tp_shows(p, second ? a : b, mask[second]))
            return no_form(f, second ? b : a);
        x[!second] = second ? a : b;
        mask[!second] = -1;
    }
    for (int side = 0; side < 2; side++) {
        ad_shape own = tp_fixed_axes(p->graph, side ? b : a, NULL), inside = tp_fixed_axes(p->graph, x[side], NULL);
        if (!ad_shape_equal(&own, &inside))
            return no_form(f, side ? b : a);
    }
    return mask[0] == mask[1] ? of_mask(f, kind, x[0], at_a, x[1], at_b, p->program->keeps[mask[0]])
                              : expand(f, kind, x[0], at_a, x[1], at_b, false);
}

/* ---- pairs ---- */
static bool has_own_line(const tp_formulas *f, int a, int b)
{
    bool products = tp_matrix_of(f->plan, a) >= 0 && tp_matrix_of(f->plan, b) >= 0;
    return (f->kept[a] && f->kept[b]) || ((products || (f->named[a] && f->named[b])) && !f->lines[f->line].root);
}

static int by_rules(tp_formulas *f, int kind, int a, const tp_indices *at_a, int b, const tp_indices *at_b, bool start)
{
    const tp_field_plan *p = f->plan;
    bool data_a = p->program->data[a], data_b = p->program->data[b];
    bool linear_a = tp_node_is_linear(p, a), linear_b = tp_node_is_linear(p, b);
    if (p->program->widths[a] > 1 || p->program->widths[b] > 1)
        return no_form(f, a);
    if (kind == TP_TANGENT && (data_a || data_b))
        return 0;
    if (data_a != data_b)
        return no_form(f, data_a ? b : a);
    if (tp_is_zero_mean(p, a) || tp_is_zero_mean(p, b))
        return 0;
    bool later = !linear_a || (linear_b && b > a); /* the later one first */
    if (data_a)
        return linear_a || linear_b ? one_side(f, kind, a, at_a, b, at_b, later, start) : of_data(f, a, at_a, b, at_b);
    if (!start && has_own_line(f, a, b))
        return refer(f, kind, a, at_a, b, at_b);
    int x, w;
    tp_weighing by_a = tp_weighing_of(p, a, &x, &w), by_b = tp_weighing_of(p, b, &x, &w);
    bool masks = by_a == TP_BY_MASK || by_b == TP_BY_MASK,
         other = (by_a && by_a != TP_BY_MASK) || (by_b && by_b != TP_BY_MASK);
    if (other || (masks && !linear_a && !linear_b))
        return of_weighed(f, kind, a, at_a, b, at_b);
    if (linear_a || linear_b)
        return one_side(f, kind, a, at_a, b, at_b, later, start);
    bool bias_a = p->program->params[a] >= 0, bias_b = p->program->params[b] >= 0;
    bool product_a = tp_matrix_of(p, a) >= 0, product_b = tp_matrix_of(p, b) >= 0;
    if (bias_a && bias_b)
        return of_biases(f, kind, a, at_a, b, at_b);
    if (product_a && product_b)
        return of_products(f, kind, a, at_a, b, at_b);
    if ((bias_a || product_a) && (bias_b || product_b)) /* a parameter is one or the other, never both */
        return 0;
    return of_functions(f, kind, a, at_a, b, at_b, start);
}

static int expand(tp_formulas *f, int kind, int a, const tp_indices *at_a, int b, const tp_indices *at_b, bool start)
{
    if (f->depth >= MOST_NESTED)
        return refuse(f, a, "the kernel's recursion over positions is nested too deep to be printed");
    f->depth++;
    int status = by_rules(f, kind, a, at_a, b, at_b, start);
    f->depth--;
    return status;
}

/* ---- numbers of one sample ---- */
static int of_moment(tp_formulas *f, int id, const tp_indices *at)
{
    int x, y;
    ad_shape along, own = tp_fixed_axes(f->plan->graph, id, NULL);
    double ratio;
    if (!tp_moment_of(f->plan, id, &x, &y, &along, &ratio))
        return no_form(f, id);
    const mark before = mark_term(f);
    tp_indices summed = { 0 }, all = *at, within[2];
    for (int i = 0; i < along.rank; i++) {
        int status = tp_sum_over(f, along.axes[i], false, &summed.at[summed.n++]);
        if (status < 0)
            return status == TP_NO_FORM ? no_form(f, id) : status;
        if (own.rank == AD_MAX_RANK)
            return no_form(f, id);
        all.at[all.n++] = summed.at[i];
        own.axes[own.rank++] = along.axes[i];
    }
    for (int side = 0; side < 2; side++) {
        ad_shape axes = tp_fixed_axes(f->plan->graph, side ? y : x, NULL);
        if (!tp_move_indices(&own, &all, &axes, &within[side]))
            return no_form(f, id);
    }
    f->term.c *= ratio;
    f->term.power += 1;
    return back_to(f, &before, expand(f, TP_COVARIANCE, x, &within[0], y, &within[1], false));
}

static int refer_number(tp_formulas *f, int id, const tp_indices *at)
{
    return refer(f, TP_NUMBERS, id, at, id, at);
}

static int expand_number(tp_formulas *f, int id, const tp_indices *at, bool start)
{
    const tp_field_plan *p = f->plan;
    const ad_node *node = ad_node_of(p->graph, id);
    double power, c = tp_factor_of(p, id, &power);
    tp_formula *line = &f->lines[f->line];
    if (p->program->data[id] || p->program->params[id] >= 0 || p->program->widths[id] > 0 || !(c > 0))
        return no_form(f, id);
    if (tp_sums_width(p, id))
        return of_moment(f, id, at);
    switch (node->op) {
    case AD_CONSTANT:
        if (node->c < 0)
            return no_form(f, id);
        c = f->term.c;
        f->term.c *= node->c;
        int status = emit(f);
        f->term.c = c;
        return status;
    case AD_RSQRT:
    case AD_SQRT:
    case AD_POWER:
        if (!start)
            return refer_number(f, id, at);
        line->op = node->op;
        line->p = node->c;
        return expand_number(f, node->in[0], at, false);
    default:
        break;
    }
    if (!tp_number_is_linear(p, id))
        return no_form(f, id);
    for (int k = 0; k < node->n_in; k++) {
        const mark before = mark_term(f);
        tp_indices within;
        int child, status = tp_step_in(f, id, k, false, at, &child, &within);
        if (status == TP_NO_FORM && k == 0 && !start) {
            back_to(f, &before, 0);
            return refer_number(f, id, at);
        }
        if (status == TP_NO_FORM)
            return no_form(f, id);
        f->term.c *= c;
        f->term.power += power;
        if (status == 1)
            status = expand_number(f, child, &within, false);
        if (back_to(f, &before, status))
            return status;
    }
    return 0;
}

/* ---- all lines ---- */
/* Arguments of functions, and sums that several nodes take; and sums over positions and products with their numbers. */
static int find_kept(tp_formulas *f)
{
    const tp_program *program = f->plan->program;
    int *uses = ad_arena_alloc(f->arena, (size_t)program->n_nodes + 1, sizeof *uses);
    f->kept = ad_arena_alloc(f->arena, (size_t)program->n_nodes + 1, sizeof *f->kept);
    f->named = ad_arena_alloc(f->arena, (size_t)program->n_nodes + 1, sizeof *f->named);
    if (!uses || !f->kept || !f->named)
        return tp_no_room(f->plan) < 0 ? -1 : 0;
    for (int id = 0; id < program->forward; id++) {
        const ad_node *node = ad_node_of(f->plan->graph, id);
        int fn, u = program->lives[id] ? tp_function_of(f->plan, id, &fn) : -1;
        if (u >= 0 && u != id)
            f->kept[u] = true;
        for (int k = 0; k < node->n_in && program->lives[id]; k++)
            uses[node->in[k]]++;
    }
    for (int id = 0; id < program->forward; id++) {
        const ad_node *node = ad_node_of(f->plan->graph, id);
        int inside;
        ad_axis axis;
        ptrdiff_t shift;
        bool vector = program->lives[id] && program->learns[id] && program->widths[id] == 1;
        bool parts = node->op == AD_CONCAT && !tp_is_circular(f->plan->graph, node, &inside, &axis, &shift);
        bool sum = node->op == AD_ADD || node->op == AD_SUB || node->op == AD_SUM || parts;
        f->kept[id] = f->kept[id] || (sum && uses[id] > 1 && vector);
        int in = node->n_in ? node->in[0] : id;
        bool renames = node->op == AD_SCALE || node->op == AD_RELABEL || node->op == AD_IDENTITY;
        bool above = renames && uses[in] == 1 && (f->named[in] || tp_matrix_of(f->plan, in) >= 0);
        f->named[id] = (node->op == AD_SUM || above) && vector;
        f->named[in] = f->named[in] && !(above && vector);
    }
    return 0;
}

static int make_line(tp_formulas *f, int number)
{
    const tp_formula line = f->lines[number];
    f->line = number;
    f->term = (tp_formula_term){ .c = 1, .conditions = f->conditions, .factors = f->factors };
    f->depth = 0;
    if (line.kind == TP_SLOPES)
        return 0;
    return line.kind == TP_NUMBERS ? expand_number(f, line.a, &line.of_a, true)
                                   : expand(f, line.kind, line.a, &line.of_a, line.b, &line.of_b, true);
}

int tp_make_formulas(tp_formulas *f)
{
    int output = f->plan->program->output.id;
    int status = find_kept(f);
    if (!status && !tp_uses_alike(f->plan))
        status = refuse(f, output,
                        "a parameter is used in several ways: the kernel's recursion over positions is not "
                        "printed");
    for (int kind = TP_COVARIANCE; kind <= TP_TANGENT && !status; kind++)
        status = line_of(f, kind, output, output, true) < 0 ? -1 : 0;
    for (int k = 0; k < f->n && !status; k++)
        status = make_line(f, k);
    if (!status && f->error->text[0] && !f->plan->algebra->refused)
        status = -1; /* memory was out where another way was found */
    if (!status)
        return tp_settle_formulas(f);
    return status == TP_NO_FORM ? 1 : -1;
}
