/* indices.c: places as text has them: sums of multiples of variables, and what ops make of them. */
#include "tp/positions/formulas.h"

#include "autodiff/base/base.h"

#include <string.h>

tp_index tp_constant_index(ptrdiff_t value)
{
    return (tp_index){ .kind = TP_PLAIN, .shift = value };
}

tp_index tp_variable_index(int variable)
{
    return (tp_index){ .kind = TP_PLAIN, .n = 1, .var = { variable }, .times = { 1 } };
}

int tp_new_variable(tp_formulas *f, ad_axis axis, bool second)
{
    if (!ad_arena_grow(f->arena, (void **)&f->variables, f->n_variables, &f->variables_capacity,
                       sizeof *f->variables)) {
        tp_no_room(f->plan);
        return -1;
    }
    f->variables[f->n_variables] =
        (tp_variable){ .axis = axis, .size = ad_axis_fixed(f->plan->graph, axis), .second = second };
    return f->n_variables++;
}

bool tp_same_index(const tp_index *a, const tp_index *b)
{
    bool same = a->kind == b->kind && a->n == b->n && a->shift == b->shift && (a->kind == TP_PLAIN || a->by == b->by);
    for (int i = 0; i < a->n && same; i++) {
        int k = 0;
        while (k < b->n && b->var[k] != a->var[i])
            k++;
        same = k < b->n && b->times[k] == a->times[i];
    }
    return same;
}

/* *sum += times i; false where that has no form. */
bool tp_add_index(tp_index *sum, const tp_index *i, ptrdiff_t times)
{
    if (i->kind != TP_PLAIN || sum->kind != TP_PLAIN) {
        bool alone = times == 1 && sum->kind == TP_PLAIN && sum->n == 0 && sum->shift == 0;
        if (alone)
            *sum = *i;
        return alone || (i->kind == TP_PLAIN && i->n == 0 && times * i->shift == 0);
    }
    sum->shift += times * i->shift;
    for (int part = 0; part < i->n; part++) {
        int k = 0;
        while (k < sum->n && sum->var[k] != i->var[part])
            k++;
        if (k == TP_MOST_PARTS)
            return false;
        if (k == sum->n) {
            sum->var[sum->n] = i->var[part];
            sum->times[sum->n++] = 0;
        }
        sum->times[k] += times * i->times[part];
        if (sum->times[k] == 0) {
            sum->n--;
            memmove(sum->var + k, sum->var + k + 1, (size_t)(sum->n - k) * sizeof *sum->var);
            memmove(sum->times + k, sum->times + k + 1, (size_t)(sum->n - k) * sizeof *sum->times);
        }
    }
    return true;
}

static ptrdiff_t floor_of(ptrdiff_t a, ptrdiff_t by)
{
    return a / by - (a % by < 0);
}

void tp_index_range(const tp_formulas *f, const tp_index *i, ptrdiff_t *low, ptrdiff_t *high)
{
    *low = *high = i->shift;
    for (int k = 0; k < i->n; k++) {
        ptrdiff_t far = i->times[k] * ((ptrdiff_t)f->variables[i->var[k]].size - 1);
        *(far < 0 ? low : high) += far;
    }
    if (i->kind == TP_MODULO) {
        *low = 0;
        *high = i->by - 1;
    } else if (i->kind != TP_PLAIN) {
        *low = floor_of(*low, i->by);
        *high = floor_of(*high, i->by);
    }
}

/* i = by a + b with b from 0 to by - 1: false where i is none of a sum of multiples. */
bool tp_divide_index(const tp_formulas *f, const tp_index *i, ptrdiff_t by, tp_index *quotient, tp_index *rest)
{
    tp_index multiples = tp_constant_index(0), left = tp_constant_index(i->shift);
    if (i->kind != TP_PLAIN)
        return false;
    if (i->shift % by == 0) {
        multiples.shift = i->shift / by;
        left.shift = 0;
    }
    for (int k = 0; k < i->n; k++) {
        tp_index *to = i->times[k] % by == 0 ? &multiples : &left;
        to->var[to->n] = i->var[k];
        to->times[to->n++] = to == &left ? i->times[k] : i->times[k] / by;
    }
    ptrdiff_t low, high;
    tp_index_range(f, &left, &low, &high);
    if (low >= 0 && high < by) {
        *quotient = multiples;
        *rest = left;
        return true;
    }
    *quotient = *rest = *i;
    quotient->kind = TP_FLOOR;
    rest->kind = TP_MODULO;
    quotient->by = rest->by = by;
    return true;
}

/* ---- what a node takes ---- */
static const tp_index *index_of(const ad_shape *axes, const tp_indices *at, ad_axis axis)
{
    int k = 0;
    while (k < axes->rank && !ad_same(axes->axes[k], axis))
        k++;
    return k < axes->rank ? &at->at[k] : NULL;
}

bool tp_move_indices(const ad_shape *from, const tp_indices *at, const ad_shape *to, tp_indices *moved)
{
    moved->n = to->rank;
    for (int i = 0; i < to->rank; i++) {
        const tp_index *index = index_of(from, at, to->axes[i]);
        if (!index)
            return false;
        moved->at[i] = *index;
    }
    return true;
}

/* One more condition of the term: 1, or 0 where it never holds; -1: there is no room. */
static int add_condition(tp_formulas *f, const tp_condition *condition)
{
    if (f->term.n_conditions == TP_MOST_CONDITIONS)
        return -1;
    f->conditions[f->term.n_conditions++] = *condition;
    return 1;
}

int tp_require_within(tp_formulas *f, const tp_index *i, size_t size)
{
    ptrdiff_t low, high;
    tp_index_range(f, i, &low, &high);
    if (low >= 0 && high < (ptrdiff_t)size)
        return 1;
    if (high < 0 || low >= (ptrdiff_t)size)
        return 0;
    return add_condition(f, &(tp_condition){ .kind = TP_WITHIN, .a = *i, .size = size });
}

int tp_require_equal(tp_formulas *f, const tp_index *a, const tp_index *b)
{
    tp_index difference = *a;
    ptrdiff_t low = 0, high = 0;
    if (tp_same_index(a, b))
        return 1;
    if (tp_add_index(&difference, b, -1))
        tp_index_range(f, &difference, &low, &high);
    if (low > 0 || high < 0)
        return 0;
    return add_condition(f, &(tp_condition){ .kind = TP_EQUAL, .a = *a, .b = *b });
}

int tp_require_same_sample(tp_formulas *f)
{
    return add_condition(f, &(tp_condition){ .kind = TP_SAME_SAMPLE });
}

bool tp_is_circular(const ad_graph *graph, const ad_node *node, int *inside, ad_axis *axis, ptrdiff_t *shift)
{
    ptrdiff_t before = 0, size = 0;
    *inside = -1;
    *shift = 0;
    for (int k = 0; k < node->n_in; k++) { /* what has a part that is no piece of it */
        const ad_node *part = ad_node_of(graph, node->in[k]);
        if (part->op != AD_SLICE || !ad_same(part->axis2, node->part_axes[k])) {
            *inside = node->in[k];
            *axis = node->part_axes[k];
            *shift = -before;
        }
        before += (ptrdiff_t)ad_axis_fixed(graph, node->part_axes[k]);
    }
    if (*inside < 0)
        return false;
    size = (ptrdiff_t)ad_axis_fixed(graph, *axis);
    before = 0;
    for (int k = 0; k < node->n_in; k++) {
        const ad_node *part = ad_node_of(graph, node->in[k]);
        ptrdiff_t start = node->in[k] == *inside ? 0 : (ptrdiff_t)part->start;
        bool piece = node->in[k] == *inside
                         ? ad_same(node->part_axes[k], *axis)
                         : part->op == AD_SLICE && part->in[0] == *inside && ad_same(part->axis, *axis) &&
                               ad_same(part->axis2, node->part_axes[k]);
        if (!piece || (start - before - *shift) % size)
            return false;
        before += (ptrdiff_t)ad_axis_fixed(graph, node->part_axes[k]);
    }
    return true;
}

/* Of axes that are split into others, or merged: groups of the same size, one by one. */
static bool reshape(const tp_formulas *f, const ad_node *node, const tp_indices *at, const ad_shape *axes,
                    const ad_shape *inside, tp_indices *child)
{
    const ad_graph *graph = f->plan->graph;
    int i = 0, k = 0;
    child->n = inside->rank;
    while (i < axes->rank || k < inside->rank) {
        size_t outer = 1, inner = 1;
        int first = k;
        tp_index number = tp_constant_index(0);
        do { /* the smaller side takes in one axis more */
            bool more = (outer <= inner && i < axes->rank) || k == inside->rank;
            if (more && i == axes->rank)
                return false;
            if (more) {
                size_t size = ad_axis_fixed(graph, axes->axes[i]);
                tp_index scaled = tp_constant_index(0);
                if (!tp_add_index(&scaled, &number, (ptrdiff_t)size) || !tp_add_index(&scaled, &at->at[i], 1))
                    return false;
                number = scaled;
                outer *= size;
                i++;
            } else {
                inner *= ad_axis_fixed(graph, inside->axes[k++]);
            }
        } while (outer != inner);
        for (int j = k - 1; j >= first; j--) {
            tp_index rest = number, quotient = tp_constant_index(0);
            size_t size = ad_axis_fixed(graph, inside->axes[j]);
            if (j > first && !tp_divide_index(f, &number, (ptrdiff_t)size, &quotient, &rest))
                return false;
            child->at[j] = rest;
            number = quotient;
        }
    }
    return node->op == AD_RESHAPE;
}

/* Widths and the batch stay where they are among the axes that are reshaped. */
static bool only_fixed_change(const ad_graph *graph, const ad_node *node, const ad_node *inside)
{
    int n = node->shape.rank, m = inside->shape.rank, i = 0, k = 0;
    double outer = 1, inner = 1;
    for (;;) {
        for (; i < n && ad_axis_fixed(graph, node->shape.axes[i]); i++)
            outer *= (double)ad_axis_fixed(graph, node->shape.axes[i]);
        for (; k < m && ad_axis_fixed(graph, inside->shape.axes[k]); k++)
            inner *= (double)ad_axis_fixed(graph, inside->shape.axes[k]);
        if (outer < inner || outer > inner || (i == n) != (k == m))
            return false;
        if (i == n)
            return true;
        if (!ad_same(node->shape.axes[i++], inside->shape.axes[k++]))
            return false;
    }
}

/* The index of the child's axis that the op moves; false where it has no form. *status 0: it is none of the child's. */
static bool moved_index(tp_formulas *f, const ad_node *node, int operand, const ad_shape *axes, const tp_indices *at,
                        tp_index *index, int *status)
{
    const tp_index *own = index_of(axes, at, node->op == AD_CONCAT ? node->axis : node->axis2);
    ptrdiff_t start = (ptrdiff_t)node->start;
    *index = tp_constant_index(node->op == AD_SLICE || node->op == AD_WINDOWS ? start : 0);
    if (!own)
        return false;
    if (node->op == AD_WINDOWS) {
        const tp_index *offset = index_of(axes, at, node->axis3);
        return offset && tp_add_index(index, own, (ptrdiff_t)node->stride) &&
               tp_add_index(index, offset, (ptrdiff_t)node->dilation);
    }
    if (node->op == AD_UNSLICE)
        index->shift = -start;
    for (int k = 0; k < operand && node->op == AD_CONCAT; k++)
        index->shift -= (ptrdiff_t)ad_axis_fixed(f->plan->graph, node->part_axes[k]);
    if (!tp_add_index(index, own, 1))
        return false;
    ad_axis axis = node->op == AD_CONCAT ? node->part_axes[operand] : node->axis;
    if (node->op == AD_UNSLICE || node->op == AD_CONCAT)
        *status = tp_require_within(f, index, ad_axis_fixed(f->plan->graph, axis));
    return true;
}

/* The vector further in that a node is made of, all around, and at which places. */
static int inside_circle(tp_formulas *f, const ad_node *node, const ad_shape *axes, const tp_indices *at, int *child,
                         tp_indices *within)
{
    ad_axis axis;
    ptrdiff_t shift;
    const ad_graph *graph = f->plan->graph;
    if (!tp_is_circular(graph, node, child, &axis, &shift))
        return TP_NO_FORM;
    const tp_index *own = index_of(axes, at, node->axis);
    ad_shape inside = tp_fixed_axes(graph, *child, NULL);
    tp_index around = tp_constant_index(shift), quotient;
    if (!own || !tp_add_index(&around, own, 1) ||
        !tp_divide_index(f, &around, (ptrdiff_t)ad_axis_fixed(graph, axis), &quotient, &around))
        return TP_NO_FORM;
    within->n = inside.rank;
    for (int i = 0; i < inside.rank; i++) {
        const tp_index *index = ad_same(inside.axes[i], axis) ? &around : index_of(axes, at, inside.axes[i]);
        if (!index)
            return TP_NO_FORM;
        within->at[i] = *index;
    }
    return 1;
}

int tp_step_in(tp_formulas *f, int id, int operand, bool second, const tp_indices *at, int *child, tp_indices *within)
{
    const ad_graph *graph = f->plan->graph;
    const ad_node *node = ad_node_of(graph, id);
    ad_shape axes = tp_fixed_axes(graph, id, NULL), inside = tp_fixed_axes(graph, node->in[operand], NULL);
    *child = node->in[operand];
    if (node->op == AD_CONCAT) {
        int status = inside_circle(f, node, &axes, at, child, within);
        if (status == 1)
            return operand == 0; /* all parts are in it */
        *child = node->in[operand];
    }
    if (node->op == AD_RESHAPE) {
        bool done =
            only_fixed_change(graph, node, ad_node_of(graph, *child)) && reshape(f, node, at, &axes, &inside, within);
        return done ? 1 : TP_NO_FORM;
    }
    within->n = inside.rank;
    for (int i = 0; i < inside.rank; i++) {
        ad_axis axis = inside.axes[i];
        bool summed = node->op == AD_SUM && ad_has(&node->over, axis);
        bool moves = node->op == AD_WINDOWS || node->op == AD_SLICE || node->op == AD_UNSLICE;
        bool moved =
            (moves && ad_same(axis, node->axis)) || (node->op == AD_CONCAT && ad_same(axis, node->part_axes[operand]));
        const tp_index *own =
            index_of(&axes, at, node->op == AD_RELABEL && ad_same(axis, node->axis) ? node->axis2 : axis);
        int status = 1;
        if (summed) {
            if ((status = tp_sum_over(f, axis, second, &within->at[i])) < 0)
                return status;
        } else if (moved) {
            if (!moved_index(f, node, operand, &axes, at, &within->at[i], &status))
                return TP_NO_FORM;
        } else if (own) {
            within->at[i] = *own;
        } else {
            return TP_NO_FORM;
        }
        if (status <= 0)
            return status < 0 ? TP_NO_FORM : 0;
        if (ad_axis_fixed(graph, axis) == 1)
            within->at[i] = tp_constant_index(0);
    }
    return 1;
}

int tp_sum_over(tp_formulas *f, ad_axis axis, bool second, tp_index *index)
{
    *index = tp_constant_index(0);
    if (ad_axis_fixed(f->plan->graph, axis) == 1)
        return 1;
    if (f->term.n_sums == TP_MOST_SUMS)
        return TP_NO_FORM;
    int variable = tp_new_variable(f, axis, second);
    if (variable < 0)
        return -1;
    f->term.sums[f->term.n_sums++] = variable;
    *index = tp_variable_index(variable);
    return 1;
}
