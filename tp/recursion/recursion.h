/* recursion.h: the kernel's recursion: what one would derive by hand, as a graph of quantities over a pair of samples,
 * and its values. */
#ifndef LIMN_TP_RECURSION_RECURSION_H
#define LIMN_TP_RECURSION_RECURSION_H
#include "tp/symbolic/symbolic.h"

/* The kernels of the program: 0, or -1 with an error that names op, file and line. */
int tp_nngp_series(tp_algebra *, tp_series *series);
/* *folded (may be NULL: no) asks for a series whose kernel is Theta(i, j) = (Q(i, j) + Q(j, i)) / 2, Q being the
 * series, with half the quantities, and says whether it is one. It is for one set of inputs and one output. */
int tp_ntk_series(tp_algebra *, tp_series *series, bool *folded);
/* -1 with an error where a kernel of filters is of more pairs of positions than there is room for. */
int tp_check_positions(tp_algebra *, tp_kernel_kind);
/* The limit by exact expectations: 0; TP_NO_RULE where there is none for something in the program, TP_NOT_BP where the
 * rules are the simple ones and a gradient meets the forward pass, TP_INFINITE where an expectation is found to be
 * infinite, TP_CUT where what vanishes in a function's argument counts, and there is no rule for it, TP_TOO_LARGE where
 * it has too many quantities, -1 on other errors. A kernel that failed keeps what was made of it, for its owner to
 * free. *fragile (may be NULL): whether the kernel may be made of the inputs' roundings where its bound does not show
 * digits. */
enum { TP_NO_RULE = -2, TP_NOT_BP = -3, TP_INFINITE = -4, TP_GROWS = -5, TP_TOO_LARGE = -6, TP_CUT = -7 };
int tp_limit_exact(const tp_program *, tp_kernel_kind, const double *x, size_t rows, const double *x2, size_t rows2,
                   const tp_limit_spec *, tp_rules, tp_kernel *, bool *fragile, ad_error *error);
/* Points of the normal law in as many dimensions as groups have variables, (dims, count) in each run: over all runs
 * orthogonal to 1 and to each other, and standing for their negatives, too. They are made once it is known how many
 * dimensions there are. */
enum { TP_MOST_GROUP_RUNS = 16 };
typedef struct tp_group_points {
    int runs, dims; /* at most TP_MOST_GROUP_RUNS */
    size_t count;
    uint64_t seed;
    int (*make)(struct tp_group_points *, int dims, ad_error *error);
    double *z; /* (runs, dims, count); the caller's to free */
} tp_group_points;
/* The limit by expectations of groups of few correlated Gaussians, each a mean over a run's points of what it is at its
 * covariances, which that run found: values (runs, rows, rows2), and *power, that of n. Where expectations are closed
 * forms these are taken. The simple rules must hold. 0; TP_NO_RULE where a group has too many variables, where there is
 * no rule, or more than `most` evaluations of functions are needed; -1 on other errors. The cost is told where there is
 * a rule, and points are made only if `most` allows it. */
typedef struct {
    double work, seconds; /* evaluations of functions, and how long they took */
} tp_grouped_cost;
int tp_limit_grouped(const tp_program *, tp_kernel_kind, const double *x, size_t rows, const double *x2, size_t rows2,
                     const tp_limit_spec *, tp_group_points *, double most, tp_grouped_cost *cost, double *values,
                     double *power, ad_error *error);
/* -1 where the program's kernel is found to grow, or to be random, in the limit; TP_GROWS where a function is taken of
 * what grows; TP_CUT as above. */
int tp_check_limit(const tp_program *, tp_kernel_kind, ad_error *error);

/* The recursion of an output's own kernels by quantities as text (tp_print_recursion); TP_TOO_LARGE where it has too
 * many quantities. */
int tp_print_quantities(const tp_program *, size_t output, FILE *stream, tp_style style, ad_error *error);

/* ---- notation.c: what a recursion is written in ---- */
/* Covariances of G-vars, second moments of other vectors, expectations of derivatives, products, numbers of one input,
 * tangent kernels. */
enum { TP_SIGMA_LETTER, TP_KERNEL_LETTER, TP_DOT_LETTER, TP_PRODUCT_LETTER, TP_SCALAR_LETTER, TP_TANGENT_LETTER };
enum { TP_LETTERS = TP_TANGENT_LETTER + 1 };
typedef struct {
    tp_algebra *a;
    ad_arena *arena;
    bool latex, full, endless; /* full: memory is out, or the text endless */
    size_t written;            /* bytes of texts, parts of others included */
    int counts[TP_LETTERS], n_functions;
    const char **name;    /* by quantity; NULL: none has one */
    int *fn_uses;         /* by function: in expectations */
    const char **fn_name; /* in LaTeX, of a long one that has several uses, once it is defined */
} tp_notation;
/* When all functions are made, with algebra, arena and style. */
void tp_notation_begin(tp_notation *w);
/* 0, or -1 with an error where text is missing. */
int tp_notation_end(const tp_notation *w, ad_error *error);
/* Text in the arena; empty, with `full`, when memory is out. */
const char *tp_text(tp_notation *w, const char *format, ...) AD_PRINTF(2, 3);
const char *tp_letter_name(tp_notation *w, int letter); /* the next one */
const char *tp_prime_text(const tp_notation *w, bool second);
const char *tp_escaped_text(tp_notation *w, const char *name);
const char *tp_value_text(tp_notation *w, double x);
const char *tp_multiple_text(tp_notation *w, double c, const char *what);
const char *tp_fn_text(tp_notation *w, int fn, const char *variable);
const char *tp_applied_text(tp_notation *w, int fn, const char *variable); /* by its name, if it has one */
/* E f(u) g(v); g -1: E f(u). */
const char *tp_expect_text(tp_notation *w, int f, int g, const char *covariance);
const char *tp_kernel_name(tp_notation *w, int which, double power);
/* A table of lines: a name, what it is, the place in the source. Of many, dots stand for those between. */
void tp_begin_quantities(const tp_notation *w, FILE *stream);
void tp_end_quantities(const tp_notation *w, FILE *stream);
void tp_put_quantity(tp_notation *w, const char *name, const char *right, const ad_where *place, FILE *stream);
void tp_put_broken(tp_notation *w, const char *name, const char *right, const ad_where *place, FILE *stream);
bool tp_is_shown(tp_notation *w, int number, int total, FILE *stream);
void tp_define_function(tp_notation *w, int fn, FILE *stream);
#endif
