/* inside.h: what the files of this room share: points, pairs of points, and a plan of arrays over pairs. */
#ifndef LIMN_TP_POSITIONS_INSIDE_H
#define LIMN_TP_POSITIONS_INSIDE_H
#include "tp/gauss/gauss.h"
#include "tp/positions/positions.h"
#include "tp/symbolic/symbolic.h"

/* A point of a node: an index along each of its fixed axes, as one number, the last axis fastest. Pairs of points of
 * two nodes: without repetitions, by the first and then by the second. */
typedef struct {
    size_t n;
    const int32_t *first, *second;
} tp_point_pairs;

/* For each point of a node, or each pair: `fan` numbers of points or pairs, -1 for zeros. */
typedef struct {
    size_t n, fan;
    const int32_t *to;
} tp_point_map;

/* Equal arrays are kept once. */
typedef struct tp_kept {
    struct tp_kept *next;
    uint64_t hash;
    size_t n;
    const int32_t *numbers;
} tp_kept;

enum { TP_COVARIANCE, TP_TANGENT }; /* E a b, and the mean of <da, db> over the parameters */
enum { TP_NO_FIELD = -1, TP_NO_RULE_HERE = -2, TP_NO_ROOM = -3 };

/* Numbers of n pairs of points, for a pair of samples: n^power times c times the entries of an array that `view` names
 * (-1: zeros; NULL: all in order). */
typedef struct {
    int array;
    bool under_way; /* a sum that nobody else has yet */
    size_t n;
    double c, power;
    const int32_t *view;
} tp_field;
typedef struct {
    size_t n;
    int last; /* the step that reads it last */
    int slot; /* where it lies meanwhile */
    /* Of a plan in groups: its entries of group g are begin[g] to begin[g + 1], `room` at most at a time; or it is
     * whole. */
    const int32_t *begin;
    size_t room;
    bool whole;
} tp_field_array;

typedef enum { TP_FILL, TP_DATA, TP_ADD, TP_EXPECT, TP_WEIGH, TP_APPLY } tp_step_kind;
/* Of an array the sums over `fan` of its entries, times c. */
typedef struct {
    int in;
    double c;
    tp_point_map map;
    const int32_t *begin, *pairs; /* in groups, into a whole array: entries of out and in, group by group */
} tp_field_part;
/* FILL: all are c. DATA: sums of products of data x of the first sample and y of the second one. ADD: out = (or, where
 * it goes on, +=) the sum of the parts. EXPECT: E f(u) g(v) of covariance c in into out, and tangent_c times `tangent`
 * times E f'(u) g'(v) into tangent_out; -1: not asked for. WEIGH: out = c in times numbers of either sample, at points.
 * APPLY: (c in)^exponent, of single samples. */
typedef struct {
    tp_step_kind kind;
    int out, in, tangent, tangent_out; /* arrays */
    double c, tangent_c;
    tp_field_part part[2]; /* ADD */
    int n_parts;
    bool goes_on;
    tp_point_map map;        /* DATA: entries of x and y, two by two */
    int x, y;                /* DATA: numbers of the plan's data */
    int f, g, df, dg;        /* EXPECT: numbers of the plan's functions */
    int variance, variance2; /* EXPECT: numbers of u's and v's variances */
    int weight, weight2;     /* WEIGH: numbers of the plan's weights; -1: 1 */
    double exponent;         /* APPLY */
    tp_point_pairs pairs;    /* EXPECT, WEIGH */
} tp_field_step;

/* Is it of pairs, entry by entry? */
static inline bool tp_goes_by_entries(const tp_field_step *s)
{
    return s->kind == TP_EXPECT || s->kind == TP_WEIGH;
}

/* What has been asked for. */
typedef struct {
    int kind, a, b, field;
    ad_shape along;
    const int32_t *first, *second; /* of the pairs, which are kept once */
} tp_request;

/* A function that expectations are taken of, and its derivative. */
typedef struct {
    int fn;
    tp_univariate u;
} tp_field_function;

/* A Gaussian vector's variances at all of its points, in tiles (run.c) of either set: found before all pairs, by
 * the plan of single samples, whose field it is. */
typedef struct {
    int node, field;
    size_t points;
    double *values[2], *inverse[2]; /* ... and 1 / sqrt, 0 of 0 */
    double *root[2];                /* ... and sqrt */
} tp_field_variance;

/* A number of each sample at each point of a node, as a normalisation's factor is; in tiles (run.c) of either set,
 * found with the variances, by the plan of single samples, whose field it is. */
typedef struct {
    int node, field;
    size_t points;
    double *values[2];
} tp_field_weight;

/* A vector that is a sum or a difference: its variances at all points, and those of what is added (-1: 0), fields of
 * the plan of single samples. */
typedef struct {
    int whole, parts[2];
} tp_field_sum;

/* Data that filters meet first: in tiles (run.c) of either set. */
typedef struct {
    int node;
    size_t points;
    double *values[2];
} tp_field_data;

typedef struct tp_field_plan tp_field_plan;
struct tp_field_plan {
    const tp_program *program;
    const ad_graph *graph;
    tp_algebra *algebra;
    ad_arena *arena;
    ad_error *error;
    struct tp_field_plan *single; /* of pairs: the plan of single samples; NULL: this is one */
    tp_kept *kept;
    tp_point_map *maps; /* by node and operand: (nodes, 2) of those asked for */
    tp_field *fields;
    tp_field_array *arrays;
    tp_field_step *steps;
    tp_request *requests;
    tp_field_variance *variances;
    tp_field_weight *weights; /* of the plan of single samples, for both, as the data */
    int n_weights, weights_capacity;
    tp_field_sum *sums; /* of the plan of single samples */
    int n_sums, sums_capacity;
    tp_field_data *data;
    int n_data, data_capacity, n_arrays, arrays_capacity;
    int n_fields, fields_capacity, n_steps, steps_capacity, n_requests, requests_capacity;
    int n_variances, variances_capacity;
    tp_field_function *functions;
    int n_functions, functions_capacity;
    int depth;
    bool refused;    /* a pair of nodes has no rule, and so the program has none: no other way to it is looked for */
    size_t n_groups; /* of entries that never meet */
    bool *learns;    /* by node: of a parameter, whether it has a part in the tangent kernel */
    signed char *gaussian; /* by node: whether it is a sum of products and biases, 0 not yet known, -1 no */
    /* tp_field_of, for rules that stand below it */
    int (*ask)(tp_field_plan *, int kind, int a, int b, const ad_shape *along, const tp_point_pairs *pairs);
};

/* ---- points.c ---- */
ad_shape tp_fixed_axes(const ad_graph *, int node, const ad_shape *without);
size_t tp_count_points(const ad_graph *, const ad_shape *axes);
/* The operand's points that a point of the node is made of; NULL without a rule (the plan's error is unset) or
 * memory. */
const tp_point_map *tp_map_operand(tp_field_plan *, int node, int operand);
/* A point over the axes `from`, as one over `to`; axes of `to` that are missing are at `entry`'s place, by its axes. */
int32_t tp_move_point(const ad_graph *, const ad_shape *from, int32_t point, const ad_shape *to);
/* The same array, or an equal one that is kept; NULL without memory. */
const int32_t *tp_keep(tp_field_plan *, const int32_t *numbers, size_t n);
/* The pairs among `count` of first points of n1 and second ones of n2 (-1: none), and in `to` where each is among them
 * (-1). -1 without memory. */
int tp_gather_pairs(tp_field_plan *, const int32_t *first, const int32_t *second, size_t count, size_t n1, size_t n2,
                    tp_point_pairs *pairs, int32_t *to);

/* ---- fields.c ---- */
/* Negative without memory, with an error. */
int tp_no_room(const tp_field_plan *);
int tp_new_array(tp_field_plan *, size_t n);
int tp_new_field(tp_field_plan *, int array, size_t n, double c, double power);
int tp_add_step(tp_field_plan *, const tp_field_step *step);
int tp_filled(tp_field_plan *, size_t n, double value);
/* Room for n numbers, which tp_keep_once takes: equal layers have equal ones. */
int32_t *tp_new_numbers(const tp_field_plan *, size_t n);
const int32_t *tp_keep_once(tp_field_plan *, int32_t *numbers, size_t n);
const int32_t *tp_identity(tp_field_plan *, size_t n);
/* The same field, or what is no field, with all entries of its array in order. */
int tp_materialize(tp_field_plan *, int field);
/* sum += c n^power times `of`, at the entries that the map names; *sum starts as TP_NO_FIELD, and where entries are not
 * added up stays a view of the array. */
int tp_add_to(tp_field_plan *, int *sum, int of, double c, double power, const tp_point_map *map);

/* ---- nodes.c ---- */
bool tp_node_is_linear(const tp_field_plan *, int id);             /* in its operands */
bool tp_number_is_linear(const tp_field_plan *, int id);           /* a number of a sample, of which none is negative */
double tp_factor_of(const tp_field_plan *, int id, double *power); /* a scale's c n^power; 1 of other nodes */
/* The operand of a product that is a parameter; -1 where it is no product with one. */
int tp_matrix_of(const tp_field_plan *, int id);
bool tp_node_is_gaussian(const tp_field_plan *, int id); /* a sum of products with parameters, and of biases */
/* Factors of vectors: of layer normalisation, gains, masks of dropout. What a product x w is weighed by, and which
 * operands x and w are; w is a scalar without its copies along axes. */
typedef enum { TP_UNWEIGHED, TP_BY_SCALAR, TP_BY_GAIN, TP_BY_MASK } tp_weighing;
tp_weighing tp_weighing_of(const tp_field_plan *, int id, int *x, int *w);
bool tp_sums_width(const tp_field_plan *, int id);
/* Is it the mean over the width of Gaussian vectors, which is 0 in the limit? */
bool tp_is_zero_mean(const tp_field_plan *, int id);

/* The Gaussian vector that a node is a function of, and the function; -1 where it is none. */
int tp_function_of(const tp_field_plan *, int id, int *fn);
/* A parameter under renamings: the number of the entry that a point of a node names, of the fixed axes that the node
 * has. */
typedef struct {
    int param;
    ad_shape names;       /* its axes, as the node calls them; */
    ad_shape fixed, over; /* the fixed ones that the node has, and those that are summed */
    double width;         /* the size of the width that is summed, over n; 0: there is none */
} tp_use;
/* Of a parameter in a product over these axes (NULL: in none); -1 where there is no rule. */
int tp_find_use(const tp_field_plan *, int id, const ad_shape *over, tp_use *u);
/* The variance of an entry of a parameter, as c n^power. */
double tp_variance_of_entry(const tp_field_plan *, int param, double *power);
/* Is it data, or a vector over the width that is summed? */
bool tp_meets_vector(const tp_field_plan *, int x, const tp_use *u);
/* Is it a sum over the width, and fixed axes `along`, of x y: ratio n times E x y. */
bool tp_moment_of(const tp_field_plan *, int id, int *x, int *y, ad_shape *along, double *ratio);
/* Has what stands above the products with parameters this mask somewhere? */
bool tp_shows(const tp_field_plan *, int id, int mask);

/* ---- weigh.c ---- */
/* The field of a pair of which one at least is weighed; sums are taken apart before masks. */
int tp_weighed_field(tp_field_plan *, int kind, int a, int b, const tp_point_pairs *pairs);

/* ---- plan.c ---- */
/* The field of a pair of nodes at pairs of their points, summed over equal entries of the axes `along`; TP_NO_FIELD
 * where it is zero, TP_NO_RULE_HERE, or TP_NO_ROOM with an error. */
int tp_field_of(tp_field_plan *, int kind, int a, int b, const ad_shape *along, const tp_point_pairs *pairs);

/* Finds the sums of two vectors among what a plan of pairs has asked for. */
int tp_find_sums(tp_field_plan *);

/* ---- split.c ---- */
/* Splits a plan of pairs, whose result is the array `out`, into groups, where it is large and has some. */
int tp_split_plan(tp_field_plan *, int out);

/* ---- run.c ---- */
/* The kernel that is c times the array `out` of the plan at its one pair of points; 1: a function has neither closed
 * form nor series. own: the field of the plan of single samples that its diagonal is; -1: it is as all of it. */
int tp_run_fields(tp_field_plan *, int out, double c, int own, const double *x, size_t rows, const double *x2,
                  size_t rows2, const tp_limit_spec *, tp_kernel *kernel);

/* ---- limit.c ---- */
/* A plan of single samples, or, given that, of pairs; -1 with an error. */
int tp_plan_new(tp_field_plan *, tp_algebra *, tp_field_plan *single);
/* Is every parameter met in one way alone: as a bias, or by products that sum over the same of its axes? */
bool tp_uses_alike(const tp_field_plan *);

/* ---- bounds.c ---- */
/* What a run has seen of an expectation: the largest correlation that is not taken for 1, and whether there are any
 * that are so taken. */
typedef struct {
    double most;
    bool on_line;
} tp_field_seen;
/* Bounds of the arrays' errors, relative to the roots of values at (p, p), to first order: `errors` of the plan, given
 * those of the plan of single samples (NULL: it is this one) and what was seen. */
void tp_bound_fields(const tp_field_plan *, const double *single, const tp_field_seen *seen, const size_t rows[2],
                     double *errors);
/* Correlations are taken for 1 from here on: what is collinear is so up to this. */
#define TP_ON_LINE 0x1p-48
/* Rows of pairs by their correlations are for those below this. */
#define TP_OFF_LINE (1 - 0x1p-17)
#endif
