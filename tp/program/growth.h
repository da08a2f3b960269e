/* growth.h: how fast a coordinatewise function of Gaussians grows, and whether it has poles.
 *
 * The Master theorem asks of psi and the nonlinearities |f(z)| <= exp(C |z|^(2-e) + c) (Tensor Programs I, III:
 * controlled functions; polynomially bounded ones are). A function is known here by its range and by degree and order:
 * |f(z)| is at most about |z|^degree exp(C |z|^order). */
#ifndef LIMN_TP_PROGRAM_GROWTH_H
#define LIMN_TP_PROGRAM_GROWTH_H
#include "autodiff/autodiff.h"

typedef struct {
    double lo, hi;        /* the range, infinite perhaps */
    double degree, order; /* order INFINITY: exp of exp */
} tp_growth;
tp_growth tp_growth_gaussian(void);
tp_growth tp_growth_number(double c);
/* *problem: what is wrong with it, in words, where something is; else it stays. */
tp_growth tp_growth_unary(int op, double p, tp_growth x, const char **problem);
tp_growth tp_growth_binary(int op, tp_growth a, tp_growth b, const char **problem);
/* Has f a pole at 0, or does its value at small arguments grow without bound? */
bool tp_grows_at_zero(ad_op op, double p);
/* Does f, or its value, jump at 0 or become infinite there? function: of AD_CUSTOM. */
bool tp_breaks_at_zero(ad_op op, double p, const ad_function *function);
#endif
