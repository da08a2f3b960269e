/* family_inside.h: the inside of families: family_functions.c has the functions of one argument, family_terms.c sums
 * and terms, family.c the nodes of the trace. */
#ifndef LIMN_TP_FAMILY_INSIDE_H
#define LIMN_TP_FAMILY_INSIDE_H
#include "tp/batch/family.h"

enum { TP_MOST_PARTS = 64 };
#define TP_TINY 1e-12 /* relative: what is left of numbers that cancel */

int tp_family_no_memory(const tp_families *f); /* -1, with the error */

/* ---- functions: -1 with an error, or if an argument is -1 ---- */
int tp_fn_make(tp_families *f, int op, double p, int a, int b);
int tp_fn_custom(tp_families *f, const ad_function *function, int order, int a);
int tp_fn_number(tp_families *f, double value);
bool tp_fn_is_number(const tp_families *f, int fn, double *value);
int tp_fn_plus(tp_families *f, int a, int b);
int tp_fn_times(tp_families *f, int a, int b);
int tp_fn_scaled(tp_families *f, double c, int a);
/* f'(x) of a row of the op table, x a function itself; y = f(x). */
int tp_fn_row_derivative(tp_families *f, const tp_fn *row, int y);

/* ---- sums of G-vars ---- */
typedef struct {
    int n;
    tp_batch_part parts[TP_MOST_PARTS];
} tp_lin_builder;

/* A product that all samples share, as a bias is. */
bool tp_gvar_is_fixed(const tp_families *f, int gvar);
bool tp_lin_add(tp_lin_builder *b, int gvar, double own, double mean); /* false: no room */
int tp_lin_finish(tp_families *f, tp_lin_builder *b);
/* a = *c b? */
bool tp_lin_proportional(const tp_batch_lin *a, const tp_batch_lin *b, double *c);
int tp_base_make(tp_families *f, tp_base_kind kind, int lin, double epsilon, double power);

/* ---- terms ---- */
typedef struct {
    tp_families *f;
    int n, room;
    tp_family_term *terms;
    bool full;
} tp_family_builder;

void tp_family_push(tp_family_builder *b, tp_family_term t);
void tp_family_push_all(tp_family_builder *b, int x, double c, double power, double batch);
int tp_family_finish(tp_family_builder *b);
tp_family_term tp_family_one(double c);
/* c f(base), to first order in what is learned. A function of z that does not depend on its length is one of G u. */
int tp_family_push_function(tp_family_builder *b, double c, int base, int fn, int learned);
/* The part of x that is not learned as a function of one base: *base (-1: a constant) and *fn. */
int tp_family_function(tp_families *f, int node, int x, int *base, int *fn);
#endif
