/* chain.h: the inside of the room: a Jacobian as a product of free factors, and the equation of its spectrum.
 *
 * A chain is J = F_k ... F_2 F_1, its factors from the first vector to the last: Gaussian or orthogonal matrices of
 * their own, and diagonal ones, D = diag f'(h). They are free at n = infinity (Pennington et al., arXiv:1711.04735;
 * Yang, arXiv:2009.10685), so that with M(z) = (1/n) tr sum_k (J J')^k / z^k the inverse function is a product,
 *   1/z = prod chi_F(M) prod (rho + M)/M,    the second over the spaces between two factors, of rho n dimensions,
 *   chi_W = M rho_in / (sigma^2 (rho_in + M)(rho_out + M))   Gaussian, of entries N(0, sigma^2 / n_in),
 *   chi_W = M / (sigma^2 (rho + M))                          orthogonal, W W' = sigma^2,
 *   chi_D = w,  E w d^2 / (1 - w d^2) = M / rho              diagonal. */
#ifndef LIMN_TP_SPECTRUM_CHAIN_H
#define LIMN_TP_SPECTRUM_CHAIN_H
#include "tp/spectrum.h"

#include <complex.h>

typedef enum { TP_GAUSSIAN_FACTOR, TP_ORTHOGONAL_FACTOR, TP_DIAGONAL_FACTOR } tp_factor_kind;
/* A piece of a function's Gauss-Legendre rule: from middle - half to middle + half deviations of the argument, with the
 * coefficients of log d^2 by Legendre's polynomials, and its range. */
enum { TP_PANEL_NODES = 12 };
typedef struct {
    double middle, half, lowest, highest;
    double x[TP_PANEL_NODES], w[TP_PANEL_NODES], y[TP_PANEL_NODES];
} tp_panel;
/* The law of d^2: values above 0 that ascend, with their masses; what is missing from 1 is at 0. */
typedef struct {
    size_t n;
    double *squares, *masses;
    double least, most; /* the ends of its support, where they were looked for: the values' own ends else */
    bool *atoms;        /* the value has this mass itself; else it stands for its neighbourhood */
    double zero;        /* the mass at 0 */
    bool unbounded;     /* d^2 has no bound */
    bool vanishes;      /* d^2 comes near 0, whatever little mass is there */
    double rounded;     /* mass where d^2 is above 0 and has left a double's range: in the smallest of the values */
    double derivative;  /* E d^2 */
    double variance;    /* of the function's argument */
    double outer, outer_power; /* a function's factor before this law's, squared: outer n^outer_power */
    int n_panels;              /* of a function's law where d^2 is smooth and not constant */
    tp_panel *panels;
    /* Of d^2 without a bound, what its moments need and no density resolves: (2, n_far) beyond the nodes, at either
     * end, outwards, by panels; NULL. */
    size_t n_far;
    double *far_squares, *far_masses;
} tp_law;
typedef struct {
    tp_factor_kind kind;
    double variance; /* sigma^2 */
    double in, out;  /* the spaces that it goes between, in n */
    tp_law law;
} tp_chain_factor;
typedef struct {
    int n;
    tp_chain_factor *factors;
    double log_scale; /* the logarithm of a square that J J' is multiplied with */
} tp_chain;

/* ---- law.c ---- */
/* The law of values given with masses that sum to 1; those within a few roundings of each other are one. tp_law_free
 * frees it. */
int tp_law_of(tp_law *law, size_t n, const double *squares, const double *masses, ad_error *error);
void tp_law_free(tp_law *law);
/* psi(w) = E w d^2 / (1 - w d^2), psi + 1 - zero without cancellation, and w psi'(w). */
typedef struct {
    double complex psi, rest, slope;
} tp_law_values;
void tp_law_at(const tp_law *law, double complex w, tp_law_values *out);
void tp_chain_free(tp_chain *chain);

/* E d^(2 k); false where the farthest nodes have a share of it: others beyond them are missing. */
bool tp_law_moment(const tp_law *law, int k, long double *moment);

/* ---- panels.c ---- */
/* From the values of d^2 at the nodes. */
void tp_panel_fill(tp_panel *panel, double low, double high, const double *squares);
/* Adds to tp_law_at's values what the nodes miss where w d^2 = 1 is near the line. */
void tp_law_add_poles(const tp_law *law, double complex log_w, tp_law_values *values);

/* ---- equation.c ---- */
/* log 1/z = constant + power log M + sum exponent log(space + M) + sum log w; the unknowns are log Y,
 * Y = M / (rank + M), which keeps the digits of both, and all log w. */
typedef struct {
    const tp_chain *chain;
    int n, n_spaces; /* diagonal factors; different spaces */
    const tp_chain_factor **diagonals;
    double constant, power, to; /* to: the last space */
    double *spaces, *exponents;
    double rank;    /* of J, in n */
    int rank_poles; /* the power of 1/(rank + M) in 1/z at M = -rank */
    double first;   /* (1/n) tr J J' */
    bool gaussian;  /* a factor is */
} tp_equation;
int tp_equation_of(tp_equation *e, const tp_chain *chain, ad_error *error);
void tp_equation_free(tp_equation *e);
/* How many numbers Newton's method works on: log Y and n times log w, then its own. */
#define TP_UNKNOWNS(e) ((size_t)(2 + 3 * (e)->n))
/* M, and rank + M. */
double complex tp_equation_m(const tp_equation *e, const double complex *u, double complex *above);
/* Newton's method at log z from u; *slope (may be NULL): d log(1/z) / d M. False where it does not settle on the branch
 * of the spectrum: all arguments from -pi to 0. */
bool tp_equation_solve(const tp_equation *e, double complex log_z, double complex *u, double complex *slope);
/* From far outside to log z = at, above the support: u is filled. */
bool tp_equation_enter(const tp_equation *e, double at, double complex *u);

/* ---- edges.c ---- */
/* The support of what is no atom: log of its ends (low: -infinity for 0), and whether its density is infinite there. */
typedef struct {
    double low, high;
    bool low_open, high_open;
    bool empty; /* atoms are all */
} tp_edges;
int tp_find_edges(const tp_equation *e, tp_edges *edges, ad_error *error);
/* Atoms: at 0, and of chains without a Gaussian factor others. Of ad_alloc; returns how many, -1 without memory. */
int tp_find_atoms(const tp_equation *e, tp_atom **atoms, ad_error *error);

/* ---- moments.c ---- */
/* m_1 ... m_K of J J' over its last space. */
int tp_chain_moments(const tp_chain *chain, int count, double *moments, ad_error *error);

/* ---- grid.c ---- */
/* n points, from `high` down to `low`. */
typedef struct {
    enum { TP_EDGE_AND_TAIL, TP_TWO_EDGES, TP_TWO_TAILS } kind;
    size_t n;
    double low, high;
} tp_grid;
double tp_grid_at(const tp_grid *grid, size_t i);
double tp_grid_weight(const tp_grid *grid, size_t i);
/* The lists of a density of `points`; to be freed with tp_density_free. */
int tp_density_reserve(tp_spectrum *s, size_t points, ad_error *error);
void tp_density_free(tp_spectrum *s);
/* The lists over the grid, ascending, of a density that stands in per_log from `high` down, of this mass in all. */
void tp_density_fill(tp_spectrum *s, const tp_grid *grid, double mass);
/* The mass below each point, from the left. */
void tp_density_sum(tp_spectrum *s);

/* ---- density.c ---- */
int tp_chain_density(const tp_chain *chain, size_t points, tp_spectrum *spectrum, ad_error *error);
#endif
