/* exponents.h: private: powers of n by node of a program's trace. */
#ifndef LIMN_TP_REGIME_EXPONENTS_H
#define LIMN_TP_REGIME_EXPONENTS_H
#include "tp/program/program.h"
#include "tp/regime.h"

/* What the nodes of a program do as n grows. */
typedef struct {
    const tp_program *program;
    const bool *centred; /* by node: a symmetry of the draws shows its mean to be 0 (symmetry.c) */
    double *start;       /* by node: of a coordinate at the start, */
    double *change;      /* and of its change */
    double *front;       /* by parameter's node: the power of n in front of omega beyond the trace's */
    double *spread;      /* by parameter's node: of omega at the start */
    double *update;      /* by parameter's node: of omega's change; -INFINITY: none */
    bool linear;         /* changes are small beside what they change, whatever their powers are */
} tp_exponents;

/* Fills in start of all nodes that live. */
void tp_exponents_start(const tp_exponents *e);
/* Fills in change of all nodes that live, from update. */
void tp_exponents_change(const tp_exponents *e);
/* The power of a coordinate now: at the start, or changed. */
double tp_exponent_now(const tp_exponents *e, int node);

/* symmetry.c: marks nodes whose sign flips with that of one parameter of a symmetric law. */
int tp_find_centred(const tp_program *program, bool *centred, ad_error *error);

/* arguments.c: marks vectors with a parameter in them that functions are called with, and counts them; -1 without
 * memory. */
int tp_find_arguments(const tp_program *program, bool *arguments, ad_error *error);

/* function_power.c: of y = f(x), for a coordinatewise node, from the powers of x's size and of its change. */
double tp_function_size(const ad_node *node, double size);
double tp_function_change(const ad_node *node, double size, double change, bool linear);
#endif
