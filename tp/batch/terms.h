/* terms.h: sums of G-vars over a batch, and families as lists of terms: what family.c builds with. */
#ifndef LIMN_TP_BATCH_TERMS_H
#define LIMN_TP_BATCH_TERMS_H
#include "tp/batch/families.h"

enum { TP_MAX_PARTS = 64 };
#define TP_TINY 1e-12 /* relative: what is left of numbers that cancel */

/* ---- sums of G-vars ---- */
typedef struct {
    int n;
    tp_batch_part parts[TP_MAX_PARTS];
} tp_lin_builder;

/* The number of a G-var; -1 with an error. */
int tp_family_gvar(tp_families *f, const tp_gvar *gvar);
/* A product that all samples share, as a bias is. */
bool tp_gvar_is_fixed(const tp_families *f, int gvar);
/* The sum that is the G-var alone. */
int tp_batch_lin_of(tp_families *f, int gvar);
bool tp_lin_add(tp_lin_builder *b, int gvar, double own, double mean); /* false: too many parts */
int tp_lin_finish(tp_families *f, tp_lin_builder *b);
/* a = *c b? */
bool tp_lin_proportional(const tp_batch_lin *a, const tp_batch_lin *b, double *c);
int tp_base_make(tp_families *f, tp_base_kind kind, int lin, double epsilon, double power);

/* ---- terms ---- */
typedef struct {
    tp_families *f;
    int n, capacity;
    tp_family_term *terms;
    bool full; /* memory is out */
} tp_family_builder;

void tp_family_push(tp_family_builder *b, tp_family_term t);
void tp_family_push_all(tp_family_builder *b, int x, double c, double power, double batch);
int tp_family_finish(tp_family_builder *b);
tp_family_term tp_family_one(double c);
/* c f(base), to first order in what is learned. A function of z that does not depend on its length is one of G u. */
int tp_family_push_function(tp_family_builder *b, double c, int base, int fn, int learned);
/* The part of x that is not learned as a function of one base: *base (-1: a constant) and *fn. */
int tp_family_function(tp_families *f, int node, int x, int *base, int *fn);

/* ---- normalisation.c ---- */
/* *result = x^power, where x is epsilon and the variance of a u; -1, without an error, if x is something else. */
int tp_radius_of(tp_families *f, int x, double power, int *result);
/* The one term of a family that is a radius; NULL if it is not that. */
const tp_family_term *tp_as_radius(const tp_families *f, int x);
/* k G u / radius = k z. */
int tp_normalised(tp_families *f, int node, int x, const tp_family_term *radius);
#endif
