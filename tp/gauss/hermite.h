/* hermite.h: Hermite coefficients of functions of a Gaussian, for series (mehler.c). */
#ifndef LIMN_TP_GAUSS_HERMITE_H
#define LIMN_TP_GAUSS_HERMITE_H
#include "tp/gauss/gauss.h"

enum { TP_HERMITE_CHUNK = 256, TP_FEW_DEGREES = 1024, TP_MOST_DEGREES = 16 * TP_FEW_DEGREES };

typedef struct {
    double h, length;
    double thin; /* below 1: the layers' part of a step */
    size_t n;
    bool symmetric; /* node n - 1 - i mirrors node i, the one in the middle is 0 */
    bool cut;       /* at the ends of pieces, which are elsewhere at another variance */
    double *x, *w;  /* w: the rule's weight times e^{-x^2/4} / sqrt(2 pi) */
} tp_hermite_rule;

typedef struct {
    double *values, *mirrored; /* (samples, TP_HERMITE_CHUNK) */
    double *hermite;           /* of some degrees, (degrees, TP_HERMITE_CHUNK) */
    double *products;          /* (samples, degrees) */
} tp_hermite_scratch;

/* Of up to `count` samples at a time; not taken, with an error, when memory is out. */
tp_hermite_scratch tp_hermite_take(size_t count, ad_error *error);
bool tp_hermite_taken(const tp_hermite_scratch *s);
void tp_hermite_give(tp_hermite_scratch *s);
/* Nodes for f(root x), whose h, length and thin are set; frees those before. */
int tp_hermite_rule_fill(tp_hermite_rule *r, const tp_univariate *f, double root, ad_error *error);
void tp_hermite_rule_free(tp_hermite_rule *r);
/* out (count, terms): the degrees first, first + step, ... below `degrees`; squares (count): E f^2. */
int tp_hermite_coefficients(const tp_univariate *f, size_t count, const double *q, const tp_hermite_rule *r,
                            size_t degrees, size_t first, size_t step, size_t terms, double *out, double *squares,
                            const tp_hermite_scratch *s, ad_error *error);
/* Finds a rule that settles all coefficients up to `degrees` at one variance, of steps r->h at most unless that is 0,
 * and leaves them in out. */
int tp_hermite_settle(const tp_univariate *f, double q, size_t degrees, tp_hermite_rule *r, double *out, double *square,
                      const tp_hermite_scratch *s, double *difference, ad_error *error);
/* Does a series that has not settled at so many degrees settle, or nearly so, before there are the most? Of a smooth
 * function the tails fall like exp(-a sqrt(degree)), a the distance of its nearest pole. */
bool tp_hermite_grows(const tp_univariate *f, const double *all, size_t degrees, double square, double tolerance);
/* What is left of E f^2 beyond coefficients of rising degree, whose errors are `noise` relative to its root: what their
 * squares fall short of it. Roundoff takes what is below 4e-15 of it; then it is what a fall by a power of the degree,
 * as from the second quarter to the last half, leaves, and at most as much as roundoff takes. */
double tp_hermite_beyond(size_t degrees, const double *all, double square, double noise);
/* The same of the sum of their squares alone: 0 where roundoff takes it. */
static inline double tp_hermite_short(double square, double energy)
{
    return square - energy > 4e-15 * square ? square - energy : 0;
}

#endif
