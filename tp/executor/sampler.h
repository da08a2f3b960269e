/* sampler.h: the inside of the executor: a program that is run on samples. */
#ifndef LIMN_TP_EXECUTOR_SAMPLER_H
#define LIMN_TP_EXECUTOR_SAMPLER_H
#include "tp/executor/executor.h"

enum { TP_MAX_LOOPS = 2 * AD_MAX_RANK };

/* A parameter that is an operator, or one for each index of its fixed axes that are not summed together. */
typedef struct {
    int param, in_rank, n_operators;
    bool matrix; /* two widths: `in` is the first of them; else `in` is all fixed axes that are summed */
    int in[AD_MAX_RANK], out, others[AD_MAX_RANK], n_others; /* positions in the parameter's shape */
    size_t in_size;
    double deviation; /* of omega, times the square root of the width `in`: the operators have entries N(0, 1/in) */
    tp_operator *operators;
    tp_simple *simple; /* in place of these, by the simple rules: two for each, W's and W''s */
} tp_revealed;

/* The draws of one size of vectors that meet. */
typedef struct tp_class {
    tp_space space;
    struct tp_class *next; /* of another size */
} tp_class;

typedef struct {
    const tp_program *program;
    const ad_graph *graph;
    ad_arena *arena;
    ad_error *error;
    ad_sizes sizes;
    uint64_t seed;
    int threads, n_levels;
    bool independent;   /* draws: those of one network */
    bool simple;        /* by the simple rules, if they hold */
    bool *linear;       /* by node: linear in the draws of the backward pass; NULL: not by the simple rules */
    int *meets;         /* by element of the union of what meets: another one of its class, or itself */
    tp_class **classes; /* by the class's first element */
    int n_classes;
    int *level, *revealed_of; /* by node; revealed_of a parameter: -1 if its values are drawn at once */
    bool *kept;               /* by node: its value is kept for later levels */
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
void tp_sampler_enter(tp_sampler *s, int pass); /* x, values and sizes are those of this pass */
size_t tp_sampler_size(const tp_sampler *s, ad_axis axis);
/* The stride of an axis in a row-major array of this shape; 0 if it has not the axis. */
size_t tp_sampler_stride(const tp_sampler *s, const ad_shape *shape, ad_axis axis);
double *tp_sampler_numbers(const tp_sampler *s, size_t count, const char *what); /* zeros; NULL with an error */
int tp_sampler_refuse(const tp_sampler *s, int id, const char *reason);          /* -1, with op, file and line */

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
