/* zdot.c: Z dot, what a product of W keeps of the products with W transposed that came before (Tensor Programs III,
 * arXiv:2009.10685, definition 5.2):
 *
 *     Z^{Wx} = Zhat^{Wx} + Zdot^{Wx},    Zdot^{Wx} = sigma^2 rho' sum_i Z^{y_i} E[dZ^x / dZhat^{W' y_i}]
 *
 * over the products W' y_i that x is made of, rho' the ratio of W's widths, in to out; likewise with W and W'
 * exchanged. A vector v is the 1 x n matrix whose transpose makes v itself: in the product v x, with dx / dv, the y_i
 * is 1. */
#include "tp/symbolic/polynomial.h"

#include <math.h>
#include <string.h>

static bool depends(const tp_algebra *algebra, int lin, int gvar, tp_part *part)
{
    const tp_lin *l = tp_lin_at(algebra, lin);
    for (int k = 0; k < l->n; k++)
        if (l->parts[k].gvar == gvar) {
            *part = l->parts[k];
            return true;
        }
    return false;
}

/* E f'(u) by Stein's lemma, E u f(u) / E u^2, which holds where f jumps, too: a quantity, 0 where u is 0. */
static int mean_slope(tp_algebra *algebra, tp_factor f)
{
    int variance = tp_lin_covariance(algebra, f.lin, f.lin, true);
    int both = variance < 0 ? -1 : tp_pair_expectation(algebra, (tp_factor){ f.lin, algebra->variable }, f, true);
    if (both < 0)
        return -1;
    int fn = tp_fn_intern(algebra, (tp_fn){ .op = TP_INVERSE, .a = algebra->variable });
    if (fn < 0)
        return tp_lacks_memory(algebra);
    int over = tp_q_function(algebra, fn, variance);
    return over < 0 ? -1 : tp_q_scalar_product(algebra, both, over);
}

/* E of one term's derivative by a G-var through its factor number m, added to *total, a coordinate without G-vars. */
static int add_slope(tp_algebra *algebra, int node, const tp_term *term, int m, const tp_part *part, int *total)
{
    tp_factor f = term->factors[m];
    tp_term rest = *term;
    tp_series series;
    for (int k = 0; k < term->n && f.fn != algebra->variable; k++) {
        int related = k == m ? 0 : tp_lins_related(algebra, f.lin, term->factors[k].lin, true);
        if (related < 0)
            return -1;
        if (related)
            return tp_refuse(algebra, node,
                             "the general rule needs the derivative of a product of functions that depend "
                             "on each other: no exact rule for it");
    }
    memmove(&rest.factors[m], &rest.factors[m + 1], (size_t)(term->n - m - 1) * sizeof *rest.factors);
    rest.factors[--rest.n] = (tp_factor){ 0 };
    rest.c *= part->c;
    rest.scalar = tp_q_scalar_product(algebra, rest.scalar, part->scalar);
    if (rest.scalar < 0)
        return -1;
    int others = tp_coordinate_term(algebra, &rest), one = tp_coordinate_scalar(algebra, TP_Q_ONE);
    if (others < 0 || one < 0 || tp_expectation(algebra, others, one, true, &series))
        return -1;
    for (int i = 0; i < series.n && *total >= 0; i++) {
        int slope = f.fn == algebra->variable ? TP_Q_ONE : mean_slope(algebra, f);
        int q = slope < 0 ? -1 : tp_q_scalar_product(algebra, series.at[i].q, slope);
        int summand = q < 0 ? -1 : tp_coordinate_scalar(algebra, q);
        summand = summand < 0 ? -1 : tp_coordinate_scaled(algebra, summand, 1, series.at[i].power);
        *total = summand < 0 ? -1 : tp_coordinate_sum(algebra, *total, 1, summand, 1);
    }
    return *total < 0 ? -1 : 0;
}

/* E[dx / dZhat], a coordinate without G-vars. */
static int mean_derivative(tp_algebra *algebra, int node, int vector, int gvar)
{
    const tp_coordinate *x = tp_coordinate_at(algebra, vector);
    int total = tp_coordinate_scaled(algebra, vector, 0, 0);
    for (int i = 0; i < x->n && total >= 0; i++)
        for (int m = 0; m < x->terms[i].n && total >= 0; m++) {
            tp_part part;
            if (depends(algebra, x->terms[i].factors[m].lin, gvar, &part) &&
                add_slope(algebra, node, &x->terms[i], m, &part, &total))
                return -1;
        }
    return total;
}

/* Is h a product with the transpose of this product's matrix? */
static bool is_adjoint(const tp_gvar *product, const tp_gvar *h)
{
    return product->param == h->param && product->position != h->position &&
           memcmp(&product->where, &h->where, sizeof h->where) == 0;
}

/* sqrt(in / out) of a product's matrix, *power: what it has of n, if it is a vector. */
static double ratio_of(const tp_algebra *algebra, const tp_gvar *product, double *power)
{
    const ad_shape *shape = &ad_node_of(algebra->graph, product->param)->shape;
    double ratio = 1, n = 0, own;
    *power = 0;
    for (int i = 0; i < shape->rank; i++) {
        if (ad_axis_kind(algebra->graph, shape->axes[i]) != AD_WIDTH)
            continue;
        double size = tp_axis_factor(algebra, shape->axes[i], &own);
        ratio *= i == product->position ? size : 1 / size;
        n += i == product->position ? own : -own;
    }
    *power = n / 2;
    return sqrt(ratio);
}

int tp_response(tp_algebra *algebra, int node, const tp_gvar *product, int vector)
{
    int total = tp_coordinate_scaled(algebra, vector, 0, 0), gvars = algebra->gvars.n;
    double power, ratio = ratio_of(algebra, product, &power);
    for (int h = 0; h < gvars && total >= 0; h++) {
        const tp_gvar *g = tp_gvar_at(algebra, h);
        if (!is_adjoint(product, g))
            continue;
        int slope = mean_derivative(algebra, node, vector, h);
        if (slope < 0)
            return -1;
        if (tp_coordinate_at(algebra, slope)->n == 0)
            continue;
        if (g->argument == TP_OF_DATA)
            return tp_refuse(algebra, node, "%s met data before: the general rule has no exact form for it",
                             ad_node_of(algebra->graph, product->param)->name);
        int y = g->argument == TP_OF_VECTOR ? tp_coordinate_product(algebra, node, slope, g->node) : slope;
        total = y < 0 ? -1 : tp_coordinate_sum(algebra, total, 1, y, ratio);
    }
    return total < 0 ? -1 : tp_coordinate_scaled(algebra, total, 1, power);
}
