/* curves.h: private: coordinatewise functions of one vector, as values on a grid. */
#ifndef LIMN_TP_REGIME_CURVES_H
#define LIMN_TP_REGIME_CURVES_H
#include "tp/program/program.h"

enum { TP_CURVE_HALF = 257, TP_CURVE_SIDES = 2 * TP_CURVE_HALF, TP_CURVE_POINTS = 2 * TP_CURVE_SIDES };

/* Values of f at u = e^t, t = -16, -15 7/8, ..., 16, then at -u, and then beside each of these, for f'. */
typedef struct {
    double values[TP_CURVE_POINTS], slopes[TP_CURVE_SIDES]; /* f and f' */
    const double *points;                                   /* u */
    bool at_points; /* f is of positive numbers, or has a pole at 0: taken at its argument's size, not averaged */
    bool narrow, narrow_slope; /* f, f' vanish outside a strip of fixed width around 0 */
    bool jumps, bends;         /* f, f' jump somewhere */
    bool positive;             /* f of numbers of order one is above 0, and not near it */
} tp_curve;

/* By node. A vector that is a nonlinear function of one other vector alone, as 1 - tanh(g)^2, has a curve of it. */
typedef struct {
    int *roots;             /* the vector; the node itself where it is no function of one; -1: a constant */
    const tp_curve **curve; /* NULL: none */
} tp_curves;

/* What a linear node multiplies its operand by; of a scale, a power of a fixed axis' size included. */
double tp_linear_factor(const ad_graph *graph, const ad_node *node);
int tp_curves_make(const tp_program *program, ad_arena *arena, tp_curves *curves, ad_error *error);
/* What the function of a node with a curve is called with. */
int tp_curve_argument(const tp_program *program, const tp_curves *curves, int id);
/* Of y = f(x) with x Gaussian of deviation e^log_x: the log of the root of E f(x)^2; */
double tp_curve_size(const tp_curve *curve, double log_x);
/* of |E f(x)|, without a root; */
double tp_curve_mean(const tp_curve *curve, double log_x);
/* of the root of E f'(x)^2; */
double tp_curve_slope(const tp_curve *curve, double log_x);
/* of the root of E (f(x) - f(0))^2; */
double tp_curve_distance(const tp_curve *curve, double log_x);
/* of the root of E (f(x) - c)^2; */
double tp_curve_rest(const tp_curve *curve, double log_x, double c);
/* of the root of E (f(x) - E f(x))^2; */
double tp_curve_deviation(const tp_curve *curve, double log_x);
/* of the root of E f''(x)^2. */
double tp_curve_bend(const tp_curve *curve, double log_x);
/* Of y = f'(x), or f(x), where it is narrow: log of E y^4 / (E y^2)^2, 1 / the share of all x where y is not small. */
double tp_curve_rarity(const tp_curve *curve, double log_x);
#endif
