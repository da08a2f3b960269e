/* sampler.h: the inside of the executor: a program that is run on samples. */
#ifndef LIMN_TP_EXECUTOR_SAMPLER_H
#define LIMN_TP_EXECUTOR_SAMPLER_H
#include "tp/executor/executor.h"

enum { TP_MAX_LOOPS = 2 * AD_MAX_RANK };

/* Pairs of vectors (k, in), (k, out): a matrix of low rank. */
typedef struct {
    tp_rows in, out;
} tp_changes;

/* A parameter that is an operator, or one for each index of its fixed axes that are not summed together. */
typedef struct {
    int param, in_rank, n_operators;
    bool matrix; /* two widths: `in` is the first of them; else `in` is all fixed axes that are summed */
    int in[AD_MAX_RANK], out, others[AD_MAX_RANK], n_others; /* positions in the parameter's shape */
    size_t in_size;
    double deviation; /* of omega, times the square root of the width `in`: the operators have entries N(0, 1/in) */
    tp_operator *operators;
    double keep; /* omega is this times what it was drawn as, */
    tp_changes
        *changes; /* and what steps have added, by operator: sum_k weight_k out_k in_k'; NULL: it does not learn */
    double *weight, *velocity; /* by k; and of keep */
    double keep_velocity;
    int n_changes, capacity;
    tp_simple *simple; /* in place of these, by the simple rules: two for each, W's and W''s */
} tp_revealed;

/* The draws of one size of vectors that meet. */
typedef struct tp_class {
    tp_space space;
    struct tp_class *next; /* of another size */
    int number;            /* from 1: its draws have a seed of their own */
} tp_class;

typedef struct {
    const tp_program *program;
    const ad_graph *graph;
    ad_arena *arena;
    ad_error *error;
    ad_sizes sizes;
    tp_work *work;
    uint64_t seed;
    int threads, n_levels;
    bool independent;   /* draws: those of one network */
    bool learns;        /* its parameters change: draws keep off all that their operators have seen */
    double minimum;     /* of a vector that is new to an operator, relative; 0: the operators' own */
    int cotangent;      /* the input of the backward pass, bound when the outputs are there; 0: none */
    const ad_var *also; /* nodes that are kept besides */
    int n_also;
    bool simple;        /* by the simple rules, if they hold */
    bool *linear;       /* by node: linear in the draws of the backward pass; NULL: not by the simple rules */
    int *meets;         /* by element of the union of what meets: another one of its class, or itself */
    tp_class **classes; /* by the class's first element */
    int n_classes;
    int *level, *revealed_of; /* by node; revealed_of a parameter: -1 if its values are drawn at once, */
    int *drawn_at;            /* which then are rows of its space's basis from this one on */
    bool *kept;               /* by node: its value is kept for later levels */
    bool *left_out;           /* by node: it is 0, for it vanishes with n */
    double **values;          /* of the pass that is run */
    tp_revealed *revealed;
    int n_revealed;
    const double *x;
    size_t output; /* whose gradient the pass has */
    /* One pass over the trace, or one for each of two batches whose samples meet, or of two outputs: by the same
     * weights. */
    int n_passes;
    struct {
        const double *x;
        size_t rows, output;
        double **values;
    } passes[2];
} tp_sampler;

/* ---- executor.c ---- */
int tp_sampler_open(tp_sampler *s);
void tp_sampler_close(tp_sampler *s);
/* Which parameters are operators, what meets, and on which level a node is. */
int tp_sampler_plan(tp_sampler *s);
/* The plan, and all passes, level by level: what is kept is in their values. */
int tp_sampler_run(tp_sampler *s);
/* Its steps: operators and draws of all parameters; levels; what passes start from; levels from `from` up to `to`. */
int tp_sampler_prepare(tp_sampler *s);
void tp_sampler_find_levels(tp_sampler *s);
/* As after tp_sampler_prepare with this seed, in the same memory; of one pass, with operators. */
int tp_sampler_restart(tp_sampler *s, uint64_t seed);
int tp_sampler_begin(tp_sampler *s);
int tp_sampler_levels(tp_sampler *s, int from, int to);
/* The draws of vectors of this size that meet those of an element of the union (meeting.c). */
tp_space *tp_sampler_space(tp_sampler *s, int element, size_t size);
void tp_sampler_enter(tp_sampler *s, int pass); /* x, values and sizes are those of this pass */

/* ---- measures.c ---- */
size_t tp_sampler_size(const tp_sampler *s, ad_axis axis);
/* The stride of an axis in a row-major array of this shape; 0 if it has not the axis. */
size_t tp_sampler_stride(const tp_sampler *s, const ad_shape *shape, ad_axis axis);
double tp_sampler_deviation(const tp_sampler *s, const ad_init *init);           /* of omega at the start */
double *tp_sampler_numbers(const tp_sampler *s, size_t count, const char *what); /* zeros; NULL with an error */
int tp_sampler_refuse(const tp_sampler *s, int id, const char *reason);          /* -1, with op, file and line */

/* ---- work.c ---- */
/* -1 with an error where it is more than there may be. */
int tp_count_work(const tp_sampler *s, double more);
int tp_count_nodes(const tp_sampler *s); /* of this pass, but for products with operators */
/* Of a product with so many rows that is done. */
int tp_count_product(const tp_sampler *s, const tp_operator *w, bool transposed, size_t rows, int seen_before);
int tp_count_simple(const tp_sampler *s, const tp_simple *w, size_t rows);

/* ---- changes.c ---- */
/* to += the changes of operator number o times the rows of x, or their transpose. */
int tp_changes_apply(const tp_revealed *f, int o, bool transposed, size_t rows, const double *x, double *to,
                     ad_error *error);
/* Appends pairs of all operators: in (count, operators, in_size), out (count, out). */
int tp_changes_add(tp_revealed *f, size_t count, const double *in, const double *out, ad_error *error);
void tp_changes_forget(tp_revealed *f); /* all of them, and that it was kept less */
void tp_changes_free(tp_revealed *f);
int tp_changes_state(tp_revealed *f, tp_state *state, ad_error *error);

/* ---- sampled_kernel.c ---- */
/* The kernel (rows, rows) of all rows of one pass: over parameters p the sum of weights[p] <gradient, gradient'>. */
int tp_sampler_kernel(tp_sampler *s, const double *weights, double *out);
/* The gradients of a parameter's sites as pairs of vectors, over the axes of the parameter that y has summed and over
 * the rest: of each row, and of each index of a site's other axes. Handed on site by site. */
typedef int (*tp_pairs_told)(void *context, const ad_site *site, const ad_shape *over, size_t count, const double *y,
                             const double *delta);
int tp_sampler_pairs(tp_sampler *s, int param, tp_pairs_told each, void *context);

/* ---- meeting.c ---- */
/* Elements: a vector, or what a matrix gives; what a matrix takes. */
static inline int tp_meeting_out(int id)
{
    return 2 * id;
}
static inline int tp_meeting_in(int id)
{
    return 2 * id + 1;
}
/* Which input of a product with an operator is the parameter; -1 if it is none. */
int tp_operator_input(const tp_sampler *s, int id, int *param, ad_shape *names);
/* Once revealed_of is known. */
void tp_find_meetings(tp_sampler *s);
int tp_meeting_of(const tp_sampler *s, int element); /* the first element of its class */

/* ---- strided_copy.c ---- */
typedef struct {
    int rank;
    size_t size[TP_MAX_LOOPS], from[TP_MAX_LOOPS], to[TP_MAX_LOOPS]; /* strides */
} tp_loops;

void tp_loops_add(tp_loops *l, size_t size, size_t from, size_t to);
/* to += from. */
void tp_loops_copy(const tp_loops *l, const double *from, double *to);
/* Do the loops copy an array to one that lies like it? */
bool tp_loops_alike(const tp_loops *l);
#endif
