/* expansion.h: functions of what vanishes as polynomials and what these leave out (expansion.c, taylor.c), for the
 * files of the room. */
#ifndef LIMN_TP_PROGRAM_EXPANSION_H
#define LIMN_TP_PROGRAM_EXPANSION_H
#include "tp/program/size_bounds.h"

enum { TP_MOST_COEFFICIENTS = 9 };
/* Into c the first coefficients at 0 of a coordinatewise node's function, c[0] its value, as many as are shown: what
 * the first k of them leave out of it is at most a constant times |x|^k near 0, for each k up to the number that is
 * returned; and its derivative's likewise, |x|^(k - 1). 0 of a function that jumps at 0. */
int tp_taylor(const ad_node *node, double c[TP_MOST_COEFFICIENTS]);
/* A function that is 0, in the arena, and stands for what a polynomial leaves out of the function of that name (kept
 * as it is), at most a constant times |x|^order near 0; tp_left_order knows it, and its derivatives. NULL without
 * memory. */
const ad_function *tp_left_function(ad_arena *, const char *name, int order);
/* The order of a function of what vanishes: |f(x)| is at most a constant times |x|^order near 0; 0: it does not vanish
 * with x, or is not known to. */
int tp_order_at_zero(const ad_node *node);
/* A copy of the output in which each smooth function of what vanishes by a power of n is its polynomial of this degree
 * in it, at least 1, plus what that leaves out, a user's function that is 0 (tp_left_order). *n: how many functions
 * these are; the output is as it is where there are none. id -1 without memory or with a poisoned graph. */
ad_var tp_expand(const tp_program *, int degree, int *n);
#endif
