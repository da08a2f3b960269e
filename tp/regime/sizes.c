/* sizes.c: sums of sizes, and sizes of constants and axes, as logs. */
#include "tp/regime/exponents.h"

#include <math.h>

double tp_exponent_now(const tp_exponents *e, int node)
{
    return fmax(e->start[node], e->change[node]);
}

double tp_exponent_sum(double a, double b)
{
    double most = fmax(a, b), least = fmin(a, b);
    return least > -INFINITY && most < INFINITY ? most + log1p(exp(2 * (least - most))) / 2 : most;
}

double tp_exponent_of_axis(const tp_exponents *e, ad_axis axis, double p)
{
    const ad_graph *graph = e->program->graph;
    size_t fixed = axis.id ? ad_axis_fixed(graph, axis) : 0;
    return tp_is_width(graph, axis) ? p * e->log_n : fixed > 0 ? p * log((double)fixed) : 0;
}

double tp_linear_factor(const ad_graph *graph, const ad_node *node)
{
    size_t fixed = node->op == AD_SCALE && node->axis.id ? ad_axis_fixed(graph, node->axis) : 0;
    double scale = fixed > 0 ? node->c * pow((double)fixed, node->power) : node->c;
    return node->op == AD_SCALE ? scale : node->op == AD_NEG ? -1 : 1;
}

double tp_exponent_of_scale(const tp_exponents *e, const ad_node *node)
{
    return log(fabs(node->c)) + tp_exponent_of_axis(e, node->axis, node->power);
}

double tp_exponent_of_fixed(const ad_graph *graph, const ad_shape *over)
{
    double sum = 0;
    for (int k = 0; k < over->rank; k++) {
        size_t size = ad_axis_fixed(graph, over->axes[k]);
        sum += size > 1 ? log((double)size) : 0;
    }
    return sum;
}
