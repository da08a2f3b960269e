/* coordinate.c: the coordinate of a node, op by op. */
#include "tp/gauss/gauss.h"
#include "tp/symbolic/polynomial.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* The fixed axes of a node at the indices that `from` gives, in the node's order; others (summed ones) are left out. */
static tp_point point_within(const tp_algebra *algebra, int node, const tp_point *from)
{
    tp_point point;
    memset(&point, 0, sizeof point);
    const ad_shape *shape = &ad_node_of(algebra->graph, node)->shape;
    for (int i = 0; i < shape->rank; i++) {
        int index = tp_point_index(from, shape->axes[i]);
        if (index >= 0)
            tp_point_set(&point, shape->axes[i], index);
    }
    return point;
}

static bool is_scalar(const tp_coordinate *x)
{
    for (int i = 0; i < x->n; i++)
        if (x->terms[i].n > 0)
            return false;
    return true;
}

/* sum (-1: none yet) plus the terms of x, functions of multiples of *lin (-1: any; the first one's then). Linear terms
 * may be left out. -1 if a term is another function, -2 without memory. */
static int add_univariate(tp_algebra *algebra, const tp_coordinate *x, bool without_linear, int *lin, int sum)
{
    for (int i = 0; i < x->n; i++) {
        const tp_term *t = &x->terms[i];
        double ratio = 1;
        if (without_linear && tp_term_is_linear(algebra, t))
            continue;
        if (t->n == 1 && *lin < 0)
            *lin = t->factors[0].lin;
        if (t->n > 1 || (t->n == 1 && !tp_lin_multiple(algebra, *lin, t->factors[0].lin, &ratio)))
            return -1;
        int fn = t->n ? tp_fn_stretched(algebra, t->factors[0].fn, ratio) : -1;
        int part = t->n ? tp_fn_times_scalar(algebra, t->c, t->scalar, fn) : tp_fn_of_scalar(algebra, t->c, t->scalar);
        if ((sum = tp_fn_sum(algebra, sum, part)) < 0)
            return -2;
    }
    return sum;
}

/* x as a function of one lin: its function, and *lin, that of a nonlinear term as it is; -1 if it is a function of
 * several, -2 without memory. A linear combination, whatever scalars are in it, is a lin itself. */
static int as_univariate(tp_algebra *algebra, const tp_coordinate *x, int *lin)
{
    bool linear = true;
    *lin = -1;
    for (int i = 0; i < x->n && linear; i++) {
        linear = x->terms[i].n == 0 || tp_term_is_linear(algebra, &x->terms[i]);
        *lin = linear ? -1 : x->terms[i].factors[0].lin;
    }
    int sum = linear ? -1 : add_univariate(algebra, x, false, lin, -1);
    if (sum != -1)
        return sum;
    *lin = tp_linear_part(algebra, x);
    return *lin < 0 ? *lin : add_univariate(algebra, x, true, lin, algebra->variable);
}

/* The quantity that a coordinate without G-vars is in the limit; -1 with an error. */
static int as_scalar(tp_algebra *algebra, const tp_coordinate *x)
{
    int total = TP_Q_ZERO;
    for (int i = 0; i < x->n && total >= 0; i++)
        if (x->terms[i].power > -1e-12)
            total = tp_q_plus(algebra, 1, total, x->terms[i].c, x->terms[i].scalar);
    return total;
}

bool tp_is_cut(const tp_algebra *algebra, int node)
{
    ad_op op = ad_node_of(algebra->graph, node)->op;
    return ad_is_unary(op) || op == AD_DIV || op == AD_LOGSUMEXP || op == AD_SOFTMAX || op == AD_MAX || op == AD_ARGMAX;
}

/* What jumps leave out of it is as large as what is known of it. */
static int refuse_jump(tp_algebra *algebra, const tp_coordinate *x)
{
    algebra->cut = true;
    return tp_refuse(
        algebra, x->rest_node,
        "what vanishes in its argument moves it across a jump, of order n^%g in the mean square, and there "
        "is no rule for it",
        2 * x->square);
}

/* Can a function be taken of x in the limit? Not of what grows with n, nor of what fluctuates at order one. */
static int check_argument(tp_algebra *algebra, int id, const tp_coordinate *x)
{
    double top = tp_coordinate_top(x);
    bool cut = top <= 1e-12 && x->rest > -1e-9 && tp_is_cut(algebra, x->rest_node);
    algebra->no_limit |= !cut && (top > 1e-12 || x->rest > -1e-9);
    algebra->grows |= top > 1e-12;
    algebra->cut |= cut;
    if (top > 1e-12)
        return tp_refuse(algebra, id,
                         "its argument grows like n^%g, so that it grows as a power of n or saturates, and there is no "
                         "limit of it: a scale of n^-%g before it keeps its argument of order one",
                         top, top);
    if (cut)
        return tp_refuse(
            algebra, x->rest_node,
            "what vanishes in its argument is of order n^%g in the %s of line %d, and there is no rule for "
            "it",
            fabs(x->rest) > 1e-9 ? x->rest : 0, ad_op_name(ad_node_of(algebra->graph, id)->op),
            ad_node_of(algebra->graph, id)->where.line);
    if (x->square > x->rest + 1e-9 && x->square > -1e-9)
        return refuse_jump(algebra, x);
    if (x->rest > -1e-9)
        return tp_refuse(algebra, x->rest_node,
                         "its fluctuations, of order n^%g, enter the %s of line %d: the limit is "
                         "not a number",
                         fabs(x->rest) > 1e-9 ? x->rest : 0, ad_op_name(ad_node_of(algebra->graph, id)->op),
                         ad_node_of(algebra->graph, id)->where.line);
    return 0;
}

/* x without what vanishes with n, which is left out of a function's argument. */
static int limit_part(tp_algebra *algebra, int id, int x)
{
    tp_builder b = TP_EMPTY;
    const tp_coordinate *c = tp_coordinate_at(algebra, x);
    tp_leave(&b, c->rest, c->rest_node);
    tp_leave_square(&b, c->square);
    for (int i = 0; i < c->n; i++) {
        if (c->terms[i].power < -1e-12)
            tp_leave(&b, c->terms[i].power, id);
        else if (!tp_push_term(algebra, &b, &c->terms[i]))
            return tp_lacks_memory(algebra);
    }
    return tp_finish(algebra, &b);
}

/* A function of a coordinate without G-vars. */
static int function_of_scalar(tp_algebra *algebra, int id, tp_fn outer, const tp_coordinate *x)
{
    outer.a = algebra->variable;
    int fn = tp_fn_intern(algebra, outer), argument = as_scalar(algebra, x);
    if (fn < 0)
        return tp_lacks_memory(algebra);
    int value = argument < 0 ? -1 : tp_q_function(algebra, fn, argument);
    if (value >= 0 && isfinite(x->rest) && tp_fn_jumps(algebra, fn))
        value = tp_q_jump(algebra, value, id);
    return value < 0 ? -1 : tp_coordinate_scalar(algebra, value);
}

/* f(a x) = a^degree f(x) for a > 0? A square is a product of coordinates. */
static bool is_homogeneous(ad_op op, double p, double *degree)
{
    *degree = ad_op_degree(op, p);
    return isfinite(*degree) && op != AD_SQUARE;
}

/* The lin that is one G-var; -1 without memory. */
static int lin_of_gvar(tp_algebra *algebra, int id)
{
    union {
        tp_lin lin;
        unsigned char bytes[sizeof(tp_lin) + sizeof(tp_part)];
    } one;
    memset(&one, 0, sizeof one);
    one.lin.n = 1;
    tp_part part;
    memset(&part, 0, sizeof part);
    part.c = 1;
    part.gvar = id;
    memcpy(one.bytes + offsetof(tp_lin, parts), &part, sizeof part);
    return id < 0 ? -1 : tp_intern(&algebra->lins, &one, sizeof(tp_lin) + sizeof(tp_part));
}

/* Is a coordinate a polynomial in functions of Gaussians with numbers as coefficients, none of them a mask? */
static bool may_nest(const tp_algebra *algebra, const tp_coordinate *x)
{
    bool may = !isfinite(x->rest);
    for (int i = 0; i < x->n && may; i++) {
        may = x->terms[i].scalar == TP_Q_ONE;
        for (int m = 0; m < x->terms[i].n && may; m++) {
            const tp_lin *lin = tp_lin_at(algebra, x->terms[i].factors[m].lin);
            for (int k = 0; k < lin->n && !tp_nested(algebra, x->terms[i].factors[m].lin); k++)
                may = may && !(algebra->program->keeps[tp_gvar_at(algebra, lin->parts[k].gvar)->param] > 0);
        }
    }
    return may;
}

/* The lin that stands for a coordinate; -1 where there is none. */
static int nested_lin(tp_algebra *algebra, int x)
{
    tp_gvar gvar;
    if (!algebra->by_groups || algebra->rules == TP_RULES_GENERAL || !may_nest(algebra, tp_coordinate_at(algebra, x)))
        return -1;
    memset(&gvar, 0, sizeof gvar);
    gvar.param = gvar.position = -1;
    gvar.argument = TP_OF_COORDINATE;
    gvar.node = x;
    return lin_of_gvar(algebra, tp_intern(&algebra->gvars, &gvar, sizeof gvar));
}

/* A function of one lin as a coordinate; those of degree 0 or 1 are sums of 1 and the step or the sign, or of x and
 * relu, and what is nested of them is as short. */
static int coordinate_of_function(tp_algebra *algebra, int lin, int fn)
{
    tp_builder b = TP_EMPTY;
    tp_halves h;
    tp_term term = { .c = 1, .n = 1 }, rest = { .scalar = TP_Q_ONE };
    term.factors[0] = (tp_factor){ lin, fn };
    if (fn < 0)
        return tp_lacks_memory(algebra);
    if (tp_fn_at(algebra, fn)->a == algebra->variable || !tp_fn_halves(algebra, fn, &h))
        return tp_coordinate_term(algebra, &term);
    bool middle = !(fabs(h.left + h.right - 2 * h.zero) > 0), left = !(fabs(h.left - h.zero) > 0);
    if (h.degree == 0 && !middle && !left)
        return tp_coordinate_term(algebra, &term);
    int op = h.degree ? AD_RELU : left ? AD_STEP : AD_SIGN;
    term.factors[0].fn = tp_fn_make(algebra, op, 0, algebra->variable, 0);
    term.c = h.degree ? h.left + h.right : left ? h.right - h.left : (h.right - h.left) / 2;
    if (h.degree) {
        rest = (tp_term){ .c = -h.left, .n = 1 };
        rest.factors[0] = (tp_factor){ lin, algebra->variable };
    } else {
        rest.c = h.zero;
    }
    if (term.factors[0].fn < 0 || !tp_push_term(algebra, &b, &rest) || !tp_push_term(algebra, &b, &term))
        return tp_lacks_memory(algebra);
    return tp_finish(algebra, &b);
}

/* What a polynomial leaves out of a function of x, of this order at 0. */
static int left_by_polynomial(tp_algebra *algebra, int id, int order, int x)
{
    tp_builder b = TP_EMPTY;
    const tp_coordinate *c = tp_coordinate_at(algebra, x);
    if (tp_is_left_by_jump(c))
        return tp_refuse(algebra, id, "a power of what moves an argument across a jump has no exact rule");
    double size = fmax(tp_coordinate_top(c), c->rest);
    if (size > -INFINITY)
        tp_leave(&b, order * size, id);
    return tp_finish(algebra, &b);
}

static int unary_of(tp_algebra *algebra, int id, const ad_node *node, ad_op op, double p, int x)
{
    if (op == AD_NEG)
        return tp_coordinate_scaled(algebra, x, -1, 0);
    if (op == AD_IDENTITY)
        return x;
    if (tp_left_order(node) >= 0)
        return left_by_polynomial(algebra, id, tp_left_order(node), x);
    double top = tp_coordinate_top(tp_coordinate_at(algebra, x)), degree;
    if (isfinite(top) && fabs(top) > 1e-12 && is_homogeneous(op, p, &degree)) {
        int order_one = tp_coordinate_scaled(algebra, x, 1, -top);
        int y = order_one < 0 ? -1 : unary_of(algebra, id, node, op, p, order_one);
        return y < 0 ? -1 : tp_coordinate_scaled(algebra, y, 1, top * degree);
    }
    if (isfinite(top) && fabs(top) > 1e-12 && op == AD_SQUARE)
        return tp_coordinate_product(algebra, id, x, x);
    bool of_rest = tp_coordinate_at(algebra, x)->n == 0; /* all there is are fluctuations, which no sample has right */
    if (check_argument(algebra, id, tp_coordinate_at(algebra, x)) || (x = limit_part(algebra, id, x)) < 0)
        return -1;
    const tp_coordinate *c = tp_coordinate_at(algebra, x);
    if (c->n == 0 && isfinite(c->rest) && tp_breaks_at_zero(op, p, node->function)) {
        bool cut = tp_is_cut(algebra, c->rest_node);
        algebra->no_limit |= of_rest && !cut;
        algebra->cut |= cut;
        return tp_refuse(algebra, id,
                         "its argument vanishes like n^%g, and it is not continuous at 0: the limit is that of "
                         "what vanishes, %s",
                         c->rest, of_rest && !cut ? "which is random" : "for which there is no rule");
    }
    if (op == AD_SQUARE && (c->n > 1 || is_scalar(c)))
        return tp_coordinate_product(algebra, id, x, x);
    tp_fn outer = { .op = (int)op, .p = p, .order = node->order, .function = node->function };
    int result, fn = -1;
    if (is_scalar(c))
        result = function_of_scalar(algebra, id, outer, c);
    else {
        int lin;
        outer.a = as_univariate(algebra, c, &lin);
        if (outer.a == -2)
            return tp_lacks_memory(algebra);
        if (outer.a == -1 && c->n == 1 && op == AD_SQUARE)
            return tp_coordinate_product(algebra, id, x, x);
        if (outer.a == -1 && (lin = nested_lin(algebra, x)) < 0)
            return tp_refuse(algebra, id, "a function of several G-vars together has no exact rule here");
        outer.a = outer.a == -1 ? algebra->variable : outer.a;
        result = coordinate_of_function(algebra, lin, fn = tp_fn_intern(algebra, outer));
    }
    tp_builder b = TP_EMPTY;
    if (result < 0 || !tp_push_scaled(algebra, &b, result, 1, 0))
        return -1;
    bool jumps = fn >= 0 && tp_fn_jumps(algebra, fn); /* so large a share is taken to the other side */
    tp_leave(&b, c->rest, jumps ? id : c->rest_node); /* else of the order that it has in the argument */
    tp_leave_square(&b, jumps ? c->rest / 2 : c->square);
    return tp_finish(algebra, &b);
}

/* ---- G-vars ---- */
static int of_gvar(tp_algebra *algebra, const tp_gvar *gvar, double c, double power)
{
    int lin = lin_of_gvar(algebra, tp_intern(&algebra->gvars, gvar, sizeof *gvar));
    tp_term term = { .c = c, .power = power, .n = 1 };
    term.factors[0] = (tp_factor){ lin, algebra->variable };
    return lin < 0 ? tp_lacks_memory(algebra) : tp_coordinate_term(algebra, &term);
}

/* The fixed axes of a parameter at the point that its renamed axes have. */
static tp_point param_point(const tp_algebra *algebra, int param, const ad_shape *names, const tp_point *point)
{
    tp_point own;
    memset(&own, 0, sizeof own);
    const ad_shape *shape = &ad_node_of(algebra->graph, param)->shape;
    for (int i = 0; i < shape->rank; i++) {
        int index = tp_point_index(point, names->axes[i]);
        if (index >= 0)
            tp_point_set(&own, shape->axes[i], index);
    }
    return own;
}

/* The parameter's own vector: omega[., index], with deviation c n^p taken out so that the G-var has variance one. */
static int param_vector(tp_algebra *algebra, int id, int param, const tp_point *where)
{
    const ad_node *node = ad_node_of(algebra->graph, param);
    const ad_init *init = node->init;
    if (algebra->program->widths[param] > 1)
        return tp_refuse(algebra, id, "the matrix %s is used coordinate by coordinate", node->name);
    int constant = tp_coordinate_number(algebra, init->mean);
    if (constant < 0 || !(init->deviation > 0))
        return constant;
    double power, base = tp_axis_factor(algebra, init->axis, &power);
    tp_gvar gvar;
    memset(&gvar, 0, sizeof gvar);
    gvar.param = param;
    gvar.position = -1;
    gvar.argument = TP_OF_INDEX;
    gvar.where = *where;
    double dp = init->axis.id ? init->deviation_power : 0;
    int own = of_gvar(algebra, &gvar, init->deviation * pow(base, dp), power * dp);
    return own < 0 ? -1 : tp_coordinate_sum(algebra, own, 1, constant, 1);
}

/* The G-var of a matrix and a vector: y = n^top times one of order one, whose product is. What y leaves out, its
 * product leaves out. */
static int of_vector(tp_algebra *algebra, int id, tp_gvar gvar, int vector, double c, double power)
{
    int node;
    const tp_coordinate *v = tp_coordinate_at(algebra, vector);
    double top = tp_coordinate_top(v), rest = tp_coordinate_rest(algebra, v, &node);
    tp_builder order_one = TP_EMPTY, b = TP_EMPTY;
    tp_leave(&b, rest + power, node);
    tp_leave_square(&b, v->square + power);
    if (v->n > 0) {
        for (int i = 0; i < v->n; i++) {
            tp_term t = v->terms[i];
            t.power -= top;
            if (!tp_push_term(algebra, &order_one, &t))
                return tp_lacks_memory(algebra);
        }
        gvar.argument = TP_OF_VECTOR;
        gvar.node = tp_finish(algebra, &order_one);
        int product = gvar.node < 0 ? -1 : of_gvar(algebra, &gvar, c, power + top);
        if (product < 0 || !tp_push_scaled(algebra, &b, product, 1, 0))
            return -1;
        if (algebra->rules == TP_RULES_GENERAL) {
            int response = tp_response(algebra, id, &gvar, gvar.node);
            if (response < 0 || !tp_push_scaled(algebra, &b, response, c, power + top))
                return -1;
        }
    }
    return tp_finish(algebra, &b);
}

/* A parameter under renamings as a vector of its own, at a point of the node's axes. */
static int vector_of(tp_algebra *algebra, int id, int node, const tp_point *point)
{
    ad_shape names;
    int param = tp_peel(algebra->graph, node, &names);
    tp_point own = param_point(algebra, param, &names, point);
    return param_vector(algebra, id, param, &own);
}

/* A parameter over a fixed axis of constants: a sum of its own vectors. */
static int sum_of_vectors(tp_algebra *algebra, int id, int w, int y, ad_axis axis, const tp_point *y_point,
                          const tp_point *point)
{
    int total = tp_coordinate_number(algebra, 0);
    for (int k = 0; total >= 0 && k < (int)ad_axis_fixed(algebra->graph, axis); k++) {
        tp_point at = *y_point, own = *point;
        tp_point_set(&at, axis, k);
        int factor = tp_coordinate_of(algebra, y, point_within(algebra, y, &at));
        if (factor < 0)
            return -1;
        if (tp_coordinate_at(algebra, factor)->n == 0 && !isfinite(tp_coordinate_at(algebra, factor)->rest))
            continue;
        tp_point_set(&own, axis, k);
        int vector = vector_of(algebra, id, w, &own);
        int part = vector < 0 ? -1 : tp_coordinate_product(algebra, id, factor, vector);
        total = part < 0 ? -1 : tp_coordinate_sum(algebra, total, 1, part, 1);
    }
    return total;
}

static int nested_number(const tp_algebra *algebra, int lin)
{
    return tp_gvar_at(algebra, tp_lin_at(algebra, lin)->parts[0].gvar)->node;
}

/* Is a vector made of the parameter's own rows, coordinate by coordinate? Then it is no independent draw that meets
 * them: the sum over the width is an average like any other, E by Stein's lemma, and a fluctuation (THEORY section
 * 9). */
static bool made_of_rows(const tp_algebra *algebra, int vector, int param)
{
    const tp_coordinate *x = tp_coordinate_at(algebra, vector);
    for (int i = 0; i < x->n; i++)
        for (int m = 0; m < x->terms[i].n; m++) {
            const int of = x->terms[i].factors[m].lin;
            if (tp_nested(algebra, of) && made_of_rows(algebra, nested_number(algebra, of), param))
                return true;
            const tp_lin *lin = tp_lin_at(algebra, of);
            for (int k = 0; k < lin->n; k++) {
                const tp_gvar *g = tp_gvar_at(algebra, lin->parts[k].gvar);
                if (g->param == param && g->argument != TP_OF_VECTOR)
                    return true;
            }
        }
    return false;
}

/* u = contract(y, W) over one axis, others being at the point, W a parameter under renamings: a G-var of variance E y^2
 * or |x|^2; deviation and size of the axis are taken out as c n^p. */
static int product_over(tp_algebra *algebra, int id, int w, int y, ad_axis axis, const tp_point *point)
{
    ad_shape names;
    const int param = tp_peel(algebra->graph, w, &names);
    const ad_node *matrix = ad_node_of(algebra->graph, param);
    const ad_init *init = matrix->init;
    tp_point y_point = point_within(algebra, y, point);
    bool wide = tp_is_width(algebra->graph, axis);
    if (algebra->program->widths[param] == 1 && wide) {
        int vector = tp_coordinate_of(algebra, y, y_point);
        if (vector < 0)
            return -1;
        if (fabs(init->mean) > 0 || made_of_rows(algebra, vector, param)) /* of another mean, or of its own rows */
            return tp_width_sum(algebra, id, axis, vector, vector_of(algebra, id, w, point));
    }
    if (fabs(init->mean) > 0)
        return tp_refuse(algebra, id, "%s has mean %g: an A-var has mean zero", matrix->name, init->mean);
    if (!(init->deviation > 0))
        return tp_coordinate_number(algebra, 0);
    tp_gvar gvar;
    memset(&gvar, 0, sizeof gvar);
    gvar.param = param;
    gvar.where = param_point(algebra, param, &names, point);
    for (int i = 0; i < names.rank; i++)
        if (ad_same(names.axes[i], axis))
            gvar.position = i;
    double axis_power, size = tp_axis_factor(algebra, init->axis, &axis_power);
    double dp = init->axis.id ? init->deviation_power : 0;
    double c = init->deviation * pow(size, dp), power = axis_power * dp;
    if (wide) {
        int vector = tp_coordinate_of(algebra, y, y_point);
        double n_power, ratio = tp_axis_factor(algebra, axis, &n_power);
        return vector < 0 ? -1 : of_vector(algebra, id, gvar, vector, c * sqrt(ratio), power + n_power / 2);
    }
    int data = tp_without_scale(algebra, y, &c, &power);
    if (!tp_is_data(algebra, data))
        return sum_of_vectors(algebra, id, w, y, axis, &y_point, point);
    gvar.argument = TP_OF_DATA;
    gvar.from = y_point;
    gvar.node = tp_data_source(algebra, data, axis, &gvar.from);
    gvar.axis = axis;
    return gvar.node < 0 ? tp_coordinate_number(algebra, 0) : of_gvar(algebra, &gvar, c, power);
}

/* The same over several axes, of which one may be a width: each entry of the others has a row or a matrix of its own,
 * as each offset of a filter has. */
static int matrix_product(tp_algebra *algebra, int id, int w, int y, const ad_node *node, const tp_point *given)
{
    ad_axis axis = node->over.axes[node->over.rank - 1];
    tp_point point = *given, entry;
    memset(&entry, 0, sizeof entry);
    for (int i = 0; i < node->over.rank; i++)
        if (tp_is_width(algebra->graph, node->over.axes[i]))
            axis = node->over.axes[i];
    for (int i = 0; i < node->over.rank; i++)
        if (!ad_same(node->over.axes[i], axis) && ad_axis_kind(algebra->graph, node->over.axes[i]) != AD_FIXED)
            return tp_refuse(algebra, id, "a product over two axes that are not fixed");
        else if (!ad_same(node->over.axes[i], axis))
            tp_point_set(&entry, node->over.axes[i], 0);
    int total = -1;
    do {
        for (int i = 0; i < entry.n; i++)
            tp_point_set(&point, entry.at[i].axis, entry.at[i].index);
        int part = product_over(algebra, id, w, y, axis, &point);
        if (part < 0)
            return -1;
        total = total < 0 ? part : tp_coordinate_sum(algebra, total, 1, part, 1);
    } while (total >= 0 && tp_point_next(algebra, &entry));
    return total;
}

/* ---- sums and averages ---- */
static int operand(tp_algebra *algebra, const ad_node *node, int k, const tp_point *point)
{
    return tp_coordinate_of(algebra, node->in[k], point_within(algebra, node->in[k], point));
}

int tp_width_sum(tp_algebra *algebra, int id, ad_axis width, int a, int b)
{
    double power, size = tp_axis_factor(algebra, width, &power);
    tp_series series;
    if (a < 0 || b < 0 || tp_expectation(algebra, a, b, true, &series))
        return -1;
    tp_builder sum = TP_EMPTY;
    for (int i = 0; i < series.n; i++) {
        tp_term t = { .power = series.at[i].power + power };
        t.scalar = tp_q_split(algebra, series.at[i].q, &t.c);
        t.c *= size;
        if (!tp_push_term(algebra, &sum, &t))
            return tp_lacks_memory(algebra);
    }
    const tp_coordinate *x = tp_coordinate_at(algebra, a), *y = tp_coordinate_at(algebra, b);
    int x_node, y_node;
    double x_rest = tp_coordinate_rest(algebra, x, &x_node), y_rest = tp_coordinate_rest(algebra, y, &y_node);
    double x_top = tp_coordinate_top(x), y_top = tp_coordinate_top(y);
    if (!is_scalar(x) || !is_scalar(y))
        tp_leave(&sum, x_top + y_top + power / 2, id);
    tp_leave(&sum, x_rest + fmax(y_top, y_rest) + power, x_node);
    tp_leave(&sum, y_rest + fmax(x_top, x_rest) + power, y_node);
    tp_leave(&sum, x->square + y->square + power, x_node);
    return tp_finish(algebra, &sum);
}

/* A sum or contraction over node->over, fixed axes first; depth: how many of them the point has. */
static int reduced(tp_algebra *algebra, int id, const ad_node *node, tp_point point, int depth)
{
    ad_axis width = { 0 };
    for (int i = 0; i < node->over.rank; i++) {
        ad_axis axis = node->over.axes[i];
        ad_kind kind = ad_axis_kind(algebra->graph, axis);
        if (kind == AD_BATCH || (kind == AD_WIDTH && width.id))
            return tp_refuse(algebra, id,
                             kind == AD_BATCH ? "a sum over the batch has no exact rule here"
                                              : "a sum over two width axes at once");
        if (kind == AD_WIDTH)
            width = axis;
    }
    while (depth < node->over.rank && ad_same(node->over.axes[depth], width))
        depth++;
    if (depth < node->over.rank) {
        int total = tp_coordinate_number(algebra, 0);
        for (size_t k = 0; total >= 0 && k < ad_axis_fixed(algebra->graph, node->over.axes[depth]); k++) {
            tp_point_set(&point, node->over.axes[depth], (int)k);
            int part = reduced(algebra, id, node, point, depth + 1);
            total = part < 0 ? -1 : tp_coordinate_sum(algebra, total, 1, part, 1);
        }
        return total;
    }
    int a = operand(algebra, node, 0, &point), b = -1;
    if (a >= 0 && node->n_in > 1)
        b = operand(algebra, node, 1, &point);
    else if (a >= 0)
        b = tp_coordinate_number(algebra, 1);
    if (b < 0)
        return -1;
    if (width.id)
        return tp_width_sum(algebra, id, width, a, b);
    return node->n_in > 1 ? tp_coordinate_product(algebra, id, a, b) : a;
}

/* Softmax and the like over a fixed axis of scalars. */
static int along_axis(tp_algebra *algebra, int id, const ad_node *node, tp_point point)
{
    int n = (int)ad_axis_fixed(algebra->graph, node->axis), entry = tp_point_index(&point, node->axis);
    int *parts = ad_arena_alloc(algebra->arena, (size_t)n, sizeof *parts);
    tp_builder b = TP_EMPTY;
    for (int k = 0; parts && k < n; k++) {
        tp_point_set(&point, node->axis, k);
        int x = operand(algebra, node, 0, &point);
        if (x < 0 || check_argument(algebra, id, tp_coordinate_at(algebra, x)))
            return -1;
        const tp_coordinate *c = tp_coordinate_at(algebra, x);
        if (!is_scalar(c))
            return tp_refuse(algebra, id, "a function of several G-vars together has no exact rule here");
        tp_leave(&b, c->rest, c->rest_node);
        for (int i = 0; i < c->n; i++)
            if (c->terms[i].power < -1e-12)
                tp_leave(&b, c->terms[i].power, id);
        if ((parts[k] = as_scalar(algebra, c)) < 0)
            return -1;
    }
    if (!parts)
        return tp_lacks_memory(algebra);
    int along = tp_q_along(algebra, (int)node->op, parts, n, entry < 0 ? 0 : entry);
    if (node->op == AD_ARGMAX && isfinite(b.rest))
        along = tp_q_jump(algebra, along, id);
    int value = tp_coordinate_scalar(algebra, along);
    if (value < 0 || !tp_push_scaled(algebra, &b, value, 1, 0))
        return -1;
    return tp_finish(algebra, &b);
}

static int contraction(tp_algebra *algebra, int id, const ad_node *node, const tp_point *point)
{
    int params[2], widths[2];
    for (int k = 0; k < 2; k++) {
        params[k] = algebra->program->params[node->in[k]];
        widths[k] = params[k] < 0 ? -1 : algebra->program->widths[node->in[k]];
    }
    int k = widths[1] > widths[0]; /* of two parameters, the matrix is multiplied into the vector */
    if (params[k] >= 0 && node->over.rank > 0)
        return matrix_product(algebra, id, node->in[k], node->in[1 - k], node, point);
    return reduced(algebra, id, node, *point, 0);
}

/* ---- nodes ---- */
/* Merged or split fixed axes: the row-major position is the same on both sides. */
static int reshaped(tp_algebra *algebra, const ad_node *node, tp_point point)
{
    const ad_shape *old = &ad_node_of(algebra->graph, node->in[0])->shape;
    size_t flat = 0;
    for (int i = 0; i < node->shape.rank; i++)
        if (!ad_has(old, node->shape.axes[i]))
            flat = flat * ad_axis_fixed(algebra->graph, node->shape.axes[i]) +
                   (size_t)tp_point_index(&point, node->shape.axes[i]);
    for (int i = old->rank - 1; i >= 0; i--)
        if (!ad_has(&node->shape, old->axes[i])) {
            size_t size = ad_axis_fixed(algebra->graph, old->axes[i]);
            tp_point_set(&point, old->axes[i], (int)(flat % size));
            flat /= size;
        }
    return operand(algebra, node, 0, &point);
}

/* The operand at the place that the result's point has in it, where fixed axes are picked, moved, renamed or joined. */
static int moved(tp_algebra *algebra, const ad_node *node, tp_point point)
{
    int index, part = 0;
    switch (node->op) {
    case AD_RESHAPE:
        return reshaped(algebra, node, point);
    case AD_RELABEL:
        index = tp_point_index(&point, node->axis2);
        point = point_within(algebra, node->in[0], &point);
        if (index >= 0)
            tp_point_set(&point, node->axis, index);
        return operand(algebra, node, 0, &point);
    case AD_SLICE:
        tp_point_set(&point, node->axis, tp_point_index(&point, node->axis2) + (int)node->start);
        return operand(algebra, node, 0, &point);
    case AD_UNSLICE:
        index = tp_point_index(&point, node->axis2) - (int)node->start;
        if (index < 0 || index >= (int)ad_axis_fixed(algebra->graph, node->axis))
            return tp_coordinate_number(algebra, 0);
        tp_point_set(&point, node->axis, index);
        return operand(algebra, node, 0, &point);
    case AD_WINDOWS:
        index = tp_window_entry(node, tp_point_index(&point, node->axis2), tp_point_index(&point, node->axis3));
        point = point_within(algebra, node->in[0], &point);
        tp_point_set(&point, node->axis, index);
        return operand(algebra, node, 0, &point);
    case AD_CONCAT:
        index = tp_point_index(&point, node->axis);
        while (index >= (int)ad_axis_fixed(algebra->graph, node->part_axes[part]))
            index -= (int)ad_axis_fixed(algebra->graph, node->part_axes[part++]);
        point = point_within(algebra, node->in[part], &point);
        tp_point_set(&point, node->part_axes[part], index);
        return operand(algebra, node, part, &point);
    default: /* expanded, transposed */
        return operand(algebra, node, 0, &point);
    }
}

/* What windows took from one entry, added up. */
static int unwindowed(tp_algebra *algebra, const ad_node *node, const tp_point *point)
{
    int entry = tp_point_index(point, node->axis), total = tp_coordinate_number(algebra, 0);
    for (int k = 0; total >= 0 && k < (int)ad_axis_fixed(algebra->graph, node->axis3); k++) {
        int left = entry - tp_window_entry(node, 0, k), window = left / (int)node->stride;
        if (left < 0 || left % (int)node->stride || window >= (int)ad_axis_fixed(algebra->graph, node->axis2))
            continue;
        tp_point at = point_within(algebra, node->in[0], point);
        tp_point_set(&at, node->axis2, window);
        tp_point_set(&at, node->axis3, k);
        int part = operand(algebra, node, 0, &at);
        total = part < 0 ? -1 : tp_coordinate_sum(algebra, total, 1, part, 1);
    }
    return total;
}

static int binary_of(tp_algebra *algebra, int id, const ad_node *node, const tp_point *point)
{
    int a = operand(algebra, node, 0, point);
    int b = a < 0 ? -1 : operand(algebra, node, 1, point);
    if (b >= 0 && node->op == AD_DIV)
        b = unary_of(algebra, id, node, AD_POWER, -1, b);
    if (b < 0)
        return -1;
    if (node->op == AD_ADD || node->op == AD_SUB)
        return tp_coordinate_sum(algebra, a, 1, b, node->op == AD_ADD ? 1 : -1);
    return tp_coordinate_product(algebra, id, a, b);
}

static int scale_of(tp_algebra *algebra, int id, const ad_node *node, const tp_point *point)
{
    if (node->axis.id && ad_axis_kind(algebra->graph, node->axis) == AD_BATCH)
        return tp_refuse(algebra, id, "a factor that depends on the batch's size");
    double power, size = tp_axis_factor(algebra, node->axis, &power);
    int x = operand(algebra, node, 0, point);
    return x < 0 ? -1 : tp_coordinate_scaled(algebra, x, node->c * pow(size, node->power), power * node->power);
}

/* A coordinate of a mask, which is no Gaussian: it is the value of the G-var that stands for it, as |.| of it, so that
 * nothing takes it for linear. */
static int mask_of(tp_algebra *algebra, int id, const tp_point *point)
{
    tp_gvar gvar;
    memset(&gvar, 0, sizeof gvar);
    gvar.param = id;
    gvar.position = -1;
    gvar.argument = TP_OF_INDEX;
    gvar.where = point_within(algebra, id, point);
    int own = of_gvar(algebra, &gvar, 1, 0);
    if (own < 0)
        return -1;
    tp_term term = tp_coordinate_at(algebra, own)->terms[0];
    term.factors[0].fn = tp_fn_make(algebra, AD_ABS, 0, algebra->variable, 0);
    return term.factors[0].fn < 0 ? tp_lacks_memory(algebra) : tp_coordinate_term(algebra, &term);
}

static int node_at(tp_algebra *algebra, int id, tp_point point)
{
    const ad_node *node = ad_node_of(algebra->graph, id);
    if (algebra->program->params[id] >= 0)
        return vector_of(algebra, id, id, &point);
    if (algebra->program->keeps[id] > 0)
        return mask_of(algebra, id, &point);
    if (tp_is_data(algebra, id)) {
        tp_point own = point_within(algebra, id, &point);
        return tp_coordinate_scalar(algebra, tp_q_data(algebra, id, &own));
    }
    if (ad_is_unary(node->op)) {
        int x = operand(algebra, node, 0, &point);
        return x < 0 ? -1 : unary_of(algebra, id, node, node->op, node->c, x);
    }
    if (ad_is_binary(node->op))
        return binary_of(algebra, id, node, &point);
    switch (node->op) {
    case AD_CONSTANT:
        return tp_coordinate_number(algebra, node->c);
    case AD_DELTA:
        return tp_coordinate_number(algebra, tp_point_index(&point, node->axis) == tp_point_index(&point, node->axis2));
    case AD_SCALE:
        return scale_of(algebra, id, node, &point);
    case AD_CONTRACT:
        return contraction(algebra, id, node, &point);
    case AD_SUM:
        return reduced(algebra, id, node, point, 0);
    case AD_UNWINDOWS:
        return unwindowed(algebra, node, &point);
    case AD_LOGSUMEXP:
    case AD_SOFTMAX:
    case AD_MAX:
    case AD_ARGMAX:
        return along_axis(algebra, id, node, point);
    case AD_EXPAND:
    case AD_TRANSPOSE:
    case AD_RESHAPE:
    case AD_RELABEL:
    case AD_SLICE:
    case AD_UNSLICE:
    case AD_WINDOWS:
    case AD_CONCAT:
        return moved(algebra, node, point);
    default:
        return tp_refuse(algebra, id, "it has no rule at infinite width here");
    }
}

/* A node, and as much of a point as there is. */
typedef struct {
    int node;
    tp_point point;
} place;

static int solve_place(tp_algebra *algebra, const void *key)
{
    place at = { 0 };
    memcpy(&at.node, key, sizeof at.node);
    const tp_point *point = (const tp_point *)((const char *)key + offsetof(place, point));
    memcpy(&at.point, point, offsetof(tp_point, at));
    if (at.point.n > 0)
        memcpy(at.point.at, point->at, (size_t)at.point.n * sizeof *point->at);
    int before = algebra->node, value;
    algebra->node = at.node;
    value = node_at(algebra, at.node, at.point);
    algebra->node = before;
    return value;
}

int tp_coordinate_of(tp_algebra *algebra, int node, tp_point point)
{
    place at;
    memset(&at, 0, sizeof at); /* padding takes part in the comparison */
    at.node = node;
    at.point = point;
    return tp_memo_solve(algebra, &at, offsetof(place, point.at) + (size_t)point.n * sizeof *point.at, solve_place);
}
