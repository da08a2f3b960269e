/* trials.h: graphs run at a finite width, draw after draw, and means over the draws with their errors. */
#ifndef LIMN_TESTS_TRIALS_H
#define LIMN_TESTS_TRIALS_H
#include "limn.h"

/* Welford's sums. Of a slope: its value and, in `squares`, its standard error. */
typedef struct {
    int n;
    double mean, squares;
} trial;
void trial_add(trial *t, double value);
double error_of(trial t); /* standard error of the mean */
/* |mean - truth|, less what is allowed, in standard errors. */
double distance(trial t, double truth, double allowed);
/* A mean lies more than BOUND of its standard errors from its expectation as often as a Student variable of NETS - 1
 * degrees of freedom exceeds 6, 1.1e-7; a rival of the expectation must be rejected by the same bound. */
enum { NETS = 64, BOUND = 6 };
#define expect_mean(trial, truth, allowed)                                                                             \
    cr_expect(distance(trial, truth, allowed) < BOUND, "%s: %g +- %g, theory %g", #trial, (trial).mean,                \
              error_of(trial), (double)(truth))
#define expect_not_mean(trial, rival)                                                                                  \
    cr_expect(distance(trial, rival, 0) > BOUND, "%s: %g +- %g is not told from %g", #trial, (trial).mean,             \
              error_of(trial), (double)(rival))

/* The slope of y in x by weighted least squares, where errors[k] is the standard error of y[k]. */
trial trial_slope(int n, const double *x, const double *y, const double *errors);

enum { MOST_PARAMS = 16 };
/* Outputs of a graph in double, and buffers of all of its parameters. Every failure fails the test. */
typedef struct {
    ad_plan *plan;
    ad_sizes sizes;
    ad_var params[MOST_PARAMS];
    double *values[MOST_PARAMS];
    int n_params;
} trial_net;
trial_net trial_open(ad_graph *graph, const ad_var *outputs, int n, const ad_sizes *sizes);
void trial_draw(trial_net *net, uint64_t seed); /* new parameters, and a run */
void trial_close(trial_net *net);

/* E relu(a) relu(b), E step(a) step(b) for covariances q11, q22, q12 (THEORY section 3a). */
double expected_relu_relu(double q11, double q22, double q12);
double expected_step_step(double q11, double q22, double q12);

/* ---- vectors and matrices of one width ---- */
/* Products with random matrices (n, n'), entries N(0, 1/n), of vectors over n. */
typedef struct {
    ad_graph *graph;
    ad_axis n;
} space;
space space_new(void);
ad_var matrix(space s, const char *name);
ad_var vector(space s, const char *name, double mean); /* N(mean, 1) */
ad_var times(space s, ad_var w, ad_var x);
ad_var transposed_times(space s, ad_var w, ad_var x);
ad_var average(space s, ad_var x);
ad_var average_product(space s, ad_var x, ad_var y);
#endif
