/* kernels.c: the kernels of a program as quantities: the NNGP kernel of its outputs, and the NTK, a sum over pairs of
 * the sites where parameters are used. */
#include "autodiff/base/base.h"
#include "autodiff/trace/trace.h"
#include "tp/recursion/recursion.h"

#include <math.h>
#include <string.h>

static tp_point points_over(const tp_algebra *algebra, const ad_shape *axes)
{
    tp_point point;
    memset(&point, 0, sizeof point);
    for (int i = 0; i < axes->rank; i++)
        if (ad_axis_kind(algebra->graph, axes->axes[i]) == AD_FIXED)
            tp_point_set(&point, axes->axes[i], 0);
    return point;
}

/* point, with the indices of `more` set. */
static tp_point joined(const tp_point *point, const tp_point *more)
{
    tp_point all = *point;
    for (int i = 0; i < more->n; i++)
        tp_point_set(&all, more->at[i].axis, more->at[i].index);
    return all;
}

/* The fixed axes of a node other than `without`, where `all` has them, else at 0. */
static tp_point own_part(const tp_algebra *algebra, int node, const ad_shape *without, const tp_point *all)
{
    const ad_shape *shape = &ad_node_of(algebra->graph, node)->shape;
    tp_point point;
    memset(&point, 0, sizeof point);
    for (int i = 0; i < shape->rank; i++) {
        int index = tp_point_index(all, shape->axes[i]);
        if (ad_axis_kind(algebra->graph, shape->axes[i]) == AD_FIXED && !(without && ad_has(without, shape->axes[i])))
            tp_point_set(&point, shape->axes[i], index < 0 ? 0 : index);
    }
    return point;
}

/* What a part of a kernel leaves out: of order n^power, from which op. */
typedef struct {
    double power;
    int node;
} left_out;
static const left_out nothing = { -INFINITY, -1 };

static void leave_out(left_out *left, double power, int node)
{
    if (power > left->power)
        *left = (left_out){ power, node };
}

static double series_top(const tp_series *s)
{
    double top = -INFINITY;
    for (int i = 0; i < s->n; i++)
        top = fmax(top, s->at[i].power);
    return top;
}

/* Of the product (a + O(left_a)) (b + O(left_b)), a and b of orders top_a and top_b. */
static void leave_product(left_out *left, double top_a, left_out left_a, double top_b, left_out left_b, double power)
{
    leave_out(left, left_a.power + fmax(top_b, left_b.power) + power, left_a.node);
    leave_out(left, left_b.power + fmax(top_a, left_a.power) + power, left_b.node);
}

/* What two sums over the width leave out of their product: they fluctuate together, as what jumps leave does. */
static void leave_squared(left_out *squared, const tp_coordinate *u, const tp_coordinate *v, double power)
{
    leave_out(squared, u->square + v->square + power, u->rest_node);
}

static int refuse_left(tp_algebra *algebra, left_out left, const char *what)
{
    if (tp_is_cut(algebra, left.node)) {
        algebra->cut = true;
        return tp_refuse(algebra, left.node,
                         "what vanishes in its argument is of order n^%g in %s, does not vanish beside the limit, and "
                         "there is no rule for it",
                         fabs(left.power) > 0 ? left.power : 0, what);
    }
    algebra->no_limit = true;
    return tp_refuse(algebra, left.node, "its fluctuations, of order n^%g in %s, do not vanish beside the limit",
                     fabs(left.power) > 0 ? left.power : 0, what);
}

/* It, where it is cut off a function: beside what is large that counts as it is, and not squared. */
static left_out cut_of(const tp_algebra *algebra, left_out left)
{
    return left.power > -INFINITY && left.node >= 0 && tp_is_cut(algebra, left.node) ? left : nothing;
}

/* c n^power times the inner product of data with data, summed along the last axis, at each entry of the others. */
static int data_inner(tp_algebra *algebra, int x, const tp_point *at_x, int y, const tp_point *at_y,
                      const ad_shape *axes, double c, double power, tp_series *series)
{
    for (int i = 0; i < axes->rank; i++)
        if (ad_axis_kind(algebra->graph, axes->axes[i]) != AD_FIXED)
            return tp_refuse(algebra, x, "data meets a parameter over other than fixed axes");
    if (axes->rank == 0)
        return tp_refuse(algebra, x, "data meets a parameter over no axis");
    ad_shape last = ad_shape_of(axes->axes[axes->rank - 1]), others = ad_shape_minus(axes, &last);
    tp_point entry = points_over(algebra, &others);
    do {
        tp_point all_x = joined(at_x, &entry), all_y = joined(at_y, &entry);
        tp_point from_x = own_part(algebra, x, &last, &all_x), from_y = own_part(algebra, y, &last, &all_y);
        int a = tp_data_source(algebra, x, last.axes[0], &from_x),
            b = tp_data_source(algebra, y, last.axes[0], &from_y);
        if (a < 0 || b < 0)
            continue;
        int gram = tp_q_gram(algebra, a, &from_x, b, &from_y, last.axes[0]);
        int q = gram < 0 ? -1 : tp_q_scaled(algebra, c, gram);
        if (q < 0 || tp_series_add(algebra, series, power, q))
            return -1;
    } while (tp_point_next(algebra, &entry));
    return 0;
}

/* <x, x'> summed over `axes`, x and x' two nodes with their other fixed axes at given points: a series. fold: x' is x
 * of the other sample, and a series whose values at (i, j) and (j, i) have the right mean will do. */
static int inner(tp_algebra *algebra, int x, const tp_point *at_x, int y, const tp_point *at_y, const ad_shape *axes,
                 bool fold, tp_series *series, left_out *left)
{
    memset(series, 0, sizeof *series);
    *left = nothing;
    double factor = 1, power = 0;
    int data_x = tp_without_scale(algebra, x, &factor, &power), data_y = tp_without_scale(algebra, y, &factor, &power);
    if (tp_is_data(algebra, data_x) && tp_is_data(algebra, data_y))
        return data_inner(algebra, data_x, at_x, data_y, at_y, axes, factor, power, series);
    factor = 1;
    power = 0;
    for (int i = 0; i < axes->rank; i++)
        if (ad_axis_kind(algebra->graph, axes->axes[i]) == AD_WIDTH) {
            double p, c = tp_axis_factor(algebra, axes->axes[i], &p);
            factor *= c;
            power += p;
        }
    tp_point sums = points_over(algebra, axes);
    do {
        tp_point all_x = joined(at_x, &sums), all_y = joined(at_y, &sums);
        int a = tp_coordinate_of(algebra, x, own_part(algebra, x, NULL, &all_x));
        int b = a < 0 ? -1 : tp_coordinate_of(algebra, y, own_part(algebra, y, NULL, &all_y));
        tp_series part;
        if (b < 0 ||
            (fold && a == b ? tp_folded_expectation(algebra, a, &part) : tp_expectation(algebra, a, b, false, &part)))
            return -1;
        for (int i = 0; i < part.n; i++) {
            int q = tp_q_scaled(algebra, factor, part.at[i].q);
            if (q < 0 || tp_series_add(algebra, series, part.at[i].power + power, q))
                return -1;
        }
        const tp_coordinate *u = tp_coordinate_at(algebra, a), *v = tp_coordinate_at(algebra, b);
        left_out of_u, of_v;
        of_u.power = tp_coordinate_rest(algebra, u, &of_u.node);
        of_v.power = tp_coordinate_rest(algebra, v, &of_v.node);
        leave_product(left, tp_coordinate_top(u), of_u, tp_coordinate_top(v), of_v, power);
        leave_squared(left, u, v, power);
    } while (tp_point_next(algebra, &sums));
    return 0;
}

/* A kernel that has a limit, or grows, is rid of what vanishes beside it: of powers below this. */
static double minimum_power(const tp_series *series)
{
    return fmin(series_top(series), 0) - 1e-9;
}

/* Returns the largest power that was dropped, -INFINITY where none was. */
static double drop_below(tp_series *series, double minimum)
{
    double dropped = -INFINITY;
    int kept = 0;
    for (int i = 0; i < series->n; i++)
        if (series->at[i].power >= minimum)
            series->at[kept++] = series->at[i];
        else
            dropped = fmax(dropped, series->at[i].power);
    series->n = kept;
    return dropped;
}

/* A kernel keeps the powers of n that it is known at, those above what its squared fluctuations are of and what is cut
 * off functions, and that do not vanish beside its limit. Where the fluctuations are its leading power it is refused;
 * what is dropped below it is said so. */
static int drop_incomplete(tp_algebra *algebra, tp_series *series, left_out squared, left_out cut, const char *what)
{
    if (algebra->underflows) {
        algebra->too_large = true;
        return tp_refuse(algebra, algebra->program->output.id,
                         "a number in front of a part of %s is below 1e-300, and not 0: larger inputs, weights or "
                         "factors, or smaller powers, keep it in the range of a double",
                         what);
    }
    double minimum = minimum_power(series);
    if (isfinite(squared.power) && squared.power > minimum) {
        if (squared.power > series_top(series) - 1e-9)
            return refuse_left(algebra, squared, what);
        const ad_node *node = ad_node_of(algebra->graph, squared.node);
        ad_snprintf(algebra->left, sizeof algebra->left,
                    "; no term of n^%g and below is printed, for %s:%d: %s %s there", squared.power, node->where.file,
                    node->where.line, tp_node_name(node),
                    tp_is_cut(algebra, squared.node) ? "has no rule" : "fluctuates");
        minimum = squared.power + 1e-9;
    }
    if (isfinite(cut.power) && cut.power > series_top(series) - 1e-9)
        return refuse_left(algebra, cut, what);
    if (isfinite(cut.power) && cut.power > minimum)
        minimum = cut.power + 1e-9;
    double dropped = drop_below(series, minimum);
    if (isfinite(dropped) && !algebra->left[0])
        ad_snprintf(algebra->left, sizeof algebra->left,
                    "; without its terms of n^%g and below, which vanish beside it", dropped);
    return 0;
}

int tp_nngp_series(tp_algebra *algebra, tp_series *series)
{
    int node = algebra->program->output.id;
    int f[2];
    if (tp_check_positions(algebra, TP_NNGP))
        return -1;
    for (int side = 0; side < 2; side++) {
        tp_point point = tp_point_of(algebra, node, NULL);
        tp_point_set(&point, nn_outputs(algebra->program->net), algebra->outputs[side]);
        if ((f[side] = tp_coordinate_of(algebra, node, point)) < 0)
            return -1;
    }
    if (tp_expectation(algebra, f[0], f[1], false, series))
        return -1;
    const tp_coordinate *u = tp_coordinate_at(algebra, f[0]), *v = tp_coordinate_at(algebra, f[1]);
    left_out squared = nothing, of_u = { u->rest, u->rest_node }, of_v = { v->rest, v->rest_node }, product = nothing;
    leave_squared(&squared, u, v, 0);
    leave_product(&product, tp_coordinate_top(u), of_u, tp_coordinate_top(v), of_v, 0);
    return drop_incomplete(algebra, series, squared, cut_of(algebra, product), "the output's kernel");
}

/* The fixed axes that a site's tensors have beyond the parameter's own, the batch and the seed: time, positions. */
static tp_point free_axes(const tp_algebra *algebra, const ad_site *site)
{
    const ad_shape *w = ad_shape_get(site->param), *d = ad_shape_get(site->delta);
    ad_shape axes = { 0 };
    const ad_shape *shapes[] = { d, site->y.graph ? ad_shape_get(site->y) : d };
    for (int s = 0; s < 2; s++)
        for (int i = 0; i < shapes[s]->rank; i++) {
            ad_axis axis = shapes[s]->axes[i];
            if (!ad_has(w, axis) && !ad_has(&axes, axis) && !ad_same(axis, algebra->program->seed))
                axes.axes[axes.rank++] = axis;
        }
    return points_over(algebra, &axes);
}

static const ad_shape *w_of(const ad_site *site)
{
    return ad_shape_get(site->param);
}

static bool are_numbers(const tp_algebra *algebra, const tp_series *s)
{
    bool all = true;
    for (int i = 0; i < s->n; i++)
        all = all && tp_quantity_at(algebra, s->at[i].q)->kind == TP_Q_NUMBER;
    return all;
}

/* What the pairs of sites and times sum up to. fold: of two pairs that mirror each other, the first one twice. */
typedef struct {
    tp_long_sum sum;
    left_out left, random, squared; /* random: the largest that is as large as its pair; squared: what sums over the
                                       width that gradients are fluctuate by, squared */
    left_out cut;                   /* the largest of `left` that is cut off a function */
    int own, across;                /* summands of a site with itself at one time; of two different ones */
} ntk_total;

/* c times the product of two series, and what it leaves out. */
static int add_product(tp_algebra *algebra, const tp_series *back, left_out back_left, const tp_series *forth,
                       left_out forth_left, double c, ntk_total *total)
{
    left_out left = nothing;
    leave_product(&left, series_top(back), back_left, series_top(forth), forth_left, 0);
    if (back->n > 0 && forth->n > 0 && left.power > series_top(back) + series_top(forth) - 1e-9)
        leave_out(&total->random, left.power, left.node);
    leave_out(&total->left, left.power, left.node);
    leave_out(&total->cut, cut_of(algebra, left).power, left.node);
    for (int i = 0; i < back->n; i++)
        for (int k = 0; k < forth->n; k++) {
            int q = tp_q_product(algebra, back->at[i].q, forth->at[k].q);
            if (q < 0 || tp_long_sum_add(algebra, &total->sum, back->at[i].power + forth->at[k].power, c, q))
                return -1;
        }
    return 0;
}

/* c times one pair of sites at given times: <delta, delta'> <y, y'>; where one uses W and the other its transpose, y
 * meets delta'. fold: the pair is a site at one time with itself. */
static int site_pair(tp_algebra *algebra, const ad_site *s, const tp_point *at_s, const ad_site *t,
                     const tp_point *at_t, double c, bool fold, ntk_total *total)
{
    ad_shape out = s->y.graph ? ad_shape_minus(w_of(s), &s->over) : *w_of(s);
    tp_series back, forth = { .n = 0 };
    left_out back_left, forth_left = nothing;
    bool crossed = s->y.graph && !ad_shape_same(&s->over, &t->over);
    if (inner(algebra, s->delta.id, at_s, crossed ? t->y.id : t->delta.id, at_t, &out, false, &back, &back_left))
        return -1;
    if (back.n == 0 && isinf(back_left.power) && back_left.power < 0) /* 0, and nothing is left out */
        return 0;
    if (s->y.graph && inner(algebra, s->y.id, at_s, crossed ? t->delta.id : t->y.id, at_t, &s->over,
                            fold && are_numbers(algebra, &back), &forth, &forth_left))
        return -1;
    if (!s->y.graph)
        tp_series_add(algebra, &forth, 0, TP_Q_ONE);
    return add_product(algebra, &back, back_left, &forth, forth_left, c, total);
}

/* The width axis of W that y has; no axis: y has none of them. */
static ad_axis width_within(const tp_algebra *algebra, const ad_shape *axes)
{
    for (int i = 0; i < axes->rank; i++)
        if (ad_axis_kind(algebra->graph, axes->axes[i]) == AD_WIDTH)
            return axes->axes[i];
    return (ad_axis){ 0 };
}

/* <x, x'> where either may be missing, which is the number 1; summed over the width if both have it. */
static int inner_or_one(tp_algebra *algebra, const ad_var *x, const tp_point *at_x, const ad_var *y,
                        const tp_point *at_y, const ad_shape *width, tp_series *series, left_out *left)
{
    memset(series, 0, sizeof *series);
    *left = nothing;
    if (x->graph && y->graph)
        return inner(algebra, x->id, at_x, y->id, at_y, width, false, series, left);
    if (!x->graph && !y->graph)
        return tp_series_add(algebra, series, 0, TP_Q_ONE);
    const ad_var *there = x->graph ? x : y;
    const tp_point *at = x->graph ? at_x : at_y;
    int a = tp_coordinate_of(algebra, there->id, own_part(algebra, there->id, NULL, at));
    int one = a < 0 ? -1 : tp_coordinate_number(algebra, 1);
    if (one < 0 || tp_expectation(algebra, x->graph ? a : one, x->graph ? one : a, false, series))
        return -1;
    left->power = tp_coordinate_rest(algebra, tp_coordinate_at(algebra, a), &left->node);
    return 0;
}

/* c times one pair of sites whose tensors have different axes of W: entry by entry of its fixed axes, at each of which
 * what has the width meets what has it, and what has it not is a number. A site without y has delta alone. */
static int entry_pairs(tp_algebra *algebra, const ad_site *s, const tp_point *at_s, const ad_site *t,
                       const tp_point *at_t, double c, ntk_total *total)
{
    const ad_shape *w = w_of(s);
    ad_axis width = width_within(algebra, w);
    ad_shape over = { .rank = width.id ? 1 : 0, .axes = { width } }, none = { 0 };
    bool swap = width.id && (s->y.graph && ad_has(&s->over, width)) != (t->y.graph && ad_has(&t->over, width));
    const ad_var *meets_delta = swap ? &t->y : &t->delta, *meets_y = swap ? &t->delta : &t->y;
    bool with_y = width.id && s->y.graph && ad_has(&s->over, width);
    tp_point entry = points_over(algebra, w);
    do {
        tp_point of_s = joined(at_s, &entry), of_t = joined(at_t, &entry);
        tp_series back, forth;
        left_out back_left, forth_left;
        if (inner_or_one(algebra, &s->delta, &of_s, meets_delta, &of_t, with_y ? &none : &over, &back, &back_left) ||
            inner_or_one(algebra, &s->y, &of_s, meets_y, &of_t, with_y ? &over : &none, &forth, &forth_left))
            return -1;
        if (add_product(algebra, &back, back_left, &forth, forth_left, c, total))
            return -1;
    } while (tp_point_next(algebra, &entry));
    return 0;
}

/* A width that a site's tensors have and the parameter has not: its gradient sums over it. */
static ad_axis summed_width(const tp_algebra *algebra, const ad_site *site)
{
    ad_shape of_y = site->y.graph ? ad_shape_minus(ad_shape_get(site->y), w_of(site)) : (ad_shape){ 0 };
    ad_shape of_delta = ad_shape_minus(ad_shape_get(site->delta), w_of(site));
    ad_axis axis = width_within(algebra, &of_delta);
    return axis.id ? axis : width_within(algebra, &of_y);
}

/* One entry of a parameter's gradient at a site, a coordinate: y delta, summed over the width that W has not. */
static int gradient_entry(tp_algebra *algebra, const ad_site *site, const tp_point *at)
{
    int delta = tp_coordinate_of(algebra, site->delta.id, own_part(algebra, site->delta.id, NULL, at));
    int y = delta < 0       ? -1
            : site->y.graph ? tp_coordinate_of(algebra, site->y.id, own_part(algebra, site->y.id, NULL, at))
                            : tp_coordinate_number(algebra, 1);
    ad_axis width = summed_width(algebra, site);
    if (y < 0)
        return -1;
    return width.id ? tp_width_sum(algebra, site->delta.id, width, y, delta)
                    : tp_coordinate_product(algebra, site->delta.id, y, delta);
}

/* c times one pair of sites of a parameter without a width, which sum over one: entry by entry, gradient times
 * gradient. Each is a number, n E y delta; where that vanishes beside what it fluctuates by, so does the limit. */
static int gradient_pairs(tp_algebra *algebra, const ad_site *s, const tp_point *at_s, const ad_site *t,
                          const tp_point *at_t, double c, ntk_total *total)
{
    if (tp_count_widths(algebra->graph, w_of(s)) > 0)
        return tp_refuse(algebra, s->delta.id, "the gradient of %s sums over one width and has another: no rule here",
                         ad_node_of(algebra->graph, s->param.id)->name);
    tp_point entry = points_over(algebra, w_of(s));
    do {
        tp_point of_s = joined(at_s, &entry), of_t = joined(at_t, &entry);
        int a = gradient_entry(algebra, s, &of_s), b = a < 0 ? -1 : gradient_entry(algebra, t, &of_t);
        tp_series series;
        if (b < 0 || tp_expectation(algebra, a, b, false, &series))
            return -1;
        for (int i = 0; i < series.n; i++)
            if (tp_long_sum_add(algebra, &total->sum, series.at[i].power, c, series.at[i].q))
                return -1;
        const tp_coordinate *u = tp_coordinate_at(algebra, a), *v = tp_coordinate_at(algebra, b);
        left_out of_u, of_v, left = nothing;
        of_u.power = tp_coordinate_rest(algebra, u, &of_u.node);
        of_v.power = tp_coordinate_rest(algebra, v, &of_v.node);
        leave_product(&left, tp_coordinate_top(u), of_u, tp_coordinate_top(v), of_v, 0);
        leave_squared(&left, u, v, 0);
        leave_out(left.power > tp_coordinate_top(u) + tp_coordinate_top(v) - 1e-9 ? &total->random : &total->left,
                  left.power, left.node);
        leave_out(&total->cut, cut_of(algebra, left).power, left.node);
        leave_squared(&total->squared, u, v, 0);
    } while (tp_point_next(algebra, &entry));
    return 0;
}

/* Does the term have a factor that is a combination of G-vars of the backward pass alone: of readouts? */
static bool has_backward_factor(const tp_algebra *algebra, const tp_term *term, int forward)
{
    for (int i = 0; i < term->n; i++) {
        const tp_lin *lin = tp_lin_at(algebra, term->factors[i].lin);
        bool all = term->factors[i].fn == algebra->variable;
        for (int k = 0; k < lin->n; k++)
            all = all && lin->parts[k].gvar >= forward;
        if (all)
            return true;
    }
    return false;
}

/* The rules hold for W and its transpose together if all that the backward pass sends through the network comes from
 * random readouts: so vectors of the two passes are uncorrelated. forward: G-vars below it are of the forward pass. */
static int check_delta(tp_algebra *algebra, const ad_site *site, const tp_point *at, int forward)
{
    ad_shape out = site->y.graph ? ad_shape_minus(w_of(site), &site->over) : *w_of(site);
    if (algebra->rules != TP_RULES_BP || algebra->program->widths[site->delta.id] == 0)
        return 0;
    tp_point sums = points_over(algebra, &out);
    do {
        tp_point all = joined(at, &sums);
        int delta = tp_coordinate_of(algebra, site->delta.id, own_part(algebra, site->delta.id, NULL, &all));
        if (delta < 0)
            return -1;
        const tp_coordinate *c = tp_coordinate_at(algebra, delta);
        for (int i = 0; i < c->n; i++)
            if (c->terms[i].power > tp_coordinate_top(c) - 1e-9 &&
                !has_backward_factor(algebra, &c->terms[i], forward)) {
                algebra->not_bp = true;
                return tp_refuse(algebra, site->delta.id,
                                 "a gradient that does not come from a random readout of mean "
                                 "zero has no rule here");
            }
    } while (tp_point_next(algebra, &sums));
    return 0;
}

/* Are the tensors of both sites over the same axes of W, or one's y over those of the other's delta? */
static bool same_or_crossed(const ad_site *s, const ad_site *t)
{
    ad_shape inside = s->y.graph ? ad_shape_minus(w_of(s), &s->over) : (ad_shape){ 0 };
    for (int m = 0; m < inside.rank; m++)
        if (ad_has(ad_shape_get(s->y), inside.axes[m]))
            return false;
    return (s->y.graph != NULL) == (t->y.graph != NULL) &&
           (!s->y.graph || ad_shape_same(&s->over, &t->over) || ad_shape_same(&inside, &t->over));
}

/* Pairs that are not of this form go entry by entry; with two widths, or aligned along one, there is no rule. */
static int check_entries(tp_algebra *algebra, const ad_site *s, const ad_site *t)
{
    const char *name = ad_node_of(algebra->graph, s->param.id)->name;
    ad_axis width = width_within(algebra, w_of(s));
    const ad_site *sites[] = { s, t };
    for (int k = 0; k < 2 && width.id; k++) {
        const ad_site *u = sites[k];
        if (u->y.graph && ad_has(ad_shape_get(u->y), width) && ad_has(ad_shape_get(u->delta), width))
            return tp_refuse(algebra, u->delta.id, "%s stays aligned with its argument along %s: no rule here", name,
                             ad_axis_name(algebra->graph, width));
    }
    if (tp_count_widths(algebra->graph, w_of(s)) > 1)
        return tp_refuse(algebra, s->param.id,
                         "%s is used over different axes: the NTK between the uses has no exact rule here", name);
    return 0;
}

static int long_sum_count(const tp_long_sum *s)
{
    int count = 0;
    for (int k = 0; k < s->n_powers; k++)
        count += s->n[k];
    return count;
}

/* A use: a site at one point of its free axes. */
typedef struct {
    int site;
    tp_point at;
    tp_carrier of; /* its delta's carrier */
    int first;     /* the first use that it may have a kernel with */
    int next;      /* the next one of those; -1: none */
} use;

typedef struct {
    use *at;
    int n, capacity;
} uses;

/* The class of a use's delta: 0 where it is not one coordinate, and where the pairs are of two outputs. */
static int find_carrier(tp_algebra *algebra, const ad_site *site, const tp_point *at, tp_carrier *carrier)
{
    ad_shape out = site->y.graph ? ad_shape_minus(w_of(site), &site->over) : *w_of(site);
    memset(carrier, 0, sizeof *carrier);
    if (algebra->rules == TP_RULES_GENERAL || algebra->outputs[0] != algebra->outputs[1] ||
        algebra->program->widths[site->delta.id] == 0 || points_over(algebra, &out).n > 0)
        return 0;
    int delta = tp_coordinate_of(algebra, site->delta.id, own_part(algebra, site->delta.id, NULL, at));
    return delta < 0 ? -1 : tp_carrier_of(algebra, delta, carrier);
}

/* All uses, in the order of the sites. */
static int list_uses(tp_algebra *algebra, int forward, uses *all)
{
    const tp_program *program = algebra->program;
    for (int i = 0; i < program->n_sites; i++) {
        const ad_site *s = &program->sites[i];
        tp_point at = free_axes(algebra, s);
        do {
            tp_point of_s = at;
            tp_point_set(&of_s, program->seed, algebra->outputs[0]);
            void *more = all->at;
            if (check_delta(algebra, s, &of_s, forward))
                return -1;
            if (!ad_arena_grow(algebra->arena, &more, all->n, &all->capacity, sizeof *all->at))
                return tp_lacks_memory(algebra);
            all->at = more;
            use *one = &all->at[all->n++];
            *one = (use){ .site = i, .at = at };
            if (find_carrier(algebra, s, &of_s, &one->of))
                return -1;
        } while (tp_point_next(algebra, &at));
    }
    return 0;
}

/* Is the kernel between two sites a product of <delta, delta'> and <y, y'>? */
static bool meets_delta_by_delta(const tp_algebra *algebra, const ad_site *s, const ad_site *t)
{
    return !summed_width(algebra, s).id && !summed_width(algebra, t).id && same_or_crossed(s, t) &&
           same_or_crossed(t, s) && (!s->y.graph || ad_shape_same(&s->over, &t->over));
}

/* Links the uses that may meet: those of one parameter, and of one class where all uses of it have one, none could be
 * related to another's other factors, and delta meets delta. */
static int link_uses(tp_algebra *algebra, const uses *all)
{
    size_t nodes = (size_t)algebra->program->n_nodes;
    tp_carrier *of = ad_arena_alloc(algebra->arena, nodes, sizeof *of);
    bool *joined = ad_arena_alloc(algebra->arena, nodes, sizeof *joined);
    const ad_site **example = ad_arena_alloc(algebra->arena, nodes, sizeof *example), *sites = algebra->program->sites;
    int *first = ad_arena_alloc(algebra->arena, (size_t)all->n + 1, sizeof *first);
    int *last = ad_arena_alloc(algebra->arena, (size_t)all->n + 1, sizeof *last), status = 0;
    tp_table chains;
    if (!of || !joined || !example || !first || !last)
        return tp_lacks_memory(algebra);
    if (tp_table_new(&chains, algebra->arena, algebra->error))
        status = -1;
    for (int u = 0; u < all->n; u++) {
        const ad_site *site = &sites[all->at[u].site];
        int param = site->param.id;
        example[param] = example[param] ? example[param] : site;
        joined[param] |= !all->at[u].of.class || !meets_delta_by_delta(algebra, example[param], site);
        of[param].carriers |= all->at[u].of.carriers;
        of[param].others |= all->at[u].of.others;
    }
    for (int u = 0; u < all->n && !status; u++) {
        int param = sites[all->at[u].site].param.id;
        bool apart = !joined[param] && !(of[param].carriers & of[param].others);
        int key[] = { param, apart ? all->at[u].of.class : 0 }, before = chains.n;
        int chain = tp_intern(&chains, key, sizeof key);
        if (chain < 0)
            status = tp_lacks_memory(algebra);
        else if (chain == before)
            first[chain] = u;
        else
            all->at[last[chain]].next = u;
        if (chain >= 0)
            last[chain] = u;
        all->at[u].first = chain < 0 ? u : first[chain];
        all->at[u].next = -1;
    }
    tp_table_free(&chains);
    return status;
}

/* The pairs of one use with all others. */
static int use_pairs(tp_algebra *algebra, const uses *all, int u, bool fold, ntk_total *total)
{
    const tp_program *program = algebra->program;
    const ad_site *s = &program->sites[all->at[u].site];
    tp_point of_s = all->at[u].at;
    tp_point_set(&of_s, program->seed, algebra->outputs[0]);
    for (int v = fold ? u : all->at[u].first; v >= 0; v = all->at[v].next) {
        const ad_site *t = &program->sites[all->at[v].site];
        bool sums = summed_width(algebra, s).id || summed_width(algebra, t).id;
        bool plain = same_or_crossed(s, t) && same_or_crossed(t, s);
        if (!sums && !plain && check_entries(algebra, s, t))
            return -1;
        tp_point of_t = all->at[v].at;
        tp_point_set(&of_t, program->seed, algebra->outputs[1]);
        bool own = u == v;
        int before = long_sum_count(&total->sum), failed;
        double c = fold && !own ? 2 : 1;
        if (sums)
            failed = gradient_pairs(algebra, s, &of_s, t, &of_t, c, total);
        else if (plain)
            failed = site_pair(algebra, s, &of_s, t, &of_t, c, fold && own, total);
        else
            failed = entry_pairs(algebra, s, &of_s, t, &of_t, c, total);
        if (failed)
            return -1;
        *(own ? &total->own : &total->across) += long_sum_count(&total->sum) - before;
    }
    return 0;
}

static int all_pairs(tp_algebra *algebra, const uses *all, bool fold, ntk_total *total)
{
    int status = 0;
    *total = (ntk_total){ .left = nothing, .random = nothing, .squared = nothing, .cut = nothing };
    for (int u = 0; u < all->n && !status; u++)
        status = use_pairs(algebra, all, u, fold, total);
    return status;
}

/* Folding spares the derivation half of the pairs, but a folded kernel must be evaluated at (i, j) and (j, i): it is
 * worth it where most pairs are of different sites or times. */
int tp_ntk_series(tp_algebra *algebra, tp_series *series, bool *folded)
{
    const tp_program *program = algebra->program;
    ntk_total total;
    if (tp_check_positions(algebra, TP_NTK))
        return -1;
    if (tp_coordinate_of(algebra, program->output.id, tp_point_of(algebra, program->output.id, NULL)) < 0)
        return -1;
    int forward = algebra->gvars.n;
    bool fold = folded && *folded;
    uses all = { 0 };
    if (list_uses(algebra, forward, &all) || link_uses(algebra, &all) || all_pairs(algebra, &all, fold, &total))
        return -1;
    if (fold && total.across <= total.own) {
        fold = false;
        if (all_pairs(algebra, &all, false, &total))
            return -1;
    }
    if (folded)
        *folded = fold;
    if (tp_long_sum_end(algebra, &total.sum, series))
        return -1;
    if (isfinite(total.left.power) && total.left.power > series_top(series) - 1e-9)
        return refuse_left(algebra, total.left, "the NTK");
    if (isfinite(total.random.power) && total.random.power > minimum_power(series))
        return refuse_left(algebra, total.random, "the NTK");
    return drop_incomplete(algebra, series, total.squared, total.cut, "the NTK");
}
