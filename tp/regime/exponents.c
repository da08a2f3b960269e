/* exponents.c: sizes through the forward and the backward pass, node by node: at the start, and of changes. */
#include "tp/regime/exponents.h"

#include <math.h>
#include <string.h>

double tp_exponent_now(const tp_exponents *e, int node)
{
    return fmax(e->start[node], e->change[node]);
}

double tp_exponent_sum(double a, double b)
{
    double most = fmax(a, b), least = fmin(a, b);
    return least > -INFINITY && most < INFINITY ? most + log1p(exp(2 * (least - most))) / 2 : most;
}

static double scale_size(const tp_exponents *e, const ad_node *node)
{
    double power = tp_is_width(e->program->graph, node->axis) ? node->power : 0;
    return log(fabs(node->c)) + power * e->log_n;
}

/* log of the number of entries along the fixed axes among these. */
static double fixed_size(const ad_graph *graph, const ad_shape *over)
{
    double sum = 0;
    for (int k = 0; k < over->rank; k++) {
        size_t size = ad_axis_fixed(graph, over->axes[k]);
        sum += size > 1 ? log((double)size) : 0;
    }
    return sum;
}

/* A matrix of two widths, whose entries are independent and of mean 0 at the start. */
static bool is_random_matrix(const tp_exponents *e, int id)
{
    int param = e->program->params[id];
    return e->program->widths[id] > 1 && param >= 0 && !(fabs(ad_node_of(e->program->graph, param)->init->mean) > 0);
}

/* c / sqrt(mean c^2 + epsilon) over a width, as in layer normalisation: its mean square is at most 1, whatever c is. */
static bool is_normalised(const ad_graph *graph, const ad_node *node)
{
    for (int k = 0; node->op == AD_MUL && k < 2; k++) {
        const ad_node *at = ad_node_of(graph, node->in[k]);
        bool root = false, summed = false;
        while (at->n_in > 0 && at->op != AD_SQUARE && at->op != AD_MUL && at->op != AD_CONTRACT) {
            root |= at->op == AD_RSQRT;
            summed |= at->op == AD_SUM && tp_count_widths(graph, &at->over) == 1;
            at = ad_node_of(graph, at->in[0]);
        }
        if (root && summed && at->op == AD_SQUARE && at->in[0] == node->in[1 - k])
            return true;
    }
    return false;
}

/* The sum over axes of a product with these strips and of this size where they all are: what is of one sign, by the law
 * of large numbers, else by the central limit theorem. */
static double summed(const tp_exponents *e, double size, const tp_strips *strips, const ad_shape *over, bool centred)
{
    const ad_graph *graph = e->program->graph;
    double widths = tp_count_widths(graph, over) * e->log_n, rare = widths > 0 ? tp_strips_rarity(e, strips) : 0;
    return size +
           (centred ? (widths - rare + fixed_size(graph, over)) / 2 : widths - rare + fixed_size(graph, over) / 2);
}

/* The size of a node where its strips are. */
static double peak(const tp_exponents *e, double size, const tp_strips *strips)
{
    return size > -INFINITY ? size + tp_strips_rarity(e, strips) / 2 : size;
}

/* ---- at the start ---- */
static double start_of_product(const tp_exponents *e, int id, tp_strips *own)
{
    const ad_node *node = ad_node_of(e->program->graph, id);
    int a = node->in[0], b = node->in[1];
    double size =
        peak(e, e->start[a], tp_strips_of(e, e->narrow, a)) + peak(e, e->start[b], tp_strips_of(e, e->narrow, b));
    tp_strips_join(e, own, tp_strips_of(e, e->narrow, a));
    tp_strips_join(e, own, tp_strips_of(e, e->narrow, b));
    if (node->op == AD_MUL) {
        size -= tp_strips_rarity(e, own) / 2;
        return is_normalised(e->program->graph, node) ? fmin(size, 0) : size;
    }
    size = summed(e, size, own, &node->over, e->centred[id] || is_random_matrix(e, a) || is_random_matrix(e, b));
    tp_strips_none(e, own);
    return size;
}

/* What a node is the sum of, or made of otherwise: strips are kept that all parts have which lead. */
static double sum_of(const tp_exponents *e, const ad_node *node, const double *sizes, tp_strips *sets, tp_strips *own)
{
    double most = -INFINITY;
    bool any = false;
    for (int k = 0; k < node->n_in; k++) {
        bool adds = node->op == AD_ADD || node->op == AD_SUB;
        most = adds ? tp_exponent_sum(most, sizes[node->in[k]]) : fmax(most, sizes[node->in[k]]);
    }
    for (int k = 0; k < node->n_in; k++) {
        if (!(sizes[node->in[k]] > most - 1 - e->log_n / 100))
            continue;
        (any ? tp_strips_meet : tp_strips_join)(e, own, tp_strips_of(e, sets, node->in[k]));
        any = true;
    }
    return most;
}

static double start_of(const tp_exponents *e, int id)
{
    const ad_graph *graph = e->program->graph;
    const ad_node *node = ad_node_of(graph, id);
    const tp_curve *curve = e->curves.curve[id];
    double a = node->n_in > 0 ? e->start[node->in[0]] : 0, size;
    tp_strips *own = tp_strips_of(e, e->narrow, id);
    tp_strips_none(e, own);
    if (curve) {
        int x = tp_curve_argument(e->program, &e->curves, id);
        e->gain[id] = tp_curve_slope(curve, e->start[x]);
        if (curve->narrow)
            tp_strips_add(own, e->strip[x]);
        return tp_curve_size(curve, e->start[x]);
    }
    switch (node->op) {
    case AD_PARAM:
        return e->spread[id] + e->front[id];
    case AD_INPUT:
        return e->inputs;
    case AD_DELTA:
    case AD_SOFTMAX:
    case AD_ARGMAX:
        return 0;
    case AD_CONSTANT:
        return fabs(node->c) > 0 ? log(fabs(node->c)) : -INFINITY;
    case AD_SCALE:
        tp_strips_join(e, own, tp_strips_of(e, e->narrow, node->in[0]));
        return a + scale_size(e, node);
    case AD_LOGSUMEXP:
        return fmax(a, 0);
    case AD_MUL:
    case AD_CONTRACT:
        return start_of_product(e, id, own);
    case AD_DIV:
        tp_strips_join(e, own, tp_strips_of(e, e->narrow, node->in[0]));
        return a - e->start[node->in[1]];
    case AD_SUM:
        size = peak(e, a, tp_strips_of(e, e->narrow, node->in[0]));
        return summed(e, size, tp_strips_of(e, e->narrow, node->in[0]), &node->over, e->centred[id]);
    default:
        return sum_of(e, node, e->start, e->narrow, own);
    }
}

/* ---- changes ---- */
/* y = f(x). Small changes: f'(x) dx. A change that is larger than the strip where f' is not 0 crosses it from a share
 * dx / |x| of all places; one that is larger than x itself takes f as far as it goes. */
static double function_change(const tp_exponents *e, int id, tp_strips *own)
{
    const tp_curve *curve = e->curves.curve[id];
    int x = tp_curve_argument(e->program, &e->curves, id);
    const tp_strips *moved = tp_strips_of(e, e->moved, x);
    double change = e->change[x], size = e->start[x], high = peak(e, change, moved), y;
    if (!(change > -INFINITY))
        return -INFINITY;
    if (!e->linear && change > size)
        return tp_curve_distance(curve, change);
    tp_strips_join(e, own, moved);
    if (!curve->narrow_slope || !(e->gain[id] > -INFINITY))
        return e->gain[id] + change;
    double rare = e->rarity[e->strip[x]], top = e->gain[id] + rare / 2 + high;
    memcpy(e->work, moved, e->words * sizeof *e->work);
    tp_strips_add(own, e->strip[x]);
    y = top - tp_strips_rarity(e, own) / 2;
    if (e->linear || !(high > 0))
        return y;
    bool inside = memcmp(e->work, own, e->words * sizeof *own) == 0;
    return inside ? y - high : y - high / 2;
}

static double rows_rarity(const tp_exponents *e, int param)
{
    return tp_strips_rarity(e, tp_strips_of(e, e->rows[0], param)) +
           tp_strips_rarity(e, tp_strips_of(e, e->rows[1], param));
}

/* The change of a parameter times what it meets. */
static double update_product(const tp_exponents *e, const ad_node *node, int own, int other, tp_strips *to)
{
    const ad_graph *graph = e->program->graph;
    ad_shape names = { 0 };
    int param = tp_peel(graph, own, &names), side = 0;
    tp_strips *gone = e->work;
    const tp_strips *met = tp_strips_of(e, e->narrow, other);
    bool meets = node->op == AD_CONTRACT && tp_count_widths(graph, &node->over) > 0;
    double size = peak(e, e->start[other], met);
    tp_strips_none(e, gone);
    tp_strips_none(e, to);
    for (int k = 0; k < names.rank && side < 2; k++) {
        if (!tp_is_width(graph, names.axes[k]))
            continue;
        bool over = node->op == AD_CONTRACT && ad_has(&node->over, names.axes[k]);
        tp_strips_join(e, over ? gone : to, tp_strips_of(e, e->rows[side], param));
        side++;
    }
    tp_strips_join(e, meets ? gone : to, met);
    size += e->change[own] + rows_rarity(e, param) / 2;
    if (node->op == AD_CONTRACT)
        size +=
            tp_count_widths(graph, &node->over) * e->log_n - tp_strips_rarity(e, gone) + fixed_size(graph, &node->over);
    return size - tp_strips_rarity(e, to) / 2;
}

/* The change of factor `own` times the other one; what was not changed of a random matrix meets everything
 * incoherently, also what it made itself (n^1/2 from there, n^1/2 from here). */
static double factor_change(const tp_exponents *e, const ad_node *node, int own, int other, tp_strips *to)
{
    const tp_strips *moved = tp_strips_of(e, e->moved, own);
    int param = e->program->params[own];
    double change = e->change[own];
    tp_strips_none(e, to);
    if (!(change > -INFINITY))
        return change;
    if (param >= 0)
        return update_product(e, node, own, other, to);
    double size = peak(e, change, moved) + peak(e, e->start[other], tp_strips_of(e, e->narrow, other));
    tp_strips_join(e, to, moved);
    tp_strips_join(e, to, tp_strips_of(e, e->narrow, other));
    if (node->op == AD_MUL)
        return size - tp_strips_rarity(e, to) / 2;
    size = summed(e, size, to, &node->over, is_random_matrix(e, other));
    tp_strips_none(e, to);
    return size;
}

static double product_change(const tp_exponents *e, const ad_node *node, tp_strips *own)
{
    double most = -INFINITY, widths = node->op == AD_CONTRACT ? tp_count_widths(e->program->graph, &node->over) : 0;
    tp_strips *one = e->work + e->words;
    for (int k = 0; k < 2; k++) {
        double change = factor_change(e, node, node->in[k], node->in[1 - k], one);
        if (change > most)
            memcpy(own, one, e->words * sizeof *own);
        most = tp_exponent_sum(most, change);
    }
    if (!e->linear)
        most = fmax(most, e->change[node->in[0]] + e->change[node->in[1]] + widths * e->log_n);
    return most;
}

static double change_of(const tp_exponents *e, int id)
{
    const ad_graph *graph = e->program->graph;
    const ad_node *node = ad_node_of(graph, id);
    tp_strips *own = tp_strips_of(e, e->moved, id);
    double a = node->n_in > 0 ? e->change[node->in[0]] : -INFINITY, most = a;
    tp_strips_none(e, own);
    if (e->curves.curve[id])
        return function_change(e, id, own);
    switch (node->op) {
    case AD_PARAM:
        if (e->program->widths[id] == 1)
            tp_strips_join(e, own, tp_strips_of(e, e->rows[0], id));
        return e->update[id] + e->front[id] - rows_rarity(e, id) / 2;
    case AD_SCALE:
        tp_strips_join(e, own, tp_strips_of(e, e->moved, node->in[0]));
        return a + scale_size(e, node);
    case AD_SOFTMAX:
    case AD_ARGMAX:
        return e->linear ? a : fmin(a, 0);
    case AD_SUM:
        return summed(e, peak(e, a, tp_strips_of(e, e->moved, node->in[0])), tp_strips_of(e, e->moved, node->in[0]),
                      &node->over, false);
    case AD_MUL:
        most = product_change(e, node, own);
        return !e->linear && is_normalised(graph, node) ? fmin(most, 0) : most;
    case AD_CONTRACT:
        return product_change(e, node, own);
    case AD_DIV:
        return fmax(a - e->start[node->in[1]],
                    e->start[node->in[0]] + e->change[node->in[1]] - 2 * e->start[node->in[1]]);
    default:
        return sum_of(e, node, e->change, e->moved, own);
    }
}

void tp_exponents_start(const tp_exponents *e)
{
    for (int id = 0; id < e->program->n_nodes; id++)
        if (e->program->lives[id]) {
            e->start[id] = start_of(e, id);
            tp_strips_measure(e, id);
        }
}

void tp_exponents_change(const tp_exponents *e)
{
    for (int id = 0; id < e->program->n_nodes; id++)
        if (e->program->lives[id])
            e->change[id] = change_of(e, id);
}
