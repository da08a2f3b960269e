/* symbolic.h: what one coordinate of a width vector is: a polynomial in functions of Gaussians, and what is asked of
 * coordinates: numbers of a pair of samples.
 *
 *     coordinate = sum over terms  c s n^power  prod over factors  f(lin)  + O(n^rest),     lin = sum of c_k s_k Z_k
 *
 * where Z_k are G-vars, normalised to variance of order one, and s are scalars: quantities (below) of the sample
 * that the coordinate belongs to, averages over the width replaced by their limits. What an average fluctuates around
 * its limit is of order n^(-1/2) of its terms: it is left out, and `rest` says of what order all is that was left out.
 * Where an expectation is 0, as that of dx x in the backward pass of a mean, only this is left; it must vanish beside
 * the terms that it is added to before a function or a kernel is taken of them. Everything is interned: equal things
 * have equal numbers, so the kernel recursion is a graph without repetitions, whatever sharing the network has. */
#ifndef LIMN_TP_SYMBOLIC_SYMBOLIC_H
#define LIMN_TP_SYMBOLIC_SYMBOLIC_H
#include "tp/gauss/gauss.h"
#include "tp/program/program.h"
#include "tp/symbolic/intern.h"

#include <math.h>
#include <string.h>

/* ---- what there is ---- */
/* A univariate function, as a tree. */
enum { TP_VARIABLE = AD_N_OPS, TP_NUMBER, TP_SCALAR, TP_PLUS, TP_TIMES, TP_INVERSE /* 1 / x, and 0 at 0 */ };
typedef struct {
    int op;    /* a unary row of the op table, or one of the above */
    int order; /* custom: which derivative */
    double p;  /* the row's parameter, or the number */
    int a, b;  /* arguments; TP_SCALAR: a is a quantity */
    const ad_function *function;
    int parity, smooth, scalars; /* of the whole: tp_fn_parity, tp_fn_smooth; has it scalars? */
    int depth;                   /* of its tree */
    double degree;               /* tp_fn_degree */
} tp_fn;
/* The functions that one is made of, itself the last: each once, and after its arguments, whose places are a and b (-1:
 * none). The shared parts of nested functions are many times as many when they are counted as a tree. While they are
 * evaluated in this order, each has a slot, which others take over after its last use. */
typedef struct {
    int n, n_slots;
    struct {
        int id, a, b, slot;
    } at[];
} tp_fn_parts;

/* Fixed axes of a node, each at an index; axes in the node's order. */
typedef struct {
    int n;
    struct {
        ad_axis axis;
        int index;
    } at[AD_MAX_RANK];
} tp_point;

typedef enum { TP_OF_INDEX, TP_OF_DATA, TP_OF_VECTOR, TP_OF_COORDINATE } tp_argument;
/* A G-var: a parameter applied to an argument: W y, W^T y, U x, or the parameter's own vector (a bias, a readout).
 * Or, of
 * an algebra that goes by groups, a coordinate of several G-vars together, which functions are taken of: no
 * Gaussian, it
 * is a lin of its own, alone (tp_nested). */
typedef struct {
    int param;    /* its node */
    int position; /* which of its axes is contracted: 0 is W, 1 is W^T in the (in, out) order; -1 none */
    tp_argument argument;
    int node;       /* TP_OF_DATA: the data's node; else the coordinate's number */
    tp_point where; /* the parameter's other fixed axes */
    tp_point from;  /* TP_OF_DATA: the data's other fixed axes */
    ad_axis axis;   /* TP_OF_DATA: the contracted one */
} tp_gvar;

typedef struct {
    double c;
    int gvar, scalar;
} tp_part;
typedef struct {
    int n;
    tp_part parts[];
} tp_lin;

/* Of an algebra that goes by groups, and of any other. */
enum { TP_MAX_FACTORS = 12, TP_EXACT_FACTORS = 6 };
typedef struct {
    int lin, fn;
} tp_factor;
typedef struct {
    double c, power;
    int n, scalar;
    tp_factor factors[TP_MAX_FACTORS]; /* by increasing lin, each once; the rest zero */
} tp_term;
/* Functions of correlated Gaussians, of which an expectation is taken, and whether each is of the second sample. */
typedef struct {
    tp_factor factor;
    int second, unused;
} tp_group_factor;
typedef struct {
    int n, unused;
    tp_group_factor at[];
} tp_group;
typedef struct {
    double rest;      /* what is left out is of order n^rest; -INFINITY: nothing is */
    double square;    /* and the root of its mean square of order n^square: more where an argument crosses a jump */
    int n, rest_node; /* of which op; -1 */
    tp_term terms[];
} tp_coordinate;

/* A quantity: a number for every pair (sample i of the first inputs, sample j of the second). Covariances of G-vars,
 * expectations and kernels are quantities, which make a graph: each stands after what it needs. A scalar of the program
 * (a mean over the width, a softmax of such) belongs to one sample: it is a quantity that is read at (i, i), for the
 * sample on its side of a pair. */
typedef enum {
    TP_Q_NUMBER,   /* c */
    TP_Q_DATA,     /* one entry of data */
    TP_Q_GRAM,     /* the sum over an axis of two data's products */
    TP_Q_SAME,     /* 1 at (i, i), 0 of two samples: what masks have in common */
    TP_Q_SUM,      /* c + sum of parts[k].c * parts[k].q */
    TP_Q_PRODUCT,  /* a b */
    TP_Q_FUNCTION, /* fn_a(a) */
    TP_Q_ALONG,    /* softmax, logsumexp, max or argmax of the parts; b: which entry of the result */
    TP_Q_FIRST,    /* a at (i, i) */
    TP_Q_SECOND,   /* a at (j, j) */
    TP_Q_EXPECT,   /* E fn_a(u) fn_b(v), u of sample i and v of sample j */
    TP_Q_GROUP     /* E of group a; parts: b covariances of its variables, of which tp_group_lins tells; then E of
                      its stand-ins, made of smaller groups: powers of nested lins in place of functions of these */
} tp_kind;
/* A summand c q. */
typedef struct {
    double c;
    int q, powers; /* of a group's stand-in: TP_POWERS of its nested lins, as its factors have them in order; else 0 */
} tp_q_part;
enum { TP_MOST_STAND_INS = 9, TP_MOST_POWER = 5 };
#define TP_POWERS(first, second) ((first) + (TP_MOST_POWER + 1) * (second))
static inline int tp_power_of(int powers, int which)
{
    return which ? powers / (TP_MOST_POWER + 1) : powers % (TP_MOST_POWER + 1);
}
typedef struct tp_quantity {
    tp_kind kind;
    int op; /* along */
    double c;
    int a, b;           /* expect: covariance of u and v at (i, j), and at (i, i); data, gram: nodes */
    int fn_a, fn_b;     /* expect, function */
    int var_a, var_b;   /* expect: variances, at (i, i) and (j, j) */
    int from_a, from_b; /* data, gram: points of fixed axes, by number */
    ad_axis axis;       /* gram: the axis that is summed */
    int n, jumps;       /* jumps: 1 for a function (argmax) that jumps, of what fluctuates around its limit */
    tp_q_part parts[];
} tp_quantity;

static inline size_t tp_quantity_size(const tp_quantity *q)
{
    return sizeof *q + (size_t)q->n * sizeof *q->parts;
}

enum { TP_Q_ONE, TP_Q_ZERO }; /* the quantities 1 and 0, before all others */

/* ---- the algebra: where all of it is kept ---- */
/* The simple rules of BP-like programs; these whether a gradient meets the forward pass or not, so that they are wrong;
 * the general rule, with Z dot. */
typedef enum { TP_RULES_BP, TP_RULES_BP_UNCHECKED, TP_RULES_GENERAL } tp_rules;
typedef struct tp_algebra tp_algebra;
/* The value of a key that is not known yet: -1 with an error, or because a value that it needs must be found first. */
typedef int (*tp_solve_key)(tp_algebra *, const void *key);
typedef struct {
    int slot; /* of the memo */
    tp_solve_key solve;
} tp_task;
struct tp_algebra {
    const tp_program *program;
    ad_graph *graph;
    ad_arena *arena;
    ad_error *error;
    tp_table fns, gvars, lins, coordinates, quantities, series, points, carriers, groups;
    tp_table memo;  /* (node, point) to coordinate, (coordinate, coordinate) to expectation */
    tp_task *tasks; /* values to be found, each before those that it stands above (memo.c) */
    int n_tasks, tasks_capacity, depth;
    bool waits;       /* a value waits for the last task: what returns -1 meanwhile is no error */
    tp_quantity *sum; /* a sum under way, and room for how many parts it has */
    int sum_capacity;
    int variable;              /* the function x */
    const tp_fn_parts **parts; /* by function: those of what is evaluated often, else NULL */
    int *fn_nodes;             /* by function: the node whose coordinate it was made for first, -1: none */
    int parts_capacity, fn_nodes_capacity;
    int node; /* under way; -1: none */
    tp_rules rules;
    bool by_groups;  /* where there is no rule for two functions, expectations of groups are quantities, too */
    int outputs[2];  /* the kernel is between these */
    bool not_bp;     /* refused, for the simple rules are wrong here */
    bool no_limit;   /* what was refused has no limit at all, or a random one */
    bool grows;      /* ... as what a function is taken of grows with n */
    bool cut;        /* what was refused may have one, in which what vanishes of a function's argument counts */
    bool underflows; /* a product of numbers was below what a double holds */
    bool too_large;  /* what was refused has more parts than there is room for, or numbers that no double holds */
    struct {
        int quantity, node;
    } * jumps; /* of quantities that jump, with their ops */
    int n_jumps, jumps_capacity;
    char left[240]; /* which powers of n a kernel leaves out, and why; empty: none that it is known to have */
    bool refused;   /* something has no rule: the error is not one of memory */
    bool *starved;  /* what a function is made of was asked for, and there was no memory to see it */
};

int tp_algebra_new(tp_algebra *algebra, const tp_program *program, ad_error *error);
void tp_algebra_free(tp_algebra *algebra);
/* Both -1: with an error of a node, or of memory; without one while a value waits for another. */
int tp_refuse(tp_algebra *, int node, const char *format, ...) AD_PRINTF(3, 4);
int tp_lacks_memory(const tp_algebra *);
/* Did an algebra that failed ask for more than TP_MOST_GIGABYTES? Then with an error of it. */
enum { TP_MOST_GIGABYTES = 2 }; /* a hundred thousand layers */
bool tp_is_full(const tp_algebra *);
/* -1 with an error where what is known of a function may be less than there is, for want of memory. */
int tp_had_memory(const tp_algebra *);

/* A number that is not 0 has all of its digits from here on; below is what no double holds. */
#define TP_LEAST 1e-300
/* The product or quotient of two numbers in front of what an algebra is made of: one that is below a double's range is
 * not taken for 0, and is noted. */
static inline double tp_noted(tp_algebra *algebra, double number, bool zero)
{
    algebra->underflows = algebra->underflows || (fabs(number) < TP_LEAST && !zero);
    return number;
}
static inline double tp_times(tp_algebra *algebra, double a, double b)
{
    return tp_noted(algebra, a * b, !(fabs(a) > 0 && fabs(b) > 0));
}

/* How many factors a term may have. */
static inline int tp_most_factors(const tp_algebra *algebra)
{
    return algebra->by_groups ? TP_MAX_FACTORS : TP_EXACT_FACTORS;
}

/* What has a number. */
static inline const tp_fn *tp_fn_at(const tp_algebra *algebra, int fn)
{
    return tp_table_at(&algebra->fns, fn);
}
static inline const tp_gvar *tp_gvar_at(const tp_algebra *algebra, int gvar)
{
    return tp_table_at(&algebra->gvars, gvar);
}
static inline const tp_lin *tp_lin_at(const tp_algebra *algebra, int lin)
{
    return tp_table_at(&algebra->lins, lin);
}
static inline const tp_coordinate *tp_coordinate_at(const tp_algebra *algebra, int coordinate)
{
    return tp_table_at(&algebra->coordinates, coordinate);
}
static inline const tp_group *tp_group_at(const tp_algebra *algebra, int group)
{
    return tp_table_at(&algebra->groups, group);
}
static inline const tp_quantity *tp_quantity_at(const tp_algebra *algebra, int quantity)
{
    return tp_table_at(&algebra->quantities, quantity);
}
/* Only at[0] to at[n - 1] are there. */
static inline const tp_point *tp_point_at(const tp_algebra *algebra, int point)
{
    return tp_table_at(&algebra->points, point);
}

/* Where the memo keeps the value of a key, until it is asked for another; -1 before it is set; NULL: memory is out. */
static inline int *tp_memo(tp_algebra *algebra, const void *key, size_t size)
{
    int slot = tp_intern(&algebra->memo, key, size);
    return slot < 0 ? NULL : &algebra->memo.items[slot].value;
}

/* The value of a key: known, or solved for. solve may ask for the values of other keys, and these for others, however
 * deep: what stands too deep is found first, and who needs it is solved for again. Only values of keys are kept between
 * the attempts, so that solve must leave nothing else behind. */
int tp_memo_solve(tp_algebra *, const void *key, size_t size, tp_solve_key solve);

/* ---- points and nodes ---- */
static inline int tp_point_index(const tp_point *point, ad_axis axis) /* -1 if it is not there */
{
    for (int i = 0; i < point->n; i++)
        if (ad_same(point->at[i].axis, axis))
            return point->at[i].index;
    return -1;
}
static inline void tp_point_set(tp_point *point, ad_axis axis, int index)
{
    int i = 0;
    while (i < point->n && !ad_same(point->at[i].axis, axis))
        i++;
    if (i == AD_MAX_RANK)
        return;
    point->n += i == point->n;
    point->at[i].axis = axis;
    point->at[i].index = index;
}
/* Fixed axes of a node other than `without`, all at index 0. */
tp_point tp_point_of(const tp_algebra *, int node, const ad_shape *without);
/* The next point of an odometer over fixed axes; false when all have been seen. */
bool tp_point_next(const tp_algebra *, tp_point *point);
/* Size of an axis as c n^power. */
double tp_axis_factor(const tp_algebra *, ad_axis axis, double *power);
/* Is the node made of the input, without parameters, and without n: run as it is? */
static inline bool tp_is_data(const tp_algebra *algebra, int node)
{
    return algebra->program->data[node];
}

/* Copies (rows, size) out of a data node's values at these sizes: along `axis` (no axis: size 1), its other fixed axes
 * at the point. */
void tp_data_rows(const ad_graph *, int node, const tp_point *at, ad_axis axis, const ad_sizes *, const double *values,
                  size_t rows, size_t size, double *out);
/* The data that a node is c n^power of, and these multiplied into *c and added to *power; else the node itself. */
int tp_without_scale(const tp_algebra *, int node, double *c, double *power);
/* Where data's entries at a point of its fixed axes, without `axis`, come from: windows and zeros around are data of
 * data further in, whose point is put in *point. -1: they are the zeros. */
int tp_data_source(const tp_algebra *, int node, ad_axis axis, tp_point *point);
/* The entry of the whole that entry `offset` of window number `window` is. */
static inline int tp_window_entry(const ad_node *node, int window, int offset)
{
    return (int)node->start + (int)node->stride * window + (int)node->dilation * offset;
}

/* ---- functions ---- */
void tp_fn_learn(const tp_algebra *, tp_fn *fn); /* what is known of it, from its arguments' */
bool tp_fn_keep(tp_algebra *, int fn);           /* makes room for what is kept of the last function */
/* "FILE:LINE: OP: " of the node that a function was made for, else of the output. */
enum { TP_PLACE_TEXT = 200 };
const char *tp_fn_place(const tp_algebra *, int fn, char text[TP_PLACE_TEXT]);
static inline int tp_fn_intern(tp_algebra *algebra, tp_fn fn) /* its number; -1 without memory */
{
    tp_fn clean;
    memset(&clean, 0, sizeof clean); /* padding takes part in the comparison */
    clean.op = fn.op;
    clean.order = fn.order;
    clean.p = fn.p;
    clean.a = fn.a;
    clean.b = fn.b;
    clean.function = fn.function;
    tp_fn_learn(algebra, &clean);
    int known = algebra->fns.n, id = tp_intern(&algebra->fns, &clean, sizeof clean);
    return id == known && !tp_fn_keep(algebra, id) ? -1 : id;
}
/* The parts of a function: kept ones, or made for the caller; tp_fn_parts_end ends what tp_fn_parts_of returned. NULL
 * without memory. */
const tp_fn_parts *tp_fn_parts_of(const tp_algebra *, int fn);
void tp_fn_parts_end(const tp_algebra *, int fn, const tp_fn_parts *parts);
/* Keeps the parts of what will be evaluated often, while no other thread has the algebra; -1 with an error. */
int tp_fn_prepare(const tp_algebra *, int fn);
/* Where the scalars of functions are read: values[quantity][row]. */
typedef struct {
    double *const *values;
    size_t row;
} tp_sample;
/* y = f(x), by block; sample may be NULL if f has no scalars. */
void tp_fn_eval(const tp_algebra *, int fn, const tp_sample *sample, size_t n, const double *x, double *y);
/* The last op of f, which has no scalars, at n values of its arguments; b: of the second, if there is one. */
void tp_fn_eval_last(const tp_algebra *, int fn, size_t n, const double *a, const double *b, double *y);
/* The points where f or its derivative jumps: how many, the first `capacity` of them in kinks, no more counted than one
 * beyond these; -1 without memory. */
int tp_fn_kinks(const tp_algebra *, int fn, const tp_sample *sample, double *kinks, int capacity);
/* The function x -> f(ratio x); -1 without memory. */
int tp_fn_stretched(tp_algebra *, int fn, double ratio);
/* Is lin b a multiple of lin a, b = ratio a? */
bool tp_lin_multiple(const tp_algebra *, int a, int b, double *ratio);
/* None of its parts has a kink. */
static inline bool tp_fn_smooth(const tp_algebra *algebra, int fn)
{
    return tp_fn_at(algebra, fn)->smooth;
}
/* 1: even, -1: odd, 0: neither or not known. */
static inline int tp_fn_parity(const tp_algebra *algebra, int fn)
{
    return tp_fn_at(algebra, fn)->parity;
}
/* The exponent of a function that is a power of its argument, 0 of others. */
int tp_fn_exponent(const tp_algebra *, int fn);
/* p where it is c x^p, p > 0, as products are, too; else 0. */
int tp_fn_monomial(const tp_algebra *, int fn, double *c);
/* Is it known to be continuous, so that Stein's lemma holds with its derivative? */
bool tp_fn_continuous(const tp_algebra *, int fn);
/* The scalars in f: how many, the first `capacity` of them in scalars. */
int tp_fn_scalars(const tp_algebra *, int fn, int *scalars, int capacity);

/* ---- quantities ---- */
/* What follows returns a quantity, -1 with an error when memory is out. */
int tp_q_number(tp_algebra *, double c);
int tp_q_scaled(tp_algebra *, double c, int q);
int tp_q_plus(tp_algebra *, double ca, int a, double cb, int b);
/* The sum of c q over n parts. */
int tp_q_total(tp_algebra *, const tp_q_part *parts, int n);
int tp_q_product(tp_algebra *, int a, int b);
/* The product of scalars of one sample: whatever the order of its factors, it has one number. */
int tp_q_scalar_product(tp_algebra *, int a, int b);
int tp_q_function(tp_algebra *, int fn, int a);
/* Of a function that jumps, or an argmax, the same of numbers that fluctuate around their limits, at an op: where these
 * are at a jump, there is no limit. */
int tp_q_jump(tp_algebra *, int quantity, int node);
/* Has the function, a row of the op table or a user's of the variable, jumps or poles? Is x, whose summands are of this
 * size, at one? */
bool tp_fn_jumps(const tp_algebra *, int fn);
bool tp_at_jump(const tp_algebra *, int fn, double x, double size);
/* Are the largest of the numbers equal? */
bool tp_at_tie(const double *x, int n);
/* -1, with an error of the op that a quantity which jumps comes from. */
int tp_refuse_jump(const tp_algebra *, int quantity, ad_error *error);
int tp_q_along(tp_algebra *, int op, const int *parts, int n, int entry);
int tp_q_side(tp_algebra *, int scalar, tp_kind side); /* TP_Q_FIRST or TP_Q_SECOND */
int tp_q_data(tp_algebra *, int node, const tp_point *from);
int tp_q_gram(tp_algebra *, int a, const tp_point *from_a, int b, const tp_point *from_b, ad_axis axis);
int tp_q_expect(tp_algebra *, const tp_quantity *q);
/* covariances: of the group's variables, (0, 0), (1, 0), (1, 1), (2, 0) and so on, n of them; then the stand-ins. */
int tp_q_group(tp_algebra *, int group, const int *covariances, int n, const tp_q_part *stand_ins, int n_stand_ins);
int tp_q_same(tp_algebra *);
static inline void tp_q_blank(tp_quantity *q, tp_kind kind)
{
    memset(q, 0, sizeof *q); /* padding takes part in the comparison */
    q->kind = kind;
}
static inline bool tp_q_is_zero(const tp_algebra *algebra, int q)
{
    return tp_quantity_at(algebra, q)->kind == TP_Q_NUMBER && !(fabs(tp_quantity_at(algebra, q)->c) > 0);
}
/* q = *c times the quantity returned: numbers are *c times one. */
int tp_q_split(const tp_algebra *, int q, double *c);

/* ---- coordinates ---- */
/* The coordinate of a node (with a width axis, or an output) with its fixed axes at a point; -1 with an error that
 * names op, file and line if it is not a polynomial in univariate functions of G-vars. */
int tp_coordinate_of(tp_algebra *, int node, tp_point point);
/* Is what a coordinate leaves out, by this op, what vanishes in a function's argument, and no fluctuation? */
bool tp_is_cut(const tp_algebra *, int node);
/* The algebra of coordinates: of a number of the sample, of a term; cx x + cy y, c n^power x, x y (for `node`). */
int tp_coordinate_scalar(tp_algebra *, int quantity);
int tp_coordinate_number(tp_algebra *, double value);
/* The sum over the width of x y, for `node`: n times the expectation, which is a scalar; off by the order of n^(1/2)
 * terms. */
int tp_width_sum(tp_algebra *, int node, ad_axis width, int x, int y);
int tp_coordinate_term(tp_algebra *, const tp_term *term);
int tp_coordinate_sum(tp_algebra *, int x, double cx, int y, double cy);
int tp_coordinate_scaled(tp_algebra *, int x, double c, double power);
int tp_coordinate_product(tp_algebra *, int node, int x, int y);
/* The largest power of n among its terms; -INFINITY if there are none. */
double tp_coordinate_top(const tp_coordinate *);
/* Is what is left out the largest of it, by arguments that are moved across a jump: of order one on a share of all, so
 * that products of two are no smaller than each? */
bool tp_is_left_by_jump(const tp_coordinate *);
/* The order of what the terms do not tell: the rest, and terms with a random number that all coordinates share (a
 * readout inside the network), whose average over the width is as random. *node: the op it comes from. */
double tp_coordinate_rest(const tp_algebra *, const tp_coordinate *, int *node);

/* ---- expectations, by powers of n ---- */
enum { TP_MAX_POWERS = 8 };
/* sum of n^power times a quantity */
typedef struct {
    int n, unused;
    struct {
        double power;
        int q, unused;
    } at[TP_MAX_POWERS];
} tp_series;

/* series += n^power q */
int tp_series_add(tp_algebra *, tp_series *series, double power, int q);
/* A sum of very many quantities under way. Start with 0. */
typedef struct {
    int n_powers, n[TP_MAX_POWERS], capacity[TP_MAX_POWERS];
    tp_q_part *parts[TP_MAX_POWERS];
    double power[TP_MAX_POWERS];
} tp_long_sum;
int tp_long_sum_add(tp_algebra *, tp_long_sum *sum, double power, double c, int q);
int tp_long_sum_end(tp_algebra *, const tp_long_sum *sum, tp_series *series);

/* E a b of two coordinates, by powers of n: a of sample i and b of sample j, or both of one sample (alone), for
 * quantities that are only read at (i, i). */
int tp_expectation(tp_algebra *, int a, int b, bool alone, tp_series *series);
int tp_lin_covariance(tp_algebra *, int a, int b, bool alone);
/* Are two lins dependent? 1, 0, or -1 with an error. */
int tp_lins_related(tp_algebra *, int a, int b, bool alone);
int tp_pair_expectation(tp_algebra *, tp_factor f, tp_factor g, bool alone);
/* The coordinate that a lin stands for, of whose G-vars it is a function; NULL: it is a combination of G-vars. */
const tp_coordinate *tp_nested(const tp_algebra *, int lin);
/* The variables that a group is a function of, each a lin of a sample: how many, TP_MAX_GROUP at most, or beyond. */
enum { TP_MAX_GROUP = 40 };
typedef struct {
    int lin, second;
} tp_group_lin;
int tp_group_lins(const tp_algebra *, int group, tp_group_lin *lins);
/* Powers of nested lins in place of functions of these (stand_ins.c): the product of two coordinates, of either sample,
 * whose expectation is made of smaller groups. How many of a group, TP_MOST_STAND_INS at most, or -1. */
typedef struct {
    int powers, of[2];
} tp_stand_in;
int tp_stand_ins(tp_algebra *, int group, bool alone, tp_stand_in *list);
/* E a a of samples i and j, of two products of terms that mirror each other the first one twice: its mean with the
 * same of samples j and i is E a a. */
int tp_folded_expectation(tp_algebra *, int a, tp_series *series);

/* What a coordinate is a multiple of, in every term (carrier.c): two of different classes, none of them 0, have E a b =
 * 0 for samples i and j if no kind of either's carriers is among the others of one of them. */
typedef struct {
    int class, unused; /* 0: of nothing, or it leaves something out */
    uint64_t carriers, others;
} tp_carrier;
int tp_carrier_of(tp_algebra *, int coordinate, tp_carrier *carrier);

/* ---- functions as gauss.h knows them (univariate_of.c) ---- */
enum { TP_MAX_KINKS = 64 };
/* What is evaluated: a function, its scalars at a sample. */
typedef struct {
    const tp_algebra *algebra;
    int fn;
    tp_sample sample;
} tp_fn_context;
/* A function that is a row of the op table, the variable or 1, by its form; false, and *u untouched, of any other. */
bool tp_univariate_row(const tp_algebra *, int fn, tp_univariate *u);
/* Any function by evaluating it, step by step: u->context is a tp_fn_context; its parity and kinks are not asked for.
 * -1 with an error. */
int tp_univariate_tree(const tp_algebra *, int fn, tp_univariate *u);
/* Any function, else by evaluating it, in pieces where that takes long. One with scalars has neither pieces nor kinks
 * yet, nor a sample: u->context is a tp_fn_context. -1 with an error, also for more than TP_MAX_KINKS kinks. */
int tp_univariate_of(const tp_algebra *, int fn, tp_univariate *u);
int tp_too_many_kinks(const tp_algebra *, ad_error *error, int fn, int found); /* -1 */

/* ---- functions as trees (family_functions.c): -1 with an error, or if an argument is -1 ---- */
int tp_fn_make(tp_algebra *, int op, double p, int a, int b);
int tp_fn_custom(tp_algebra *, const ad_function *function, int order, int a);
int tp_fn_number(tp_algebra *, double value);
bool tp_fn_is_number(const tp_algebra *, int fn, double *value);
int tp_fn_plus(tp_algebra *, int a, int b);
int tp_fn_times(tp_algebra *, int a, int b);
int tp_fn_scaled(tp_algebra *, double c, int a);
/* f'(x) of a row of the op table, x a function itself; y = f(x). */
int tp_fn_row_derivative(tp_algebra *, const tp_fn *row, int y);
int tp_fn_derivative(tp_algebra *, int fn);
/* d with f(c x) = c^d f(x) for c > 0; NaN if there is none. */
static inline double tp_fn_degree(const tp_algebra *algebra, int fn)
{
    return tp_fn_at(algebra, fn)->degree;
}
/* What is 1 or |x| times `right` above 0 and `left` below, by its degree, and `zero` at 0. */
typedef struct {
    int degree; /* 0 or 1 */
    double left, zero, right;
} tp_halves;
/* Is it such a function? */
bool tp_fn_halves(const tp_algebra *, int fn, tp_halves *h);
/* The row of the op table on the variable, or the variable, that it is; -1 where none is, or without memory. */
int tp_fn_of_halves(tp_algebra *, const tp_halves *h);
#endif
