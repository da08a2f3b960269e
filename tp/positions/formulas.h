/* formulas.h: a kernel over positions as formulas: what plan.c makes arrays of, with places in place of numbers. A
 * formula is a line of text: of a pair of nodes, at a position of each, or of a number of one sample at a position. */
#ifndef LIMN_TP_POSITIONS_FORMULAS_H
#define LIMN_TP_POSITIONS_FORMULAS_H
#include "tp/positions/inside.h"

enum { TP_MOST_PARTS = 6, TP_MOST_SUMS = 16, TP_MOST_CONDITIONS = 12, TP_MOST_FACTORS = 6 };

/* A variable of a position: of a node's axis, or of one that is summed. */
typedef struct {
    ad_axis axis;
    size_t size;
    bool second; /* of the second sample's node alone */
    const char *name;
} tp_variable;

/* i = shift + sum of times var, or of that i / by (no place where it is no whole number), i mod by, floor(i / by). */
typedef enum { TP_PLAIN, TP_EXACTLY, TP_MODULO, TP_FLOOR } tp_index_kind;
typedef struct {
    tp_index_kind kind;
    int n, var[TP_MOST_PARTS];
    ptrdiff_t times[TP_MOST_PARTS], shift, by;
} tp_index;
/* By fixed axis of a node, in order. */
typedef struct {
    int n;
    tp_index at[AD_MAX_RANK];
} tp_indices;

/* 1 where it holds, else 0: 0 <= a < size; a = b; both samples are one. */
typedef enum { TP_WITHIN, TP_EQUAL, TP_SAME_SAMPLE } tp_condition_kind;
typedef struct {
    tp_condition_kind kind;
    tp_index a, b;
    size_t size;
} tp_condition;

/* A formula at places, or data x of the first sample times data y of the second one (line -1). */
typedef struct {
    int line, x, y;
    bool second; /* a number of one sample: of the second one */
    tp_indices a, b;
} tp_formula_factor;

/* c n^power times the sum over the variables of the product of conditions and factors. */
typedef struct {
    double c, power;
    int n_sums, n_conditions, n_factors;
    int sums[TP_MOST_SUMS];
    tp_condition *conditions;
    tp_formula_factor *factors;
} tp_formula_term;

/* Beside TP_COVARIANCE and TP_TANGENT of nodes a and b: E f' g', and numbers of a (b is a). */
enum { TP_SLOPES = TP_TANGENT + 1, TP_NUMBERS };
typedef struct {
    int kind, a, b;
    bool root;                           /* the kernel itself: of the first output */
    bool expects;                        /* E f(u) g(v), else a sum of terms; g -1: 1, f -1: 1 */
    int f, g;                            /* numbers of the algebra's functions */
    int covariance, variance, variance2; /* E: lines */
    bool stands;                         /* others are its multiples, not it theirs: of functions' arguments */
    ad_op op;                            /* of TP_NUMBERS: of the sum's power, with p; else AD_IDENTITY */
    double p;
    tp_indices of_a, of_b; /* its own variables */
    tp_formula_term *terms;
    int n_terms, capacity;
    bool settled, zero, needed;
    double power, times; /* c n^power in all; an alias: times that line */
    int alias;           /* -1: none */
    const char *name;
} tp_formula;

typedef struct {
    tp_field_plan *plan;
    ad_arena *arena;
    ad_error *error;
    tp_formula *lines;
    tp_variable *variables;
    int n, capacity, n_variables, variables_capacity;
    bool *kept;  /* by node: a vector that gets a line with each other such; */
    bool *named; /* and one that does so where it is not read out */
    int line;    /* being made */
    tp_formula_term term;
    tp_condition conditions[TP_MOST_CONDITIONS];
    tp_formula_factor factors[TP_MOST_FACTORS];
    int depth;
    bool refused; /* and the error tells why */
} tp_formulas;

/* What has no form in text; negative otherwise: no memory. */
enum { TP_NO_FORM = -2 };

/* ---- indices.c ---- */
tp_index tp_constant_index(ptrdiff_t value);
tp_index tp_variable_index(int variable);
int tp_new_variable(tp_formulas *, ad_axis axis, bool second); /* -1 without memory */
bool tp_same_index(const tp_index *a, const tp_index *b);
/* *sum += times i; false where that has no form. */
bool tp_add_index(tp_index *sum, const tp_index *i, ptrdiff_t times);
/* i = by quotient + rest, the rest from 0 to by - 1; false where i is none of a sum of multiples. */
bool tp_divide_index(const tp_formulas *, const tp_index *i, ptrdiff_t by, tp_index *quotient, tp_index *rest);
void tp_index_range(const tp_formulas *, const tp_index *i, ptrdiff_t *low, ptrdiff_t *high);
/* The indices of axes `to` among those of `from`; false where one is missing. */
bool tp_move_indices(const ad_shape *from, const tp_indices *at, const ad_shape *to, tp_indices *moved);
/* A condition of the term under way: 1; 0: it never holds; -1: there is no room. */
int tp_require_within(tp_formulas *, const tp_index *i, size_t size);
int tp_require_equal(tp_formulas *, const tp_index *a, const tp_index *b);
int tp_require_same_sample(tp_formulas *);
/* A sum of the term under way. 1, or negative. */
int tp_sum_over(tp_formulas *, ad_axis axis, bool second, tp_index *index);
/* Of an AD_CONCAT: has an axis been put around with its own other ends? The vector, its axis, and where place 0 is. */
bool tp_is_circular(const ad_graph *, const ad_node *node, int *inside, ad_axis *axis, ptrdiff_t *shift);
/* From a node that is linear in its operands into one of these, or further, with sums and conditions: 1; 0: it is 0
 * there; negative. */
int tp_step_in(tp_formulas *, int id, int operand, bool second, const tp_indices *at, int *child, tp_indices *within);

/* ---- formulas.c ---- */
/* The formulas of the NNGP kernel and of the NTK, lines 0 and 1: 0; 1 with a reason where something has none, -1
 * without memory, with an error. */
int tp_make_formulas(tp_formulas *);

/* ---- settle.c ---- */
/* What is 0, powers of n, and what is a multiple of another line. 0; 1 with a reason, -1 without memory. */
int tp_settle_formulas(tp_formulas *);
/* The line that stands for it, and by what times. */
int tp_resolve_line(const tp_formulas *, int line, double *c);

/* ---- print.c ---- */
#endif
