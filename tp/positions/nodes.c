/* nodes.c: what nodes of a program are to the rules: linear in others, products with parameters, weighed, Gaussian. */
#include "tp/positions/inside.h"

#include "autodiff/trace/trace.h"

#include <string.h>

bool tp_node_is_linear(const tp_field_plan *p, int id)
{
    const ad_node *node = ad_node_of(p->graph, id);
    if (p->program->params[id] >= 0)
        return false;
    switch (node->op) {
    case AD_IDENTITY:
    case AD_ADD:
    case AD_SUB:
    case AD_SCALE:
    case AD_SUM:
    case AD_EXPAND:
    case AD_SLICE:
    case AD_UNSLICE:
    case AD_WINDOWS:
    case AD_CONCAT:
    case AD_RELABEL:
    case AD_TRANSPOSE:
    case AD_RESHAPE:
        return true;
    default:
        return false;
    }
}

bool tp_number_is_linear(const tp_field_plan *p, int id)
{
    switch (ad_node_of(p->graph, id)->op) {
    case AD_ADD:
    case AD_SCALE:
    case AD_SUM:
    case AD_EXPAND:
    case AD_TRANSPOSE:
    case AD_RELABEL:
    case AD_SLICE:
    case AD_WINDOWS:
        return true;
    default:
        return false;
    }
}

double tp_factor_of(const tp_field_plan *p, int id, double *power)
{
    const ad_node *node = ad_node_of(p->graph, id);
    *power = 0;
    if (node->op != AD_SCALE)
        return 1;
    double size = tp_axis_factor(p->algebra, node->axis, power);
    *power *= node->power;
    return node->c * pow(size, node->power);
}

int tp_matrix_of(const tp_field_plan *p, int id)
{
    const ad_node *node = ad_node_of(p->graph, id);
    if (node->op != AD_CONTRACT)
        return -1;
    bool first = p->program->params[node->in[0]] >= 0, second = p->program->params[node->in[1]] >= 0;
    return first == second ? -1 : second;
}

bool tp_node_is_gaussian(const tp_field_plan *p, int id)
{
    if (p->gaussian[id])
        return p->gaussian[id] > 0;
    const ad_node *node = ad_node_of(p->graph, id);
    bool is = p->program->params[id] >= 0 || tp_matrix_of(p, id) >= 0,
         sum = tp_node_is_linear(p, id) && !p->program->data[id];
    for (int k = 0; k < node->n_in && sum; k++)
        sum = tp_node_is_gaussian(p, node->in[k]);
    int x, w;
    tp_weighing by = is || sum ? TP_UNWEIGHED : tp_weighing_of(p, id, &x, &w);
    sum = sum || ((by == TP_BY_SCALAR || by == TP_BY_GAIN) && tp_node_is_gaussian(p, x));
    p->gaussian[id] = is || sum ? 1 : -1;
    return is || sum;
}

/* ---- functions ---- */
static bool is_function(const ad_node *node)
{
    return node->op <= AD_CUSTOM && node->op != AD_IDENTITY && node->op != AD_NEG;
}

int tp_function_of(const tp_field_plan *p, int id, int *fn)
{
    const ad_node *node = ad_node_of(p->graph, id);
    *fn = p->algebra->variable;
    if (p->program->widths[id] != 1)
        return -1;
    if (tp_node_is_gaussian(p, id))
        return id;
    int inside, x;
    if (!is_function(node) || p->program->data[id] || (x = tp_function_of(p, node->in[0], &inside)) < 0)
        return -1;
    *fn = node->op == AD_CUSTOM ? tp_fn_custom(p->algebra, node->function, node->order, inside)
                                : tp_fn_make(p->algebra, (int)node->op, node->c, inside, 0);
    return *fn < 0 ? -1 : x;
}

/* ---- parameters ---- */
int tp_find_use(const tp_field_plan *p, int id, const ad_shape *over, tp_use *u)
{
    memset(u, 0, sizeof *u);
    u->param = tp_peel(p->graph, id, &u->names);
    const ad_init *init = u->param < 0 ? NULL : ad_node_of(p->graph, u->param)->init;
    if (!init || fabs(init->mean) > 0 || init->orthogonal)
        return -1;
    for (int i = 0; i < u->names.rank; i++) {
        ad_axis axis = u->names.axes[i];
        bool wide = ad_axis_kind(p->graph, axis) == AD_WIDTH, summed = over && ad_has(over, axis);
        if (wide && summed && u->width > 0)
            return -1;
        if (wide && summed)
            u->width = ad_axis_ratio(p->graph, axis);
        else if (!wide && summed)
            u->over.axes[u->over.rank++] = axis;
        else if (!wide)
            u->fixed.axes[u->fixed.rank++] = axis;
    }
    return over && u->over.rank + (u->width > 0) != over->rank ? -1 : 0;
}

double tp_variance_of_entry(const tp_field_plan *p, int param, double *power)
{
    const ad_init *init = ad_node_of(p->graph, param)->init;
    double size = tp_axis_factor(p->algebra, init->axis, power), dp = init->axis.id ? init->deviation_power : 0;
    *power *= 2 * dp;
    return init->deviation * init->deviation * pow(size, 2 * dp);
}

bool tp_meets_vector(const tp_field_plan *p, int x, const tp_use *u)
{
    return u->width > 0 ? p->program->widths[x] == 1 && p->program->params[x] < 0 : p->program->data[x];
}

/* ---- what is weighed ---- */
/* The node itself, without copies along axes and new names. */
static int inside_copies(const tp_field_plan *p, int id)
{
    while (ad_node_of(p->graph, id)->op == AD_EXPAND || ad_node_of(p->graph, id)->op == AD_TRANSPOSE)
        id = ad_node_of(p->graph, id)->in[0];
    return id;
}

static bool is_gain(const tp_field_plan *p, int id)
{
    int param = p->program->params[id];
    const ad_init *init = param < 0 ? NULL : ad_node_of(p->graph, param)->init;
    return init && !(init->deviation > 0) && fabs(init->mean) > 0 && p->program->widths[id] == 1 &&
           ad_node_of(p->graph, id)->shape.rank == 1;
}

tp_weighing tp_weighing_of(const tp_field_plan *p, int id, int *x, int *w)
{
    const ad_node *node = ad_node_of(p->graph, id);
    if (node->op != AD_MUL || p->program->widths[id] != 1)
        return TP_UNWEIGHED;
    for (int k = 0; k < 2; k++) {
        *x = node->in[1 - k];
        *w = inside_copies(p, node->in[k]);
        if (p->program->keeps[*w] > 0)
            return TP_BY_MASK;
        if (is_gain(p, *w))
            return TP_BY_GAIN;
        if (p->program->widths[*w] == 0 && p->program->learns[*w])
            return TP_BY_SCALAR;
    }
    return TP_UNWEIGHED;
}

bool tp_sums_width(const tp_field_plan *p, int id)
{
    const ad_node *node = ad_node_of(p->graph, id);
    return (node->op == AD_SUM || node->op == AD_CONTRACT) && tp_count_widths(p->graph, &node->over) == 1;
}

bool tp_is_zero_mean(const tp_field_plan *p, int id)
{
    double power, all = 0;
    for (; ad_node_of(p->graph, id)->op == AD_SCALE; id = ad_node_of(p->graph, id)->in[0]) {
        tp_factor_of(p, id, &power);
        all += power;
    }
    return all < -0.9 && ad_node_of(p->graph, id)->op == AD_SUM && tp_sums_width(p, id) &&
           tp_node_is_gaussian(p, ad_node_of(p->graph, id)->in[0]);
}

bool tp_moment_of(const tp_field_plan *p, int id, int *x, int *y, ad_shape *along, double *ratio)
{
    const ad_node *node = ad_node_of(p->graph, id), *inside = ad_node_of(p->graph, node->in[0]);
    *x = node->in[0];
    *y = node->op == AD_CONTRACT ? node->in[1] : -1;
    if (node->op == AD_SUM && inside->op == AD_SQUARE)
        *x = *y = inside->in[0];
    else if (node->op == AD_SUM && inside->op == AD_MUL) {
        *x = inside->in[0];
        *y = inside->in[1];
    }
    if (*y < 0 || p->program->widths[*x] != 1 || p->program->widths[*y] != 1)
        return false;
    *along = (ad_shape){ 0 };
    *ratio = 1;
    for (int i = 0; i < node->over.rank; i++)
        if (tp_is_width(p->graph, node->over.axes[i]))
            *ratio = ad_axis_ratio(p->graph, node->over.axes[i]);
        else
            along->axes[along->rank++] = node->over.axes[i];
    ad_shape own = tp_fixed_axes(p->graph, id, NULL), of_x = tp_fixed_axes(p->graph, *x, along),
             of_y = tp_fixed_axes(p->graph, *y, along);
    return ad_shape_equal(&own, &of_x) && ad_shape_equal(&own, &of_y);
}

bool tp_shows(const tp_field_plan *p, int id, int mask)
{
    const ad_node *node = ad_node_of(p->graph, id);
    bool found = id == mask;
    for (int k = 0; k < node->n_in && node->op != AD_CONTRACT && !found; k++)
        found = tp_shows(p, node->in[k], mask);
    return found;
}
