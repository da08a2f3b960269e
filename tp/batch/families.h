/* families.h: a vector of a program whose samples meet: what one coordinate is over a whole batch, as the exact rules
 * know it (Yang et al., arXiv:1902.08129).
 *
 *     family = sum over terms  c n^power B^batch  t   or   c n^power B^batch  mean over the batch of t
 *
 * with t the constant 1, a G-var, a univariate function f(u) of a sum u of G-vars, or f(z) of a normalised one,
 *
 *     z = G u / (|G u|^2 / B + epsilon)^(1/2),    G u = u - mean u.
 *
 * What makes z is recognised by algebra, however it is written: a quadratic form of u over the batch that is its
 * variance, its root, and a product. Parameters that start at a constant (gamma at 1, beta at 0) are that constant, and
 * terms of first order in what they learn: such a term is 0, and has a gradient. */
#ifndef LIMN_TP_BATCH_FAMILIES_H
#define LIMN_TP_BATCH_FAMILIES_H
#include "tp/symbolic/symbolic.h"

/* sum over parts of (own g + mean (mean of g)); what is the same for all samples counts as a mean. */
typedef struct {
    double own, mean;
    int gvar, unused;
} tp_batch_part;
typedef struct {
    int n, unused;
    tp_batch_part parts[];
} tp_batch_lin;

typedef enum {
    TP_BASE_SUM,    /* u = lin */
    TP_BASE_NORMAL, /* z, lin = G u */
    TP_BASE_RADIUS  /* (|G u|^2 / B + epsilon)^power, lin = u, on the way to z */
} tp_base_kind;
typedef struct {
    int kind, lin;
    double epsilon, power;
} tp_base;

typedef enum { TP_TERM_ONE, TP_TERM_GVAR, TP_TERM_FUNCTION } tp_term_kind;
typedef struct {
    double c, power, batch;
    int kind, of; /* gvar, or base */
    int fn;       /* of a function */
    int mean;     /* of it over the batch */
    int learned;  /* the G-var of the parameter that it is of first order in, or -1 */
    int unused;
} tp_family_term;
typedef struct {
    int n, unused;
    tp_family_term terms[];
} tp_family;

typedef struct {
    tp_algebra algebra; /* first: who has the algebra has the families */
    tp_table lins, bases, families;
    bool *fixed; /* by G-var: do all samples share it? */
    int fixed_capacity;
} tp_families;

int tp_families_new(tp_families *, const tp_program *, ad_error *);
void tp_families_free(tp_families *);
const tp_family *tp_family_at(const tp_families *, int family);
const tp_base *tp_base_at(const tp_families *, int base);
const tp_batch_lin *tp_batch_lin_at(const tp_families *, int lin);
/* An error that names op, file and line of something without a rule here: -1, and algebra.refused. */
int tp_family_refuse(tp_families *, int node, const char *reason);
int tp_family_no_memory(const tp_families *f); /* -1, with the error */

/* ---- family.c ---- */
/* The family of a node with its fixed axes at a point; -1 with an error that names op, file and line. */
int tp_family_of(tp_families *, int node, tp_point point);
#endif
