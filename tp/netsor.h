/* netsor.h: a Netsor-transpose program written by hand, by calls or as a text, and its limit.
 *
 *     tp_script *s = tp_script_new(&error);
 *     tp_input_matrix(s, "W", "n", "n", 1);               W ~ N(0, 1/n), n x n
 *     tp_input_vector(s, "x", "n", 0, 1);                 x ~ N(0, 1)
 *     tp_trsp(s, "Wt", "W");
 *     tp_matmul(s, "h", "Wt", "x");
 *     tp_matmul(s, "z", "W", "h");                        z = W W' x
 *     tp_moment(s, "e", "z*x");                           E z x, which is 1
 *     tp_solution *solution = tp_script_solve(s, NULL, &error);
 *
 * The same as a text is what tp_print writes of a network (its grammar stands in tp/netsor/text.c):
 *
 *     Input  W  : A(n, n) ~ N(0, 1/n)
 *     Input  x  : G(n)    ~ N(0, 1)
 *     Trsp   W' := W
 *     MatMul h  := W' x
 *     MatMul z  := W h
 *     Moment e  := <z, x>
 *
 * Expressions are written with the functions of the op table (relu(x), power(x, 3), ...), + - * / and brackets; a
 * number or a scalar may stand before what it multiplies. Errors are sticky: the first one stays in the script, with
 * the line, and what follows does nothing; tp_script_solve and tp_script_print tell it.
 *
 * Threads. A script belongs to one thread while commands are added; then several may print and solve it at once, each
 * with an error of its own. A solution is not written to again. */
#ifndef LIMN_TP_NETSOR_H
#define LIMN_TP_NETSOR_H
#include "tp.h"

LIMN_API_BEGIN

typedef struct tp_script tp_script;
tp_script *tp_script_new(ad_error *error);
/* From a text with at least one command: `file` names it in messages. */
tp_script *tp_script_parse(const char *text, const char *file, ad_error *error);
tp_script *tp_script_read(const char *path, ad_error *error);
void tp_script_free(tp_script *script);
/* In the notation that tp_script_parse reads, or as LaTeX or JSON. */
int tp_script_print(const tp_script *script, FILE *stream, tp_style style, ad_error *error);

/* The commands. Each gives `name` its value: by number, in order, or -1 if the script has an error, such as a text that
 * is NULL, a width or covariance that is given twice. A width is a name, a ratio of n; one that is not given is n. */
int tp_width_at(ad_where, tp_script *, const char *name, double ratio);
int tp_input_matrix_at(ad_where, tp_script *, const char *name, const char *rows, const char *columns,
                       double variance); /* N(0, variance / columns) */
int tp_input_vector_at(ad_where, tp_script *, const char *name, const char *width, double mean, double variance);
int tp_input_covariance_at(ad_where, tp_script *, const char *a, const char *b,
                           double covariance); /* of two input vectors */
int tp_trsp_at(ad_where, tp_script *, const char *name, const char *matrix);
int tp_matmul_at(ad_where, tp_script *, const char *name, const char *matrix, const char *vector);
int tp_lincomb_at(ad_where, tp_script *, const char *name, const char *expression);
int tp_nonlin_at(ad_where, tp_script *, const char *name, const char *expression);
/* An average over the width: of a vector expression, or a scalar expression with averages in it. */
int tp_moment_at(ad_where, tp_script *, const char *name, const char *expression);
/* A coordinatewise function of one's own for expressions; it must outlive the script. */
int tp_script_function(tp_script *, const ad_function *function);
#define tp_width(...) tp_width_at(AD_HERE, __VA_ARGS__)
#define tp_input_matrix(...) tp_input_matrix_at(AD_HERE, __VA_ARGS__)
#define tp_input_vector(...) tp_input_vector_at(AD_HERE, __VA_ARGS__)
#define tp_input_covariance(...) tp_input_covariance_at(AD_HERE, __VA_ARGS__)
#define tp_trsp(...) tp_trsp_at(AD_HERE, __VA_ARGS__)
#define tp_matmul(...) tp_matmul_at(AD_HERE, __VA_ARGS__)
#define tp_lincomb(...) tp_lincomb_at(AD_HERE, __VA_ARGS__)
#define tp_nonlin(...) tp_nonlin_at(AD_HERE, __VA_ARGS__)
#define tp_moment(...) tp_moment_at(AD_HERE, __VA_ARGS__)

/* ---- what a program tends to ------------------------------------------------------------------------------------- */
typedef struct {
    tp_engine engine;    /* auto: exact where there is a way, else samples */
    tp_rule_choice rule; /* auto: the simple rule if the program is BP-like, else the general one */
    size_t samples;      /* of a run of the executor; 0: 4096 */
    int runs;            /* of the executor; 0: 8 */
    size_t width;        /* samples the program at n = width, too; 0: not */
    int seeds;           /* at that width, at least 2; 0: 8 */
    uint64_t seed;
    const double *data; /* one input (times, features), where laws speak of data: N(0, <x, x>/d); else NULL */
    size_t times, features;
    int threads; /* 0: one */
    void (*progress)(double share, void *context); /* is told which share of the commands' expectations, of the runs or
                                                      of the seeds is done, from 0 to 1; NULL: nobody is */
    void *context;
} tp_solve_spec;

/* A number of the limit and, where it is sampled, its standard error (0: exact up to rounding and quadrature, 1e-12 of
 * it). finite: the same at n = width, mean and standard error over the seeds. simple: by the simple rule; NAN where
 * that is not known. */
typedef struct {
    double value, error, simple, finite, finite_error;
} tp_estimate;

typedef struct {
    const char *name;
    char type; /* 'G', 'H', or 's' for a scalar; 'f' for an output, which is random: its mean and variance */
    int line;  /* of the text, or of the C file */
    tp_estimate mean, variance; /* of a coordinate; a scalar: its limit, and nothing */
} tp_value;

enum { TP_MOST_PAIRED = 1000 };
typedef struct {
    int n;
    tp_value *values;
    tp_estimate
        *covariances;      /* (n, n): of vectors over the same width, both of type G; else zero. NULL for a program of
                                 more than TP_MOST_PAIRED commands: tp_moment asks for one of them */
    bool bp_like, general; /* general: the general rule was used */
    char why[300];         /* why it is not BP-like */
    /* How far the simple rule is off, relative to the covariances and scalars; 0 if it holds. */
    double simple_rule_error;
    bool sampled; /* some numbers are */
    int finite_seeds;
    ad_arena *arena; /* keeps all this */
} tp_solution;
tp_solution *tp_script_solve(tp_script *script, const tp_solve_spec *spec, ad_error *error);
void tp_solution_free(tp_solution *solution);

LIMN_API_END
#endif
