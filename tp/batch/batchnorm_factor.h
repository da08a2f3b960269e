/* batchnorm_factor.h: the inside of a layer, for the files of batch normalisation: batchnorm_factor.c finds the
 * covariances' factors, batchnorm.c chooses the quadrature, batchnorm_maps.c sums over its nodes, sphere.c samples
 * directions instead. */
#ifndef LIMN_TP_BATCH_BATCHNORM_FACTOR_H
#define LIMN_TP_BATCH_BATCHNORM_FACTOR_H
#include "tp/batch/batchnorm.h"

#include <cblas.h>

/* A value of t: the integrand's weight without det^(-1/2) and epsilon. */
typedef struct {
    double t, log_weight;
    bool even; /* belongs to the rule of twice the step, too */
} tp_abscissa;

/* All t of one s. */
typedef struct {
    double s, log_weight;
    bool even;
    size_t n;       /* so many t have weight */
    double *l, *nu; /* (rows + rows2, rank), (rank) */
} tp_node_line;

/* What is the same for all nodes of a batch. */
typedef struct {
    size_t rows;
    double scale; /* what Omega is divided by: its largest eigenvalue, 1 becomes the largest */
    double floor; /* directions below do not count */
    double decay; /* B epsilon / scale */
    double noise; /* the covariance's roundings, relative to what is divided by */
    double c;     /* x = c sinh v */
    size_t rank;
    bool constant;
} tp_batch;

struct tp_batchnorm {
    tp_batch side[2]; /* the same for one batch */
    bool one, backward;
    tp_slopes phi, phi2;            /* of the first and of the second batch */
    size_t total, rank, joint_rank; /* total: rows of F; rank: its columns, max(joint_rank, 1) */
    double *f;                      /* (total, rank) */
    double *lambda;                 /* (rank): eigenvalues of F'F, which is diagonal */
    double *turned, *mu[2];         /* F V; F1'F1 = V mu[0] V', mu[1] of F2'F2 */
    size_t n_lines, n_points;
    tp_node_line *lines;
    tp_abscissa *points;
    double *lines_memory;
    double *v;
    double difference;
};

/* ---- batchnorm_factor.c ---- */
/* Scales, F and ranks, without a quadrature: NULL with an error. */
tp_batchnorm *tp_batchnorm_factor(const tp_batchnorm_spec *spec, ad_error *error);
/* log det(1 + 2 s values)^(-1/2). */
double tp_batchnorm_log_det(const double *values, size_t n, double s);
/* log of the weight of node j of a line, without the factor sqrt(B1 B2). */
double tp_batchnorm_log_weight(const tp_batchnorm *layer, const tp_node_line *at, size_t j);
/* c = alpha op(a) op(b) + beta c, row-major; op(a) is (m, k). */
void tp_product(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, size_t m, size_t n, size_t k, double alpha, const double *a,
                const double *b, double beta, double *c);
/* a = G a G, the means of rows and columns removed. */
void tp_centre(size_t rows, size_t columns, double *a);
/* Symmetric a (n, n) becomes its eigenvectors, one a row; values ascend. */
int tp_batchnorm_eigen(size_t n, double *a, double *values, ad_error *error);

/* ---- batchnorm_maps.c ---- */
/* V and the difference, by the rule that stands. */
int tp_batchnorm_integrate(tp_batchnorm *layer, ad_error *error);
#endif
